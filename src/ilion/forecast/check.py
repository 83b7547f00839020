"""Is the forecast right? Hold-outs without a further search: thin the database, foretell the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilion.evaluation.average_precision import Definition
from ilion.forecast.accuracy import IMPERFECTION, credits, forecast
from ilion.forecast.standings import FEWEST, Standings, thinned
from ilion.outcome import Interval

SHARES = (0.1, 0.3)
"""Of the distractors, from which the whole database is foretold."""
REPEATS = 3
PRIOR = 2.0
"""Hold-outs that the prior value of the model's own error counts for."""


@dataclass(frozen=True)
class HoldOut:
    """One forecast of what is known.

    Args:
        start: Distractors that it was made from.
        size: Distractors that it was made for.
        measured: mAP there.
        foretold: Mean of the forecast.
        interval: Its 95% interval.
        deviation: Standard deviation of its replicates.
        log_linear: What a straight line over the logarithm of the size gives, through a tenth, a third and
            all of ``start``.
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


def hold_outs(
    known: Standings,
    *,
    definition: Definition = "ilias",
    k: int = 1000,
    shares: Sequence[float] = SHARES,
    repeats: int = REPEATS,
    replicates: int = 100,
    seed: int = 0,
) -> tuple[HoldOut, ...]:
    """Foretell the whole database from random parts of it.

    Args:
        known: Standings at the whole database.
        definition: Of AP.
        k: Cut-off.
        shares: How large the parts are.
        repeats: Parts of each size.
        replicates: Of each forecast.
        seed: Of all draws.
    """
    found = []
    measured = float(credits(known, known.above.astype(np.float64), definition, k).mean())
    for number, share in enumerate(shares):
        if known.distractors * share < FEWEST:
            continue
        for repeat in range(repeats):
            rng = np.random.default_rng([seed, number, repeat])
            part = thinned(known, share, rng, known.tops.shape[1])
            told = forecast(
                part,
                [known.distractors],
                definition=definition,
                k=k,
                replicates=replicates,
                seed=seed + repeat,
            )
            point = told.points[0]
            found.append(
                HoldOut(
                    part.distractors,
                    known.distractors,
                    measured,
                    point.mean,
                    point.interval,
                    float(told.replicates[known.distractors].std()),
                    _log_linear(part, known.distractors, definition, k, rng),
                )
            )
    return tuple(found)


def _log_linear(
    known: Standings, size: int, definition: Definition, k: int, rng: np.random.Generator
) -> float:
    """Draw a line through three smaller sizes: what one would do without a model."""
    shares = (0.1, 1 / 3, 1.0)
    values = []
    for share in shares:
        part = known if share == 1.0 else thinned(known, share, rng, 1)
        values.append(float(credits(part, part.above.astype(np.float64), definition, k).mean()))
    slope, intercept = np.polyfit(np.log(np.array(shares) * known.distractors), values, 1)
    return float(np.clip(slope * np.log(size) + intercept, 0.0, 1.0))


def imperfection(held: Sequence[HoldOut]) -> float:
    """Return the standard deviation of the model's own error for a tenfold database.

    What hold-outs are off more than their replicates vary is the model's; repeats of one share are no
    independent evidence and count as one. Where there are few, the prior value of `IMPERFECTION` prevails.

    >>> imperfection(()) == IMPERFECTION
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
