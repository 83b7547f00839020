"""How far a run is, told from the notes in its folder alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from ilion.errors import ArtifactError
from ilion.tasks.notes import changed_at, is_alive, read_note

FOLDER = "tasks"
"""Where the record of a run is, in the folder of the run."""


@dataclass(frozen=True)
class RunningTask:
    """A task that somebody says to be doing.

    Args:
        task: Name of the task.
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
        stage: Name of the stage.
        state: ``running``, ``done``, ``failed`` (ended, with failed tasks), ``stopped`` (ended before it was
            through) or ``dead`` (says to be running, but its process gives no sign of life).
        tasks: Tasks in all; 0 for a stage that is not cut into tasks.
        done: Tasks done, in this run or before.
        reused: Number of tasks done before.
        failed: Tasks that failed to the end.
        running: Tasks being done, by whom.
        units: Images or queries in all, as far as is known.
        units_done: Images or queries done.
        rate: Images or queries a second, without those done before; 0 where nothing is known yet.
        seconds: Seconds that the stage has been running, or ran.
        left_seconds: Time to go at that rate; None where it is not known.
        host: Machine of the driver.
        pid: Number of the driver's process.
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


@dataclass
class StageNote:
    """What ``stage.json`` holds, see `StageStatus`; times in seconds since 1970."""

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


class _Claim(TypedDict):
    task: str
    host: str
    pid: int
    since: float
    done: int


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
        plain = read_note(folder / "stage.json", StageNote)
        if plain is not None:
            found.append((plain["started"], _status(folder, asdict(StageNote(**plain)))))
    if not found:
        raise ArtifactError(
            f"{run}: no record of a run here; give the output folder of an experiment that was started"
        )
    return tuple(status for _, status in sorted(found, key=lambda pair: pair[0]))


def _status(folder: Path, plain: dict[str, Any]) -> StageStatus:
    state, stage = plain["state"], folder / "stage.json"
    alive = is_alive(plain["host"], plain["pid"], stage)
    if state == "running" and not alive:
        state = "dead"
    running = tuple(running_tasks(folder)) if state in ("running", "dead") else ()
    end = plain["ended"] or (time.time() if alive else changed_at(stage))
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


def running_tasks(folder: Path) -> Iterator[RunningTask]:
    """Yield the tasks of a stage that somebody says to be doing.

    Args:
        folder: Folder of the stage.
    """
    for path in sorted((folder / "running").glob("[!.]*.json")):
        note = read_note(path, _Claim)
        if note is not None:
            yield RunningTask(**note, alive=is_alive(note["host"], note["pid"], path))
