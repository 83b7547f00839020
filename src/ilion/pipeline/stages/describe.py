"""Global descriptors of queries and database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ilion import storage
from ilion.config import ExperimentConfig
from ilion.descriptors.base import Extractor, ExtractorSpec, Fittable
from ilion.descriptors.towers import Lent
from ilion.errors import DatasetError
from ilion.extraction import images
from ilion.extraction.describe import sample_records
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.imported import describe_imported
from ilion.pipeline.stages.learn_once import open_learnt
from ilion.pipeline.stages.look import look_at_images
from ilion.pipeline.stages.model import Imported, model_options
from ilion.pipeline.stages.results import Extraction
from ilion.storage import Artifact, DescriptorSet
from ilion.types import Descriptors, Query


def describe(experiment: Experiment, extractor: Extractor) -> Extraction:
    """Describe queries and database, as far as that is not done.

    Raises:
        DatasetError: The database holds no readable image.
    """
    if isinstance(extractor, Imported):
        return describe_imported(experiment, extractor.folder, extractor.spec.as_dict())
    settings = experiment.config.extraction
    if not experiment.sealed:
        experiment.record.begin()
    seconds: dict[str, float] = {}
    reused: list[str] = []
    fitted = ""
    with ExitStack() as locks:
        if isinstance(extractor, Fittable):
            if not any(experiment.artifacts.glob("fit-*")):
                look_at_images(experiment, experiment.dataset.database)
            started = time.perf_counter()
            fitted, known = fit_model(experiment, extractor, extractor.spec, locks)
            reused += ["fit"] * known
            seconds["fit"] = time.perf_counter() - started
        common = {"spec": extractor.spec.as_dict(), "precision": settings.precision}
        artifact = experiment.open("descriptors", {**common, "dtype": settings.dtype}, locks)
        description = images.GlobalDescription(extractor, settings.dtype)
        keys, whole, missing = do_shards(experiment, "descriptors", artifact, description, fitted)
        queries, query_key, query_reused = _describe_queries(experiment, extractor, common, locks)
    stats = [storage.read_stats(artifact, key) for key in keys]
    query_stats = storage.read_stats(queries, query_key)
    seconds["descriptors"] = sum(s.seconds for s in stats)
    seconds["queries"] = query_stats.seconds
    reused += ["descriptors"] * whole + ["queries"] * query_reused
    database = DescriptorSet(artifact, keys)
    if not len(database):
        raise DatasetError(f"{experiment.dataset.root}: the database holds no readable image")
    return Extraction(
        queries=storage.read_descriptors(queries, query_key, mapped=False),
        database=database,
        inputs={"database": [artifact.fingerprint, *keys], "queries": [queries.fingerprint, query_key]},
        skipped=tuple(s for stat in stats for s in stat.skipped),
        seconds=seconds,
        reused=tuple(reused),
        images=sum(s.images for s in stats),
        peak_memory=max(s.peak_memory for s in [*stats, query_stats]),
        machine=stats[0].machine,
        model=extractor.spec.as_dict(),
        missing=missing,
        long_texts=query_stats.long_texts,
    )


def fit_model(
    experiment: Experiment, extractor: Fittable, spec: ExtractorSpec, locks: ExitStack
) -> tuple[str, bool]:
    """Let a model learn from the database; return the folder of what it learnt, and whether it was there."""
    settings, shards = experiment.config.extraction, experiment.dataset.database
    artifact = open_learnt(
        experiment, "fit", {"spec": spec.as_dict()}, lambda folder: (folder / images.STATE).exists()
    )
    locks.enter_context(experiment.locked(artifact.folder))
    known = images.fit(
        lambda: sample_records(shards, settings.fit_images, experiment.config.seed),
        extractor,
        spec,
        artifact,
        seed=experiment.config.seed,
        on_bad_image=settings.on_bad_image,
        workers=settings.workers,
        progress=experiment.tell("fit"),
    )
    return str(artifact.folder), known


def _describe_queries(
    experiment: Experiment, extractor: Extractor, common: Mapping[str, Any], locks: ExitStack
) -> tuple[Artifact, str, bool]:
    config = experiment.config
    settings = config.extraction
    inputs = {**common, "box": settings.global_box}
    if settings.prompts or settings.long_texts != "cut":
        inputs |= {"prompts": settings.prompts, "long_texts": settings.long_texts}
    extractor = with_text_tower(config, extractor)
    if isinstance(extractor, Lent):
        inputs |= {"text_tower": extractor.text_inputs}
    if experiment.companions:
        inputs |= {"companions": experiment.companions, "text_weight": settings.text_share}
    artifact = experiment.open("queries", inputs, locks)
    key, reused = images.extract_queries(
        experiment.queries,
        extractor,
        artifact,
        box_use=settings.global_box,
        workers=settings.workers,
        companions=experiment.companions,
        text_weight=settings.text_share,
        blind=config.reading.use == "fused",
    )
    return artifact, key, reused


def with_text_tower(config: ExperimentConfig, extractor: Extractor) -> Extractor:
    """Return the model with the text tower that the settings lend it."""
    settings = config.extraction
    if not settings.text_tower:
        return extractor
    return Lent(extractor, settings.text_tower, model_options(settings, config.seed))


def describe_asked(
    experiment: Experiment, extractor: Extractor, queries: Sequence[Query], companions: Mapping[str, str]
) -> Descriptors:
    """Describe further queries in memory, as `describe` does with those of the experiment.

    Args:
        experiment: Experiment whose settings are used.
        extractor: The model, fitted, with its text tower.
        queries: The queries.
        companions: Query id -> text that is asked together with its image.
    """
    settings = experiment.config.extraction
    found, _ = images.describe_queries(
        queries,
        extractor,
        box_use=settings.global_box,
        workers=settings.workers,
        companions=companions,
        text_weight=settings.text_share,
        blind=experiment.config.reading.use == "fused",
    )
    return found
