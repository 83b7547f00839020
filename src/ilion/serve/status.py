"""What an index holds, for `ilion status` and the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ilion.types import Value


@dataclass(frozen=True)
class IndexStatus(Value):
    """The state of an index.

    Args:
        folder: Folder of the index.
        photos: Photos that can be found.
        objects: Different objects that they show.
        without_descriptor: Photos that are in the index and cannot be found, since they could not be read.
        removed: Photos that are removed and still on the disk, until the index is compacted.
        staged: Photos that another process is adding now, or that were being added when it died.
        shards: Parts in which the photos are stored.
        design: Name of the design that answers.
        designs: Designs by number; ``current`` answers, ``previous`` answered before.
        current: Number of the design that answers.
        previous: Number of the one before; 0 without one.
        behind: Number of photos that the design before has not described; a way back describes them first.
        engine: Engine that searches global descriptors; ``embedded`` means the files of the index.
        revision: Number of changes so far.
        bytes: Bytes on the disk: ``tables``, ``artifacts``, ``photos``.
        labels: Labels that photos have, with the number of different values.
        texts: Whether the design can be asked with a text.
    """

    folder: str
    photos: int
    objects: int
    without_descriptor: int
    removed: int
    staged: int
    shards: int
    design: str
    designs: Mapping[int, str]
    current: int
    previous: int
    behind: int
    engine: str
    revision: int
    bytes: Mapping[str, int]
    labels: Mapping[str, int]
    texts: bool
