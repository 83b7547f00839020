"""Photos as postings of the local search, and queries as they are looked up in it, stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from ilion.extraction.describe import BoxUse, StoredDescription, describe_queries, load_part
from ilion.extraction.shards import stats_since
from ilion.images import least_size
from ilion.runtime.threads import in_order
from ilion.searching.local import (
    Encoded,
    LocalModel,
    LocalSettings,
    QuerySpots,
    describe_query,
    encode,
    index_inputs,
    read_photos,
    write_shard,
)
from ilion.storage import Artifact, TakeStats, read_arrays, read_json, write_arrays, write_head, write_json
from ilion.types import Box, ImageRecord, Query


@dataclass(frozen=True)
class PhotoDescription(StoredDescription[Encoded, Encoded]):
    """What the local search stores of a photo. All of it is done in the loading threads, a photo each."""

    model: LocalModel
    settings: LocalSettings
    kind = "postings"
    takes_over = True

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the numbers depend on."""
        return {"name": "local", **index_inputs(self.model, self.settings)}

    def load(self, record: ImageRecord, box_use: BoxUse) -> Encoded:
        """Read, decode, resize and describe a photo."""
        view = load_part(record, least_size("long", self.settings.side), box_use)
        return encode(view.image, view.full_size, self.model, self.settings)

    def describe(self, images: Sequence[tuple[ImageRecord, Encoded]]) -> list[Encoded]:
        """Return what `load` made."""
        return [encoded for _, encoded in images]

    def write(
        self, artifact: Artifact, key: str, described: Iterator[tuple[str, Encoded]], stats: TakeStats
    ) -> None:
        """Store the postings of a shard."""
        write_shard(artifact, key, described, self.model.words, stats)

    def earlier(self, artifact: Artifact, key: str) -> Callable[[int], Encoded]:
        """Return what reads the photos of an earlier shard."""
        return read_photos(artifact, key, self.model.words)


def describe_photo_queries(
    photos: Sequence[ImageRecord],
    model: LocalModel,
    settings: LocalSettings,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
) -> list[QuerySpots]:
    """Describe the photos of queries at all sizes, in memory.

    Args:
        photos: Photos of the queries.
        model: Words and codes.
        settings: The sizes.
        box_use: Use of the boxes of queries.
        workers: Number of threads; 0 means one per core.

    Raises:
        ImageError: A photo is unreadable.
    """

    def look(photo: ImageRecord) -> QuerySpots:
        view = load_part(photo, least_size("long", settings.side), box_use)
        height, width = view.image.shape[:2]
        across, down = view.scale
        left, top = view.offset
        part = Box(float(left), float(top), width / across, height / down)
        return describe_query(
            view.image, model, settings, part=part, photo_size=view.full_size, shown=view.shown
        )

    return [done.result() for _, done in in_order(photos, look, workers=workers)]


def extract_photo_queries(
    queries: Sequence[Query],
    model: LocalModel,
    settings: LocalSettings,
    artifact: Artifact,
    *,
    box_use: BoxUse = "crop",
    workers: int = 0,
) -> tuple[str, bool]:
    """Describe and store image queries.

    Args:
        queries: Image queries.
        model: Words and codes.
        settings: The sizes.
        artifact: Artifact of the queries; its inputs must hold what they depend on.
        box_use: Use of the boxes of queries.
        workers: Number of threads; 0 means one per core.

    Returns:
        See `ilion.extraction.describe.describe_queries`, also for what is raised.
    """

    def store(key: str, photos: list[ImageRecord], started: float) -> None:
        found = describe_photo_queries(photos, model, settings, box_use=box_use, workers=workers)
        arrays = {
            name: np.concatenate([getattr(spots, name) for spots in found]) if found else np.empty(0)
            for name in ("vectors", "frames", "levels")
        }
        arrays["counts"] = np.array([len(spots.frames) for spots in found])
        arrays["parts"] = np.array([(s.part.x, s.part.y, s.part.width, s.part.height) for s in found])
        arrays["tones"] = np.array([spots.tones for spots in found])
        arrays["photo_sizes"] = np.array([spots.photo_size for spots in found])
        path = artifact.folder / f"{key}.npz"
        write_arrays(path, arrays)
        write_json(artifact.folder / f"{key}.stats.json", stats_since(started, len(photos)))
        write_head(artifact.folder / f"{key}.ids.json", {"ids": [photo.id for photo in photos]}, [path])

    no = ", which has no local features; ask with a photo, or take a model that takes texts"
    return describe_queries(queries, artifact, store, no)


_FORMS = {
    "vectors": ("f", 2), "frames": ("f", 2), "levels": ("iu", 1), "counts": ("iu", 1), "parts": ("f", 2),
    "photo_sizes": ("iu", 2), "tones": ("u", 4),
}  # fmt: skip


class _Head(TypedDict):
    ids: list[str]


def read_photo_queries(artifact: Artifact, key: str) -> dict[str, QuerySpots]:
    """Read what `extract_photo_queries` stored: id -> query.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    ids = read_json(artifact.folder / f"{key}.ids.json", _Head)["ids"]
    arrays = read_arrays(artifact.folder / f"{key}.npz", _FORMS if ids else {})
    ends = np.cumsum(arrays["counts"])
    parts = {name: np.split(arrays[name], ends[:-1]) for name in ("vectors", "frames", "levels") if len(ends)}
    return {
        name: QuerySpots(
            **{field: values[row] for field, values in parts.items()},
            tones=arrays["tones"][row],
            part=Box(*arrays["parts"][row].tolist()),
            photo_size=tuple(arrays["photo_sizes"][row].tolist()),
        )
        for row, name in enumerate(ids)
    }
