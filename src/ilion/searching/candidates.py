"""The pairs of query and row that can still be among the best, and their exact order."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from ilion.types import Float32, Float64, Int64

PENDING = 2**21
"""Pairs taken in before they are sorted out (48 MiB)."""
PAIRS_AT_ONCE = 512
"""Pairs of 512 dimensions scored in float64 at once: both sides stay in the cache (4 MiB)."""
ROWS_AT_ONCE = 2**20
"""Values of the database gathered at once by one thread (4 MiB)."""


Products = Callable[[Float32, Float32, Int64, Int64], Float64]
"""From rows (B, D), queries (Q, D), and which of both make a pair (P,), to inner products (P,)."""


class Gatherer(Protocol):
    """A database that returns rows by their number."""

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors of the given rows."""
        ...


class Pairs(NamedTuple):
    """Pairs of a query and a database row, with a value that errs by at most ``errors``."""

    queries: Int64
    rows: Int64
    values: Float32
    errors: Float32

    def take(self, places: Int64) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.queries[places], self.rows[places], self.values[places], self.errors[places])

    def renumber(self, rows: Int64) -> Pairs:
        """Return the same pairs with row r called ``rows[r]``."""
        return self._replace(rows=rows[self.rows])

    @staticmethod
    def join(parts: list[Pairs]) -> Pairs:
        """Put pairs together."""
        return Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def no_pairs() -> Pairs:
    """Return no pairs."""
    return Pairs(
        np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32)
    )


class Pool:
    """Candidates of all queries; may be fed by several threads, in any order.

    A query's threshold is never above its true k-th best value, unless it started as a guess: then fewer than
    ``k`` results at or above the guess tell that it was too high.

    Args:
        queries: (Q, D) float32.
        k: Results wanted for each query, at most the size of the database.
        thresholds: (Q,) initial thresholds: rows that surely lie below are not wanted.
        database: Descriptors, for exact scores.
        threads: Number of threads that score pairs exactly.
        products: See `score_exactly`.
    """

    def __init__(
        self,
        queries: Float32,
        k: int,
        thresholds: Float32,
        database: Gatherer,
        threads: int = 1,
        products: Products | None = None,
    ) -> None:
        self.k = k
        self.thresholds = thresholds.astype(np.float32)
        self._queries = np.ascontiguousarray(queries, np.float32)
        self._products = products
        self._database = database
        self._threads = threads
        self._held = no_pairs()
        self._pending: list[Pairs] = []
        self._count = 0
        self._lock = threading.Lock()

    def add(self, pairs: Pairs) -> None:
        """Take in pairs whose value plus error reaches the threshold of their query."""
        if not len(pairs.rows):
            return
        with self._lock:
            self._pending.append(pairs)
            self._count += len(pairs.rows)
            if self._count > max(PENDING, len(self._held.rows)):
                self._sort_out()

    def _sort_out(self) -> None:
        """Raise the thresholds to the k-th best sure value, and drop what cannot reach them."""
        held = Pairs.join([self._held, *self._pending])
        self._pending, self._count = [], 0
        held = held.take(np.argsort(held.queries, kind="stable"))
        # k rows surely reach the k-th best of the lower ends, so nothing below that can be among the best k
        lower = held.values - held.errors
        bounds = np.searchsorted(held.queries, np.arange(len(self._queries) + 1))
        for query in np.flatnonzero(np.diff(bounds) > self.k):
            part = lower[bounds[query] : bounds[query + 1]]
            best = np.partition(part, len(part) - self.k)[len(part) - self.k]
            self.thresholds[query] = max(self.thresholds[query], best)
        kept = held.values + held.errors >= self.thresholds[held.queries]
        held = held.take(np.flatnonzero(kept))
        # a crowd of near-ties: settle it now, so that memory stays bounded
        crowded = np.bincount(held.queries, minlength=len(self._queries)) > 2 * self.k + 1024
        if crowded.any():
            of_crowd = crowded[held.queries]
            settled = self._settle(held.take(np.flatnonzero(of_crowd)))
            held = Pairs.join([held.take(np.flatnonzero(~of_crowd)), settled])
        self._held = held

    def _settle(self, pairs: Pairs) -> Pairs:
        """Score pairs exactly, keep the best ``k`` of each query, best first; ties by lower row."""
        pairs = pairs._replace(
            values=score_exactly(
                self._queries, pairs.queries, pairs.rows, self._database, self._threads, self._products
            )
        )
        pairs = pairs.take(np.lexsort((pairs.rows, -pairs.values, pairs.queries)))
        starts = np.searchsorted(pairs.queries, pairs.queries)
        return pairs.take(np.flatnonzero(np.arange(len(starts)) - starts < self.k))

    def finish(self) -> Pairs:
        """Return the best pairs with exact values, in order of queries, best first."""
        with self._lock:
            self._sort_out()
            self._held = self._settle(self._held)
            return self._held


