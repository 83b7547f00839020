"""Sample sizes keep what they promise, for skewed and bounded measures too: simulated with known truth."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from ilion.evaluation.intervals import TAIL, cautious_interval
from ilion.poc.sample import (
    LEAST_OBJECTS,
    detectable,
    half_width,
    objects_for_power,
    objects_for_width,
    power,
)
from ilion.types import Float64

Draw = Callable[[int], Float64]
LEAST = 0.05


def three_values(better: float, worse: float, rng: np.random.Generator) -> Draw:
    """Return differences of R@1: better, worse, or equal."""

    def draw(n: int) -> Float64:
        u = rng.random(n)
        return np.where(u < better, 1.0, np.where(u < better + worse, -1.0, 0.0))

    return draw


def often_zero(share: float, rng: np.random.Generator) -> Draw:
    """Return differences of AP that are often 0, sometimes large, seldom negative."""

    def draw(n: int) -> Float64:
        gains = np.where(rng.random(n) < share, rng.beta(1, 1, n), 0.0)
        return gains - np.where(rng.random(n) < 0.1, rng.beta(1, 4, n), 0.0)

    return draw


RNG = np.random.default_rng(11)
WORLDS: dict[str, Draw] = {
    "normal": lambda n: RNG.normal(0.2, 0.26, n),
    "small": lambda n: RNG.normal(0.12, 0.15, n),
    "skewed": lambda n: RNG.beta(1, 6, n),
    "R@1": three_values(0.25, 0.02, RNG),
    "R@1, both ways": three_values(0.4, 0.1, RNG),
    "often zero": often_zero(0.5, RNG),
}


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("comparisons", [1, 12])
def test_promised_power_and_width_are_kept(world: str, comparisons: int) -> None:
    draw, tail = WORLDS[world], TAIL / comparisons
    many = draw(400_000)
    gain, spread = float(many.mean()), float(many.std())
    objects = objects_for_power(gain, LEAST, spread, 0.8, tail)
    found = [cautious_interval(draw(objects), tail) for _ in range(2000)]
    shown = np.mean([interval.low > LEAST for interval in found])
    wide = np.mean([(interval.high - interval.low) / 2 for interval in found])
    # 0.05 is what was promised; 2,000 repetitions are known to 0.018 (two standard errors)
    promised = power(gain, LEAST, spread, objects, tail)
    assert shown > promised - 0.05 - 0.018
    if comparisons == 1:  # the promise of a plan; far out in the tails a skewed measure shows more
        assert shown < promised + 0.05 + 0.018
    assert wide == pytest.approx(half_width(spread, objects, tail), abs=0.02)


@pytest.mark.parametrize("spread", [0.05, 0.2, 0.4])
def test_answers_are_the_smallest_numbers(spread: float) -> None:
    wide = objects_for_width(0.08, spread)
    assert half_width(spread, wide) <= 0.08
    assert wide == LEAST_OBJECTS or half_width(spread, wide - 1) > 0.08
    many = objects_for_power(0.2, LEAST, spread, 0.8)
    assert power(0.2, LEAST, spread, many) >= 0.8
    assert many == LEAST_OBJECTS or power(0.2, LEAST, spread, many - 1) < 0.8


def test_what_is_detectable_has_the_wanted_power() -> None:
    gain = detectable(LEAST, 0.25, 30, 0.8)
    assert power(gain, LEAST, 0.25, 30) == pytest.approx(0.8, abs=1e-6)
    assert detectable(LEAST, 3.0, 10, 0.99) == 1.0


def test_more_objects_never_know_less() -> None:
    widths = [half_width(0.3, n) for n in range(LEAST_OBJECTS, 60)]
    assert all(a > b for a, b in pairwise(widths))
