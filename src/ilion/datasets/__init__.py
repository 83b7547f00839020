"""Data sets: folders in one of the layouts become queries, shards of a database and ground truth."""

from ilion.datasets.checking.check import DatasetCheck, check_dataset
from ilion.datasets.checking.render import render_check
from ilion.datasets.ids import escape_id, unescape_id
from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.listing import Listing, Problem
from ilion.datasets.reader import open_dataset
from ilion.datasets.shards import FileShard, RecordShard, TarShard
from ilion.datasets.skeleton import new_dataset

__all__ = [
    "LAYOUTS",
    "DatasetCheck",
    "FileShard",
    "Layout",
    "Listing",
    "Problem",
    "RecordShard",
    "TarShard",
    "check_dataset",
    "escape_id",
    "new_dataset",
    "open_dataset",
    "render_check",
    "unescape_id",
]
