"""Exact top-k search over a streamed database.

The result is that of summing the products of every pair exactly, rounding to float64 and then to float32,
and ordering by similarity and then by row. So it does not depend on sharding, block size, threads or kernel,
and equal images really tie. Most of the work is avoided, never guessed:

1. A sample of the database gives every query a threshold that a few more than ``k`` rows should reach, and a
   larger sample raises it. If fewer than ``k`` do, the guess was too high and the query is searched again
   from a lower one.
2. The database passes once. An upper bound from a few dimensions (`ilion.searching.bounds.Filter`) or from
   few bits (`ilion.searching.lowbit`, also compiled) excludes most pairs; the rest is scored in float32, and
   what reaches the threshold within the error of float32 is kept. Thresholds rise as better rows come.
3. What is kept at the end is scored in float64, or exactly where that could change its float32.

Which bound, with how many dimensions, or whether one pays at all, is raced on the sample: it depends on the
spectrum of the descriptors and on the processor. The outcome changes the time, not the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.kernels import tiles, widening
from ilion.runtime.threads import in_order, single_threaded_products
from ilion.searching.bounds import leading_basis, norms_of
from ilion.searching.candidates import Pairs, Pool
from ilion.searching.engines import ENGINES
from ilion.searching.lowbit import Lowbit
from ilion.searching.lowbit_compiled import Compiled
from ilion.searching.scoring import LARGEST_NORM, Dense, Few, Filtered, Kernel, Torch, rows_at_once
from ilion.types import Float32, Int64, Ranking
from ilion.wording import counted

SAMPLE_VALUES = 2**22
"""Values of the database in the sample (16 MiB): 8,192 rows of 512 dimensions."""
SHARPER = 8
"""Size of the sample that raises the thresholds, as a multiple of the first sample."""
FEW_SAMPLED = 128
"""Rows of the database for each one in the sample of a single query; of many queries it is larger."""
SHARES = (0.125, 0.25, 0.375, 0.5)
"""Shares of the dimensions that the bound is tried with."""
RACE_FROM = 2**34
"""Multiplications from which it is worth trying out the bound (some tenths of a second)."""
TRIES = 3
"""Timed runs of each kernel in the race, after one that warms it up."""
COMPILE_FROM = 2**38
"""Multiplications from which it is worth compiling kernels (two or three seconds)."""
BYTES_PER_RESULT = 128
"""Memory of a query for each result, candidates and their sorting included."""

Progress = Callable[[int, int], None]


class Database(Protocol):
    """What search reads: a stream of blocks, and rows again by their number."""

    @property
    def ids(self) -> Sequence[str]:
        """N unique ids."""
        ...

    def blocks(self, size: int) -> Iterator[Float32]:
        """Yield (B, D) float32 blocks, B at most ``size``, in order of rows."""
        ...

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors of the given rows."""
        ...


@runtime_checkable
class StoredDatabase(Protocol):
    """A database that can also give its rows as they are stored, to be widened where they are compared."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the values."""
        ...

    def stored_blocks(self, size: int) -> Iterator[NDArray[np.floating]]:
        """Yield (B, D) blocks of any real type, B at most ``size``, in order of rows."""
        ...

    def peek(self, rows: Int64) -> Float32:
        """Return the descriptors of the given rows, which only going through all blocks proves undamaged."""
        ...


