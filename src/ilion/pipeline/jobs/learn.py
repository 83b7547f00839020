"""Learn an adaptation layer with the model of an experiment, from labelled photos or from its own objects."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion import storage
from ilion.adapt import Labels, StoredLayer, identity, load_layer, make_labels, save_layer, split_objects
from ilion.adapt.base import Learnt
from ilion.adapt.estimate import Gain
from ilion.adapt.methods import MethodOptions, learn
from ilion.config import AdaptationConfig
from ilion.errors import ConfigError
from ilion.evaluation.compare import Comparison, compare
from ilion.pipeline.jobs.labelled import describe_labelled, open_labels, refuse_leaks
from ilion.pipeline.stages.adapt import sample
from ilion.pipeline.stages.results import Stages
from ilion.types import Value

BACKGROUND = 2000
"""Database images that surround the held-out photos in the estimate."""
LISTED = 5000
"""A layer's file lists its classes and photos, so that their use can be guarded, up to so many."""


@dataclass(frozen=True)
class Adaptation(Value):
    """What learning a layer gives.

    Args:
        path: The layer's file.
        learnt: The layer and its estimate.
        unseen: The same searches without and with the layer, for objects that it was not learnt
            from; None where the labels are of other photos.
    """

    path: Path
    learnt: Learnt
    unseen: Comparison | None

    @property
    def estimate(self) -> Gain | None:
        """The held-out estimate."""
        return self.learnt.estimate


def learn_from_labels(
    pipeline: Stages, labels_file: Path, folder: Path, path: Path, options: MethodOptions
) -> Adaptation:
    """Learn from labelled photos that are not part of the data set's searches.

    Args:
        pipeline: An experiment without a layer.
        labels_file: ``path,class,domain`` lines.
        folder: Folder that relative paths start from.
        path: The layer's file.
        options: The method.

    Raises:
        DatasetError: A photo is missing, or is one of those that will be searched or asked with.
    """
    labels = open_labels(pipeline, labels_file, folder)
    refuse_leaks(pipeline, labels, folder)
    described, labels = describe_labelled(pipeline, labels, folder)
    extracted = pipeline.extract()
    background = None
    instances = {q.instance for q in pipeline.experiment.dataset.queries}
    if not instances & set(labels.class_names):
        background = sample(extracted.database, labels.paths, BACKGROUND, options.seed)
    with _checkpoints(pipeline, options, labels, described.values) as checkpoints:
        found = learn(
            described.values,
            labels,
            options,
            background=background,
            checkpoints=checkpoints,
            progress=pipeline.experiment.tell("learning"),
        )
        _save(path, pipeline, found, labels, {"labels": str(labels_file.name)})
    return Adaptation(path, found, None)


def learn_from_objects(
    pipeline: Stages, path: Path, options: MethodOptions, *, objects: int, shots: int
) -> Adaptation:
    """Learn from a few photos of some of the data set's objects, and judge by all others.

    Their query pictures are learnt from too: how a clean picture differs from a photo in use is what such a
    layer can learn best, and it is the same for objects that it has not seen.

    Args:
        pipeline: An experiment without a layer.
        path: The layer's file.
        options: The method; its seed chooses the objects and their photos.
        objects: Number of objects that are learnt from.
        shots: Photos of each.

    Raises:
        DatasetError: See `ilion.adapt.split_objects`.
    """
    experiment = pipeline.experiment
    dataset, queries = experiment.dataset, experiment.queries
    instance = {q.id: q.instance for q in queries}
    split = split_objects(instance, dataset.positives, objects=objects, shots=shots, seed=options.seed)
    extracted = pipeline.extract()
    wanted = set(split.photos)
    row_of = {name: row for row, name in enumerate(extracted.database.ids) if name in wanted}
    there = [i for i, photo in enumerate(split.photos) if photo in row_of]
    photos = [split.photos[i] for i in there]
    rows = np.array([row_of[photo] for photo in photos], np.int64)
    asking = [i for i, q in enumerate(queries) if q.image and q.instance in set(split.objects)]
    labels = make_labels(
        [*photos, *(queries[i].id for i in asking)],
        [*(split.objects[i] for i in there), *(queries[i].instance for i in asking)],
    )
    values = np.concatenate([extracted.database.gather(rows), extracted.queries.values[asking]])
    learnt = set(split.objects)
    shown = {photo for query, of in instance.items() if of in learnt for photo in dataset.positives[query]}
    background = sample(extracted.database, sorted(shown), BACKGROUND, options.seed)
    facts = {
        "objects of": dataset.name,
        "shots": shots,
        "split": options.seed,
        "query pictures": len(asking),
        "photos without descriptors": len(split.photos) - len(there),
    }
    with _checkpoints(pipeline, options, labels, values) as checkpoints:
        found = learn(
            values,
            labels,
            options,
            background=background if len(background) else None,
            asking=np.arange(len(labels)) >= len(photos) if asking else None,
            checkpoints=checkpoints,
            progress=experiment.tell("learning"),
        )
        found = dataclasses.replace(found, facts={**found.facts, **facts})
        _save(path, pipeline, found, labels, {})
    return Adaptation(path, found, judge_layer(pipeline, path, options.seed))


