"""The one way in which SQLite files are opened: what goes wrong, whenever it does, is a sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ilion.errors import ArtifactError, UnwritableError
from ilion.opening import check_regular, parse_json

_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space, and run it again",
    sqlite3.SQLITE_IOERR: "free space or look after the disk, and run it again",
    sqlite3.SQLITE_READONLY: "it may only be read; change that or use a copy",
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again in a moment",
    sqlite3.SQLITE_CORRUPT: "it is damaged; put a copy of it back",
    sqlite3.SQLITE_NOTADB: "it is damaged; put a copy of it back",
}
"""What to do about an error, by its code."""
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
"""Errors of the disk or its rights."""


class _Cursor(sqlite3.Cursor):
    """A cursor whose errors are sentences, wherever it is used."""

    def execute(self, *arguments: Any) -> Self:
        with _said(self.connection):
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Self:
        with _said(self.connection):
            return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> Self:
        with _said(self.connection):
            super().executescript(*arguments)
        return self

    def fetchone(self) -> Any:
        with _said(self.connection):
            return super().fetchone()

    def fetchall(self) -> list[Any]:
        with _said(self.connection):
            return super().fetchall()

    def __next__(self) -> Any:
        with _said(self.connection):
            return super().__next__()


class Connection(sqlite3.Connection):
    """A connection that knows its file, and what is being done to it."""

    path: Path
    doing = "opened"

    def cursor(self, factory: Any = _Cursor) -> Any:
        """Return a cursor whose errors are sentences."""
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> _Cursor:
        """Run a statement on a cursor of its own."""
        return _Cursor(self).execute(*arguments)

    def executemany(self, *arguments: Any) -> _Cursor:
        """Run a statement for each of many rows, on a cursor of its own."""
        return _Cursor(self).executemany(*arguments)

    def executescript(self, *arguments: Any) -> _Cursor:
        """Run several statements on a cursor of their own."""
        return _Cursor(self).executescript(*arguments)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        """Copy the tables; errors are told of the target."""
        with _said(target):
            super().backup(target, **options)


def connect(path: Path, *, seconds: float = 30.0, kept: bool = True) -> Connection:
    """Connect to an SQLite file, made if it is not there; each statement takes effect by itself.

    Args:
        path: Path of the file.
        seconds: Seconds for which a statement waits for another process before it fails.
        kept: Whether there is a file; without, the tables lie in memory and ``path`` is what errors name.

    Raises:
        ArtifactError: Something else than a file is there, or it cannot be opened; later statements raise it
            of what goes wrong then.
    """
    try:
        if kept and os.path.lexists(path):
            check_regular(path)
        connection = sqlite3.connect(
            path if kept else ":memory:",
            timeout=seconds,
            isolation_level=None,
            check_same_thread=False,  # each is used by one thread at a time, and closed by any
            factory=Connection,
        )
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path}: cannot be opened ({reason}); choose another folder") from error
    connection.path = path
    return connection


def read_json_cell(path: Path, text: object, form: type) -> Any:
    """Return what JSON that was kept in a table of an SQLite file says.

    Args:
        path: The file, which errors name.
        text: Content of the cell; of another type than text, it is damaged.
        form: Type of what it says: list or dict.

    Raises:
        ArtifactError: The cell is damaged.
    """
    if not isinstance(text, str | bytes):
        raise ArtifactError(f"{path}: damaged ({type(text).__name__} in a table); put a copy of it back")
    try:
        found = parse_json(text)
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged ({error}); put a copy of it back") from None
    if not isinstance(found, form):
        raise ArtifactError(f"{path}: damaged ({type(found).__name__} in a table); put a copy of it back")
    return found


@contextmanager
def _said(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    # a message that quotes damaged bytes cannot be decoded
    except (sqlite3.Error, UnicodeDecodeError) as error:
        assert isinstance(connection, Connection)
        damaged = sqlite3.SQLITE_CORRUPT if isinstance(error, UnicodeDecodeError) else 0
        # the low byte is the kind of an error, the rest says more
        code = getattr(error, "sqlite_errorcode", damaged) & 0xFF
        kind, remedy = (
            UnwritableError if code in _FULL else ArtifactError,
            _REMEDIES.get(code, "run it again"),
        )
        raise kind(f"{connection.path}: cannot be {connection.doing} ({error}); {remedy}") from error
