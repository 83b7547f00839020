"""The stages of an experiment, all of them, and a demo."""

from __future__ import annotations

from pathlib import Path

from ilion import storage
from ilion.config import DatasetConfig, ExperimentConfig, ExtractionConfig, dump_toml, load_experiment
from ilion.outcome import RunResult
from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.inverted_file import Index
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.results import Extraction, Search
from ilion.synthetic import synthesize
from ilion.types import Where

Settings = ExperimentConfig | Where
"""Settings, an experiment file, or the folder of a data set."""


def pipeline_of(experiment: Settings, progress: Progress | None = None) -> Pipeline:
    """Return the stages of an experiment, which is loaded if only its path is given."""
    return Pipeline(
        experiment if isinstance(experiment, ExperimentConfig) else load_experiment(experiment), progress
    )


def extract(experiment: Settings, progress: Progress | None = None) -> Extraction | Index | Photos:
    """Describe queries and database of an experiment, as its first stage searches them."""
    prepared: Extraction | Index | Photos = pipeline_of(experiment, progress).prepare()
    return prepared


def rank(experiment: Settings, progress: Progress | None = None) -> Search:
    """Rank the database of an experiment for each of its queries, re-ranking included."""
    return pipeline_of(experiment, progress).rank()


def evaluate(experiment: Settings, progress: Progress | None = None) -> RunResult:
    """Run an experiment up to its evaluation."""
    return pipeline_of(experiment, progress).evaluate()


def run(experiment: Settings, progress: Progress | None = None) -> tuple[RunResult, Path]:
    """Run all stages of an experiment.

    Returns:
        The result and the path of its report.
    """
    pipeline = pipeline_of(experiment, progress)
    result = pipeline.evaluate()
    return result, pipeline.write_report(result)


def demo(
    output: Where = "demo",
    instances: int = 24,
    distractors: int = 400,
    model: str = "default",
    progress: Progress | None = None,
) -> tuple[RunResult, Path]:
    """Make a synthetic data set and run everything on it.

    Args:
        output: Folder of data set and run; an unfinished demo there is finished.
        instances: Number of objects.
        distractors: Number of images that show none of them.
        model: Name of a model.
        progress: Callback that receives stage, done and total.

    Returns:
        The result and the path of its report.
    """
    output = Path(output)
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
