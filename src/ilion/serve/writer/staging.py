"""New photos in the tables, where they do not count until they are described."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from pathlib import Path

from ilion import storage
from ilion.errors import DatasetError
from ilion.serve.index import Index
from ilion.serve.photos import Batch, NewPhoto, Seen
from ilion.serve.tables import STAGED
from ilion.types import FileSource, MemorySource, TarSource


def stage(
    index: Index,
    batch: Batch,
    photos: Sequence[NewPhoto],
    looks: Sequence[Seen],
    sealed: bool,
    counts: dict[str, int],
    unreadable: dict[str, str],
) -> None:
    """Write photos into the tables, where they do not count yet."""
    now = time.time()
    with index.tables.write() as connection:
        fresh: list[tuple[NewPhoto, Seen, str]] = []
        for photo, seen in zip(photos, looks, strict=True):
            if seen.problem:
                unreadable[photo.id] = seen.problem
                if not sealed:  # a shard that is described already keeps its photos
                    continue
            known = _known(connection, photo, seen)
            if known == "unchanged" and not sealed:
                counts["unchanged"] += 1
                continue
            counts["replaced" if known else "added"] += 1
            fresh.append((photo, seen, known))
        if not fresh:
            return
        number = (connection.execute("SELECT max(number) FROM shards").fetchone()[0] or 0) + 1
        taken = {name for (name,) in connection.execute("SELECT name FROM shards")}
        free = (f"photos_{n:05d}" for n in count(number))
        name = next(
            name for name in (batch.name, *islice(free, 1 + len(taken))) if name and name not in taken
        )
        connection.execute(
            "INSERT INTO shards (number, place, name, content, status) VALUES (?, ?, ?, '', ?)",
            (number, number, name, STAGED),
        )
        content = []
        for place, (photo, seen, _) in enumerate(fresh):
            row = _insert(connection, index, photo, seen, number, place, now)
            content.append([row, seen.digest])
        found = batch.content or storage.fingerprint(content)
        connection.execute("UPDATE shards SET content = ? WHERE number = ?", (found, number))


def _known(connection: sqlite3.Connection, photo: NewPhoto, seen: Seen) -> str:
    """Return "" for a new photo, ``unchanged`` for one that is there as it is, else ``other``."""
    found = connection.execute(
        "SELECT number, digest FROM photos WHERE id = ? AND status = 1", (photo.id,)
    ).fetchone()
    if found is None:
        return ""
    number, digest = found
    views = set(
        connection.execute("SELECT object, x, y, width, height FROM views WHERE photo = ?", (number,))
    )
    labels = dict(connection.execute("SELECT name, value FROM labels WHERE photo = ?", (number,)))
    same = digest == seen.digest and views == set(_views(photo)) and labels == _labels(photo)
    return "unchanged" if same else "other"


def _views(photo: NewPhoto) -> Iterator[tuple[str, float | None, float | None, float | None, float | None]]:
    for name, boxes in photo.views.items():
        if not boxes:
            yield (name, None, None, None, None)
        for box in boxes:
            yield (name, float(box.x), float(box.y), float(box.width), float(box.height))


def _labels(photo: NewPhoto) -> dict[str, str]:
    return {name.lower(): value for name, value in photo.labels.items() if value}


def _insert(
    connection: sqlite3.Connection,
    index: Index,
    photo: NewPhoto,
    seen: Seen,
    shard: int,
    place: int,
    now: float,
) -> str:
    """Insert a photo; return the id under which descriptors and features are stored."""
    source = photo.source
    if isinstance(source, MemorySource):
        source = FileSource(_keep(index, source.data, seen.digest))
    if not isinstance(source, FileSource | TarSource):
        raise DatasetError(f"{photo.id}: only its id is known; an index needs photos")
    tar = (source.member, source.offset, source.size) if isinstance(source, TarSource) else ("", 0, 0)
    # an earlier photo of this id stays stored until the index is compacted
    names = chain([photo.id], (f"{photo.id}#{version}" for version in count(2)))
    taken = "SELECT 1 FROM photos WHERE stored_as = ?"
    stored = next(name for name in names if connection.execute(taken, (name,)).fetchone() is None)
    path = str(source.path.absolute())
    row = connection.execute(
        "INSERT INTO photos (id, stored_as, shard, place, path, member, start, size, digest, width, height, "
        "problem, added, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (photo.id, stored, shard, place, path, *tar, seen.digest, *seen.size, seen.problem, now, STAGED),
    ).lastrowid
    connection.executemany(
        "INSERT INTO views VALUES (?, ?, ?, ?, ?, ?)", [(row, *view) for view in _views(photo)]
    )
    connection.executemany(
        "INSERT INTO labels VALUES (?, ?, ?)", [(row, *label) for label in _labels(photo).items()]
    )
    if seen.jpeg:
        connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (row, seen.jpeg))
    return stored


def _keep(index: Index, data: bytes, digest: str) -> Path:
    """Store an uploaded photo in the index, by its digest."""
    path = index.folder / "photos" / digest[:2] / digest
    if not path.exists():
        storage.write_bytes(path, data)
    return path