def score_exactly(
    queries: Float32,
    of_query: Int64,
    rows: Int64,
    database: Gatherer,
    threads: int = 1,
    products: Products | None = None,
) -> Float32:
    """Return the inner products of pairs, rounded to float64 and then to float32.

    The value of a pair depends on nothing but the pair: where the errors of a sum in float64 could change its
    float32, it is summed exactly.

    Args:
        queries: (Q, D).
        of_query: (P,) row of ``queries``.
        rows: (P,) rows of the database; each is read once, in their order.
        database: Descriptors of the database.
        threads: Number of worker threads.
        products: Function that computes inner products in float64, adding in any order; None takes numpy.
    """
    values = np.empty(len(rows), np.float32)
    order = np.argsort(rows, kind="stable")
    wanted, firsts = np.unique(rows[order], return_index=True)
    ends = np.append(firsts, len(rows))
    dim = queries.shape[1]
    step = max(1, ROWS_AT_ONCE // max(1, dim))
    lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64))
    share = 1.01 * dim * 2.0**-53
    at_once = _pairs_at_once(dim)
    products = products or _products

    def score(start: int) -> None:
        block = wanted[start : start + step]
        gathered = database.gather(block)
        places = order[ends[start] : ends[min(start + step, len(wanted))]]
        row, query = np.searchsorted(block, rows[places]), of_query[places]
        found = products(gathered, queries, row, query)
        theirs = np.sqrt(np.einsum("nd,nd->n", gathered, gathered, dtype=np.float64))
        errors = share * lengths[query] * theirs[row]
        with np.errstate(over="ignore"):
            low, high = (found - errors).astype(np.float32), (found + errors).astype(np.float32)
        unsure = np.flatnonzero(low != high)
        for first in range(0, len(unsure), at_once):
            _sum_exactly(queries, gathered, row, query, unsure[first : first + at_once], share, found, low)
        values[places] = low + np.float32(0)  # never -0

    with ThreadPoolExecutor(threads) as workers:
        for _ in workers.map(score, range(0, len(wanted), step)):
            pass
    return values


def _pairs_at_once(dim: int) -> int:
    return max(1, PAIRS_AT_ONCE * 512 // max(1, dim))


def _sum_exactly(
    queries: Float32,
    rows: Float32,
    row: Int64,
    query: Int64,
    places: Int64,
    share: float,
    found: Float64,
    values: Float32,
) -> None:
    """Put the values of some pairs right; a bound from their own terms saves most of them the exact sum."""
    # products of float32 are exact in float64
    terms = queries[query[places]].astype(np.float64) * rows[row[places]]
    errors = share * np.abs(terms).sum(axis=1)
    with np.errstate(over="ignore"):
        low, high = (found[places] - errors).astype(np.float32), (found[places] + errors).astype(np.float32)
        for number in np.flatnonzero(low != high):
            low[number] = np.float64(math.fsum(terms[number].tolist())).astype(np.float32)
    values[places] = low


def _products(rows: Float32, queries: Float32, row: Int64, query: Int64) -> Float64:
    values = np.empty(len(row), np.float64)
    at_once = _pairs_at_once(queries.shape[1])
    for first in range(0, len(row), at_once):
        some = slice(first, first + at_once)
        sides = rows[row[some]].astype(np.float64), queries[query[some]].astype(np.float64)
        values[some] = np.einsum("pd,pd->p", *sides)
    return values
