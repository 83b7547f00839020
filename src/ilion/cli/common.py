"""Shared by the commands: options, progress bars, results for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ilion.config import ExperimentConfig

console = Console(stderr=True, emoji=False)  # in "aliked:x: ..." no cross is meant
SHOWN_NOTES = 5
"""Notes of a run that are printed."""

Experiment = Annotated[
    Path, typer.Argument(metavar="EXPERIMENT", help="An experiment file (TOML), or the folder of a data set.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; repeat it for more."),
]
Model = Annotated[str | None, typer.Option(help="Short for --set extraction.model=...; see 'ilion models'.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Output folder, relative to the working directory.")
]
BadImage = Annotated[
    Literal["error", "skip"] | None, typer.Option(help="Stop at an unreadable image, or skip and count it.")
]
On = Annotated[
    str | None, typer.Option(help="Compute shards on 'ray' or on a Ray cluster (ray://HOST:PORT).")
]
Processes = Annotated[
    int | None,
    typer.Option(help="Worker processes on this machine; 1 means this process alone, 0 one per core."),
]
Incomplete = Annotated[
    bool,
    typer.Option("--allow-incomplete", help="Go on without shards that failed, and list what is missing."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def say_skipped(run: Path) -> None:
    """Say which photos a finished run could not read: no search of it finds them."""
    from ilion.cli.poc_text import language_of
    from ilion.storage.runs import read_run
    from ilion.wording import load_words

    skipped = read_run(run)["skipped"]
    if skipped:
        words = load_words("cli", language_of(run))
        more = ["..."] if len(skipped) > SHOWN_NOTES else []
        names = words.items([*(each["id"] for each in skipped[:SHOWN_NOTES]), *more])
        text = words("run.unreadable", count=len(skipped), names=names)
        console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Any]:
    """Show one bar a stage on stderr; quiet when nobody watches."""
    from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

    with bars_of(20, MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()) as (tell, _):
        yield tell


@contextmanager
def bars_of(width: int, *columns: Any) -> Iterator[tuple[Callable[[str, int, int], None], Any]]:
    """Show one bar a stage on stderr from its first step on.

    Args:
        width: Characters of a stage's name.
        columns: Columns behind the bar.

    Yields:
        Function that takes stage, done and total, and the bars.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    name = TextColumn(f"{{task.description:<{width}}}")
    bars = Progress(name, BarColumn(), *columns, console=console, disable=not console.is_terminal)
    tasks: dict[str, Any] = {}

    def tell(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            bars.start()
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    try:
        yield tell, bars
    finally:
        bars.stop()


def experiment_of(
    verb: str,
    path: Path,
    settings: list[str] | None,
    model: str | None,
    output: Path | None,
    bad: str | None = None,
    on: str | None = None,
    processes: int | None = None,
    allow_incomplete: bool = False,
) -> ExperimentConfig:
    """Read the experiment with the short options applied; a setting that the verb passes over is refused."""
    from ilion.config import check_given, load_experiment
    from ilion.opening import full_path

    overrides = list(settings or [])
    if model is not None:
        overrides.append(f"extraction.model={json.dumps(model)}")
    if bad is not None:
        overrides.append(f"extraction.on_bad_image={json.dumps(bad)}")
    if on is not None:
        overrides.append(f"compute.on={json.dumps(on)}")
    if processes is not None:
        overrides.append(f"compute.processes={processes}")
    if allow_incomplete:
        overrides.append("compute.allow_incomplete=true")
    config = load_experiment(path, overrides)
    check_given(verb, overrides, config)
    return config if output is None else dataclasses.replace(config, output=str(full_path(output)))


def with_experiment(command: Callable[[ExperimentConfig, bool], None]) -> Callable[..., None]:
    """Give a command the argument and options that all stages of an experiment share.

    Args:
        command: Callback that receives the settings, and whether its result is printed as JSON.
    """

    def given(
        experiment: Experiment,
        settings: Set = None,
        model: Model = None,
        output: Output = None,
        on_bad_image: BadImage = None,
        on: On = None,
        processes: Processes = None,
        allow_incomplete: Incomplete = False,
        as_json: AsJson = False,
    ) -> None:
        config = experiment_of(
            command.__name__,
            experiment,
            settings,
            model,
            output,
            on_bad_image,
            on,
            processes,
            allow_incomplete,
        )
        command(config, as_json)

    # not functools.wraps: the options are those of this signature, not of the command's own
    given.__name__, given.__module__, given.__doc__ = command.__name__, command.__module__, command.__doc__
    return given


def counted(count: int, one: str, other: str = "") -> str:
    """Return what `ilion.wording.counted` returns, which is loaded only now: no help needs it."""
    from ilion import wording

    return wording.counted(count, one, other)


def say_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    # another encoding may lack a character, which must not be lost from what programs read
    escaped = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
    print(json.dumps(_known(value), indent=1, default=_plain, ensure_ascii=escaped, allow_nan=False))


def _known(value: Any) -> Any:
    """Replace what is not known (NaN) by null, which JSON has."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _known(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def summary(result: Any) -> dict[str, Any]:
    """Return the main numbers of a run as plain values."""
    e, cost = result.evaluation, result.cost
    return {
        "name": result.name,
        "design": result.design,
        "definition": e.definition,
        "k": e.k,
        "mAP": e.mean,
        "ci95": [e.ci95.low, e.ci95.high],
        "metrics": dict(e.metrics),
        "queries": len(e.query_ids),
        "database": len(result.ranking.database_ids),
        "unreachable": e.unreachable,
        "without_evidence": list(e.without_evidence),
        "notes": notes_of(result),
        "skipped": [dataclasses.asdict(s) for s in result.skipped],
        "missing": [dataclasses.asdict(m) for m in result.missing],
        "protocols": {
            name: {
                "definition": p.definition,
                "k": p.k,
                "mAP": p.mean,
                "ci95": [p.ci95.low, p.ci95.high],
                "metrics": dict(p.metrics),
                "queries": len(p.query_ids),
            }
            for name, p in result.protocols.items()
        },
        "cost": dataclasses.asdict(cost),
    }


def notes_of(result: Any) -> list[str]:
    """Return what a reader of a run should know about its data and its making, one sentence each."""
    return list(result.provenance.get("data set", {}).get("notes", ()))


def say_notes(result: Any) -> None:
    """Print the notes of a run, as far as they are few."""
    notes = notes_of(result)
    for note in notes[:SHOWN_NOTES]:
        print(f"  note: {note}")
    if len(notes) > SHOWN_NOTES:
        print(f"  note: ... and {len(notes) - SHOWN_NOTES} more; --json and the report list them")


def say_without_evidence(evaluation: Any) -> None:
    """Print how many queries had nothing to go by, if there are any."""
    silent = evaluation.without_evidence
    if silent:
        names = ", ".join(repr(name) for name in silent[:3]) + (" ..." if len(silent) > 3 else "")
        ways = {"step": "their ties count as one step", "trec": "their ties stand in order of the ids"}
        judged = ways.get(evaluation.ties, "they count as in a random order")
        print(
            f"  warning: {len(silent)} of {counted(len(evaluation.query_ids), 'query', 'queries')} "
            "had nothing to go by: to them, "
            f"all results are equally similar, or there are none ({names}); {judged}"
        )


def say_result(result: Any) -> None:
    """Print the main numbers of a run."""
    e, cost = result.evaluation, result.cost
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{result.name}: {result.design}")
    print(
        f"  queries {len(e.query_ids)}, database "
        f"{counted(len(result.ranking.database_ids), 'image')}{skipped}"
    )
    if result.missing:
        names = ", ".join(part.name for part in result.missing[:3])
        more = " ..." if len(result.missing) > 3 else ""
        print(f"  incomplete: {counted(len(result.missing), 'part')} of the database missing ({names}{more})")
    print(f"  mAP@{e.k} ({e.definition})  {e.mean:.4f}  [95%: {e.ci95.low:.4f} to {e.ci95.high:.4f}]")
    for name, value in e.metrics.items():
        print(f"  {name:<18}{value:.4f}")
    if asked := result.provenance.get("asked"):
        print(
            f"  asked {asked['model']}: {asked['questions sent']} questions sent, {asked['answers kept']} "
            f"known, {asked['prompt tokens'] + asked['answer tokens']} tokens, "
            f"{asked['seconds of answers']:.1f} s; mAP before {asked['mAP before']:.4f}"
        )
    for name, p in result.protocols.items():
        found = [f"{result.name_of(p)} {p.mean:.4f} [95%: {p.ci95.low:.4f} to {p.ci95.high:.4f}]"]
        found += [f"{metric} {value:.4f}" for metric, value in p.metrics.items()]
        print(f"  as published, {name}: {', '.join(found)}; {counted(len(p.query_ids), 'query', 'queries')}")
    say_without_evidence(e)
    say_notes(result)
    if math.isnan(cost.search_ms_per_query):
        print("  cost unknown: the results were made elsewhere")
        return
    if math.isnan(cost.extraction_ms_per_image):
        print(
            f"  {cost.bytes_per_image / 1024:.1f} KB an image, described elsewhere; "
            f"{cost.search_ms_per_query:.2f} ms a query, peak memory {cost.peak_memory_bytes / 2**30:.2f} GB"
        )
        return
    print(
        f"  {cost.extraction_ms_per_image:.1f} ms and {cost.bytes_per_image / 1024:.1f} KB an image, "
        f"{cost.search_ms_per_query:.2f} ms a query, peak memory {cost.peak_memory_bytes / 2**30:.2f} GB"
    )
