"""Layouts of data sets and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ilion.errors import DatasetError
from ilion.opening import full_path
from ilion.registry import Part, Registry, answering_for_code
from ilion.types import RetrievalDataset

if TYPE_CHECKING:  # the settings import this module, and a listing knows of decoders
    from ilion.datasets.listing import Listing


class Layout(ABC):
    """One way in which data sets lie on disk; subclass it and register the class in `LAYOUTS`.

    Distractors from elsewhere, subsets and checks work for every layout. What a run stores depends on the
    ids, boxes and files that a layout gives, not on its code.
    """

    needs: ClassVar[str]
    """The files or folders by which people recognise it, for messages."""
    complete: ClassVar[bool] = True
    """Whether images are there. A layout of ids alone is chosen only where no other one fits."""

    @abstractmethod
    def recognises(self, folder: Path) -> bool:
        """Return whether a folder holds a data set of this layout, from a look at a few names."""

    @abstractmethod
    def read(self, folder: Path) -> Listing | RetrievalDataset:
        """Read a data set, without decoding any image.

        Returns:
            A `Listing`, which notes problems and goes on; or a finished data set, whose shards may be any.
        """


def _no_layout(make: object) -> str:
    whole = isinstance(make, type) and issubclass(make, Layout)
    return "" if whole else "a subclass of ilion.datasets.Layout"


LAYOUTS: Registry[type[Layout]] = Registry("data set layout", __package__, check=_no_layout)
"""The layouts; the note of a part is its name for people."""


def known_layouts() -> tuple[Part[type[Layout]], ...]:
    """Return the layouts that may be asked about any folder: code that one experiment names is not."""
    return tuple(part for part in LAYOUTS.parts() if ":" not in part.name)


def find_layout(folder: Path, name: str = "auto", trust: Sequence[str] = ()) -> Part[type[Layout]]:
    """Return the layout of a folder.

    Args:
        folder: Folder of the data set.
        name: Name of a layout, or ``auto`` to ask all of them.
        trust: Modules and files whose code may run, for a name such as ``module:Class``.

    Raises:
        ConfigError: No layout has that name.
        DatasetError: The folder lacks what the layout needs, or fits several layouts.
    """
    asked = known_layouts() if name == "auto" else (LAYOUTS.admit(name, trust),)
    with answering_for_code():
        fitting = [part for part in asked if part.make().recognises(folder)]
    fitting = [part for part in fitting if part.make.complete] or fitting
    if len(fitting) == 1:
        return fitting[0]
    needed = [f"{part.make.needs} ({part.note or part.name})" for part in fitting or asked]
    if fitting:
        names = " or ".join(repr(part.name) for part in fitting)
        raise DatasetError(f"{folder}: holds {' and '.join(needed)}; say which layout to read: {names}")
    above = full_path(folder).parent
    inside = any(part.make().recognises(above) for part in asked)
    remedy = f"give the folder above it, {above}" if inside else "ilion datasets new DIR makes one to fill in"
    raise DatasetError(f"{folder}: holds no {', nor '.join(needed)}; {remedy}")
