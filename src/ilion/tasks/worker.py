"""A worker process: reads tasks from its input, one line of JSON each, and answers each with one line.

Run by `ilion.tasks.local` as ``python -m ilion.tasks.worker FUNCTION CLAIMS ANSWERS``. It ends at once when
its input does: a driver that was killed leaves nobody behind.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
from typing import TextIO

from ilion.errors import ConfigError
from ilion.tasks.base import Perform, Task, attempt


def function_name(perform: Perform) -> str:
    """Return how another process finds a function.

    Raises:
        ConfigError: The function is none that a module has under its name.

    >>> function_name(function_name)
    'ilion.tasks.worker:function_name'
    """
    module, name = perform.__module__, perform.__qualname__
    if getattr(sys.modules.get(module), name, None) is not perform:
        raise ConfigError(f"{module}.{name}: other processes can only run a function of a module")
    return f"{module}:{name}"


def function_of(name: str) -> Perform:
    """Return the function that `function_name` named."""
    module, _, attribute = name.partition(":")
    perform: Perform = getattr(importlib.import_module(module), attribute)
    return perform


def serve(perform: Perform, claims: str, answers: TextIO) -> None:
    """Do the tasks that come in until the input ends.

    Args:
        perform: Does one.
        claims: Folder where running tasks are noted.
        answers: Takes the outcomes.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        # the driver has gone, perhaps killed: whatever is going on is of no use to it
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        outcome = attempt(Task.from_json(lines.get()), perform, claims)
        answers.write(outcome.to_json() + "\n")
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[3]), "w", encoding="utf-8") as pipe:
        serve(function_of(sys.argv[1]), sys.argv[2], pipe)
