"""Photos that a layer is learnt from: described like the database, and none of those it is judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.adapt import Labels, load_labels
from ilion.datasets.names import FileFinder, difference
from ilion.datasets.shards import FileShard
from ilion.descriptors.base import Fittable
from ilion.errors import DatasetError
from ilion.extraction.images import GlobalDescription
from ilion.interop.features import Partition
from ilion.interop.imported import imported_folder, open_imported
from ilion.opening import read_bytes
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.stages.describe import fit_model
from ilion.pipeline.stages.results import Stages
from ilion.types import Descriptors, FileSource, Int64, Source, TarSource
from ilion.wording import agree, counted

LEARNT_FROM: tuple[Partition, ...] = ("uned", "distractors")
"""Imported descriptors among which labelled photos are looked up, in this order."""


def open_labels(pipeline: Stages, file: Path, folder: Path) -> Labels:
    """Read a table of labels, with the names of the photos as they are on the disk.

    Args:
        pipeline: Stages whose settings say the encoding, and whether photos are needed.
        file: The table; see `ilion.adapt.load_labels`.
        folder: Folder of the photos.

    Raises:
        DatasetError: See `ilion.adapt.load_labels`.
    """
    labels = load_labels(file, pipeline.config.dataset.encoding)
    if imported_folder(pipeline.config.extraction.model) is not None:
        return labels
    finder = FileFinder(folder)
    return replace(labels, paths=tuple(finder.find(path) or path for path in labels.paths))


def describe_labelled(pipeline: Stages, labels: Labels, folder: Path) -> tuple[Descriptors, Labels]:
    """Describe labelled photos as far as that is not done; they are kept as one more shard.

    Args:
        pipeline: Stages with the model, settings and artifacts; a model that learns from the database does
            so. Of imported descriptors, those whose ids are the paths of the labels are taken.
        labels: The photos.
        folder: Folder that relative paths start from.

    Returns:
        Descriptors, and the labels without photos that were skipped.

    Raises:
        DatasetError: A photo is missing, or was not imported.
    """
    if (imported := imported_folder(pipeline.config.extraction.model)) is not None:
        return _read_imported(imported, labels), labels
    missing = [path for path in labels.paths if not (folder / path).is_file()]
    if missing:
        twin = FileFinder(folder).near(missing[0])
        hint = f" (there is {twin!r}, which differs in {difference(missing[0], twin)})" if twin else ""
        raise DatasetError(
            f"{folder}: {len(missing)} of {counted(len(labels), 'labelled photo')} "
            f"{agree(len(missing), 'is', 'are')} not there, such as {missing[0]!r}{hint}"
        )
    experiment, extractor = pipeline.experiment, pipeline.extractor
    settings = experiment.config.extraction
    with ExitStack() as locks:
        fitted = ""
        if isinstance(extractor, Fittable):
            fitted, _ = fit_model(experiment, extractor, extractor.spec, locks)
        inputs = {"spec": extractor.spec.as_dict(), "precision": settings.precision, "dtype": settings.dtype}
        artifact = storage.open_artifact(experiment.artifacts, "descriptors", inputs)
        locks.enter_context(storage.locked(artifact.folder))
        shard = FileShard("labelled", folder, "", labels.paths)
        description = GlobalDescription(extractor, settings.dtype)
        keys, _, _ = do_shards(experiment, "labelled photos", artifact, description, fitted, [shard])
        found = storage.read_descriptors(artifact, keys[0])
    if found.ids == labels.paths:
        return found, labels
    row_of = {path: row for row, path in enumerate(labels.paths)}
    return found, labels.take(np.array([row_of[path] for path in found.ids], np.int64))


def _read_imported(folder: Path, labels: Labels) -> Descriptors:
    """Take the descriptors of labelled photos from imported ones."""
    found = open_imported(folder)
    values = np.empty((len(labels), found.dim), np.float32)
    left = {path: row for row, path in enumerate(labels.paths)}
    for partition in LEARNT_FROM:
        if not left:
            break
        stored = found.descriptors(partition)
        there = [(row, left.pop(name)) for row, name in enumerate(stored.ids) if name in left]
        if there:
            rows: Int64 = np.array(there, np.int64)
            values[rows[:, 1]] = stored.gather(rows[:, 0])
    if left:
        raise DatasetError(
            f"{folder}: {len(left)} of {counted(len(labels), 'labelled photo')} "
            f"{agree(len(left), 'has', 'have')} no imported descriptor, such as "
            f"{next(iter(left))!r}; import a file features_uned.hdf5 whose ids are the paths of the labels"
        )
    return Descriptors(labels.paths, values)


def refuse_leaks(pipeline: Stages, labels: Labels, folder: Path) -> None:
    """Refuse labelled photos that the layer would be judged by: queries and images of the database.

    They are compared by content, also with images in tars: under another name a copy is still the same photo.
    Only images of exactly the size of a labelled photo are read, one at a time. Imported descriptors are
    compared by id, because the photos need not be here.

    Args:
        pipeline: Stages whose data set is searched; with ``adaptation.seen = "keep"`` labelled photos may be
            distractors, but never positives or queries.
        labels: The photos.
        folder: Folder that relative paths start from.

    Raises:
        DatasetError: There is one.
    """
    imported = imported_folder(pipeline.config.extraction.model) is not None
    photos = _Photos(labels, folder, by_id=imported)
    for what, name, source in _list_judges(pipeline):
        path = photos.find(name, source)
        if path is not None:
            remedy = (
                "Label other photos, or set adaptation.seen to 'keep'"
                if what == "an image of the searched database"
                else "Label other photos, or let --objects make the split"
            )
            same = "" if imported or str(source) == path else f", the same as {source}"
            raise DatasetError(
                f"the labelled photo {path} is {what}{same}: learning from it would spoil the evaluation. "
                f"{remedy}"
            )


def _list_judges(pipeline: Stages) -> Iterator[tuple[str, str, Source]]:
    """Yield what a layer is judged by: in words what it is, its id and where it lies."""
    dataset = pipeline.experiment.dataset
    for query in dataset.queries:
        if query.image is not None:
            yield "a query picture of the data set", query.id, query.image.source
    positives = {image for ids in dataset.positives.values() for image in ids}
    lenient = pipeline.config.adaptation.seen == "keep"
    told, count = pipeline.experiment.tell("comparing labelled photos"), len(dataset.database)
    for number, shard in enumerate(dataset.database):
        for record in shard.records():
            if record.id in positives:
                yield "a positive of the data set", record.id, record.source
            elif not lenient:
                yield "an image of the searched database", record.id, record.source
        told(number + 1, count)


class _Photos:
    """Labelled photos, found by content or by id.

    Args:
        labels: The photos.
        folder: Folder that relative paths start from.
        by_id: Compare ids with the paths of the labels, and no content.
    """

    def __init__(self, labels: Labels, folder: Path, *, by_id: bool) -> None:
        self._by_id = by_id
        self._ids = frozenset(labels.paths) if by_id else frozenset[str]()
        self._files: dict[int, list[Path]] = {}
        self._digests: dict[int, dict[bytes, Path]] = {}
        for path in () if by_id else labels.paths:
            file = folder / path
            if file.is_file():
                self._files.setdefault(file.stat().st_size, []).append(file)

    def find(self, name: str, source: Source) -> str | None:
        """Return the labelled photo that an image is, or None."""
        if self._by_id:
            return name if name in self._ids else None
        if not isinstance(source, FileSource | TarSource):
            return None
        try:
            size = source.size if isinstance(source, TarSource) else source.path.stat().st_size
            if size not in self._files:
                return None
            if size not in self._digests:
                self._digests[size] = {_digest(read_bytes(file)): file for file in self._files[size]}
            found = self._digests[size].get(_digest(source.read()))
        except OSError:
            return None  # an image that cannot be read is told where it is described
        return None if found is None else str(found)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
