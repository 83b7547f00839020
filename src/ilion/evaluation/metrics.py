"""Metrics by name: what each says of a query, given where its positives stand.

A name is that of a metric with a cut-off behind ``@`` (``P@4``), or without one, which means the cut-off of
the run. Ilion's own metrics look at all queries at once; one from outside is a plain function of one query:

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
from ilion.evaluation.average_precision import Definition, Hits, average_precision, count_hits, open_places
from ilion.registry import Part, Registry
from ilion.types import Float64, Int64

OneQuery = Callable[[Int64, int, int], float]
"""A metric of one query: from the ranks (h,) of its positives, their number and the cut-off to [0, 1]."""
Metric = Callable[[Hits, Int64, int, Definition], Float64]
"""A metric of all queries: from hits, positives (Q,), cut-off and definition of AP to (Q,) in [0, 1]."""

ORDERS = 64
"""Orders of an open tie over which a metric from outside is averaged."""


def split_cutoff(name: str, k: int = 0) -> tuple[str, int]:
    """Split a name into that of the metric and its cut-off, which is ``k`` where the name has none.

    >>> split_cutoff("P@4"), split_cutoff("my_metrics:first_rank", 1000)
    (('P', 4), ('my_metrics:first_rank', 1000))
    """
    found = re.fullmatch(r"(.+)@(\d+)", name)
    return (found[1], int(found[2])) if found else (name, k)


METRICS: Registry[Metric] = Registry("metric", __package__)
"""Built-in metrics as `Metric`; those from outside as `OneQuery`."""


def check_cutoffs(names: Iterable[str], k: int) -> None:
    """Check that the first k results say enough for each metric.

    Raises:
        ConfigError: A cut-off is 0 or above k.

    >>> check_cutoffs(["P@20"], 10)
    Traceback (most recent call last):
    ilion.errors.ConfigError: metric 'P@20': its cut-off must be from 1 to 10 (evaluation.k)
    """
    for name in names:
        if not 1 <= split_cutoff(name, k)[1] <= k:
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
        ConfigError: There is no such metric, or one from outside fails or leaves [0, 1].
    """
    found = {}
    for name in names:
        base, cut = split_cutoff(name, k)
        part = METRICS.find(base)
        label = f"{base.rpartition(':')[2]}@{cut}"
        found[label] = (
            _each(part, hits, positives, cut, queries)
            if part.digest
            else part.make(hits, positives, cut, definition)
        )
    return found


def _each(part: Part[Metric], hits: Hits, positives: Int64, k: int, queries: Sequence[str]) -> Float64:
    """Call a metric from outside for every query."""
    values = np.empty(hits.queries)
    bounds = np.searchsorted(hits.query, np.arange(hits.queries + 1))
    tied, _ = open_places(hits, k)
    for number, query in enumerate(queries):
        ranks = hits.rank[bounds[number] : bounds[number + 1]]
        try:
            function: OneQuery = part.make  # type: ignore[assignment]
            values[number] = np.mean(
                [
                    function(order[order <= k].copy(), int(positives[number]), k)
                    for order in _orders(ranks, hits, number, int(tied[number]))
                ]
            )
        except Exception as error:
            raise ConfigError(f"metric {part.name!r} failed for query {query!r}: {error!r}") from error
        if not 0 <= values[number] <= 1:
            raise ConfigError(
                f"metric {part.name!r} gives {values[number]} for {query!r}; it must lie in [0, 1]"
            )
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
def success(hits: Hits, positives: Int64, k: int, definition: Definition) -> Float64:
    """Tell whether a positive is among the first k results: 1 or 0, and in an open tie the chance of it."""
    found = np.zeros(hits.queries)
    found[hits.query[hits.rank <= k]] = 1.0
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
def precision(hits: Hits, positives: Int64, k: int, definition: Definition) -> Float64:
    """Divide the positives among the first k results by k, however many results there are."""
    return count_hits(hits, k) / k


@METRICS.register("recall")
def recall(hits: Hits, positives: Int64, k: int, definition: Definition) -> Float64:
    """Divide the positives among the first k results by all positives."""
    return count_hits(hits, k) / positives


@METRICS.register("oracle")
def oracle(hits: Hits, positives: Int64, k: int, definition: Definition) -> Float64:
    """Compute AP@k as if all hits among the first k results stood in front."""
    # every precision at a hit is 1 then, in all three definitions
    return count_hits(hits, k) / (np.minimum(positives, k) if definition == "ilias" else positives)


def _average_precision(name: Definition) -> Metric:
    def precision_at_hits(hits: Hits, positives: Int64, k: int, definition: Definition) -> Float64:
        return average_precision(hits, None, positives, name, k)

    return precision_at_hits


for _name in get_args(Definition):  # AP in another definition, or at another cut-off, than the run's own
    METRICS.register(_name)(_average_precision(_name))
