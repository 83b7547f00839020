"""The frozen, validated values that flow through the pipeline.

Letters in the shapes: Q queries, N database images, K kept results, D dimensions, M local features.
Ids are stable strings from end to end; rows are positions in the database of one run and never leave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, DatasetError, ImageError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
RGB = NDArray[np.uint8]
"""A decoded image: (H, W, 3), RGB, upright after EXIF."""
Resize = Literal["long", "short", "square", "center-crop", "pad", "none"]
"""How an image is brought to the side that a model takes; see `ilion.images.resize`."""
Metric = Literal["cosine", "hamming"]
"""How local descriptors compare: as directions, or as bits packed in uint8."""


def _freeze(array: NDArray[np.generic]) -> None:
    array.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels of the upright image, origin top left.

    Args:
        x: Left edge.
        y: Top edge.
        width: Positive.
        height: Positive.

    Raises:
        DatasetError: A side is not a positive finite number.

    >>> Box(10, 20, 30, 40).area
    1200
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        values = (self.x, self.y, self.width, self.height)
        if not all(np.isfinite(v) for v in values) or self.width <= 0 or self.height <= 0:
            raise DatasetError(f"box {values} needs finite numbers and a positive width and height")

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class FileSource:
    """An image stored as one file."""

    path: Path

    def read(self) -> bytes:
        """Return the encoded bytes."""
        return self.path.read_bytes()

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class TarSource:
    """An image stored as a byte range of an uncompressed tar."""

    path: Path
    member: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the encoded bytes, without unpacking anything."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size:
            raise DatasetError(f"{self}: the tar ends after {len(data)} of {self.size} bytes; fetch it again")
        return data

    def __str__(self) -> str:
        return f"{self.path}!{self.member}"


@dataclass(frozen=True, slots=True)
class NoSource:
    """An image of which only the id is known."""

    id: str

    def read(self) -> bytes:
        """Raise.

        Raises:
            ImageError: Always: there are no bytes.
        """
        raise ImageError(
            f"{self.id}: only the id of this image is known; give a data set with images, or descriptors "
            'of others (extraction.model = "imported:FOLDER", see docs/interop.md)'
        )

    def __str__(self) -> str:
        return self.id


Source = FileSource | TarSource | NoSource


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: its id, where its bytes are, and the object's boxes in pixels after EXIF (may be empty)."""

    id: str
    source: Source
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for: an image of the instance, or a text that describes it.

    Args:
        id: Stable id, unique among the queries of a data set.
        instance: The object that the query shows; queries of one instance are not independent.
        image: The image, or None for a text query.
        text: The description, or None for an image query.

    Raises:
        DatasetError: Both or neither of image and text are given.
    """

    id: str
    instance: str
    image: ImageRecord | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if (self.image is None) == (self.text is None):
            raise DatasetError(f"query {self.id!r} must be either an image or a text")


@runtime_checkable
class Shard(Protocol):
    """A part of the database that is read, computed and stored as one unit."""

    @property
    def name(self) -> str:
        """Unique within the database; safe as a file name."""
        ...

    def records(self) -> Iterator[ImageRecord]:
        """Yield the records in their fixed order, without decoding any image."""
        ...

    def fingerprint(self) -> str:
        """Return a digest that changes when the content or order of the shard changes."""
        ...


@dataclass(frozen=True)
class RetrievalDataset:
    """Queries, a sharded database and what is known about them.

    Args:
        name: Shown to people.
        root: Folder of the data set; only for messages and reports.
        queries: Image and text queries, unique ids.
        database: Shards in order; rows of a run follow this order.
        positives: Query id -> ids of database images that show its instance.
        ignored: Query id -> ids of database images that count neither way (the field's "junk").
        labels: Axis (such as ``category``) -> instance -> label.
        attributes: Axis (``scale``: object area as a fraction of the image, ``clutter``: object count) ->
            id of a positive -> value.
        notes: What a reader of the results should know about the set (ids of a subset that are not there,
            photos without a size ...), one sentence each.
        complete: Whether every image of a database is in its shards. False for data sets of ids, and for
            descriptors of others: their database may hold images that are not here.
    """

    name: str
    root: Path
    queries: tuple[Query, ...]
    database: tuple[Shard, ...]
    positives: Mapping[str, tuple[str, ...]]
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    complete: bool = True

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for query in self.queries:
            if query.id in seen:
                raise DatasetError(f"{self.name}: query id {query.id!r} occurs twice; ids must be unique")
            seen.add(query.id)
            if query.id not in self.positives:
                raise DatasetError(f"{self.name}: query {query.id!r} has no entry in the ground truth")
        names = [shard.name for shard in self.database]
        if len(set(names)) != len(names):
            raise DatasetError(f"{self.name}: two database shards have the same name")


@dataclass(frozen=True)
class Descriptors:
    """Global descriptors, one row an image.

    Args:
        ids: N ids.
        values: (N, D) float16 or float32, each row L2-normalised. A memory-mapped file is not looked through
            when it is opened (it was before it was written); search checks the rows that it reads.

    Raises:
        ArtifactError: Lengths differ, a value is not finite, or the type is another one.
    """

    ids: tuple[str, ...]
    values: NDArray[np.floating]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype not in (np.float16, np.float32):
            raise ArtifactError(
                f"descriptors must be (N, D) float16 or float32, got {self.values.shape} {self.values.dtype}"
            )
        if len(self.ids) != len(self.values):
            raise ArtifactError(f"{len(self.ids)} ids for {len(self.values)} descriptors")
        if not isinstance(self.values, np.memmap) and not np.isfinite(self.values).all():
            rows = np.flatnonzero(~np.isfinite(self.values).all(axis=1))
            raise ArtifactError(
                f"the descriptor of {self.ids[rows[0]]!r} (and {len(rows) - 1} more) has NaN or infinity"
            )

    @property
    def dim(self) -> int:
        """Number of dimensions D."""
        return int(self.values.shape[1])


@dataclass(frozen=True)
class LocalFeatures:
    """Local features of one image.

    Args:
        keypoints: (M, 2) float32 x, y in pixels of the upright image.
        descriptors: (M, d).
        scores: (M,) float32, higher is stronger.
        image_size: (width, height) in pixels that the keypoints refer to.
        scales: (M,) float32, positive size of each keypoint in pixels; None where the detector gives none.
        angles: (M,) float32, orientation in radians from the x axis towards the y axis (clockwise on a
            screen); None where the detector gives none.

    Raises:
        ArtifactError: The lengths differ.
    """

    keypoints: Float32
    descriptors: NDArray[np.generic]
    scores: Float32
    image_size: tuple[int, int]
    scales: Float32 | None = None
    angles: Float32 | None = None

    def __post_init__(self) -> None:
        m = len(self.keypoints)
        if self.keypoints.shape != (m, 2) or len(self.descriptors) != m or self.scores.shape != (m,):
            raise ArtifactError(
                f"local features disagree: keypoints {self.keypoints.shape}, "
                f"descriptors {self.descriptors.shape}, scores {self.scores.shape}"
            )
        for name, values in (("scales", self.scales), ("angles", self.angles)):
            if values is not None and values.shape != (m,):
                raise ArtifactError(f"local features disagree: {m} keypoints, {name} {values.shape}")

    def take(self, rows: Int64 | slice) -> LocalFeatures:
        """Return some of the features, in the order of ``rows``."""
        return LocalFeatures(
            keypoints=self.keypoints[rows],
            descriptors=self.descriptors[rows],
            scores=self.scores[rows],
            image_size=self.image_size,
            scales=None if self.scales is None else self.scales[rows],
            angles=None if self.angles is None else self.angles[rows],
        )


@dataclass(frozen=True, eq=False)
class TextLine:
    """One line of text that was read in an image.

    Args:
        text: What was read, never empty.
        confidence: Of the reader, [0, 1].
        quad: (4, 2) float32 corners x, y in pixels of the upright image: top left, top right, bottom right,
            bottom left of the line as it is read.

    Raises:
        ArtifactError: A value is out of range.
    """

    text: str
    confidence: float
    quad: Float32

    def __post_init__(self) -> None:
        if not self.text or not 0 <= self.confidence <= 1 or self.quad.shape != (4, 2):
            raise ArtifactError(
                f"a line needs text, a confidence in [0, 1] and four corners, got {self.text!r}, "
                f"{self.confidence} and {self.quad.shape}"
            )
        _freeze(self.quad)

    @property
    def height(self) -> float:
        """Height of the line in pixels: the shorter side of its quad."""
        along, down = self.quad[1] - self.quad[0], self.quad[3] - self.quad[0]
        return float(min(np.hypot(*along), np.hypot(*down)))


@dataclass(frozen=True)
class Ranking:
    """The results of Q queries over N database images, always batched.

    Args:
        query_ids: Q unique ids.
        database_ids: N unique ids; row r of the database is ``database_ids[r]``.
        indices: (Q, K) int64 database rows, best first; -1 beyond ``counts``.
        similarities: (Q, K) float32, descending; ties by lower row; -inf beyond ``counts``.
        counts: (Q,) int64, how many results each query really has, at most K.

    Raises:
        ArtifactError: A promise above does not hold. Order among ties is not checked here, because a
            re-ranked list may break them otherwise.
    """

    query_ids: tuple[str, ...]
    database_ids: Sequence[str]
    indices: Int64
    similarities: Float32
    counts: Int64

    def __post_init__(self) -> None:
        q, n = len(self.query_ids), len(self.database_ids)
        k = self.indices.shape[1] if self.indices.ndim == 2 else -1
        if self.indices.shape != (q, k) or self.similarities.shape != (q, k) or self.counts.shape != (q,):
            raise ArtifactError(
                f"ranking of {q} queries: indices {self.indices.shape}, similarities "
                f"{self.similarities.shape}, counts {self.counts.shape} do not fit together"
            )
        if len(set(self.query_ids)) != q:
            raise ArtifactError("a query id occurs twice in the ranking")
        if q and (self.counts.min() < 0 or self.counts.max() > k):
            raise ArtifactError(f"counts must lie in [0, {k}]")
        kept = np.arange(k) < self.counts[:, None]
        rows = self.indices[kept]
        if rows.size and (rows.min() < 0 or rows.max() >= n):
            raise ArtifactError(f"a result points at row {int(rows.max())} of a database of {n}")
        if not (self.indices[~kept] == -1).all():
            raise ArtifactError("indices beyond counts must be -1")
        in_order = np.sort(np.where(kept, self.indices, -1 - np.arange(k)), axis=1)
        if k > 1 and (in_order[:, 1:] == in_order[:, :-1]).any():
            raise ArtifactError("a database row occurs twice in one result list")
        if np.isnan(self.similarities[kept]).any():
            raise ArtifactError("a similarity is NaN")
        if k > 1 and (self.similarities[:, 1:] > self.similarities[:, :-1]).any():
            raise ArtifactError("similarities must be descending")
        for array in (self.indices, self.similarities, self.counts):
            _freeze(array)


@dataclass(frozen=True)
class GroundTruth:
    """What each of Q queries should find, as rows of one database.

    Args:
        query_ids: Q ids.
        positives: Q sorted, unique int64 arrays of database rows.
        ignored: Q sorted int64 arrays, disjoint from the positives.
        unreachable: (Q,) int64, positives that are not in the database of this run (a skipped image, say);
            they count as missed.

    Raises:
        ArtifactError: Rows are unsorted, repeated, or both positive and ignored.
    """

    query_ids: tuple[str, ...]
    positives: tuple[Int64, ...]
    ignored: tuple[Int64, ...]
    unreachable: Int64

    def __post_init__(self) -> None:
        q = len(self.query_ids)
        if len(self.positives) != q or len(self.ignored) != q or self.unreachable.shape != (q,):
            raise ArtifactError("ground truth: every query needs positives, ignored and an unreachable count")
        for query, positives, ignored in zip(self.query_ids, self.positives, self.ignored, strict=True):
            for rows in (positives, ignored):
                if rows.ndim != 1 or (np.diff(rows) <= 0).any() or (rows.size and rows[0] < 0):
                    raise ArtifactError(
                        f"ground truth of {query!r}: rows must be sorted, unique, not negative"
                    )
            if np.intersect1d(positives, ignored).size:
                raise ArtifactError(f"ground truth of {query!r}: a row is both positive and ignored")

    def __len__(self) -> int:
        return len(self.query_ids)


@dataclass(frozen=True)
class Axes:
    """By what results are sliced.

    Args:
        instances: (Q,) the instance of each query; bootstrap and label averages go over these.
        query_labels: Axis -> (Q,) label of each query, such as its category ("" where unknown).
        row_values: Axis (``scale``, ``clutter``) -> database row of a positive -> value.
        unreachable_values: Axis -> (Q,) values of each query's unreachable positives, where they are known.
    """

    instances: tuple[str, ...]
    query_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_values: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    unreachable_values: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
