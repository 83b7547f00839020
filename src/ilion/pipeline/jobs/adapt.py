"""Learn an adaptation layer from the data of an experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ilion.config import AdaptationConfig
from ilion.errors import ConfigError
from ilion.pipeline.experiment import Progress
from ilion.pipeline.jobs.learn import (
    Adaptation,
    learn_from_labels,
    learn_from_objects,
    method_options,
    photos_folder,
)
from ilion.pipeline.jobs.run import Settings, pipeline_of
from ilion.types import Where


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
    pipeline, layer = pipeline_of(experiment, progress, descriptors=True), Path(layer)
    settings, seed = pipeline.config.adaptation, pipeline.config.seed
    if bool(settings.labels) == bool(objects):
        raise ConfigError("learn either from --labels CSV, or from --objects of the data set itself")
    options = method_options(settings, seed)
    plain = pipeline.variant(AdaptationConfig(seen=settings.seen))
    if objects:
        if split is not None:
            options = replace(options, seed=split)
        return learn_from_objects(plain, layer, options, objects=objects, shots=shots)
    if split is not None:
        raise ConfigError("--split chooses among the objects of the data set: it needs --objects")
    return learn_from_labels(plain, Path(settings.labels), photos_folder(settings), layer, options)
