"""The results of a run: accuracy, cost, and what was left out. Frozen, like everything that flows.

Letters in the shapes: Q queries, S images of a shortlist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from ilion.errors import ArtifactError
from ilion.types import Float32, Float64, GroundTruth, Int64, Ranking, RetrievalDataset, Value
from ilion.wording import counted


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval, fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class SliceResult:
    """Mean AP of one slice.

    Args:
        axis: Name of the axis, such as ``scale`` or ``category``.
        label: Range or label, such as ``0.069 to 0.135`` or ``dairy``.
        mean: Mean AP, [0, 1].
        ci95: Bootstrap interval over instances.
        queries: Number of queries.
        instances: Number of instances.
        positives: Number of pairs of query and positive.
    """

    axis: str
    label: str
    mean: float
    ci95: Interval
    queries: int
    instances: int
    positives: int


@dataclass(frozen=True)
class Evaluation(Value):
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
        without_evidence: Ids of the queries to which all results are equally similar, or that have none.

    Raises:
        ArtifactError: Parts are not of the same queries, or not of the same metrics.
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
    without_evidence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = (self.query_ids, self.instances, self.per_query, *self.per_query_metrics.values())
        names = {frozenset(part) for part in (self.metrics, self.metric_ci95, self.per_query_metrics)}
        if len({len(part) for part in parts}) > 1 or len(names) > 1:
            raise ArtifactError("the parts of an evaluation are not of the same queries and metrics")

    def _repr_html_(self) -> str:
        """Return a table of the metrics with their 95% intervals, for notebooks."""
        rows = {f"mAP@{self.k} ({self.definition})": (self.mean, self.ci95)} | {
            name: (value, self.metric_ci95[name]) for name, value in self.metrics.items()
        }
        cells = (
            f"<tr><th>{escape(name)}</th><td>{value:.4f}</td><td>{ci.low:.4f} to {ci.high:.4f}</td></tr>"
            for name, (value, ci) in rows.items()
        )
        head = (
            f"<tr><th>{counted(len(self.query_ids), 'query', 'queries')}</th><th>mean</th><th>95% "
            "interval</th></tr>"
        )
        return f"<table>{head}{''.join(cells)}</table>"


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
class Cost(Value):
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
    """Change of mAP from one ranking to another of the same queries; see
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
        unverified_lowered: Number of ``unverified`` with more wrong results in front than before.
        beyond: In the database, but not in the shortlist.
        unreachable: Not in the database of the run.
        before: mAP before re-ranking.
        gained: Sum of what queries won, in mAP.
        lost: Sum of what other queries lost, in mAP; not negative.
        gained_queries: Number of queries that won.
        lost_queries: Number of queries that lost.
        outranked: Gain in mAP if every verified positive stood in front of its shortlist.
        unmatched: Further gain if the other positives of the shortlist stood there too; with
            ``outranked``, the headroom up to the oracle of the shortlist.
        out_of_reach: mAP that no re-ordering of the shortlist gains.
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
        change: Change from the compressed features of the run to these.
        lost: Positives of the shortlists with a verified match only at full precision.
        found: Positives with a verified match only after compression.
        bytes_per_image: Stored bytes of local features at full precision.
        seconds: Time that this measurement took beyond the run, when it was computed.
    """

    mean: float
    change: Change
    lost: int
    found: int
    bytes_per_image: float
    seconds: float


@dataclass(frozen=True)
class Reranking(Value):
    """The effect of re-ranking. Values from artifacts are None where a finished run has lost them.

    Args:
        before: Evaluation of the ranking before.
        ranking: The ranking before.
        shortlist: Number of first results that were compared.
        inliers: (Q, S) verified matches, in the order of the ranking before; a text has none.
        weights: (Q,) share of the local score; NaN for rank fusion and for texts.
        fusion: Name of the fusion of both scores.
        missing: Shortlisted images without stored local features.
        explain: Function from a query number and a database row to the features, matches and box behind it.
        scorer: Name of the scorer that compared the images.
        folds: (Q,) part of each query; a calibrated share was learnt on the other parts. None or all 0 where
            nothing was learnt.
        ledger: Gains and losses of each stage.
        change: Change from the ranking before to the re-ranked one.
        after: Evaluation of the re-ranked ranking, where a model that was asked put its first results in
            another order; None where it is the final one.
        full: Cost of compression; None where nothing was compressed, or where it is not known.
        sources: Content (``ranking``, ``evidence``) -> folder of the artifact that holds it.
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
    after: Evaluation | None = None
    full: FullPrecision | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MissingShard:
    """A part of the database that could not be described, where a result without it was asked for.

    Args:
        name: Name of the shard.
        images: Number of its images; 0 where that is not known.
        reason: Cause of the failure.
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
class Reading(Value):
    """The effect of reading the words in photos.

    Args:
        use: ``only`` or ``fused``.
        fusion: Name of the fusion with the text; "" where it was used alone.
        weights: (Q,) share of the text; NaN for rank fusion and where it was used alone.
        folds: (Q,) part of each query; a calibrated share was learnt on the other parts. All 0 where nothing
            was learnt.
        before: Evaluation of the visual ranking; None where there was none.
        change: Change from the visual to the fused ranking; None where there was none.
        with_text: Share of the database images in which something was read.
        silent: Queries that have no word which the database has.
        ms_per_image: Milliseconds to read a database image.
        bytes_per_image: Stored bytes of texts an image.
        explain: Function from a query number and a database row to what was read in both; None where a
            finished run has lost the stored texts.
        sources: Artifacts of the texts, for loading them again: ``texts`` and ``query-texts`` -> folder of
            the artifact, then its keys.
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
class RunResult(Value):
    """The result of one run: all that a report or a comparison needs.

    Args:
        name: The experiment's name.
        design: A short name of the method, such as ``efficientnet-lite2``.
        dataset: The data set that was searched.
        ranking: The final ranking.
        ground_truth: Positives as rows of ``ranking.database_ids``.
        evaluation: The accuracy.
        cost: The cost.
        skipped: Images that could not be used.
        provenance: Nested, printable facts: config, extractor spec, fingerprints, versions, date.
        reranking: Effect of re-ranking; None without it.
        reading: Effect of reading; None without it.
        missing: Parts of the database that the run lacks.
        protocols: Name of a protocol of the benchmark's authors -> what it says about this ranking.
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
    protocols: Mapping[str, Evaluation] = field(default_factory=dict)

    def name_of(self, evaluation: Evaluation) -> str:
        """Return the name of a mean AP: without a cut-off where it is the size of the database."""
        cut = "" if evaluation.k == len(self.ranking.database_ids) else f"@{evaluation.k}"
        return f"mAP{cut} ({evaluation.definition})"

    def _repr_html_(self) -> str:
        """Return name, metrics and cost as HTML, for notebooks."""
        cost, size = self.cost, len(self.ranking.database_ids)
        return (
            f"<p><b>{escape(self.name)}</b>: {escape(self.design)} on {escape(self.dataset.name)}, "
            f"{counted(size, 'image')}; {cost.extraction_ms_per_image:.1f} ms "
            f"and {cost.bytes_per_image:,.0f} bytes "
            f"an image, {cost.search_ms_per_query:.2f} ms a query</p>{self.evaluation._repr_html_()}"
        )


@dataclass(frozen=True)
class SweepRun(Value):
    """One run of a sweep.

    Args:
        settings: Setting -> its value, as written.
        folder: Output folder of the run.
        design: A short name of the method.
        evaluation: The accuracy.
        cost: The cost.
        difference: Mean AP minus that of the first run.
        ci95: 95% interval of the difference over instances, paired by query.
        same_as: Number of an earlier run that stores the same and found the same; None for a run of its own.
    """

    settings: Mapping[str, str]
    folder: str
    design: str
    evaluation: Evaluation
    cost: Cost
    difference: float
    ci95: Interval
    same_as: int | None = None

    @property
    def named(self) -> Mapping[str, str]:
        """Settings with their values as people read them."""
        said = {("rerank.budget", "0"): "0 (full precision)"}
        return {name: said.get((name, value), value) for name, value in self.settings.items()}


@dataclass(frozen=True)
class SweepFailure:
    """A combination of settings that failed, and why."""

    settings: Mapping[str, str]
    error: str


@dataclass(frozen=True)
class Sweep(Value):
    """Runs of one experiment with some settings varied.

    Args:
        name: The experiment's name.
        dataset: Name of the data set.
        axes: Setting -> its values.
        runs: The runs in the order of the values; at least one.
        failed: Combinations that failed.
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
        front, best = set(), -1.0
        for number in sorted(range(len(self.runs)), key=lambda n: (costs[n], -means[n], n)):
            if means[number] > best:
                front.add(number)
                best = means[number]
        return frozenset(front)
