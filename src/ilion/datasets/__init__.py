"""Data sets: folders in one of the layouts become queries, shards of a database and ground truth."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilion.datasets.checking.check import DatasetCheck, check_dataset
    from ilion.datasets.checking.render import render_check
    from ilion.datasets.ids import escape_id, unescape_id
    from ilion.datasets.layouts.base import LAYOUTS, Layout
    from ilion.datasets.listing import Listing, Problem
    from ilion.datasets.reader import open_dataset
    from ilion.datasets.shards import FileShard, RecordShard, TarShard
    from ilion.datasets.skeleton import new_dataset

_HOMES = {
    "checking.check": ("DatasetCheck", "check_dataset"),
    "checking.render": ("render_check",),
    "ids": ("escape_id", "unescape_id"),
    "layouts.base": ("LAYOUTS", "Layout"),
    "listing": ("Listing", "Problem"),
    "reader": ("open_dataset",),
    "shards": ("FileShard", "RecordShard", "TarShard"),
    "skeleton": ("new_dataset",),
}
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


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: settings need the layouts and not the decoders."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
