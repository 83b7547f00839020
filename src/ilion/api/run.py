"""Run an experiment: its stages, all of them, and a demo."""

from __future__ import annotations

from pathlib import Path

from ilion import storage
from ilion.config import DatasetConfig, ExperimentConfig, ExtractionConfig, dump_toml, load_experiment
from ilion.outcome import RunResult
from ilion.pipeline import Extraction, Index, Pipeline, Progress, Search
from ilion.synthetic import synthesize


def extract(config: ExperimentConfig, progress: Progress | None = None) -> Extraction | Index:
    """Describe queries and database of an experiment; for ASMK, index the database."""
    return Pipeline(config, progress).prepare()


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
    storage.write_bytes(experiment, dump_toml(config).encode())
    return run(load_experiment(experiment), progress)
