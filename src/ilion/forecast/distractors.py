"""Who stands above each positive: all that a forecast needs to know of a ranking.

Database images are of three kinds for a query: its positives, its distractors (images that are positive or
ignored for no query; their number grows with the database) and the rest (photos of other objects; their
number stays). Letters: Q queries, T found positives, M distractors kept of each query, D distractors in the
database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ilion.errors import ArtifactError
from ilion.evaluation.average_precision import Definition
from ilion.types import Bool, Float64, GroundTruth, Int64, Ranking, Value
from ilion.wording import counted

FEWEST = 100
"""Smallest number of distractors from which a forecast is made."""


@dataclass(frozen=True)
class DistractorCounts(Value):
    """Where the positives of each query stand among its distractors.

    Args:
        instances: (Q,) instance of each query.
        positives: (Q,) positives of each query, found or not.
        query: (T,) number of the query of each found positive, ascending.
        place: (T,) 1-based place among the found positives of its query.
        similarity: (T,) descending within a query.
        rest: (T,) other images above it, whose number stays.
        above: (T,) distractors above it.
        tops: (Q, M) similarities of the best distractors, descending; -inf where fewer were found.
        names: (Q, M) number of each of them, from 0 to U - 1: the same distractor has one number in all
            queries.
        distractors: Number of distractors D.
        cosines: Whether similarities are cosines; else a common scale is made of them, see `pool_scale`.
    """

    instances: tuple[str, ...]
    positives: Int64
    query: Int64
    place: Int64
    similarity: Float64
    rest: Int64
    above: Int64
    tops: Float64
    names: Int64
    distractors: int
    cosines: bool = True

    def average_precisions(self, above: Float64, definition: Definition, k: int) -> Float64:
        """Compute AP@k (Q,) of each query if ``above`` (T,) distractors stand above its positives."""
        rank = self.place + self.rest + above
        return credit(self.query, self.place, rank, self.positives, definition, k)

    def mean(self, definition: Definition, k: int) -> float:
        """Compute mAP@k of the ranking itself."""
        return float(self.average_precisions(self.above.astype(np.float64), definition, k).mean())


def credit(
    query: Int64, place: Int64, rank: Float64, positives: Int64, definition: Definition, k: int
) -> Float64:
    """Compute AP@k (Q,) from the ranks of the positives.

    Args:
        query: (T,) number of the query of each found positive.
        place: (T,) 1-based place among the found positives of its query.
        rank: (T,) 1-based rank among all results that count.
        positives: (Q,) positives of each query, found or not.
        definition: Definition of AP.
        k: Cut-off.
    """
    gained = place / rank
    if definition == "revisited":
        earlier = np.where(rank <= 1, 1.0, (place - 1) / np.maximum(rank - 1, 1))
        gained = (gained + earlier) / 2.0
    total = np.bincount(query, weights=np.where(rank <= k, gained, 0.0), minlength=len(positives))
    most = np.minimum(positives, k) if definition == "ilias" else positives
    precisions: Float64 = total / most
    return precisions


def count_distractors(
    ranking: Ranking,
    truth: GroundTruth,
    instances: Sequence[str],
    is_distractor: Bool,
    keep: int = 1000,
    *,
    cosines: bool = True,
) -> DistractorCounts:
    """Count the distractors above each positive in a ranking.

    Args:
        ranking: The results; of each query as many as AP is cut at, or all.
        truth: The ground truth, queries in the same order.
        instances: (Q,) instance of each query.
        is_distractor: (N,) whether a database row is positive or ignored for no query.
        keep: Largest M; more sharpen nothing.
        cosines: Whether similarities are cosines, or scores of another kind.

    Raises:
        ArtifactError: The queries differ, there are fewer than 100 distractors, or similarities exceed 1 and
            so are no cosines.
    """
    if ranking.query_ids != truth.query_ids or len(instances) != len(truth.query_ids):
        raise ArtifactError("the queries of ranking and ground truth differ; evaluate the run again")
    total = int(np.count_nonzero(is_distractor))
    if total < FEWEST:
        raise ArtifactError(
            f"the database has {counted(total, 'distractor')} (images that are positive or ignored for no "
            f"query); a forecast needs at least {FEWEST}"
        )
    if cosines and ranking.similarities.size and float(ranking.similarities.max()) > 1.001:
        raise ArtifactError(
            "similarities above 1 are no cosines of descriptors, and a forecast needs such rankings"
        )
    parts: list[tuple[Int64, ...]] = []
    similar: list[Float64] = []
    tops = np.full((len(instances), keep), -np.inf)
    who = np.full((len(instances), keep), -1, np.int64)
    for q, (rows, values, count) in enumerate(
        zip(ranking.indices, ranking.similarities, ranking.counts, strict=True)
    ):
        rows, values = rows[:count], values[:count].astype(np.float64)
        stays = ~np.isin(rows, truth.ignored[q])
        rows, values = rows[stays], values[stays]
        hit, distractor = np.isin(rows, truth.positives[q]), is_distractor[rows]
        best = values[distractor][:keep]
        tops[q, : len(best)] = best
        who[q, : len(best)] = rows[distractor][:keep]
        at = np.flatnonzero(hit)
        above = np.cumsum(distractor)[at]
        place = np.arange(1, len(at) + 1)
        parts.append((np.full(len(at), q), place, at + 1 - place - above, above))
        similar.append(values[at])
    query, place, rest, above = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    width = max(int(np.isfinite(tops).sum(axis=1).max()), 1)
    return DistractorCounts(
        tuple(instances),
        np.array([len(p) for p in truth.positives], np.int64) + truth.unreachable,
        query,
        place,
        np.concatenate(similar),
        rest,
        above,
        tops[:, :width],
        _renumber(who[:, :width]),
        total,
        cosines,
    )


def _renumber(rows: Int64) -> Int64:
    """Replace database rows by numbers without gaps; -1 gets one too."""
    _, names = np.unique(rows, return_inverse=True)
    numbered: Int64 = names.reshape(rows.shape).astype(np.int64)
    return numbered


def thin_distractors(
    known: DistractorCounts, share: float, rng: np.random.Generator, kept: int
) -> DistractorCounts:
    """Drop each distractor with the same chance: the counts in a smaller database, without a search.

    Positives far below the kept distractors are thin_distractors by a binomial draw of their counts.

    Args:
        known: Counts in the whole database.
        share: Share of the distractors that stay, (0, 1].
        rng: Generator that draws which distractors stay.
        kept: Best distractors M to keep of each query.

    >>> one = np.array([1])
    >>> known = DistractorCounts(("a",), one, one * 0, one, one * 0.5, one * 0, one * 2,
    ...                          np.array([[0.9, 0.8, 0.1]]), np.array([[0, 1, 2]]), 1000)
    >>> thin_distractors(known, 1.0, np.random.default_rng(0), 2).above
    array([2])
    """
    # a distractor is dropped for all queries or for none
    stays = (rng.random(int(known.names.max()) + 1) < share)[known.names] & np.isfinite(known.tops)
    order = np.argsort(~stays, axis=1, kind="stable")
    tops = np.take_along_axis(np.where(stays, known.tops, -np.inf), order, axis=1)[:, :kept]
    names = np.take_along_axis(known.names, order, axis=1)[:, :kept]
    seen = np.isfinite(known.tops).sum(axis=1)[known.query]
    upto = np.concatenate([np.zeros((len(tops), 1), np.int64), np.cumsum(stays, axis=1)], axis=1)
    inside = np.minimum(known.above, seen)
    above = upto[known.query, inside]
    # behind the kept distractors only numbers are known; a query's draws add up from positive to positive
    first = np.concatenate([[True], known.query[1:] != known.query[:-1]])
    behind = known.above - inside
    before = np.where(first, 0, np.concatenate([[0], behind[:-1]]))
    drawn = np.cumsum(rng.binomial(behind - before, share))
    base = np.maximum.accumulate(np.where(first, np.concatenate([[0], drawn[:-1]]), 0))
    return replace(
        known,
        above=above + drawn - base,
        tops=tops,
        names=names,
        distractors=round(known.distractors * share),
    )
