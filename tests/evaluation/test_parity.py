"""Evaluation against loops written from the definitions on ids and sets, and against scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ilion.evaluation.average_precision import Definition
from ilion.evaluation.evaluate import BOUNDARIES, evaluate, positives_ranks
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.outcome import Evaluation
from ilion.types import Ranking

DEFINITIONS: tuple[Definition, ...] = ("ilias", "trec", "revisited")


@dataclass
class Problem:
    """A retrieval problem in ids, with everything that can go wrong in it."""

    results: dict[str, list[tuple[str, float]]]
    positives: dict[str, tuple[str, ...]]
    ignored: dict[str, tuple[str, ...]]
    instances: dict[str, str]
    labels: dict[str, dict[str, str]]
    attributes: dict[str, dict[str, float]]
    database: tuple[str, ...]

    def evaluate(self, definition: Definition, k: int, ties: str = "rank") -> Evaluation:
        queries = list(self.positives)
        truth = truth_from_ids(queries, self.database, self.positives, self.ignored)
        axes = axes_from_ids(
            queries,
            [self.instances[query] for query in queries],
            self.database,
            self.positives,
            self.labels,
            self.attributes,
        )
        step = ties == "step"
        return evaluate(
            self.ranking(tied=step),
            truth,
            axes,
            definition=definition,
            k=k,
            ties="step" if step else "rank",
            bootstrap=5,
        )

    def ranking(self, tied: bool = False) -> Ranking:
        """Queries in another order than in the ground truth, lists of different lengths.

        Without ties the order alone is known: what a tie at the end of a list means is tested in
        ``test_open_ties.py``.
        """
        queries = sorted(self.results, reverse=True)
        width = max(len(found) for found in self.results.values())
        row = {image: number for number, image in enumerate(self.database)}
        indices = np.full((len(queries), width), -1, dtype=np.int64)
        similarities = np.full((len(queries), width), -np.inf, dtype=np.float32)
        for number, query in enumerate(queries):
            for rank, (image, similarity) in enumerate(self.results[query]):
                indices[number, rank], similarities[number, rank] = row[image], similarity if tied else -rank
        counts = np.array([len(self.results[query]) for query in queries], dtype=np.int64)
        return Ranking(tuple(queries), self.database, indices, similarities, counts)


def problem(seed: int, queries: int = 9, size: int = 40, longest: int = 40) -> Problem:
    rng = np.random.default_rng(seed)
    database = tuple(f"image{number}" for number in rng.permutation(size))
    lost = [f"lost{number}" for number in range(6)]
    made = Problem({}, {}, {}, {}, {"category": {}, "colour": {}}, {"scale": {}, "clutter": {}}, database)
    for number in range(queries):
        query, instance = f"query{number}", f"instance{rng.integers(max(1, queries // 2))}"
        order = rng.permutation(size)
        split = int(rng.integers(0, size // 3))
        positives = [database[row] for row in order[:split]]
        positives += [
            str(name) for name in rng.choice(lost, size=rng.integers(not positives, 4), replace=False)
        ]
        made.positives[query] = tuple(positives)
        made.ignored[query] = tuple(database[row] for row in order[split : split + rng.integers(0, 8)])
        made.instances[query] = instance
        made.labels["category"][instance] = str(rng.choice(["mug", "cap", ""]))
        if rng.random() < 0.7:
            made.labels["colour"][instance] = str(rng.choice(["red", "blue"]))
        count = int(rng.integers(0, min(size, longest) + 1))
        found = rng.permutation(size)[:count]
        # At most one decimal and both signs: many ties, negative similarities.
        similarities = np.sort(np.round(rng.normal(size=count), int(rng.integers(2))))[::-1]
        made.results[query] = [
            (database[row], float(np.float32(value))) for row, value in zip(found, similarities, strict=True)
        ]
    for image in (*database, *lost):
        if rng.random() < 0.8:
            edges = BOUNDARIES["scale"]
            made.attributes["scale"][image] = float(rng.choice([*edges, rng.random() * 0.4]))
        if rng.random() < 0.8:
            made.attributes["clutter"][image] = float(rng.choice([18, 33, 53, 1, 20, 40, 60]))
    return made


def naive_ap(found: list[str], positives: set[str], removed: set[str], definition: str, k: int) -> float:
    listed = [image for image in found if image not in removed][:k]
    if definition == "revisited":
        area, old_recall, old_precision, correct = 0.0, 0.0, 1.0, 0
        for rank, image in enumerate(listed, start=1):
            correct += image in positives
            recall, precision = correct / len(positives), correct / rank
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision = recall, precision
        return area
    total, correct = 0.0, 0
    for rank, image in enumerate(listed, start=1):
        if image in positives:
            correct += 1
            total += correct / rank
    return total / (min(k, len(positives)) if definition == "ilias" else len(positives))


def sklearn_ap(found: list[tuple[str, float]], positives: set[str], removed: set[str], k: int) -> float:
    listed = [(image, similarity) for image, similarity in found if image not in removed][:k]
    relevant = np.array([image in positives for image, _ in listed], dtype=bool)
    if not relevant.any():
        return 0.0
    ap = average_precision_score(relevant, np.array([similarity for _, similarity in listed]))
    return float(ap * relevant.sum() / min(k, len(positives)))


def naive_slices(
    made: Problem, ap: dict[str, float], ap_of: object
) -> dict[tuple[str, str], tuple[float, int]]:
    """Return mean and number of queries of each slice, by (axis, label)."""
    assert callable(ap_of)
    slices: dict[tuple[str, str], tuple[float, int]] = {}
    for axis, of_instance in made.labels.items():
        for label in {of_instance.get(instance, "") for instance in made.instances.values()}:
            by_instance: dict[str, list[float]] = {}
            for query, instance in made.instances.items():
                if of_instance.get(instance, "") == label:
                    by_instance.setdefault(instance, []).append(ap[query])
            mean = sum(sum(values) / len(values) for values in by_instance.values()) / len(by_instance)
            slices[axis, label or "unknown"] = mean, sum(map(len, by_instance.values()))
    bins = {
        "scale": {
            "below 0.0688": (-np.inf, 0.06880213760855043),
            "0.0688 to 0.135": (0.06880213760855043, 0.13526567164179104),
            "0.135 to 0.273": (0.13526567164179104, 0.2729876723163842),
            "0.273 or more": (0.2729876723163842, np.inf),
        },
        "clutter": {
            "below 18": (-np.inf, 18),
            "18 to 33": (18, 33),
            "33 to 53": (33, 53),
            "53 or more": (53, np.inf),
        },
    }
    for axis, of_image in made.attributes.items():
        for label, (low, high) in {**bins[axis], "unknown": (np.nan, np.nan)}.items():
            values = []
            for query, positives in made.positives.items():
                if label == "unknown":
                    inside = {image for image in positives if image not in of_image}
                else:
                    inside = {image for image in positives if low <= of_image.get(image, np.nan) < high}
                if inside:
                    others = set(positives) - inside
                    values.append(ap_of(query, inside, others | set(made.ignored[query])))
            if values:
                slices[axis, label] = sum(values) / len(values), len(values)
    return slices


def assert_equal_to_loops(made: Problem, definition: Definition, k: int, ties: str = "rank") -> None:
    result = made.evaluate(definition, k, ties)

    def ap_of(query: str, positives: set[str], removed: set[str]) -> float:
        if ties == "step":
            return sklearn_ap(made.results[query], positives, removed, k)
        return naive_ap([image for image, _ in made.results[query]], positives, removed, definition, k)

    ap = {query: ap_of(query, set(of), set(made.ignored[query])) for query, of in made.positives.items()}
    assert result.query_ids == tuple(ap)
    np.testing.assert_allclose(result.per_query, list(ap.values()), atol=1e-9, rtol=0)
    assert result.mean == pytest.approx(sum(ap.values()) / len(ap), abs=1e-9)
    assert ((result.per_query >= 0) & (result.per_query <= 1)).all()

    slices = naive_slices(made, ap, ap_of)
    assert {(part.axis, part.label) for part in result.slices} == set(slices)
    for part in result.slices:
        mean, queries = slices[part.axis, part.label]
        assert part.mean == pytest.approx(mean, abs=1e-9), (part.axis, part.label)
        assert part.queries == queries
        assert part.ci95.low <= part.mean <= part.ci95.high
    pairs = sum(map(len, made.positives.values()))
    for axis in ("scale", "clutter", "category", "colour"):
        assert sum(part.positives for part in result.slices if part.axis == axis) == pairs


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("seed", range(20))
def test_definitions_and_slices_equal_loops(definition: Definition, seed: int) -> None:
    made = problem(seed)
    for k in (1, 3, 10, 39, 1000):
        assert_equal_to_loops(made, definition, k)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 6),
    size=st.integers(3, 30),
    longest=st.integers(1, 30),
    k=st.integers(1, 40),
    definition=st.sampled_from(DEFINITIONS),
)
def test_any_shape_equals_loops(
    seed: int, queries: int, size: int, longest: int, k: int, definition: Definition
) -> None:
    assert_equal_to_loops(problem(seed, queries, size, longest), definition, k)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [2, 7, 40, 1000])
def test_steps_equal_scikit_learn(seed: int, k: int) -> None:
    assert_equal_to_loops(problem(seed), "ilias", k, ties="step")


def test_steps_differ_from_ranks_only_with_ties() -> None:
    made = problem(3)
    by_rank, by_step = made.evaluate("ilias", 1000), made.evaluate("ilias", 1000, "step")
    assert np.abs(by_rank.per_query - by_step.per_query).max() > 0.01
    assert (by_rank.ties, by_step.ties) == ("rank", "step")
    for query, found in made.results.items():
        made.results[query] = [(image, -float(rank)) for rank, (image, _) in enumerate(found)]
    np.testing.assert_allclose(
        made.evaluate("ilias", 10).per_query, made.evaluate("ilias", 10, "step").per_query, atol=1e-12
    )


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("seed", range(10))
def test_metrics_equal_loops(definition: Definition, seed: int) -> None:
    made = problem(seed)
    k = 12
    result = made.evaluate(definition, k)
    assert set(result.metrics) == {"R@1", "R@5", "R@10", "P@5", "P@10", "recall@12", "oracle@12"}
    for number, (query, positives) in enumerate(made.positives.items()):
        ignored = set(made.ignored[query])
        listed = [image for image, _ in made.results[query] if image not in ignored]
        values = {name: of_query[number] for name, of_query in result.per_query_metrics.items()}
        for n in (1, 5, 10):
            assert values[f"R@{n}"] == any(image in positives for image in listed[:n])
        for n in (5, 10):
            assert values[f"P@{n}"] == pytest.approx(sum(image in positives for image in listed[:n]) / n)
        hits = sum(image in positives for image in listed[:k])
        assert values["recall@12"] == pytest.approx(hits / len(positives))
        best = sorted(listed[:k], key=lambda image: image not in positives)
        assert values["oracle@12"] == pytest.approx(naive_ap(best, set(positives), set(), definition, k))
    for name, value in result.metrics.items():
        assert value == pytest.approx(result.per_query_metrics[name].mean())
        assert 0 <= result.metric_ci95[name].low <= value <= result.metric_ci95[name].high <= 1


@pytest.mark.parametrize("seed", range(10))
def test_ranks_of_positives_equal_loops(seed: int) -> None:
    made = problem(seed)
    queries = list(made.positives)
    truth = truth_from_ids(queries, made.database, made.positives, made.ignored)
    for query, ranks in zip(queries, positives_ranks(made.ranking(), truth), strict=True):
        listed = [image for image, _ in made.results[query] if image not in made.ignored[query]]
        in_database = [image for image in made.database if image in made.positives[query]]
        expected = [listed.index(image) + 1 if image in listed else -1 for image in in_database]
        expected += [-1] * (len(made.positives[query]) - len(in_database))
        assert ranks.tolist() == expected


def test_the_four_metrics_that_are_all_called_map() -> None:
    """One hit at rank 2, four positives, k=2: measured with the public tools of each definition."""
    made = Problem(
        {"q": [("x", 0.9), ("a", 0.8)]},
        {"q": ("a", "b", "c", "d")},
        {"q": ()},
        {"q": "mug"},
        {},
        {},
        ("a", "b", "c", "d", "x"),
    )
    assert [made.evaluate(definition, 2).mean for definition in DEFINITIONS] == [0.25, 0.125, 0.0625]


def test_junk_is_removed_before_ranks_are_counted() -> None:
    """Revisited Oxford/Paris, by hand: junk at ranks 1 and 3, positives at 2 and 5, become ranks 1 and 3.

    Trapezoids: recall 0 to 1/2 at precision 1 to 1; 1/2 to 1 at precision 1/2 to 2/3.
    """
    made = Problem(
        {"q": [("j", 5.0), ("a", 4.0), ("i", 3.0), ("x", 2.0), ("b", 1.0)]},
        {"q": ("a", "b")},
        {"q": ("i", "j")},
        {"q": "church"},
        {},
        {},
        ("a", "b", "i", "j", "x"),
    )
    assert made.evaluate("revisited", 1000).mean == pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2)
    # The cut-off comes after the removal: both positives are among the first three that count.
    assert made.evaluate("revisited", 3).mean == made.evaluate("revisited", 1000).mean
