"""The words read in images, stored.

Images are read side by side in threads, one thread an image, which keeps all cores busy and holds a bounded
number of decoded images in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ilion.extraction.describe import BoxUse, StoredDescription, describe, describe_queries, load_part
from ilion.extraction.shards import stats_since
from ilion.images import least_size
from ilion.reading.base import Reader
from ilion.reading.store import ReadImage, write_texts
from ilion.storage import Artifact, TakeStats
from ilion.types import ImageRecord, Query

DETAIL = 2
"""Largest longer side of an image from which lines are cut, in sides of the detector."""


@dataclass(frozen=True)
class TextDescription(StoredDescription[ReadImage, ReadImage]):
    """The lines of text in an image.

    Args:
        reader: Reader of words; thread-safe.
    """

    reader: Reader
    kind = "texts"
    chunk = 1

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the lines depend on."""
        return self.reader.spec.as_dict()

    def load(self, record: ImageRecord, box_use: BoxUse = "none") -> ReadImage:
        """Decode an image and read it: lines with quads in pixels of the full upright image, and its size."""
        side = DETAIL * self.reader.spec.side
        part = load_part(record, least_size("long", side), box_use)
        view = part.fit_side(side)
        shrunk = np.array(view.image.shape[1::-1]) / np.array(part.image.shape[1::-1])
        scale = np.array(part.scale, np.float32) * shrunk
        lines = tuple(
            replace(line, quad=(line.quad / scale + view.offset).astype(np.float32))
            for line in self.reader.read(view.image)
        )
        return ReadImage(lines, view.full_size)

    def describe(self, images: Sequence[tuple[ImageRecord, ReadImage]]) -> list[ReadImage]:
        """Return what was read."""
        return [read for _, read in images]

    def write(
        self, artifact: Artifact, key: str, described: Iterator[tuple[str, ReadImage]], stats: TakeStats
    ) -> None:
        """Store the texts of a shard."""
        write_texts(artifact, key, described, stats)


def read_queries(
    queries: Sequence[Query],
    reader: Reader,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
) -> tuple[str, bool]:
    """Read the photos of queries.

    Args:
        queries: Image queries.
        reader: Reader of words.
        artifact: Artifact of the texts; its inputs must hold the reader's spec and the use of boxes.
        box_use: Use of the boxes of queries.
        workers: Number of threads; 0 means one per core.

    Returns:
        See `ilion.extraction.describe.describe_queries`, also for what is raised.
    """

    def store(key: str, photos: list[ImageRecord], started: float) -> None:
        found = describe(photos, TextDescription(reader), [], box_use=box_use, workers=workers)
        write_texts(artifact, key, ((p.id, read) for p, read in found), partial(stats_since, started))

    return describe_queries(queries, artifact, store, " already; only photos are read")
