"""Data sets: the ILIAS layout, plain folders with a table, tar shards, and synthetic sets."""
