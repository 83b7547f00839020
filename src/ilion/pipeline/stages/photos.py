"""First stage by local features in one store of a few KB a photo (see docs/local-first.md)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ilion import storage
from ilion.errors import DatasetError
from ilion.extraction.describe import box_inputs
from ilion.extraction.photos import extract_photo_queries, read_photo_queries
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.photo_models import local_settings, photos_of
from ilion.pipeline.stages.results import Prepared
from ilion.searching import local
from ilion.types import Ranking

EVIDENCE = "verified.npz"
"""File of what is known of the shortlists, in the folder of a ranking."""


@dataclass(frozen=True)
class Photos(Prepared):
    """Queries and database of a search by local features.

    Args:
        queries: (Q,) in the order of the queries.
        query_ids: (Q,) their ids.
        database: The postings.
        words: Words and codes of both.
        folder: Folder of the postings.
    """

    queries: tuple[local.QuerySpots, ...]
    query_ids: tuple[str, ...]
    database: local.Postings
    words: local.LocalModel
    folder: Path

    @property
    def image_seconds(self) -> float:
        """Seconds that the database took from images to postings."""
        return self.seconds["postings"]

    @cached_property
    def bytes_per_image(self) -> float:
        """Mean stored bytes of a photo, everything counted."""
        return self.database.stored_bytes() / max(len(self.database), 1)

    @property
    def size(self) -> str:
        """What is stored, in words."""
        features = self.database.count / max(len(self.database), 1)
        return f"{features:.0f} local features a photo in {self.bytes_per_image:,.0f} B"


def build_photos(experiment: Experiment) -> Photos:
    """Describe database and queries, as far as that is not done.

    Raises:
        DatasetError: The database holds no readable image.
    """
    general, description = experiment.config.extraction, photos_of(experiment.config)
    model, settings = description.model, description.settings
    if not experiment.sealed:
        experiment.record.begin()
    with ExitStack() as locks:
        artifact = storage.open_artifact(experiment.artifacts, description.kind, description.spec)
        locks.enter_context(experiment.locked(artifact.folder))
        keys, whole, missing = do_shards(experiment, "postings", artifact, description)
        inputs = {
            **query_inputs(model, settings),
            "box": box_inputs(general.query_box),
        }
        own = storage.open_artifact(experiment.artifacts, "postings-queries", inputs)
        locks.enter_context(experiment.locked(own.folder))
        query_key, seen = extract_photo_queries(
            experiment.queries, model, settings, own, box_use=general.query_box, workers=general.workers
        )
    stats = [storage.read_stats(artifact, key) for key in keys]
    query_stats = storage.read_stats(own, query_key)
    database = local.Postings(artifact, keys, model.words, settings.code)
    if not len(database):
        raise DatasetError(f"{experiment.dataset.root}: the database holds no readable image")
    stored = read_photo_queries(own, query_key)
    ids = tuple(query.id for query in experiment.queries)
    return Photos(
        queries=tuple(stored[name] for name in ids),
        query_ids=ids,
        database=database,
        words=model,
        folder=artifact.folder,
        inputs={"database": [artifact.fingerprint, *keys], "queries": [own.fingerprint, query_key]},
        skipped=tuple(s for stat in stats for s in stat.skipped),
        seconds={"postings": sum(s.seconds for s in stats), "queries": query_stats.seconds},
        reused=tuple(["postings"] * whole + ["queries"] * seen),
        images=sum(s.images for s in stats),
        peak_memory=max(s.peak_memory for s in [*stats, query_stats]),
        machine=(stats or [query_stats])[0].machine,
        model=dict(description.spec),
        missing=missing,
    )


def query_inputs(model: local.LocalModel, settings: local.LocalSettings) -> Mapping[str, object]:
    """Return what the description of a query depends on, beside its photo."""
    return {"model": model.digest, "side": settings.side, "sizes": list(settings.sizes)}


def rank_by_matches(experiment: Experiment, index: Photos) -> tuple[Ranking, local.Evidence]:
    """Search the postings for every query."""
    settings = local_settings(experiment.config.search.local)
    return local.search_photos(
        index.query_ids,
        [local.look_up(spots, index.words, settings) for spots in index.queries],
        index.database,
        index.words,
        settings,
        k=experiment.results_kept,
        workers=experiment.config.extraction.workers,
        progress=experiment.tell("search"),
    )
