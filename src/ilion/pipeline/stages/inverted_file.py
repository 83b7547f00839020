"""First stage without a global descriptor: ASMK, from images to an inverted file (see docs/asmk.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilion import storage
from ilion.errors import DatasetError
from ilion.extraction import local
from ilion.extraction.describe import box_inputs, sample_records
from ilion.localfeatures.base import LocalExtractor
from ilion.localfeatures.store import LocalSet
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.local_models import postings_of, settings_of
from ilion.pipeline.stages.look import look_at_images
from ilion.pipeline.stages.results import Prepared
from ilion.runtime.machine import peak_memory
from ilion.searching import asmk
from ilion.types import ImageRecord, Int64, LocalFeatures, Ranking
from ilion.wording import counted

SAMPLE_PER_IMAGE = 300
"""Features of a sampled image that take part in learning words; more where the sample would be too small."""


@dataclass(frozen=True)
class Index(Prepared):
    """Queries and database of a search by ASMK.

    Args:
        queries: (Q,) local features, in the order of the queries.
        query_ids: (Q,) their ids.
        database: The inverted file.
        folder: Folder of the inverted file.
    """

    queries: tuple[LocalFeatures, ...]
    query_ids: tuple[str, ...]
    database: asmk.InvertedFile
    folder: Path

    @property
    def image_seconds(self) -> float:
        """Seconds that the database took from images to postings."""
        return self.seconds["inverted file"]

    @property
    def bytes_per_image(self) -> float:
        """Mean stored bytes of an image, without its id."""
        return self.database.stored_bytes() / max(len(self.database), 1)

    @property
    def size(self) -> str:
        """What is stored, in words."""
        postings = self.database.postings / max(len(self.database), 1)
        return f"{counted(len(self.database.codebook), 'word')}, {postings:.0f} postings an image"


def build_index(experiment: Experiment, extractor: LocalExtractor) -> Index:
    """Learn the codebook, index the database and describe the queries, as far as that is not done.

    Raises:
        DatasetError: The database holds no readable image.
        ExtractionError: The sample shows too few local features for so many words.
    """
    general, settings = experiment.config.extraction, experiment.config.search.asmk
    if not experiment.sealed:
        experiment.record.begin()
    common = {"spec": extractor.spec.as_dict(), "enlarge": settings.enlarge}
    with ExitStack() as locks:
        codebook, learning, known = _codebook(experiment, extractor, common, locks)
        artifact = asmk.open_index(experiment.artifacts, codebook, common)
        locks.enter_context(experiment.locked(artifact.folder))
        description = postings_of(experiment.config, extractor, codebook)
        keys, whole, missing = do_shards(
            experiment, "inverted file", artifact, description, str(artifact.folder)
        )
        own = experiment.open("local-queries", {**common, "box": box_inputs(general.query_box)}, locks)
        query_key, seen = local.extract_local_queries(
            experiment.queries,
            extractor,
            own,
            box_use=general.query_box,
            enlarge=settings.enlarge,
            workers=general.workers,
        )
    stats = [storage.read_stats(artifact, key) for key in keys]
    query_stats = storage.read_stats(own, query_key)
    database = asmk.InvertedFile(artifact, keys)
    if not len(database):
        raise DatasetError(f"{experiment.dataset.root}: the database holds no readable image")
    stored = LocalSet(own, [query_key])
    ids = tuple(query.id for query in experiment.queries)
    return Index(
        queries=tuple(stored.many(stored.rows_of(ids))),
        query_ids=ids,
        database=database,
        folder=artifact.folder,
        inputs={"database": [artifact.fingerprint, *keys], "queries": [own.fingerprint, query_key]},
        skipped=tuple(s for stat in stats for s in stat.skipped),
        seconds={
            "codebook": learning["seconds"],
            "inverted file": sum(s.seconds for s in stats),
            "queries": query_stats.seconds,
        },
        reused=tuple(["codebook"] * known + ["inverted file"] * whole + ["queries"] * seen),
        images=sum(s.images for s in stats),
        peak_memory=max([learning["peak_memory"], *(s.peak_memory for s in [*stats, query_stats])]),
        machine=stats[0].machine,
        model={**extractor.spec.as_dict(), "codebook": codebook.digest},
        missing=missing,
    )


def _codebook(
    experiment: Experiment, extractor: LocalExtractor, common: Mapping[str, Any], locks: ExitStack
) -> tuple[asmk.Codebook, dict[str, Any], bool]:
    """Learn words on a sample of the database, or load them; with what learning took."""
    config, shards = experiment.config, experiment.dataset.database
    settings, images = config.search.asmk, config.extraction.fit_images
    sample = {"shards": [shard.fingerprint() for shard in shards], "images": images, "seed": config.seed}
    learnt = {"words": settings.words, "bits": settings.bits, "binary": settings.binary}
    artifact = experiment.open("codebook", {**common, **learnt, "sample": sample}, locks)
    done = all((artifact.folder / name).exists() for name in ("codebook.npz", "stats.json"))
    if not done:
        look_at_images(experiment, shards)
        started = time.perf_counter()
        records = sample_records(shards, images, config.seed)
        codebook = asmk.learn_codebook(
            _sample(experiment, extractor, records),
            words=settings.words,
            bits=settings.bits,
            binary=settings.binary,
            seed=config.seed,
        )
        stats = {"seconds": time.perf_counter() - started, "peak_memory": peak_memory()}
        storage.write_json(artifact.folder / "stats.json", stats)
        asmk.write_codebook(artifact.folder, codebook)
    return (
        asmk.read_codebook(artifact.folder),
        storage.read_json(artifact.folder / "stats.json", storage.StageStats),
        done,
    )


def _sample(
    experiment: Experiment, extractor: LocalExtractor, records: Sequence[ImageRecord]
) -> Iterator[LocalFeatures]:
    """Describe the sample, and keep as many features as the words need: that bounds the memory."""
    general, settings = experiment.config.extraction, experiment.config.search.asmk
    wanted = asmk.SAMPLE_PER_WORD * settings.words
    per_image = max(SAMPLE_PER_IMAGE, -(-wanted // max(len(records), 1)))
    rng = np.random.default_rng(experiment.config.seed)
    tell = experiment.tell("codebook")
    described = local.describe_local(
        records,
        extractor,
        enlarge=settings.enlarge,
        on_bad_image=general.on_bad_image,
        workers=general.workers,
    )
    for seen, (_, features) in enumerate(described, 1):
        tell(seen, len(records))
        yield features.take(np.sort(rng.permutation(len(features.keypoints))[:per_image]))


def rank_by_postings(experiment: Experiment, index: Index, allowed: Int64 | None = None) -> Ranking:
    """Search the inverted file for every query, among all rows or those allowed (ascending)."""
    return asmk.search_postings(
        index.query_ids,
        index.queries,
        index.database,
        settings_of(experiment.config.search.asmk),
        k=experiment.results_kept,
        allowed=allowed,
        workers=experiment.config.extraction.workers,
        progress=experiment.tell("search"),
    )