def judge_layer(pipeline: Stages, path: Path, seed: int) -> Comparison:
    """Search for the objects that a layer was not learnt from, without and with it, and compare.

    Args:
        pipeline: An experiment without a layer.
        path: The layer's file.
        seed: Seed of the interval and of the test.
    """
    stored = load_layer(path)
    plain = StoredLayer(identity(stored.layer.dim_in), stored.facts)
    settings = AdaptationConfig(layer=str(path), seen="leave-out")
    before, after = (pipeline.variant(settings, layer).measure() for layer in (plain, stored))
    return compare(before, after, seed=seed)


def _save(path: Path, pipeline: Stages, found: Learnt, labels: Labels, source: dict[str, Any]) -> None:
    facts = {**found.facts, **source, "model": pipeline.extractor.spec.as_dict(), "verdict": found.verdict}
    if found.estimate is not None:
        facts["held-out estimate"] = dataclasses.asdict(found.estimate)
    if len(labels) <= LISTED:
        facts |= {"objects": list(labels.class_names), "learnt_from": list(labels.paths)}
    save_layer(path, found.layer, facts)


@contextmanager
def _checkpoints(
    pipeline: Stages, options: MethodOptions, labels: Labels, values: NDArray[np.floating]
) -> Iterator[Path | None]:
    """Give the folder where a training keeps how far it is; the folder goes once the layer is written."""
    if "checkpoint_every" not in options.heeded or not options.checkpoint_every:
        yield None
        return
    inputs = _inputs(options, labels, values)
    artifact = storage.open_artifact(pipeline.experiment.artifacts, "training", inputs)
    with storage.locked(artifact.folder):
        yield artifact.folder
    shutil.rmtree(artifact.folder, ignore_errors=True)


def _inputs(options: MethodOptions, labels: Labels, values: NDArray[np.floating]) -> dict[str, Any]:
    """Return what a layer depends on."""
    return {
        "options": options.inputs(),
        "photos": list(labels.paths),
        "classes": [labels.class_names[c] for c in labels.classes],
        "described": storage.fingerprint(values.sum(axis=1, dtype=np.float64).tolist()),
    }


def open_layer(experiment: Stages) -> StoredLayer:
    """Return the layer that an experiment's settings ask to learn; learnt once and then kept as an artifact.

    Args:
        experiment: An experiment whose settings name a method and labels.

    Raises:
        ConfigError: No labels are given.
        DatasetError: See `learn_from_labels`.
    """
    settings = experiment.config.adaptation
    if not settings.labels:
        raise ConfigError(f"adaptation.method = {settings.method!r} needs adaptation.labels, a CSV file")
    pipeline = experiment.variant(AdaptationConfig(seen=settings.seen))
    options = method_options(settings, experiment.config.seed)
    labels, folder = Path(settings.labels), photos_folder(settings)
    described, kept = describe_labelled(pipeline, open_labels(pipeline, labels, folder), folder)
    extracted = pipeline.extract()
    inputs = {
        **_inputs(options, kept, described.values),
        "database": extracted.inputs["database"],
        # what the labels were compared with
        "judged by": storage.fingerprint(
            {q: list(ids) for q, ids in pipeline.experiment.dataset.positives.items()}
        ),
        "lenient": settings.seen == "keep",
    }
    artifact = storage.open_artifact(pipeline.experiment.artifacts, "layer", inputs)
    path = artifact.folder / "layer.npz"
    with storage.locked(artifact.folder):
        if not path.exists():
            learn_from_labels(pipeline, labels, folder, path, options)
    return load_layer(path)


def photos_folder(settings: AdaptationConfig) -> Path:
    """Return where the paths of the labels start: the given folder, or that of the CSV file."""
    return Path(settings.photos) if settings.photos else Path(settings.labels).parent


def method_options(settings: AdaptationConfig, seed: int) -> MethodOptions:
    """Return the method of an experiment's settings; without one it is ``few-shot``.

    Raises:
        ConfigError: A layer is given already.
    """
    if settings.layer:
        raise ConfigError("adaptation.layer is set already; leave it out to learn a new one")
    shared = {f.name for f in dataclasses.fields(MethodOptions)} - {"method", "seed"}
    method = "few-shot" if settings.method == "none" else settings.method
    return MethodOptions(method, seed=seed, **{name: getattr(settings, name) for name in shared})
