"""An index: a folder of photos that can be searched by the design that was evaluated.

    INDEX/index.sqlite      what is known about the photos, the design, and which of both count
    INDEX/artifacts/        descriptors and features, as a run keeps them
    INDEX/photos/           photos that were uploaded; those of folders stay where they are
    INDEX/designs/          files that a design needs, such as an adaptation layer

A search reads one state of the tables from its beginning to its end, and opens what the stages stored for
that state; nothing that a reader has open is changed.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilion.config import DatasetConfig
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.opening import parse_json
from ilion.pipeline import Pipeline, Progress
from ilion.pipeline.asking import Asked, Ready
from ilion.serve.answers import Answer, FoundObject, FoundPhoto, Searched
from ilion.serve.photos import known_source, memory_source
from ilion.serve.tables import LIVE, REMOVED, STAGED, Tables, state
from ilion.serve.where import parse_where
from ilion.types import Bool, Box, ImageRecord, Int64, Query, RetrievalDataset, Source, Value, Where

if TYPE_CHECKING:
    from ilion.reranking.base import Explanation

PARTS = 500
"""Rows that one statement asks about."""
TRIES = 3
"""Attempts at a search while another process compacts the index."""


@dataclass(frozen=True)
class StoredShard:
    """A part of an index, described once; its fingerprint is that of the photos as they were then.

    Args:
        name: Unique among the living shards of the index.
        content: Fingerprint of its photos.
        tables: Tables that hold the photos.
        number: Its number there.
        numbers: Numbers of its photos, for a shard that is not in the tables yet.
    """

    name: str
    content: str
    tables: Tables
    number: int
    numbers: tuple[int, ...] | None = None

    def records(self) -> Iterator[ImageRecord]:
        """Yield the photos in their fixed order."""
        what = "SELECT stored_as, path, member, start, size, digest FROM photos WHERE"
        ask = self.tables.connection.execute
        if self.numbers is None:
            rows = ask(f"{what} shard = ? ORDER BY place", (self.number,)).fetchall()
        else:
            rows = [ask(f"{what} number = ?", (number,)).fetchone() for number in self.numbers]
        for stored, *place in rows:
            yield ImageRecord(stored, known_source(*place))

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the photos."""
        return tuple(record.id for record in self.records())

    def fingerprint(self) -> str:
        """Return the fingerprint that it was given."""
        return self.content


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What searches read until the layout changes.

    Args:
        layout: Counter of the tables.
        ready: The design, with its database.
        numbers: (N,) number of the photo of each database row.
        design: Name of the design.
        threshold: Score below which nothing is accepted; None without one.
    """

    layout: int
    ready: Ready
    numbers: Int64
    design: str
    threshold: float | None


@dataclass(frozen=True, eq=False)
class Living:
    """Which photos of a snapshot can be found, in one state of the index.

    Args:
        revision: The state.
        snapshot: The database.
        shown: (N,) which rows are not removed.
        photos: Number of them.
        without_descriptor: Photos that are in the index and have no row.
        labels: Names of all labels.
    """

    revision: int
    snapshot: Snapshot
    shown: Bool
    photos: int
    without_descriptor: int
    labels: frozenset[str]


@dataclass(frozen=True)
class IndexStatus(Value):
    """The state of an index.

    Args:
        folder: Its folder.
        photos: Photos that can be found.
        objects: Different objects that they show.
        without_descriptor: Photos that are in the index and cannot be found, since they could not be read.
        removed: Photos that are removed and still on the disk, until the index is compacted.
        staged: Photos that another process is adding now, or that were being added when it died.
        shards: Parts in which the photos are stored.
        design: Name of the design that answers.
        designs: Designs by number; ``current`` answers, ``previous`` answered before.
        current: Number of the design that answers.
        previous: Number of the one before; 0 without one.
        revision: Number of changes so far.
        bytes: Bytes on the disk: ``tables``, ``artifacts``, ``photos``.
        labels: Labels that photos have, with the number of different values.
    """

    folder: str
    photos: int
    objects: int
    without_descriptor: int
    removed: int
    staged: int
    shards: int
    design: str
    designs: Mapping[int, str]
    current: int
    previous: int
    revision: int
    bytes: Mapping[str, int]
    labels: Mapping[str, int]


class Index:
    """Photos in a folder that can be searched. Safe to share among threads and processes.

    Args:
        folder: Folder of the index.

    Raises:
        ArtifactError: The folder holds no index.
    """

    def __init__(self, folder: Where) -> None:
        self.folder = Path(folder)
        self.tables = Tables(self.folder)
        self._snapshot: Snapshot | None = None
        self._living: Living | None = None
        self._opening = threading.Lock()

    @classmethod
    def open(cls, folder: Where) -> Index:
        """Open an index.

        Args:
            folder: Folder that `ilion index` made.

        Raises:
            ArtifactError: The folder holds no index, or one of another format.
        """
        return cls(folder)

    def close(self) -> None:
        """Close the tables; an index that is asked again opens them again."""
        self.tables.close()

    def search(
        self,
        photo: object = None,
        *,
        box: Box | None = None,
        text: str = "",
        like: str = "",
        where: str = "",
        k: int = 10,
        explain: bool = True,
    ) -> Answer:
        """Search by a photo, by a text, by both, or by a photo of the index.

        Args:
            photo: A file, its encoded bytes, or an array (H, W, 3) RGB uint8.
            box: Part of the photo that shows what is searched for, in pixels of the upright photo.
            text: What is searched for, in words; beside a photo, both are asked together.
            like: Id of a photo of the index, in place of a photo.
            where: Filter, see `ilion.serve.where.parse_where`.
            k: Number of objects, and of photos.
            explain: Whether to look for the region in which each object was found.

        Raises:
            ImageError: The photo cannot be read.
            ConfigError: Nothing is asked for, or the filter cannot be read.
            ExtractionError: The design does not understand texts.
            DatasetError: The index has no photo of that id.
        """
        answer, _ = self.ask(photo, box=box, text=text, like=like, where=where, k=k, explain=explain)
        return answer

    def ask(
        self,
        photo: object = None,
        *,
        box: Box | None = None,
        text: str = "",
        like: str = "",
        where: str = "",
        k: int = 10,
        explain: bool = True,
    ) -> tuple[Answer, Matches]:
        """Search like `search`, and keep what explains every result.

        Returns:
            The answer, and what shows the matches of a photo of it.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        for attempt in range(TRIES):
            seen = -1
            try:
                with self.tables.read() as connection:
                    seen = state(connection)["layout"]
                    return self._ask(connection, photo, box, text, like, where, k, explain)
            except (ArtifactError, FileNotFoundError):
                # files of the state before are deleted when an index is compacted
                with self.tables.read() as connection:
                    if attempt + 1 == TRIES or state(connection)["layout"] == seen:
                        raise
        raise AssertionError("the last attempt answers or raises")

    def _ask(
        self,
        connection: sqlite3.Connection,
        photo: object,
        box: Box | None,
        text: str,
        like: str,
        where: str,
        k: int,
        explain: bool,
    ) -> tuple[Answer, Matches]:
        started = time.perf_counter()
        text = text.strip()
        query = self._query(connection, photo, box, text, like)
        living = self.living(connection)
        snapshot = living.snapshot
        allowed = _allowed(connection, living, where)
        companions = {query.id: text} if text and query.image is not None else {}
        if allowed is not None and not len(allowed):
            asked, rows, scores = None, [], []
        else:
            asked = snapshot.ready.ask([query], companions, allowed)
            count = int(asked.ranking.counts[0])
            rows = asked.ranking.indices[0, :count].tolist()
            scores = asked.ranking.similarities[0, :count].tolist()
        matches = Matches(asked, {})
        points = asked.points[0] if asked is not None and asked.points is not None else None
        photos: list[FoundPhoto] = []
        objects: dict[str, FoundObject] = {}
        alone = 0
        for number, (row, score, found) in enumerate(
            zip(rows, scores, self._found(connection, snapshot, rows), strict=True)
        ):
            names = found["objects"]
            here = FoundPhoto(
                rank=number + 1, score=score, points=None if points is None else points.get(row, 0), **found
            )
            matches.rows[here.id] = row
            if len(photos) < k:
                photos.append(here)
            for name in names or ("",):
                key = name or f"\0{here.id}"  # photos of nobody knows what stand for themselves
                if key in objects:
                    objects[key] = replace(objects[key], photos=objects[key].photos + 1)
                elif len(objects) < k:
                    objects[key] = FoundObject(name, here, 1)
                    alone += not name
            if len(objects) == k and number > SEEN * k:
                break
        if explain:
            boxes = {o.photo.id: matches.region(o.photo.id) for o in objects.values() if o.photo.points}
            objects = {
                key: replace(o, photo=replace(o.photo, region=boxes.get(o.photo.id)))
                for key, o in objects.items()
            }
            photos = [replace(found, region=boxes.get(found.id)) for found in photos]
        best = max((o.score for o in objects.values()), default=-np.inf)
        none = None if snapshot.threshold is None else bool(best < snapshot.threshold)
        count = len(snapshot.numbers) if allowed is None else len(allowed)
        searched = Searched(
            photos=count,
            filtered=living.photos - count,
            without_descriptor=living.without_descriptor,
            design=snapshot.design,
            revision=living.revision,
            seconds=time.perf_counter() - started,
        )
        return Answer(tuple(objects.values()), tuple(photos), none, searched), matches

    def _query(
        self, connection: sqlite3.Connection, photo: object, box: Box | None, text: str, like: str
    ) -> Query:
        if (photo is not None) + bool(like) > 1 or (photo is None and not like and not text):
            raise ConfigError("ask with a photo, with a photo of the index, or with a text")
        if photo is None and not like:
            if box is not None:
                raise ConfigError("a box belongs to a photo; there is none")
            return Query("query", "", text=text)
        source = self.source(like, connection) if like else memory_source(photo, "query")
        return Query("query", "", ImageRecord("query", source, () if box is None else (box,)))

    def source(self, photo: str, connection: sqlite3.Connection | None = None) -> Source:
        """Return where a photo of the index lies.

        Args:
            photo: Its id.
            connection: Connection with a state that is being read; None takes the latest.

        Raises:
            DatasetError: There is none of that id.
        """
        found = (
            (connection or self.tables.connection)
            .execute(
                "SELECT path, member, start, size, digest FROM photos WHERE id = ? AND status = 1", (photo,)
            )
            .fetchone()
        )
        if found is None:
            raise DatasetError(f"{self.folder}: the index has no photo {photo!r}")
        return known_source(*found)

    def thumbnail(self, photo: str) -> bytes:
        """Return the small JPEG of a photo of the index.

        Raises:
            DatasetError: There is none of that id, or it has no thumbnail.
        """
        found = self.tables.connection.execute(
            "SELECT jpeg FROM thumbnails JOIN photos ON photo = number WHERE id = ? AND status = 1", (photo,)
        ).fetchone()
        if found is None:
            raise DatasetError(f"{self.folder}: the index has no picture of {photo!r}")
        return bytes(found[0])

    def photos(self) -> Iterator[tuple[str, Source, list[str]]]:
        """Yield id, source and objects of every photo of the index."""
        ask = self.tables.connection.execute
        for number, name, *place in ask(
            "SELECT number, id, path, member, start, size, digest FROM photos WHERE status = 1 "
            "ORDER BY number"
        ).fetchall():
            shown = ask("SELECT DISTINCT object FROM views WHERE photo = ? AND object != ''", (number,))
            yield name, known_source(*place), [found for (found,) in shown.fetchall()]

    def objects(self, starts: str = "", count: int = 50) -> list[str]:
        """Return the first names of objects that begin with a text."""
        found = self.tables.connection.execute(
            "SELECT DISTINCT object FROM views JOIN photos ON photo = number "
            "WHERE status = 1 AND object != '' AND substr(object, 1, ?) = ? ORDER BY object LIMIT ?",
            (len(starts), starts, count),
        )
        return [name for (name,) in found.fetchall()]

    def _found(
        self, connection: sqlite3.Connection, snapshot: Snapshot, rows: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        """Yield what is known about the photos of rows, in their order, read some at a time."""
        remaining = iter(snapshot.numbers[np.asarray(rows, np.int64)].tolist())
        while numbers := list(islice(remaining, PARTS)):
            marks = ",".join("?" * len(numbers))
            facts = {
                number: {"id": name, "source": f"{path}!{member}" if member else path, "size": (w, h)}
                for number, name, path, member, w, h in connection.execute(
                    f"SELECT number, id, path, member, width, height FROM photos WHERE number IN ({marks})",
                    numbers,
                )
            }
            shown: dict[int, dict[str, None]] = {}
            for number, name in connection.execute(
                f"SELECT photo, object FROM views WHERE photo IN ({marks}) ORDER BY rowid",
                numbers,
            ):
                if name:
                    shown.setdefault(number, {})[name] = None
            labels: dict[int, dict[str, str]] = {}
            for number, name, value in connection.execute(
                f"SELECT photo, name, value FROM labels WHERE photo IN ({marks})",
                numbers,
            ):
                labels.setdefault(number, {})[name] = value
            for number in numbers:
                objects, own = tuple(shown.get(number, ())), labels.get(number, {})
                yield {**facts[number], "objects": objects, "labels": own}

    def snapshot(self, connection: sqlite3.Connection) -> Snapshot:
        """Return the design and database of the state that a connection reads, opened if they are new."""
        counters = state(connection)
        found = self._snapshot
        if found is None or found.layout != counters["layout"]:
            with self._opening:
                found = self._snapshot
                if found is None or found.layout != counters["layout"]:
                    found = self._open(connection, counters)
                    if self._snapshot is None or self._snapshot.layout < found.layout:
                        self._snapshot = found
        return found

    def living(self, connection: sqlite3.Connection) -> Living:
        """Return which photos of the snapshot can be found in the state that a connection reads."""
        revision, found = state(connection)["revision"], self._living
        if found is None or found.revision != revision:
            snapshot = self.snapshot(connection)
            gone = [n for (n,) in connection.execute("SELECT number FROM photos WHERE status = 2")]
            shown = ~np.isin(snapshot.numbers, gone) if gone else np.ones(len(snapshot.numbers), np.bool_)
            [live] = connection.execute("SELECT count(*) FROM photos WHERE status = 1").fetchone()
            labels = [name for (name,) in connection.execute("SELECT DISTINCT name FROM labels")]
            photos = int(shown.sum())
            found = Living(revision, snapshot, shown, photos, live - photos, frozenset(labels))
            self._living = found
        return found

    def _open(self, connection: sqlite3.Connection, counters: Mapping[str, int]) -> Snapshot:
        if not counters["current"]:
            raise ArtifactError(
                f"{self.folder}: holds no photo that can be searched yet; 'ilion add {self.folder} PHOTOS'"
            )
        design = self.design(counters["current"], connection)
        ready = Ready(self.pipeline(counters["current"], connection, sealed=True))
        return Snapshot(
            counters["layout"], ready, _numbers(connection, ready.ids), design.name, design.threshold
        )

    def design(self, number: int = 0, connection: sqlite3.Connection | None = None) -> Design:
        """Return a design of the index; 0 means the one that answers."""
        connection = connection or self.tables.connection
        number = number or state(connection)["current"]
        found = connection.execute("SELECT settings FROM designs WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise ArtifactError(f"{self.folder}: there is no design {number}")
        return Design.from_plain(parse_json(found[0]))

    def pipeline(
        self,
        design: int,
        connection: sqlite3.Connection,
        *,
        sealed: bool,
        shards: Sequence[StoredShard] | None = None,
        progress: Progress | None = None,
    ) -> Pipeline:
        """Return the stages of a design over the photos of the index.

        Args:
            design: Its number.
            connection: Connection with the state.
            sealed: Whether everything is there and is only opened.
            shards: Parts of the database; None takes the living ones.
            progress: Callback that receives stage, done and total.
        """
        root, distractors = connection.execute(
            "SELECT root, distractors FROM designs WHERE number = ?", (design,)
        ).fetchone()
        # what was learnt is found again by the place of the data set that it was first learnt from
        settings = DatasetConfig(path=root, distractors=distractors)
        config = self.design(design, connection).experiment(
            self.folder / "record", self.folder / "artifacts", settings
        )
        if layer := config.adaptation.layer:
            own = str(self.folder / "designs" / layer)
            config = replace(config, adaptation=replace(config.adaptation, layer=own))
        dataset = RetrievalDataset(
            name=self.folder.resolve().name,
            root=Path(root),
            queries=(),
            database=tuple(self.shards(connection) if shards is None else shards),
            positives={},
        )
        return Pipeline(config, progress, dataset=dataset, sealed=sealed)

    def shards(self, connection: sqlite3.Connection) -> list[StoredShard]:
        """Return the living parts of the index, in database order."""
        return [
            StoredShard(name, content, self.tables, number)
            for number, name, content in connection.execute(
                "SELECT number, name, content FROM shards WHERE status = 1 ORDER BY place"
            )
        ]

    def status(self) -> IndexStatus:
        """Say what the index holds."""
        with self.tables.read() as connection:
            counters = state(connection)
            by_status = dict(connection.execute("SELECT status, count(*) FROM photos GROUP BY status"))
            live = by_status.get(LIVE, 0)
            known = self.living(connection).photos if counters["current"] and live else 0
            [objects] = connection.execute(
                "SELECT count(DISTINCT object) FROM views JOIN photos ON photo = number "
                "WHERE status = 1 AND object != ''"
            ).fetchone()
            labels = connection.execute(
                "SELECT name, count(DISTINCT value) FROM labels JOIN photos ON photo = number "
                "WHERE status = 1 GROUP BY name ORDER BY name"
            )
            numbers = [n for (n,) in connection.execute("SELECT number FROM designs ORDER BY number")]
            names = {number: self.design(number, connection).name for number in numbers}
            return IndexStatus(
                folder=str(self.folder),
                photos=known,
                objects=objects,
                without_descriptor=live - known,
                removed=by_status.get(REMOVED, 0),
                staged=by_status.get(STAGED, 0),
                shards=len(self.shards(connection)),
                design=names.get(counters["current"], ""),
                designs=names,
                current=counters["current"],
                previous=counters["previous"],
                revision=counters["revision"],
                bytes={
                    "tables": sum(p.stat().st_size for p in self.folder.glob("index.sqlite*")),
                    "artifacts": _bytes_below(self.folder / "artifacts"),
                    "photos": _bytes_below(self.folder / "photos"),
                },
                labels=dict(labels.fetchall()),
            )


SEEN = 20
"""Results that are looked at for one object, to count how many of its photos there are."""


@dataclass(frozen=True)
class Matches:
    """What explains the results of one search.

    Args:
        asked: What the design answered; None where nothing could be found.
        rows: Id of a photo -> its database row.
    """

    asked: Asked | None
    rows: dict[str, int]

    def explain(self, photo: str) -> Explanation | None:
        """Return features and matches of the query and a photo; None where the design compares no points.

        Raises:
            DatasetError: The photo is not among the results.
        """
        if photo not in self.rows:
            raise DatasetError(f"{photo!r} is not among the results of this search")
        if self.asked is None or self.asked.explain is None:
            return None
        return self.asked.explain(0, self.rows[photo])

    def region(self, photo: str) -> Box | None:
        """Return where the query was found in a photo, in its pixels; None where that is not known."""
        found = self.explain(photo)
        return found.box if found is not None else None


def _numbers(connection: sqlite3.Connection, ids: Sequence[str]) -> Int64:
    """Return the number of the photo of each database row: both go by shard and place."""
    numbers = np.empty(len(ids), np.int64)
    stored = connection.execute(
        "SELECT stored_as, photos.number FROM photos JOIN shards ON shard = shards.number "
        "WHERE shards.status = ? ORDER BY shards.place, photos.place",
        (LIVE,),
    )
    for row, name in enumerate(ids):
        # photos without a descriptor have no row
        number = next((number for found, number in stored if found == name), None)
        if number is None:
            raise ArtifactError(f"the stored id {name!r} is not in the tables of the index; make it again")
        numbers[row] = number
    return numbers


def _allowed(connection: sqlite3.Connection, living: Living, where: str) -> Int64 | None:
    """Return the database rows that may be found; None means all."""
    shown = living.shown
    if where.strip():
        condition = parse_where(where, living.labels)
        found = connection.execute(
            f"SELECT number FROM photos WHERE status = 1 AND {condition.sql}",
            condition.values,
        )
        kept = np.fromiter((number for (number,) in found), np.int64)
        shown = shown & np.isin(living.snapshot.numbers, kept)
    return None if shown.all() else np.flatnonzero(shown)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
