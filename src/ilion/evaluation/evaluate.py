"""How well a ranking finds the positives: mAP@k by definition, further metrics, slices and intervals.

The formulas are in ``docs/metrics.md``. Letters: Q queries, K results, I instances, T pairs of query and
positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.evaluation.average_precision import Definition, Hits, Ties, average_precision, find_hits, find_open
from ilion.evaluation.intervals import bootstrap_means, group, mean_interval
from ilion.evaluation.metrics import check_cutoffs, measure, split_cutoff
from ilion.outcome import Evaluation, SliceResult
from ilion.types import Axes, Float32, Float64, GroundTruth, Int64, Ranking
from ilion.wording import agree, counted

BOUNDARIES: Mapping[str, tuple[float, ...]] = {
    "scale": (0.06880213760855043, 0.13526567164179104, 0.2729876723163842),
    "clutter": (18, 33, 53),
}
"""Where the bins of an axis meet (object area as a fraction of the image; object count): those of the ILIAS
benchmark (Kordopatis-Zilos et al., CVPR 2025, its public evaluator)."""

UNKNOWN = "unknown"
"""Label of what has no value or label on an axis."""


@dataclass(frozen=True)
class _Column:
    """A mean that needs an interval: the sum and the weight of each instance."""

    totals: Float64
    weights: Float64

    @property
    def mean(self) -> float:
        return float(self.totals.sum() / self.weights.sum())

    @property
    def instances(self) -> int:
        return int(np.count_nonzero(self.weights))


_Slice = tuple[str, str, _Column, int, int]
"""Axis, label, mean, queries and positives of a slice before its interval is known."""


def evaluate(
    ranking: Ranking,
    truth: GroundTruth,
    axes: Axes | None = None,
    *,
    definition: Definition = "ilias",
    k: int = 1000,
    ties: Ties = "rank",
    metrics: Sequence[str] = (),
    usual: bool = True,
    average: Literal["queries", "instances"] = "queries",
    boundaries: Mapping[str, Sequence[float]] = BOUNDARIES,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a ranking against the ground truth.

    Ignored images are removed from the ranking before ranks are counted; the cut-off comes after that, as far
    as the results reach. Queries are matched by id, their order may differ; results follow the ground truth.

    Args:
        ranking: The results, rows of the same database as the ground truth.
        truth: Positives and ignored images; every query needs a positive (an unreachable one will do).
        axes: Instances and slices, in the order of the ground truth's queries; None takes every query for an
            instance of its own.
        definition: See `ilion.evaluation.average_precision.average_precision`.
        k: Cut-off.
        ties: ``rank``: the order of the ranking decides, and among results that a query says nothing about
            every order counts alike (`ilion.evaluation.average_precision.find_open`). ``step``: results of
            the same similarity form one step, as in the public ILIAS evaluator (only for
            ``definition="ilias"``; the other metrics stay by rank). ``trec``: results of the same similarity
            stand in order of their ids, the last one first, as in trec_eval.
        metrics: Further metrics, such as ``P@4``; see `ilion.evaluation.metrics`.
        usual: Whether the metrics that every run has are computed too.
        average: Unit of the means: ``queries``, or ``instances``, each the mean of its queries.
        boundaries: Axis -> where its bins meet, ascending. Axes that are not named keep those in
            `BOUNDARIES`.
        bootstrap: Samples for the intervals.
        seed: Seed of the bootstrap.

    Returns:
        AP@k of each query, its mean, metrics, slices and 95% intervals over instances.

    Raises:
        ArtifactError: The queries of ranking and ground truth, or the lengths of the axes, do not fit
            together.
        DatasetError: A query has no positive.
        ConfigError: A setting has no meaning.

    >>> import numpy as np
    >>> from ilion.evaluation.truth import truth_from_ids
    >>> ranking = Ranking(("q",), ("a", "b", "c"), np.array([[2, 0]]), np.array([[0.9, 0.5]], np.float32),
    ...                   np.array([2]))
    >>> truth = truth_from_ids(("q",), ranking.database_ids, {"q": ("a", "b")})
    >>> result = evaluate(ranking, truth, k=2)
    >>> result.mean, result.metrics["R@1"], result.metrics["recall@2"]
    (0.25, 0.0, 0.5)
    """
    _check_settings(definition, k, ties, bootstrap)
    check_cutoffs(metrics, k)
    axes = Axes(truth.query_ids) if axes is None else axes
    _check_truth(ranking, truth, axes)
    if ties == "trec":
        ranking = order_ties(ranking)
    hits = _find(ranking, truth, ties)
    positives = _sizes(truth.positives) + truth.unreachable
    per_query = average_precision(hits, None, positives, definition, k)
    names = (*(_names(k) if usual else ()), *metrics)
    per_query_metrics = measure(names, hits, positives, definition, k, truth.query_ids)

    groups = group(axes.instances)
    over = _over_queries if average == "queries" else _over_instances
    plain = [over(values, *groups) for values in (per_query, *per_query_metrics.values())]
    slices = [
        *_label_slices(axes, groups, per_query, positives),
        *_bin_slices(truth, axes, groups, hits, definition, k, boundaries),
    ]
    columns = [*plain, *(column for _, _, column, _, _ in slices)]
    replicates = bootstrap_means(
        np.stack([column.totals for column in columns], axis=1),
        np.stack([column.weights for column in columns], axis=1),
        bootstrap,
        seed,
    )
    intervals = [
        mean_interval(column.mean, replicates[:, number], column.instances)
        for number, column in enumerate(columns)
    ]
    return Evaluation(
        definition=definition,
        k=k,
        query_ids=truth.query_ids,
        instances=axes.instances,
        per_query=per_query,
        mean=plain[0].mean if average == "instances" else float(per_query.mean()),
        ci95=intervals[0],
        metrics={
            name: column.mean if average == "instances" else float(values.mean())
            for (name, values), column in zip(per_query_metrics.items(), plain[1:], strict=True)
        },
        metric_ci95=dict(zip(per_query_metrics, intervals[1 : len(plain)], strict=True)),
        per_query_metrics=per_query_metrics,
        slices=tuple(
            SliceResult(axis, label, column.mean, interval, queries, column.instances, count)
            for (axis, label, column, queries, count), interval in zip(
                slices, intervals[len(plain) :], strict=True
            )
        ),
        unreachable=int(truth.unreachable.sum()),
        ties=ties,
        without_evidence=_without_evidence(ranking, truth),
    )


