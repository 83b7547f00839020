"""Data sets: the ILIAS layout, plain folders with a table, tar shards, and synthetic sets."""

from ilion.datasets.check import DatasetCheck, check_dataset
from ilion.datasets.ids import escape_id, unescape_id
from ilion.datasets.listing import Problem
from ilion.datasets.reader import open_dataset
from ilion.datasets.render import render_check
from ilion.datasets.skeleton import new_dataset

__all__ = [
    "DatasetCheck",
    "Problem",
    "check_dataset",
    "escape_id",
    "new_dataset",
    "open_dataset",
    "render_check",
    "unescape_id",
]
