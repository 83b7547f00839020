"""First stage by local features in one store of a few KB a photo (see docs/local-first.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ilion import storage
from ilion.errors import DatasetError
from ilion.extraction.describe import box_inputs
from ilion.extraction.photos import describe_photo_queries, extract_photo_queries, read_photo_queries
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.photo_models import local_settings, photos_of
from ilion.pipeline.stages.results import Prepared
from ilion.reranking.base import Explanation
from ilion.reranking.geometry import Verification
from ilion.reranking.localisation import localise, map_outline
from ilion.reranking.matching import Matches
from ilion.searching import local
from ilion.types import Box, Float32, Int64, LocalFeatures, Query, Ranking

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
    database: local.Database
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
        artifact = experiment.open(description.kind, description.spec, locks)
        keys, whole, missing = do_shards(experiment, "postings", artifact, description)
        inputs = {**query_inputs(model, settings), "box": box_inputs(general.query_box)}
        own = experiment.open("postings-queries", inputs, locks)
        query_key, seen = extract_photo_queries(
            experiment.queries, model, settings, own, box_use=general.query_box, workers=general.workers
        )
    stats = [storage.read_stats(artifact, key) for key in keys]
    query_stats = storage.read_stats(own, query_key)
    database = local.Postings(artifact, keys, model.words)
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
    sizes = list(settings.sizes)
    return {"model": model.digest, "side": settings.side, "sizes": sizes, "tones": local.QUERY_CELLS}


def describe_asked_photos(experiment: Experiment, queries: Sequence[Query]) -> tuple[local.QuerySpots, ...]:
    """Describe further queries in memory.

    Raises:
        ImageError: A photo is unreadable.
    """
    general, description = experiment.config.extraction, photos_of(experiment.config)
    photos = [replace(query.image, id=query.id) for query in queries if query.image is not None]
    return tuple(
        describe_photo_queries(
            photos,
            description.model,
            description.settings,
            box_use=general.query_box,
            workers=general.workers,
        )
    )


def rank_by_matches(
    experiment: Experiment, index: Photos, allowed: Int64 | None = None, quiet: bool = False
) -> tuple[Ranking, local.Evidence]:
    """Search the postings for every query.

    Args:
        experiment: Settings.
        index: Queries and database.
        allowed: Ascending database rows that may be found; None means all.
        quiet: Whether no progress is told.
    """
    settings = local_settings(experiment.config.search.local)
    return local.search_photos(
        index.query_ids,
        [local.look_up(spots, index.words, settings) for spots in index.queries],
        index.database,
        index.words,
        settings,
        k=experiment.results_kept,
        workers=experiment.config.extraction.workers,
        progress=None if quiet else experiment.tell("search"),
        allowed=allowed,
    )


def ask_one(experiment: Experiment, index: Photos) -> None:
    """Search for the first query and forget what is found: kernels are compiled when they are first used."""
    first = replace(index, query_ids=index.query_ids[:1], queries=index.queries[:1])
    rank_by_matches(experiment, first, quiet=True)


def explain_photos(experiment: Experiment, index: Photos) -> Callable[[int, int], Explanation]:
    """Return what says why a database row was found for one of the queries."""
    settings = local_settings(experiment.config.search.local)

    @lru_cache(1)  # several photos of one query are explained, and its words take longer than the rest
    def look_up(query: int) -> local.LocalQuery:
        return local.look_up(index.queries[query], index.words, settings)

    def explain(query: int, row: int) -> Explanation:
        return explain_photo(look_up(query), index.database.photo(row), index.words)

    return explain


def explain_photo(
    query: local.LocalQuery, photo: local.Encoded, model: local.LocalModel, outline: Box | None = None
) -> Explanation:
    """Say why a photo was found.

    Args:
        query: The query.
        photo: Stored features of the photo.
        model: Words and codes of both.
        outline: The object in the query; None for where the query has features.
    """
    found = local.compare(query, photo, model)
    outline = outline or _outline_of(found.query)
    box, corners = None, None
    if found.motion is not None and outline is not None:
        box, corners = localise(found.motion, outline, photo.size), map_outline(found.motion, outline)
    score = float(np.square(found.similarities[found.supports]).sum())
    return Explanation(
        _plain(found.query, query.photo_size),
        _plain(found.photo, photo.size),
        Matches(found.features, found.places, found.similarities),
        Verification(found.motion, found.supports, score),
        box,
        corners,
    )


def _outline_of(places: Float32) -> Box | None:
    """Return where a query has features, a hundredth of them aside; None without any."""
    if not len(places):
        return None
    (left, top), (right, bottom) = np.quantile(places, (0.01, 0.99), axis=0).tolist()
    return Box(left, top, right - left, bottom - top)


def locate_photos(index: Photos, evidence: local.Evidence) -> Callable[[int, int], Box | None]:
    """Return what says where in a database row a query was found, by what its search has verified.

    Args:
        index: Queries and database.
        evidence: Verified matches by `rank_by_matches`.

    Returns:
        Function from a query number and a database row to the box in pixels of the photo; None where nothing
        was verified.
    """

    @cache
    def motions_of(query: int) -> dict[int, Float32]:
        motions = evidence.motions[query]
        seen = np.flatnonzero(motions.any(axis=1))
        return dict(zip(evidence.rows[query, seen].tolist(), motions[seen], strict=True))

    @cache
    def outline_of(query: int) -> Box | None:
        return _outline_of(local.places_in(index.queries[query]))

    def locate(query: int, row: int) -> Box | None:
        motion, outline = motions_of(query).get(row), outline_of(query)
        if motion is None or outline is None:
            return None
        width, height = index.database.looks(np.array([row])).sizes[0].tolist()
        model = local.motion_in_pixels(motion, index.queries[query].part, (width, height))
        return localise(model, outline, (width, height))

    return locate


def _plain(places: np.ndarray[Any, Any], size: tuple[int, int]) -> LocalFeatures:
    count = len(places)
    return LocalFeatures(places, np.zeros((count, 0), np.float32), np.ones(count, np.float32), size)
