"""The frozen, validated values that flow through the pipeline.

Letters in the shapes: Q queries, N database images, K kept results, D dimensions, M local features.
Ids are stable strings from end to end; rows are positions in the database of one run and never leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import islice
from pathlib import Path
from textwrap import shorten, wrap
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, DatasetError, ImageError
from ilion.opening import open_regular, read_bytes

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
Where = str | Path
"""A file or folder, as public functions take it."""
PRINTED = 2
"""Items of a list or table that are printed."""


@dataclass(frozen=True)
class Between:
    """Marks a number that lies in a range: ``Annotated[int, Between(1, 10)]``.

    Args:
        low: Smallest value.
        high: Largest value; finite, so that neither infinity nor NaN is inside.

    >>> Between(0, 1).holds(0.5), Between(0, 1).holds(float("nan"))
    (True, False)
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether a value lies in the range."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low:,} to {self.high:,}".replace(",", " ")


class Value:
    """A value that prints itself on a few lines: arrays by type and shape, long lists by their number.

    >>> Descriptors(tuple("abcde"), np.eye(5, dtype=np.float32))
    Descriptors(ids=('a', 'b', ... 5 in all), values=float32 (5, 5))
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__repr__ = Value.__repr__  # type: ignore[method-assign]  # or `dataclass` writes one of its own

    def __repr__(self) -> str:
        lines = wrap(printed(self), 110, subsequent_indent="  ", max_lines=6, placeholder=" ...)")
        return "\n".join(lines)


def printed(value: object, depth: int = 2) -> str:
    """Return a value as one line of bounded length.

    Args:
        value: Anything.
        depth: Levels of containers and values inside that are shown.

    >>> printed({"mAP": 0.123456789, "ids": list("abcdef")})
    "{'mAP': 0.123457, 'ids': ['a', 'b', ... 6 in all]}"
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Value) or (is_dataclass(value) and not isinstance(value, type)):
        names = [f.name for f in fields(value)] if is_dataclass(value) else vars(value)
        shown = {n: getattr(value, n) for n in names if not n.startswith("_")}
        told = [f"{n}={printed(v, depth - 1)}" for n, v in shown.items() if not _nothing(v)]
        text = f"{type(value).__name__}({', '.join(told)})"
        return text if depth == 2 else shorten(text, 72, placeholder=" ...)")
    if not isinstance(value, Mapping | tuple | list):
        return shorten(repr(value), 72, placeholder=" ...")
    left, right = ("{", "}") if isinstance(value, Mapping) else "()" if isinstance(value, tuple) else "[]"
    if not depth and value:
        return f"{left}{len(value)} in all{right}"
    pairs: Iterable[Any] = value.items() if isinstance(value, Mapping) else value
    items = [
        f"{item[0]!r}: {printed(item[1], depth - 1)}" if left == "{" else printed(item, depth - 1)
        for item in islice(pairs, PRINTED)
    ]
    return f"{left}{', '.join(items)}{f', ... {len(value)} in all' if len(value) > PRINTED else ''}{right}"


def _nothing(value: object) -> bool:
    return value is None or (isinstance(value, str | tuple | Mapping) and not value)


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
        """Return the encoded bytes.

        Raises:
            DatasetError: No regular file, or one larger than any image.
            OSError: It cannot be read.
        """
        return read_bytes(self.path)

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
        with open_regular(self.path) as file:
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


@dataclass(frozen=True, slots=True)
class MemorySource:
    """An encoded image in memory."""

    id: str
    data: bytes

    def read(self) -> bytes:
        """Return the encoded bytes."""
        return self.data

    def __str__(self) -> str:
        return self.id


Source = FileSource | TarSource | MemorySource | NoSource


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: its id, where its bytes are, and the object's boxes in pixels after EXIF (may be empty)."""

    id: str
    source: Source
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Query(Value):
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
class RetrievalDataset(Value):
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

    def records(self) -> Iterator[ImageRecord]:
        """Yield the images of the database, shard by shard."""
        for shard in self.database:
            yield from shard.records()


