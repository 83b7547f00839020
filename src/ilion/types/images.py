"""Images, queries and data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ilion.errors import DatasetError, ImageError
from ilion.opening import open_regular, read_bytes
from ilion.types.printing import Value
from ilion.types.protocol import BenchmarkProtocol


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
            OSError: The file cannot be read.
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
class MemorySource(Value):
    """An encoded image in memory."""

    id: str
    data: bytes

    def read(self) -> bytes:
        """Return the encoded bytes."""
        return self.data

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class KnownSource:
    """An image whose content is known by its digest, wherever it lies now.

    Args:
        place: File, or byte range of a tar.
        digest: Digest of the encoded bytes.
    """

    place: FileSource | TarSource
    digest: str

    def read(self) -> bytes:
        """Return the encoded bytes; see the sources."""
        return self.place.read()

    def __str__(self) -> str:
        return str(self.place)


Source = FileSource | TarSource | MemorySource | NoSource | KnownSource


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
        notes: Remarks on the set for the reader of the results (ids of a subset that are not there,
            photos without a size ...), one sentence each.
        complete: Whether every image of a database is in its shards. False for data sets of ids, and for
            descriptors of others: their database may hold images that are not here.
        protocols: Ways in which the authors of the benchmark judge it; the first one is what they quote most.
        companions: Image query -> text that may be asked with it; where there are none, the texts of the same
            instance are.
        among: Database id -> instance, where a query is searched among the images of its instance only;
            empty: all queries are searched in the whole database.
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
    protocols: tuple[BenchmarkProtocol, ...] = ()
    companions: Mapping[str, str] = field(default_factory=dict)
    among: Mapping[str, str] = field(default_factory=dict)

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
