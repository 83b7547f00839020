"""Learn an adaptation layer with the model of an experiment, from labelled photos or from its own objects."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilion import extraction, store
from ilion.adapt import (
    Labels,
    StoredLayer,
    identity,
    load_layer,
    make_labels,
    read_labels,
    save_layer,
    split_objects,
)
from ilion.adapt.estimate import Gain
from ilion.adapt.methods import Learnt, MethodOptions, learn
from ilion.compare import Comparison, compare
from ilion.config import AdaptationConfig, ExperimentConfig
from ilion.datasets.shards import FileShard
from ilion.errors import ConfigError, DatasetError
from ilion.extractors.base import Fittable
from ilion.pipeline.adaptation import sample
from ilion.pipeline.describe import fit_model
from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.types import Descriptors, FileSource

BACKGROUND = 2000
"""Database images that surround the held-out photos in the estimate."""
LISTED = 5000
"""A layer's file lists its classes and photos, so that their use can be guarded, up to so many."""


@dataclass(frozen=True)
class Adaptation:
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
    pipeline: Pipeline, labels_file: Path, folder: Path, path: Path, options: MethodOptions
) -> Adaptation:
    """Learn from labelled photos that are not part of the data set's searches.

    Args:
        pipeline: An experiment without a layer.
        labels_file: ``path,class,domain`` lines.
        folder: Where their paths start.
        path: The layer's file.
        options: The method.

    Raises:
        DatasetError: A photo is missing, or is one of the positives that will be searched for.
    """
    labels = read_labels(labels_file)
    refuse_leaks(pipeline, labels, folder)
    described, labels = describe_labelled(pipeline, labels, folder)
    extracted = pipeline.extract()
    background = None
    instances = {q.instance for q in pipeline.dataset.queries}
    if not instances & set(labels.class_names):
        background = sample(extracted.database, (), BACKGROUND, options.seed)
    found = learn(
        described.values,
        labels,
        options,
        background=background,
        progress=pipeline.experiment.tell("learning"),
    )
    _save(path, pipeline, found, labels, {"labels": str(labels_file.name)})
    return Adaptation(path, found, None)


def learn_from_objects(
    pipeline: Pipeline, path: Path, options: MethodOptions, *, objects: int, shots: int
) -> Adaptation:
    """Learn from a few photos of some of the data set's objects, and judge by all others.

    Their query pictures are learnt from too: how a clean picture differs from a photo in use is what such a
    layer can learn best, and it is the same for objects that it has not seen.

    Args:
        pipeline: An experiment without a layer.
        path: The layer's file.
        options: The method.
        objects: How many objects are learnt from.
        shots: Photos of each.

    Raises:
        DatasetError: See `ilion.adapt.split_objects`.
    """
    dataset, experiment = pipeline.dataset, pipeline.experiment
    instance = {q.id: q.instance for q in pipeline.queries}
    split = split_objects(instance, dataset.positives, objects=objects, shots=shots, seed=options.seed)
    extracted = pipeline.extract()
    wanted = set(split.photos)
    row_of = {name: row for row, name in enumerate(extracted.database.ids) if name in wanted}
    there = [i for i, photo in enumerate(split.photos) if photo in row_of]
    photos = [split.photos[i] for i in there]
    rows = np.array([row_of[photo] for photo in photos], np.int64)
    asking = [i for i, q in enumerate(pipeline.queries) if q.image and q.instance in set(split.objects)]
    labels = make_labels(
        [*photos, *(pipeline.queries[i].id for i in asking)],
        [*(split.objects[i] for i in there), *(pipeline.queries[i].instance for i in asking)],
    )
    values = np.concatenate([extracted.database.gather(rows), extracted.queries.values[asking]])
    learnt = set(split.objects)
    shown = {photo for query, of in instance.items() if of in learnt for photo in dataset.positives[query]}
    background = sample(extracted.database, sorted(shown), BACKGROUND, options.seed)
    found = learn(
        values,
        labels,
        options,
        background=background if len(background) else None,
        asking=np.arange(len(labels)) >= len(photos) if asking else None,
        progress=experiment.tell("learning"),
    )
    facts = {
        "objects of": dataset.name,
        "shots": shots,
        "query pictures": len(asking),
        "photos without descriptors": len(split.photos) - len(there),
    }
    _save(path, pipeline, found, labels, facts)
    return Adaptation(path, found, judge(pipeline, path))


def judge(pipeline: Pipeline, path: Path) -> Comparison:
    """Search for the objects that a layer was not learnt from, without and with it, and compare."""
    stored = load_layer(path)
    plain = StoredLayer(identity(stored.layer.dim_in), stored.facts)
    settings = AdaptationConfig(layer=str(path), seen="leave-out")
    config = dataclasses.replace(pipeline.config, adaptation=settings)
    before, after = (Pipeline(config, layer=layer).measure() for layer in (plain, stored))
    return compare(before, after, seed=pipeline.config.seed)


