"""Shards of the database: a run of files, one tar that is streamed without unpacking, or ids alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from ilion.datasets.ids import IdSet, read_ids, tar_key, unescape_id
from ilion.datasets.listing import is_hidden, is_image_name
from ilion.datasets.tars import index_tar
from ilion.errors import ConfigError, DatasetError
from ilion.types import (
    Box,
    FileSource,
    ImageRecord,
    KnownSource,
    MemorySource,
    NoSource,
    Shard,
    Source,
    TarSource,
)
from ilion.wording import counted

_SHOWN = 3
"""Names that stand in a message as examples."""
UNREAD_REMEDY = "give images an ending such as .jpg, and pack files in place of links"


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read any more ({error.strerror}); it was there when the data set was opened"
        ) from error
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


@dataclass(frozen=True)
class FileShard:
    """Images that are files, of which only the names are held.

    Args:
        name: Unique within the database; safe as a file name.
        base: Folder of the files.
        prefix: Beginning of the ids, before the path below ``base``.
        names: Paths below ``base``, in order.
        boxes: Boxes of the objects, by path below ``base``.
    """

    name: str
    base: Path
    prefix: str
    names: tuple[str, ...]
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)

    def records(self) -> Iterator[ImageRecord]:
        """Yield the records in their fixed order, without touching any image."""
        for name in self.names:
            yield ImageRecord(self.prefix + name, FileSource(self.base / name), self.boxes.get(name, ()))

    def fingerprint(self) -> str:
        """Return a digest of ids, boxes and the size, modification and change time of every file.

        Raises:
            DatasetError: A file is gone.
        """
        return _fingerprint(self.records())


@dataclass(frozen=True)
class RecordShard:
    """Images that are given one by one, wherever they are.

    Args:
        name: Unique within the database; safe as a file name.
        images: Records in order.
    """

    name: str
    images: tuple[ImageRecord, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the images."""
        return tuple(record.id for record in self.images)

    def records(self) -> Iterator[ImageRecord]:
        """Yield the records in their fixed order, without touching any image."""
        yield from self.images

    def fingerprint(self) -> str:
        """Return a digest of ids, boxes and the place, size and times of every file.

        Raises:
            DatasetError: A file is gone.
        """
        return _fingerprint(self.images)


