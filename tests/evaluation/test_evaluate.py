from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.evaluation.average_precision import Definition
from ilion.evaluation.evaluate import evaluate, positives_ranks
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.outcome import Evaluation, Interval
from ilion.types import Axes, GroundTruth, Ranking

DATABASE = ("a", "b", "c", "d", "e")


def ranking(lists: dict[str, str], database: tuple[str, ...] = DATABASE) -> Ranking:
    """Result lists as strings of one-letter ids."""
    width = max(map(len, lists.values()))
    indices = np.full((len(lists), width), -1, dtype=np.int64)
    similarities = np.full((len(lists), width), -np.inf, dtype=np.float32)
    for number, found in enumerate(lists.values()):
        indices[number, : len(found)] = [database.index(image) for image in found]
        similarities[number, : len(found)] = -np.arange(len(found))
    counts = np.array([len(found) for found in lists.values()], dtype=np.int64)
    return Ranking(tuple(lists), database, indices, similarities, counts)


def truth(positives: dict[str, str], ignored: dict[str, str] | None = None) -> GroundTruth:
    return truth_from_ids(
        list(positives),
        DATABASE,
        {query: tuple(of) for query, of in positives.items()},
        {query: tuple(of) for query, of in (ignored or {}).items()},
    )


TWO = ranking({"q1": "abcde", "q2": "edcba"})
TWO_TRUTH = truth({"q1": "b", "q2": "ea"})


def test_result_follows_the_ground_truth_whatever_the_order_of_the_ranking() -> None:
    swapped = ranking({"q2": "edcba", "q1": "abcde"})
    one, other = evaluate(TWO, TWO_TRUTH), evaluate(swapped, TWO_TRUTH)
    assert one.query_ids == other.query_ids == ("q1", "q2")
    np.testing.assert_array_equal(one.per_query, other.per_query)
    np.testing.assert_allclose(one.per_query, [1 / 2, (1 + 2 / 5) / 2])
    assert one.mean == other.mean
    assert one.ci95 == other.ci95


def test_order_of_queries_does_not_matter() -> None:
    one = evaluate(TWO, TWO_TRUTH)
    other = evaluate(TWO, truth({"q2": "ea", "q1": "b"}))
    np.testing.assert_array_equal(one.per_query, other.per_query[::-1])
    assert one.mean == pytest.approx(other.mean)


def test_more_results_asked_for_than_there_are() -> None:
    result = evaluate(TWO, TWO_TRUTH, k=10**6)
    assert result.mean == evaluate(TWO, TWO_TRUTH, k=5).mean
    assert {"recall@100", "recall@1000000", "oracle@1000000"} <= set(result.metrics)


def test_metrics_that_need_more_than_k_results_are_left_out() -> None:
    assert set(evaluate(TWO, TWO_TRUTH, k=5).metrics) == {"R@1", "R@5", "P@5", "recall@5", "oracle@5"}
    assert set(evaluate(TWO, TWO_TRUTH, k=1).metrics) == {"R@1", "recall@1", "oracle@1"}


def test_empty_list_is_a_miss_not_an_error() -> None:
    result = evaluate(ranking({"q1": "", "q2": "edcba"}), TWO_TRUTH)
    assert result.per_query[0] == 0
    assert all(values[0] == 0 for values in result.per_query_metrics.values())


def test_lists_that_are_all_empty() -> None:
    empty = Ranking(
        ("q",), DATABASE, np.empty((1, 0), np.int64), np.empty((1, 0), np.float32), np.zeros(1, np.int64)
    )
    assert evaluate(empty, truth({"q": "a"})).mean == 0
    assert evaluate(empty, truth({"q": "a"}), ties="step").mean == 0


def test_unreachable_positives_count_as_missed() -> None:
    result = evaluate(ranking({"q": "abc"}), truth({"q": "az"}))
    assert result.mean == 0.5
    assert result.metrics["recall@1000"] == 0.5
    assert result.unreachable == 1
    only_unreachable = evaluate(ranking({"q": "abc"}), truth({"q": "z"}))
    assert only_unreachable.mean == 0


def test_oracle_never_exceeds_one() -> None:
    """Two results given, both positive, two positives, k=1000: nothing could be better."""
    for definition in get_args(Definition):
        result = evaluate(ranking({"q": "ab"}), truth({"q": "ab"}), definition=definition)
        assert result.metrics["oracle@1000"] == 1
    few = evaluate(ranking({"q": "cabde"}), truth({"q": "abz"}), k=2)
    assert few.metrics["oracle@2"] == 0.5
    assert evaluate(ranking({"q": "abcde"}), truth({"q": "abz"}), k=2).metrics["oracle@2"] == 1
    assert evaluate(ranking({"q": "abcde"}), truth({"q": "abz"}), k=2, definition="trec").metrics[
        "oracle@2"
    ] == pytest.approx(2 / 3)


