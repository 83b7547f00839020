"""Data sets: the ILIAS layout, plain folders with a table, tar shards, and synthetic sets."""

from ilion.datasets.ids import escape_id, unescape_id
from ilion.datasets.reader import open_dataset
from ilion.datasets.skeleton import new_dataset

__all__ = ["escape_id", "new_dataset", "open_dataset", "unescape_id"]