def positives_ranks(ranking: Ranking, truth: GroundTruth) -> list[Int64]:
    """Return where the positives of each query stand.

    Returns:
        Q arrays in the order of the ground truth: the 1-based rank (ignored images removed) of each of the
        query's positives in their order, then one entry for each unreachable one; -1 where it was not found,
        or stands among results that the query says nothing about.

    Raises:
        ArtifactError: The queries do not fit together.

    >>> import numpy as np
    >>> from ilion.evaluation.truth import truth_from_ids
    >>> ranking = Ranking(("q",), ("a", "b", "c"), np.array([[2, 0]]), np.array([[0.9, 0.5]], np.float32),
    ...                   np.array([2]))
    >>> positives_ranks(ranking, truth_from_ids(("q",), ranking.database_ids, {"q": ("a", "b")}))
    [array([ 2, -1])]
    """
    _check_rows(ranking, truth)
    hits = _find(ranking, truth, "rank")
    sizes = _sizes(truth.positives)
    ranks = np.full(int(sizes.sum()), -1, dtype=np.int64)
    ranks[hits.pair] = hits.rank
    parts = np.split(ranks, np.cumsum(sizes)[:-1])
    return [np.append(part, np.full(lost, -1)) for part, lost in zip(parts, truth.unreachable, strict=True)]


def _in_order(ranking: Ranking, truth: GroundTruth) -> tuple[Int64, Float32, Int64]:
    """Return indices, similarities and counts, queries in the order of the ground truth."""
    if ranking.query_ids == truth.query_ids:
        return ranking.indices, ranking.similarities, ranking.counts
    place = {query: number for number, query in enumerate(ranking.query_ids)}
    order = [place[query] for query in truth.query_ids]
    return ranking.indices[order], ranking.similarities[order], ranking.counts[order]


def _find(ranking: Ranking, truth: GroundTruth, ties: Ties) -> Hits:
    """Find the positives, queries in the order of the ground truth."""
    indices, similarities, counts = _in_order(ranking, truth)
    return find_hits(
        indices,
        similarities if ties == "step" else None,
        truth.positives,
        truth.ignored,
        len(ranking.database_ids),
        find_open(similarities, counts) if ties == "rank" else None,
    )


