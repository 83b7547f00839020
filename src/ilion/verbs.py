"""The verbs: what the command line and a Python program call, with the same names and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ilion import store
from ilion.compare import Comparison
from ilion.compare import compare as compare_evaluations
from ilion.config import (
    DatasetConfig,
    ExperimentConfig,
    ExtractionConfig,
    dump_toml,
    from_dict,
    load_experiment,
)
from ilion.datasets.synthetic import synthesize
from ilion.errors import ConfigError
from ilion.outcome import RunResult
from ilion.pipeline import Extraction, Pipeline, Progress, Search
from ilion.results import cost_from, evaluation_from, read_evaluation, read_run, skipped_from
from ilion.truth import truth_from_ids


def load_run(folder: Path) -> RunResult:
    """Load a finished run with its data set and ranking, for a report.

    Args:
        folder: Output folder of the run.

    Raises:
        ArtifactError: The run or its ranking is missing or damaged.
        DatasetError: The data set is not where it was.
    """
    plain = read_run(folder)
    pipeline = Pipeline(from_dict(ExperimentConfig, plain["provenance"]["config"]))
    ranking = store.read_ranking(folder / "ranking")
    evaluation = evaluation_from(plain["evaluation"])
    dataset = pipeline.dataset
    truth = truth_from_ids(
        evaluation.query_ids,
        ranking.database_ids,
        {q: dataset.positives[q] for q in evaluation.query_ids},
        {q: dataset.ignored.get(q, ()) for q in evaluation.query_ids},
    )
    return RunResult(
        name=plain["name"],
        design=plain["design"],
        dataset=dataset,
        ranking=ranking,
        ground_truth=truth,
        evaluation=evaluation,
        cost=cost_from(plain["cost"]),
        skipped=skipped_from(plain["skipped"]),
        provenance=plain["provenance"],
    )


def extract(config: ExperimentConfig, progress: Progress | None = None) -> Extraction:
    """Describe queries and database of an experiment."""
    return Pipeline(config, progress).extract()


def rank(config: ExperimentConfig, progress: Progress | None = None) -> Search:
    """Rank the database of an experiment for each of its queries."""
    return Pipeline(config, progress).search()


def evaluate(config: ExperimentConfig, progress: Progress | None = None) -> RunResult:
    """Run an experiment up to its evaluation."""
    return Pipeline(config, progress).evaluate()


def run(config: ExperimentConfig, progress: Progress | None = None) -> tuple[RunResult, Path]:
    """Run all stages of an experiment.

    Returns:
        The result and the path of its report.
    """
    pipeline = Pipeline(config, progress)
    result = pipeline.evaluate()
    return result, pipeline.write_report(result)


def report(runs: Sequence[Path], output: Path | None = None, progress: Progress | None = None) -> Path:
    """Write a report of finished runs; the first is shown in full, the others beside it.

    Args:
        runs: Output folders of runs on the same queries.
        output: The file to write; by default ``report.html`` in the first run's folder.
        progress: Told of what is going on.
    """
    if not runs:
        raise ConfigError("name at least one run folder")
    results = [load_run(folder) for folder in runs]
    config = from_dict(ExperimentConfig, read_run(runs[0])["provenance"]["config"])
    return Pipeline(config, progress).write_report(*results, path=output or runs[0] / "report.html")


def compare(a: Path, b: Path, seed: int = 0) -> Comparison:
    """Compare two finished runs query by query.

    Args:
        a: Output folder of the baseline.
        b: Output folder of the run that may be better.
        seed: Of the interval and the test.
    """
    return compare_evaluations(read_evaluation(a), read_evaluation(b), seed=seed)


def demo(
    output: Path = Path("demo"),
    instances: int = 24,
    distractors: int = 400,
    model: str = "default",
    progress: Progress | None = None,
) -> tuple[RunResult, Path]:
    """Make a synthetic data set and run everything on it.

    Args:
        output: Folder of data set and run; an unfinished demo there is finished.
        instances: Objects.
        distractors: Images that show none of the objects.
        model: Name of a model.
        progress: Told of what is going on.

    Returns:
        The result and the path of its report.
    """
    tell = progress or (lambda stage, done, total: None)
    synthesize(
        output / "dataset",
        instances=instances,
        distractors=distractors,
        progress=lambda done, total: tell("images", done, total),
    )
    config = ExperimentConfig(
        name="demo",
        output="run",
        dataset=DatasetConfig(path="dataset"),
        extraction=ExtractionConfig(model=model),
    )
    experiment = output / "experiment.toml"
    store.write_bytes(experiment, dump_toml(config).encode())
    return run(load_experiment(experiment), progress)
