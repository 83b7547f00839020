"""The local half of the pipeline: local features, evidence about shortlists, fused rankings."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.config import ExperimentConfig, to_dict
from ilion.errors import ArtifactError
from ilion.evaluation.evaluate import evaluate
from ilion.extraction import local as local_extraction
from ilion.extraction.describe import box_inputs, sample_records
from ilion.extraction.local import EncodedDescription, LocalDescription
from ilion.extraction.recode import find_source, recode, settle
from ilion.extraction.shards import queries_key, shard_keys
from ilion.localfeatures.base import LocalExtractor
from ilion.localfeatures.codecs import Codec
from ilion.localfeatures.store import LocalSet, has_codec
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.distributed.parts import compare_shortlists
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.learn_once import open_learnt
from ilion.pipeline.stages.local_rows import Rows, make_comparable, prepare_queries
from ilion.pipeline.stages.plan_rerank import LocalPlan
from ilion.reranking.shortlist import Evidence, Fusion, gather, rerank
from ilion.runtime.machine import peak_memory
from ilion.searching.fusion import Calibration, calibrate
from ilion.types import Bool, Float32, GroundTruth, Int64, LocalFeatures, Query, Ranking, Value

log = logging.getLogger(__name__)

EVIDENCE = "evidence.npz"
_FORMS = {"rows": ("i", 2), "inliers": ("i", 2), "scores": ("f", 2), "clock": ("f", 2)}


@dataclass(frozen=True)
class LocalStage(Value):
    """Local features of one experiment, ready to compare.

    Args:
        queries: (Q,) features, in the order of the queries, such that they compare with the stored ones; a
            text shows none.
        database: Stored features.
        inputs: Inputs of both.
        seconds: Stage -> seconds when it was computed.
        reused: Stages that were not computed this time.
        images: Database images described.
        peak_memory: Largest resident memory of the processes that computed, bytes.
        stored_queries: The features of the queries as they are stored.
        original: Queries are, and stored features are to be, as the extractor gives them.
    """

    queries: tuple[LocalFeatures, ...]
    database: LocalSet
    inputs: dict[str, object]
    seconds: dict[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int
    stored_queries: LocalSet
    original: bool = False

    def rows_of(self, ranking: Ranking) -> Rows:
        """Return the stored features by the rows of a ranking."""
        nothing = self.queries[0].take(np.empty(0, np.int64))
        rows = self.database.rows_of(ranking.database_ids)
        return Rows(self.database, rows, nothing, self.original)


def extract_local(experiment: Experiment, plan: LocalPlan) -> LocalStage:
    """Describe queries and database by local features, as far as that is not done.

    Where the same images were described at full precision before, no image is looked at again.
    """
    config, extractor, shards = experiment.config, plan.extractor, experiment.dataset.database
    general, spec = config.extraction, plan.extractor.spec
    seconds: dict[str, float] = {}
    reused: list[str] = []
    with ExitStack() as locks:
        keys = shard_keys(shards)
        source = find_source(
            experiment.artifacts, "local", {"spec": spec.as_dict()}, keys, general.on_bad_image
        )
        codec, known = _codec(experiment, plan, source, locks)
        reused += ["codec"] * known
        inputs = {"spec": spec.as_dict(), "codec": codec.digest}
        artifact = experiment.open("local", inputs, locks)
        if source is not None and source.artifact.folder != artifact.folder:
            whole = recode(source, keys, codec, artifact, features=spec.features)
        else:
            settle(artifact, codec)
            description = EncodedDescription(LocalDescription(extractor), codec)
            keys, whole, _ = do_shards(
                experiment, "local features", artifact, description, str(artifact.folder)
            )
        own, key, seen = _queries(experiment, extractor, locks)
    reused += ["local features"] * whole + ["local queries"] * seen
    stats = [storage.read_stats(artifact, k) for k in keys]
    query_stats = storage.read_stats(own, key)
    seconds["local features"] = sum(s.seconds for s in stats)
    seconds["local queries"] = query_stats.seconds
    stored = LocalSet(own, [key])
    return LocalStage(
        queries=prepare_queries(stored, [query.id for query in experiment.queries], codec, plan.original),
        database=LocalSet(artifact, keys),
        inputs={"local": [artifact.fingerprint, *keys], "local queries": [own.fingerprint, key]},
        seconds=seconds,
        reused=tuple(reused),
        images=sum(s.images for s in stats),
        peak_memory=max(s.peak_memory for s in [*stats, query_stats]),
        stored_queries=stored,
        original=plan.original,
    )


def describe_asked_locally(
    experiment: Experiment, plan: LocalPlan, local: LocalStage, queries: Sequence[Query]
) -> LocalStage:
    """Return the same stored features with those of further queries, which are described in memory."""
    general = experiment.config.extraction
    found = local_extraction.describe_local_queries(
        queries, plan.extractor, box_use=general.query_box, workers=general.workers
    )
    codec = local.database.codec
    return replace(local, queries=make_comparable([found.get(q.id) for q in queries], codec, plan.original))


def rerank_asked(
    experiment: Experiment, plan: LocalPlan, queries: Sequence[LocalFeatures], rows: Rows, ranking: Ranking
) -> tuple[Ranking, Evidence]:
    """Re-rank by the settings, in memory.

    Args:
        experiment: Experiment; its share of the local score is a number, not one learnt from queries.
        plan: Comparison of two images.
        queries: Features of the queries of the ranking.
        rows: Stored features by rows of the ranking.
        ranking: Ranking of the stage before.
    """
    settings = experiment.config.rerank
    workers = plan.workers or experiment.config.extraction.workers
    evidence = gather(ranking, queries, rows, plan.scorer, shortlist=settings.shortlist, workers=workers)
    fusion: Fusion = "rank" if settings.fusion == "rank" else "score"
    return rerank(ranking, evidence, fusion=fusion, weight=plan.weight), evidence


def _queries(
    experiment: Experiment, extractor: LocalExtractor, locks: ExitStack
) -> tuple[storage.Artifact, str, bool]:
    general = experiment.config.extraction
    pictures = [query for query in experiment.queries if query.image is not None]
    inputs = {"spec": extractor.spec.as_dict(), "box": box_inputs(general.query_box)}
    key = queries_key(pictures)
    source = find_source(experiment.artifacts, "local-queries", inputs, [key])
    own = experiment.open("local-queries", inputs, locks)
    if source is not None and source.artifact.folder != own.folder:
        return own, key, recode(source, [key], source.codec, own, features=extractor.spec.features)
    key, seen = local_extraction.extract_local_queries(
        pictures, extractor, own, box_use=general.query_box, workers=general.workers
    )
    return own, key, seen


def _codec(
    experiment: Experiment, plan: LocalPlan, source: LocalSet | None, locks: ExitStack
) -> tuple[Codec, bool]:
    config, dataset, spec = experiment.config, experiment.dataset, plan.extractor.spec
    inputs = {"spec": spec.as_dict(), "codec": to_dict(plan.codec)}
    artifact = open_learnt(experiment, "codec", inputs, has_codec)
    locks.enter_context(experiment.locked(artifact.folder))
    return local_extraction.learn_codec(
        lambda: sample_records(dataset.database, config.extraction.fit_images, config.seed),
        plan.extractor,
        plan.codec,
        artifact,
        seed=config.seed,
        source=source,
        on_bad_image=config.extraction.on_bad_image,
        workers=config.extraction.workers,
        progress=experiment.tell("codec"),
    )


class _Stats(storage.StageStats):
    missing: int


@dataclass(frozen=True)
class Reranked(Value):
    """What re-ranking gives.

    Args:
        ranking: The final ranking; texts keep the results of the first stage.
        evidence: About the shortlists; a text has an empty one.
        asked: (Q,) which queries are pictures, and so were re-ranked.
        weights: (Q,) weight of the local score; NaN for rank fusion and for texts.
        folds: (Q,) part of each query, whose weight was learnt on the others; all 0 where nothing was learnt.
        missing: Shortlisted images without stored features.
        seconds: When the evidence was computed.
        reused: Whether the evidence was there already.
        peak_memory: Largest resident memory of the process that computed, bytes.
        folder: Folder of the evidence.
    """

    ranking: Ranking
    evidence: Evidence
    asked: Bool
    weights: Float32
    folds: Int64
    missing: int
    seconds: float
    reused: bool
    peak_memory: int
    folder: Path


def rerank_stage(
    experiment: Experiment,
    plan: LocalPlan,
    local: LocalStage,
    ranking: Ranking,
    search_fingerprint: str,
    truth: GroundTruth,
    instances: Sequence[str],
) -> Reranked:
    """Gather the evidence about the shortlists, as far as that is not done, and fuse it.

    Texts have no local features: their results stay exactly those of the first stage.
    """
    settings = experiment.config.rerank
    asked = np.array([query.image is not None for query in experiment.queries], np.bool_)
    texts = int((~asked).sum())
    if texts:
        log.info("re-ranking: %d text queries have no local features and keep their results", texts)
    inputs = evidence_inputs(plan, local.inputs, search_fingerprint, settings.shortlist)
    artifact = storage.open_artifact(experiment.artifacts, "evidence", inputs)
    with experiment.locked(artifact.folder):
        reused = all((artifact.folder / name).exists() for name in (EVIDENCE, "stats.json"))
        if not reused:
            _gather(experiment, plan, local, ranking, asked, artifact)
        stats = storage.read_json(artifact.folder / "stats.json", _Stats)
        evidence = read_evidence(artifact.folder)
    weights, folds = np.full(len(instances), plan.weight, np.float32), np.zeros(len(instances), np.int64)
    if settings.fusion == "rank":
        weights = np.full(len(instances), np.nan, np.float32)
    elif settings.fusion == "calibrated":
        pictures = np.flatnonzero(asked)
        learnt = _calibrate(experiment.config, plan, ranking, evidence, truth, instances, pictures)
        weights[pictures] = np.where(np.isnan(learnt.weights), plan.weight, learnt.weights)
        folds[pictures] = learnt.fold
    weights[~asked] = np.nan
    fused = rerank(
        ranking,
        evidence,
        fusion="rank" if settings.fusion == "rank" else "score",
        weight=np.nan_to_num(weights),
    )
    return Reranked(
        fused,
        evidence,
        asked,
        weights,
        folds,
        stats["missing"],
        stats["seconds"],
        reused,
        stats["peak_memory"],
        artifact.folder,
    )


def read_evidence(folder: Path) -> Evidence:
    """Read the evidence in the folder of an artifact.

    Raises:
        ArtifactError: The evidence is missing or damaged.
    """
    arrays = storage.read_arrays(folder / EVIDENCE, _FORMS)
    if len({array.shape for array in arrays.values()}) > 1:
        raise ArtifactError(
            f"{folder / EVIDENCE}: its parts do not fit together; delete {folder} and run again"
        )
    return Evidence(**{name: arrays[name] for name in _FORMS})


def evidence_inputs(
    plan: LocalPlan, local: Mapping[str, object], search_fingerprint: str, shortlist: int
) -> dict[str, object]:
    """Return what evidence depends on."""
    return {**local, "ranking": search_fingerprint, "scorer": plan.inputs, "shortlist": shortlist}


def _gather(
    experiment: Experiment,
    plan: LocalPlan,
    local: LocalStage,
    ranking: Ranking,
    asked: Bool,
    artifact: storage.Artifact,
) -> None:
    """Compare pictures with their shortlists, or cut what is known of longer ones."""
    shortlist = experiment.config.rerank.shortlist
    longer = _longer(experiment.artifacts, artifact)
    rows = local.rows_of(ranking)
    if longer is not None:
        whole = read_evidence(longer.folder)
        found, stats = whole.first(shortlist), storage.read_json(longer.folder / "stats.json", _Stats)
        share = float(found.clock.sum(dtype=np.float64) / max(whole.clock.sum(dtype=np.float64), 1e-12))
        stats["seconds"] *= share
    else:
        started = time.perf_counter()
        queries = [features for features, ok in zip(local.queries, asked, strict=True) if ok]
        some = ranking if asked.all() else _only(ranking, asked)
        found = compare_shortlists(
            experiment, plan, local.database, local.stored_queries, queries, rows, some, artifact
        )
        found = found if asked.all() else found.spread(asked)
        stats = {"seconds": time.perf_counter() - started, "peak_memory": peak_memory()}
    stats["missing"] = rows.count_missing(found.rows)
    storage.write_json(artifact.folder / "stats.json", stats)
    storage.write_arrays(artifact.folder / EVIDENCE, vars(found))


def _only(ranking: Ranking, chosen: Bool) -> Ranking:
    """Return the ranking of some of the queries."""
    ids = tuple(query for query, ok in zip(ranking.query_ids, chosen, strict=True) if ok)
    return replace(
        ranking,
        query_ids=ids,
        indices=ranking.indices[chosen],
        similarities=ranking.similarities[chosen],
        counts=ranking.counts[chosen],
    )


def _longer(root: Path, artifact: storage.Artifact) -> storage.Artifact | None:
    """Find evidence that differs only in having more images a query."""
    wanted = {**artifact.inputs, "shortlist": 0}
    for folder in sorted(root.glob("evidence-*")):
        try:
            other = storage.load_artifact(folder, "evidence")
        except ArtifactError:
            continue
        same = {**other.inputs, "shortlist": 0} == wanted
        if same and other.inputs["shortlist"] > artifact.inputs["shortlist"] and (folder / EVIDENCE).exists():
            return other
    return None


def _calibrate(
    config: ExperimentConfig,
    plan: LocalPlan,
    ranking: Ranking,
    evidence: Evidence,
    truth: GroundTruth,
    instances: Sequence[str],
    pictures: Int64,
) -> Calibration:
    """Learn the weight of each picture on the pictures of other objects."""
    judged: dict[float, np.ndarray] = {}

    def accuracy(weight: float, queries: Sequence[int]) -> float:
        if weight not in judged:
            fused = rerank(ranking, evidence, weight=weight)
            judged[weight] = evaluate(
                fused, truth, definition=config.evaluation.definition, k=config.evaluation.k, bootstrap=1
            ).per_query
        return float(judged[weight][pictures[list(queries)]].mean())

    groups = [instances[number] for number in pictures]
    return calibrate(accuracy, groups, usual=plan.weight, seed=config.seed)
