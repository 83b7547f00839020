"""Metrics by name: further cut-offs, AP in another definition, and functions from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ConfigError
from ilion.evaluation.average_precision import Definition
from ilion.evaluation.compare import compare
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.metrics import METRICS
from ilion.evaluation.truth import truth_from_ids
from ilion.types import GroundTruth, Int64, Ranking

QUERIES = ("q0", "q1", "q2")


@pytest.fixture(scope="module")
def case() -> tuple[Ranking, GroundTruth]:
    """Three queries over 40 images, 30 results each; of the last query nothing is found."""
    rng = np.random.default_rng(0)
    ids = tuple(f"i{n}" for n in range(40))
    rows = np.stack([rng.permutation(38)[:30] for _ in QUERIES])
    similarities = np.tile(np.linspace(1, 0, 30, dtype=np.float32), (3, 1))
    ranking = Ranking(QUERIES, ids, rows, similarities, np.full(3, 30))
    positives = {"q0": ("i1", "i7", "i20", "gone"), "q1": ("i3", "i5"), "q2": ("i38", "i39")}
    return ranking, truth_from_ids(QUERIES, ids, positives, {"q0": (ids[rows[0, 0]],)})


def reciprocal_rank(ranks: Int64, positives: int, k: int) -> float:
    return 1 / float(ranks[0]) if len(ranks) else 0.0


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    """Register for one test."""
    METRICS.parts()
    monkeypatch.setattr(METRICS, "_parts", dict(METRICS._parts))

    def register(name: str, function: object) -> None:
        METRICS.register(name)(function)

    return register


def naive(ranking: Ranking, truth: GroundTruth, query: int, k: int) -> list[int]:
    rows = [row for row in ranking.indices[query] if row not in truth.ignored[query]]
    return [rank for rank, row in enumerate(rows, 1) if row in truth.positives[query] and rank <= k]


def test_further_cutoffs_equal_loops(case: tuple[Ranking, GroundTruth]) -> None:
    asked = ("P@4", "recall@20", "R@3", "oracle@2", "P", *(f"{d}@7" for d in get_args(Definition)))
    result = evaluate(*case, k=25, bootstrap=50, metrics=asked)
    plain = evaluate(*case, k=25, bootstrap=50)
    assert list(result.metrics)[: len(plain.metrics)] == list(plain.metrics)
    assert {name: result.metric_ci95[name] for name in plain.metrics} == plain.metric_ci95
    assert list(result.metrics)[len(plain.metrics) :] == [name if "@" in name else "P@25" for name in asked]
    for number in range(3):
        found = {name: float(values[number]) for name, values in result.per_query_metrics.items()}
        size = len(case[1].positives[number]) + int(case[1].unreachable[number])
        hits = {k: naive(*case, number, k) for k in (2, 3, 4, 7, 20, 25)}
        assert found["P@4"] == len(hits[4]) / 4
        assert found["P@25"] == len(hits[25]) / 25
        assert found["recall@20"] == len(hits[20]) / size
        assert found["R@3"] == float(bool(hits[3]))
        assert found["oracle@2"] == len(hits[2]) / min(2, size)
        total = sum(place / rank for place, rank in enumerate(hits[7], 1))
        assert found["trec@7"] == pytest.approx(total / size)
        assert found["ilias@7"] == pytest.approx(total / min(7, size))
    assert 0 < result.metrics["revisited@7"] < result.metrics["trec@7"]


def test_a_function_from_outside_gets_ranks_number_and_cutoff(
    case: tuple[Ranking, GroundTruth], registered: Callable[[str, object], None]
) -> None:
    seen = []

    def first(ranks: Int64, positives: int, k: int) -> float:
        seen.append((ranks.tolist(), positives, k))
        return reciprocal_rank(ranks, positives, k)

    registered("first", first)
    result = evaluate(*case, k=25, bootstrap=50, metrics=["first", "first@5"])
    wanted = [(naive(*case, q, k), size, k) for k in (25, 5) for q, size in enumerate((4, 2, 2))]
    assert seen == wanted
    values = [1 / ranks[0] if ranks else 0.0 for ranks, _, k in wanted if k == 25]
    assert result.per_query_metrics["first@25"].tolist() == values
    assert result.metrics["first@25"] == pytest.approx(np.mean(values))
    interval = result.metric_ci95["first@25"]
    assert interval.low <= result.metrics["first@25"] <= interval.high


def test_what_a_function_does_wrong_is_said_with_the_query(
    case: tuple[Ranking, GroundTruth], registered: Callable[[str, object], None]
) -> None:
    registered("loud", lambda ranks, positives, k: 1.5)
    registered("lost", lambda ranks, positives, k: float("nan"))
    registered("broken", lambda ranks, positives, k: float(ranks[0]) / 100)
    with pytest.raises(ConfigError, match=r"'loud' gives 1\.5 for 'q0'; it must lie in \[0, 1\]"):
        evaluate(*case, metrics=["loud"])
    with pytest.raises(ConfigError, match="'lost' gives nan"):
        evaluate(*case, metrics=["lost"])
    with pytest.raises(ConfigError, match="'broken' failed for query 'q2': IndexError"):
        evaluate(*case, metrics=["broken"])


def test_a_function_cannot_change_what_others_see(
    case: tuple[Ranking, GroundTruth], registered: Callable[[str, object], None]
) -> None:
    def vandal(ranks: Int64, positives: int, k: int) -> float:
        ranks[:] = 1
        return 0.0

    registered("vandal", vandal)
    result = evaluate(*case, k=25, bootstrap=50, metrics=["vandal", "R@2"])
    assert result.metrics["R@2"] == evaluate(*case, k=25, bootstrap=50, metrics=["R@2"]).metrics["R@2"]


def test_names_and_cutoffs_that_do_not_exist_are_refused(case: tuple[Ranking, GroundTruth]) -> None:
    with pytest.raises(ConfigError, match="no metric is named 'recal'; did you mean 'recall'"):
        evaluate(*case, metrics=["recal@5"])
    for wrong in ("P@0", "P@26"):
        with pytest.raises(ConfigError, match=f"metric '{wrong}': its cut-off must be from 1 to 25"):
            evaluate(*case, k=25, metrics=[wrong])


def test_the_experiment_is_refused_before_it_runs() -> None:
    settings = {"evaluation": {"k": 10, "metrics": ["P@4", "P@20"]}}
    with pytest.raises(ConfigError, match="'P@20'"):
        from_dict(ExperimentConfig, settings)


def test_any_metric_of_two_runs_can_be_compared(case: tuple[Ranking, GroundTruth]) -> None:
    ranking, truth = case
    turned = replace(ranking, indices=ranking.indices[:, ::-1].copy())
    a, b = (evaluate(each, truth, k=25, bootstrap=50, metrics=["P@4"]) for each in (ranking, turned))
    found = compare(a, b, metric="P@4", bootstrap=50, permutations=50)
    assert found.metric == "P@4"
    assert found.means == (a.metrics["P@4"], b.metrics["P@4"])
    assert found.per_query.tolist() == (b.per_query_metrics["P@4"] - a.per_query_metrics["P@4"]).tolist()
    assert found.difference != compare(a, b, bootstrap=50, permutations=50).difference
    with pytest.raises(ConfigError, match=r"a run has no metric 'P@3', only R@1, .*evaluation.metrics"):
        compare(a, b, metric="P@3")
