"""Tidying: what was removed leaves the disk, small parts become larger ones."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from ilion import storage
from ilion.pipeline import Progress
from ilion.pipeline.asking import Ready
from ilion.pipeline.distributed.compute import family_of
from ilion.serve.engines.attached import read_setting
from ilion.serve.index import Index
from ilion.serve.shards import StoredShard
from ilion.serve.tables import LIVE, changed, state
from ilion.serve.writer.designs import catch_up
from ilion.serve.writer.engine import drop_designs, drop_numbers, held_designs
from ilion.serve.writer.lock import writing
from ilion.types import ImageRecord, KnownSource

MERGED = 8192
"""Photos of a shard that small ones are merged to: a search looks into every shard, so few are faster."""
_KEY = re.compile(r"(.+?-[0-9a-f]{12})\.")
"""How the name of a file begins that belongs to a shard."""


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
        gone = connection.execute("SELECT number FROM photos WHERE status = 2").fetchall()
        drop_numbers(index, [number for (number,) in gone], must=True)
        with index.tables.write() as connection:
            marks = ",".join("?" * len(kept))
            connection.execute(f"DELETE FROM designs WHERE number NOT IN ({marks})", kept)
        catch_up(index, progress)
        plan = _merged(index)
        for number in kept if any(shard.numbers is not None for shard in plan) else ():
            Ready(index.pipeline(number, connection, sealed=False, shards=plan, progress=progress))
        with index.tables.write() as connection:
            _apply(connection, plan)
            changed(connection, layout=True)
        setting = read_setting(index.folder)
        left = set(held_designs(index, setting)) - set(kept) if setting else set()
        if setting and left:
            drop_designs(index, setting, left)
            with index.tables.write() as connection:
                for design in left:
                    name = f"engine {setting['name']}_{design}"
                    connection.execute("DELETE FROM state WHERE name IN (?, ?)", (name, f"{name} mark"))
        tidy_artifacts(index)
        _tidy_photos(index)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before - sum(index.status().bytes.values())


def tidy_artifacts(index: Index) -> None:
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
        small = len(alive) < MERGED // 2
        together = sum(len(numbers) for _, numbers, _ in group) + len(alive)
        # what is stored is taken over from shards of the same family only
        if not small or together > MERGED or (group and family_of(group[0][0].name) != family_of(shard.name)):
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