@dataclass(frozen=True)
class Descriptors(Value):
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

    def blocks(self, size: int) -> Iterator[Float32]:
        """Yield (B, D) float32 blocks, B at most ``size``, in order of rows."""
        for start in range(0, len(self.values), size):
            yield np.asarray(self.values[start : start + size], np.float32)

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors (len(rows), D) of rows in any order, float32."""
        return np.asarray(self.values[rows], np.float32)


@dataclass(frozen=True)
class LocalFeatures(Value):
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
class TextLine(Value):
    """One line of text that was read in an image.

    Args:
        text: What was read, never empty.
        confidence: Confidence of the reader, [0, 1].
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
class Ranking(Value):
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

    @classmethod
    def from_arrays(
        cls,
        indices: NDArray[np.integer],
        similarities: NDArray[np.floating] | None = None,
        query_ids: Sequence[str] | None = None,
        database_ids: Sequence[str] | None = None,
    ) -> Self:
        """Build a ranking from the arrays that nearest-neighbour libraries give.

        Args:
            indices: (Q, K) database rows, best first; -1 fills lists that are shorter.
            similarities: (Q, K), descending; None where only the order is known. Distances must be negated.
            query_ids: Q ids; None takes "0", "1", ...
            database_ids: N ids; None takes "0", "1", ... up to the largest row.

        Raises:
            ArtifactError: The arrays are not as described.

        >>> Ranking.from_arrays(np.array([[2, 0, -1]]), np.array([[0.9, 0.5, 0]])).to_dict()
        {'0': {'2': 0.8999999761581421, '0': 0.5}}
        """
        rows = np.array(indices, np.int64, ndmin=2)
        if similarities is None:
            similarities = np.broadcast_to(-np.arange(rows.shape[1], dtype=np.float32), rows.shape)
        filled = rows >= 0
        values = np.where(filled, np.array(similarities, np.float32, ndmin=2), -np.inf).astype(np.float32)
        names = range(int(rows.max(initial=-1)) + 1) if database_ids is None else database_ids
        return cls(
            tuple(map(str, range(len(rows)) if query_ids is None else query_ids)),
            tuple(map(str, names)) if isinstance(names, range | list) else names,
            np.where(filled, rows, -1),
            values,
            filled.sum(axis=1).astype(np.int64),
        )

    @classmethod
    def from_dict(
        cls, results: Mapping[str, Mapping[str, float]], database_ids: Sequence[str] | None = None
    ) -> Self:
        """Build a ranking from scores by id.

        Args:
            results: Query id -> database id -> similarity, higher is better; ties keep their order.
            database_ids: N ids of the whole database; None takes those that occur.

        Raises:
            ArtifactError: A similarity is NaN, or an id is not in the database.

        >>> Ranking.from_dict({"q": {"a": 0.1, "b": 0.7}}).to_dict()
        {'q': {'b': 0.699999988079071, 'a': 0.10000000149011612}}
        """
        wanted = dict.fromkeys(name for found in results.values() for name in found)
        names = tuple(wanted) if database_ids is None else database_ids
        rows = {name: row for row, name in enumerate(names) if name in wanted}
        if len(rows) < len(wanted):
            raise ArtifactError(f"result {next(n for n in wanted if n not in rows)!r} is not in the database")
        shape = len(results), max(map(len, results.values()), default=0)
        indices, similarities = np.full(shape, -1, np.int64), np.full(shape, -np.inf)
        for q, found in enumerate(results.values()):
            values = np.array(list(found.values()), np.float64)
            order = np.argsort(-values, kind="stable")
            indices[q, : len(found)] = np.array([rows[name] for name in found], np.int64)[order]
            similarities[q, : len(found)] = values[order]
        return cls.from_arrays(indices, similarities, tuple(results), names)

    @classmethod
    def from_trec(cls, path: Where, database_ids: Sequence[str] | None = None) -> Self:
        """Read a run file of TREC: ``query Q0 image rank similarity tag`` on each line; ranks are not used.

        Args:
            path: The file.
            database_ids: N ids of the whole database; None takes those that occur.

        Raises:
            ArtifactError: The file cannot be read, or a line is not as described.
        """
        return cls.from_dict(_read_trec(path, 6, 4), database_ids)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return query id -> database id -> similarity, best first."""
        return {
            query: {
                self.database_ids[r]: s for r, s in zip(rows[:n].tolist(), values[:n].tolist(), strict=True)
            }
            for query, rows, values, n in zip(
                self.query_ids, self.indices, self.similarities, self.counts.tolist(), strict=True
            )
        }

    def to_trec(self, path: Where, tag: str = "ilion") -> None:
        """Write a run file of TREC; see `from_trec`.

        Raises:
            ArtifactError: An id has white space, which separates the fields.
        """
        _write_trec(
            path,
            (
                (query, "Q0", name, str(rank), repr(value), tag)
                for query, found in self.to_dict().items()
                for rank, (name, value) in enumerate(found.items(), start=1)
            ),
        )


@dataclass(frozen=True)
class GroundTruth(Value):
    """What each of Q queries should find, as rows of one database.

    Args:
        query_ids: Q ids.
        positives: Q sorted, unique int64 arrays of database rows.
        ignored: Q sorted int64 arrays, disjoint from the positives.
        unreachable: (Q,) int64, positives that are not in the database of this run (a skipped image, say);
            they count as missed.
        database_ids: Ids of the rows; None where they are those of the ranking that is judged.

    Raises:
        ArtifactError: Rows are unsorted, repeated, or both positive and ignored.
    """

    query_ids: tuple[str, ...]
    positives: tuple[Int64, ...]
    ignored: tuple[Int64, ...]
    unreachable: Int64
    database_ids: Sequence[str] | None = None

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

    @classmethod
    def from_dict(cls, positives: Mapping[str, Mapping[str, float] | Iterable[str]]) -> Self:
        """Build a ground truth by id, for a ranking of any database.

        Args:
            positives: Query id -> ids of its positives; or query id -> id -> relevance: above 0 for a
                positive, 0 for a negative, below 0 for an image that counts neither way.

        >>> GroundTruth.from_dict({"q": ["a", "b"], "r": {"a": 1, "c": -1}}).to_dict()
        {'q': {'a': 1, 'b': 1}, 'r': {'a': 1, 'c': -1}}
        """
        tables = {
            query: dict(found) if isinstance(found, Mapping) else dict.fromkeys(found, 1)
            for query, found in positives.items()
        }
        names = sorted({name for table in tables.values() for name in table})
        row = {name: number for number, name in enumerate(names)}

        def rows(sign: int) -> tuple[Int64, ...]:
            return tuple(
                np.array(sorted(row[name] for name, value in table.items() if sign * value > 0), np.int64)
                for table in tables.values()
            )

        return cls(tuple(tables), rows(1), rows(-1), np.zeros(len(tables), np.int64), tuple(names))

    @classmethod
    def from_trec(cls, path: Where) -> Self:
        """Read a relevance file of TREC (qrels): ``query 0 image relevance`` on each line; see `from_dict`.

        Raises:
            ArtifactError: The file cannot be read, or a line is not as described.
        """
        return cls.from_dict(_read_trec(path, 4, 3))

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return query id -> image id -> 1 for a positive, -1 for an ignored image.

        Raises:
            ArtifactError: The ids of the rows or of unreachable positives are not known.
        """
        if self.database_ids is None or self.unreachable.any():
            raise ArtifactError(
                "this ground truth lacks the ids of its rows, or of positives outside the database: take "
                "those of the data set (RetrievalDataset.positives)"
            )
        ids = self.database_ids
        return {
            query: {ids[r]: 1 for r in positives.tolist()} | {ids[r]: -1 for r in ignored.tolist()}
            for query, positives, ignored in zip(self.query_ids, self.positives, self.ignored, strict=True)
        }

    def to_trec(self, path: Where) -> None:
        """Write a relevance file of TREC; see `from_trec`."""
        table = self.to_dict()
        _write_trec(path, ((q, "0", i, str(v)) for q, found in table.items() for i, v in found.items()))


def _read_trec(path: Where, size: int, column: int) -> dict[str, dict[str, float]]:
    """Return query -> image -> number of the lines of a file of TREC."""
    table: dict[str, dict[str, float]] = {}
    try:
        for number, line in enumerate(read_bytes(path).decode("utf-8").splitlines(), start=1):
            parts = line.split()
            if parts and (len(parts) != size or parts[2] in table.setdefault(parts[0], {})):
                raise ValueError(f"line {number}, {line!r:.80}: not {size} fields, or an image given twice")
            if parts:
                table[parts[0]][parts[2]] = float(parts[column])
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: no such file of TREC: {error}") from error
    return table


def _write_trec(path: Where, lines: Iterable[tuple[str, ...]]) -> None:
    text = []
    for line in lines:
        if any(part.split() != [part] for part in line):
            raise ArtifactError(f"{line}: TREC separates fields by white space, so ids must have none")
        text.append(" ".join(line))
    Path(path).write_text("".join(f"{line}\n" for line in text), "utf-8")


@dataclass(frozen=True)
class Axes(Value):
    """The axes by which results are sliced.

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
