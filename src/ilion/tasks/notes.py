"""Notes on disk that say what is going on: small JSON files, replaced as a whole, with signs of life.

A note is written again every few seconds as long as it holds, so what a killed process left behind is told
from what goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ilion.opening import find_misfit, parse_json, read_bytes

log = logging.getLogger(__name__)

BEAT = 3.0
"""Seconds between two signs of life."""
SILENCE = 60.0
"""Seconds without a sign of life after which a process on another machine is taken for dead."""


def write_note(path: Path, value: object) -> None:
    """Write JSON aside and rename it. A note that cannot be written must not stop the work it tells of."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(value), encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        log.warning("%s: the record of this run cannot be written (%s)", path, error.strerror)
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


class Beating:
    """Writes a value now and then until it is stopped.

    Args:
        path: File of the note.
        value: Gives what is to be written.
    """

    def __init__(self, path: Path, value: Callable[[], object]) -> None:
        self._path, self._value = path, value
        self._stop, self._wake = threading.Event(), threading.Event()
        write_note(path, value())
        self._thread = threading.Thread(target=self._beat, name="notes of a run", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(BEAT)
            if self._stop.wait(0.5 if self._wake.is_set() else 0):
                return
            self._wake.clear()
            write_note(self._path, self._value())

    def changed(self) -> None:
        """Write soon."""
        self._wake.set()

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        self._wake.set()
        self._thread.join()


@contextmanager
def claim(folder: str, name: str) -> Iterator[Callable[[int], None]]:
    """Note that this process is doing a task, as long as it does.

    Args:
        folder: Folder in which running tasks of the stage are noted.
        name: Name of the task.

    Yields:
        What to call with the number of images or queries done so far.
    """
    path = Path(folder) / f"{name}.json"
    note = {"task": name, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "done": 0}

    def mark(done: int) -> None:
        note["done"] = done
        beating.changed()

    beating = Beating(path, lambda: dict(note))
    try:
        yield mark
    finally:
        beating.stop()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def read_note(path: Path, form: Any) -> dict[str, Any] | None:
    """Read one note; None where it has gone meanwhile, and where it is damaged, which is said.

    Args:
        path: The note.
        form: Form of the content, as a type; see `ilion.opening.forms`.
    """
    try:
        value: dict[str, Any] = parse_json(read_bytes(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: cannot be read (%s); it is passed over", path, error)
        return None
    if misfit := find_misfit(value, form):
        log.warning("%s: damaged (%s); it is passed over", path, misfit)
        return None
    return value


def changed_at(path: Path) -> float:
    """Return when a note was last written, in seconds since 1970; 0 where it has gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def is_alive(host: str, pid: int, path: Path) -> bool:
    """Tell whether the process that writes a note is still there.

    Args:
        host: Machine of the process; one on another machine is judged by its signs of life alone.
        pid: Number of the process.
        path: The note.
    """
    if time.time() - changed_at(path) > SILENCE:
        return False
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # one that has ended but was not waited for still has its number
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True
