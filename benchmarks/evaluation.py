"""Evaluation with all slices against a plain evaluator: one scikit-learn call for each query and slice.

The size is that of the ILIAS benchmark: 1,232 queries of 1,000 instances, 4,715 positives, 1,000 results,
four bins of scale and of clutter, categories and subcategories. Both sides read the same arrays, both are
given everything they can prepare once, and the numbers must agree to 1e-9. Ilion's time includes what the
plain evaluator does not have: further metrics and a 95% interval for every number.

Run: python benchmarks/evaluation.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from ilion.evaluation.evaluate import BOUNDARIES, evaluate
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.outcome import Evaluation
from ilion.types import Axes, GroundTruth, Ranking

K = 1000
INSTANCES, QUERIES, POSITIVES, DATABASE = 1000, 1232, 4715, 200_000
BINS = {
    axis: list(zip((-np.inf, *edges), (*edges, np.inf), strict=True)) for axis, edges in BOUNDARIES.items()
}


@dataclass(frozen=True)
class Data:
    ranking: Ranking
    truth: GroundTruth
    axes: Axes
    positives: dict[str, set[str]]
    attributes: dict[str, dict[str, float]]


def make_data(seed: int = 0) -> Data:
    """Draw rankings like those of a good model: two thirds of the positives found, most of them early."""
    rng = np.random.default_rng(seed)
    of_positive = np.concatenate([np.arange(INSTANCES), rng.integers(0, INSTANCES, POSITIVES - INSTANCES)])
    of_query = np.concatenate([np.arange(INSTANCES), rng.integers(0, INSTANCES, QUERIES - INSTANCES)])
    database = tuple(
        f"object_{of_positive[row]:04}/pos/{row}.jpg" if row < POSITIVES else f"shard.tar/{row}"
        for row in range(DATABASE)
    )
    queries = tuple(f"object_{instance:04}/query/{number}.jpg" for number, instance in enumerate(of_query))
    indices = np.empty((QUERIES, K), dtype=np.int64)
    for number, instance in enumerate(of_query):
        others = rng.choice(DATABASE - POSITIVES, size=K, replace=False) + POSITIVES
        found = np.flatnonzero(of_positive == instance)
        found = found[rng.random(len(found)) < 2 / 3]
        places = np.unique((rng.exponential(80, size=len(found))).astype(np.int64).clip(max=K - 1))
        others[places] = found[: len(places)]
        indices[number] = others
    # Rounded as float16 descriptors would be, so that some results are tied.
    similarities = -np.sort(-rng.beta(2, 5, size=(QUERIES, K)).astype(np.float16).astype(np.float32), axis=1)
    ranking = Ranking(queries, database, indices, similarities, np.full(QUERIES, K))
    positives_of = [
        tuple(database[row] for row in np.flatnonzero(of_positive == i)) for i in range(INSTANCES)
    ]
    positives = {query: positives_of[instance] for query, instance in zip(queries, of_query, strict=True)}
    category = rng.integers(0, 8, INSTANCES)
    sub = rng.integers(0, 7, INSTANCES)
    names = [f"object_{number:04}" for number in range(INSTANCES)]
    axes = axes_from_ids(
        queries,
        [names[instance] for instance in of_query],
        database,
        positives,
        {
            "category": dict(zip(names, (f"category {c}" for c in category), strict=True)),
            "subcategory": dict(
                zip(names, (f"category {c}-{s}" for c, s in zip(category, sub, strict=True)), strict=True)
            ),
        },
        attributes := {
            "scale": dict(zip(database[:POSITIVES], rng.beta(1, 4, POSITIVES).tolist(), strict=True)),
            "clutter": dict(zip(database[:POSITIVES], rng.integers(1, 90, POSITIVES).tolist(), strict=True)),
        },
    )
    truth = truth_from_ids(queries, database, positives)
    return Data(ranking, truth, axes, {query: set(of) for query, of in positives.items()}, attributes)


def plain(data: Data, ids: np.ndarray[tuple[int], np.dtype[np.str_]]) -> dict[tuple[str, str], float]:
    """Evaluate query by query: remove what does not count, cut, call scikit-learn, scale, average."""

    def ap(number: int, positives: set[str], removed: set[str]) -> float:
        names, scores = ids[data.ranking.indices[number]], data.ranking.similarities[number]
        if removed:
            rest = ~np.isin(names, list(removed))
            names, scores = names[rest], scores[rest]
        relevant = np.isin(names[:K], list(positives))
        if not relevant.any():
            return 0.0
        score = average_precision_score(relevant, scores[:K])
        return float(score * relevant.sum() / min(K, len(positives)))

    plain_means: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_instance: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, query in enumerate(data.ranking.query_ids):
        positives = data.positives[query]
        whole = ap(number, positives, set())
        plain_means["all", "all"].append(whole)
        for axis, labels in data.axes.query_labels.items():
            by_instance[axis, labels[number]][data.axes.instances[number]].append(whole)
        for axis, bins in BINS.items():
            for place, (low, high) in enumerate(bins):
                inside = {image for image in positives if low <= data.attributes[axis][image] < high}
                if inside:
                    plain_means[axis, str(place)].append(ap(number, inside, positives - inside))
    means = {key: statistics.fmean(values) for key, values in plain_means.items()}
    for key, of_instances in by_instance.items():
        means[key] = statistics.fmean(statistics.fmean(values) for values in of_instances.values())
    return means


def difference(result: Evaluation, reference: dict[tuple[str, str], float]) -> float:
    """Return the largest difference of all means."""
    ours = {("all", "all"): result.mean}
    places: dict[str, int] = defaultdict(int)
    for part in result.slices:
        label = part.label
        if part.axis in BINS:
            label = str(places[part.axis])
            places[part.axis] += 1
        ours[part.axis, label] = part.mean
    if set(ours) != set(reference):
        raise SystemExit(f"the slices differ: {sorted(set(ours) ^ set(reference))}")
    return max(abs(ours[key] - reference[key]) for key in reference)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    data = make_data()
    ids = np.array(data.ranking.database_ids)
    result = evaluate(data.ranking, data.truth, data.axes, ties="step")
    worst = difference(result, plain(data, ids))
    runs: dict[str, Callable[[], object]] = {
        "scikit-learn, query by query": lambda: plain(data, ids),
        "ilion, ties=step": lambda: evaluate(data.ranking, data.truth, data.axes, ties="step"),
        "ilion, ties=rank": lambda: evaluate(data.ranking, data.truth, data.axes),
        "ilion, ties=rank, 1 bootstrap sample": lambda: evaluate(
            data.ranking, data.truth, data.axes, bootstrap=1
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, work in runs.items():
            times[name].append(seconds(work))
    medians = {name: statistics.median(each) for name, each in times.items()}
    slowest = medians["scikit-learn, query by query"]
    print(f"{QUERIES:,} queries x {K:,} results, {len(result.slices)} slices, {rounds} rounds, medians")
    print(f"mAP@{K} (ilias, step) {result.mean:.4f}, 95% {result.ci95.low:.4f} to {result.ci95.high:.4f}")
    print(f"largest difference of a mean: {worst:.1e}")
    for name, median in medians.items():
        print(f"{name:38} {median * 1000:10.1f} ms   {slowest / median:8.1f} x")
    if worst > 1e-9:
        sys.exit("the numbers differ by more than 1e-9")


if __name__ == "__main__":
    main()
