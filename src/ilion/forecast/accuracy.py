"""mAP at a larger database: expected ranks, average precision, and intervals.

Distractors are exchangeable: of D + E of them, the D seen are a random part. So above a positive there will
be those seen above it, and of the E further ones a Poisson number with mean E times the chance that one is
more similar. The chance comes from what was counted and from the tail of the query (`ilion.forecast.tails`),
each with the weight of its certainty: a Gamma posterior, whose prior is the tail's answer with the variance
that queries show around the common shape. Replicates draw all of it: which queries shape the common tail, the
chance of each query, the further distractors, and for the interval over objects the objects themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.errors import ConfigError
from ilion.evaluation.average_precision import Definition
from ilion.evaluation.intervals import group, mean_interval
from ilion.forecast.distractors import DistractorCounts
from ilion.forecast.shortlists import ShortlistCounts
from ilion.forecast.tails import Tails, closeness, pool_scale, survival
from ilion.outcome import Interval
from ilion.types import Float64, Value
from ilion.wording import counted

IMPERFECTION = 0.006
"""Standard deviation of the model's own error, for a tenfold database, before hold-outs say more."""
POOLED_IMPERFECTION = 0.025
"""The same where the tail is read on a scale that was made from the scores of all queries: on generated
descriptors whose cosines were withheld, forecasts for ten times the distractors were 0.03 too low."""
WIDEST = 2.0
"""Largest logarithmic variance of a chance; more would say that nothing is known."""


@dataclass(frozen=True)
class Point:
    """mAP at one size.

    Args:
        distractors: Number of distractors.
        mean: Expected mAP of these queries.
        interval: 95% for the mAP that these queries will have when it is measured.
        ci95: 95% for objects like these, as intervals of measured results are.
    """

    distractors: int
    mean: float
    interval: Interval
    ci95: Interval


@dataclass(frozen=True)
class Forecast(Value):
    """mAP at several sizes.

    Args:
        definition: Definition of AP.
        k: Cut-off.
        distractors: Number of distractors that the forecast is made from.
        points: One point for each size.
        replicates: Size -> (B,) drawn mAPs of these queries, without the model's own imperfection.
        shape: Shape of the common tail.
        imperfection: Value of `IMPERFECTION` that was used.
    """

    definition: Definition
    k: int
    distractors: int
    points: tuple[Point, ...]
    replicates: Mapping[int, Float64]
    shape: float
    imperfection: float


def forecast(
    known: DistractorCounts | ShortlistCounts,
    sizes: Sequence[int],
    *,
    definition: Definition = "ilias",
    k: int = 1000,
    replicates: int = 300,
    imperfection: float = IMPERFECTION,
    seed: int = 0,
) -> Forecast:
    """Forecast mAP@k for databases with more distractors.

    Args:
        known: Counts at the largest database measured; of a re-ranked design those of both stages.
        sizes: Numbers of distractors, none below the measured one.
        definition: Definition of AP.
        k: Cut-off; not larger than that of the ranking.
        replicates: Number of replicates B.
        imperfection: Standard deviation of the model's own error, for a tenfold database; at least
            `POOLED_IMPERFECTION` where similarities are no cosines.
        seed: Seed of all draws.

    Raises:
        ConfigError: A size is below the measured one, or beyond what its shortlists tell.
    """
    too_small = [size for size in sizes if size < known.distractors]
    if too_small:
        raise ConfigError(
            f"{counted(too_small[0], 'distractor is', 'distractors are')} fewer than the {known.distractors} "
            "measured; a forecast goes upwards"
        )
    if isinstance(known, ShortlistCounts) and max(sizes) > known.largest:
        raise ConfigError(
            f"{counted(max(sizes), 'distractor is', 'distractors are')} too many "
            f"for shortlists of {known.shortlist}: the "
            f"{known.distractors} that were measured tell of a re-ranked design up to {known.largest}; ask "
            "for less with --at, measure more distractors, or take a longer rerank.shortlist"
        )
    if isinstance(known, ShortlistCounts) or not known.cosines:
        imperfection = max(imperfection, POOLED_IMPERFECTION)
    rng = np.random.default_rng(seed)
    codes, instances = group(known.instances)
    draws = (
        _TwoStages(known, sizes, definition, k)
        if isinstance(known, ShortlistCounts)
        else _OneStage(known, definition, k)
    )
    maps = {size: np.empty(replicates) for size in sizes}
    objects = {size: np.empty(replicates) for size in sizes}
    for b in range(replicates):
        times = np.bincount(rng.integers(0, instances, instances), minlength=instances).astype(np.float64)
        draws.draw(times[codes], rng)
        resampled = np.bincount(rng.integers(0, instances, instances), minlength=instances)[codes]
        for size in sizes:
            precisions = draws.precisions(size, rng)
            maps[size][b] = precisions.mean()
            objects[size][b] = (precisions * resampled).sum() / max(resampled.sum(), 1)
    points = tuple(
        _point(size, maps[size], objects[size], instances, imperfection, known.distractors, rng)
        for size in sizes
    )
    return Forecast(definition, k, known.distractors, points, maps, draws.shape, imperfection)


def _point(
    size: int,
    maps: Float64,
    objects: Float64,
    instances: int,
    imperfection: float,
    distractors: int,
    rng: np.random.Generator,
) -> Point:
    """Summarise the replicates of one size; the model's own error grows with the decades between sizes."""
    error = imperfection * np.log10(size / distractors) * rng.standard_normal(len(maps))
    low, high = np.quantile(np.clip(maps + error, 0.0, 1.0), [0.025, 0.975])
    mean = float(maps.mean())
    ci95 = mean_interval(mean, np.clip(objects + error, 0.0, 1.0), instances)
    return Point(size, mean, Interval(float(min(low, mean)), float(max(high, mean))), ci95)


