"""First stage: rank the database for every query."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilion import storage
from ilion.config import to_dict
from ilion.errors import ConfigError
from ilion.pipeline.distributed.parts import search_parts
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.codes import make_codes
from ilion.pipeline.stages.inverted_file import Index, rank_by_postings
from ilion.pipeline.stages.local_models import settings_of
from ilion.pipeline.stages.photo_models import local_settings
from ilion.pipeline.stages.photos import EVIDENCE, Photos, ask_one, rank_by_matches
from ilion.pipeline.stages.project import network_of, project
from ilion.pipeline.stages.results import Extraction, Search
from ilion.runtime.machine import machine, peak_memory
from ilion.searching import Code, search, search_compressed
from ilion.searching.engines import ENGINES, rank_with
from ilion.searching.expansion import expand, expansion_weights
from ilion.searching.local import search_digest
from ilion.searching.products import search_products
from ilion.storage import DescriptorSet, fingerprint
from ilion.types import Descriptors, Float32, Int64, Ranking

CUT = ("block_size", "threads", "memory_mb", "device")
"""Settings of how the work is cut and where it is done."""
HIDDEN = 1024
"""Rows of which so many may be hidden while the whole database is still searched, and not a part of it."""


def find(experiment: Experiment, extracted: Extraction | Index | Photos) -> Search:
    """Rank the database for every query, as far as that is not done."""
    settings = experiment.config.search
    # how the work is cut does not change the result, so it does not belong to the fingerprint
    unused = {*CUT, "asmk", "local"}
    if settings.method != "compressed":
        unused |= {"method", "code", "shortlist"}
    unused |= {"projection", *(() if settings.projection else ("projection_first",))}
    method = {k: v for k, v in to_dict(settings).items() if k not in unused}
    part = ENGINES.find(settings.method)
    if settings.method not in ("exact", "compressed", "asmk", "local"):
        method["engine"] = [part.name, part.digest]
    if isinstance(extracted, Index):
        method = {"asmk": to_dict(settings_of(settings.asmk))}
    elif isinstance(extracted, Photos):
        method = {"local": to_dict(local_settings(settings.local)), "by": search_digest()}
    elif settings.projection:
        method["projection"] = network_of(settings).digest
    method["k"] = experiment.results_kept
    if experiment.dataset.among:
        if settings.method != "exact":
            raise ConfigError(
                f"{experiment.dataset.name}: each query is searched among the images of its own instance, "
                f"which search.method = {settings.method} cannot do; set it to exact"
            )
        method["among"] = fingerprint(sorted(experiment.dataset.among.items()))

    def rank(folder: Path) -> Ranking:
        if isinstance(extracted, Photos):
            ranking, evidence = rank_by_matches(experiment, extracted)
            storage.write_arrays(folder / EVIDENCE, vars(evidence))
            return ranking
        if isinstance(extracted, Index):
            return rank_by_postings(experiment, extracted)
        return rank_descriptors(experiment, extracted)

    def compile_kernels() -> None:
        if isinstance(extracted, Photos):
            ask_one(experiment, extracted)

    return open_ranking(
        experiment, "ranking", {**extracted.inputs, "search": method}, rank, before=compile_kernels
    )


def open_ranking(
    experiment: Experiment,
    kind: str,
    inputs: Mapping[str, Any],
    make: Callable[[Path], Ranking],
    before: Callable[[], None] | None = None,
) -> Search:
    """Make a ranking, or read the one that was made from the same inputs.

    Args:
        experiment: Experiment whose artifacts are used.
        kind: Kind of the artifact.
        inputs: All that the ranking depends on.
        make: Function that makes it, and may keep more in the folder it is given; called only when needed.
        before: Function that is called before it, and is no part of the time that it takes.
    """
    artifact = storage.open_artifact(experiment.artifacts, kind, inputs)
    with experiment.locked(artifact.folder):
        finished = storage.is_finished(artifact.folder / "ranking.json")
        done = finished and (artifact.folder / "stats.json").exists()
        if not done:
            if before:
                before()
            started = time.perf_counter()
            ranking = make(artifact.folder)
            stats = {"seconds": time.perf_counter() - started, "peak_memory": peak_memory()}
            storage.write_json(artifact.folder / "stats.json", stats)
            storage.write_ranking(artifact.folder, ranking)
        stats = storage.read_json(artifact.folder / "stats.json", storage.StageStats)
        return Search(
            storage.read_ranking(artifact.folder),
            artifact.folder,
            artifact.fingerprint,
            stats["seconds"],
            done,
            stats["peak_memory"],
        )


def rank_descriptors(experiment: Experiment, extracted: Extraction, allowed: Int64 | None = None) -> Ranking:
    """Rank the database for every query by its descriptors.

    Args:
        experiment: Settings and place.
        extracted: Queries and database.
        allowed: Ascending database rows that may be found; None means all. The ranking is that of a database
            which holds no other ones, with the rows of the whole.
    """
    settings = experiment.config.search
    database = extracted.database
    if settings.method == "compressed":
        Code.parse(settings.code)  # a misspelt code is said before anything is computed
    if settings.database_expansion_top:
        database = _expand_database(experiment, extracted)
    queries: Float32 = np.asarray(extracted.queries.values, np.float32)
    if _both(queries, database) and (
        settings.method != "exact" or settings.expansion != "none" or settings.projection
    ):
        raise ConfigError(
            "extraction.text_fusion = 'product' compares every image twice: it needs search.method = 'exact' "
            "and neither search.expansion nor search.projection"
        )
    if settings.expansion != "none":
        top = settings.expansion_top
        first = _search(experiment, extracted, queries, database, allowed, top, "query expansion")
        queries = _expand(queries, database, first, settings.expansion, settings.expansion_alpha)
    found = _search(experiment, extracted, queries, database, allowed, experiment.results_kept, "search")
    return project(settings, queries, database, found) if settings.projection else found


def _search(
    experiment: Experiment,
    extracted: Extraction,
    queries: Float32,
    database: DescriptorSet,
    allowed: Int64 | None,
    k: int,
    stage: str,
) -> Ranking:
    """Search among the allowed rows: exact whatever share of the database they are."""
    if allowed is None:
        return _search_all(
            experiment, extracted, queries, database, k, experiment.config.search.shortlist, stage
        )
    hidden = len(database) - len(allowed)
    if hidden <= HIDDEN:
        # with as many results more, what is left without the hidden ones is the same
        shortlist = experiment.config.search.shortlist + hidden
        found = _search_all(experiment, extracted, queries, database, k + hidden, shortlist, stage)
        return keep_rows(found, allowed, k)
    part = database.take(allowed)
    found = _search_exact(experiment, extracted.queries.ids, queries, part, k, stage)
    rows = np.where(found.indices >= 0, allowed[found.indices], -1) if len(allowed) else found.indices
    return dataclasses.replace(found, database_ids=database.ids, indices=rows)


def keep_rows(ranking: Ranking, allowed: Int64, k: int) -> Ranking:
    """Return the first k results of a ranking among some of the rows.

    Args:
        ranking: Ranking of the whole database.
        allowed: (N,) ascending rows that stay.
        k: Largest number of results.

    >>> whole = Ranking.from_arrays(np.array([[2, 0, 1]]), np.array([[0.9, 0.5, 0.1]]))
    >>> keep_rows(whole, np.array([0, 1]), 5).indices.tolist()
    [[0, 1]]
    """
    at = np.minimum(np.searchsorted(allowed, ranking.indices), max(0, len(allowed) - 1))
    stays = allowed[at] == ranking.indices if len(allowed) else np.zeros(ranking.indices.shape, np.bool_)
    size = min(k, int(stays.sum(axis=1).max(initial=0)))
    order = np.argsort(~stays, axis=1, kind="stable")[:, :size]
    kept = np.take_along_axis(stays, order, axis=1)
    return dataclasses.replace(
        ranking,
        indices=np.where(kept, np.take_along_axis(ranking.indices, order, axis=1), -1),
        similarities=np.where(kept, np.take_along_axis(ranking.similarities, order, axis=1), -np.inf),
        counts=kept.sum(axis=1).astype(np.int64),
    )


def _search_all(
    experiment: Experiment,
    extracted: Extraction,
    queries: Float32,
    database: DescriptorSet,
    k: int,
    shortlist: int,
    stage: str,
) -> Ranking:
    """Search by the method of the settings."""
    settings, ids = experiment.config.search, extracted.queries.ids
    if experiment.dataset.among:
        return _search_among(experiment, ids, queries, database, k, stage)
    if settings.method == "compressed":
        expanded = (settings.database_expansion_top, settings.expansion_alpha)
        inputs = [extracted.inputs["database"], *(expanded if settings.database_expansion_top else ())]
        codes = make_codes(experiment, database, inputs, settings.code)
        return search_compressed(
            ids,
            queries,
            database,
            codes,
            k=k,
            shortlist=shortlist,
            threads=settings.threads,
            progress=experiment.tell(stage),
        )
    return _search_exact(experiment, ids, queries, database, k, stage)


def _search_exact(
    experiment: Experiment, ids: Sequence[str], queries: Float32, database: DescriptorSet, k: int, stage: str
) -> Ranking:
    """Search all of a database, without short codes."""
    settings = experiment.config.search
    if _both(queries, database):
        return search_products(ids, queries, database, k=k, progress=experiment.tell(stage))
    if settings.method not in ("exact", "compressed"):
        part = ENGINES.find(settings.method)
        return rank_with(part, ids, queries, database, k=k, threads=settings.threads)
    return search_parts(experiment, stage, ids, queries, database, k)


def _both(queries: Float32, database: DescriptorSet) -> bool:
    """Return whether the queries are a photo and a text beside each other."""
    return int(queries.shape[1]) == 2 * database.dim


def _search_among(
    experiment: Experiment, ids: Sequence[str], queries: Float32, database: DescriptorSet, k: int, stage: str
) -> Ranking:
    """Rank for every query the images of its instance; rows are those of the whole database."""
    among = experiment.dataset.among
    instance = {query.id: query.instance for query in experiment.queries}
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(database.ids):
        rows.setdefault(among.get(image, ""), []).append(row)
    asked: dict[str, list[int]] = {}
    for number, query in enumerate(ids):
        asked.setdefault(instance[query], []).append(number)
    width = min(k, max(len(rows.get(name, ())) for name in asked))
    indices, values = (
        np.full((len(ids), width), -1, np.int64),
        np.full((len(ids), width), -np.inf, np.float32),
    )
    counts, tell = np.zeros(len(ids), np.int64), experiment.tell(stage)
    for done, (name, numbers) in enumerate(asked.items(), start=1):
        own = np.array(rows.get(name, ()), np.int64)
        if len(own):
            part = Descriptors(tuple(database.ids[row] for row in own.tolist()), database.gather(own))
            by = search_products if _both(queries, database) else search
            found = by([ids[n] for n in numbers], queries[numbers], part, k=k)
            kept = found.indices.shape[1]
            indices[numbers, :kept], values[numbers, :kept] = own[found.indices], found.similarities
            counts[numbers] = kept
        tell(done, len(asked))
    return Ranking(tuple(ids), database.ids, indices, values, counts)


def _expand_database(experiment: Experiment, extracted: Extraction) -> DescriptorSet:
    """Average every database descriptor with its neighbours; quadratic in the size of the database."""
    settings, database = experiment.config.search, extracted.database
    inputs = {
        "database": extracted.inputs["database"],
        "top": settings.database_expansion_top,
        "alpha": settings.expansion_alpha,
    }
    artifact = storage.open_artifact(experiment.artifacts, "expanded", inputs)
    keys = []
    tell = experiment.tell("database expansion")
    start = 0
    for block in database.blocks(1024):
        rows = np.arange(start, start + len(block))
        key = f"block-{start:012d}"
        keys.append(key)
        if not storage.has_descriptors(artifact, key):
            ids = database.ids[start : start + len(block)]
            top = settings.database_expansion_top + 1
            found = search(ids, block, database, k=top, block_size=settings.block_size)
            ranking = _without_self(found, rows)
            values = _expand(block, database, ranking, "alpha", settings.expansion_alpha)
            stats = storage.ShardStats(len(ids), 0.0, peak_memory(), machine())
            storage.write_descriptors(artifact, key, Descriptors(ids, values), stats)
        start += len(block)
        tell(start, len(database))
    return DescriptorSet(artifact, keys)


def _expand(own: Float32, database: DescriptorSet, found: Ranking, method: str, alpha: float) -> Float32:
    neighbours = database.gather(found.indices.ravel()).reshape(*found.indices.shape, database.dim)
    return expand(own, neighbours, expansion_weights(found.similarities, method=method, alpha=alpha))


def _without_self(found: Ranking, rows: Any) -> Ranking:
    """Drop each row from its own neighbours, or the last neighbour where equal images hide it."""
    own = found.indices == rows[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(rows), found.indices.shape[1] - 1)
    return dataclasses.replace(
        found,
        indices=found.indices[~own].reshape(shape),
        similarities=found.similarities[~own].reshape(shape),
        counts=np.full(len(rows), shape[1], np.int64),
    )
