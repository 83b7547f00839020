"""Learn from the data of an experiment: an adaptation layer, or which short code suits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ilion.config import AdaptationConfig, ExperimentConfig
from ilion.errors import ConfigError
from ilion.pipeline import Pipeline, Progress
from ilion.pipeline.jobs.tune import CODES, Tuning

if TYPE_CHECKING:
    from ilion.pipeline.jobs.learn import Adaptation


def adapt(
    config: ExperimentConfig,
    layer: Path,
    progress: Progress | None = None,
    *,
    objects: int = 0,
    shots: int = 5,
    split: int | None = None,
) -> Adaptation:
    """Learn an adaptation layer with the model of an experiment.

    Args:
        config: The experiment; ``adaptation`` says how, and from which labels.
        layer: The file to write; facts go beside it as JSON.
        progress: Told of what is going on.
        objects: Without labels: learn from so many objects of the data set itself, and judge by the others.
        shots: Photos of each of these objects.
        split: Another number chooses other objects and photos; none takes the experiment's seed, on which
            what a model learns from the database depends as well.

    Raises:
        ConfigError: Neither labels nor objects are given, or both.
        DatasetError: The labels do not fit, or a photo is on both sides.
    """
    from ilion.pipeline.jobs import learn

    settings = config.adaptation
    if bool(settings.labels) == bool(objects):
        raise ConfigError("learn either from --labels CSV, or from --objects of the data set itself")
    options = learn.method_options(settings, config.seed)
    plain = Pipeline(replace(config, adaptation=AdaptationConfig(seen=settings.seen)), progress)
    if objects:
        if split is not None:
            options = replace(options, seed=split)
        return learn.learn_from_objects(plain, layer, options, objects=objects, shots=shots)
    if split is not None:
        raise ConfigError("--split chooses among the objects of the data set: it needs --objects")
    return learn.learn_from_labels(
        plain, Path(settings.labels), learn.photos_folder(settings), layer, options
    )


def tune(
    config: ExperimentConfig,
    codes: Sequence[str] = (),
    shortlists: Sequence[int] = (),
    loss: float = 0.005,
    progress: Progress | None = None,
) -> Tuning:
    """Measure recall, mAP, bytes and time of search through short codes, beside exact search.

    Args:
        config: The experiment.
        codes: Codes to try; none tries those that `ilion.pipeline.stages.codes` names.
        shortlists: Rows refined; none tries the number of results, twice and four times as many.
        loss: mAP that the recommended code may lose, at the lower end of the interval.
        progress: Told of what is going on.
    """
    pipeline = Pipeline(config, progress)
    return pipeline.tune(codes or CODES, shortlists, loss)
