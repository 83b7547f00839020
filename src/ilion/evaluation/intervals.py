"""Intervals and tests for means over queries that are grouped by instance.

Queries of one instance are not independent: whatever is resampled or flipped here is the instance, and all of
its queries come along. Letters: I instances, S statistics computed together, B bootstrap samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from ilion.outcome import Interval
from ilion.types import Float64, Int64

TAIL = 0.025
"""Probability on each side of a 95% interval."""

MISSED = 0.15
"""Probability with which a set of objects misses the kind that `cautious_interval` allows for: with it the
interval covers in the worst law of docs/poc.md too; less would be wider where all objects gain alike."""

_CHUNK = 4_000_000
"""Random numbers drawn at a time, so that memory does not grow with samples x instances."""


def group(instances: Sequence[str]) -> tuple[Int64, int]:
    """Number the instances in the order in which they first occur.

    Args:
        instances: The instance of each of Q queries.

    Returns:
        (Q,) numbers from 0 to I - 1, and I.

    >>> group(["mug", "cap", "mug"])
    (array([0, 1, 0]), 2)
    """
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(name, len(numbers)) for name in instances], dtype=np.int64)
    return codes, len(numbers)


def bootstrap_means(totals: Float64, weights: Float64, samples: int, seed: int) -> Float64:
    """Resample instances with replacement and compute weighted means of what they bring along.

    The cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8):
    each sample draws I instances; its mean is the sum of their totals over the sum of their weights, so that
    an instance with two queries counts for two.

    Args:
        totals: (I, S) sum of the values of each instance.
        weights: (I, S) how many values that sum holds; 0 where an instance takes no part.
        samples: B.
        seed: The same seed draws the same instances.

    Returns:
        (B, S) means; NaN where a sample has drawn no instance that takes part.

    >>> bootstrap_means(np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]]), 4, seed=0).shape
    (4, 1)
    """
    rng = np.random.default_rng(seed)
    instances = len(totals)
    means = np.empty((samples, totals.shape[1]))
    step = max(1, _CHUNK // instances)
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = rng.integers(0, instances, size=(rows, instances))
        drawn += np.arange(rows)[:, None] * instances
        counts = (
            np.bincount(drawn.ravel(), minlength=rows * instances).reshape(rows, instances).astype(np.float64)
        )
        weight = counts @ weights
        means[start : start + rows] = np.divide(
            counts @ totals, weight, out=np.full_like(weight, np.nan), where=weight > 0
        )
    return means


def expanded_tail(instances: int) -> float:
    """Return the tail at which percentiles of a bootstrap of few instances are read.

    A percentile bootstrap is too narrow by sqrt((n - 1) / n) and by using normal in place of Student
    quantiles. Reading it at Phi(-sqrt(n / (n - 1)) t) repairs both: the expanded percentile interval of
    Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015. The
    Student quantile comes from the expansion 26.7.5 in Abramowitz and Stegun, "Handbook of Mathematical
    Functions".

    Args:
        instances: n, at least 2.

    Returns:
        A probability below 0.025, which it approaches for many instances.

    >>> round(expanded_tail(10), 4), round(expanded_tail(1000), 4)
    (0.0086, 0.0248)
    """
    z = -NormalDist().inv_cdf(TAIL)
    freedom = instances - 1
    student = (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
    return NormalDist().cdf(-((instances / freedom) ** 0.5) * student)


def unseen_share(instances: int, chance: float = TAIL) -> float:
    """Return the largest share of a population that may have stayed unseen among n independent instances.

    A kind of instance with this share is missed by n draws with a probability of 2.5% (the exact form of the
    "rule of three": Hanley and Lippman-Hand, JAMA 249(13), 1983).

    Args:
        instances: n.
        chance: Probability with which such a kind is missed.

    >>> round(unseen_share(1), 3), round(unseen_share(31), 3), round(unseen_share(1000), 4)
    (0.975, 0.112, 0.0037)
    """
    return float(1.0 - chance ** (1.0 / instances))


def mean_interval(mean: float, replicates: Float64, instances: int) -> Interval:
    """Return the 95% interval of a mean of values in [0, 1].

    It covers two things: the expanded percentile interval of the bootstrap, and the means that are possible
    if instances unlike all seen ones (with values of only 0, or only 1) make up `unseen_share` of the
    population. The second matters when few instances were seen or all have the same value: 31 hits of 31 are
    not a certain 100%.

    Args:
        mean: The estimate.
        replicates: (B,) its bootstrap means; NaN is left out.
        instances: Number of instances that take part; one is enough.

    >>> mean_interval(1.0, np.ones(2000), 31)
    Interval(low=0.887..., high=1.0)
    """
    unseen = unseen_share(instances)
    low, high = mean * (1.0 - unseen), mean + (1.0 - mean) * unseen
    if instances > 1:
        sampled = percentiles(replicates, instances)
        low, high = min(low, sampled.low), max(high, sampled.high)
    return Interval(float(low), float(high))


def percentiles(replicates: Float64, instances: int) -> Interval:
    """Return the expanded percentile interval of bootstrap replicates.

    Args:
        replicates: (B,) bootstrap means; NaN is left out.
        instances: Number of instances that take part, at least 2.

    >>> percentiles(np.arange(1001.0), 1_000_000)
    Interval(low=24.99..., high=975.00...)
    """
    tail = expanded_tail(instances)
    low, high = np.quantile(replicates[~np.isnan(replicates)], [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def sign_flip_p_value(differences: Float64, permutations: int, seed: int) -> float:
    """Return the two-sided p-value of a paired randomisation test.

    If two runs are exchangeable, the sign of each instance's difference is a coin toss. The p-value is the
    share of random sign patterns whose sum is at least as far from zero as the one seen; the pattern seen is
    counted among them, so that it is never zero (Phipson and Smyth, "Permutation P-values Should Never Be
    Zero", 2010; Smucker, Allan and Carterette, CIKM 2007, for its use in retrieval).

    Args:
        differences: (I,) sum of the differences of each instance's queries.
        permutations: Random sign patterns.
        seed: The same seed draws the same patterns.

    Returns:
        A probability in (0, 1].

    >>> sign_flip_p_value(np.array([0.5]), 1000, seed=0)
    1.0
    >>> sign_flip_p_value(np.full(40, 0.1), 999, seed=0)
    0.001
    """
    moved = differences[differences != 0]
    if not moved.size:
        return 1.0
    rng = np.random.default_rng(seed)
    # Sums of the same numbers in another order may differ in the last bits; they are ties all the same.
    seen = abs(float(moved.sum())) - 1e-12 * float(np.abs(moved).sum())
    as_far = 0
    step = max(1, _CHUNK // len(moved))
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        signs = rng.integers(0, 2, size=(rows, len(moved)), dtype=np.int8) * 2.0 - 1.0
        as_far += int((np.abs(signs @ moved) >= seen).sum())
    return (1 + as_far) / (1 + permutations)


@lru_cache(maxsize=4096)
def student_quantile(tail: float, freedom: int) -> float:
    """Return the value that Student's t exceeds with a given probability.

    Bisection of the finite sums 26.7.3 and 26.7.4 in Abramowitz and Stegun, "Handbook of Mathematical
    Functions"; above 1,000 degrees of freedom the normal quantile.

    Args:
        tail: Probability on one side, in (0, 0.5).
        freedom: Degrees of freedom, at least 1.

    >>> round(student_quantile(0.025, 14), 3), round(student_quantile(0.025, 10**6), 3)
    (2.145, 1.96)
    """
    if freedom > 1000:
        return -NormalDist().inv_cdf(tail)
    low, high = 0.0, 1.0
    while _beyond(high, freedom) > tail:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _beyond(middle, freedom) > tail else (low, middle)
    return (low + high) / 2.0


def _beyond(t: float, freedom: int) -> float:
    """Return the probability that Student's t exceeds a value that is not negative."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for step in range(freedom // 2):
        total += term
        term *= square * (2 * step + 1 + odd) / (2 * step + 2 + odd)
    inside = 2.0 / math.pi * (angle + sine * total) if odd else sine * total
    return (1.0 - inside) / 2.0


def cautious_interval(values: Float64, tail: float = TAIL) -> Interval:
    """Return the interval of a mean of few bounded values, such as paired differences of AP or R@1.

    Student's interval with one more value of weight one half at either end of a range: the largest difference
    seen, or 1 where no value differs from 0. It is the adjustment of Agresti and Caffo ("Simple and Effective
    Confidence Intervals for Proportions", The American Statistician 54(4), 2000; for paired ones Bonett and
    Price, JEBS 37(4), 2012), with half its weight. Without it, values that are mostly 0 and seldom 1 have
    intervals that are far too short, and 15 equal ones have none.

    What no object shows is in no spread. So the interval is joined with the means that are possible if
    objects unlike all seen ones, with differences of only -1 or only 1, are as many as a set of this size
    misses with the probability `MISSED`.

    Args:
        values: (n,) one value an instance, in [-1, 1], at least 2.
        tail: Probability on each side.

    >>> interval = cautious_interval(np.zeros(15))
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.138, 0.138)
    >>> interval = cautious_interval(np.full(15, 0.2))
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.057, 0.295)
    """
    n = len(values)
    largest = float(np.abs(values).max())
    reach = largest if largest > 1e-12 else 1.0
    mean = float(values.sum()) / (n + 1)
    variance = max((float((values**2).sum()) + reach**2 - (n + 1) * mean**2) / n, 0.0)
    half = student_quantile(tail, n - 1) * math.sqrt(variance / (n + 1))
    seen, unseen = float(values.mean()), unseen_share(n, MISSED)
    return Interval(
        min(mean - half, seen - unseen * (1.0 + seen)), max(mean + half, seen + unseen * (1.0 - seen))
    )


def simultaneous_tail(values: Float64, draws: int = 20_000, seed: int = 0) -> float:
    """Return the tail at which intervals of several means of the same instances hold all at once with 95%.

    The smallest p-value of correlated normal estimates is simulated: single-step min-P of Westfall and Young,
    "Resampling-Based Multiple Testing", 1993, with the normal law of Hothorn, Bretz and Westfall,
    "Simultaneous Inference in General Parametric Models", Biometrical Journal 50(3), 2008. Correlations of
    few instances are drawn towards none by the inverse root of their number, which makes the intervals wider.

    Args:
        values: (I, S) values of I instances in S comparisons; NaN where an instance takes no part.
        draws: Number of simulated sets of estimates.
        seed: Seed of these.

    Returns:
        Between 0.025 / S and 0.025.

    >>> bool(simultaneous_tail(np.random.default_rng(0).normal(size=(20, 1))) > 0.024)
    True
    """
    part = ~np.isnan(values)
    counts = np.maximum(part.sum(axis=0), 1)
    centred = np.where(part, values - np.nansum(values, axis=0) / counts, 0.0)
    covariance = centred.T @ centred / np.outer(counts, counts)
    scale = np.sqrt(np.diag(covariance))
    known = scale > 1e-12
    safe = np.where(known, scale, 1.0)
    correlation = covariance / np.outer(safe, safe) * (1.0 - 1.0 / math.sqrt(max(len(values), 2)))
    np.fill_diagonal(correlation, 1.0)
    roots, directions = np.linalg.eigh(correlation)
    factor = directions * np.sqrt(np.maximum(roots, 0.0))
    drawn = np.random.default_rng(seed).standard_normal((draws, values.shape[1])) @ factor.T
    drawn /= np.sqrt(np.maximum((factor**2).sum(axis=1), 1e-12))
    largest = float(np.quantile(np.abs(drawn).max(axis=1), 1.0 - 2 * TAIL))
    tail = 1.0 - NormalDist().cdf(largest)
    return float(min(max(tail, TAIL / values.shape[1]), TAIL))