@ENGINES.register("exact")
def search(
    query_ids: Sequence[str],
    queries: Float32,
    database: Database,
    *,
    k: int = 1000,
    block_size: int = 16384,
    threads: int = 0,
    memory: int = 2**30,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Ranking:
    """Rank the database for every query by inner product.

    Args:
        query_ids: Q unique ids.
        queries: (Q, D) float32, L2-normalised.
        database: N rows of the same D.
        k: Number of results to keep; all N where the database is smaller.
        block_size: Rows read at once.
        threads: Number of worker threads; 0 means one per core.
        memory: Bytes for candidates; queries that do not fit are searched in several passes.
        device: ``cpu``, or a device of torch (``cuda``) for the matrix products.
        progress: Callback that receives the rows done and the rows in all.

    Returns:
        A ranking with K = min(k, N); ties are in order of rows.

    Raises:
        ArtifactError: Dimensions differ, or a value is not finite.
    """
    check_queries(query_ids, queries, k)
    total, number = len(database.ids), len(queries)
    kept = min(k, total)
    group = max(1, memory // (BYTES_PER_RESULT * max(1, kept)))
    indices = np.empty((number, kept), np.int64)
    similarities = np.empty((number, kept), np.float32)
    queries = np.ascontiguousarray(queries, np.float32)
    passes = range(0, number if kept else 0, group)
    for place, first in enumerate(passes):
        some = slice(first, first + group)

        def tell(done: int, place: int = place) -> None:
            if progress:
                progress((place * total + done) // len(passes), total)

        scan = _Scan(queries[some], database, kept, block_size, threads or os.cpu_count() or 1, device, tell)
        best = scan.run()
        indices[some] = best.rows.reshape(-1, kept)
        similarities[some] = best.values.reshape(-1, kept)
    return Ranking(tuple(query_ids), database.ids, indices, similarities, np.full(number, kept, np.int64))


def check_queries(query_ids: Sequence[str], queries: Float32, k: int) -> None:
    """Check what is searched for.

    Raises:
        ArtifactError: k is not positive, shapes differ, or a query is not finite.
    """
    if k < 1:
        raise ArtifactError(f"k must be at least 1, got {k}")
    if queries.ndim != 2 or len(query_ids) != len(queries):
        raise ArtifactError(f"{counted(len(query_ids), 'query id')} for descriptors of shape {queries.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.einsum("qd,qd->q", queries, queries) < LARGEST_NORM**2
    if not sound.all():
        bad = int(np.flatnonzero(~sound)[0])
        raise ArtifactError(f"the descriptor of query {query_ids[bad]!r} has NaN or infinity")


def sample_rows(total: int, size: int, seed: int = 0) -> Int64:
    """Return sorted rows, one drawn from each of ``size`` equal stretches of the database.

    >>> sample_rows(10, 3).tolist()
    [2, 4, 6]
    """
    size = min(size, total)
    places = (np.arange(size) + np.random.default_rng(seed).random(size)) * (total / max(size, 1))
    return np.minimum(places.astype(np.int64), total - 1)


class _Scan:
    """One pass, and further ones for the queries whose threshold was guessed too high."""

    def __init__(
        self,
        queries: Float32,
        database: Database,
        k: int,
        block_size: int,
        threads: int,
        device: str,
        progress: Callable[[int], None],
    ) -> None:
        self.queries, self.database, self.k = queries, database, k
        self.total = len(database.ids)
        self.block_size = max(256, block_size)
        self.threads, self.device = threads, device
        self.progress = progress

    def run(self) -> Pairs:
        """Return K pairs for each query, in order of queries, best first."""
        found = Pairs(
            np.repeat(np.arange(len(self.queries)), self.k),
            np.empty(len(self.queries) * self.k, np.int64),
            np.empty(len(self.queries) * self.k, np.float32),
            np.zeros(len(self.queries) * self.k, np.float32),
        )
        left = np.arange(len(self.queries))
        with single_threaded_products():
            sample, ranked = self._sample()
            rank = first = _rank_in_sample(self.k, self.total, len(sample))
            while True:
                guess = _at_rank(ranked[left], rank)
                kernels = self._kernels(self.queries[left], sample)
                if rank == first:  # once: a guess that was too high must not be raised again
                    guess = self._sharpen(kernels[-1], guess, len(sample))
                kernel = self._fastest(kernels, sample, guess)
                products = widening.multiply_pairs if widening.pays(0) else None
                pool = Pool(self.queries[left], self.k, guess, self.database, self.threads, products)
                self._pass(kernel, pool)
                best = pool.finish()
                counts = np.bincount(best.queries, minlength=len(left))
                lowest = best.values[np.maximum(np.cumsum(counts) - 1, 0)] if len(best.values) else guess
                proven = (counts == self.k) & (lowest >= guess)
                for column, values in ((found.rows, best.rows), (found.values, best.values)):
                    table = column.reshape(len(self.queries), self.k)
                    table[left[proven]] = values[np.repeat(proven, counts)].reshape(-1, self.k)
                left = left[~proven]
                if not len(left):
                    return found
                rank = 4 * rank + self.k

    def _sample(self) -> tuple[Float32, Float32]:
        """Return rows of the database, and what each query finds among them, best first."""
        if not self.total or not len(self.queries):
            return self.queries[:0], self.queries[:, :0]
        size = max(256, SAMPLE_VALUES // max(1, self.queries.shape[1]))
        share = max(4, FEW_SAMPLED // (1 + len(self.queries) // 16))
        rows = self._peek(sample_rows(self.total, min(size, max(1, self.total // share))))
        if rows.shape[1] != self.queries.shape[1]:
            raise ArtifactError(
                f"queries have {self.queries.shape[1]} dimensions, the database {rows.shape[1]}; "
                "extract both with the same model"
            )
        deepest = min(len(rows), 8 * _rank_in_sample(self.k, self.total, len(rows)))
        ranked = np.empty((len(self.queries), deepest), np.float32)
        step = rows_at_once(len(rows))
        for first in range(0, len(self.queries), step):
            with np.errstate(invalid="ignore", over="ignore"):
                values = self.queries[first : first + step] @ rows.T
            ranked[first : first + step] = -np.sort(-np.partition(values, len(rows) - deepest)[:, -deepest:])
        return rows, ranked

    def _sharpen(self, kernel: Kernel, guess: Float32, seen: int) -> Float32:
        """Return higher thresholds from a larger sample, searched as the database will be.

        A sample says where the k-th best of the whole is the better the larger it is, and the bounds exclude
        far more above a higher threshold.
        """
        size = SHARPER * seen
        if not self._worth_it or self.total < 4 * size:
            return guess
        rank = _rank_in_sample(self.k, self.total, size)
        rows, step = sample_rows(self.total, size, seed=1), rows_at_once(len(guess))

        def look(start: int) -> Pairs:
            return kernel.pairs(self._peek(rows[start : start + step]), 0, guess)

        parts = in_order(range(0, size, step), look, workers=self.threads, ahead=self.threads + 1)
        try:
            found = Pairs.join([future.result() for _, future in parts])
        except ArtifactError:  # the pass will say which rows are not finite
            return guess
        order = np.lexsort((-found.values, found.queries))
        first = np.searchsorted(found.queries[order], np.arange(len(guess) + 1))
        enough = np.diff(first) >= rank
        sharper = guess.copy()
        sharper[enough] = found.values[order][first[:-1][enough] + rank - 1]
        return np.maximum(sharper, guess)

    def _peek(self, rows: Int64) -> Float32:
        """Return rows for guesses, which the pass over all blocks proves."""
        database: Any = self.database
        found: Float32 = (database.peek if isinstance(database, StoredDatabase) else database.gather)(rows)
        return found

    @cached_property
    def _few(self) -> bool:
        """Whether stored rows are compared as they are."""
        database, dim = self.database, self.queries.shape[1]
        if self.device != "cpu" or not 0 < len(self.queries) <= widening.MOST_QUERIES:
            return False
        stored = isinstance(database, StoredDatabase) and database.dtype == np.float16
        return stored and widening.pays(self.total * dim)

    @property
    def _worth_it(self) -> bool:
        """Whether there is enough to do for trying out how to do it."""
        return self.device == "cpu" and self.total * self.queries.size >= RACE_FROM

    @property
    def _compiles(self) -> bool:
        """Whether there is enough to do for compiling kernels, and they can be."""
        enough = self.total * self.queries.size >= COMPILE_FROM
        fits = self.queries.shape[1] <= tiles.MOST_DIMS
        return self._worth_it and enough and fits and tiles.can_compile()

    def _kernels(self, queries: Float32, sample: Float32) -> list[Kernel]:
        """Return the kernels that are worth trying."""
        if self.device != "cpu":
            return [Torch(queries, self.device)]
        if self._few:
            return [Few(queries)]
        dense = Dense(queries)
        with np.errstate(over="ignore", invalid="ignore"):
            sound = bool((norms_of(sample) < LARGEST_NORM).all())
        if not (self._worth_it and sound):
            return [dense]
        dim = queries.shape[1]
        basis = leading_basis(sample, queries, int(max(SHARES) * dim))
        few = [basis[:, : int(share * dim)] for share in SHARES if share * dim >= 1]
        compiled = [Compiled(queries, sample)] if self._compiles else []
        return [dense, *(Filtered(queries, each) for each in few), Lowbit(queries, sample), *compiled]

    def _fastest(self, kernels: list[Kernel], sample: Float32, guess: Float32) -> Kernel:
        """Race kernels on some of the sample."""
        if len(kernels) == 1 or not np.isfinite(guess).all():
            return kernels[0]
        rows = sample[: rows_at_once(len(guess))]
        times = []
        for kernel in kernels:
            took = []
            for _ in range(TRIES + 1):
                started = time.perf_counter()
                kernel.pairs(rows, 0, guess)
                took.append(time.perf_counter() - started)
            times.append(min(took[1:]))
        return kernels[int(np.argmin(times))]

    def _pass(self, kernel: Kernel, pool: Pool) -> None:
        """Show the whole database to a kernel."""
        dim = self.queries.shape[1]
        step = self.block_size if self._few else rows_at_once(len(pool.thresholds))

        def compare(item: tuple[int, NDArray[Any]]) -> None:
            start, block = item
            if block.shape[1] != dim:
                raise ArtifactError(
                    f"queries have {counted(dim, 'dimension')}, the database {block.shape[1]}; "
                    "extract both with the same model"
                )
            for first in range(0, len(block), step):
                rows = block[first : first + step]
                rows = rows if self._few else widening.widen(rows)
                pool.add(kernel.pairs(rows, start + first, pool.thresholds))

        done = 0
        workers = self.threads if self.device == "cpu" else 1
        for (start, block), future in in_order(self._numbered(), compare, workers=workers, ahead=workers + 1):
            future.result()
            done = start + len(block)
            self.progress(done)
        if done != self.total:
            raise ArtifactError(
                f"the database has {counted(self.total, 'id')} but {counted(done, 'descriptor')}"
            )

    def _numbered(self) -> Iterator[tuple[int, NDArray[Any]]]:
        start = 0
        database: Any = self.database
        stored = isinstance(database, StoredDatabase)
        blocks = database.stored_blocks if stored else database.blocks
        for block in blocks(self.block_size):
            yield start, block
            start += len(block)


def _rank_in_sample(k: int, total: int, size: int) -> int:
    """Return at which rank of a sample the k-th best of the whole lies, with four deviations to spare."""
    expected = k * size / max(total, 1)
    return int(np.ceil(expected + 4.0 * np.sqrt(expected) + 4.0))


def _at_rank(ranked: Float32, rank: int) -> Float32:
    """Return the value at a rank of each sorted list, or minus infinity beyond its end."""
    if rank > ranked.shape[1]:
        return np.full(len(ranked), -np.inf, np.float32)
    return np.where(np.isfinite(ranked[:, rank - 1]), ranked[:, rank - 1], np.float32(-np.inf))
