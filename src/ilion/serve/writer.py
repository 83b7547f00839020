"""Changes of an index: made, grown, shrunk and tidied by one process at a time.

    staged in the tables -> described by the stages, as a new shard -> one transaction makes it count

A process that is killed leaves staged rows and finished shards of photos that do not count; the next writer
drops the rows, and takes the shards over if it is asked for the same photos again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path

from filelock import FileLock, Timeout

from ilion import storage
from ilion.adapt import save_layer
from ilion.config import ExperimentConfig, from_dict
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.extraction.known import STAMPS, stamps_of
from ilion.extraction.shards import shard_keys
from ilion.pipeline import Pipeline, Progress
from ilion.pipeline.asking import Ready
from ilion.runtime.threads import in_order
from ilion.serve.index import Index, StoredShard
from ilion.serve.photos import BATCH, Batch, NewPhoto, Seen, dataset_batches, gather, look_at
from ilion.serve.tables import FILE, LIVE, STAGED, Tables, changed, state
from ilion.storage.runs import read_run
from ilion.types import FileSource, ImageRecord, KnownSource, MemorySource, TarSource, Value, Where

WAIT = 60.0
"""Seconds for which a writer waits for another one."""
LEARNT = ("fit", "codebook", "codec")
"""Kinds of artifacts that are learnt once from a database, and belong to the design."""


_KEY = re.compile(r"(.+?-[0-9a-f]{12})\.")
"""How the name of a file begins that belongs to a shard."""


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


@contextmanager
def writing(index: Index, wait: float = WAIT) -> Iterator[None]:
    """Keep all other writers out; what an earlier one left unfinished is dropped.

    Raises:
        ArtifactError: Another process writes for longer than ``wait`` seconds.
    """
    lock = FileLock(index.folder / ".writer.lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise ArtifactError(
            f"{index.folder}: another process is writing to this index; try again when it is done"
        ) from None
    try:
        with index.tables.write() as connection:
            connection.execute("DELETE FROM photos WHERE status = ?", (STAGED,))
            connection.execute("DELETE FROM shards WHERE status = ?", (STAGED,))
        yield
    finally:
        lock.release()


def create(
    folder: Path,
    sources: Sequence[Path],
    *,
    like: Path | None = None,
    design: Design | None = None,
    objects: bool = True,
    progress: Progress | None = None,
) -> tuple[Index, Added]:
    """Make an index of folders, tars, tables, photos or data sets.

    Args:
        folder: Folder of the index; it must hold none.
        sources: Where the photos are.
        like: Output folder of a run whose design is taken, with all that it learnt.
        design: A design; None takes that of the run, or the default.
        objects: See `ilion.serve.photos.gather`.
        progress: Callback that receives stage, done and total.

    Raises:
        ConfigError: The folder is not empty.
        DatasetError: A source cannot be used.
    """
    index = _new(folder)
    with writing(index):
        _take_design(
            index,
            design or (Design.of_run(like) if like else Design.of(ExperimentConfig(name="default"))),
            like,
        )
        added = _add(index, gather(sources, objects=objects), progress=progress)
    return index, added


def create_from_run(folder: Path, run: Path, progress: Progress | None = None) -> Index:
    """Make an index of a finished run: its database and its design, without describing anything again.

    Args:
        folder: Folder of the index; it must hold none.
        run: Output folder of the run.
        progress: Callback that receives stage, done and total.

    Raises:
        ArtifactError: The run or its artifacts are not there, or photos changed since.
    """
    design = Design.of_run(run)
    config = from_dict(ExperimentConfig, read_run(run)["provenance"]["config"])
    pipeline = Pipeline(config, finished=True)
    dataset = pipeline.dataset
    keys = shard_keys(dataset.database)
    index = _new(folder)
    try:
        with writing(index):
            _take_design(index, design, run)
            _link(pipeline.artifacts, index.folder / "artifacts", keys)
            try:
                _add(index, dataset_batches(dataset, sealed=True), sealed=True, progress=progress)
            except ArtifactError as error:
                raise ArtifactError(
                    f"{run}: not all of it is described as it is now ({error}); run it again first, or take "
                    f"its design alone: ilion index {config.dataset.path} --like {run} -o {folder}"
                ) from error
            _tidy_artifacts(index)
    except BaseException:
        shutil.rmtree(index.folder, ignore_errors=True)
        raise
    return index


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
        return _add(index, batches, progress=progress)


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
    with writing(index, wait), index.tables.write() as connection:
        removed = 0
        for name in ids:
            done = connection.execute(
                "UPDATE photos SET status = 2 WHERE id = ? AND status = 1", (name,)
            ).rowcount
            if not done and name.startswith("object:"):
                done = connection.execute(
                    "UPDATE photos SET status = 2 WHERE status = 1 AND number IN "
                    "(SELECT photo FROM views WHERE object = ?)",
                    (name.removeprefix("object:"),),
                ).rowcount
            if not done:
                raise DatasetError(f"{index.folder}: the index has no photo {name!r}; nothing was removed")
            removed += done
        changed(connection)
    return removed


def build(index: Index, design: Design, run: Path | None = None, progress: Progress | None = None) -> int:
    """Describe all photos by a new design, beside the one that answers; `switch` lets it answer.

    Args:
        index: The index.
        design: The new design.
        run: Output folder of the run that it comes from, for what it learnt.
        progress: Callback that receives stage, done and total.

    Returns:
        The number of the design.
    """
    with writing(index):
        number = _take_design(index, design, run)
        try:
            Ready(index.pipeline(number, index.tables.connection, sealed=False, progress=progress))
        except BaseException:
            with index.tables.write() as connection:
                connection.execute("DELETE FROM designs WHERE number = ?", (number,))
            raise
    return number


def switch(index: Index, number: int) -> str:
    """Let another design answer from now on.

    Args:
        index: The index.
        number: Number of the design; 0 goes back to the one before.

    Returns:
        Its name.

    Raises:
        ConfigError: There is no such design.
    """
    with writing(index):
        connection = index.tables.connection
        counters = state(connection)
        number = number or counters["previous"]
        if not number:
            raise ConfigError(f"{index.folder}: no other design has answered before; there is no way back")
        # it may have missed photos that were added since: they are described now, before it answers
        Ready(index.pipeline(number, connection, sealed=False))
        if number != counters["current"]:
            with index.tables.write() as connection:
                _set(connection, "previous", counters["current"])
                _set(connection, "current", number)
                changed(connection, layout=True)
    return index.design(number).name


def compact(index: Index, progress: Progress | None = None) -> int:
    """Delete removed photos from the disk, merge small shards, and drop designs that no longer count.

    Args:
        index: The index.
        progress: Callback that receives stage, done and total.

    Returns:
        Number of bytes that became free.

    Raises:
        ArtifactError: A kind of features cannot be taken over and its photos are gone.
    """
    before = sum(index.status().bytes.values())
    with writing(index):
        connection = index.tables.connection
        counters = state(connection)
        kept = [n for n in (counters["current"], counters["previous"]) if n]
        with index.tables.write() as connection:
            marks = ",".join("?" * len(kept))
            connection.execute(f"DELETE FROM designs WHERE number NOT IN ({marks})", kept)
        plan = _merged(index)
        for number in kept if any(shard.numbers is not None for shard in plan) else ():
            Ready(index.pipeline(number, connection, sealed=False, shards=plan, progress=progress))
        with index.tables.write() as connection:
            _apply(connection, plan)
            changed(connection, layout=True)
        _tidy_artifacts(index)
        _tidy_photos(index)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before - sum(index.status().bytes.values())


def _new(folder: Path) -> Index:
    if (folder / FILE).is_file():
        index = Index(folder)
        if not state(index.tables.connection)["current"]:  # it was being made when its process ended
            with index.tables.write() as connection:
                connection.execute("DELETE FROM designs")
            return index
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"{folder}: is not empty; name a new folder, or grow an index by 'ilion add'")
    folder.mkdir(parents=True, exist_ok=True)
    Tables(folder, create=True).close()
    return Index(folder)


def _add(
    index: Index, batches: Iterable[Batch], *, sealed: bool = False, progress: Progress | None = None
) -> Added:
    """Stage photos, describe them by every design that counts, and let them count."""
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
        _stage(index, batch, photos, looks, sealed, counts, unreadable)
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
        designs = [n for n in (counters["current"], counters["previous"]) if n]
        if first:
            designs = [connection.execute("SELECT max(number) FROM designs").fetchone()[0]]
        shards = [*index.shards(connection), *staged]
        for number in designs:
            Ready(index.pipeline(number, connection, sealed=sealed, shards=shards, progress=progress))
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
                _set(connection, "current", designs[0])
            changed(connection, layout=True)
    elif first:
        raise DatasetError(
            f"{index.folder}: no photo can be read, such as {next(iter(unreadable.items()), 'none')}"
        )
    return Added(**counts, unreadable=unreadable)


def _stage(
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


def _take_design(index: Index, design: Design, run: Path | None) -> int:
    """Write a design into the tables, with its files and what it learnt."""
    connection = index.tables.connection
    number = (connection.execute("SELECT max(number) FROM designs").fetchone()[0] or 0) + 1
    root, distractors = str(index.folder.resolve()), ""
    if run is not None:
        config = from_dict(ExperimentConfig, read_run(run)["provenance"]["config"])
        root, distractors = str(Path(config.dataset.path).resolve()), config.dataset.distractors
        pipeline = Pipeline(config, finished=True)
        _link(pipeline.artifacts, index.folder / "artifacts", ())
        if pipeline.layer is not None:
            save_layer(index.folder / "designs" / f"{number}.npz", pipeline.layer.layer)
            adaptation = replace(
                design.adaptation, layer=f"{number}.npz", method="none", labels="", photos=""
            )
            design = replace(design, adaptation=adaptation)
    elif design.adaptation.layer or design.adaptation.method != "none":
        raise ConfigError("a design with an adaptation layer is taken from a finished run")
    with index.tables.write() as connection:
        connection.execute(
            "INSERT INTO designs VALUES (?, ?, ?, ?, ?)",
            (number, json.dumps(design.as_dict()), root, distractors, time.time()),
        )
    return number


def _link(source: Path, target: Path, keys: Sequence[str]) -> None:
    """Bring what was learnt, and finished shards, into another folder of artifacts: by links, or copies."""
    wanted = tuple(f"{key}." for key in keys)
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if path.is_file() and path.name.startswith("first-"):
            _bring(path, target / path.name)
        elif path.is_dir():
            learnt = path.name.startswith(tuple(f"{kind}-" for kind in LEARNT))
            found = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
            shards = [file for file in found if file.name.startswith(wanted)] if wanted else []
            if not learnt and not shards:
                continue
            known = {head.name.removesuffix(".ids.json") + "." for head in path.glob("*.ids.json")}
            own = [file for file in found if not file.name.startswith(tuple(known))]
            for file in (*own, *shards):
                _bring(file, target / path.name / file.name)


def _bring(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        aside = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, aside)
        os.replace(aside, target)


def _know_stamps(index: Index, shards: Sequence[StoredShard]) -> None:
    """Stamp photos by their content, so that they are taken over also when their files are gone."""
    for shard in shards:
        records = {record.id: record for record in shard.records()}
        for path in (index.folder / "artifacts").glob(
            f"*/{storage.shard_key(shard.name, shard.content)}{STAMPS}"
        ):
            ids = storage.read_json(path.with_name(path.name.replace(STAMPS, ".ids.json")))["ids"]
            storage.write_array(path, stamps_of([records[name] for name in ids]))


def _tidy_artifacts(index: Index) -> None:
    """Delete shards and artifacts that no design needs any more."""
    connection = index.tables.connection
    counters = state(connection)
    with storage.noting_opened() as used:
        for number in (counters["current"], counters["previous"]):
            if number:
                Ready(index.pipeline(number, connection, sealed=True))
    keys = {storage.shard_key(s.name, s.content) for s in index.shards(connection)}
    for pointer in (index.folder / "artifacts").glob("first-*.json"):
        used.add(index.folder / "artifacts" / storage.read_json(pointer)["folder"])
    for folder in (index.folder / "artifacts").iterdir():
        if not folder.is_dir():
            continue
        if folder not in used:
            shutil.rmtree(folder)
            continue
        if folder.name.startswith(("queries-", "local-queries-", "query-texts-")):
            continue
        for file in folder.iterdir():
            key = _KEY.match(file.name)
            if key and key[1] not in keys:
                file.unlink()


def _tidy_photos(index: Index) -> None:
    """Delete uploaded photos that no row names."""
    known = {path for (path,) in index.tables.connection.execute("SELECT path FROM photos")}
    for path in (index.folder / "photos").rglob("*"):
        if path.is_file() and str(path.absolute()) not in known:
            path.unlink()
    for path in (index.folder / "designs").glob("*.npz"):
        if not index.tables.connection.execute(
            "SELECT 1 FROM designs WHERE number = ?", (path.stem,)
        ).fetchone():
            path.unlink()


def _merged(index: Index) -> list[StoredShard]:
    """Plan shards without removed photos, and small ones together; new ones hold numbers of photos."""
    connection = index.tables.connection
    planned: list[StoredShard] = []
    group: list[tuple[StoredShard, list[int], bool]] = []

    def flush() -> None:
        numbers = tuple(number for _, alive, _ in group for number in alive)
        if len(group) == 1 and group[0][2]:
            planned.append(group[0][0])
        elif numbers:
            name = group[0][0].name
            planned.append(StoredShard(name, "", index.tables, 0, numbers))
        group.clear()

    for shard in index.shards(connection):
        rows = connection.execute(
            "SELECT number, status FROM photos WHERE shard = ? ORDER BY place", (shard.number,)
        ).fetchall()
        alive = [number for number, status in rows if status == LIVE]
        small = shard.name.startswith("photos_") and len(alive) < BATCH // 2
        if not small or sum(len(numbers) for _, numbers, _ in group) + len(alive) > BATCH:
            flush()
        group.append((shard, alive, len(alive) == len(rows)))
        if not small:
            flush()
    flush()
    return [
        shard
        if shard.numbers is None
        else replace(shard, content=storage.fingerprint([[r.id, _digest(r)] for r in shard.records()]))
        for shard in planned
    ]


def _digest(record: ImageRecord) -> str:
    return record.source.digest if isinstance(record.source, KnownSource) else ""


def _apply(connection: sqlite3.Connection, plan: Sequence[StoredShard]) -> None:
    """Let the planned shards count, and drop removed photos."""
    kept = []
    for place, shard in enumerate(plan):
        number: int | None = shard.number
        if shard.numbers is None:
            connection.execute("UPDATE shards SET place = ? WHERE number = ?", (place, number))
        else:
            number = connection.execute(
                "INSERT INTO shards (place, name, content, status) VALUES (?, ?, ?, 1)",
                (place, shard.name, shard.content),
            ).lastrowid
            moved = [(number, at, photo) for at, photo in enumerate(shard.numbers)]
            connection.executemany("UPDATE photos SET shard = ?, place = ? WHERE number = ?", moved)
        kept.append(number)
    connection.execute("DELETE FROM photos WHERE status = 2")
    connection.executemany(
        "DELETE FROM shards WHERE number = ?",
        [(n,) for (n,) in connection.execute("SELECT number FROM shards").fetchall() if n not in set(kept)],
    )


def _set(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute("UPDATE state SET value = ? WHERE name = ?", (value, name))
