"""Photos to put into an index: folders, tars, tables and data sets, without any ground truth."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from ilion.datasets.layouts.base import known_layouts
from ilion.datasets.listing import IMAGE_SUFFIXES, Listing, is_image_name, scan
from ilion.datasets.reader import open_dataset
from ilion.datasets.shards import TarShard
from ilion.datasets.tables import Row, read_table
from ilion.errors import DatasetError, ImageError
from ilion.extraction.describe import naming_place
from ilion.images import decode, probe, resize
from ilion.opening import full_path
from ilion.types import (
    Box,
    FileSource,
    ImageRecord,
    KnownSource,
    MemorySource,
    RetrievalDataset,
    Source,
    TarSource,
)
from ilion.wording import counted

THUMBNAIL = 256
"""Longer side of a thumbnail, pixels."""
BATCH = 500
"""Photos that are described and stored as one shard."""
NAMED = 5
"""Files that are no photos and are named."""
_BOX = ("x", "y", "width", "height")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewPhoto:
    """A photo to be added.

    Args:
        id: Id of the photo; a photo of the same id is replaced.
        source: Place of its bytes.
        views: Objects that it shows, each with its boxes.
        labels: Labels of the photo.
    """

    id: str
    source: Source
    views: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Photos that become one shard.

    Args:
        name: Name of the shard; "" for the next free one.
        photos: The photos, in order.
        content: Fingerprint of a shard that is described already; "" where it is not.
    """

    name: str
    photos: Iterable[NewPhoto]
    content: str = ""


@dataclass(frozen=True)
class Seen:
    """What a look at a photo gives.

    Args:
        digest: Digest of its bytes.
        size: Width and height in pixels, upright; (0, 0) where it cannot be read.
        jpeg: Thumbnail; empty where it cannot be read.
        problem: Why it cannot be read; "" for a good one.
    """

    digest: str
    size: tuple[int, int]
    jpeg: bytes
    problem: str = ""


def look_at(source: Source, place: str) -> Seen:
    """Read a photo: digest, size and thumbnail."""
    data = b""
    try:
        with naming_place(ImageRecord(place, source)):
            data = source.read()
            size = probe(data, where=str(source)).size
            jpeg = thumbnail(data, str(source))
    except DatasetError as error:
        return Seen(digest_of(data), (0, 0), b"", str(error))
    return Seen(digest_of(data), size, jpeg)


def digest_of(data: bytes) -> str:
    """Return the digest by which the content of a photo is known."""
    return blake2b(data, digest_size=16).hexdigest()


def thumbnail(data: bytes, where: str = "", side: int = THUMBNAIL) -> bytes:
    """Return a photo as a small JPEG.

    Args:
        data: The encoded photo.
        where: Place for messages.
        side: Longer side in pixels.

    Raises:
        ImageError: The photo cannot be decoded.
    """
    image = decode(data, at_least=(side, 1), where=where).image
    if max(image.shape[:2]) > side:
        image = resize(image, "long", side)
    done, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not done:
        raise ImageError(f"{where}: its thumbnail cannot be encoded")
    return bytes(jpeg)


def gather(
    sources: Sequence[Path], *, objects: bool = True, shown: str = "", labels: Mapping[str, str] | None = None
) -> Iterator[Batch]:
    """Yield the photos of folders, tars, tables, single photos and data sets, in batches.

    Args:
        sources: Paths of folders, tars, tables, photos or data sets.
        objects: Whether a photo in a folder of a folder shows the object that the first folder is named by.
        shown: Object that all of them show; "" leaves it to what is known.
        labels: Labels for all of them.

    Raises:
        DatasetError: Something does not exist, holds no photo, or is no table; two photos have the same id.
    """
    seen: dict[str, Path] = {}
    for path in sources:
        found = 0
        for batch in _batches(path, objects, len(sources) > 1):
            photos = []
            for photo in batch.photos:
                if seen.setdefault(photo.id, path) is not path:
                    raise DatasetError(
                        f"{path}: a photo {photo.id!r} is in {seen[photo.id]} too; ids must be unique: "
                        "rename one, or add them one after the other to replace it"
                    )
                views = {shown: ()} if shown else photo.views
                photos.append(NewPhoto(photo.id, photo.source, views, {**photo.labels, **(labels or {})}))
            found += len(photos)
            yield Batch(batch.name, photos, batch.content)
        if not found:
            raise DatasetError(
                f"{path}: holds no photo; known endings are {', '.join(sorted(IMAGE_SUFFIXES))}"
            )


def _batches(path: Path, objects: bool, several: bool) -> Iterator[Batch]:
    if not path.exists():
        raise DatasetError(f"{path}: does not exist; give a folder, a tar, a table (.csv) or a photo")
    if path.is_dir():
        if any(part.make().recognises(path) for part in known_layouts()):
            yield from dataset_batches(open_dataset(path))
            return
        yield from _cut(_folder(path, objects, f"{full_path(path).name}/" if several else ""))
    elif path.suffix == ".tar":
        yield from _cut(NewPhoto(r.id, r.source) for r in TarShard("tar", full_path(path)).records())
    elif path.suffix in (".csv", ".tsv"):
        yield from _cut(_table(path))
    elif is_image_name(path.name):
        yield Batch("", [NewPhoto(path.name, FileSource(full_path(path)))])
    else:
        raise DatasetError(f"{path}: is no folder, tar, table (.csv) or photo")