def _fingerprint(records: Iterable[ImageRecord]) -> str:
    digest = blake2b(digest_size=16)
    for record in records:
        source = record.source
        if isinstance(source, MemorySource):
            state = blake2b(source.data, digest_size=16).hexdigest()
        elif isinstance(source, KnownSource):
            state = source.digest
        else:
            state = "" if isinstance(source, NoSource) else _stamp(source.path)
        if isinstance(source, TarSource):
            state += f" {source.member} {source.offset} {source.size}"
        digest.update(f"{record.id}\0{_plain_boxes(record.boxes)}\0{state}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _plain_boxes(boxes: Iterable[Box]) -> list[tuple[float, float, float, float]]:
    return [(box.x, box.y, box.width, box.height) for box in boxes]


class _Images(NamedTuple):
    """What a tar holds: key, member, offset and size of each image, and what of it is not read."""

    rows: tuple[tuple[str, str, int, int], ...]
    unread: tuple[str, ...]


@lru_cache(maxsize=4)
def _index(path: Path, _stamp: str) -> _Images:
    # A few indexes and not all: those of 1,000 tars of 100,000 images would take tens of gigabytes.
    rows = []
    seen: set[str] = set()
    alone: dict[str, str] = {}
    members, links = index_tar(path)
    for member, offset, size in members:
        key = tar_key(member)
        if is_hidden(os.path.basename(member)):
            continue
        if not is_image_name(member) or not key:
            alone.setdefault(key, member)
            continue
        if key in seen:
            raise DatasetError(
                f"{path}!{member}: the key {key!r} occurs twice in this tar; ids must be unique, so pack it "
                "again with one image a key (the key is the name up to its first dot)"
            )
        seen.add(key)
        rows.append((key, member, offset, size))
    lost = [member for key, member in alone.items() if key not in seen]
    unread = []
    if lost:
        unread.append(f"{counted(len(lost), 'member')} without an image of that name ({_some(lost)})")
    if links:
        unread.append(f"{counted(len(links), 'link')} to no file before ({_some(links)})")
    return _Images(tuple(rows), tuple(unread))


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (" ..." if len(names) > _SHOWN else "")


@dataclass(frozen=True)
class TarShard:
    """The images of one tar in WebDataset form; the id is ``<tar file name>/<key>``.

    Members that are no images (captions, metadata) belong to the image of the same key.

    Args:
        name: Unique within the database; safe as a file name.
        path: The uncompressed tar.
        subset: Images that stay; None keeps all.
    """

    name: str
    path: Path
    subset: IdSet | None = None

    def records(self) -> Iterator[ImageRecord]:
        """Yield the records in the order of the tar, without decoding any image.

        Raises:
            DatasetError: The tar is damaged, or a key occurs twice.
        """
        for key, member, offset, size in _index(self.path, _stamp(self.path)).rows:
            image_id = f"{self.path.name}/{key}"
            if self.subset is None or self.subset.take(image_id, key):
                yield ImageRecord(image_id, TarSource(self.path, member, offset, size))

    def unread(self) -> str:
        """Return in words what of the tar is not read, "" for nothing.

        Raises:
            DatasetError: The tar is damaged, or a key occurs twice.
        """
        return " and ".join(_index(self.path, _stamp(self.path)).unread)

    def fingerprint(self) -> str:
        """Return a digest of the tar's name, size, modification and change time, and of the subset.

        Raises:
            DatasetError: The tar is gone.
        """
        subset = self.subset.digest if self.subset else "all"
        line = f"{self.path.name}\0{_stamp(self.path)}\0{subset}"
        return blake2b(line.encode(errors="surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class IdShard:
    """Images of which only the ids are known.

    Args:
        name: Unique within the database; safe as a file name.
        ids: The ids in order, or an id file that is streamed.
        subset: Images that stay; None keeps all.
    """

    name: str
    ids: tuple[str, ...] | Path
    subset: IdSet | None = None

    def records(self) -> Iterator[ImageRecord]:
        """Yield the records in their fixed order; reading one of their images is an error.

        Raises:
            DatasetError: The id file cannot be read.
        """
        for image_id in (
            (unescape_id(i) for i in read_ids(self.ids)) if isinstance(self.ids, Path) else self.ids
        ):
            if self.subset is None or self.subset.take(image_id, image_id.partition("/")[2]):
                yield ImageRecord(image_id, NoSource(image_id))

    def fingerprint(self) -> str:
        """Return a digest of the ids, or of the id file's size, modification and change time, and the subset.

        Raises:
            DatasetError: The file is gone.
        """
        content = _stamp(self.ids) if isinstance(self.ids, Path) else "\n".join(self.ids)
        subset = self.subset.digest if self.subset else "all"
        return blake2b(f"{content}\0{subset}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def plain_shard(shard: Shard) -> dict[str, Any]:
    """Return plain values from which another process can build the same shard.

    Raises:
        ConfigError: The shard is no `FileShard`, `RecordShard` or `TarShard`.
    """
    if isinstance(shard, FileShard):
        boxes = {name: _plain_boxes(each) for name, each in shard.boxes.items()}
        place = {"base": str(shard.base), "prefix": shard.prefix}
        return {"kind": "files", "name": shard.name, **place, "names": list(shard.names), "boxes": boxes}
    if isinstance(shard, RecordShard):
        images = [[r.id, _plain_boxes(r.boxes), *_plain_source(r.source)] for r in shard.images]
        return {"kind": "records", "name": shard.name, "images": images}
    if isinstance(shard, TarShard):
        subset = str(shard.subset.source) if shard.subset else ""
        return {"kind": "tar", "name": shard.name, "path": str(shard.path), "subset": subset}
    raise ConfigError(f"{shard.name}: a {type(shard).__name__} cannot be sent to another process")


def _plain_source(source: Source) -> tuple[str | int, ...]:
    if isinstance(source, KnownSource):
        source = source.place
    if isinstance(source, TarSource):
        return (str(source.path), source.member, source.offset, source.size)
    if isinstance(source, MemorySource):
        raise ConfigError(f"{source}: an image in memory cannot be sent to another process")
    return () if isinstance(source, NoSource) else (str(source.path),)


def _source_from(image_id: str, place: Sequence[Any]) -> Source:
    if len(place) > 1:
        return TarSource(Path(place[0]), *place[1:])
    return FileSource(Path(place[0])) if place else NoSource(image_id)


def shard_from(plain: Mapping[str, Any]) -> Shard:
    """Build the shard that `plain_shard` described; its fingerprint tells whether it still is the same.

    Raises:
        DatasetError: The id file of a subset cannot be read.
    """
    if plain["kind"] == "tar":
        subset = _subset(plain["subset"]) if plain["subset"] else None
        return TarShard(plain["name"], Path(plain["path"]), subset)
    if plain["kind"] == "records":
        images = (
            ImageRecord(image_id, _source_from(image_id, place), tuple(Box(*box) for box in boxes))
            for image_id, boxes, *place in plain["images"]
        )
        return RecordShard(plain["name"], tuple(images))
    boxes = {name: tuple(Box(*box) for box in each) for name, each in plain["boxes"].items()}
    return FileShard(plain["name"], Path(plain["base"]), plain["prefix"], tuple(plain["names"]), boxes)


@lru_cache(maxsize=2)
def _subset(path: str) -> IdSet:
    return IdSet(read_ids(Path(path)), Path(path))