class _OneStage:
    """AP of one ranking in larger databases."""

    def __init__(self, known: DistractorCounts, definition: Definition, k: int) -> None:
        self.known, self._definition, self._k = known, definition, k
        alike = not known.cosines
        known = pool_scale(known) if alike else known
        tails = Tails(known.tops, known.names, known.distractors, alike)
        self.draws = _Draws(known, tails)
        self.shape = tails.shape(np.ones(len(known.positives)), tails.even)

    def draw(self, queries: Float64, rng: np.random.Generator) -> None:
        """Draw the chances of one replicate."""
        # a Bayesian bootstrap of the distractors (Rubin, Annals of Statistics 9(1), 1981)
        weights = rng.exponential(size=len(self.draws.tails.even))
        self._chance = self.draws.chances(queries, weights, rng.standard_normal(len(queries)))

    def above(self, size: int, rng: np.random.Generator) -> Float64:
        """Draw (T,) distractors above each positive."""
        return self.draws.above(self._chance, size, rng)

    def precisions(self, size: int, rng: np.random.Generator) -> Float64:
        """Draw (Q,) AP."""
        return self.known.average_precisions(self.above(size, rng), self._definition, self._k)


class _TwoStages:
    """AP of a re-ranked design in larger databases."""

    def __init__(self, known: ShortlistCounts, sizes: Sequence[int], definition: Definition, k: int) -> None:
        self.known, self._definition, self._k = known, definition, k
        self._first = _OneStage(known.first, definition, k)
        self._final = {size: _OneStage(known.final(size), definition, k) for size in sizes}
        self._places = {size: known.places(stage.known) for size, stage in self._final.items()}
        self.shape = self._first.shape

    def draw(self, queries: Float64, rng: np.random.Generator) -> None:
        """Draw the chances of one replicate."""
        for stage in (self._first, *self._final.values()):
            stage.draw(queries, rng)

    def precisions(self, size: int, rng: np.random.Generator) -> Float64:
        """Draw (Q,) AP."""
        first, final = self._first.above(size, rng), self._final[size]
        return self.known.average_precisions(
            final.known, first, final.above(size, rng), self._definition, self._k, self._places[size]
        )


class _Draws:
    """Chances that a further distractor stands above a positive, and how many will."""

    def __init__(self, known: DistractorCounts, tails: Tails) -> None:
        self.known = known
        self.tails = tails
        query = known.query
        self._close = closeness(known.similarity)
        self._beyond = (self._close > tails.threshold[query]) & (tails.exceedances[query] > 0)
        self._first = np.concatenate([[True], query[1:] != query[:-1]])
        self._seen = np.minimum(known.above, np.isfinite(known.tops).sum(axis=1)[query])

    def chances(self, queries: Float64, weights: Float64, deviate: Float64) -> Float64:
        """Draw (T,) chances.

        Args:
            queries: (Q,) how often each query counts for the common shape.
            weights: (U,) how often each distractor counts: a distractor near many queries moves all of them.
            deviate: (Q,) standard normal; moves all positives of a query together. Gamma quantiles by Wilson
                and Hilferty (PNAS 17(12), 1931).
        """
        known, tails, query = self.known, self.tails, self.known.query
        chance, mean = tails.rates(weights)
        z = np.where(self._beyond, (self._close - tails.threshold[query]) / mean[query], 0.0)
        tail = chance[query] * survival(z, tails.shape(queries, weights))
        spread = np.minimum(tails.dispersion * z**2, WIDEST)
        form = 1.0 / (np.expm1(spread) + 1.0 / np.maximum(tails.exceedances[query], 1))
        cube = 1.0 - 1.0 / (9.0 * form) + deviate[query] / (3.0 * np.sqrt(form))
        drawn = np.where(self._beyond, form * np.maximum(cube, 0.0) ** 3, 0.0)
        rate = known.distractors + np.where(self._beyond, form, 0.0) / np.maximum(tail, 1e-30)
        chances = (drawn + self._count(weights)) / rate
        # a lower positive cannot have fewer above it; the numbers of different queries are kept apart by 2
        shifted: Float64 = np.maximum.accumulate(chances + 2.0 * query) - 2.0 * query
        return np.clip(shifted, 0.0, 1.0)

    def _count(self, weights: Float64) -> Float64:
        """Count (T,) the distractors above by their weights, those beyond the kept ones by their number."""
        upto = np.cumsum(weights[self.known.names], axis=1)
        counted = np.where(self._seen > 0, upto[self.known.query, np.maximum(self._seen - 1, 0)], 0.0)
        counts: Float64 = counted + (self.known.above - self._seen)
        return counts

    def above(self, chance: Float64, size: int, rng: np.random.Generator) -> Float64:
        """Draw (T,) distractors above each positive in a database with ``size`` of them."""
        further = size - self.known.distractors
        step = np.where(self._first, chance, chance - np.concatenate([[0.0], chance[:-1]]))
        drawn = np.cumsum(rng.poisson(np.maximum(step, 0.0) * further).astype(np.float64))
        base = np.maximum.accumulate(np.where(self._first, np.concatenate([[0.0], drawn[:-1]]), 0.0))
        counts: Float64 = self.known.above + drawn - base
        return counts
