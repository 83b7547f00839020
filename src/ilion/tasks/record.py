"""The record of a run that people look at: what is done, running, failed and left, by whom and how fast.

Each stage has a folder ``tasks/<stage>`` in the folder of the run. The driver alone writes its
``stage.json``; whoever does a task keeps ``running/<task>.json`` while it lasts. All files are replaced as a
whole, and a sign of life is given every few seconds, so what a killed process left behind is told from what
goes on.

Nothing is computed from the record: what is done is decided by the artifacts. It can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ilion.errors import ArtifactError

log = logging.getLogger(__name__)

FOLDER = "tasks"
BEAT = 3.0
"""Seconds between two signs of life."""
SILENCE = 60.0
"""Seconds without a sign of life after which a process on another machine is taken for dead."""
FAILURES_KEPT = 1000
"""Failures that are written out; beyond, they are only counted."""


@dataclass
class _Stage:
    """What ``stage.json`` holds; times in seconds since 1970."""

    stage: str
    host: str
    pid: int
    started: float
    state: str = "running"
    tasks: int = 0
    done: int = 0
    reused: int = 0
    failed: int = 0
    running: int = 0
    units: int = 0
    units_done: int = 0
    units_reused: int = 0
    ended: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)


def _replace(path: Path, value: object) -> None:
    """Write JSON aside and rename it. A record that cannot be written must not stop the work it tells of."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(value), encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        log.warning("%s: the record of this run cannot be written (%s)", path, error.strerror)
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


class _Beating:
    """Writes a value now and then until it is stopped."""

    def __init__(self, path: Path, value: Callable[[], object]) -> None:
        self._path, self._value = path, value
        self._stop, self._wake = threading.Event(), threading.Event()
        _replace(path, value())
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(BEAT)
            if self._stop.wait(0.5 if self._wake.is_set() else 0):
                return
            self._wake.clear()
            _replace(self._path, self._value())

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
        folder: Where running tasks of the stage are noted.
        name: Of the task.

    Yields:
        What to call with the number of images or queries done so far.
    """
    path = Path(folder) / f"{name}.json"
    note = {"task": name, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "done": 0}

    def mark(done: int) -> None:
        note["done"] = done
        beating.changed()

    beating = _Beating(path, lambda: dict(note))
    try:
        yield mark
    finally:
        beating.stop()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class StageLog:
    """The driver's record of one stage.

    Args:
        folder: Of the stage; what an earlier run noted there is removed.
        stage: Its name.
        sizes: Images or queries in each task that is left, 0 where that is not known.
        reused: Tasks that are done already.
        units_reused: Images or queries in them.
    """

    def __init__(
        self, folder: Path, stage: str, sizes: Sequence[int] = (), *, reused: int = 0, units_reused: int = 0
    ) -> None:
        self._folder = folder
        self._known = sum(sizes)
        self._unknown = sum(size == 0 for size in sizes)
        # of the tasks whose size was not known before: those that are done, and what was in them
        self._found = [reused, units_reused]
        shutil.rmtree(folder, ignore_errors=True)
        self._state = _Stage(stage, socket.gethostname(), os.getpid(), time.time())
        self._state.tasks, self._state.done, self._state.reused = reused + len(sizes), reused, reused
        self._state.units_done = self._state.units_reused = units_reused
        self._estimate()
        self._beating = _Beating(folder / "stage.json", lambda: asdict(self._state))

    @property
    def claims(self) -> str:
        """Folder where running tasks are noted."""
        return str(self._folder / "running")

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self._state.stage

    @property
    def expected(self) -> int:
        """Images or queries in all, as far as that is known."""
        return self._state.units

    def _estimate(self) -> None:
        tasks, units = self._found
        self._state.units = self._known + units + round(self._unknown * units / max(1, tasks))

    def given_out(self, tasks: int) -> None:
        """Say how many tasks are given out."""
        if tasks != self._state.running:
            self._state.running = tasks
            self._beating.changed()

    def finished(self, size: int, units: int) -> None:
        """Say that a task is done.

        Args:
            size: What was expected in it.
            units: What was in it.
        """
        self._state.done += 1
        self._state.units_done += units or size
        if size == 0:
            self._unknown -= 1
            self._found = [self._found[0] + 1, self._found[1] + units]
            self._estimate()
        self._beating.changed()

    def failed(self, name: str, attempts: int, error: str) -> None:
        """Say that a task failed to the end."""
        self._state.failed += 1
        if len(self._state.failures) < FAILURES_KEPT:
            self._state.failures.append({"task": name, "attempts": attempts, "error": error})
        self._beating.changed()

    def passed(self, done: int, total: int) -> None:
        """Say how far a stage is that is not cut into tasks."""
        self._state.units_done, self._state.units = done, total
        self._beating.changed()

    def units(self) -> tuple[int, int]:
        """Return the images or queries that are done, with those of running tasks, and how many there are."""
        done = self._state.units_done + sum(task.done for task in _running(self._folder))
        return done, max(done, self._state.units)

    def close(self, *, whole: bool = True) -> None:
        """Say that the stage has ended, whole or broken off."""
        self._beating.stop()
        if whole:
            self._state.state = "failed" if self._state.failed else "done"
        else:
            self._state.state = "stopped"
        self._state.running, self._state.ended = 0, time.time()
        shutil.rmtree(self.claims, ignore_errors=True)
        _replace(self._folder / "stage.json", asdict(self._state))


class RunRecord:
    """The record of one run, as its driver keeps it.

    Args:
        run: Folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._begun = False
        self._passing: StageLog | None = None

    @contextmanager
    def stage(
        self, stage: str, sizes: Sequence[int] = (), *, reused: int = 0, units_reused: int = 0
    ) -> Iterator[StageLog]:
        """Keep the record of a stage that is cut into tasks; see `StageLog`."""
        opened = StageLog(self._place(stage), stage, sizes, reused=reused, units_reused=units_reused)
        try:
            yield opened
        except BaseException:
            opened.close(whole=False)
            raise
        opened.close()

    def passed(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is that is not cut into tasks."""
        if self._passing is None or self._passing.stage != stage:
            self.close()
            self._passing = StageLog(self._place(stage), stage)
        self._passing.passed(done, total)
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the record of what is going on."""
        if self._passing is not None:
            self._passing.close()
            self._passing = None

    def begin(self) -> None:
        """Forget what earlier runs noted, once: what they did is told by the artifacts."""
        if not self._begun:
            self._begun = True
            shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self, stage: str) -> Path:
        return self._folder / re.sub(r"[^A-Za-z0-9]+", "-", stage)


