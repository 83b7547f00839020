"""Intervals of few paired differences, and of several at once: by simulation with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from ilion.evaluation.intervals import TAIL, cautious_interval, simultaneous_tail, student_quantile
from ilion.types import Float64


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 14, 99, 1000, 5000])
@pytest.mark.parametrize("tail", [0.3, 0.025, 1e-4])
def test_student_quantile_equals_scipy(freedom: int, tail: float) -> None:
    assert student_quantile(tail, freedom) == pytest.approx(scipy.stats.t.isf(tail, freedom), rel=2e-3)
    if freedom <= 1000:
        assert student_quantile(tail, freedom) == pytest.approx(scipy.stats.t.isf(tail, freedom), rel=1e-9)


def worlds(rng: np.random.Generator, n: int) -> dict[str, tuple[Float64, float]]:
    """Return 1,000 proofs of concept of n objects each, from 14 worlds whose mean is known."""
    shape = (1000, n)
    u, v = rng.random(shape), rng.random(shape)
    often = np.where(u < 0.4, rng.beta(1, 3, shape), 0.0) - np.where(u > 0.9, rng.beta(1, 4, shape), 0.0)
    halves = np.where(u < 0.5, rng.normal(0.5, 0.1, shape), rng.normal(0.0, 0.05, shape))
    shared, own = rng.standard_normal(shape), [rng.standard_normal(shape) for _ in range(2)]
    ranks = [shared * math.sqrt(0.64) + each * 0.6 for each in own]
    return {
        "normal": (np.clip(rng.normal(0.1, 0.25, shape), -1, 1), 0.1),
        "nearly equal": (rng.normal(0.1, 0.05, shape), 0.1),
        "AP of two designs": (rng.beta(0.5, 0.5, shape) - rng.beta(0.5, 1.5, shape), 0.25),
        "AP, correlated": (logistic(ranks[0] + 0.5) - logistic(ranks[1] - 0.5), correlated_mean()),
        "often 0": (often, 0.4 * 0.25 - 0.1 * 0.2),
        "few gain much": (np.where(u < 0.15, 0.4 + 4 * u, -0.05 * v), 0.15 * 0.7 - 0.85 * 0.025),
        "exponential": (np.clip(rng.exponential(0.15, shape), 0, 1), 0.15 * (1 - math.exp(-1 / 0.15))),
        "two groups": (halves, 0.25),
        "uniform": (u - 0.3, 0.2),
        **{
            f"R@1, {better} better, {worse} worse": (three(u, better, worse), better - worse)
            for better, worse in ((0.4, 0.05), (0.2, 0.05), (0.1, 0.05), (0.7, 0.02), (0.3, 0.0))
        },
    }


def three(uniform: Float64, better: float, worse: float) -> Float64:
    return np.where(uniform < better, 1.0, np.where(uniform < better + worse, -1.0, 0.0))


def logistic(values: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-3 * values)))


def correlated_mean() -> float:
    grid = np.linspace(-8, 8, 20_001)
    weights = np.exp(-(grid**2) / 2)
    weights /= weights.sum()
    return float(weights @ (logistic(grid + 0.5) - logistic(grid - 0.5)))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "most"), [(10, 0.995), (15, 0.985), (20, 0.98), (30, 0.975), (60, 0.97)])
def test_intervals_cover_the_truth(n: int, most: float) -> None:
    """Each of 14 laws at least 93 of 100 times; on average more, as what few objects miss is allowed for."""
    covered = []
    for name, (values, mean) in worlds(np.random.default_rng(n), n).items():
        found = [cautious_interval(row) for row in values]
        share = np.mean([interval.low <= mean <= interval.high for interval in found])
        assert share > 0.93 - 0.015, name
        covered.append(share)
    assert 0.95 <= np.mean(covered) <= most


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_all_intervals_hold_at_once(correlation: float) -> None:
    rng = np.random.default_rng(3)
    root = np.linalg.cholesky(correlation * np.ones((12, 12)) + (1 - correlation) * np.eye(12))
    held = 0
    for trial in range(400):
        values = 0.2 * rng.standard_normal((20, 12)) @ root.T + 0.1
        values[rng.random((20, 12)) < 0.1] = np.nan
        tail = simultaneous_tail(values, draws=4000, seed=trial)
        ends = [cautious_interval(column[~np.isnan(column)], tail) for column in values.T]
        held += all(end.low <= 0.1 <= end.high for end in ends)
    assert held / 400 > 0.95 - 0.025


def test_tails_lie_between_one_comparison_and_all() -> None:
    rng = np.random.default_rng(0)
    same = np.repeat(rng.normal(size=(2000, 1)), 10, axis=1)
    apart = rng.normal(size=(2000, 10))
    assert simultaneous_tail(same) > 2 * simultaneous_tail(apart)
    assert TAIL / 10 <= simultaneous_tail(apart) < 1.2 * TAIL / 10
    assert simultaneous_tail(np.zeros((20, 3))) >= TAIL / 3


def test_equal_values_are_not_certain() -> None:
    interval = cautious_interval(np.zeros(20))
    assert interval.low < -0.08
    assert interval.high > 0.08
    ones = cautious_interval(np.ones(20))
    assert ones.low < 0.95
