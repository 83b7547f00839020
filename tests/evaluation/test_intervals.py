from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy

from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.compare import compare
from ilion.evaluation.intervals import (
    bootstrap_means,
    expanded_tail,
    group,
    mean_interval,
    percentiles,
    sign_flip_p_value,
)
from ilion.outcome import Evaluation, Interval
from ilion.types import Float64


def evaluation(per_query: list[float] | Float64, instances: tuple[str, ...] | None = None) -> Evaluation:
    values = np.asarray(per_query, dtype=np.float64)
    queries = tuple(f"q{number}" for number in range(len(values)))
    return Evaluation(
        "ilias",
        1000,
        queries,
        instances or queries,
        values,
        float(values.mean()),
        Interval(0, 1),
        {},
        {},
        {},
        (),
        0,
    )


@pytest.mark.parametrize("instances", range(4, 200, 7))
def test_expanded_tail_equals_scipy(instances: int) -> None:
    student = scipy.stats.t.isf(0.025, instances - 1)
    expected = scipy.stats.norm.cdf(-np.sqrt(instances / (instances - 1)) * student)
    assert expanded_tail(instances) == pytest.approx(expected, rel=0.01, abs=2e-5)


def test_bootstrap_equals_scipy() -> None:
    values = np.random.default_rng(0).beta(0.5, 1, size=60)
    ours = np.quantile(bootstrap_means(values[:, None], np.ones((60, 1)), 20_000, seed=1), [0.025, 0.975])
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.004)


@pytest.mark.slow
def test_bootstrap_resamples_instances_with_all_their_queries() -> None:
    """Against a plain loop that copies the queries of each drawn instance."""
    rng = np.random.default_rng(3)
    codes, instances = group([f"object{number}" for number in rng.integers(0, 25, size=60)])
    values = rng.random(60)
    totals = np.bincount(codes, weights=values)[:, None].astype(np.float64)
    weights = np.bincount(codes).astype(np.float64)[:, None]
    ours = bootstrap_means(totals, weights, 4000, seed=4)[:, 0]
    theirs = [
        np.concatenate([values[codes == one] for one in rng.integers(0, instances, size=instances)]).mean()
        for _ in range(4000)
    ]
    assert scipy.stats.ks_2samp(ours, theirs).pvalue > 0.01


def test_bootstrap_in_chunks_resamples_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).random((50, 2))
    whole = bootstrap_means(values, np.ones((50, 2)), 999, seed=6)
    monkeypatch.setattr("ilion.evaluation.intervals._CHUNK", 1000)
    chunks = bootstrap_means(values, np.ones((50, 2)), 999, seed=6)
    np.testing.assert_allclose(chunks, whole)


def test_samples_without_any_instance_of_a_slice_are_left_out() -> None:
    totals, weights = np.array([[0.5], [0.0], [0.0]]), np.array([[1.0], [0.0], [0.0]])
    means = bootstrap_means(totals, weights, 500, seed=0)[:, 0]
    assert 0.2 < np.isnan(means).mean() < 0.4
    assert np.nanmin(means) == np.nanmax(means) == 0.5
    assert mean_interval(0.5, means, 1) == Interval(pytest.approx(0.0125), pytest.approx(0.9875))  # type: ignore[arg-type]


def draw(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Float64:
    if kind == "hit":
        return (rng.random(size) < 0.9).astype(np.float64)
    if kind == "low":
        return (rng.random(size) < 0.1) * rng.beta(1, 3, size)
    chance, beta = rng.random(size), rng.beta(1, 1.5, size)
    return np.where(chance < 0.3, 0.0, np.where(chance < 0.5, 1.0, beta))


@pytest.mark.parametrize(
    ("kind", "mean"), [("ap", 0.3 * 0 + 0.2 * 1 + 0.5 * 0.4), ("hit", 0.9), ("low", 0.1 * 0.25)]
)
@pytest.mark.parametrize("instances", [1, 2, 5, 10, 31, 100])
def test_intervals_cover_the_truth(kind: str, mean: float, instances: int) -> None:
    """95% intervals of many simulated data sets, from very few instances on."""
    rng = np.random.default_rng(7)
    sets = draw(kind, (300, instances), rng)
    covered = 0
    for number, values in enumerate(sets):
        replicates = bootstrap_means(values[:, None], np.ones((instances, 1)), 400, seed=number)[:, 0]
        interval = mean_interval(float(values.mean()), replicates, instances)
        covered += interval.low <= mean <= interval.high
        assert 0 <= interval.low <= values.mean() <= interval.high <= 1
    # Three standard deviations of 300 draws below the 95% that is promised.
    assert covered / 300 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


def test_intervals_are_not_needlessly_wide() -> None:
    values = draw("ap", (1, 1000), np.random.default_rng(8))[0]
    replicates = bootstrap_means(values[:, None], np.ones((1000, 1)), 2000, seed=0)[:, 0]
    interval = mean_interval(float(values.mean()), replicates, 1000)
    normal = 2 * 1.96 * values.std() / np.sqrt(1000)
    assert interval.high - interval.low == pytest.approx(normal, rel=0.05)


def test_all_hits_are_not_a_certainty() -> None:
    interval = mean_interval(1.0, np.ones(2000), 31)
    # Clopper and Pearson's exact interval of 31 hits in 31 trials.
    assert interval.low == pytest.approx(scipy.stats.binomtest(31, 31).proportion_ci().low)
    assert interval.high == 1


def test_percentiles_of_many_instances_are_the_usual_ones() -> None:
    replicates = np.random.default_rng(9).normal(size=5000)
    interval = percentiles(replicates, 10**6)
    np.testing.assert_allclose(
        [interval.low, interval.high], np.quantile(replicates, [0.025, 0.975]), atol=1e-3
    )


def test_randomisation_test_equals_all_sign_patterns() -> None:
    differences = np.array([0.3, -0.1, 0.25, 0.4, -0.05, 0.2, 0.15, 0.0])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1).T
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert sign_flip_p_value(differences, 100_000, seed=0) == pytest.approx(exact, abs=0.004)


