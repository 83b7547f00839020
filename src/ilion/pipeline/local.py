"""The local half of the pipeline: local features, evidence about shortlists, fused rankings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from ilion import local_extraction, store
from ilion.codecs import Codec
from ilion.codecs.settings import settings_for
from ilion.config import ExperimentConfig, RerankConfig, to_dict
from ilion.evaluate import evaluate
from ilion.extraction import sample_records
from ilion.fuse import calibrate
from ilion.localfeatures.base import LocalExtractor, LocalOptions, build
from ilion.localstore import LocalSet
from ilion.machine import peak_memory
from ilion.pipeline.experiment import Experiment
from ilion.rerank import Evidence, Explanation, Matcher, gather, rerank
from ilion.types import Float32, GroundTruth, Int64, LocalFeatures, Ranking


@dataclass(frozen=True)
class LocalStage:
    """Local features of one experiment, ready to compare.

    Args:
        queries: (Q,) features, in the order of the queries, such that they compare with the stored ones.
        database: Stored features.
        inputs: What both depend on.
        seconds: Stage -> seconds when it was computed.
        reused: Stages that were not computed this time.
        images: Database images described.
        peak_memory: Largest resident memory of the processes that computed, bytes.
    """

    queries: tuple[LocalFeatures, ...]
    database: LocalSet
    inputs: dict[str, object]
    seconds: dict[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int

    def rows_of(self, ranking: Ranking) -> Rows:
        """Return the stored features by the rows of a ranking."""
        nothing = self.queries[0].take(np.empty(0, np.int64))
        return Rows(self.database, self.database.rows_of(ranking.database_ids), nothing)


@dataclass
class Rows:
    """Database rows of a ranking, as features; an image without stored features shows none and is counted.

    Args:
        features: Stored features.
        rows: (N,) row in ``features`` of each row of the ranking, -1 where there is none.
        nothing: Features that show nothing.
    """

    features: LocalSet
    rows: Int64
    nothing: LocalFeatures
    missing: set[int] = field(default_factory=set)

    def many(self, rows: Sequence[int]) -> list[LocalFeatures]:
        """Return the features of database rows."""
        wanted = self.rows[np.asarray(rows, np.int64)]
        there = wanted >= 0
        found = iter(self.features.many(wanted[there]))
        self.missing.update(row for row, ok in zip(rows, there, strict=True) if not ok)
        return [next(found) if ok else self.nothing for ok in there]


def matcher_of(settings: RerankConfig, local: LocalStage) -> Matcher:
    """Return how two images are compared."""
    return Matcher(
        metric=local.database.codec.metric,
        ratio=settings.ratio,
        model=settings.model,
        threshold=settings.threshold,
        floor=settings.floor,
    )


def extract_local(experiment: Experiment) -> LocalStage:
    """Describe queries and database by local features, as far as that is not done."""
    config, dataset, queries = experiment.config, experiment.dataset, experiment.queries
    settings, general = config.rerank, config.extraction
    options = LocalOptions(
        features=settings.keypoints or None,
        side=settings.side or None,
        device=general.device,
        threads=general.threads,
        seed=config.seed,
    )
    extractor = build(settings.features, options)
    spec, shards = extractor.spec.as_dict(), dataset.database
    seconds: dict[str, float] = {}
    reused: list[str] = []
    with ExitStack() as locks:
        codec, known = _codec(experiment, extractor, locks)
        reused += ["codec"] * known
        artifact = store.open_artifact(experiment.artifacts, "local", {"spec": spec, "codec": codec.digest})
        locks.enter_context(store.locked(artifact.folder))
        keys, whole = local_extraction.extract_local_shards(
            shards,
            extractor,
            codec,
            artifact,
            on_bad_image=general.on_bad_image,
            workers=general.workers,
            progress=experiment.tell("local features"),
        )
        own = store.open_artifact(
            experiment.artifacts, "local-queries", {"spec": spec, "box": general.query_box}
        )
        locks.enter_context(store.locked(own.folder))
        key, seen = local_extraction.extract_local_queries(
            queries,
            extractor,
            own,
            box_use="none" if general.query_box == "none" else "crop",
            workers=general.workers,
        )
    reused += ["local features"] * whole + ["local queries"] * seen
    stats = [store.read_stats(artifact, k) for k in keys]
    query_stats = store.read_stats(own, key)
    seconds["local features"] = sum(s.seconds for s in stats)
    seconds["local queries"] = query_stats.seconds
    stored = LocalSet(own, [key])
    return LocalStage(
        queries=tuple(codec.query(f) for f in stored.many(stored.rows_of([q.id for q in queries]))),
        database=LocalSet(artifact, keys),
        inputs={"local": [artifact.fingerprint, *keys], "local queries": [own.fingerprint, key]},
        seconds=seconds,
        reused=tuple(reused),
        images=sum(s.images for s in stats),
        peak_memory=max(s.peak_memory for s in [*stats, query_stats]),
    )


def _codec(experiment: Experiment, extractor: LocalExtractor, locks: ExitStack) -> tuple[Codec, bool]:
    config, dataset, spec = experiment.config, experiment.dataset, extractor.spec
    settings = settings_for(config.rerank.budget, spec.features, spec.dim, spec.metric)
    sample = {
        "shards": [shard.fingerprint() for shard in dataset.database],
        "images": config.extraction.fit_images,
        "seed": config.seed,
    }
    inputs = {"spec": extractor.spec.as_dict(), "codec": to_dict(settings), "sample": sample}
    artifact = store.open_artifact(experiment.artifacts, "codec", inputs)
    locks.enter_context(store.locked(artifact.folder))
    return local_extraction.learn_codec(
        lambda: sample_records(dataset.database, config.extraction.fit_images, config.seed),
        extractor,
        settings,
        artifact,
        seed=config.seed,
        on_bad_image=config.extraction.on_bad_image,
        workers=config.extraction.workers,
        progress=experiment.tell("codec"),
    )


@dataclass(frozen=True)
class Reranked:
    """What re-ranking gives.

    Args:
        ranking: The final ranking.
        evidence: About the shortlists.
        weights: (Q,) weight of the local score; NaN for rank fusion.
        missing: Shortlisted images without stored features.
        seconds: When the evidence was computed.
        reused: Whether the evidence was there already.
        peak_memory: Largest resident memory of the process that computed, bytes.
    """

    ranking: Ranking
    evidence: Evidence
    weights: Float32
    missing: int
    seconds: float
    reused: bool
    peak_memory: int


def rerank_stage(
    experiment: Experiment,
    local: LocalStage,
    ranking: Ranking,
    search_fingerprint: str,
    truth: GroundTruth,
    instances: Sequence[str],
) -> Reranked:
    """Gather the evidence about the shortlists, as far as that is not done, and fuse it."""
    config = experiment.config
    settings = config.rerank
    matcher = matcher_of(settings, local)
    inputs = {
        **local.inputs,
        "ranking": search_fingerprint,
        "matcher": to_dict(matcher),
        "shortlist": settings.shortlist,
    }
    artifact = store.open_artifact(experiment.artifacts, "evidence", inputs)
    path = artifact.folder / "evidence.npz"
    with store.locked(artifact.folder):
        reused = path.exists()
        if not reused:
            rows = local.rows_of(ranking)
            started = time.perf_counter()
            found = gather(
                ranking,
                local.queries,
                rows,
                matcher,
                shortlist=settings.shortlist,
                workers=config.extraction.workers,
                progress=experiment.tell("re-ranking"),
            )
            stats = {
                "seconds": time.perf_counter() - started,
                "peak_memory": peak_memory(),
                "missing": len(rows.missing),
            }
            store.write_json(artifact.folder / "stats.json", stats)
            store.write_arrays(path, {"rows": found.rows, "inliers": found.inliers, "scores": found.scores})
        stats = store.read_json(artifact.folder / "stats.json")
        evidence = Evidence(**store.read_arrays(path))
    weights = _weights(config, ranking, evidence, truth, instances)
    fused = rerank(
        ranking,
        evidence,
        fusion="rank" if settings.fusion == "rank" else "score",
        weight=np.nan_to_num(weights),
    )
    return Reranked(
        fused, evidence, weights, stats["missing"], stats["seconds"], reused, stats["peak_memory"]
    )


def _weights(
    config: ExperimentConfig,
    ranking: Ranking,
    evidence: Evidence,
    truth: GroundTruth,
    instances: Sequence[str],
) -> Float32:
    settings = config.rerank
    if settings.fusion == "rank":
        return np.full(len(instances), np.nan, np.float32)
    fixed = np.full(len(instances), settings.weight, np.float32)
    if settings.fusion == "score":
        return fixed
    judged: dict[float, np.ndarray] = {}

    def accuracy(weight: float, queries: Sequence[int]) -> float:
        if weight not in judged:
            fused = rerank(ranking, evidence, weight=weight)
            judged[weight] = evaluate(
                fused, truth, definition=config.evaluation.definition, k=config.evaluation.k, bootstrap=1
            ).per_query
        return float(judged[weight][list(queries)].mean())

    learnt = calibrate(accuracy, instances, seed=config.seed)
    return np.where(np.isnan(learnt), fixed, learnt).astype(np.float32)


def explainer(
    config: ExperimentConfig, local: LocalStage, ranking: Ranking
) -> Callable[[int, int], Explanation]:
    """Return what says why a database row was found for a query, for pictures of the matches."""
    matcher = matcher_of(config.rerank, local)
    rows = local.rows_of(ranking)

    def explain(query: int, row: int) -> Explanation:
        [image] = rows.many([row])
        return matcher.explain(local.queries[query], image)

    return explain
