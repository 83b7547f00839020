"""Queries without evidence: no order of the database's rows is better for them than another."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from ilion.evaluation.average_precision import Definition
from ilion.evaluation.evaluate import evaluate, positives_ranks
from ilion.evaluation.gains import explain_gains
from ilion.evaluation.metrics import METRICS as METRICS_REGISTRY
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.outcome import Evaluation
from ilion.reading.combine import combine
from ilion.searching.fusion import by_rank
from ilion.types import Axes, GroundTruth, Ranking

DEFINITIONS = get_args(Definition)
METRICS = (
    "P@3",
    "recall@4",
    "R@2",
    "R@7",
    "oracle@9",
    *(f"{name}@{k}" for name in DEFINITIONS for k in (3, 9)),
)


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"image {row:04d}" for row in range(count))


def ranked(similarities: np.ndarray[tuple[int, ...], np.dtype[np.float32]], k: int) -> Ranking:
    """Rank a database as every search does: ties by lower row."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(similarities, order, axis=1)
    queries = len(similarities)
    names = tuple(f"q{number}" for number in range(queries))
    return Ranking(names, ids(similarities.shape[1]), order, values, np.full(queries, order.shape[1]))


def judge(
    ranking: Ranking, truth: GroundTruth, k: int, axes: Axes | None = None, **settings: object
) -> Evaluation:
    return evaluate(ranking, truth, axes, k=k, bootstrap=1, **settings)  # type: ignore[arg-type]


SIZE = 14
SHOWN, IGNORED = tuple(ids(SIZE)[row] for row in (0, 5, 6, 11)), (ids(SIZE)[1], ids(SIZE)[7])


@cache
def truth_of(queries: tuple[str, ...]) -> tuple[GroundTruth, Axes]:
    """Return the ground truth of queries that all ask for the same photos, and their slices."""
    names, positives = ids(SIZE), dict.fromkeys(queries, SHOWN)
    scale = {"scale": dict(zip(SHOWN, (0.01, 0.5, 0.01, 0.01), strict=True))}
    truth = truth_from_ids(queries, names, positives, dict.fromkeys(queries, IGNORED))
    return truth, axes_from_ids(queries, queries, names, positives, attributes=scale)


@pytest.mark.parametrize("kept", [5, 9, 14])
@pytest.mark.parametrize("front", [0, 1, 3])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_metrics_are_the_mean_over_all_orders(definition: Definition, front: int, kept: int) -> None:
    size, k, orders = SIZE, 9, 4000

    def measured(found: Ranking) -> tuple[Evaluation, dict[str, float]]:
        truth, axes = truth_of(tuple(found.query_ids))
        result = judge(found, truth, k, axes, definition=definition, metrics=METRICS)
        slices = {f"{s.axis} {s.label}": s.mean for s in result.slices}
        return result, {"AP": result.mean, **result.metrics, **slices}

    scores = np.zeros((1, size), np.float32)
    scores[0, :front] = 1 - np.arange(front) / 10
    _, expected = measured(ranked(scores, kept))
    rng = np.random.default_rng(front + 10 * kept)
    every = np.tile(np.arange(size), (orders, 1))
    every[:, front:] = rng.permuted(every[:, front:], axis=1)
    sampled, means = measured(Ranking.from_arrays(every, database_ids=ids(size)))
    assert expected.keys() == means.keys()
    for name, value in expected.items():
        assert value == pytest.approx(means[name], abs=5 * 0.5 / np.sqrt(orders)), name
    for name, values in sampled.per_query_metrics.items():
        assert expected[name] == pytest.approx(values.mean(), abs=5 * values.std() / np.sqrt(orders) + 1e-9)
        assert values.min() - 1e-9 <= expected[name] <= values.max() + 1e-9


def test_texts_that_read_nothing_are_as_good_as_chance() -> None:
    size, queries = 480, 18
    scores = np.zeros((queries, size), np.float32)
    scores[0, 0] = 1
    names = ids(size)
    positives = {f"q{number}": (names[number],) for number in range(queries)}
    result = judge(ranked(scores, 200), truth_from_ids(list(positives), names, positives), 200)
    assert result.per_query_metrics["recall@100"][0] == 1
    np.testing.assert_allclose(result.per_query_metrics["recall@100"][1:], 100 / size)
    assert result.without_evidence == tuple(f"q{number}" for number in range(1, queries))


def test_what_a_query_says_nothing_about_is_not_found() -> None:
    scores = np.array([[0.9, 0, 0, 0, 0]], np.float32)
    names = ids(5)
    truth = truth_from_ids(("q0",), names, {"q0": (names[0], names[1])})
    assert positives_ranks(ranked(scores, 3), truth)[0].tolist() == [1, -1]


