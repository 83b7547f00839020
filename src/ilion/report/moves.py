"""Which single results re-ranking moved, and which of them the report shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.ledger import places
from ilion.outcome import RunResult
from ilion.report.facts import choose
from ilion.types import Float64, Int64, Ranking

GROUPS = ("best", "typical", "worst")


@dataclass(frozen=True)
class Move:
    """One result of one query, before and after re-ranking.

    Args:
        query: Position in the outcome of the run.
        row: Database row.
        before: Rank before, 1-based.
        after: Rank after.
        hit: Whether it is a positive.
        inliers: Its verified matches.
    """

    query: int
    row: int
    before: int
    after: int
    hit: bool
    inliers: int

    @property
    def benefit(self) -> float:
        """What the move does to the reciprocal rank of a positive, or undoes to that of a wrong result."""
        gain = 1 / self.after - 1 / self.before
        return gain if self.hit else -gain


@dataclass(frozen=True)
class Moves:
    """The moves that the report shows.

    Args:
        groups: Of `GROUPS`: queries by the change of their AP, each with its most telling move.
        fallen: Positives that lost most.
        climbed: Wrong results that won most.
        gains: (Q,) change of AP of every query, in the order of the outcome.
    """

    groups: dict[str, tuple[Move, ...]]
    fallen: tuple[Move, ...]
    climbed: tuple[Move, ...]
    gains: Float64

    def all(self) -> Iterable[Move]:
        """Yield all moves that are shown."""
        for group in self.groups.values():
            yield from group
        yield from self.fallen
        yield from self.climbed


def choose_moves(result: RunResult, gallery: int) -> Moves | None:
    """Choose the moves to show: half as many queries as the gallery has, and a quarter of it of each harm.

    Args:
        result: A run with re-ranking.
        gallery: Queries in the gallery.

    Returns:
        None without re-ranking, or if its artifacts are gone.
    """
    reranking = result.reranking
    if reranking is None or reranking.ranking is None or reranking.inliers is None:
        return None
    before_ap = dict(zip(reranking.before.query_ids, reranking.before.per_query.tolist(), strict=True))
    evaluation = result.evaluation
    gains = np.array(
        [ap - before_ap[q] for q, ap in zip(evaluation.query_ids, evaluation.per_query.tolist(), strict=True)]
    )
    moves = _moves(result, reranking.ranking, reranking.inliers)
    chosen = choose(gains.tolist(), max(gallery // 2, min(gallery, 3)))
    groups = {
        "best": _telling(chosen.best, moves, worst=False),
        "typical": _telling(chosen.typical, moves, worst=False),
        "worst": _telling(chosen.worst, moves, worst=True),
    }
    shown = {(m.query, m.row) for group in groups.values() for m in group}
    left = [m for some in moves for m in some if m.benefit < 0 and (m.query, m.row) not in shown]
    left.sort(key=lambda m: (m.benefit, m.query, m.row))
    most = -(-gallery // 4)
    fallen = _one_a_query(m for m in left if m.hit)[:most]
    climbed = _one_a_query(m for m in left if not m.hit)[:most]
    return Moves(groups, fallen, climbed, gains)


def _one_a_query(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Keep the first move of each query: ten victims of one mistake tell no more than one."""
    first: dict[int, Move] = {}
    for move in moves:
        first.setdefault(move.query, move)
    return tuple(first.values())


def _telling(queries: Sequence[int], moves: Sequence[Sequence[Move]], *, worst: bool) -> tuple[Move, ...]:
    """Choose one move of each query: the positive that won most, or the worst harm."""
    told = []
    for q in queries:
        hits = [m for m in moves[q] if m.hit]
        pool = moves[q] if worst and any(m.benefit < 0 for m in moves[q]) else hits
        if pool:
            sign = 1 if worst else -1
            told.append(min(pool, key=lambda m: (sign * m.benefit, -m.inliers, m.after, m.row)))
    return tuple(told)


def _moves(result: RunResult, ranking: Ranking, inliers: Int64) -> list[list[Move]]:
    """Return the moves of every query's shortlist, queries in the order of the evaluation."""
    truth, size = result.ground_truth, inliers.shape[1]
    old_rows, new_rows = ranking.indices[:, :size], result.ranking.indices[:, :size]
    old, new = places(ranking, truth)[:, :size], places(result.ranking, truth)[:, :size]
    number = {query: q for q, query in enumerate(result.ranking.query_ids)}
    found = []
    for position, query in enumerate(result.evaluation.query_ids):
        q = number[query]
        after: dict[int, int] = dict(zip(new_rows[q].tolist(), new[q].tolist(), strict=True))
        hits = np.isin(old_rows[q], truth.positives[q])
        found.append(_of_query(position, old_rows[q], old[q], after, hits.tolist(), inliers[q]))
    return found


def _of_query(
    position: int, rows: Int64, before: Int64, after: dict[int, int], hits: list[bool], inliers: Int64
) -> list[Move]:
    return [
        Move(position, row, rank, after[row], hit, count)
        for row, rank, hit, count in zip(rows.tolist(), before.tolist(), hits, inliers.tolist(), strict=True)
        if row >= 0 and rank
    ]
