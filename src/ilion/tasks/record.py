"""The record of a run that people look at: what is done, running, failed and left, by whom and how fast.

Each stage has a folder ``tasks/<stage>`` in the folder of the run. The driver alone writes its
``stage.json``; whoever does a task keeps ``running/<task>.json`` while it lasts. All files are replaced as a
whole, and a sign of life is given every few seconds, so what a killed process left behind is told from what
goes on.

Nothing is computed from the record: what is done is decided by the artifacts. It can be deleted at any time.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ilion.tasks.notes import Beating, write_note
from ilion.tasks.status import FOLDER, StageNote, running_tasks

FAILURES_KEPT = 1000
"""Failures that are written out; beyond, they are only counted."""


class StageLog:
    """The driver's record of one stage.

    Args:
        folder: Folder of the stage; what an earlier run noted there is removed.
        stage: Name of the stage.
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
        self._state = StageNote(stage, socket.gethostname(), os.getpid(), time.time())
        self._state.tasks, self._state.done, self._state.reused = reused + len(sizes), reused, reused
        self._state.units_done = self._state.units_reused = units_reused
        self._estimate()
        self._beating = Beating(folder / "stage.json", lambda: asdict(self._state))

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

    def set_running(self, tasks: int) -> None:
        """Note how many tasks are running."""
        if tasks != self._state.running:
            self._state.running = tasks
            self._beating.changed()

    def finished(self, size: int, units: int) -> None:
        """Say that a task is done.

        Args:
            size: Expected number of units.
            units: Number of units that were there.
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
        done = self._state.units_done + sum(task.done for task in running_tasks(self._folder))
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
        write_note(self._folder / "stage.json", asdict(self._state))


class RunRecord:
    """The record of one run, as its driver keeps it."""

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._begun = False
        self._passing: StageLog | None = None

    def __del__(self) -> None:
        # at the end of the interpreter its threads have ended, and waiting for one would take for ever
        if not sys.is_finalizing():
            self.close(whole=False)

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

    def close(self, *, whole: bool = True) -> None:
        """End the record of what is going on, whole or broken off."""
        if self._passing is not None:
            self._passing.close(whole=whole)
            self._passing = None

    def begin(self) -> None:
        """Forget what earlier runs noted, once: what they did is told by the artifacts."""
        if not self._begun:
            self._begun = True
            shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self, stage: str) -> Path:
        return self._folder / re.sub(r"[^A-Za-z0-9]+", "-", stage)
