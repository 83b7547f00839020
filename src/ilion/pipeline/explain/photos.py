"""What verification changed in a search by local features, put together as re-ranking's is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.errors import ArtifactError
from ilion.evaluation.compare import compare as compare_runs
from ilion.evaluation.gains import explain_gains
from ilion.extraction.photos import read_photo_queries
from ilion.outcome import Change, Evaluation, Reranking
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.photo_models import local_settings
from ilion.pipeline.stages.photos import EVIDENCE, Photos, explain_photo
from ilion.pipeline.stages.results import Search
from ilion.reranking.base import Explanation
from ilion.reranking.localisation import enclose
from ilion.searching import local
from ilion.types import GroundTruth, Ranking

VERIFIED = "verified"
"""Name of this way to put results in order, among those of re-ranking."""


def explain_verification(
    experiment: Experiment,
    index: Photos,
    searched: Search,
    judge: Callable[[Ranking], Evaluation],
    truth: GroundTruth,
) -> Reranking:
    """Say what verification gained and lost over the votes alone.

    Args:
        experiment: The experiment.
        index: Queries and database.
        searched: The final ranking, with its evidence beside it.
        judge: Evaluates a ranking.
        truth: Positives and ignored images.
    """
    config, evidence = experiment.config, _evidence(searched.folder)
    before = _by_votes(searched.ranking, evidence)
    judged, after = judge(before), judge(searched.ranking)
    change = compare_runs(judged, after, seed=config.seed)
    try:
        ledger = explain_gains(
            before,
            searched.ranking,
            truth,
            evidence.inliers > 0,
            definition=config.evaluation.definition,
            k=config.evaluation.k,
        )
    except ArtifactError:  # expansion may bring other photos to the front
        ledger = None
    queries, model = index.queries, index.words
    settings = local_settings(config.search.local)

    def query_of(number: int) -> local.LocalQuery:
        return local.look_up(queries[number], model, settings)

    return Reranking(
        before=judged,
        ranking=before,
        shortlist=evidence.inliers.shape[1],
        inliers=evidence.inliers,
        weights=np.full(len(queries), np.nan, np.float32),
        fusion=VERIFIED,
        missing=0,
        explain=explainer(
            experiment,
            lambda q: local.look_up(queries[q], index.words, settings),
            index.database,
            index.words,
        ),
        scorer="local",
        ledger=ledger,
        change=Change(change.difference, change.ci95, change.p_value, change.better, change.worse),
        sources={"ranking": searched.folder.name},
    )


def _evidence(folder: Path) -> local.Evidence:
    forms = {"rows": ("i", 2), "votes": ("f", 2), "inliers": ("i", 2), "motions": ("f", 3)}
    return local.Evidence(**storage.read_arrays(folder / EVIDENCE, forms))


def _by_votes(ranking: Ranking, evidence: local.Evidence) -> Ranking:
    return replace(ranking, indices=evidence.rows, similarities=evidence.votes)


def explainer(
    experiment: Experiment,
    query_of: Callable[[int], local.LocalQuery],
    database: local.Database,
    model: local.LocalModel,
) -> Callable[[int, int], Explanation]:
    """Return what says why a database row was found for a query, for pictures of the matches."""
    boxed = experiment.config.extraction.query_box != "none"

    def explain(query: int, row: int) -> Explanation:
        photo = experiment.queries[query].image
        outline = enclose(photo.boxes) if boxed and photo is not None else None
        return explain_photo(query_of(query), database.photo(row), model, outline)

    return explain


def reread_verified(experiment: Experiment, stored: Reranking) -> Reranking:
    """Read again what artifacts still hold of a finished run, as `reranking.reread_reranking` does.

    Args:
        experiment: The run's.
        stored: As ``run.json`` has it.
    """
    root = experiment.artifacts
    try:
        folder = root / stored.sources["ranking"]
        artifact, evidence = storage.load_artifact(folder, "ranking"), _evidence(folder)
        ranking = _by_votes(storage.read_ranking(folder), evidence)
    except (ArtifactError, KeyError):
        return stored

    @cache
    def opened() -> Callable[[int, int], Explanation]:
        settings = local_settings(experiment.config.search.local)
        model = local.shipped_model(settings.words)
        parts = {}
        for name, kind in (("database", "postings"), ("queries", "postings-queries")):
            digest, *keys = artifact.inputs[name]
            parts[name] = storage.load_artifact(root / f"{kind}-{digest[:16]}", kind), keys
        database = local.Postings(*parts["database"], model.words)
        own, [key] = parts["queries"]
        queries = read_photo_queries(own, key)
        ids = ranking.query_ids
        return explainer(
            experiment, lambda q: local.look_up(queries[ids[q]], model, settings), database, model
        )

    return replace(stored, ranking=ranking, inliers=evidence.inliers, explain=lambda q, row: opened()(q, row))
