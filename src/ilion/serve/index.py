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
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilion.config import DatasetConfig
from ilion.config.design import Design
from ilion.errors import ArtifactError, DatasetError
from ilion.kernels import widening
from ilion.opening import full_path
from ilion.pipeline import Pipeline, Progress
from ilion.pipeline.asking import Ready
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.results import Extraction
from ilion.searching.local import Postings
from ilion.serve.answers import Answer, Searched
from ilion.serve.cluster.holder import Holders
from ilion.serve.cluster.spread import Spread, check_spread
from ilion.serve.engines.attached import open_attached, read_setting, redact
from ilion.serve.found import Matches, group
from ilion.serve.photos import known_source
from ilion.serve.request import SearchRequest
from ilion.serve.shards import StoredShard
from ilion.serve.snapshot import Living, Snapshot, allowed_rows, numbers_of
from ilion.serve.status import IndexStatus
from ilion.serve.tables import LIVE, REMOVED, STAGED, Tables, state
from ilion.storage.sqlite import read_json_cell
from ilion.types import Box, RetrievalDataset, Source, Where

TRIES = 3
"""Attempts at a search while another process compacts the index."""


class Index:
    """Photos in a folder that can be searched. Safe to share among threads and processes.

    Args:
        folder: Folder of the index.
        holders: Machines that hold its shards (`ilion.serve.cluster`); None searches the files here.

    Raises:
        ArtifactError: The folder holds no index.
    """

    def __init__(self, folder: Where, holders: Holders | None = None) -> None:
        self.folder = Path(folder)
        self.holders = holders
        self.tables = Tables(self.folder)
        self._snapshot: Snapshot | None = None
        self._living: Living | None = None
        self._opening = threading.Lock()
        self._warm = False

    def __repr__(self) -> str:
        return f"Index({str(self.folder)!r})"

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

        The arguments are those of `ilion.serve.request.SearchRequest`.

        Raises:
            ImageError: The photo cannot be read.
            ConfigError: Nothing is asked for, or the filter cannot be read.
            ExtractionError: The design does not understand texts.
            DatasetError: The index has no photo of that id.
        """
        return self.ask(SearchRequest(photo, box, text, like, where, k, explain))[0]

    def ask(self, request: SearchRequest) -> tuple[Answer, Matches]:
        """Search like `search`, and keep what explains every result.

        Args:
            request: Photo, text or both to search for.

        Returns:
            The answer, and what shows the matches of a photo of it.
        """
        for attempt in range(TRIES):
            seen = -1
            try:
                with self.tables.read() as connection:
                    seen = state(connection)["layout"]
                    return self._ask(connection, request)
            except (ArtifactError, FileNotFoundError):
                # files of the state before are deleted when an index is compacted
                with self.tables.read() as connection:
                    if attempt + 1 == TRIES or state(connection)["layout"] == seen:
                        raise
        raise AssertionError("the last attempt answers or raises")

    def _ask(self, connection: sqlite3.Connection, request: SearchRequest) -> tuple[Answer, Matches]:
        started = time.perf_counter()
        stored = self.source(request.like, connection) if request.like else None
        query, companions = request.query(stored)
        living = self.living(connection)
        snapshot = living.snapshot
        allowed = allowed_rows(connection, living, request.where)
        nothing = allowed is not None and not len(allowed)
        matches = Matches(
            None
            if nothing
            else snapshot.ready.ask([query], companions, allowed, living.ranks(snapshot.ready.results_kept))
        )
        objects, photos = group(connection, matches, snapshot.numbers, request.k, explain=request.explain)
        best = max((found.score for found in objects), default=-np.inf)
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
        return Answer(objects, photos, none, searched), matches

    def warm(self) -> None:
        """Open what is searched; once, also search by a picture of the index, as first searches are slow.

        Raises:
            ArtifactError: Nothing can be searched.
        """
        with self.tables.read() as connection:
            prepared = self.snapshot(connection).ready.prepared
            if isinstance(prepared, Extraction):
                widening.load()
                prepared.database.hold()
            pictures = (
                [] if self._warm else connection.execute("SELECT jpeg FROM thumbnails LIMIT 1").fetchall()
            )
        for (jpeg,) in pictures:
            self.search(bytes(jpeg))
        self._warm = True

    def source(self, photo: str, connection: sqlite3.Connection | None = None) -> Source:
        """Return where a photo of the index lies.

        Args:
            photo: Id of the photo.
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
        counters, found = state(connection), self._living
        revision = counters["revision"]
        if found is None or found.revision != revision:
            snapshot = self.snapshot(connection)
            gone = [n for (n,) in connection.execute("SELECT number FROM photos WHERE status = 2")]
            shown = ~np.isin(snapshot.numbers, gone) if gone else np.ones(len(snapshot.numbers), np.bool_)
            [live] = connection.execute("SELECT count(*) FROM photos WHERE status = 1").fetchone()
            labels = [name for (name,) in connection.execute("SELECT DISTINCT name FROM labels")]
            photos = int(shown.sum())
            mark = 0
            if setting := read_setting(self.folder):
                mark = counters.get(f"engine {setting['name']}_{counters['current']} mark", 0)
            found = Living(revision, snapshot, shown, photos, live - photos, frozenset(labels), mark)
            self._living = found
        return found

    def _open(self, connection: sqlite3.Connection, counters: Mapping[str, int]) -> Snapshot:
        if not counters["current"]:
            raise ArtifactError(
                f"{self.folder}: holds no photo that can be searched yet; 'ilion add {self.folder} PHOTOS'"
            )
        design = self.design(counters["current"], connection)
        ready = Ready(self.pipeline(counters["current"], connection, sealed=True))
        numbers, engine, setting = numbers_of(connection, ready.ids), None, read_setting(self.folder)
        if setting is not None and isinstance(ready.prepared, Extraction):
            engine = open_attached(setting, counters["current"], ready.prepared.database.dim)
        if self.holders is not None:
            check_spread(design)
            assert isinstance(ready.prepared, Photos)
            assert isinstance(ready.prepared.database, Postings)
            spread = Spread(ready.prepared.database, self.holders)
            ready.prepared = replace(ready.prepared, database=spread)
        return Snapshot(counters["layout"], ready, numbers, design.name, design.threshold, engine)

    def design(self, number: int = 0, connection: sqlite3.Connection | None = None) -> Design:
        """Return a design of the index; 0 means the one that answers."""
        connection = connection or self.tables.connection
        number = number or state(connection)["current"]
        found = connection.execute("SELECT settings FROM designs WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise ArtifactError(f"{self.folder}: there is no design {number}")
        return Design.from_plain(read_json_cell(self.tables.path, found[0], dict))

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
            design: Number of the design.
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
            name=full_path(self.folder).name,
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
            living = self.living(connection) if counters["current"] and live else None
            known = living.photos if living else 0
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
                engine=redact(setting["uri"]) if (setting := read_setting(self.folder)) else "embedded",
                behind=counters.get("behind", 0),
                revision=counters["revision"],
                bytes={
                    "tables": sum(p.stat().st_size for p in self.folder.glob("index.sqlite*")),
                    "artifacts": _bytes_below(self.folder / "artifacts"),
                    "photos": _bytes_below(self.folder / "photos"),
                },
                labels=dict(labels.fetchall()),
                texts=living is not None and living.snapshot.ready.understands_texts,
            )


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