def order_ties(ranking: Ranking) -> Ranking:
    """Return a ranking whose equal similarities stand in descending order of the ids.

    That is trec_eval's order; it compares the bytes of UTF-8, which order as the characters do.

    >>> order_ties(Ranking.from_dict({"q": {"a": 0.5, "c": 0.5, "b": 0.5, "d": 0.1}})).to_dict()["q"].keys()
    dict_keys(['c', 'b', 'a', 'd'])
    """
    indices, values = ranking.indices.copy(), ranking.similarities
    for query, count in enumerate(ranking.counts.tolist()):
        edges = np.flatnonzero(np.diff(values[query, :count])) + 1
        bounds = np.concatenate([[0], edges, [count]])
        for at in np.flatnonzero(np.diff(bounds) > 1):
            tie = slice(bounds[at], bounds[at + 1])
            rows = indices[query, tie].tolist()
            indices[query, tie] = sorted(rows, key=ranking.database_ids.__getitem__, reverse=True)
    return replace(ranking, indices=indices)


def _without_evidence(ranking: Ranking, truth: GroundTruth) -> tuple[str, ...]:
    """Return the queries of which all results are equally similar, or that have none."""
    _, similarities, counts = _in_order(ranking, truth)
    nothing = (find_open(similarities, counts) == 0) | (counts == 0)
    return tuple(query for query, silent in zip(truth.query_ids, nothing, strict=True) if silent)


def _sizes(parts: Sequence[Sized]) -> Int64:
    return np.array([len(part) for part in parts], dtype=np.int64)


def _names(k: int) -> tuple[str, ...]:
    """Name the metrics beside AP; those that need more than k results are left out."""
    usual = [f"R@{n}" for n in (1, 5, 10)] + [f"P@{n}" for n in (5, 10)]
    fitting = [name for name in usual if split_cutoff(name)[1] <= k]
    return (*fitting, *(f"recall@{n}" for n in sorted({min(100, k), k})), f"oracle@{k}")


def _over_queries(values: Float64, codes: Int64, instances: int) -> _Column:
    """Mean over queries; NaN marks those that take no part."""
    part = ~np.isnan(values)
    return _Column(
        np.bincount(codes[part], weights=values[part], minlength=instances).astype(np.float64),
        np.bincount(codes[part], minlength=instances).astype(np.float64),
    )


def _over_instances(values: Float64, codes: Int64, instances: int) -> _Column:
    """Mean over the queries of an instance, then over instances."""
    column = _over_queries(values, codes, instances)
    part = column.weights > 0
    return _Column(
        np.divide(column.totals, column.weights, out=np.zeros(instances), where=part), part.astype(np.float64)
    )


def _label_slices(
    axes: Axes, groups: tuple[Int64, int], per_query: Float64, positives: Int64
) -> Iterator[_Slice]:
    """Yield the slices by label of the query: labels sorted, the unknown last."""
    for axis, labels in axes.query_labels.items():
        of_query = np.array(labels)
        for label in sorted(set(labels), key=lambda name: (not name, name)):
            part = of_query == label
            column = _over_instances(np.where(part, per_query, np.nan), *groups)
            yield axis, label or UNKNOWN, column, int(part.sum()), int(positives[part].sum())


def _bin_slices(
    truth: GroundTruth,
    axes: Axes,
    groups: tuple[Int64, int],
    hits: Hits,
    definition: Definition,
    k: int,
    boundaries: Mapping[str, Sequence[float]],
) -> Iterator[_Slice]:
    """Yield the slices by value of the positive; positives of other bins leave the ranking and the count."""
    of_query = np.repeat(np.arange(len(truth)), _sizes(truth.positives))
    for axis in dict.fromkeys((*axes.row_values, *axes.unreachable_values)):
        edges = _edges(axis, boundaries)
        bins, unreachable = _bins(truth, axes, axis, edges)
        for number, label in enumerate(_bin_labels(edges)):
            in_bin = np.bincount(of_query[bins == number], minlength=len(truth)) + unreachable[:, number]
            if in_bin.any():
                values = average_precision(hits, bins == number, in_bin, definition, k)
                column = _over_queries(values, *groups)
                yield axis, label, column, int(np.count_nonzero(in_bin)), int(in_bin.sum())


def _edges(axis: str, boundaries: Mapping[str, Sequence[float]]) -> Float64:
    given = {**BOUNDARIES, **boundaries}
    if axis not in given:
        raise ConfigError(f"axis {axis!r} has values but no boundaries; pass boundaries={{{axis!r}: (...)}}")
    edges = np.array(given[axis], dtype=np.float64)
    if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ConfigError(f"boundaries of axis {axis!r} must be finite and ascending, got {given[axis]}")
    return edges


def _bin_labels(edges: Float64) -> list[str]:
    """Name the half-open bins and the unknown rest."""
    names = [f"{edge:.3g}" if abs(edge) < 1000 else f"{edge:g}" for edge in edges]
    if not names:
        return ["all", UNKNOWN]
    inner = [f"{low} to {high}" for low, high in pairwise(names)]
    return [f"below {names[0]}", *inner, f"{names[-1]} or more", UNKNOWN]


