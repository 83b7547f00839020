"""Photos come and go.

staged in the tables -> described by the stages, as a new shard -> one transaction makes it count
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilion import storage
from ilion.errors import DatasetError, IlionError
from ilion.extraction.known import STAMPS, stamps_of
from ilion.pipeline import Progress
from ilion.pipeline.asking import Ready
from ilion.runtime.threads import in_order
from ilion.serve.index import Index
from ilion.serve.photos import Batch, NewPhoto, gather, look_at
from ilion.serve.shards import StoredShard
from ilion.serve.tables import changed, set_state, state
from ilion.serve.writer.designs import catch_up
from ilion.serve.writer.engine import drop_numbers, send, tell
from ilion.serve.writer.lock import WAIT, writing
from ilion.serve.writer.staging import stage
from ilion.types import Value, Where

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Added(Value):
    """What became of photos.

    Args:
        added: Number of new photos.
        replaced: Number of photos in place of earlier ones of the same id.
        unchanged: Number of photos that were there already, as they are.
        unreadable: Photos that cannot be read, each with the reason; they are not added.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)


def add(
    index: Index,
    sources: Sequence[Where] = (),
    *,
    photos: Iterable[NewPhoto] = (),
    objects: bool = True,
    shown: str = "",
    labels: Mapping[str, str] | None = None,
    wait: float = WAIT,
    progress: Progress | None = None,
    before: bool = True,
) -> Added:
    """Add photos; when it returns, they are on the disk and found.

    Args:
        index: The index.
        sources: Folders, tars, tables and photos; they stay where they are.
        photos: Single photos; those in memory are kept in the index.
        objects: See `ilion.serve.photos.gather`.
        shown: Object that the photos of the sources show; "" leaves it to ``objects``.
        labels: Labels for all photos of the sources.
        wait: Seconds to wait for another writer.
        progress: Callback that receives stage, done and total.
        before: Whether to describe them by the design before, too, once they are found; otherwise the next
            ``add`` that does, or `switch`, catches up.

    Raises:
        ArtifactError: Another process is writing.
        DatasetError: A source cannot be used.
    """
    given = list(photos)
    with writing(index, wait):
        batches = [
            *gather([Path(source) for source in sources], objects=objects, shown=shown, labels=labels),
            *([Batch("", given)] if given else []),
        ]
        added = add_batches(index, batches, progress=progress)
        if before:
            try:
                catch_up(index, progress)
            except IlionError as error:  # the photos are found; only the way back takes longer
                log.warning(
                    "%s: the design before cannot describe the new photos yet: %s", index.folder, error
                )
        return added


def remove(index: Index, ids: Iterable[str], wait: float = WAIT) -> int:
    """Remove photos: they are gone from answers at once, and from the disk when the index is compacted.

    Args:
        index: The index.
        ids: Ids of the photos, or ``object:NAME`` for all of an object.
        wait: Seconds to wait for another writer.

    Returns:
        Number of photos.

    Raises:
        DatasetError: The index has no such photo or object; nothing is removed then.
    """
    with writing(index, wait):
        removed: list[int] = []
        with index.tables.write() as connection:
            for name in ids:
                ask = "SELECT number FROM photos WHERE status = 1 AND "
                found = connection.execute(f"{ask} id = ?", (name,)).fetchall()
                if not found and name.startswith("object:"):
                    found = connection.execute(
                        f"{ask} number IN (SELECT photo FROM views WHERE object = ?)",
                        (name.removeprefix("object:"),),
                    ).fetchall()
                if not found:
                    raise DatasetError(
                        f"{index.folder}: the index has no photo {name!r}; nothing was removed"
                    )
                connection.executemany("UPDATE photos SET status = 2 WHERE number = ?", found)
                removed += [number for (number,) in found]
            changed(connection)
        drop_numbers(index, removed)
    return len(removed)


def add_batches(
    index: Index, batches: Iterable[Batch], *, sealed: bool = False, progress: Progress | None = None
) -> Added:
    """Stage photos, describe them by the design that answers, and let them count."""
    counts = {"added": 0, "replaced": 0, "unchanged": 0}
    unreadable: dict[str, str] = {}
    ids: set[str] = set()
    done = 0
    for batch in batches:
        photos = list(batch.photos)
        for photo in photos:
            if photo.id in ids or not photo.id or "\0" in photo.id:
                raise DatasetError(f"photo id {photo.id!r} is given twice or cannot be used; rename it")
            ids.add(photo.id)
        looks = [look.result() for _, look in in_order(photos, lambda photo: look_at(photo.source, photo.id))]
        stage(index, batch, photos, looks, sealed, counts, unreadable)
        done += len(photos)
        if progress:
            progress("photos", done, done)
    connection = index.tables.connection
    staged = [
        StoredShard(name, content, index.tables, number)
        for number, name, content in connection.execute(
            "SELECT number, name, content FROM shards WHERE status = 0 ORDER BY number"
        )
    ]
    counters = state(connection)
    first = not counters["current"]
    if staged:
        newest = "SELECT max(number) FROM designs"
        design = counters["current"] or connection.execute(newest).fetchone()[0]
        shards = [*index.shards(connection), *staged]
        ready = Ready(index.pipeline(design, connection, sealed=sealed, shards=shards, progress=progress))
        told = send(index, design, ready, progress=progress)
        if sealed:
            _know_stamps(index, staged)
        with index.tables.write() as connection:
            # those of the same id make way; only now, so that nobody sees neither or both
            connection.execute(
                "UPDATE photos SET status = 2 WHERE status = 1 AND id IN "
                "(SELECT id FROM photos WHERE status = 0)"
            )
            connection.execute("UPDATE photos SET status = 1 WHERE status = 0")
            connection.execute("UPDATE shards SET status = 1 WHERE status = 0")
            if first:
                set_state(connection, "current", design)
            tell(connection, told)
            if counters["previous"]:
                fresh = counts["added"] + counts["replaced"]
                set_state(connection, "behind", counters.get("behind", 0) + fresh)
            changed(connection, layout=True)
    elif first:
        raise DatasetError(
            f"{index.folder}: no photo can be read, such as {next(iter(unreadable.items()), 'none')}"
        )
    return Added(**counts, unreadable=unreadable)


def _know_stamps(index: Index, shards: Sequence[StoredShard]) -> None:
    """Stamp photos by their content, so that they are taken over also when their files are gone."""
    for shard in shards:
        records = {record.id: record for record in shard.records()}
        for path in (index.folder / "artifacts").glob(
            f"*/{storage.shard_key(shard.name, shard.content)}{STAMPS}"
        ):
            ids = storage.read_json(path.with_name(path.name.replace(STAMPS, ".ids.json")))["ids"]
            storage.write_array(path, stamps_of([records[name] for name in ids]))
