"""Learn from the data of an experiment: an adaptation layer, or which short code suits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ilion.api.run import Settings, pipeline_of
from ilion.config import AdaptationConfig
from ilion.errors import ConfigError
from ilion.pipeline import Pipeline, Progress
from ilion.pipeline.jobs.tune import CODES, Tuning
from ilion.types import Where

if TYPE_CHECKING:
    from ilion.pipeline.jobs.learn import Adaptation


def adapt(
    experiment: Settings,
    layer: Where,
    progress: Progress | None = None,
    *,
    objects: int = 0,
    shots: int = 5,
    split: int | None = None,
) -> Adaptation:
    """Learn an adaptation layer with the model of an experiment.

    Args:
        experiment: The experiment; ``adaptation`` says how, and from which labels.
        layer: The file to write; facts go beside it as JSON.
        progress: Callback that receives stage, done and total.
        objects: Number of objects of the data set itself to learn from, judged by the others; 0 for labels.
        shots: Number of photos of each of these objects.
        split: Seed of the choice of objects and photos; None takes the experiment's seed, on which
            what a model learns from the database depends as well.

    Raises:
        ConfigError: Neither labels nor objects are given, or both.
        DatasetError: The labels do not fit, or a photo is on both sides.
    """
    from ilion.pipeline.jobs import learn

    config, layer = pipeline_of(experiment).config, Path(layer)
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
    experiment: Settings,
    codes: Sequence[str] = (),
    shortlists: Sequence[int] = (),
    loss: float = 0.005,
    progress: Progress | None = None,
) -> Tuning:
    """Measure recall, mAP, bytes and time of search through short codes, beside exact search.

    Args:
        experiment: The experiment.
        codes: Codes to try; none tries the usual ones.
        shortlists: Numbers of rows put in exact order; none tries one, two and four times the results.
        loss: mAP that the recommended code may lose, at the lower end of the interval.
        progress: Callback that receives stage, done and total.
    """
    return pipeline_of(experiment, progress).tune(codes or CODES, shortlists, loss)
