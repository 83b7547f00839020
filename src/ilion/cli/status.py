"""Progress of a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ilion.cli.common import AsJson, counted, say_json
from ilion.cli.index import say_index

INTERVAL = 2.0
"""Seconds between updates of ``--watch``."""
SHOWN = 10
"""Largest number of tasks of a kind that are named."""


def status(
    run: Annotated[Path, typer.Argument(help="Output folder of a run, or an index.")],
    watch: Annotated[bool, typer.Option("--watch", help="Update until the run ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a run: tasks done, running, failed and left; or what an index holds."""
    from ilion import api

    if (run / "index.sqlite").is_file():
        say_index(run, as_json)
        return
    while True:
        stages = api.status(run)
        if as_json:
            say_json([{**dataclasses.asdict(stage), "left": stage.left} for stage in stages])
        else:
            if watch:
                print("\x1b[H\x1b[2J", end="")
            for line in _lines(stages):
                print(line)
        if not watch or stages[-1].state != "running":
            return
        time.sleep(INTERVAL)


def _lines(stages: Any) -> Iterator[str]:
    width = max(len(stage.stage) for stage in stages)
    for stage in stages:
        yield f"{stage.stage:<{width}}  {_summary(stage)}"
        for task in stage.running[:SHOWN]:
            since = f"{_time(time.time() - task.since)} ago"
            if task.alive:
                yield f"  running  {task.task}: {task.done:,} done, begun {since} by {task.host}:{task.pid}"
            else:
                yield f"  died     {task.task}: begun {since} by {task.host}:{task.pid}; to be done again"
        if len(stage.running) > SHOWN:
            yield f"  ... and {len(stage.running) - SHOWN} more that are running"
        for failure in stage.failures[:SHOWN]:
            yield f"  failed   {failure['task']} after {failure['attempts']} attempts: {failure['error']}"
        if stage.failed > SHOWN:
            yield f"  ... and {stage.failed - SHOWN} more that failed; --json names up to 1,000"
        if stage.state == "dead":
            yield f"  process {stage.pid} on {stage.host} has died; run the same command again to go on"


def _summary(stage: Any) -> str:
    parts = [stage.state]
    if stage.tasks:
        before = f" ({stage.reused} of them before)" if stage.reused else ""
        parts.append(f"{stage.done} of {counted(stage.tasks, 'task')} done{before}")
        alive = sum(task.alive for task in stage.running)
        counts = {"running": alive, "failed": stage.failed, "left": stage.left}
        parts += [f"{count} {name}" for name, count in counts.items() if count]
    parts.append(f"{stage.units_done:,} of {stage.units:,}")
    if stage.rate:
        parts.append(f"{stage.rate:,.1f} a second")
    if stage.left_seconds is not None:
        parts.append(f"{_time(stage.left_seconds)} to go")
    else:
        parts.append(_time(stage.seconds))
    return ", ".join(parts)


def _time(seconds: float) -> str:
    """Return a duration for people.

    >>> _time(3.2), _time(75), _time(7500), _time(200000)
    ('3 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    whole = round(seconds)
    steps = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))
    for unit, size, next_unit, next_size in steps:
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // next_size} {next_unit}"
    return f"{whole} s"
