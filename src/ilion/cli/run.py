"""Runs: their stages, their reports, and the demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ilion.cli.common import AsJson, counted, progress_bars, say_json, say_result, summary, with_experiment

if TYPE_CHECKING:
    from ilion.config import ExperimentConfig


@with_experiment
def run(config: ExperimentConfig, as_json: bool) -> None:
    """Run all stages and write report.html. Finished, unchanged stages are not computed again."""
    from ilion import api

    with progress_bars() as progress:
        result, path = api.run(config, progress)
    if as_json:
        say_json({**summary(result), "report": str(path)})
    else:
        say_result(result)
        print(f"report: {path}")


@with_experiment
def extract(config: ExperimentConfig, as_json: bool) -> None:
    """Describe queries and database; a run that was stopped goes on where it was."""
    from ilion import api

    with progress_bars() as progress:
        done = api.extract(config, progress)
    facts = {
        "images": done.images,
        "size": done.size,
        "skipped": [dataclasses.asdict(s) for s in done.skipped],
        "seconds": dict(done.seconds),
        "reused": list(done.reused),
        "folder": str(done.folder),
    }
    if as_json:
        say_json(facts)
    else:
        print(f"{counted(done.images, 'image')}, {done.size}, {len(done.skipped)} skipped")
        print(f"stored in {facts['folder']}")


@with_experiment
def rank(config: ExperimentConfig, as_json: bool) -> None:
    """Rank the database for every query, extracting what is missing."""
    from ilion import api

    with progress_bars() as progress:
        done = api.rank(config, progress)
    if as_json:
        ranking = done.ranking
        say_json(
            {
                query: [
                    {"id": ranking.database_ids[row], "similarity": float(value)}
                    for row, value in zip(ranking.indices[q, :n], ranking.similarities[q, :n], strict=True)
                ]
                for q, (query, n) in enumerate(zip(ranking.query_ids, ranking.counts, strict=True))
            }
        )
    else:
        print(
            f"{counted(len(done.ranking.query_ids), 'query', 'queries')}, "
            f"{counted(done.ranking.indices.shape[1], 'result')} each"
        )
        print(f"ranking: {done.folder}")


@with_experiment
def evaluate(config: ExperimentConfig, as_json: bool) -> None:
    """Run up to the evaluation and print accuracy, slices and cost."""
    from ilion import api

    with progress_bars() as progress:
        result = api.evaluate(config, progress)
    if as_json:
        say_json({**summary(result), "slices": [dataclasses.asdict(s) for s in result.evaluation.slices]})
        return
    say_result(result)
    for s in result.evaluation.slices:
        interval = f"[{s.ci95.low:.4f} to {s.ci95.high:.4f}]"
        print(f"  {s.axis}: {s.label:<24} {s.mean:.4f}  {interval}  {counted(s.queries, 'query', 'queries')}")


def report(
    runs: Annotated[list[Path], typer.Argument(help="Output folders of runs; the first is shown in full.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; default: report.html in the first folder."),
    ] = None,
    language: Annotated[
        str, typer.Option(help="Language of the text: en or ja; default: that of the first run's settings.")
    ] = "",
) -> None:
    """Write a report of finished runs side by side."""
    from ilion import api

    with progress_bars() as progress:
        print(f"report: {api.report(runs, output, progress, language)}")


def compare(
    a: Annotated[Path, typer.Argument(help="Output folder of the baseline.")],
    b: Annotated[Path, typer.Argument(help="Output folder of the run that may be better.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the interval and the test.")] = 0,
    metric: Annotated[str, typer.Option(help="Metric to compare, such as P@10; default: AP@k.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare two runs of the same queries: difference, interval over instances, randomisation test."""
    from ilion import api
    from ilion.pipeline.jobs.runs import compare_environments

    result = api.compare(a, b, seed, metric)
    differences = compare_environments(a, b)
    if as_json:
        say_json({**dataclasses.asdict(result), "environment": differences})
        return
    before, after = result.means
    name = metric or f"mAP@{result.k} ({result.definition})"
    print(f"{name}: a {before:.4f}, b {after:.4f}")
    print(f"  b minus a: {result.difference:+.4f}")
    interval = f"{result.ci95.low:+.4f} to {result.ci95.high:+.4f}"
    print(f"  95% interval over {counted(result.instances, 'instance')}: {interval}")
    print(f"  randomisation test: p = {result.p_value:.4f}")
    print(
        f"  b is better for {counted(result.better, 'query', 'queries')}, worse "
        f"for {result.worse}, equal for {result.equal}"
    )
    if differences:
        print(f"  a and b were not computed alike: {'; '.join(differences)}")


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of data set and run.")] = Path(
        "demo"
    ),
    instances: Annotated[int, typer.Option(min=1, help="Number of objects.")] = 24,
    distractors: Annotated[int, typer.Option(min=0, help="Number of images that show none of them.")] = 400,
    model: Annotated[
        str, typer.Option(help="Model of the global descriptor beside it; see 'ilion models'.")
    ] = "default",
    as_json: AsJson = False,
) -> None:
    """Make a synthetic data set, run everything on it, and print where the report is."""
    from ilion import api

    with progress_bars() as progress:
        (result, beside), path = api.demo(output, instances, distractors, model, progress)
    if as_json:
        say_json({**summary(result), "report": str(path), "global descriptor": summary(beside)})
    else:
        say_result(result)
        say_result(beside)
        print(f"report: {path}")
        experiment = output / "experiment.toml"
        print(f"change a setting in {experiment} and go on with: ilion run {experiment}")
