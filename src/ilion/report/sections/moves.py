"""Single results that re-ranking moved, and the choice of those that the report shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.evaluation.gains import places, wrong_in_front
from ilion.outcome import RunResult
from ilion.report.sections.facts import choose
from ilion.types import Float64, Int64, Ranking, Value

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
        inliers: Verified matches of the result.
        wrong_before: Wrong results in front of it before.
        wrong_after: Wrong results in front of it after.
    """

    query: int
    row: int
    before: int
    after: int
    hit: bool
    inliers: int
    wrong_before: int
    wrong_after: int

    @property
    def benefit(self) -> float:
        """Value of the move, [-1, 1].

        Of a positive, the change of its reciprocal rank among wrong results: other positives in front of it
        do no harm. Of a wrong result that overtook positives, minus the change of its reciprocal rank.
        """
        if self.hit:
            return 1 / (1 + self.wrong_after) - 1 / (1 + self.wrong_before)
        return 1 / self.before - 1 / self.after


@dataclass(frozen=True)
class Moves(Value):
    """The moves that the report shows.

    Args:
        groups: Name in `GROUPS` -> image queries by the change of their AP, each with its most telling move.
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

    Returns:
        None without re-ranking, or if its artifacts are gone.
    """
    reranking = result.reranking
    if reranking is None or reranking.ranking is None or reranking.inliers is None:
        return None
    before_ap = dict(zip(reranking.before.query_ids, reranking.before.per_query.tolist(), strict=True))
    evaluation = reranking.after or result.evaluation
    gains = np.array(
        [ap - before_ap[q] for q, ap in zip(evaluation.query_ids, evaluation.per_query.tolist(), strict=True)]
    )
    moves = [*_candidates(result, reranking.ranking, reranking.inliers)]
    texts = {query.id for query in result.dataset.queries if query.text is not None}
    pictures = [q for q, name in enumerate(evaluation.query_ids) if name not in texts]
    chosen = choose(gains[pictures].tolist(), max(gallery // 2, min(gallery, 3)))
    groups = {
        "best": tuple(move for q in chosen.best if (move := moves[pictures[q]].rise)),
        "typical": tuple(move for q in chosen.typical if (move := moves[pictures[q]].rise)),
        "worst": tuple(move for q in chosen.worst if (move := moves[pictures[q]].worst)),
    }
    shown = {(m.query, m.row) for group in groups.values() for m in group}
    most = -(-gallery // 4)
    fallen = _worst_of_all((m.fallen for m in moves), shown)[:most]
    climbed = _worst_of_all((m.climbed for m in moves), shown)[:most]
    return Moves(groups, fallen, climbed, gains)


@dataclass(frozen=True)
class _Candidates:
    """What may be shown of one query: its best positive, and the two worst harms of each kind.

    Two, because the worst may be shown among the queries already.
    """

    rise: Move | None
    fallen: tuple[Move, ...]
    climbed: tuple[Move, ...]

    @property
    def worst(self) -> Move | None:
        """The worst harm, or without any harm the best positive."""
        return min((*self.fallen[:1], *self.climbed[:1]), key=lambda m: m.benefit, default=self.rise)


def _worst_of_all(moves: Iterable[Sequence[Move]], shown: set[tuple[int, int]]) -> tuple[Move, ...]:
    """Order harms from the worst, one a query: ten victims of one mistake tell no more than one."""
    first = [next((m for m in some if (m.query, m.row) not in shown), None) for some in moves]
    return tuple(sorted((m for m in first if m), key=lambda m: (m.benefit, m.query)))


def _candidates(result: RunResult, ranking: Ranking, inliers: Int64) -> Iterator[_Candidates]:
    """Yield what may be shown of every query, in the order of the evaluation."""
    truth, size = result.ground_truth, inliers.shape[1]
    number = {query: q for q, query in enumerate(result.ranking.query_ids)}
    both = (ranking, result.ranking)
    ranks = [places(each, truth)[:, :size] for each in both]
    wrongs = [wrong_in_front(each, truth)[:, :size] for each in both]
    for position, query in enumerate(result.evaluation.query_ids):
        q = number[query]
        rows, back = ranking.indices[q, :size], np.argsort(result.ranking.indices[q, :size], kind="stable")
        there = np.argsort(rows, kind="stable")
        before, after = ranks[0][q], np.empty(size, np.int64)
        wrong_before, wrong_after = wrongs[0][q], np.empty(size, np.int64)
        after[there], wrong_after[there] = ranks[1][q][back], wrongs[1][q][back]
        hits = np.isin(rows, truth.positives[q])
        table = np.stack(
            [np.full(size, position), rows, before, after, hits, inliers[q], wrong_before, wrong_after],
            axis=1,
        )
        gain = 1 / (1 + wrong_after) - 1 / (1 + wrong_before)
        rise = np.flatnonzero(hits)
        rise = rise[np.lexsort((after[rise], -inliers[q][rise], -gain[rise]))]
        # of wrong results, those that overtook a positive
        passed = (before - wrong_before > after - wrong_after) & (after < before) & ~hits & (before > 0)
        climb = np.flatnonzero(passed)
        climb = climb[np.argsort(1 / before[climb] - 1 / after[climb], kind="stable")]
        fallen = rise[::-1][gain[rise[::-1]] < 0]
        best = _made(table[rise[:1]])
        yield _Candidates(best[0] if best else None, _made(table[fallen[:2]]), _made(table[climb[:2]]))


def _made(table: Int64) -> tuple[Move, ...]:
    return tuple(Move(q, row, old, new, bool(hit), *rest) for q, row, old, new, hit, *rest in table.tolist())