@dataclass(frozen=True)
class RunningTask:
    """A task that somebody says to be doing.

    Args:
        task: Its name.
        host: Machine.
        pid: Process.
        since: Seconds since 1970.
        done: Images or queries done.
        alive: Whether the process still gives signs of life.
    """

    task: str
    host: str
    pid: int
    since: float
    done: int
    alive: bool


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is.

    Args:
        stage: Its name.
        state: ``running``, ``done``, ``failed`` (ended, with failed tasks), ``stopped`` (ended before it was
            through) or ``dead`` (says to be running, but its process gives no sign of life).
        tasks: Tasks in all; 0 for a stage that is not cut into tasks.
        done: Tasks done, in this run or before.
        reused: Those done before.
        failed: Tasks that failed to the end.
        running: Tasks being done, by whom.
        units: Images or queries in all, as far as is known.
        units_done: Images or queries done.
        rate: Of them a second, without those done before; 0 where nothing is known yet.
        seconds: How long the stage has been running, or ran.
        left_seconds: Time to go at that rate; None where it is not known.
        host: Machine of the driver.
        pid: Its process.
        failures: Name, attempts and last error of failed tasks.
    """

    stage: str
    state: str
    tasks: int
    done: int
    reused: int
    failed: int
    running: tuple[RunningTask, ...]
    units: int
    units_done: int
    rate: float
    seconds: float
    left_seconds: float | None
    host: str
    pid: int
    failures: tuple[Mapping[str, Any], ...]

    @property
    def left(self) -> int:
        """Tasks that nobody has begun, or whose process has died."""
        return max(0, self.tasks - self.done - self.failed - sum(task.alive for task in self.running))


def read_status(run: Path) -> tuple[StageStatus, ...]:
    """Read how far a run is, from its files alone; it may be going on elsewhere, have ended, or have died.

    Args:
        run: Folder of the run.

    Returns:
        The stages that were begun, in their order.

    Raises:
        ArtifactError: The folder holds no record.
    """
    found = []
    for folder in sorted((run / FOLDER).glob("*")):
        plain = _read(folder / "stage.json")
        if plain is not None:
            found.append((plain["started"], _status(folder, plain)))
    if not found:
        raise ArtifactError(
            f"{run}: no record of a run here; give the output folder of an experiment that was started"
        )
    return tuple(status for _, status in sorted(found, key=lambda pair: pair[0]))


def _status(folder: Path, plain: dict[str, Any]) -> StageStatus:
    state, stage = plain["state"], folder / "stage.json"
    alive = _alive(plain["host"], plain["pid"], stage)
    if state == "running" and not alive:
        state = "dead"
    running = tuple(_running(folder)) if state in ("running", "dead") else ()
    end = plain["ended"] or (time.time() if alive else _changed(stage))
    seconds = max(0.0, end - plain["started"])
    # what a dead process had begun in a task is lost with it
    done = plain["units_done"] + sum(task.done for task in running if task.alive)
    rate = (done - plain["units_reused"]) / seconds if seconds > 0 else 0.0
    units = max(done, plain["units"])
    known = state == "running" and rate > 0 and plain["units"] > 0
    return StageStatus(
        stage=plain["stage"],
        state=state,
        tasks=plain["tasks"],
        done=plain["done"],
        reused=plain["reused"],
        failed=plain["failed"],
        running=running,
        units=units,
        units_done=done,
        rate=rate,
        seconds=seconds,
        left_seconds=(units - done) / rate if known else None,
        host=plain["host"],
        pid=plain["pid"],
        failures=tuple(plain["failures"]),
    )


def _running(folder: Path) -> Iterator[RunningTask]:
    for path in sorted((folder / "running").glob("[!.]*.json")):
        note = _read(path)
        if note is not None:
            yield RunningTask(**note, alive=_alive(note["host"], note["pid"], path))


def _read(path: Path) -> dict[str, Any] | None:
    """Read one note; None where it has gone meanwhile."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _alive(host: str, pid: int, path: Path) -> bool:
    """Tell whether the process that writes a note is still there."""
    if time.time() - _changed(path) > SILENCE:
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
