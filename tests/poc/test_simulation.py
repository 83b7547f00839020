"""Simulated proofs of concept whose truth is known: what is said wrongly, and how seldom."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import scipy.stats

from ilion.evaluation.intervals import cautious_interval
from ilion.poc.cells import Outcomes
from ilion.poc.compare import ALL, Weighted, compare_designs, shares_of
from ilion.poc.settings import Measure
from ilion.types import Float64

CELLS = tuple(
    f"{size}/{clutter}" for size in ("small", "medium", "large") for clutter in ("plain", "crowded")
)
BASE = np.array([0.3, 0.2, 0.6, 0.5, 0.7, 0.65])
LEAST = 0.05
GRID = np.linspace(0.0005, 0.9995, 400)
DESIGNS = ("local-1k", "local-2k", "local-4k", "local-16k")


def simulate(
    rng: np.random.Generator, objects: int, gains: Float64, measure: Measure, missing: float
) -> dict[str, Outcomes]:
    """Draw what a baseline and four designs find: easy objects are easy for all, as they are in photos.

    Args:
        rng: Generator.
        objects: I.
        gains: (4, C) true gains.
        measure: ``AP`` is drawn from beta laws with much mass at 0 and 1, ``R@1`` is 0 or 1.
        missing: Share of the cells in which an object was not photographed.
    """
    of_object, of_cell = rng.standard_normal((objects, 1)), rng.standard_normal((objects, len(CELLS)))
    absent = rng.random((objects, len(CELLS))) < missing
    found = {}
    for name, mean in zip(("global", *DESIGNS), (BASE, *(BASE + gains)), strict=True):
        own = rng.standard_normal((objects, len(CELLS)))
        normal = np.sqrt(0.5) * of_object + np.sqrt(0.3) * of_cell + np.sqrt(0.2) * own
        uniform = scipy.stats.norm.cdf(normal)
        values = (uniform < mean).astype(float) if measure == "R@1" else _beta(uniform, mean)
        values[absent] = np.nan
        whole = np.nanmean(np.where(absent.all(axis=1, keepdims=True), 0.0, values), axis=1)
        names = tuple(f"object {number}" for number in range(objects))
        found[name] = Outcomes(names, {measure: values}, (~absent).astype(np.int64) * 2, {measure: whole})
    return found


def _beta(uniform: Float64, mean: Float64) -> Float64:
    """Return values of a beta law with mean ``mean`` and parameters of sum 1, by a table."""
    columns = [np.interp(uniform[:, cell], GRID, quantiles(float(each))) for cell, each in enumerate(mean)]
    return np.stack(columns, axis=1)


@lru_cache
def quantiles(mean: float) -> Float64:
    """Return the quantiles of a beta law at `GRID`."""
    return np.asarray(scipy.stats.beta.ppf(GRID, mean, 1 - mean))


def mean_of(measure: Measure, mean: Float64) -> Float64:
    """Return the true mean of what `simulate` draws."""
    uniform = np.repeat(np.linspace(0.5 / 20_000, 1 - 0.5 / 20_000, 20_000)[:, None], len(mean), axis=1)
    return _beta(uniform, mean).mean(axis=0) if measure == "AP" else mean


@pytest.mark.slow
@pytest.mark.parametrize(("measure", "objects", "missing"), [("AP", 15, 0.0), ("R@1", 30, 0.2)])
def test_what_does_not_pay_is_seldom_said_to_pay(measure: Measure, objects: int, missing: float) -> None:
    """All true gains are just what the price needs, the hardest case: any verdict but one is wrong."""
    rng = np.random.default_rng(objects)
    shift = np.full((4, len(CELLS)), LEAST)
    truth = np.stack([mean_of(measure, BASE + row) - mean_of(measure, BASE) for row in shift])
    least = {name: float(truth[number].max()) for number, name in enumerate(DESIGNS)} | {"global": 0.0}
    shares = Weighted(np.full(len(CELLS), 1 / len(CELLS)), CELLS)
    pays = 0
    for seed in range(120):
        outcomes = simulate(rng, objects, shift, measure, missing)
        found = compare_designs(outcomes, "global", shares, least, measure, seed)
        pays += any(verdict.answer == "pays" for verdict in found.verdicts)
    assert pays / 120 <= 0.05 + 0.02  # 120 repetitions are known to 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("measure", "objects"), [("AP", 15), ("R@1", 25)])
def test_intervals_over_all_searches_cover_the_truth(measure: Measure, objects: int) -> None:
    """Some objects lack photos in some cells; what few objects miss is allowed for, which covers more."""
    rng = np.random.default_rng(5)
    gains = np.array([[0.0] * 6, [0.1] * 6, [0.25, 0.2, 0.1, 0.1, 0.0, 0.0], [0.3, 0.3, 0.2, 0.2, 0.1, 0.1]])
    truth = [float((mean_of(measure, BASE + row) - mean_of(measure, BASE)).mean()) for row in gains]
    shares = Weighted(np.full(len(CELLS), 1 / len(CELLS)), CELLS)
    held: list[bool] = []
    for _ in range(300):
        outcomes = simulate(rng, objects, gains, measure, 0.2)
        for number, name in enumerate(DESIGNS):
            difference = outcomes[name].values[measure] - outcomes["global"].values[measure]
            values = shares.over_all(difference)
            if values is not None:
                ends = cautious_interval(values[~np.isnan(values)])
                held.append(ends.low <= truth[number] <= ends.high)
    assert len(held) > 1100
    assert np.mean(held) >= 0.93


@pytest.mark.slow
def test_a_large_gain_is_found() -> None:
    rng = np.random.default_rng(1)
    gains = np.vstack([np.zeros((3, 6)), np.array([0.45, 0.5, 0.3, 0.35, 0.25, 0.3])])
    shares = shares_of(CELLS, np.ones(6, np.int64), {})
    found = [
        compare_designs(
            simulate(rng, 20, gains, "AP", 0.0),
            "global",
            shares,
            dict.fromkeys(("global", *DESIGNS), LEAST),
            "AP",
        )
        for _ in range(20)
    ]
    assert sum(each.find("local-16k", ALL).answer == "pays" for each in found) >= 18
    assert sum(each.find("local-1k", ALL).answer == "pays" for each in found) <= 1