def describe_labelled(pipeline: Pipeline, labels: Labels, folder: Path) -> tuple[Descriptors, Labels]:
    """Describe labelled photos as far as that is not done; they are kept as one more shard.

    Args:
        pipeline: Whose model, settings and artifacts are used; a model that learns from the database does so.
        labels: The photos.
        folder: Where their paths start.

    Returns:
        Descriptors, and the labels without photos that were skipped.

    Raises:
        DatasetError: A photo is missing.
    """
    missing = [path for path in labels.paths if not (folder / path).is_file()]
    if missing:
        raise DatasetError(
            f"{folder}: {len(missing)} of {len(labels)} labelled photos are not there, such as {missing[0]!r}"
        )
    experiment, extractor = pipeline.experiment, pipeline.extractor
    settings = experiment.config.extraction
    with ExitStack() as locks:
        if isinstance(extractor, Fittable):
            fit_model(experiment, extractor, extractor.spec, locks)
        inputs = {"spec": extractor.spec.as_dict(), "precision": settings.precision, "dtype": settings.dtype}
        artifact = store.open_artifact(experiment.artifacts, "descriptors", inputs)
        locks.enter_context(store.locked(artifact.folder))
        keys, _ = extraction.extract_shards(
            [FileShard("labelled", folder, "", labels.paths)],
            extractor,
            artifact,
            on_bad_image=settings.on_bad_image,
            dtype=settings.dtype,
            workers=settings.workers,
            progress=experiment.tell("labelled photos"),
        )
        found = store.read_descriptors(artifact, keys[0])
    if found.ids == labels.paths:
        return found, labels
    row_of = {path: row for row, path in enumerate(labels.paths)}
    return found, labels.take(np.array([row_of[path] for path in found.ids], np.int64))


def refuse_leaks(pipeline: Pipeline, labels: Labels, folder: Path) -> None:
    """Refuse labelled photos that are positives of the data set's queries, by file.

    Raises:
        DatasetError: There is one.
    """
    dataset = pipeline.dataset
    positives = {image for ids in dataset.positives.values() for image in ids}
    files = {(folder / path).resolve() for path in labels.paths}
    for shard in dataset.database:
        if not isinstance(shard, FileShard):
            continue
        for record in shard.records():
            source = record.source
            if record.id in positives and isinstance(source, FileSource) and source.path.resolve() in files:
                raise DatasetError(
                    f"the labelled photo {source.path} is a positive of the data set: learning from it would "
                    "spoil the evaluation. Label other photos, or let --objects make the split"
                )


def _save(path: Path, pipeline: Pipeline, found: Learnt, labels: Labels, source: dict[str, Any]) -> None:
    facts = {**found.facts, **source, "model": pipeline.extractor.spec.as_dict(), "verdict": found.verdict}
    if found.estimate is not None:
        facts["held-out estimate"] = dataclasses.asdict(found.estimate)
    if len(labels) <= LISTED:
        facts |= {"objects": list(labels.class_names), "learnt_from": list(labels.paths)}
    save_layer(path, found.layer, facts)


def learnt_layer(config: ExperimentConfig, progress: Progress | None) -> StoredLayer:
    """Return the layer that an experiment's settings ask to learn; learnt once and then kept as an artifact.

    Raises:
        ConfigError: No labels are given.
        DatasetError: See `learn_from_labels`.
    """
    settings = config.adaptation
    if not settings.labels:
        raise ConfigError(f"adaptation.method = {settings.method!r} needs adaptation.labels, a CSV file")
    pipeline = Pipeline(dataclasses.replace(config, adaptation=AdaptationConfig()), progress)
    options = method_options(settings, config.seed)
    labels, folder = Path(settings.labels), photos_folder(settings)
    described, kept = describe_labelled(pipeline, read_labels(labels), folder)
    extracted = pipeline.extract()
    inputs = {
        "options": dataclasses.asdict(options),
        "photos": list(kept.paths),
        "classes": [kept.class_names[c] for c in kept.classes],
        "described": store.fingerprint(described.values.astype(np.float64).sum(axis=1).tolist()),
        "database": extracted.inputs["database"],
    }
    artifact = store.open_artifact(pipeline.artifacts, "layer", inputs)
    path = artifact.folder / "layer.npz"
    with store.locked(artifact.folder):
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
    return MethodOptions(
        method="few-shot" if settings.method == "none" else settings.method,
        dim=settings.dim,
        shrinkage=settings.shrinkage,
        alpha=settings.alpha,
        epochs=settings.epochs,
        held_out=settings.held_out,
        folds=settings.folds,
        seed=seed,
    )
