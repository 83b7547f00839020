"""The stages of an experiment, all of them, and a demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ilion import storage
from ilion.config import DatasetConfig, ExperimentConfig, ExtractionConfig, dump_toml, load_experiment, settle
from ilion.config.settle import LOCAL, MODEL
from ilion.errors import ConfigError
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


def pipeline_of(
    experiment: Settings, progress: Progress | None = None, *, descriptors: bool = False
) -> Pipeline:
    """Return the stages of an experiment, which is loaded if only its path is given.

    Args:
        experiment: The experiment.
        progress: See `Pipeline`.
        descriptors: Whether the caller works on global descriptors, whatever ``auto`` would be in a run.

    Raises:
        ConfigError: The caller does, and the experiment searches without any.
    """
    config = experiment if isinstance(experiment, ExperimentConfig) else load_experiment(experiment)
    config = settle(config, descriptors=descriptors)
    if descriptors and config.search.method in LOCAL:
        raise ConfigError(
            f"this works on global descriptors, and search.method = {config.search.method} computes none; "
            "leave search.method out, or set it to exact"
        )
    return Pipeline(config, progress)


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
    model: str = MODEL,
    progress: Progress | None = None,
) -> tuple[tuple[RunResult, RunResult], Path]:
    """Make a synthetic data set, and run the default and a search by a global descriptor on it.

    Args:
        output: Folder of data set and runs; an unfinished demo there is finished.
        instances: Number of objects.
        distractors: Number of images that show none of them.
        model: Name of the model of the global descriptor.
        progress: Callback that receives stage, done and total.

    Returns:
        The results of the default and of the global descriptor, and the path of the report of both.
    """
    output = Path(output)
    tell = progress or (lambda stage, done, total: None)
    synthesize(
        output / "dataset",
        instances=instances,
        distractors=distractors,
        progress=lambda done, total: tell("images", done, total),
    )
    config = ExperimentConfig(name="demo", output="run", dataset=DatasetConfig(path="dataset"))
    beside = replace(config, name=model, output="global", extraction=ExtractionConfig(model=model))
    results = []
    for name, each in (("experiment.toml", config), ("global.toml", beside)):
        storage.write_bytes(output / name, dump_toml(each).encode())
        pipeline = pipeline_of(output / name, progress)
        results.append(pipeline.evaluate())
        if each is config:
            main = pipeline
    first, second = results
    return (first, second), main.write_report(first, second)
