"""Global descriptors of queries and database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilion import extraction, store
from ilion.config import ExtractionConfig
from ilion.errors import DatasetError, ExtractionError
from ilion.extractors.base import Extractor, ExtractorOptions, ExtractorSpec, Fittable, build
from ilion.interop.imported import imported_folder, open_imported
from ilion.outcome import Machine, Skipped
from ilion.pipeline.experiment import Experiment
from ilion.store import Artifact, DescriptorSet
from ilion.types import RGB, Descriptors, Float32


@dataclass(frozen=True)
class Extraction:
    """What `describe` gives.

    Args:
        queries: Descriptors of the queries, in the order of the data set.
        database: Descriptors of the database.
        inputs: What both depend on, for the next stage's fingerprint.
        skipped: Database images that could not be used.
        seconds: Stage -> seconds when it was really computed.
        reused: Stages that were not computed this time.
        images: Number of database images described.
        peak_memory: Largest resident memory of the processes that computed, bytes.
        machine: Where the database was described.
        model: What described the images, printable.
    """

    queries: Descriptors
    database: DescriptorSet
    inputs: Mapping[str, Any]
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int
    machine: Machine
    model: Mapping[str, Any]

    @property
    def image_seconds(self) -> float:
        """Seconds that describing the database took."""
        return self.seconds["descriptors"]

    @property
    def bytes_per_image(self) -> float:
        """Stored bytes of a descriptor."""
        return float(self.database.dim * self.database.dtype.itemsize)

    @property
    def size(self) -> str:
        """What is stored, in words."""
        return f"{self.database.dim} dimensions"

    @property
    def folder(self) -> Path:
        """Where the descriptors of the database are."""
        return self.database.artifact.folder


class Imported:
    """Stands for the model of imported descriptors: its spec is known, but it cannot describe anything.

    Args:
        folder: What ``ilion import features`` made.

    Raises:
        ConfigError: The folder holds no imported descriptors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = open_imported(folder)
        self.spec = ExtractorSpec(
            name=found.name,
            weights="imported",
            revision=found.artifact.fingerprint,
            dim=found.dim,
            resize="none",
            side=0,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            pooling="unknown",
            licence="unknown",
            text="text_queries" in found.partitions,
        )

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Raise.

        Raises:
            ExtractionError: Always: the model is not here.
        """
        raise ExtractionError(f"{self.spec.name}: the descriptors were imported; there is no model to run")


def extractor_of(settings: ExtractionConfig, seed: int) -> Extractor:
    """Build the model; one that learns something is fitted by `describe`."""
    if (folder := imported_folder(settings.model)) is not None:
        return Imported(folder)
    return build(
        settings.model,
        ExtractorOptions(
            weights=settings.weights or None,
            resize=settings.resize or None,
            side=settings.side or None,
            pooling=settings.pooling or None,
            scales=settings.scales or None,
            rotations=settings.rotations or None,
            device=settings.device,
            threads=settings.threads,
            batch_size=settings.batch_size,
            precision=settings.precision,
            seed=seed,
            prompts=settings.prompts or ("{}",),
            long_texts=settings.long_texts,
        ),
    )


def describe(experiment: Experiment, extractor: Extractor) -> Extraction:
    """Describe queries and database, as far as that is not done.

    Args:
        experiment: What is described.
        extractor: The model.

    Raises:
        DatasetError: The database holds no readable image.
    """
    if isinstance(extractor, Imported):
        from ilion.pipeline.imported import describe_imported  # which gives what this module defines

        return describe_imported(experiment, extractor.folder, extractor.spec.as_dict())
    settings, shards = experiment.config.extraction, experiment.dataset.database
    if experiment.ledger:
        experiment.ledger.begin()
    seconds: dict[str, float] = {}
    reused: list[str] = []
    with ExitStack() as locks:
        if isinstance(extractor, Fittable):
            started = time.perf_counter()
            if fit_model(experiment, extractor, extractor.spec, locks):
                reused.append("fit")
            seconds["fit"] = time.perf_counter() - started
        common = {"spec": extractor.spec.as_dict(), "precision": settings.precision}
        artifact = store.open_artifact(
            experiment.artifacts, "descriptors", {**common, "dtype": settings.dtype}
        )
        locks.enter_context(store.locked(artifact.folder))
        keys, whole = extraction.extract_shards(
            shards,
            extractor,
            artifact,
            on_bad_image=settings.on_bad_image,
            dtype=settings.dtype,
            workers=settings.workers,
            progress=experiment.tell("descriptors"),
        )
        queries, query_key, query_reused = _describe_queries(experiment, extractor, common, locks)
    stats = [store.read_stats(artifact, key) for key in keys]
    query_stats = store.read_stats(queries, query_key)
    seconds["descriptors"] = sum(s.seconds for s in stats)
    seconds["queries"] = query_stats.seconds
    reused += ["descriptors"] * whole + ["queries"] * query_reused
    database = DescriptorSet(artifact, keys)
    if not len(database):
        raise DatasetError(f"{experiment.dataset.root}: the database holds no readable image")
    return Extraction(
        queries=store.read_descriptors(queries, query_key, mapped=False),
        database=database,
        inputs={"database": [artifact.fingerprint, *keys], "queries": [queries.fingerprint, query_key]},
        skipped=tuple(s for stat in stats for s in stat.skipped),
        seconds=seconds,
        reused=tuple(reused),
        images=sum(s.images for s in stats),
        peak_memory=max(s.peak_memory for s in [*stats, query_stats]),
        machine=stats[0].machine,
        model=extractor.spec.as_dict(),
    )


def fit_model(experiment: Experiment, extractor: Fittable, spec: ExtractorSpec, locks: ExitStack) -> bool:
    """Let a model learn from the database; return whether what it learnt was there already."""
    settings, shards = experiment.config.extraction, experiment.dataset.database
    sample = {
        "shards": [shard.fingerprint() for shard in shards],
        "images": settings.fit_images,
        "seed": experiment.config.seed,
    }
    artifact = store.open_artifact(experiment.artifacts, "fit", {"spec": spec.as_dict(), "sample": sample})
    locks.enter_context(store.locked(artifact.folder))
    return extraction.fit(
        lambda: extraction.sample_records(shards, settings.fit_images, experiment.config.seed),
        extractor,
        spec,
        artifact,
        seed=experiment.config.seed,
        on_bad_image=settings.on_bad_image,
        workers=settings.workers,
        progress=experiment.tell("fit"),
    )


def _describe_queries(
    experiment: Experiment, extractor: Extractor, common: Mapping[str, Any], locks: ExitStack
) -> tuple[Artifact, str, bool]:
    config = experiment.config
    settings = config.extraction
    inputs = {**common, "box": settings.query_box}
    if settings.prompts or settings.long_texts != "cut":
        inputs |= {"prompts": settings.prompts, "long_texts": settings.long_texts}
    if experiment.companions:
        inputs |= {"companions": experiment.companions, "text_weight": settings.text_weight}
    artifact = store.open_artifact(experiment.artifacts, "queries", inputs)
    locks.enter_context(store.locked(artifact.folder))
    key, reused = extraction.extract_queries(
        experiment.queries,
        extractor,
        artifact,
        box_use=settings.query_box,
        workers=settings.workers,
        companions=experiment.companions,
        text_weight=settings.text_weight,
        blind=config.reading.use == "fused",
    )
    return artifact, key, reused