def test_all_results_tied_form_one_step() -> None:
    tied = replace(ranking({"q": "abcd"}), similarities=np.zeros((1, 4), np.float32))
    assert evaluate(tied, truth({"q": "a"}), ties="step").mean == 0.25
    # The step ends at the cut-off, and ignored images are not part of it.
    assert evaluate(tied, truth({"q": "a"}), k=2, ties="step").mean == 0.5
    assert evaluate(tied, truth({"q": "a"}, {"q": "bc"}), ties="step").mean == 0.5


def test_label_slices_average_over_the_queries_of_an_instance_first() -> None:
    lists = {"q1": "abcde", "q2": "bacde", "q3": "bacde"}
    positives = {"q1": "a", "q2": "a", "q3": "b"}
    labels = {"category": ("kitchen", "kitchen", "kitchen")}
    result = evaluate(ranking(lists), truth(positives), Axes(("mug", "mug", "cap"), labels))
    assert result.mean == pytest.approx((1 + 1 / 2 + 1) / 3)
    (part,) = result.slices
    assert part.mean == pytest.approx(((1 + 1 / 2) / 2 + 1) / 2)
    assert (part.axis, part.label, part.queries, part.instances) == ("category", "kitchen", 3, 2)


def test_bin_slices_average_over_queries_and_leave_out_those_without_a_positive_in_the_bin() -> None:
    lists = {"q1": "abcde", "q2": "bacde", "q3": "cabde"}
    positives = {"q1": "ab", "q2": "ab", "q3": "c"}
    axes = Axes(("mug", "mug", "cap"), row_values={"scale": {0: 0.05, 1: 0.5, 2: 0.5}})
    small, large = evaluate(ranking(lists), truth(positives), axes).slices
    assert (small.label, small.queries, small.instances, small.positives) == ("below 0.0688", 2, 1, 2)
    # Where b stands before a, it leaves the ranking: no error of the small slice.
    assert small.mean == 1
    assert (large.label, large.queries, large.instances, large.positives) == ("0.273 or more", 3, 2, 3)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.0, "below 0.0688"),
        (0.06880213760855042, "below 0.0688"),
        (0.06880213760855043, "0.0688 to 0.135"),
        (0.13526567164179104, "0.135 to 0.273"),
        (0.2729876723163842, "0.273 or more"),
        (1.0, "0.273 or more"),
        (float("nan"), "unknown"),
    ],
)
def test_bins_are_half_open(value: float, label: str) -> None:
    axes = Axes(("mug",), row_values={"scale": {0: value}})
    (part,) = evaluate(ranking({"q": "abcde"}), truth({"q": "a"}), axes).slices
    assert part.label == label


def test_unreachable_positives_stay_in_their_bin_when_their_value_is_known() -> None:
    positives = {"q": ("a", "y", "z")}
    axes = axes_from_ids(["q"], ["mug"], DATABASE, positives, {}, {"clutter": {"a": 5, "y": 5}})
    made = truth_from_ids(["q"], DATABASE, positives)
    known, unknown = evaluate(ranking({"q": "abcde"}), made, axes).slices
    assert (known.label, known.mean, known.positives) == ("below 18", 0.5, 2)
    assert (unknown.label, unknown.mean, unknown.positives) == ("unknown", 0, 1)


def test_own_boundaries() -> None:
    axes = Axes(("mug",), row_values={"scale": {0: 0.3}, "blur": {0: 2500.0}, "clutter": {0: 18}})
    result = evaluate(
        ranking({"q": "abcde"}), truth({"q": "a"}), axes, boundaries={"scale": (0.5,), "blur": (1000, 2000)}
    )
    assert [(part.axis, part.label) for part in result.slices] == [
        ("scale", "below 0.5"),
        ("blur", "2000 or more"),
        ("clutter", "18 to 33"),
    ]


def test_same_seed_same_intervals() -> None:
    rng = np.random.default_rng(0)
    lists = {f"q{number}": "".join(rng.permutation(list(DATABASE))) for number in range(30)}
    positives = dict.fromkeys(lists, "ab")
    one, same, other = (evaluate(ranking(lists), truth(positives), seed=seed) for seed in (1, 1, 2))
    assert one.ci95 == same.ci95 != other.ci95
    assert one.ci95.low < one.mean < one.ci95.high


def test_one_instance_has_an_interval_that_promises_nothing() -> None:
    result = evaluate(ranking({"q": "abcde"}), truth({"q": "a"}))
    assert result.mean == 1
    assert result.ci95.low < 0.05
    assert result.ci95.high == 1


def test_queries_of_one_instance_do_not_narrow_the_interval() -> None:
    lists = {f"q{number}": "abcde" if number % 10 else "bacde" for number in range(40)}
    positives = dict.fromkeys(lists, "a")
    single = evaluate(ranking(lists), truth(positives))
    axes = Axes(tuple(f"object{number % 4}" for number in range(40)))
    grouped = evaluate(ranking(lists), truth(positives), axes)
    assert grouped.mean == single.mean

    def width(interval: Interval) -> float:
        return interval.high - interval.low

    assert width(grouped.ci95) > 2 * width(single.ci95)