def _bins(truth: GroundTruth, axes: Axes, axis: str, edges: Float64) -> tuple[Int64, Int64]:
    """Sort the positives of all queries into the bins of an axis.

    Returns:
        (T,) bin of each positive in the database, and (Q, bins) counts of the unreachable ones. The last bin
        holds those whose value is not known.
    """
    unknown = len(edges) + 1

    def bin_of(values: Sequence[float]) -> Int64:
        array = np.asarray(values, dtype=np.float64)
        return np.where(np.isnan(array), unknown, np.searchsorted(edges, array, side="right"))

    value_of = axes.row_values.get(axis, {})
    bins = bin_of([value_of.get(row, np.nan) for row in np.concatenate(truth.positives).tolist()])
    counts = np.zeros((len(truth), unknown + 1), dtype=np.int64)
    lost = axes.unreachable_values.get(axis, ())
    of_query = np.repeat(np.arange(len(lost)), _sizes(lost))
    np.add.at(counts, (of_query, bin_of([value for values in lost for value in values])), 1)
    counts[:, unknown] += truth.unreachable - counts.sum(axis=1)
    return bins, counts


def _check_settings(definition: str, k: int, ties: str, bootstrap: int) -> None:
    if definition not in get_args(Definition):
        raise ConfigError(f"definition must be one of {', '.join(get_args(Definition))}, got {definition!r}")
    if ties not in get_args(Ties):
        raise ConfigError(f"ties must be one of {', '.join(get_args(Ties))}, got {ties!r}")
    if ties == "step" and definition != "ilias":
        raise ConfigError(f"ties='step' belongs to definition='ilias'; {definition!r} knows ranks only")
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    if bootstrap < 1:
        raise ConfigError(f"bootstrap must be at least 1 sample, got {bootstrap}")


def _check_truth(ranking: Ranking, truth: GroundTruth, axes: Axes) -> None:
    _check_rows(ranking, truth)
    queries = len(truth)
    if len(axes.instances) != queries:
        raise ArtifactError(
            f"axes name the instances of {counted(len(axes.instances), 'query', 'queries')}, "
            f"the ground truth has {queries}"
        )
    for axis, labels in axes.query_labels.items():
        if len(labels) != queries:
            raise ArtifactError(
                f"axis {axis!r} labels {counted(len(labels), 'query', 'queries')}, "
                f"the ground truth has {queries}"
            )
    for axis, values in axes.unreachable_values.items():
        if len(values) != queries or any(len(v) > u for v, u in zip(values, truth.unreachable, strict=True)):
            raise ArtifactError(
                f"axis {axis!r} has more values of unreachable positives than there are such positives"
            )
    empty = [
        query
        for query, rows, lost in zip(truth.query_ids, truth.positives, truth.unreachable, strict=True)
        if not len(rows) and not lost
    ]
    if empty:
        raise DatasetError(
            f"{len(empty)} of {counted(queries, 'query', 'queries')} {agree(len(empty), 'has', 'have')} "
            f"no positive ({_some(empty)}), so AP is undefined; add positives or take what lacks them out "
            "of the data set"
        )


def _check_rows(ranking: Ranking, truth: GroundTruth) -> None:
    if not len(truth):
        raise DatasetError("the ground truth has no queries; there is nothing to evaluate")
    wanted, given = set(truth.query_ids), set(ranking.query_ids)
    if len(wanted) != len(truth):
        raise ArtifactError("a query id occurs twice in the ground truth")
    missing = [query for query in truth.query_ids if query not in given]
    if missing:
        raise ArtifactError(
            f"{len(missing)} of {counted(len(truth), 'query', 'queries')} "
            f"{agree(len(missing), 'is', 'are')} missing from the ranking ({_some(missing)}); search "
            "them too, a mean over the rest would flatter the result"
        )
    extra = [query for query in ranking.query_ids if query not in wanted]
    if extra:
        raise ArtifactError(
            f"{counted(len(extra), 'query of the ranking is', 'queries of the ranking are')} not in the "
            f"ground truth ({_some(extra)}); both must come from the same data set"
        )
    if truth.database_ids is not None and truth.database_ids != ranking.database_ids:
        raise ArtifactError("the rows of the ground truth are those of another database; see ilion.evaluate")
    size = len(ranking.database_ids)
    last = max((int(rows[-1]) for rows in (*truth.positives, *truth.ignored) if len(rows)), default=-1)
    if last >= size:
        raise ArtifactError(
            f"the ground truth points at row {last} of a database of {size}; build it from the ids of this "
            "ranking"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
