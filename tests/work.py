"""Tasks for tests: worker processes must be able to import what they do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from ilion.errors import ImageError
from ilion.storage import write_bytes
from ilion.tasks import Task
from ilion.tasks.base import Advance


def _tries(task: Task) -> int:
    """Count this attempt; the count outlives the process."""
    path = Path(task.values["folder"]) / f"{task.name}.tries"
    with path.open("a") as file:
        file.write("x")
    return path.stat().st_size


def perform(task: Task, advance: Advance) -> None:
    """Write ``<name>.out``, after what ``work`` says."""
    folder, tries = Path(task.values["folder"]), _tries(task)
    if task.work == "bad image":
        raise ImageError(f"{task.name}.jpg: broken")
    if task.work == "bad disk":
        raise ImageError(f"{task.name}.jpg: cannot be read") from OSError(5, "input/output error")
    if task.work == "bug":
        raise ValueError("never right")
    if task.work == "flaky" and tries <= task.values["times"]:
        raise OSError(5, "input/output error")
    if task.work == "dies" and tries <= task.values["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if task.work == "slow":
        for _ in range(task.size):
            time.sleep(task.values["seconds"])
            advance(1)
    else:
        advance(task.size or 7)
    write_bytes(folder / f"{task.name}.out", f"{task.name} {task.size}".encode())
