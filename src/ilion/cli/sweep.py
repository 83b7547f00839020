"""Sweeps: one experiment with some settings varied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ilion.cli.common import AsJson, BadImage, Experiment, Output, Set, progress_bars, say_json

if TYPE_CHECKING:
    from ilion.outcome import Sweep

Over = Annotated[
    list[str],
    typer.Option(
        "--over",
        metavar="SECTION.KEY=VALUE,VALUE,...",
        help="A setting to vary, with its values; repeat it for every combination.",
    ),
]


def sweep(
    experiment: Experiment,
    over: Over,
    settings: Set = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment with some settings varied; write accuracy against cost to sweep.html."""
    from ilion import api
    from ilion.storage import read_json

    bad = [] if on_bad_image is None else [f'extraction.on_bad_image="{on_bad_image}"']
    with progress_bars() as progress:
        found, path = api.sweep(experiment, over, [*(settings or ()), *bad], output, progress)
    if as_json:
        say_json(read_json(path.with_name("sweep.json")))
    else:
        _say(found, path)
    if found.failed:
        raise typer.Exit(1)


def _say(found: Sweep, path: Path) -> None:
    e = found.runs[0].evaluation
    count = f"{len(found.runs)} run{'s' if len(found.runs) != 1 else ''}"
    print(f"{found.name}: {count}, mAP@{e.k} ({e.definition})")
    fronts = found.front("bytes") | found.front("ms")
    for number, run in enumerate(found.runs):
        named = ", ".join(f"{name}={value}" for name, value in run.named.items())
        if run.same_as is not None:
            same = ", ".join(f"{name}={value}" for name, value in found.runs[run.same_as].named.items())
            print(f"  the same run as {same}: {named}")
            continue
        mark = "*" if number in fronts else " "
        interval = f"[95%: {run.evaluation.ci95.low:.4f} to {run.evaluation.ci95.high:.4f}]"
        cost = f"{run.cost.bytes_per_image:>9,.0f} bytes  {run.cost.search_ms_per_query:>8.2f} ms a query"
        print(f"{mark} {run.evaluation.mean:.4f}  {interval}  {cost}  {named}: {run.design}")
    print("* no other run costs no more and is more accurate")
    for failure in found.failed:
        named = ", ".join(f"{name}={value}" for name, value in failure.settings.items())
        print(f"failed: {named}: {failure.error}")
    print(f"report: {path}")