def test_constant_descriptors_gain_nothing_from_the_order_of_rows() -> None:
    names = ids(50)
    truth = truth_from_ids(("q0",), names, {"q0": names[:2]})
    result = judge(ranked(np.full((1, 50), 0.7, np.float32), 10), truth, 10)
    assert result.metrics["P@10"] == pytest.approx(2 / 50)
    assert result.metrics["R@1"] == pytest.approx(2 / 50)
    assert result.without_evidence == ("q0",)


def test_a_shorter_list_is_a_tie_of_what_was_found_only() -> None:
    names = ids(50)
    found = Ranking(
        ("q0", "q1"),
        names,
        np.array([[0, 1, -1], [5, 6, 7]]),
        np.array([[1, 1, -np.inf], [0.9, 0.8, 0.7]], np.float32),
        np.array([2, 3]),
    )
    truth = truth_from_ids(("q0", "q1"), names, {"q0": (names[0], names[30]), "q1": (names[5],)})
    result = judge(found, truth, 3)
    assert result.per_query_metrics["R@1"].tolist() == pytest.approx([0.5, 1])
    assert result.per_query_metrics["recall@3"].tolist() == pytest.approx([0.5, 1])


def test_ties_that_are_not_open_stay_in_their_order_and_say_nothing() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.1]], np.float32)
    truth = truth_from_ids(("q0",), ids(4), {"q0": (ids(4)[1],)})
    result = judge(ranked(scores, 4), truth, 4)
    assert result.mean == 0.5
    assert result.without_evidence == ()


def test_ties_by_step_stay_those_of_the_benchmark_but_are_named() -> None:
    names = ids(4)
    truth = truth_from_ids(("q0",), names, {"q0": names[:1]})
    result = judge(ranked(np.zeros((1, 4), np.float32), 4), truth, 4, ties="step")
    assert result.mean == 0.25
    assert result.without_evidence == ("q0",)


def test_a_metric_from_outside_sees_many_orders(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text("def first(ranks, positives, k):\n    return float(len(ranks) > 0 and ranks[0] == 1)\n")
    METRICS_REGISTRY.admit(f"{code}:first", (str(code),))
    names = ids(4)
    truth = truth_from_ids(("q0",), names, {"q0": names[:2]})
    result = judge(ranked(np.zeros((1, 4), np.float32), 4), truth, 4, metrics=(f"{code}:first",))
    assert result.metrics["first@4"] == pytest.approx(0.5, abs=0.2)


def test_gains_add_up_where_a_query_has_no_evidence() -> None:
    names = ids(12)
    before = ranked(np.zeros((1, 12), np.float32), 8)
    lifted = replace(
        before,
        indices=np.array([[3, 0, 1, 2, 4, 5, 6, 7]]),
        similarities=np.array([[1, 0, 0, 0, 0, 0, 0, 0]], np.float32),
    )
    truth = truth_from_ids(("q0",), names, {"q0": (names[0], names[3])})
    verified = np.array([[False, False, False, True]])
    ledger = explain_gains(before, lifted, truth, verified, k=8)
    assert ledger.before == pytest.approx(judge(before, truth, 8).mean)
    assert ledger.after == pytest.approx(judge(lifted, truth, 8).mean)
    assert ledger.oracle == pytest.approx(1)
    assert ledger.gained > 0


def test_ranks_fused_with_a_list_without_evidence_have_none_either() -> None:
    visual = ranked(np.full((1, 6), 0.5, np.float32), 6)
    nothing = (np.empty(0, np.int64), np.empty(0))
    fused = combine(visual, [nothing], None)
    assert len(set(fused.similarities[0].tolist())) == 1
    equal = by_rank(np.full(5, 0.5, np.float32), np.zeros(5, np.float32))
    assert len(set(equal.tolist())) == 1


def test_terminal_and_json_say_how_many_queries_have_no_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    from ilion.cli.common import say_without_evidence, summary

    names = ids(20)
    truth = truth_from_ids(("q0",), names, {"q0": names[:1]})
    ranking = ranked(np.zeros((1, 20), np.float32), 20)
    result = judge(ranking, truth, 20)
    say_without_evidence(result)
    assert "1 of 1 query" in capsys.readouterr().out
    cost = judge(ranking, truth, 20)
    run = SimpleNamespace(
        name="",
        design="",
        evaluation=result,
        cost=cost,
        ranking=ranking,
        skipped=(),
        missing=(),
        provenance={},
        protocols={},
    )
    assert summary(run)["without_evidence"] == ["q0"]
