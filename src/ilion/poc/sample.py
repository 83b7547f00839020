"""How many objects a proof of concept needs: width of an interval, and power for a gain.

What is averaged is one number an object (its AP, or whether its first answer is right), and what is compared
is
paired: the same objects with two designs. Photos of one object are no further objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from ilion.evaluation.intervals import MISSED, TAIL, student_quantile, unseen_share
from ilion.poc.settings import Measure

LEAST_OBJECTS = 10
"""Objects below which no interval is given: what 9 objects of a skewed measure say is too often wrong
(`tests/poc/test_simulation.py`)."""
MOST_OBJECTS = 100_000

SPREADS = {"AP": 0.45, "R@1": 0.50}
"""Standard deviation over objects of paired differences in one cell, where there is no pilot: between 0.31
and 0.63 for local-2k and local-16k against global in six cells of 60 small cut-outs (docs/poc.md)."""
SPREADS_ALL = {"AP": 0.24, "R@1": 0.39}
"""The same of differences over all searches: the larger ones of the cut-outs (AP 0.22 to 0.25, R@1 0.25 to
0.28) and of 31 packages in shops (0.16 and 0.39)."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations over objects of a paired difference.

    Args:
        cell: Standard deviation in one cell.
        over_all: Standard deviation of each object's mean over all cells.
        origin: ``prior``, or the folder of the pilot.
    """

    cell: float
    over_all: float
    origin: str = "prior"


def prior_spread(measure: Measure) -> Spread:
    """Return the spread that is assumed without a pilot."""
    return Spread(SPREADS[measure], SPREADS_ALL[measure])


def half_width(spread: float, objects: int, tail: float = TAIL) -> float:
    """Return half the width of `ilion.evaluation.intervals.cautious_interval`, as it is to be expected.

    Args:
        spread: Standard deviation of the values over objects.
        objects: Number of objects, at least 2.
        tail: Probability on each side.

    >>> round(half_width(0.23, 84), 3), round(half_width(0.23, 20), 3)
    (0.051, 0.118)
    """
    reach = min(2.5 * spread, 1.0)  # about the largest of some tens of values
    variance = ((objects - 1) * spread**2 + reach**2) / objects
    half = student_quantile(tail, objects - 1) * math.sqrt(variance / (objects + 1))
    return max(half, unseen_share(objects, MISSED))


def power(gain: float, least: float, spread: float, objects: int, tail: float = TAIL) -> float:
    """Return the probability that a true gain is shown to be above the least one that is worth its price.

    Args:
        gain: True gain, a fraction.
        least: Gain that the interval must lie above.
        spread: Standard deviation of the difference over objects.
        objects: Number of objects, at least 2.
        tail: Probability on each side of the interval.

    >>> round(power(0.2, 0.05, 0.26, 30), 2)
    0.79
    """
    unseen = unseen_share(objects, MISSED)
    expected = gain * objects / (objects + 1) - half_width(spread, objects, tail)
    expected = min(expected, gain - unseen * (1.0 + gain))
    # the width varies with the spread of the sample, which counts as a further error of the difference
    quantile = student_quantile(tail, objects - 1)
    error = max(spread, 1e-9) * math.sqrt((1.0 + quantile**2 / (2.0 * (objects - 1))) / objects)
    return NormalDist().cdf((expected - least) / error)


def objects_for_width(width: float, spread: float, tail: float = TAIL) -> int:
    """Return the smallest number of objects whose interval is as narrow as wanted.

    Args:
        width: Half the width, a fraction.
        spread: Standard deviation over objects.
        tail: Probability on each side.

    >>> objects_for_width(0.05, 0.23)
    88
    """
    return _smallest(lambda n: half_width(spread, n, tail) <= width)


def objects_for_power(gain: float, least: float, spread: float, wanted: float, tail: float = TAIL) -> int:
    """Return the smallest number of objects with which a gain is shown as often as wanted.

    Args:
        gain: True gain.
        least: Gain that the interval must lie above.
        spread: Standard deviation over objects.
        wanted: Power, such as 0.8.
        tail: Probability on each side.

    >>> objects_for_power(0.2, 0.05, 0.26, 0.8)
    31
    """
    return _smallest(lambda n: power(gain, least, spread, n, tail) >= wanted)


def detectable(least: float, spread: float, objects: int, wanted: float, tail: float = TAIL) -> float:
    """Return the smallest true gain that is shown as often as wanted; 1 where none below is."""
    low, high = least, 1.0
    if power(high, least, spread, objects, tail) < wanted:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, least, spread, objects, tail) >= wanted else (middle, high)
    return high


def _smallest(enough: Callable[[int], bool]) -> int:
    low, high = LEAST_OBJECTS - 1, LEAST_OBJECTS
    while not enough(high):
        low, high = high, high * 2
        if high > MOST_OBJECTS:
            return MOST_OBJECTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
