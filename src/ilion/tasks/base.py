"""What a task is, and how all tasks of a stage are brought to their end, whoever does them.

A task is a plain description that says which one shard of an artifact is to be written. It is idempotent:
done twice, even by two workers at once, it leaves the same bytes, because files are written aside under names
of their own and renamed. So a lost worker costs time and nothing else: its task is given to another one.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from ilion.errors import ConfigError, DatasetError, IlionError, TaskError
from ilion.opening import parse_json
from ilion.tasks.notes import claim
from ilion.tasks.record import StageLog

log = logging.getLogger(__name__)

LOSSES = 3
"""A worker that vanishes may have taken an accident of its machine, so a task survives so many times more
losses than errors."""
POLL = 0.5
"""Seconds between two looks at the workers."""

Advance = Callable[[int], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """One piece of work, described by plain values, so that it can be done by any process on any machine.

    Args:
        name: Unique among the tasks of its stage; safe as a file name.
        work: Kind of work; the function that performs it knows the kinds.
        values: Arguments of the work: text, numbers, lists and tables.
        size: Images or queries in it; 0 where that is not known yet.
    """

    name: str
    work: str
    values: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0

    def to_json(self) -> str:
        """Return the task as one line of JSON.

        >>> task = Task("a", "describe", {"side": 384})
        >>> Task.from_json(task.to_json()) == task
        True
        """
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Build the task that `to_json` wrote."""
        return cls(**parse_json(text))


Perform = Callable[[Task, Advance], None]
"""Does a task, and says how many images or queries it has just done."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a task ended.

    Args:
        name: Name of the task.
        error: Error message; "" if it is done.
        again: Whether another attempt may end better.
        lost: Whether the worker vanished.
        units: Images or queries done.
        exception: The error itself, where it was raised in this process.
    """

    name: str
    error: str = ""
    again: bool = False
    lost: bool = False
    units: int = 0
    exception: Exception | None = None

    def to_json(self) -> str:
        """Return the outcome as one line of JSON, without the exception."""
        return json.dumps({k: v for k, v in vars(self).items() if k != "exception"})

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Build the outcome that `to_json` wrote."""
        return cls(**parse_json(text))


@dataclass(frozen=True)
class Failure:
    """A task that could not be done.

    Args:
        name: Name of the task.
        attempts: Number of attempts.
        error: Error message of the last attempt.
    """

    name: str
    attempts: int
    error: str


class Pool(Protocol):
    """Who does the tasks."""

    @property
    def capacity(self) -> int:
        """How many tasks may be given out at once."""
        ...

    def submit(self, task: Task) -> None:
        """Give out a task."""
        ...

    def finished(self, timeout: float) -> Sequence[Outcome]:
        """Return the outcomes since the last call; wait for one at most ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """Stop all work that is still going on."""
        ...


def attempt(task: Task, perform: Perform, claims: str) -> Outcome:
    """Do a task, and say how it ended. Every error is an outcome: a worker outlives its tasks.

    Args:
        task: The task.
        perform: Does it.
        claims: Folder where it is noted while it is being done.
    """
    units = 0
    with claim(claims, task.name) as mark:

        def advance(number: int) -> None:
            nonlocal units
            units += number
            mark(units)

        try:
            perform(task, advance)
        except Exception as error:
            return Outcome(task.name, _said(error), _may_pass(error), units=units, exception=error)
    return Outcome(task.name, units=units)


def _said(error: Exception) -> str:
    if isinstance(error, IlionError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _may_pass(error: BaseException) -> bool:
    """Tell whether another attempt may end better: what is wrong with data or settings stays wrong."""
    cause: BaseException | None = error
    seen: set[int] = set()
    # an error may name itself as its cause
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError | PermissionError):
            return True
        cause = cause.__cause__
    return not isinstance(error, DatasetError | ConfigError)


class InlinePool:
    """Does the tasks one after the other in this process.

    Args:
        perform: Does a task.
        claims: Folder where running tasks are noted.
    """

    capacity = 1

    def __init__(self, perform: Perform, claims: str) -> None:
        self._perform, self._claims = perform, claims
        self._waiting: list[Task] = []

    def submit(self, task: Task) -> None:
        """Take a task; it is done by the next call of `finished`."""
        self._waiting.append(task)

    def finished(self, timeout: float) -> Sequence[Outcome]:
        """Do what was given out."""
        waiting, self._waiting = self._waiting, []
        return [attempt(task, self._perform, self._claims) for task in waiting]

    def close(self) -> None:
        """Forget what was not done."""
        self._waiting.clear()


def run_tasks(
    tasks: Sequence[Task],
    pool: Pool,
    log_: StageLog,
    *,
    retries: int = 2,
    stop_at_first: bool = False,
    progress: Progress | None = None,
) -> list[Failure]:
    """Do all tasks, those that fail again after the others, and return those that failed to the end.

    Args:
        tasks: Names must differ.
        pool: Pool of workers; it is closed at the end.
        log_: Keeps the record that people look at; nothing here is computed from it.
        retries: Further attempts at a task whose error may pass.
        stop_at_first: Whether a failure ends all; its own error is then raised.
        progress: Callback that receives images or queries done, and in all as far as that is known.

    Raises:
        TaskError: ``stop_at_first``, and a task failed in another process.
    """
    waiting = deque(tasks)
    running: dict[str, Task] = {}
    tried: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    failures: list[Failure] = []
    try:
        while waiting or running:
            while waiting and len(running) < pool.capacity:
                task = waiting.popleft()
                running[task.name] = task
                pool.submit(task)
            log_.set_running(len(running))
            for outcome in pool.finished(POLL):
                task = running.pop(outcome.name)
                tried[task.name] += 1
                lost[task.name] += outcome.lost
                errors = tried[task.name] - lost[task.name]
                if not outcome.error:
                    log_.finished(task.size, outcome.units)
                    continue
                able = errors <= retries and lost[task.name] <= LOSSES * (retries + 1)
                if outcome.again and able:
                    log.warning("task %s will be tried again: %s", task.name, outcome.error)
                    waiting.append(task)
                    continue
                failures.append(Failure(task.name, tried[task.name], outcome.error))
                log_.failed(task.name, tried[task.name], outcome.error)
                if stop_at_first:
                    raise outcome.exception or TaskError(f"{task.name}: {outcome.error}")
            if progress:
                done, total = log_.units()
                progress(done, total)
    finally:
        pool.close()
    return failures
