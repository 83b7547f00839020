"""What a run comes to: accuracy, cost, and what was left out. Frozen, like everything that flows.

Letters in the shapes: Q queries, S images of a shortlist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
class Change:
    """How mAP changes from one ranking to another of the same queries; see
    `ilion.evaluation.compare.Comparison`.

    Args:
        difference: Mean AP after minus before.
        ci95: Paired 95% bootstrap interval over instances.
        p_value: Two-sided, of a sign-flip test over instances.
        better: Queries that win.
        worse: Queries that lose.
    """

    difference: float
    ci95: Interval
    p_value: float
    better: int
    worse: int


@dataclass(frozen=True)
class Ledger:
    """Positives (pairs of query and positive) by what became of them, and mAP by what it takes to gain it.

    ``lifted + kept + lowered + unverified + beyond + unreachable`` are all pairs.
    ``before + gained - lost`` is the mAP after re-ranking; with ``outranked + unmatched + out_of_reach`` it
    is 1.

    Args:
        lifted: In the shortlist, verified, with fewer wrong results in front than before. That another
            positive overtakes it is no loss, so ranks do not count here.
        kept: In the shortlist, verified, with as many wrong results in front.
        lowered: In the shortlist, verified, and yet with more wrong results in front.
        unverified: In the shortlist without a verified match.
        unverified_lowered: How many of those have more wrong results in front.
        beyond: In the database, but not in the shortlist.
        unreachable: Not in the database of the run.
        before: mAP before re-ranking.
        gained: mAP that queries won, in all.
        lost: mAP that other queries lost, in all; not negative.
        gained_queries: How many queries won.
        lost_queries: How many lost.
        outranked: What mAP would still gain if every verified positive stood in front of its shortlist.
        unmatched: What it would gain further if the other positives of the shortlist stood there too; with
            ``outranked``, the headroom up to the oracle of the shortlist.
        out_of_reach: What no re-ordering of the shortlist gains.
        verifies: Whether the scorer verifies matches. If not, every image that it compared counts as such.
    """

    lifted: int
    kept: int
    lowered: int
    unverified: int
    unverified_lowered: int
    beyond: int
    unreachable: int
    before: float
    gained: float
    lost: float
    gained_queries: int
    lost_queries: int
    outranked: float
    unmatched: float
    out_of_reach: float
    verifies: bool = True

    @property
    def pairs(self) -> int:
        """All pairs of query and positive."""
        found = self.lifted + self.kept + self.lowered + self.unverified
        return found + self.beyond + self.unreachable

    @property
    def after(self) -> float:
        """The mAP after re-ranking."""
        return self.before + self.gained - self.lost

    @property
    def oracle(self) -> float:
        """The mAP that a perfect re-ordering of the shortlist reaches."""
        return 1 - self.out_of_reach


@dataclass(frozen=True)
class FullPrecision:
    """What re-ranking reaches with features as they were found, before compression.

    Args:
        mean: mAP.
        change: From the compressed features of the run to these.
        lost: Positives of the shortlists with a verified match only at full precision.
        found: Positives with a verified match only after compression.
        bytes_per_image: Stored bytes of local features at full precision.
        seconds: What finding out took, beyond the run itself, when it was computed.
    """

    mean: float
    change: Change
    lost: int
    found: int
    bytes_per_image: float
    seconds: float


@dataclass(frozen=True)
class Reranking:
    """What re-ranking changed. What comes from artifacts is None where a finished run has lost them.

    Args:
        before: Evaluation of the ranking before.
        ranking: The ranking before.
        shortlist: How many first results were looked at.
        inliers: (Q, S) verified matches, in the order of the ranking before; a text has none.
        weights: (Q,) weight of the local score; NaN for rank fusion and for texts.
        fusion: How scores were fused.
        missing: Shortlisted images without stored local features.
        explain: From a query number and a database row to the features, matches and box behind it.
        scorer: What compared the images.
        folds: (Q,) part of each query; a calibrated weight was learnt on the other parts. None or all 0 where
            nothing was learnt.
        ledger: What each stage gained and lost.
        change: From the ranking before to the final one.
        full: What compression costs; None where nothing was compressed, or where it is not known.
        sources: Artifacts by what they hold, for reading them again: ``ranking``, ``evidence``.
    """

    before: Evaluation
    ranking: Ranking | None
    shortlist: int
    inliers: Int64 | None
    weights: Float32
    fusion: str
    missing: int
    explain: Callable[[int, int], Any]
    scorer: str = "geometry"
    folds: Int64 | None = None
    ledger: Ledger | None = None
    change: Change | None = None
    full: FullPrecision | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MissingShard:
    """A part of the database that could not be described, where a result without it was asked for.

    Args:
        name: Of the shard.
        images: How many images it holds; 0 where that is not known.
        reason: What went wrong.
    """

    name: str
    images: int
    reason: str


@dataclass(frozen=True)
class ReadPair:
    """What was read in a result, and what of it speaks for it.

    Args:
        asked: Words of the query, each with whether the result has something like it.
        lines: Lines read in the result: words, each with whether the query asks for something like it.
    """

    asked: tuple[tuple[str, bool], ...]
    lines: tuple[tuple[tuple[str, bool], ...], ...]


@dataclass(frozen=True)
class Reading:
    """What the words on things did for a run.

    Args:
        use: ``only`` or ``fused``.
        fusion: How text was fused; "" where it was used alone.
        weights: (Q,) weight of the text; NaN for rank fusion and where it was used alone.
        folds: (Q,) part of each query; a calibrated weight was learnt on the other parts. All 0 where nothing
            was learnt.
        before: Evaluation of the visual ranking; None where there was none.
        change: From the visual to the fused ranking; None where there was none.
        with_text: Share of the database images in which something was read.
        silent: Queries that have no word which the database has.
        ms_per_image: Milliseconds to read a database image.
        bytes_per_image: Stored bytes of texts an image.
        explain: From a query number and a database row to what was read in both; None where a finished run
            has lost the stored texts.
        sources: What holds the texts, for reading them again: ``texts`` and ``query-texts`` -> folder of the
            artifact, then its keys.
    """

    use: str
    fusion: str
    weights: Float32
    folds: Int64
    before: Evaluation | None
    change: Change | None
    with_text: float
    silent: int
    ms_per_image: float
    bytes_per_image: float
    explain: Callable[[int, int], ReadPair] | None
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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
        reading: What reading did; None without it.
        missing: Parts of the database that the run lacks.
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
    reading: Reading | None = None
    missing: tuple[MissingShard, ...] = ()


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Args:
        settings: Setting -> its value, as written.
        folder: Output folder of the run.
        design: A short name of the method.
        evaluation: The accuracy.
        cost: The cost.
        difference: Mean AP minus that of the first run.
        ci95: 95% interval of the difference over instances, paired by query.
    """

    settings: Mapping[str, str]
    folder: str
    design: str
    evaluation: Evaluation
    cost: Cost
    difference: float
    ci95: Interval


@dataclass(frozen=True)
class SweepFailure:
    """A combination of settings that did not work, and why."""

    settings: Mapping[str, str]
    error: str


@dataclass(frozen=True)
class Sweep:
    """Runs of one experiment with some settings varied.

    Args:
        name: The experiment's name.
        dataset: Name of the data set.
        axes: Setting -> the values that were tried.
        runs: In the order of the values; at least one.
        failed: Combinations that did not work.
    """

    name: str
    dataset: str
    axes: Mapping[str, tuple[str, ...]]
    runs: tuple[SweepRun, ...]
    failed: tuple[SweepFailure, ...] = ()

    def front(self, kind: Literal["bytes", "ms"]) -> frozenset[int]:
        """Return the runs that none beats: no other one costs no more and is more accurate.

        Args:
            kind: Cost in ``bytes`` an image or ``ms`` a query.
        """
        costs = [r.cost.bytes_per_image if kind == "bytes" else r.cost.search_ms_per_query for r in self.runs]
        means = [r.evaluation.mean for r in self.runs]
        kept, best = set(), -1.0
        for number in sorted(range(len(self.runs)), key=lambda n: (costs[n], -means[n], n)):
            if means[number] > best:
                kept.add(number)
                best = means[number]
        return frozenset(kept)
