"""Data sets: the ILIAS layout, plain folders with a table, tar shards, and synthetic sets."""

from ilion.datasets.checking.check import DatasetCheck, check_dataset
from ilion.datasets.checking.render import render_check
from ilion.datasets.ids import escape_id, unescape_id
from ilion.datasets.layouts.listing import Problem
from ilion.datasets.layouts.skeleton import new_dataset
from ilion.datasets.reader import open_dataset

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
