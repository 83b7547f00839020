"""The command line: every verb is a thin wrapper of one Python function with the same name and defaults.

Results go to stdout (``--json`` for programs), everything else to stderr. A user's mistake never shows a
traceback: exit code 1; wrong usage: exit code 2.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ilion._version import __version__
from ilion.config import ExperimentConfig, apply_overrides, dump_toml, from_dict, load_experiment, to_dict
from ilion.errors import IlionError

app = typer.Typer(
    name="ilion",
    help="Instance-level image retrieval, measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
datasets_app = typer.Typer(
    help="Make, check and synthesise data sets.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(datasets_app, name="datasets")

console = Console(stderr=True)

Experiment = Annotated[
    Path, typer.Argument(metavar="EXPERIMENT", help="An experiment file (TOML), or the folder of a data set.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be given often."),
]
Model = Annotated[str | None, typer.Option(help="Short for --set extraction.model=...; see 'ilion models'.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder of the run; relative to where you are.")
]
BadImage = Annotated[
    Literal["error", "skip"] | None, typer.Option(help="Stop at an unreadable image, or count it and go on.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def main() -> None:
    """Run the command line."""
    try:
        app()
    except IlionError as error:
        console.print("[bold red]error:[/] ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped; run the same command again to go on from here")
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is going on.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Instance-level image retrieval, measured."""
    handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])


# --- helpers ---


@contextmanager
def _progress() -> Iterator[Any]:
    """Show one bar a stage on stderr; quiet when nobody watches."""
    with Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell


def _experiment(
    path: Path, settings: list[str] | None, model: str | None, output: Path | None, bad: str | None = None
) -> ExperimentConfig:
    """Read the experiment with the short options applied."""
    overrides = list(settings or [])
    if model is not None:
        overrides.append(f"extraction.model={json.dumps(model)}")
    if bad is not None:
        overrides.append(f"extraction.on_bad_image={json.dumps(bad)}")
    config = load_experiment(path, overrides)
    return config if output is None else dataclasses.replace(config, output=str(output.resolve()))


