"""Work that runs an experiment several times, or learns from it."""
