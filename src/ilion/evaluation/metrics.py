"""Metrics by name: what each says of a query, given where its positives stand.

A name is that of a metric with a cut-off behind ``@``: a rank (``P@4``), ``R`` for the number of positives of
each query (``MAP@R``), or ``k`` for the cut-off of the run, which is also meant without one. Ilion's own
metrics look at all queries at once; one from outside is a plain function of one query:

    def reciprocal_rank(ranks, positives, k):
        return 1 / ranks[0] if len(ranks) else 0.0

with the 1-based ranks of the positives found among the first ``k`` results (ascending, ignored images removed
before), the number of positives whether found or not, and the cut-off; it returns a value in [0, 1].
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

import numpy as np

from ilion.errors import ConfigError
from ilion.evaluation.average_precision import (
    Cut,
    Definition,
    Hits,
    average_precision,
    count_hits,
    open_places,
)
from ilion.registry import Registry, said_by
from ilion.types import Float64, Int64
from ilion.wording import counted

OneQuery = Callable[[Int64, int, int], float]
"""A metric of one query: from the ranks (h,) of its positives, their number and the cut-off to [0, 1]."""
Metric = Callable[[Hits, Int64, Cut, Definition], Float64]
"""A metric of all queries: from hits, positives (Q,), cut-off and definition of AP to (Q,) in [0, 1]."""
SUFFIX = r"@(?:\d+|R|k)"
"""How a cut-off is written."""

ORDERS = 64
"""Orders of an open tie over which a metric from outside is averaged."""


def split_cutoff(name: str, k: int = 0) -> tuple[str, int]:
    """Split a name into that of the metric and its cut-off: ``k`` where it says none, -1 for ``R``.

    >>> split_cutoff("P@4"), split_cutoff("my_metrics:first_rank", 1000), split_cutoff("MAP@R")
    (('P', 4), ('my_metrics:first_rank', 1000), ('MAP', -1))
    """
    found = re.fullmatch(rf"(.+)({SUFFIX})", name)
    if found is None or found[2] == "@k":
        return found[1] if found else name, k
    return found[1], -1 if found[2] == "@R" else int(found[2][1:])


METRICS: Registry[Metric] = Registry("metric", __package__)
"""Built-in metrics as `Metric`; those from outside as `OneQuery`."""


def check_cutoffs(names: Iterable[str], k: int) -> None:
    """Check that the first k results say enough for each metric.

    Raises:
        ConfigError: A cut-off is 0 or above k, or a name means several definitions.

    >>> check_cutoffs(["P@20"], 10)
    Traceback (most recent call last):
    ilion.errors.ConfigError: metric 'P@20': its cut-off must be from 1 to 10 (evaluation.k)
    """
    for name in names:
        base, cut = split_cutoff(name, k)
        if base == "MAP" and cut != -1:
            raise ConfigError(
                f"metric {name!r}: at a rank its definitions differ (docs/metrics.md); write ilias@{cut}, "
                f"trec@{cut} or revisited@{cut}, or MAP@R"
            )
        if cut != -1 and not 1 <= cut <= k:
            raise ConfigError(f"metric {name!r}: its cut-off must be from 1 to {k} (evaluation.k)")


def measure(
    names: Iterable[str], hits: Hits, positives: Int64, definition: Definition, k: int, queries: Sequence[str]
) -> dict[str, Float64]:
    """Compute metrics of each query: name with cut-off -> (Q,) values in [0, 1].

    Args:
        names: Metrics, with or without a cut-off of at most k; of ``module:attribute`` the latter is shown.
        hits: Positives found, by query and rank.
        positives: (Q,) number of positives of each query.
        definition: Definition of AP, which says what an oracle can reach.
        k: Cut-off of the metrics that name none.
        queries: Q ids, for messages.

    Raises:
        ConfigError: There is no such metric, one from outside fails or leaves [0, 1], or a query has more
            positives than results are kept, where the cut-off is their number.
    """
    found = {}
    for name in names:
        base, cut = split_cutoff(name, k)
        part = METRICS.find(base)
        label = f"{base.rpartition(':')[2]}@{'R' if cut == -1 else cut}"
        cuts = positives if cut == -1 else np.full(len(positives), cut)
        if cuts.max() > k:
            most = int(np.argmax(cuts))
            raise ConfigError(
                f"metric {name!r}: query {queries[most]!r} has {counted(cuts[most], 'positive')}, and only "
                f"the first {counted(k, 'result is', 'results are')} judged; set evaluation.k (and search.k) "
                "to at least that number"
            )
        found[label] = (
            _each(part.make, part.name, hits, positives, cuts, queries)  # type: ignore[arg-type]
            if part.digest
            else part.make(hits, positives, cuts, definition)
        )
    return found


def _each(
    function: OneQuery, name: str, hits: Hits, positives: Int64, cuts: Int64, queries: Sequence[str]
) -> Float64:
    """Call a metric of one query for every query."""
    values = np.empty(hits.queries)
    bounds = np.searchsorted(hits.query, np.arange(hits.queries + 1))
    tied, _ = open_places(hits, cuts)
    for number, query in enumerate(queries):
        ranks, k = hits.rank[bounds[number] : bounds[number + 1]], int(cuts[number])
        try:
            values[number] = np.mean(
                [
                    float(function(order[order <= k].copy(), int(positives[number]), k))
                    for order in _orders(ranks, hits, number, int(tied[number]))
                ]
            )
        except (Exception, SystemExit) as error:
            raise ConfigError(f"metric {name!r} failed for query {query!r}: {said_by(error)}") from error
        if not 0 <= values[number] <= 1:
            raise ConfigError(f"metric {name!r} gives {values[number]} for {query!r}; it must lie in [0, 1]")
    return values


def _orders(ranks: Int64, hits: Hits, query: int, tied: int) -> Iterator[Int64]:
    """Yield the ranks of a query's positives, with an open tie in `ORDERS` orders of it."""
    if not tied:
        yield ranks
        return
    generator = np.random.default_rng(0)
    for _ in range(ORDERS):
        places = generator.choice(hits.open_size[query], tied, replace=False, shuffle=False)
        yield np.concatenate([ranks, np.sort(places) + hits.front[query] + 1])


