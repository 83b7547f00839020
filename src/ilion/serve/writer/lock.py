"""One writer at a time; what an earlier one left unfinished is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from ilion.errors import ArtifactError
from ilion.serve.index import Index
from ilion.serve.tables import STAGED
from ilion.serve.writer.engine import drop_numbers

LOCK = ".writer.lock"
"""File that is held by who writes to an index."""

WAIT = 60.0
"""Seconds for which a writer waits for another one."""


@contextmanager
def writing(index: Index, wait: float = WAIT) -> Iterator[None]:
    """Keep all other writers out; what an earlier one left unfinished is dropped.

    Raises:
        ArtifactError: Another process writes for longer than ``wait`` seconds.
    """
    lock = FileLock(index.folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise ArtifactError(
            f"{index.folder}: another process is writing to this index; try again when it is done"
        ) from None
    try:
        staged = "SELECT number FROM photos WHERE status = ?"
        left = [number for (number,) in index.tables.connection.execute(staged, (STAGED,))]
        drop_numbers(index, left)
        with index.tables.write() as connection:
            connection.execute("DELETE FROM photos WHERE status = ?", (STAGED,))
            connection.execute("DELETE FROM shards WHERE status = ?", (STAGED,))
        yield
    finally:
        lock.release()