def _say_json(value: object) -> None:
    print(json.dumps(value, indent=1, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


# --- stages ---


def _summary(result: Any) -> dict[str, Any]:
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
        "skipped": [dataclasses.asdict(s) for s in result.skipped],
        "cost": dataclasses.asdict(cost),
    }


def _say_result(result: Any) -> None:
    e, cost = result.evaluation, result.cost
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{result.name}: {result.design}")
    print(f"  queries {len(e.query_ids)}, database {len(result.ranking.database_ids)} images{skipped}")
    print(f"  mAP@{e.k} ({e.definition})  {e.mean:.4f}  [95%: {e.ci95.low:.4f} to {e.ci95.high:.4f}]")
    for name, value in e.metrics.items():
        print(f"  {name:<18}{value:.4f}")
    print(
        f"  {cost.extraction_ms_per_image:.1f} ms and {cost.bytes_per_image / 1024:.1f} KB an image, "
        f"{cost.search_ms_per_query:.2f} ms a query, peak memory {cost.peak_memory_bytes / 2**30:.2f} GB"
    )


@app.command()
def run(
    experiment: Experiment,
    settings: Set = None,
    model: Model = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Run all stages and write report.html. What is done already and unchanged is not computed again."""
    from ilion import verbs

    config = _experiment(experiment, settings, model, output, on_bad_image)
    with _progress() as progress:
        result, path = verbs.run(config, progress)
    if as_json:
        _say_json({**_summary(result), "report": str(path)})
    else:
        _say_result(result)
        print(f"report: {path}")


@app.command()
def extract(
    experiment: Experiment,
    settings: Set = None,
    model: Model = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Describe queries and database; survives being killed and goes on where it stopped."""
    from ilion import verbs

    with _progress() as progress:
        done = verbs.extract(_experiment(experiment, settings, model, output, on_bad_image), progress)
    facts = {
        "images": done.images,
        "dimensions": done.database.dim,
        "skipped": [dataclasses.asdict(s) for s in done.skipped],
        "seconds": dict(done.seconds),
        "reused": list(done.reused),
        "folder": str(done.database.artifact.folder),
    }
    if as_json:
        _say_json(facts)
    else:
        print(f"{done.images} images, {done.database.dim} dimensions, {len(done.skipped)} skipped")
        print(f"descriptors: {facts['folder']}")


@app.command()
def rank(
    experiment: Experiment,
    settings: Set = None,
    model: Model = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Rank the database for every query, extracting what is missing."""
    from ilion import verbs

    with _progress() as progress:
        done = verbs.rank(_experiment(experiment, settings, model, output, on_bad_image), progress)
    if as_json:
        ranking = done.ranking
        _say_json(
            {
                query: [
                    {"id": ranking.database_ids[row], "similarity": float(value)}
                    for row, value in zip(ranking.indices[q, :n], ranking.similarities[q, :n], strict=True)
                ]
                for q, (query, n) in enumerate(zip(ranking.query_ids, ranking.counts, strict=True))
            }
        )
    else:
        print(f"{len(done.ranking.query_ids)} queries, {done.ranking.indices.shape[1]} results each")
        print(f"ranking: {done.folder}")


@app.command()
def evaluate(
    experiment: Experiment,
    settings: Set = None,
    model: Model = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Run up to the evaluation and print it, with its cost; slices included."""
    from ilion import verbs

    with _progress() as progress:
        result = verbs.evaluate(_experiment(experiment, settings, model, output, on_bad_image), progress)
    if as_json:
        _say_json({**_summary(result), "slices": [dataclasses.asdict(s) for s in result.evaluation.slices]})
        return
    _say_result(result)
    for s in result.evaluation.slices:
        interval = f"[{s.ci95.low:.4f} to {s.ci95.high:.4f}]"
        print(f"  {s.axis}: {s.label:<24} {s.mean:.4f}  {interval}  {s.queries} queries")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Output folders of runs; the first is shown in full.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
) -> None:
    """Write report.html of finished runs side by side."""
    from ilion import verbs

    with _progress() as progress:
        print(f"report: {verbs.report(runs, output, progress)}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Output folder of the baseline.")],
    b: Annotated[Path, typer.Argument(help="Output folder of the run that may be better.")],
    seed: Annotated[int, typer.Option(help="Of the interval and the test.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare two runs of the same queries: difference, interval over instances, randomisation test."""
    from ilion import verbs

    result = verbs.compare(a, b, seed)
    if as_json:
        _say_json(result)
        return
    print(f"mAP@{result.k} ({result.definition}), b minus a: {result.difference:+.4f}")
    interval = f"{result.ci95.low:+.4f} to {result.ci95.high:+.4f}"
    print(f"  95% interval over {result.instances} instances: {interval}")
    print(f"  randomisation test: p = {result.p_value:.4f}")
    print(f"  b is better for {result.better} queries, worse for {result.worse}, equal for {result.equal}")


@app.command()
def models(
    text: Annotated[bool, typer.Option("--text", help="Only models that take text queries.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models by name, with licence and download size."""
    from ilion.extractors.base import models as registered

    found = [info for info in registered() if info.text or not text]
    if as_json:
        _say_json([dataclasses.asdict(info) for info in found])
        return
    width = max(len(info.name) for info in found)
    for info in found:
        size = f"{info.download_mb} MB" if info.download_mb else "no download"
        extra = f" [{info.extra}]" if info.extra else ""
        print(f"{info.name:<{width}}  {info.dim:>6} dims  {size:>12}  {info.licence}{extra}  {info.note}")


@app.command()
def config(
    experiment: Annotated[
        Path | None, typer.Argument(help="An experiment; none prints the defaults.")
    ] = None,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print all settings with their values, as TOML."""
    if experiment:
        values = load_experiment(experiment, settings or [])
    else:
        values = from_dict(ExperimentConfig, apply_overrides({}, settings or []))
    if as_json:
        _say_json(to_dict(values))
    else:
        print(dump_toml(values), end="")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where all goes.")] = Path("demo"),
    instances: Annotated[int, typer.Option(help="Objects.")] = 24,
    distractors: Annotated[int, typer.Option(help="Images that show none of the objects.")] = 400,
    model: Annotated[str, typer.Option(help="See 'ilion models'.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Make a synthetic data set, run everything on it, and print where the report is."""
    from ilion import verbs

    with _progress() as progress:
        result, path = verbs.demo(output, instances, distractors, model, progress)
    if as_json:
        _say_json({**_summary(result), "report": str(path)})
    else:
        _say_result(result)
        print(f"report: {path}")
        experiment = output / "experiment.toml"
        print(f"change a setting in {experiment} and go on with: ilion run {experiment}")


# --- data sets ---


@datasets_app.command("new")
def new_dataset(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Make the skeleton of a data set of your own photos, with a README that says what goes where."""
    from ilion import datasets

    for path in datasets.new_dataset(folder):
        print(path)


@datasets_app.command("check")
def check_dataset(
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    layout: Annotated[
        Literal["auto", "ilias", "folder"], typer.Option(help="Look, or say which form it is.")
    ] = "auto",
    full_decode: Annotated[
        bool, typer.Option("--full/--quick", help="Decode every image, or read headers only.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Say all that is wrong with a data set, and what it is like. Exit code 1 if it has errors."""
    from ilion import datasets

    with _progress() as progress:
        found = datasets.check_dataset(
            folder,
            layout=layout,
            full_decode=full_decode,
            progress=lambda done, total: progress("check", done, total),
        )
    if as_json:
        _say_json(found)
    else:
        print(datasets.render_check(found))
    if not found.ok:
        raise typer.Exit(1)


@datasets_app.command("synth")
def synthesize(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder, or one that is to be finished.")],
    instances: Annotated[int, typer.Option(help="Objects.")] = 24,
    positives: Annotated[int, typer.Option(help="Positives an object.")] = 8,
    distractors: Annotated[int, typer.Option(help="Images that show none of the objects.")] = 400,
    shard_size: Annotated[int, typer.Option(help="Distractors in one tar.")] = 1000,
    distractor_format: Annotated[
        Literal["tar", "folder"], typer.Option(help="Distractors in tar shards or as loose files.")
    ] = "tar",
    side: Annotated[int, typer.Option(help="Longer side of the images in pixels.")] = 512,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Make a seeded synthetic data set: products in cluttered scenes, look-alikes, descriptions."""
    from ilion.datasets.synthetic import synthesize as make

    with _progress() as progress:
        summary = make(
            folder,
            instances=instances,
            positives=positives,
            distractors=distractors,
            shard_size=shard_size,
            distractor_format=distractor_format,
            image_side=side,
            seed=seed,
            progress=lambda done, total: progress("images", done, total),
        )
    print(summary)
