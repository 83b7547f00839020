"""The stages of an experiment, one file each, with their artifacts and their cost."""
