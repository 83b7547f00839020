"""Paired comparisons of designs in cells, all at once: what is gained, and whether it pays.

Letters: I objects, C cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ilion.evaluation.intervals import (
    TAIL,
    bootstrap_means,
    cautious_interval,
    mean_interval,
    simultaneous_tail,
    student_quantile,
)
from ilion.outcome import Interval
from ilion.poc.cells import Outcomes
from ilion.poc.decision import Answer, Estimate, Verdict
from ilion.poc.sample import LEAST_OBJECTS
from ilion.poc.settings import Measure
from ilion.types import Float64, Int64, Value

ALL = "all"
LEAST_IN_CELL = 5
"""Objects that every cell with a share of the searches needs before anything is said of all searches."""
SETTLED = 0.8
"""Probability with which the number of further objects that is named settles a question."""


@dataclass(frozen=True)
class Weighted(Value):
    """Cells weighed into one number.

    Args:
        weights: (C,) shares, of sum 1.
        names: C names of the cells.
    """

    weights: Float64
    names: tuple[str, ...]

    def over_all(self, values: Float64) -> Float64 | None:
        """Return (I,) one value an object, whose mean is the weighted mean of the cells.

        An object that lacks photos in a cell moves the mean of that cell less: these are the linearised
        values of a sum of means (Särndal, Swensson and Wretman, "Model Assisted Survey Sampling", 1992,
        section 5.5).

        Args:
            values: (I, C); NaN where an object has no photo in the cell.

        Returns:
            NaN for objects without such photos; None where a cell with a weight has fewer than
            `LEAST_IN_CELL` objects.
        """
        part = ~np.isnan(values) & (self.weights > 0)
        some = part.any(axis=1)
        counts = part.sum(axis=0)
        if (counts[self.weights > 0] < LEAST_IN_CELL).any():
            return None
        safe = np.maximum(counts, 1)
        filled = np.where(part, values, 0.0)
        means = filled.sum(axis=0) / safe
        moved = np.where(part, filled - means, 0.0) * (some.sum() / safe)
        result: Float64 = (moved * self.weights).sum(axis=1) + float((means * self.weights).sum())
        result[~some] = np.nan
        return result


def shares_of(names: Sequence[str], photos: Int64, wanted: Mapping[str, float]) -> Weighted:
    """Return the share of the searches of each cell: as stated, else that of the photos.

    Args:
        names: C names of the cells with photos.
        photos: (C,) photos in each.
        wanted: Name of a cell -> its share in any unit; empty where none is stated.
    """
    raw = np.array([wanted.get(name, 0.0) for name in names]) if wanted else photos.astype(np.float64)
    total = raw.sum()
    return Weighted(raw / total if total > 0 else np.full(len(raw), 1.0 / max(len(raw), 1)), tuple(names))


def judge_mean(values: Float64, photos: int, seed: int = 0) -> Estimate:
    """Return the mean of values in [0, 1] over objects, with its interval.

    Args:
        values: (n,) one an object; NaN is left out.
        photos: Number of photos behind them.
        seed: Seed of the bootstrap.
    """
    kept = values[~np.isnan(values)]
    if not len(kept):
        return Estimate(0.0, 0.0, 1.0, 0, photos)
    mean = float(np.clip(kept.mean(), 0.0, 1.0))
    replicates = bootstrap_means(kept[:, None], np.ones((len(kept), 1)), 2000, seed)[:, 0]
    ends = mean_interval(mean, replicates, len(kept)) if len(kept) > 1 else Interval(0.0, 1.0)
    return Estimate(mean, max(ends.low, 0.0), min(ends.high, 1.0), len(kept), photos)


@dataclass(frozen=True)
class Comparisons(Value):
    """All comparisons of one measure with the baseline.

    Args:
        verdicts: One a cell and design, those of all searches last.
        tail: Probability on each side of every interval, so that all hold at once with 95%.
        gains: Design -> (I, C) paired differences.
        over_all: Design -> (I,) those of all searches; None where a cell has too few objects.
    """

    verdicts: tuple[Verdict, ...]
    tail: float
    gains: Mapping[str, Float64]
    over_all: Mapping[str, Float64 | None]

    def find(self, design: str, cell: str = ALL) -> Verdict:
        """Return the verdict about a design in a cell."""
        return next(v for v in self.verdicts if v.design == design and v.cell == cell)


def compare_designs(
    outcomes: Mapping[str, Outcomes],
    baseline: str,
    shares: Weighted,
    least: Mapping[str, float],
    measure: Measure,
    seed: int = 0,
    least_at_best: Mapping[str, float] | None = None,
) -> Comparisons:
    """Compare every design with the baseline in every cell and over all searches.

    Intervals are `cautious_interval` at the tail of `simultaneous_tail`, so with 95% all of them hold. A
    design *pays* where its interval lies above the gain that its price needs, and *does not pay* where it
    lies below; both are thus said wrongly with at most 2.5% each, anywhere in the table.

    Args:
        outcomes: Design -> what it finds, the baseline too; all of the same cells.
        baseline: Name of the baseline.
        shares: Shares of the searches.
        least: Design -> gain above which it pays.
        measure: Measure that is compared.
        seed: Seed of what is drawn.
        least_at_best: Design -> gain below which it does not pay, even if it costs the least that it may;
            None takes ``least``.
    """
    surely = least if least_at_best is None else least_at_best
    before = outcomes[baseline]
    rivals = [name for name in outcomes if name != baseline]
    gains = {name: _paired(before, outcomes[name], measure) for name in rivals}
    over_all = {name: shares.over_all(gains[name]) for name in rivals}
    columns = [column for values in gains.values() for column in values.T]
    columns += [values for values in over_all.values() if values is not None]
    judged = [column for column in columns if (~np.isnan(column)).sum() >= LEAST_OBJECTS]
    tail = simultaneous_tail(np.stack(judged, axis=1), seed=seed) if judged else TAIL
    photos = before.photos.sum(axis=0)
    verdicts = []
    for cell, name in enumerate(shares.names):
        for design in rivals:
            verdicts.append(
                _verdict(
                    name,
                    design,
                    baseline,
                    before.values[measure][:, cell],
                    outcomes[design].values[measure][:, cell],
                    gains[design][:, cell],
                    int(photos[cell]),
                    (surely[design], least[design]),
                    tail,
                )
            )
    for design in rivals:
        was, now, gain = (
            np.zeros(0) if values is None else values
            for values in (
                shares.over_all(before.values[measure]),
                shares.over_all(outcomes[design].values[measure]),
                over_all[design],
            )
        )
        verdicts.append(
            _verdict(
                ALL,
                design,
                baseline,
                was,
                now,
                gain,
                int(photos.sum()),
                (surely[design], least[design]),
                tail,
            )
        )
    return Comparisons(tuple(verdicts), tail, gains, over_all)


def gain_between(
    a: Outcomes, b: Outcomes, shares: Weighted, measure: Measure, tail: float
) -> Estimate | None:
    """Return the gain of b over a over all searches; None where there are too few objects."""
    values = shares.over_all(_paired(a, b, measure))
    return None if values is None else _gain(values, int(a.photos.sum()), tail)


def _paired(a: Outcomes, b: Outcomes, measure: Measure) -> Float64:
    """Return (I, C) differences for the objects of a; NaN where b lacks the object."""
    place = {name: number for number, name in enumerate(b.objects)}
    theirs = np.full_like(a.values[measure], np.nan)
    for number, name in enumerate(a.objects):
        if name in place:
            theirs[number] = b.values[measure][place[name]]
    difference: Float64 = theirs - a.values[measure]
    difference[np.abs(difference) < 1e-12] = 0.0  # equal APs may differ in the last bits
    return difference


def _gain(values: Float64, photos: int, tail: float) -> Estimate:
    kept = values[~np.isnan(values)]
    mean = float(kept.mean()) if len(kept) else 0.0
    if len(kept) < LEAST_OBJECTS:
        return Estimate(mean, -1.0, 1.0, len(kept), photos)
    ends = cautious_interval(kept, tail)
    return Estimate(mean, max(min(ends.low, mean), -1.0), min(max(ends.high, mean), 1.0), len(kept), photos)


def objects_to_settle(gain: Estimate, least: float, tail: float) -> int:
    """Return about how many further objects settle whether a gain is above or below what is needed.

    If the true gain is what it seems, the interval of so many objects leaves out ``least`` in `SETTLED` of
    all cases; half of that is lost where the number is only such that the interval just reaches it.

    Args:
        gain: The gain so far, with an interval that holds ``least``.
        least: Gain that is needed.
        tail: Probability on each side of the interval.

    Returns:
        0 where the gain is too close to ``least`` for any number.

    >>> objects_to_settle(Estimate(0.2, 0.0, 0.4, 20, 40), 0.05, 0.025)
    50
    """
    if gain.objects < LEAST_OBJECTS:
        return LEAST_OBJECTS - gain.objects
    away = abs(gain.value - least)
    if away < 0.01:
        return 0
    error = 1.0 + NormalDist().inv_cdf(SETTLED) / student_quantile(tail, gain.objects - 1)
    half = (gain.high - gain.low) / 2
    return max(math.ceil(gain.objects * (error * half / away) ** 2) - gain.objects, 1)


def _verdict(
    cell: str,
    design: str,
    against: str,
    before: Float64,
    after: Float64,
    gains: Float64,
    photos: int,
    least: tuple[float, float],
    tail: float,
) -> Verdict:
    gain = _gain(gains, photos, tail)
    at_best, at_most = least
    answer: Answer = "not-enough-photos"
    if gain.objects >= LEAST_OBJECTS:
        answer = "pays" if gain.low > at_most else "does-not-pay" if gain.high < at_best else answer
    more = 0
    if answer == "not-enough-photos":
        more = objects_to_settle(gain, at_most if gain.value > at_most else at_best, tail)
    means = judge_mean(before, photos), judge_mean(after, photos)
    return Verdict(cell, design, against, *means, gain, answer, more)