def dataset_batches(dataset: RetrievalDataset, sealed: bool = False) -> Iterator[Batch]:
    """Yield the database of a data set, shard by shard; what its photos show comes from the ground truth.

    Args:
        dataset: The data set.
        sealed: Whether its shards were described as they are now, and keep their fingerprints.
    """
    shown: dict[str, dict[str, None]] = {}
    for query in dataset.queries:
        for name in (*dataset.positives[query.id], *dataset.ignored.get(query.id, ())):
            shown.setdefault(name, {})[query.instance] = None

    def photo(record: ImageRecord) -> NewPhoto:
        objects = tuple(shown.get(record.id, ()))
        labels = {
            axis: found[name] for axis, found in dataset.labels.items() for name in objects if name in found
        }
        boxes = record.boxes if len(objects) == 1 else ()
        return NewPhoto(record.id, record.source, dict.fromkeys(objects, boxes), labels)

    for shard in dataset.database:
        content = shard.fingerprint() if sealed else ""
        yield Batch(shard.name, [photo(record) for record in shard.records()], content)


def _cut(photos: Iterable[NewPhoto]) -> Iterator[Batch]:
    batch: list[NewPhoto] = []
    for photo in photos:
        batch.append(photo)
        if len(batch) == BATCH:
            yield Batch("", batch)
            batch = []
    if batch:
        yield Batch("", batch)


def _folder(folder: Path, objects: bool, prefix: str) -> Iterator[NewPhoto]:
    """Yield the photos and the photos in tars below a folder."""
    listing = Listing(folder, folder, folder)
    base, others = full_path(folder), list[str]()
    for name in scan(folder, listing):
        path = base / name
        if path.suffix == ".tar":
            for record in TarShard("tar", path).records():
                yield NewPhoto(f"{prefix}{record.id}", record.source)
        elif is_image_name(name):
            shown = name.split("/")[0] if objects and "/" in name else ""
            yield NewPhoto(f"{prefix}{name}", FileSource(path), {shown: ()} if shown else {})
        else:
            others.append(name)
    if others:
        names = ", ".join(others[:NAMED]) + (", ..." if len(others) > NAMED else "")
        unread = "file has no ending of a photo and is", "files have no ending of a photo and are"
        log.warning("%s: %s not read: %s", folder, counted(len(others), *unread), names)
    _refuse(listing)


def _table(path: Path) -> Iterator[NewPhoto]:
    """Yield the photos of a table: ``file``, and perhaps ``id``, ``object``, a box and any labels."""
    base = full_path(path).parent
    listing = Listing(base, base, base)
    rows: dict[str, list[Row]] = {}
    for row in read_table(listing, base / path.name, ("file",), ()):
        rows.setdefault(row.values.get("id") or row.values.get("file", ""), []).append(row)
    _refuse(listing)
    for name, found in rows.items():
        file = found[0].values.get("file", "")
        if not name or not file or "\0" in file:
            raise DatasetError(f"{found[0].place}: names no file; fill in the column 'file'")
        views: dict[str, tuple[Box, ...]] = {}
        labels: dict[str, str] = {}
        for row in found:
            shown = row.values.get("object", "")
            boxes = _box(row)
            if shown or boxes:
                views[shown] = (*views.get(shown, ()), *boxes)
            known = ("file", "id", "object", *_BOX)
            labels |= {k: v for k, v in row.values.items() if k and v and k not in known}
        yield NewPhoto(name, FileSource(base / file), views, labels)


def _box(row: Row) -> tuple[Box, ...]:
    if not any(row.values.get(name) for name in _BOX):
        return ()
    try:
        return (Box(*(row.number(name) for name in _BOX)),)
    except (ValueError, DatasetError) as error:
        raise DatasetError(f"{row.place}: x, y, width and height are no box ({error})") from None


def _refuse(listing: Listing) -> None:
    errors = [str(problem) for problem in listing.problems if problem.severity == "error"]
    if errors:
        raise DatasetError("\n  ".join(errors[:20]))


def known_source(path: str, member: str, start: int, size: int, digest: str) -> KnownSource:
    """Return where a photo of an index lies, from its row in the tables."""
    place = TarSource(Path(path), member, start, size) if member else FileSource(Path(path))
    return KnownSource(place, digest)


def memory_source(photo: object, name: str) -> Source:
    """Return the source of a photo that is given as a path, as encoded bytes, or as an array.

    Raises:
        ImageError: The value is none of these.
    """
    if isinstance(photo, str | Path):
        return FileSource(Path(photo))
    if isinstance(photo, bytes | bytearray | memoryview):
        return MemorySource(name, bytes(photo))
    if isinstance(photo, np.ndarray) and photo.ndim == 3 and photo.shape[2] == 3 and photo.dtype == np.uint8:
        done, png = cv2.imencode(".png", photo[..., ::-1])
        if done:
            return MemorySource(name, bytes(png))
    raise ImageError(
        f"a photo is a path, encoded bytes, or an array (H, W, 3) of uint8, not {type(photo).__name__}"
    )
