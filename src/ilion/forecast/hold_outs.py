"""Is the forecast right? Hold-outs without a further search: thin the database, and forecast the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilion.evaluation.average_precision import Definition
from ilion.forecast.accuracy import IMPERFECTION, forecast
from ilion.forecast.distractors import FEWEST, DistractorCounts, thin_distractors
from ilion.forecast.shortlists import ShortlistCounts
from ilion.outcome import Interval

SHARES = (0.1, 0.3)
"""Shares of the distractors from which the whole database is forecast."""
REPEATS = 3
PRIOR = 2.0
"""Number of hold-outs that the prior value of the model's own error counts for."""


@dataclass(frozen=True)
class HoldOut:
    """A forecast of what is known.

    Args:
        start: Number of distractors that it was made from.
        size: Number of distractors that it was made for.
        measured: mAP there.
        foretold: Mean of the forecast.
        interval: 95% interval of the forecast.
        deviation: Standard deviation of its replicates.
        log_linear: Forecast of a straight line over the logarithm of the size, through a tenth, a third and
            all of ``start``; of a re-ranked design what was measured at ``start``.
    """

    start: int
    size: int
    measured: float
    foretold: float
    interval: Interval
    deviation: float
    log_linear: float

    @property
    def inside(self) -> bool:
        """Tell whether the measured value lies in the interval."""
        return self.interval.low <= self.measured <= self.interval.high


def hold_out(
    part: DistractorCounts | ShortlistCounts,
    whole: DistractorCounts | ShortlistCounts,
    log_linear: float,
    *,
    definition: Definition,
    k: int,
    imperfection: float = IMPERFECTION,
    replicates: int,
    seed: int,
) -> HoldOut:
    """Forecast a measured database from a smaller one; arguments as those of `forecast` and `HoldOut`."""
    size = whole.distractors
    predicted = forecast(
        part, [size], definition=definition, k=k, replicates=replicates, imperfection=imperfection, seed=seed
    )
    point, deviation = predicted.points[0], float(predicted.replicates[size].std())
    measured = whole.mean(definition, k)
    return HoldOut(part.distractors, size, measured, point.mean, point.interval, deviation, log_linear)


def forecast_hold_outs(
    known: DistractorCounts | ShortlistCounts,
    *,
    definition: Definition = "ilias",
    k: int = 1000,
    shares: Sequence[float] = SHARES,
    repeats: int = REPEATS,
    replicates: int = 100,
    seed: int = 0,
) -> tuple[HoldOut, ...]:
    """Forecast the whole database from random parts of it.

    Args:
        known: Counts in the whole database; of a re-ranked design those of both stages, whose shortlists are
            then shorter in part and whole.
        definition: Definition of AP.
        k: Cut-off.
        shares: Sizes of the parts, as shares of the distractors.
        repeats: Number of parts of each size.
        replicates: Number of replicates of each forecast.
        seed: Seed of all draws.
    """
    found = []
    for number, share in enumerate(shares):
        if known.distractors * share < FEWEST:
            continue
        for repeat in range(repeats):
            rng = np.random.default_rng([seed, number, repeat])
            part: DistractorCounts | ShortlistCounts
            if isinstance(known, ShortlistCounts):
                part = known.thin(share, rng)
                # a shorter shortlist in the whole database too, as nothing else was compared there
                whole: DistractorCounts | ShortlistCounts = known.cut(part.shortlist)
                line = part.mean(definition, k)
                if known.distractors > part.largest:
                    continue
            else:
                part, whole = thin_distractors(known, share, rng, known.tops.shape[1]), known
                line = _log_linear(part, known.distractors, definition, k, rng)
            found.append(
                hold_out(
                    part, whole, line, definition=definition, k=k, replicates=replicates, seed=seed + repeat
                )
            )
    return tuple(found)


def _log_linear(
    known: DistractorCounts, size: int, definition: Definition, k: int, rng: np.random.Generator
) -> float:
    """Draw a line through three smaller sizes: what one would do without a model."""
    shares = (0.1, 1 / 3, 1.0)
    parts = [known if share == 1.0 else thin_distractors(known, share, rng, 1) for share in shares]
    values = [part.mean(definition, k) for part in parts]
    slope, intercept = np.polyfit(np.log(np.array(shares) * known.distractors), values, 1)
    return float(np.clip(slope * np.log(size) + intercept, 0.0, 1.0))


def estimate_imperfection(held: Sequence[HoldOut]) -> float:
    """Return the standard deviation of the model's own error for a tenfold database.

    What hold-outs are off more than their replicates vary is the model's; repeats of one share are no
    independent evidence and count as one. Where there are few, the prior value of `IMPERFECTION` prevails.

    >>> estimate_imperfection(()) == IMPERFECTION
    True
    """
    evidence: dict[int, list[float]] = {}
    for one in held:
        decades = np.log10(one.size / one.start)
        excess = (one.foretold - one.measured) ** 2 - one.deviation**2
        evidence.setdefault(one.start, []).append(float(excess / decades**2))
    means = [float(np.mean(values)) for values in evidence.values()]
    variance = (PRIOR * IMPERFECTION**2 + sum(means)) / (PRIOR + len(means))
    # hold-outs may widen the interval, never narrow it
    return float(np.sqrt(max(variance, IMPERFECTION**2)))
