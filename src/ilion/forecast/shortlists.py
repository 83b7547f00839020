"""Forecasts of re-ranked designs: a shortlist of fixed length loses positives as the database grows.

Two things happen when D distractors become D'. More of them stand above a positive by the first stage, until
it is no longer among the first S; then it stays behind the shortlist. And the shortlist fills with better
distractors: those that were among the first S * D / D' in the measured database are a random part of those
that fill S places in the larger one. So how they stand to the positives after re-ranking is counted among
them alone, and the same model of counts and tails goes from them to a full shortlist. Where they are fewer
than `LEAST`, nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ilion.evaluation.average_precision import Definition
from ilion.forecast.distractors import DistractorCounts, count_distractors, credit
from ilion.types import Bool, Float64, GroundTruth, Int64, Ranking, Value

LEAST = 10
"""Smallest number of measured distractors of a query that stand for a full shortlist."""


@dataclass(frozen=True, eq=False)
class ShortlistCounts(Value):
    """Where positives stand among distractors before and after re-ranking.

    Args:
        before: Ranking of the first stage; of each query as many results as AP is cut at, or all.
        fused: (Q, S) scores after re-ranking of its first S results; -inf beyond a short list.
        truth: The ground truth, queries in the same order.
        instances: (Q,) instance of each query.
        is_distractor: (N,) whether a database row is positive or ignored for no query.
        cosines: Whether similarities of the first stage are cosines.
    """

    before: Ranking
    fused: Float64
    truth: GroundTruth
    instances: tuple[str, ...]
    is_distractor: Bool
    cosines: bool = True

    @cached_property
    def first(self) -> DistractorCounts:
        """Counts before re-ranking."""
        return count_distractors(
            self.before, self.truth, self.instances, self.is_distractor, cosines=self.cosines
        )

    @property
    def shortlist(self) -> int:
        """Length S of the shortlists."""
        return int(self.fused.shape[1])

    @property
    def distractors(self) -> int:
        """Number of distractors D."""
        return self.first.distractors

    @property
    def positives(self) -> Int64:
        """Positives (Q,) of each query, found or not."""
        return self.first.positives

    @property
    def largest(self) -> int:
        """Largest number of distractors that may be forecast."""
        enough = self._listed.sum(axis=1) >= LEAST
        place = np.argmax(np.cumsum(self._listed, axis=1) == LEAST, axis=1) + 1  # of the last that is needed
        factor = np.where(enough, (self.shortlist - (place - LEAST)) / LEAST, 1.0)
        return int(self.distractors * max(float(np.median(factor)), 1.0))

    @cached_property
    def _listed(self) -> Bool:
        """(Q, S) which results of the shortlists are distractors."""
        rows = self.before.indices[:, : self.shortlist]
        listed: Bool = (rows >= 0) & self.is_distractor[np.maximum(rows, 0)]
        return listed

    def cut(self, shortlist: int) -> ShortlistCounts:
        """Return the same with shorter shortlists."""
        return replace(self, fused=self.fused[:, :shortlist])

    def thin(self, share: float, rng: np.random.Generator) -> ShortlistCounts:
        """Drop each distractor with the same chance; shortlists become shorter by the same share.

        What is left of a shortlist has been compared already; a longer one would hold what was not.
        """
        gone = self.is_distractor & (rng.random(len(self.is_distractor)) >= share)
        rows = self.before.indices
        stays = (rows >= 0) & ~gone[np.maximum(rows, 0)]
        order = np.argsort(~stays, axis=1, kind="stable")
        kept = np.take_along_axis(stays, order, axis=1)
        fused = np.full(rows.shape, -np.inf)
        fused[:, : self.shortlist] = self.fused
        before = replace(
            self.before,
            indices=np.where(kept, np.take_along_axis(rows, order, axis=1), -1),
            similarities=np.where(kept, np.take_along_axis(self.before.similarities, order, axis=1), -np.inf),
            counts=stays.sum(axis=1).astype(np.int64),
        )
        fused = np.where(kept, np.take_along_axis(fused, order, axis=1), -np.inf)
        short = max(LEAST, round(self.shortlist * share))
        # positives and photos of other objects stay, so that a shortlist may reach beyond what was compared
        compared = np.isfinite(fused).sum(axis=1).min(initial=short)
        return replace(
            self,
            before=before,
            fused=fused[:, : min(short, compared)],
            is_distractor=self.is_distractor & ~gone,
        )

    def final(self, size: int) -> DistractorCounts:
        """Count, after re-ranking, the distractors above each positive that is on a shortlist.

        Args:
            size: Number of distractors D' for which it is counted: only the beginning of each shortlist is
                looked at, which fills S places if each of its distractors takes D' / D of them. Positives are
                all kept, as whether they stay on the shortlist is drawn.
        """
        rows = self.before.indices[:, : self.shortlist]
        filled = np.cumsum(np.where(self._listed, size / self.distractors, 1.0), axis=1)
        positive = np.array([np.isin(r, p) for r, p in zip(rows, self.truth.positives, strict=True)])
        stays = (rows >= 0) & (positive | (filled <= self.shortlist + 1e-6))
        scores = np.where(stays, self.fused, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")
        kept = np.take_along_axis(stays, order, axis=1)
        ranking = replace(
            self.before,
            indices=np.where(kept, np.take_along_axis(rows, order, axis=1), -1),
            similarities=np.take_along_axis(scores, order, axis=1).astype(np.float32),
            counts=stays.sum(axis=1).astype(np.int64),
        )
        return count_distractors(ranking, self.truth, self.instances, self.is_distractor, cosines=False)

    def places(self, final: DistractorCounts) -> Int64:
        """Return (T,) which positive of ``final`` each found positive of ``first`` is; -1 for none."""
        width = self.before.indices.shape[1]

        def keys(counts: DistractorCounts, indices: Int64) -> Int64:
            found = [
                q * len(self.is_distractor) + rows[np.isin(rows, self.truth.positives[q])]
                for q, rows in enumerate(indices)
            ]
            joined: Int64 = np.concatenate(found)
            assert len(joined) == len(counts.query)
            return joined

        shortlist = self.before.indices[:, : min(self.shortlist, width)]
        order = np.argsort(-self.fused, axis=1, kind="stable")
        first = keys(self.first, self.before.indices)
        last = keys(final, np.take_along_axis(shortlist, order, axis=1))
        at = {key: number for number, key in enumerate(last.tolist())}
        return np.array([at.get(key, -1) for key in first.tolist()], np.int64)

    def average_precisions(
        self,
        final: DistractorCounts,
        above_first: Float64,
        above_final: Float64,
        definition: Definition,
        k: int,
        places: Int64 | None = None,
    ) -> Float64:
        """Compute AP@k (Q,) if so many distractors stand above the positives before and after re-ranking.

        Args:
            final: Values of `final`.
            above_first: (T,) distractors above by the first stage.
            above_final: Distractors above after re-ranking, of the positives of ``final``.
            definition: Definition of AP.
            k: Cut-off.
            places: Values of `places`; None computes them.
        """
        known = self.first
        places = self.places(final) if places is None else places
        ahead = known.rest + above_first
        listed = (places >= 0) & (known.place + ahead <= self.shortlist)
        after = np.maximum(places, 0)
        before_it = np.where(
            listed, final.rest[after] + np.minimum(above_final[after], self.shortlist), ahead
        )
        # those on the shortlist first, in the order after re-ranking; then the others, as they were
        order = np.lexsort((np.where(listed, final.place[after], known.place), ~listed, known.query))
        query = known.query[order]
        start = np.concatenate([[True], query[1:] != query[:-1]])
        number = np.arange(len(query))
        place: Int64 = number - np.maximum.accumulate(np.where(start, number, 0)) + 1
        rank: Float64 = np.asarray(place + before_it[order], np.float64)
        return credit(query, place, rank, self.positives, definition, k)

    def mean(self, definition: Definition, k: int) -> float:
        """Compute mAP@k of the re-ranked ranking itself."""
        final = self.final(self.distractors)
        above = self.first.above.astype(np.float64), final.above.astype(np.float64)
        return float(self.average_precisions(final, *above, definition, k).mean())


def count_shortlists(
    before: Ranking,
    after: Ranking,
    shortlist: int,
    truth: GroundTruth,
    instances: Sequence[str],
    is_distractor: Bool,
    *,
    cosines: bool = True,
) -> ShortlistCounts:
    """Take from rankings before and after re-ranking what a forecast needs.

    Args:
        before: Ranking of the first stage.
        after: The re-ranked ranking, whose first results are those of ``before`` in another order.
        shortlist: Number of first results that were compared.
        truth: The ground truth, queries in the same order.
        instances: (Q,) instance of each query.
        is_distractor: (N,) whether a database row is positive or ignored for no query.
        cosines: Whether similarities of the first stage are cosines.
    """
    size = min(shortlist, before.indices.shape[1])
    fused = np.full((len(before.indices), size), -np.inf)
    for q in range(len(fused)):
        scores = dict(
            zip(after.indices[q, :size].tolist(), after.similarities[q, :size].tolist(), strict=True)
        )
        fused[q] = [scores[row] if row >= 0 else -np.inf for row in before.indices[q, :size].tolist()]
    return ShortlistCounts(before, fused, truth, tuple(instances), is_distractor, cosines)
