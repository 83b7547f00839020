"""Thresholds: exact tests, the smallest one that passes, and promises that are kept."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError, ConfigError
from ilion.poc.say import at_equal_risk
from ilion.poc.threshold import (
    Searches,
    betting_p_value,
    binomial_p_value,
    bounded_p_value,
    compare_at_risk,
    find_threshold,
    promise,
    trade_off,
)


def searches(
    rng: np.random.Generator, objects: int, queries: int, separation: float = 2.0, spread: float = 0.7
) -> Searches:
    """Draw a proof of concept: an object shifts the scores of all its queries, so queries are dependent."""
    shift = spread * rng.normal(size=(objects, 1))
    easy = separation + spread * rng.normal(size=(objects, 1))
    absent = shift + rng.normal(size=(objects, queries))
    own = easy + rng.normal(size=(objects, queries))
    right = own > absent  # the best wrong photo stays where it is
    return Searches(
        tuple(f"object {o}" for o in range(objects) for _ in range(queries)),
        tuple(f"{o} {q}" for o in range(objects) for q in range(queries)),
        np.maximum(own, absent).ravel().astype(np.float32),
        right.ravel(),
        absent.ravel().astype(np.float32),
    )


@pytest.mark.parametrize(("wrong", "trials", "risk"), [(0, 45, 0.05), (3, 60, 0.1), (60, 60, 0.3)])
def test_binomial_p_values_are_those_of_the_definition(wrong: int, trials: int, risk: float) -> None:
    exact = sum(comb(trials, k) * risk**k * (1 - risk) ** (trials - k) for k in range(wrong + 1))
    assert binomial_p_value(wrong, trials, risk) == pytest.approx(exact)


@given(st.integers(1, 200), st.floats(0.01, 0.5), st.floats(0, 1), st.floats(0, 1))
def test_p_values_rise_with_the_loss_and_bound_the_exact_one(
    objects: int, risk: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert bounded_p_value(low, objects, risk) <= bounded_p_value(high, objects, risk) + 1e-12
    wrong = int(low * objects)
    assert bounded_p_value(wrong / objects, objects, risk) >= min(
        1.0, binomial_p_value(wrong, objects, risk) * (1 - 1e-9)
    )


def test_the_threshold_is_the_smallest_that_passes() -> None:
    rng = np.random.default_rng(0)
    known = searches(rng, 120, 1)
    found = promise(known, 0.1, 0.9)
    assert found.threshold is not None
    assert found.at is not None
    passing = []
    for level in np.unique(np.concatenate([known.present, known.absent, [found.threshold]])):
        losses = (known.absent >= level).sum(), ((known.present >= level) & ~known.right).sum()
        if max(binomial_p_value(int(wrong), 120, 0.1) for wrong in losses) <= 0.1:
            passing.append(level)
    assert found.threshold == min(passing)
    assert found.at.wrong_absent.value == (known.absent >= found.threshold).mean()
    assert found.at.found.value + found.at.missed.value == pytest.approx(known.right.mean())


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_a_bettor_never_believes_more_than_the_best_stake(losses: list[float], risk: float) -> None:
    found = betting_p_value(np.array(losses), risk, 0.1)
    assert 0 < found <= 1
    # no stake of at most 1 wins more than (1 + risk) a loss
    assert found >= (1 + risk) ** -len(losses) * (1 - 1e-9)
    assert betting_p_value(np.ones(len(losses)), risk, 0.1) == 1


def test_several_queries_an_object_allow_a_lower_threshold() -> None:
    """Means of several queries vary less than single ones, and the test knows."""
    rng = np.random.default_rng(7)
    many = searches(rng, 200, 8)
    p_value, threshold = find_threshold(many, 0.1, 0.9)
    assert threshold is not None
    losses = (many.absent >= threshold).reshape(200, 8).mean(axis=1)
    assert p_value <= 0.1 < bounded_p_value(float(losses.mean()), 200, 0.1)


def test_an_object_counts_once_however_often_it_is_asked_for() -> None:
    known = searches(np.random.default_rng(1), 80, 1)
    often = known.take(np.concatenate([np.arange(80), np.repeat(np.argmax(known.absent), 50)]))
    level = float(np.median(known.absent))
    one, other = (trade_off(each, [level])[0] for each in (known, often))
    assert one.wrong_absent.value == pytest.approx(other.wrong_absent.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("queries", "share", "risk"), [(1, None, 0.1), (3, None, 0.1), (3, 0.3, 0.05), (1, 1.0, 0.05)]
)
def test_promises_are_kept_with_their_confidence(queries: int, share: float | None, risk: float) -> None:
    """1,000 simulated proofs of concept, whose true risk is that of a very large one."""
    truth = searches(np.random.default_rng(10**6), 100_000, queries)
    wrong = np.sort(np.where(truth.right, -np.inf, truth.present))
    absent = np.sort(truth.absent)
    broken = accepted = 0
    for proof in range(1000):
        known = searches(np.random.default_rng(proof), 80, queries)
        _, threshold = find_threshold(known, risk, 0.9, share)
        assert threshold is not None
        risks = [1 - np.searchsorted(each, threshold) / len(each) for each in (absent, wrong)]
        real = max(risks) if share is None else share * risks[0] + (1 - share) * risks[1]
        broken += int(real > risk)
        accepted += int((known.right & (known.present >= threshold)).mean() > 0.05)
    assert broken <= 100 + 2 * np.sqrt(1000 * 0.1 * 0.9)
    assert accepted > 900, "the promise is not kept by answering nothing"


@pytest.mark.slow
def test_too_few_objects_promise_nothing_and_say_what_they_could() -> None:
    few = searches(np.random.default_rng(2), 20, 4, separation=20)
    found = promise(few, 0.05, 0.9)
    assert found.threshold is None
    assert found.at is None
    assert found.curve
    assert found.objects_needed == 45
    assert found.least_risk == pytest.approx(1 - 0.1 ** (1 / 20))
    at_best = promise(few, found.least_risk + 1e-6, 0.9)
    assert at_best.threshold is not None, "what it says it could promise, it does"
    assert promise(searches(np.random.default_rng(2), 45, 1, separation=20), 0.05, 0.9).threshold is not None
    assert promise(searches(np.random.default_rng(2), 44, 1, separation=20), 0.05, 0.9).threshold is None


def test_searches_without_any_answer_are_never_wrong() -> None:
    known = searches(np.random.default_rng(3), 60, 1)
    nothing = Searches(
        known.objects, known.query_ids, known.present, known.right, np.full(60, -np.inf, np.float32)
    )
    found = promise(nothing, 0.05, 0.9, absent_share=1.0)
    assert found.threshold == known.present.min(), "every answer may be accepted"


def test_equal_risk_is_learnt_on_other_objects() -> None:
    rng = np.random.default_rng(4)
    weak, strong = searches(rng, 200, 1, separation=1.0), searches(rng, 200, 1, separation=4.0)
    found = compare_at_risk(weak, strong, 0.1)
    assert found is not None
    assert found.difference.interval.low > 0
    assert found.difference.value == pytest.approx(found.found_b.value - found.found_a.value)
    assert at_equal_risk("strong", "weak", found, 0.1, 200).said
    same = compare_at_risk(weak, weak, 0.1)
    assert same is not None
    assert same.difference.value == 0
    assert at_equal_risk("weak", "weak", same, 0.1, 200).withheld == "not-settled"
    assert at_equal_risk("strong", "weak", None, 0.1, 20).withheld == "few-objects"
    assert compare_at_risk(weak.take(np.arange(20)), strong.take(np.arange(20)), 0.05) is None
    with pytest.raises(ArtifactError, match="same queries"):
        compare_at_risk(weak, strong.take(np.arange(100)), 0.1)


@pytest.mark.parametrize("numbers", [(0.0, 0.9, None), (0.05, 1.0, None), (0.05, 0.9, 1.5)])
def test_numbers_out_of_range_are_refused(numbers: tuple[float, float, float | None]) -> None:
    with pytest.raises(ConfigError):
        promise(searches(np.random.default_rng(5), 50, 1), *numbers)