def test_randomisation_test_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(1).normal(0.3, 1, size=40)
    whole = sign_flip_p_value(differences, 5000, seed=0)
    monkeypatch.setattr("ilion.evaluation.intervals._CHUNK", 800)
    assert sign_flip_p_value(differences, 5000, seed=0) == pytest.approx(whole, abs=0.02)


def test_p_values_are_uniform_when_runs_do_not_differ() -> None:
    rng = np.random.default_rng(10)
    p_values = [
        sign_flip_p_value(rng.normal(size=30) * rng.choice([0.1, 1.0], size=30), 499, seed=number)
        for number in range(400)
    ]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_compare() -> None:
    a = evaluation([0.5, 0.5, 0.5, 0.5], ("mug", "mug", "cap", "hat"))
    b = evaluation([0.6, 0.5, 0.9, 0.3], ("mug", "mug", "cap", "hat"))
    result = compare(a, b)
    np.testing.assert_allclose(result.per_query, [0.1, 0, 0.4, -0.2], atol=1e-12)
    assert result.difference == pytest.approx(0.075)
    assert (result.better, result.worse, result.equal, result.instances) == (2, 1, 1, 3)
    assert result.ci95.low < result.difference < result.ci95.high
    # Sums of the instances are 0.1, 0.4, -0.2; 6 of the 8 sign patterns are at least as far from zero as 0.3.
    assert result.p_value == pytest.approx(0.75, abs=0.02)


def test_compare_is_antisymmetric() -> None:
    rng = np.random.default_rng(11)
    a, b = evaluation(rng.random(50)), evaluation(rng.random(50))
    forth, back = compare(a, b), compare(b, a)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.ci95.low == pytest.approx(-back.ci95.high, abs=0.02)
    assert forth.p_value == back.p_value
    assert (forth.better, forth.worse) == (back.worse, back.better)


def test_compare_aligns_queries_by_id() -> None:
    a = evaluation([0.1, 0.2, 0.3])
    b = replace(
        a, query_ids=("q2", "q0", "q1"), instances=("q2", "q0", "q1"), per_query=np.array([0.3, 0.1, 0.2])
    )
    result = compare(a, b)
    assert (result.difference, result.equal, result.p_value) == (0, 3, 1)


def test_compare_finds_a_real_difference_and_bounds_it() -> None:
    rng = np.random.default_rng(12)
    base = rng.random(200) * 0.5
    result = compare(evaluation(base), evaluation(base + 0.05 + rng.normal(0, 0.1, 200)))
    assert result.p_value < 0.001
    assert 0 < result.ci95.low < 0.05 < result.ci95.high < 0.1


def test_intervals_of_differences_cover_the_truth() -> None:
    rng = np.random.default_rng(13)
    covered = 0
    for number in range(200):
        base = rng.random(31) * 0.5
        change = rng.normal(0.02, 0.1, 31)
        interval = compare(
            evaluation(base), evaluation(base + change), bootstrap=400, permutations=1, seed=number
        ).ci95
        covered += interval.low <= 0.02 <= interval.high
    assert covered / 200 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)


def test_compare_one_instance_says_nothing() -> None:
    result = compare(evaluation([0.1, 0.2], ("mug", "mug")), evaluation([0.9, 0.8], ("mug", "mug")))
    assert result.ci95 == Interval(-1, 1)
    assert result.p_value == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"definition": "trec"}, "definition is 'ilias' in the first and 'trec' in the second"),
        ({"k": 100}, "k is 1000 in the first and 100 in the second"),
        ({"ties": "step"}, "ties is 'rank' in the first and 'step' in the second"),
        ({"query_ids": ("q0", "x")}, r"1 query is only in the first and 1 only in the second \('q1'"),
        ({"instances": ("q0", "mug")}, r"query 'q1' \(and 0 more\) belongs to different instances"),
    ],
)
def test_runs_that_cannot_be_compared(changes: dict[str, object], message: str) -> None:
    a = evaluation([0.1, 0.2])
    with pytest.raises(ArtifactError, match=message):
        compare(a, replace(a, **changes))  # type: ignore[arg-type]


def test_compare_needs_samples() -> None:
    a = evaluation([0.1, 0.2])
    with pytest.raises(ConfigError, match="must be at least 1"):
        compare(a, a, permutations=0)
