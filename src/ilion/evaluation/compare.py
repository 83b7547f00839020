"""Paired comparison of two evaluations of the same queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.intervals import bootstrap_means, group, percentiles, sign_flip_p_value
from ilion.outcome import Evaluation, Interval
from ilion.types import Float64, Value
from ilion.wording import counted


@dataclass(frozen=True)
class Comparison(Value):
    """How AP@k, or another metric, changes from run a to run b. Fractions.

    Args:
        definition: Definition of AP in both.
        k: Cut-off of both.
        query_ids: Q ids, in the order of a.
        per_query: (Q,) values of b minus those of a, in [-1, 1].
        means: Mean of a and of b.
        difference: Mean of b minus that of a.
        ci95: 95% bootstrap interval of the difference over instances.
        p_value: Two-sided p-value of a sign-flip test over instances, in (0, 1].
        instances: Number of instances.
        better: Number of queries for which b is better.
        worse: Number of queries for which b is worse.
        equal: Number of queries for which both are equal.
        metric: Name of the metric; "" for AP@k.
    """

    definition: str
    k: int
    query_ids: tuple[str, ...]
    per_query: Float64
    means: tuple[float, float]
    difference: float
    ci95: Interval
    p_value: float
    instances: int
    better: int
    worse: int
    equal: int
    metric: str = ""


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    metric: str = "",
    bootstrap: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs query by query.

    Both evaluations must stem from the same ground truth. The interval and the test treat instances as
    independent, not queries. One instance alone says nothing about others: its interval is [-1, 1].

    Args:
        a: The baseline.
        b: The run that may be better.
        metric: Name of a metric that both runs have, such as ``P@10``; "" compares AP@k.
        bootstrap: Samples for the interval.
        permutations: Random sign patterns for the p-value; it is never below 1 / (1 + permutations).
        seed: Seed of both.

    Raises:
        ArtifactError: Queries, instances, definition, cut-off or handling of ties differ.
        ConfigError: A run lacks the metric, or no samples or no permutations are asked for.

    >>> from ilion.evaluation.evaluate import evaluate
    >>> from ilion.types import GroundTruth, Ranking
    >>> def run(rows):
    ...     ranking = Ranking.from_arrays(np.array([rows]), query_ids=["q"], database_ids=tuple("abc"))
    ...     truth = GroundTruth(("q",), (np.array([0]),), (np.array([], int),), np.array([0]))
    ...     return evaluate(ranking, truth)
    >>> result = compare(run([1, 0, 2]), run([0, 1, 2]))
    >>> result.means, result.difference, result.better, result.p_value
    ((0.5, 1.0), 0.5, 1, 1.0)
    """
    if bootstrap < 1 or permutations < 1:
        raise ConfigError(f"bootstrap ({bootstrap}) and permutations ({permutations}) must be at least 1")
    order = _match_queries(a, b)
    before, after = _values(a, metric), _values(b, metric)
    per_query = after[order] - before
    # Equal APs may differ in the last bits when two runs add the same terms in another order.
    per_query[np.abs(per_query) < 1e-12] = 0.0
    codes, instances = group(a.instances)
    totals = np.bincount(codes, weights=per_query, minlength=instances).astype(np.float64)
    weights = np.bincount(codes, minlength=instances).astype(np.float64)
    if instances > 1:
        replicates = bootstrap_means(totals[:, None], weights[:, None], bootstrap, seed)
        interval = percentiles(replicates[:, 0], instances)
    else:
        interval = Interval(-1.0, 1.0)
    return Comparison(
        definition=a.definition,
        k=a.k,
        query_ids=a.query_ids,
        per_query=per_query,
        means=(float(before.mean()), float(after.mean())),
        difference=float(per_query.mean()),
        ci95=interval,
        p_value=sign_flip_p_value(totals, permutations, seed),
        instances=instances,
        better=int((per_query > 0).sum()),
        worse=int((per_query < 0).sum()),
        equal=int((per_query == 0).sum()),
        metric=metric,
    )


def _values(run: Evaluation, metric: str) -> Float64:
    if not metric:
        return run.per_query
    if metric not in run.per_query_metrics:
        raise ConfigError(
            f"a run has no metric {metric!r}, only {', '.join(run.per_query_metrics)}; evaluate both with "
            f"--set evaluation.metrics='[\"{metric}\"]'"
        )
    return run.per_query_metrics[metric]


def _match_queries(a: Evaluation, b: Evaluation) -> list[int]:
    """Return where the queries of ``a`` are in ``b``, once the two are known to be comparable."""
    for name in ("definition", "k", "ties"):
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours != theirs:
            raise ArtifactError(
                f"the runs cannot be compared: {name} is {ours!r} in the first and {theirs!r} in the second; "
                "evaluate both in the same way"
            )
    only_a = sorted(set(a.query_ids) - set(b.query_ids))
    only_b = sorted(set(b.query_ids) - set(a.query_ids))
    if only_a or only_b:
        example = (only_a or only_b)[0]
        raise ArtifactError(
            f"the runs cannot be compared: {counted(len(only_a), 'query is', 'queries are')} "
            f"only in the first and {len(only_b)} "
            f"only in the second ({example!r}, for one); evaluate both on the same queries"
        )
    place = {query: number for number, query in enumerate(b.query_ids)}
    order = [place[query] for query in a.query_ids]
    moved = [
        q for q, ours, at in zip(a.query_ids, a.instances, order, strict=True) if ours != b.instances[at]
    ]
    if moved:
        raise ArtifactError(
            f"the runs cannot be compared: query {moved[0]!r} (and {len(moved) - 1} more) belongs to "
            "different instances in the two; evaluate both with the same data set"
        )
    return order