def test_positives_ranks() -> None:
    ranks = positives_ranks(
        ranking({"q1": "abcde", "q2": "ed"}), truth({"q2": "adz", "q1": "c"}, {"q1": "a"})
    )
    assert [each.tolist() for each in ranks] == [[-1, 2, -1], [2]]


Call = Callable[[], Any]


def error_cases() -> dict[str, tuple[Call, type[Exception], str]]:
    def run(**changes: Any) -> Call:
        return lambda: evaluate(TWO, TWO_TRUTH, **changes)

    many = truth({f"q{number}": "a" for number in range(1, 7)})
    outside = GroundTruth(
        ("q1", "q2"), (np.array([7]), np.array([0])), (np.array([], int),) * 2, np.zeros(2, int)
    )
    twice = replace(TWO_TRUTH, query_ids=("q1", "q1"))
    blur = Axes(("mug", "mug"), row_values={"blur": {0: 1.0}})
    return {
        "definition": (run(definition="coco"), ConfigError, "one of ilias, trec, revisited, got 'coco'"),
        "k": (run(k=0), ConfigError, "k must be at least 1, got 0"),
        "ties": (run(ties="random"), ConfigError, "one of rank, step, trec, got 'random'"),
        "step": (run(ties="step", definition="trec"), ConfigError, "belongs to definition='ilias'"),
        "bootstrap": (run(bootstrap=0), ConfigError, "at least 1 sample, got 0"),
        "edges": (
            run(axes=blur, boundaries={"blur": (2.0, 1.0)}),
            ConfigError,
            r"boundaries of axis 'blur' must be finite and ascending, got \(2.0, 1.0\)",
        ),
        "no edges": (run(axes=blur), ConfigError, "axis 'blur' has values but no boundaries"),
        "missing": (
            lambda: evaluate(TWO, many),
            ArtifactError,
            r"4 of 6 queries are missing from the ranking \(q3, q4, q5 \.\.\.\)",
        ),
        "extra": (
            lambda: evaluate(TWO, truth({"q1": "a"})),
            ArtifactError,
            r"1 query of the ranking is not in the ground truth \(q2\)",
        ),
        "no positive": (
            lambda: evaluate(TWO, truth({"q1": "a", "q2": ""})),
            DatasetError,
            r"1 of 2 queries has no positive \(q2\)",
        ),
        "all ignored": (
            lambda: evaluate(TWO, truth({"q1": "", "q2": ""}, {"q1": "a", "q2": "b"})),
            DatasetError,
            r"2 of 2 queries have no positive \(q1, q2\)",
        ),
        "nothing": (
            lambda: evaluate(TWO, GroundTruth((), (), (), np.empty(0, int))),
            DatasetError,
            "no queries",
        ),
        "other database": (
            lambda: evaluate(TWO, outside),
            ArtifactError,
            "points at row 7 of a database of 5",
        ),
        "twice": (lambda: evaluate(TWO, twice), ArtifactError, "query id occurs twice"),
        "instances": (
            run(axes=Axes(("mug",))),
            ArtifactError,
            "axes name the instances of 1 query, the ground truth has 2",
        ),
        "labels": (
            run(axes=Axes(("mug", "cap"), {"category": ("kitchen",)})),
            ArtifactError,
            "axis 'category' labels 1 query, the ground truth has 2",
        ),
        "unreachable": (
            run(axes=Axes(("mug", "cap"), unreachable_values={"scale": ((0.5,), ())})),
            ArtifactError,
            "axis 'scale' has more values of unreachable positives",
        ),
        "ranks": (lambda: positives_ranks(TWO, many), ArtifactError, "4 of 6 queries are missing"),
        "no entry": (lambda: truth_from_ids(["q"], DATABASE, {}), DatasetError, "'q' has no entry"),
        "both": (
            lambda: truth_from_ids(["q"], DATABASE, {"q": ("a", "b")}, {"q": ("b",)}),
            DatasetError,
            "query 'q': 'b' is both positive and ignored",
        ),
        "duplicate": (
            lambda: truth_from_ids(["q"], ("a", "b", "a"), {"q": ("a",)}),
            ArtifactError,
            "image 'a' is in the database twice, at rows 0 and 2",
        ),
    }


@pytest.mark.parametrize("name", error_cases())
def test_errors_say_what_was_seen(name: str) -> None:
    call, kind, message = error_cases()[name]
    with pytest.raises(kind, match=message):
        call()


def test_positives_listed_twice_count_once() -> None:
    made = truth_from_ids(["q"], DATABASE, {"q": ("a", "a", "z", "z")}, {"q": ("gone",)})
    assert made.positives[0].tolist() == [0]
    assert made.unreachable.tolist() == [1]
    assert made.ignored[0].tolist() == []


def test_evaluation_says_its_settings() -> None:
    result: Evaluation = evaluate(TWO, TWO_TRUTH, definition="revisited", k=3)
    assert (result.definition, result.k, result.ties, result.instances) == (
        "revisited",
        3,
        "rank",
        ("q1", "q2"),
    )
