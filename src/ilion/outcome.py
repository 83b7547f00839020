"""What a run comes to: accuracy, cost, and what was left out. Frozen, like everything that flows.

Letters in the shapes: Q queries, S images of a shortlist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ilion.types import Float32, Float64, GroundTruth, Int64, Ranking, RetrievalDataset


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval, fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class SliceResult:
    """Mean AP of one slice.

    Args:
        axis: Such as ``scale`` or ``category``.
        label: Such as ``0.069 to 0.135`` or ``dairy``.
        mean: Mean AP, [0, 1].
        ci95: Bootstrap interval over instances.
        queries: How many queries take part.
        instances: How many instances take part.
        positives: How many positives take part (pairs of query and positive).
    """

    axis: str
    label: str
    mean: float
    ci95: Interval
    queries: int
    instances: int
    positives: int


@dataclass(frozen=True)
class Evaluation:
    """How well a ranking finds the positives. Fractions; percent is only for people.

    Args:
        definition: ``ilias``, ``trec`` or ``revisited``.
        k: Cut-off.
        query_ids: Q ids.
        instances: (Q,) instance of each query.
        per_query: (Q,) AP@k in [0, 1].
        mean: Mean of ``per_query``.
        ci95: 95% bootstrap interval over instances.
        metrics: Name (``recall@1000``, ``R@1``, ``P@10``, ``oracle@1000`` ...) -> mean.
        metric_ci95: The same names -> interval.
        per_query_metrics: The same names -> (Q,) values.
        slices: All slices.
        unreachable: Number of (query, positive) pairs whose positive is not in the database.
        ties: ``rank`` (the order of the ranking decides) or ``step`` (tied similarities form one step).
    """

    definition: str
    k: int
    query_ids: tuple[str, ...]
    instances: tuple[str, ...]
    per_query: Float64
    mean: float
    ci95: Interval
    metrics: Mapping[str, float]
    metric_ci95: Mapping[str, Interval]
    per_query_metrics: Mapping[str, Float64]
    slices: tuple[SliceResult, ...]
    unreachable: int
    ties: str = "rank"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be used and was counted instead (``on_bad_image="skip"``)."""

    id: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the cost was measured."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    accelerator: str = ""


@dataclass(frozen=True)
class Cost:
    """What a run costs, beside its accuracy. Times are wall-clock and were measured when the stage ran.

    Args:
        extraction_ms_per_image: Milliseconds a database image (decoding included).
        query_ms_per_query: Milliseconds to describe one query.
        bytes_per_image: Stored bytes a database image.
        search_ms_per_query: Milliseconds a query, all stages after extraction.
        peak_memory_bytes: Largest resident memory of the process.
        stage_seconds: Stage -> seconds, in pipeline order.
        reused: Stages whose artifacts were reused; their seconds are from the run that made them.
        machine: The machine.
    """

    extraction_ms_per_image: float
    query_ms_per_query: float
    bytes_per_image: float
    search_ms_per_query: float
    peak_memory_bytes: int
    stage_seconds: Mapping[str, float]
    reused: tuple[str, ...]
    machine: Machine


@dataclass(frozen=True)
class Reranking:
    """What re-ranking changed.

    Args:
        before: Evaluation of the ranking before.
        ranking: The ranking before.
        shortlist: How many first results were looked at.
        inliers: (Q, S) verified matches, in the order of the ranking before.
        weights: (Q,) weight of the local score; NaN for rank fusion.
        fusion: How scores were fused.
        missing: Shortlisted images without stored local features.
        explain: From a query number and a database row to the features, matches and box behind it.
        scorer: What compared the images.
        folds: (Q,) part of each query; a calibrated weight was learnt on the other parts. None or all 0 where
            nothing was learnt.
    """

    before: Evaluation
    ranking: Ranking
    shortlist: int
    inliers: Int64
    weights: Float32
    fusion: str
    missing: int
    explain: Callable[[int, int], Any]
    scorer: str = "geometry"
    folds: Int64 | None = None


@dataclass(frozen=True)
class RunResult:
    """Everything that a report or a comparison needs to know about one run.

    Args:
        name: The experiment's name.
        design: A short name of the method, such as ``efficientnet-lite2``.
        dataset: The data set that was searched.
        ranking: The final ranking.
        ground_truth: In rows of ``ranking.database_ids``.
        evaluation: The accuracy.
        cost: The cost.
        skipped: Images that could not be used.
        provenance: Nested, printable facts: config, extractor spec, fingerprints, versions, date.
        reranking: What re-ranking changed; None without it.
    """

    name: str
    design: str
    dataset: RetrievalDataset
    ranking: Ranking
    ground_truth: GroundTruth
    evaluation: Evaluation
    cost: Cost
    skipped: tuple[Skipped, ...]
    provenance: Mapping[str, object]
    reranking: Reranking | None = None
