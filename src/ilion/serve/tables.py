"""The tables of an index: one SQLite file in WAL mode, in which readers see the state before or after.

All values are bound as parameters. A photo is ``STAGED`` while it is being described, ``LIVE`` once it is
acknowledged, ``REMOVED`` until the index is compacted. ``revision`` counts every change, ``layout`` those of
the shards or of the design that answers; ``current`` and ``previous`` are designs, ``behind`` counts photos
that the previous one has not described.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ilion.errors import ArtifactError
from ilion.storage.sqlite import Connection, connect

FILE = "index.sqlite"
FORMAT = 1
"""Format of the tables; another one is refused."""
STAGED, LIVE, REMOVED = 0, 1, 2
BUSY_SECONDS = 30
"""Seconds for which a statement waits for another process, before it fails."""

_SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE designs (
    number INTEGER PRIMARY KEY,
    settings TEXT NOT NULL,
    root TEXT NOT NULL,
    distractors TEXT NOT NULL,
    made REAL NOT NULL
);
CREATE TABLE shards (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    content TEXT NOT NULL,
    status INTEGER NOT NULL
);
CREATE TABLE photos (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    stored_as TEXT NOT NULL UNIQUE,
    shard INTEGER NOT NULL REFERENCES shards (number),
    place INTEGER NOT NULL,
    path TEXT NOT NULL,
    member TEXT NOT NULL DEFAULT '',
    start INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    digest TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    added REAL NOT NULL,
    status INTEGER NOT NULL
);
CREATE UNIQUE INDEX live_ids ON photos (id) WHERE status = 1;
CREATE INDEX removed ON photos (number) WHERE status = 2;
CREATE INDEX by_shard ON photos (shard, place);
CREATE TABLE views (
    photo INTEGER NOT NULL REFERENCES photos (number) ON DELETE CASCADE,
    object TEXT NOT NULL,
    x REAL, y REAL, width REAL, height REAL
);
CREATE INDEX views_by_photo ON views (photo);
CREATE INDEX views_by_object ON views (object);
CREATE TABLE labels (
    photo INTEGER NOT NULL REFERENCES photos (number) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL
);
CREATE INDEX labels_by_photo ON labels (photo);
CREATE INDEX labels_by_value ON labels (name, value);
CREATE TABLE thumbnails (
    photo INTEGER PRIMARY KEY REFERENCES photos (number) ON DELETE CASCADE,
    jpeg BLOB NOT NULL
);
"""


def is_unmade(folder: Path) -> bool:
    """Return whether the tables of a folder were never made: the disk was full, or the process was killed."""
    try:
        with closing(sqlite3.connect(folder / FILE)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            return not version and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def forget_tables(folder: Path) -> None:
    """Delete the files of tables that were never made."""
    for ending in ("", "-wal", "-shm", "-journal"):
        (folder / f"{FILE}{ending}").unlink(missing_ok=True)


class Tables:
    """Connections to the tables of one index, one for each thread.

    Args:
        folder: Folder of the index.
        create: Whether to make the tables; the folder must have none.

    Raises:
        ArtifactError: The folder holds no index, or one of another format.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.path = folder / FILE
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        if create:
            try:
                self._make()
            except BaseException:
                self.close()
                forget_tables(folder)
                raise
        elif not self.path.is_file():
            raise ArtifactError(f"{folder}: holds no index; 'ilion index PHOTOS -o {folder}' makes one")
        found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if found != FORMAT:
            raise ArtifactError(f"{self.path}: format {found}, this version reads {FORMAT}; make it again")

    def _make(self) -> None:
        connection = self._own
        connection.doing = "written"
        names = ("revision", "layout", "current", "previous")
        rows = "".join(f"INSERT INTO state VALUES ('{name}', 0);" for name in names)
        # whole or not at all: a reader never sees tables without their counters
        connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}{rows}PRAGMA user_version = {FORMAT};COMMIT;")
        connection.doing = "read"

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        return self._own

    @property
    def _own(self) -> Connection:
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connect()
        return found

    def _connect(self) -> Connection:
        connection = connect(self.path, seconds=BUSY_SECONDS)
        self._connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # what was committed is on the disk: an acknowledged photo outlives the power supply
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.doing = "read"
        return connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection on which all statements see one state."""
        connection = self.connection
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            if connection.in_transaction:  # a disk that fails may have ended it
                connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give a connection whose statements take effect together, or not at all."""
        connection = self._own
        connection.doing = "written"
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with suppress(ArtifactError):  # what went wrong before is what is told
                    connection.execute("ROLLBACK")
            raise
        finally:
            connection.doing = "read"

    def close(self) -> None:
        """Close all connections; a thread that asks again gets a new one."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def __del__(self) -> None:
        self.close()


def state(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the counters of an index."""
    return dict(connection.execute("SELECT name, value FROM state"))


def changed(connection: sqlite3.Connection, *, layout: bool = False) -> None:
    """Count a change, so that readers notice it."""
    names = ("revision", "layout") if layout else ("revision",)
    connection.executemany("UPDATE state SET value = value + 1 WHERE name = ?", [(n,) for n in names])


def set_state(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set one of the counters."""
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))
