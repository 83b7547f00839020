"""What re-ranking changed: put together after a run, and read again for a finished one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ilion import storage
from ilion.config import ExperimentConfig
from ilion.errors import ArtifactError
from ilion.evaluation.compare import compare
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.gains import explain_gains
from ilion.extraction.recode import find_source
from ilion.extraction.shards import shard_keys
from ilion.localfeatures.store import LocalSet
from ilion.outcome import Change, Evaluation, FullPrecision, Reranking
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.local_rows import Rows, prepare_queries
from ilion.pipeline.stages.plan_rerank import LocalPlan, plan_local
from ilion.pipeline.stages.rerank import (
    EVIDENCE,
    LocalStage,
    Reranked,
    evidence_inputs,
    extract_local,
    read_evidence,
    rerank_stage,
)
from ilion.pipeline.stages.results import Search
from ilion.reranking.base import Explanation, scorer_class
from ilion.reranking.localisation import box_of_features, enclose
from ilion.reranking.shortlist import Evidence
from ilion.types import Axes, Bool, GroundTruth, LocalFeatures, Query, Ranking


def explain_changes(
    config: ExperimentConfig,
    searched: Search,
    reranked: Reranked,
    before: Evaluation,
    after: Evaluation,
    truth: GroundTruth,
    explain: Callable[[int, int], Any],
    full: FullPrecision | None,
) -> Reranking:
    """Put together what re-ranking changed."""
    scorer = config.rerank.scorer
    ledger = explain_gains(
        searched.ranking,
        reranked.ranking,
        truth,
        _which_verified(reranked.evidence, scorer),
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        verifies=scorer_class(scorer).verifies,
        asked=reranked.asked,
    )
    return Reranking(
        before=before,
        ranking=searched.ranking,
        shortlist=reranked.evidence.rows.shape[1],
        inliers=reranked.evidence.inliers,
        weights=reranked.weights,
        fusion=config.rerank.fusion,
        missing=reranked.missing,
        explain=explain,
        scorer=scorer,
        folds=reranked.folds,
        ledger=ledger,
        change=_change(before, after, config.seed),
        full=full,
        sources={"ranking": searched.folder.name, "evidence": reranked.folder.name},
    )


def _change(before: Evaluation, after: Evaluation, seed: int) -> Change:
    found = compare(before, after, seed=seed)
    return Change(found.difference, found.ci95, found.p_value, found.better, found.worse)


def _which_verified(evidence: Evidence, scorer: str) -> Bool:
    """Return (Q, S) which images have a verified match; of a scorer that verifies none, which it compared."""
    scores = evidence.scores
    return np.asarray(scores > 0 if scorer_class(scorer).verifies else ~np.isnan(scores))


def measure_full_precision(
    experiment: Experiment,
    local: LocalStage,
    searched: Search,
    reranked: Reranked,
    after: Evaluation,
    truth: GroundTruth,
    axes: Axes,
) -> FullPrecision | None:
    """Say what compression costs, if that is asked for or known already.

    Args:
        experiment: Experiment with the budget.
        local: Local features of the experiment.
        searched: Ranking before re-ranking.
        reranked: The same, re-ranked with these features.
        after: Accuracy after re-ranking.
        truth: Positives and ignored images.
        axes: Instances of the queries.

    Returns:
        None if nothing was compressed, or if only computing it would tell and ``rerank.diagnose`` is off.
    """
    config, settings = experiment.config, experiment.config.rerank
    if settings.budget == 0 and settings.codec in ("auto", "raw"):
        return None
    uncompressed = replace(config, rerank=replace(settings, budget=0, codec="auto"))
    plan = plan_local(uncompressed)
    if not settings.diagnose and not _is_known(experiment, plan, local, searched):
        return None
    other = replace(experiment, config=uncompressed)
    stage = extract_local(other, plan)
    found = rerank_stage(other, plan, stage, searched.ranking, searched.fingerprint, truth, axes.instances)
    judged = evaluate(
        found.ranking,
        truth,
        Axes(axes.instances),
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        bootstrap=1,
    )
    seen = [_which_verified(each.evidence, settings.scorer) for each in (reranked, found)]
    positive = np.stack(
        [np.isin(rows, wanted) for rows, wanted in zip(found.evidence.rows, truth.positives, strict=True)]
    )
    return FullPrecision(
        mean=judged.mean,
        change=_change(after, judged, config.seed),
        lost=int((positive & ~seen[0] & seen[1]).sum()),
        found=int((positive & seen[0] & ~seen[1]).sum()),
        bytes_per_image=stage.database.bytes_per_image,
        seconds=found.seconds,
    )


def _is_known(experiment: Experiment, plan: LocalPlan, local: LocalStage, searched: Search) -> bool:
    """Tell whether a run without compression has left its evidence about the same shortlists."""
    spec, root = plan.extractor.spec.as_dict(), experiment.artifacts
    keys = shard_keys(experiment.dataset.database)
    source = find_source(root, "local", {"spec": spec}, keys, experiment.config.extraction.on_bad_image)
    if source is None:
        return False
    features = storage.Artifact(root, "local", {"spec": spec, "codec": source.codec.digest})
    inputs = evidence_inputs(
        plan,
        {**local.inputs, "local": [features.fingerprint, *keys]},
        searched.fingerprint,
        experiment.config.rerank.shortlist,
    )
    digest = storage.Artifact(root, "evidence", inputs).fingerprint
    return (root / f"evidence-{digest[:16]}" / EVIDENCE).exists()


def explainer(
    experiment: Experiment, plan: LocalPlan, local: LocalStage, ranking: Ranking
) -> Callable[[int, int], Explanation]:
    """Return what says why a database row was found for a query, for pictures of the matches."""
    return explain_pairs(experiment.config, experiment.queries, plan, local.queries, local.rows_of(ranking))


def explain_pairs(
    config: ExperimentConfig,
    queries: Sequence[Query],
    plan: LocalPlan,
    features: Sequence[LocalFeatures],
    rows: Rows,
) -> Callable[[int, int], Explanation]:
    """Return what says why a database row was found for a query; see `explainer`."""
    boxed = config.extraction.query_box != "none"

    def explain(query: int, row: int) -> Explanation:
        [image] = rows.many([row])
        photo = queries[query].image
        outline = enclose(photo.boxes) if boxed and photo is not None else None
        own = features[query]
        return plan.scorer.explain(own, image, outline or box_of_features(own))

    return explain


def reread_reranking(experiment: Experiment, stored: Reranking) -> Reranking:
    """Read again what artifacts still hold of a finished run's re-ranking.

    Local features are opened only when a pair is explained. What is gone stays None, and explaining it raises
    an `ArtifactError`; nothing is computed.

    Args:
        experiment: The run's.
        stored: As ``run.json`` has it.
    """
    root = experiment.artifacts
    try:
        evidence = storage.load_artifact(root / stored.sources["evidence"], "evidence")
        inliers = read_evidence(evidence.folder).inliers
        ranking = storage.read_ranking(root / stored.sources["ranking"])
    except (ArtifactError, KeyError):
        return stored
    explain = _open_explainer(experiment, evidence, ranking)
    return replace(stored, ranking=ranking, inliers=inliers, explain=explain)


def _open_explainer(
    experiment: Experiment, evidence: storage.Artifact, ranking: Ranking
) -> Callable[[int, int], Any]:
    """Return an explainer that opens plan and features when it is first called."""
    opened: list[Callable[[int, int], Any]] = []

    def explain(query: int, row: int) -> Any:
        if not opened:
            plan = plan_local(experiment.config)
            parts = []
            for kind in ("local", "local-queries"):
                digest, *keys = evidence.inputs[kind.replace("-", " ")]
                folder = experiment.artifacts / f"{kind}-{digest[:16]}"
                parts.append(LocalSet(storage.load_artifact(folder, kind), keys))
            features, own = parts
            queries = prepare_queries(own, ranking.query_ids, features.codec, plan.original)
            local = LocalStage(queries, features, {}, {}, (), 0, 0, own, plan.original)
            opened.append(explainer(experiment, plan, local, ranking))
        return opened[0](query, row)

    return explain