@METRICS.register("R")
@METRICS.register("Success")
def success(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
    """Tell whether a positive is among the first k results: 1 or 0, and in an open tie the chance of it."""
    found = np.zeros(hits.queries)
    found[hits.query[hits.rank <= np.broadcast_to(k, hits.queries)[hits.query]]] = 1.0
    if hits.has_open:
        tied, places = open_places(hits, k)
        for query in np.flatnonzero((found == 0) & (tied > 0) & (places > 0)):
            found[query] = 1 - _chance_of_none(
                int(hits.open_size[query]), int(tied[query]), int(places[query])
            )
    return found


def _chance_of_none(size: int, positives: int, places: int) -> float:
    """Return the chance that ``places`` draws from ``size`` images, without return, hit no positive.

    >>> round(_chance_of_none(4, 1, 2), 12)
    0.5
    """
    if positives > size - places:
        return 0.0
    log = math.lgamma
    others = log(size - positives + 1) - log(size - positives - places + 1)
    return math.exp(others - log(size + 1) + log(size - places + 1))


@METRICS.register("P")
def precision(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
    """Divide the positives among the first k results by k, however many results there are."""
    return count_hits(hits, k) / k


@METRICS.register("recall")
def recall(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
    """Divide the positives among the first k results by all positives."""
    return count_hits(hits, k) / positives


@METRICS.register("oracle")
def oracle(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
    """Compute AP@k as if all hits among the first k results stood in front."""
    # every precision at a hit is 1 then, in all three definitions
    return count_hits(hits, k) / (np.minimum(positives, k) if definition == "ilias" else positives)


def _average_precision(name: Definition) -> Metric:
    def precision_at_hits(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
        return average_precision(hits, None, positives, name, k)

    return precision_at_hits


for _name in get_args(Definition):  # AP in another definition, or at another cut-off, than the run's own
    METRICS.register(_name)(_average_precision(_name))
METRICS.register("MAP")(_average_precision("trec"))  # at R only, where the definitions by rank agree


@METRICS.register("nDCG")
def gain(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
    """Sum 1 / log2(rank + 1) over the positives among the first k results, over the largest such sum."""
    cuts = np.broadcast_to(k, hits.queries)
    inside = hits.rank <= cuts[hits.query]
    total = np.bincount(
        hits.query[inside], weights=1 / np.log2(hits.rank[inside] + 1), minlength=hits.queries
    )
    best = np.minimum(positives, cuts)
    sums = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, cuts.max(initial=1) + 2)))])
    if hits.has_open:
        tied, places = open_places(hits, k)
        front = np.minimum(hits.front, cuts)
        share = np.divide(tied, hits.open_size, out=np.zeros(hits.queries), where=tied > 0)
        total = total + share * (sums[front + places] - sums[front])
    values: Float64 = np.divide(total, sums[best], out=np.zeros(hits.queries), where=best > 0)
    return np.minimum(values, 1.0)


def of_one(function: OneQuery) -> Metric:
    """Return a metric of one query as one of all queries."""

    def of_all(hits: Hits, positives: Int64, k: Cut, definition: Definition) -> Float64:
        cuts = np.broadcast_to(k, hits.queries)
        return _each(function, function.__name__, hits, positives, cuts, range(hits.queries))  # type: ignore

    return of_all


def reciprocal_rank(ranks: Int64, positives: int, k: int) -> float:
    """Return one over the rank of the first positive among the first k results, 0 without one."""
    return 1 / int(ranks[0]) if len(ranks) else 0.0


def precision_to_last(ranks: Int64, positives: int, k: int) -> float:
    """Return P@k as the revisited benchmarks print it (mP@k): cut at the last positive's rank at the latest.

    >>> precision_to_last(np.array([1, 3]), 2, 10), precision_to_last(np.array([1, 3]), 5, 10)
    (0.6666666666666666, 0.2)
    """
    cut = int(ranks[-1]) if len(ranks) == positives else k
    return len(ranks) / cut


METRICS.register("RR")(of_one(reciprocal_rank))
METRICS.register("mP")(of_one(precision_to_last))
