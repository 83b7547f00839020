"""What the report says about single queries: ranks of positives, which queries to show, wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilion.errors import ArtifactError
from ilion.outcome import RunResult
from ilion.types import Bool, Float64, Int64, Query, Value


@dataclass(frozen=True)
class QueryFacts(Value):
    """One query's outcome.

    Args:
        query: The query.
        ap: AP@k of the query, [0, 1].
        positives: Number of its positives, unreachable ones included.
        rows: Database rows of its results up to the cut-off.
        similarities: Similarities of the results.
        ranks: 1-based rank of each result; 0 for an ignored one, which takes no rank.
        hits: Whether each result is a positive.
        hit_ranks: Ranks of the positives that were found, ascending.
    """

    query: Query
    ap: float
    positives: int
    rows: Int64
    similarities: Float64
    ranks: Int64
    hits: Bool
    hit_ranks: Int64

    @property
    def first_rank(self) -> int:
        """Rank of the best positive, 0 if none was found."""
        return int(self.hit_ranks[0]) if self.hit_ranks.size else 0

    @property
    def hit_at_1(self) -> bool:
        """Whether the first result is a positive."""
        return self.first_rank == 1


@dataclass(frozen=True)
class Outcome:
    """All queries of one run, in the order of its evaluation."""

    queries: tuple[QueryFacts, ...]
    k: int

    @property
    def never_found(self) -> tuple[str, ...]:
        """Instances of which no query has a positive within the cut-off, sorted."""
        found = {f.query.instance for f in self.queries if f.first_rank}
        return tuple(sorted({f.query.instance for f in self.queries} - found))


def outcome(result: RunResult) -> Outcome:
    """Bring ranking, ground truth and evaluation of a run together, query by query.

    Raises:
        ArtifactError: The three are not about the same queries.
    """
    evaluation, ranking, truth = result.evaluation, result.ranking, result.ground_truth
    known = {query.id: query for query in result.dataset.queries}
    ranked = {query_id: row for row, query_id in enumerate(ranking.query_ids)}
    true = {query_id: row for row, query_id in enumerate(truth.query_ids)}
    queries = []
    for query_id, ap in zip(evaluation.query_ids, evaluation.per_query, strict=True):
        for where, ids in (("data set", known), ("ranking", ranked), ("ground truth", true)):
            if query_id not in ids:
                raise ArtifactError(
                    f"run {result.name!r}: query {query_id!r} was evaluated but is not in the {where}; "
                    "they are from different runs, so run again"
                )
        row, t = ranked[query_id], true[query_id]
        count = int(ranking.counts[row])
        rows = ranking.indices[row, :count]
        counted = ~np.isin(rows, truth.ignored[t])
        within = np.cumsum(counted) <= evaluation.k
        rows, counted = rows[within], counted[within]
        hits = np.isin(rows, truth.positives[t])
        ranks = np.where(counted, np.cumsum(counted), 0)
        queries.append(
            QueryFacts(
                query=known[query_id],
                ap=float(ap),
                positives=len(truth.positives[t]) + int(truth.unreachable[t]),
                rows=rows,
                similarities=ranking.similarities[row, :count][within].astype(np.float64),
                ranks=ranks,
                hits=hits,
                hit_ranks=ranks[hits],
            )
        )
    return Outcome(tuple(queries), evaluation.k)


def recall_by_rank(queries: Sequence[QueryFacts], k: int) -> tuple[Float64, Float64]:
    """Return, for each rank 1..k, the mean recall and the share of queries with at least one positive.

    Args:
        queries: Q queries; one without positives counts as zero.
        k: Cut-off.

    Returns:
        Two arrays (k,), fractions, both never falling.
    """
    recall, any_hit = np.zeros(k), np.zeros(k)
    for facts in queries:
        if facts.hit_ranks.size:
            np.add.at(recall, facts.hit_ranks - 1, 1 / facts.positives)
            any_hit[facts.hit_ranks[0] - 1] += 1
    n = max(len(queries), 1)
    return np.cumsum(recall) / n, np.cumsum(any_hit) / n


@dataclass(frozen=True)
class Chosen:
    """The queries that the gallery shows, as positions in the outcome."""

    worst: tuple[int, ...]
    typical: tuple[int, ...]
    best: tuple[int, ...]


def choose(aps: Sequence[float], count: int) -> Chosen:
    """Choose the worst, the best and the queries nearest to the median, a third each.

    Ties go to the earlier query. With fewer queries than asked for, each is shown once.

    >>> choose([0.9, 0.1, 0.5, 0.4, 0.6], 3)
    Chosen(worst=(1,), typical=(2,), best=(0,))
    """
    order = sorted(range(len(aps)), key=lambda i: (aps[i], i))
    shown = min(count, len(order))
    third = shown // 3
    worst, best = order[:third], sorted(order[len(order) - third :], key=lambda i: (-aps[i], i))
    left = order[third : len(order) - third]
    median = float(np.median(aps)) if len(order) else 0.0
    nearest = sorted(left, key=lambda i: (abs(aps[i] - median), i))[: shown - 2 * third]
    return Chosen(tuple(worst), tuple(sorted(nearest, key=lambda i: (aps[i], i))), tuple(best))


@dataclass(frozen=True)
class WrongAnswer:
    """A result that is not a positive: query ``query`` (position), its result ``position``."""

    query: int
    position: int


def wrong_answers(queries: Sequence[QueryFacts], count: int) -> tuple[WrongAnswer, ...]:
    """Return the highest-ranked wrong results of all queries: by rank, then by similarity."""
    found: list[tuple[int, float, WrongAnswer]] = []
    for i, facts in enumerate(queries):
        wrong = np.flatnonzero(~facts.hits & (facts.ranks > 0))[:count]
        found += [(int(facts.ranks[p]), -float(facts.similarities[p]), WrongAnswer(i, int(p))) for p in wrong]
    found.sort(key=lambda item: (item[0], item[1], item[2].query))
    return tuple(answer for _, _, answer in found[:count])


def instances_of_rows(result: RunResult, rows: set[int]) -> dict[int, str]:
    """Return which instance each of some database rows shows, as far as any query's positives say so."""
    instance = {query.id: query.instance for query in result.dataset.queries}
    wanted = np.fromiter(sorted(rows), np.int64, len(rows))
    shown: dict[int, str] = {}
    for query_id, positives in zip(result.ground_truth.query_ids, result.ground_truth.positives, strict=True):
        for row in np.intersect1d(wanted, positives, assume_unique=True):
            shown.setdefault(int(row), instance[query_id])
    return shown
