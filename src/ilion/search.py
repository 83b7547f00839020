"""Exact top-k search over a streamed database.

The database passes once, in blocks. Each query keeps the rows whose float32 similarity reaches its k-th best
so far, less twice a bound on the rounding of a float32 product. At the end the kept pairs are scored again in
float64 and rounded to float32: a float32 matrix product gives a pair a slightly different value depending on
where it stands in a block, the second scoring does not. So results do not depend on sharding or block size,
and equal images really tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from ilion.errors import ArtifactError
from ilion.types import Float32, Int64, Ranking

ROUNDING = 4.0 * 2.0**-24
"""Times sqrt(D) and both norms: bound on the error of a float32 inner product of D terms in any order of
summation (the probabilistic bound of Higham and Mary, SIAM J. Sci. Comput. 2019, with a factor of four)."""
EXACT_BLOCK = 2**20
"""Values scored in float64 at once: they stay in the cache."""
MAX_SIMILARITIES = 2**25
"""Similarities held at once (128 MiB); blocks shrink when there are many queries."""

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


def search(
    query_ids: Sequence[str],
    queries: Float32,
    database: Database,
    *,
    k: int = 1000,
    block_size: int = 16384,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the database for every query by inner product.

    Args:
        query_ids: Q unique ids.
        queries: (Q, D) float32, L2-normalised.
        database: N rows of the same D.
        k: How many results to keep; all N where the database is smaller.
        block_size: Rows compared at once.
        progress: Called with rows done and rows in all.

    Returns:
        A ranking with K = min(k, N); ties are in order of rows.

    Raises:
        ArtifactError: Dimensions differ, or a value is not finite.
    """
    if k < 1:
        raise ArtifactError(f"k must be at least 1, got {k}")
    if queries.ndim != 2 or len(query_ids) != len(queries):
        raise ArtifactError(f"{len(query_ids)} query ids for descriptors of shape {queries.shape}")
    if not np.isfinite(queries).all():
        bad = int(np.flatnonzero(~np.isfinite(queries).all(axis=1))[0])
        raise ArtifactError(f"the descriptor of query {query_ids[bad]!r} has NaN or infinity")
    total = len(database.ids)
    lists = [_Candidates(query, min(k, total)) for query in queries]
    start = 0
    for block in database.blocks(max(256, min(block_size, MAX_SIMILARITIES // max(1, len(queries))))):
        if block.shape[1] != queries.shape[1]:
            raise ArtifactError(
                f"queries have {queries.shape[1]} dimensions, the database {block.shape[1]}; "
                "extract both with the same model"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            similarities = queries @ block.T
        if not np.isfinite(similarities).all():
            raise ArtifactError(
                f"the database has NaN or infinity between rows {start} and {start + len(block)}"
            )
        norm = float(np.sqrt(np.einsum("nd,nd->n", block, block).max()))
        for candidates, row in zip(lists, similarities, strict=True):
            candidates.add(row, start, norm, database)
        start += len(block)
        if progress:
            progress(start, total)
    if start != total:
        raise ArtifactError(f"the database has {total} ids but {start} descriptors")
    _settle(lists, database)
    shape = (len(queries), min(k, total))
    return Ranking(
        tuple(query_ids),
        database.ids,
        np.array([candidates.rows for candidates in lists], np.int64).reshape(shape),
        np.array([candidates.values for candidates in lists], np.float32).reshape(shape),
        np.full(len(queries), shape[1], np.int64),
    )


class _Candidates:
    """The rows that can still be among the best ``k`` of one query."""

    def __init__(self, query: Float32, k: int) -> None:
        self.query = query.astype(np.float64)
        self.k = k
        self.rows: Int64 = np.empty(0, np.int64)
        self.values: Float32 = np.empty(0, np.float32)
        self.threshold = -np.inf
        self.slack = 0.0
        self.unit = ROUNDING * np.sqrt(len(query)) * float(np.linalg.norm(query))

    def add(self, similarities: Float32, start: int, norm: float, database: Database) -> None:
        """Take what reaches the threshold from one block whose largest norm is ``norm``."""
        self.slack = max(self.slack, self.unit * norm)
        new = np.flatnonzero(similarities >= self.threshold - 2.0 * self.slack)
        if new.size == 0:
            return
        self.rows = np.concatenate([self.rows, new + start])
        self.values = np.concatenate([self.values, similarities[new]])
        if len(self.rows) <= self.k:
            return
        self.threshold = float(np.partition(self.values, -self.k)[-self.k])
        near = self.values >= self.threshold - 2.0 * self.slack
        self.rows, self.values = self.rows[near], self.values[near]
        if len(self.rows) > 2 * self.k + 1024:
            # a crowd of near-ties: settle it now, so that memory stays bounded
            _settle([self], database)
            self.threshold = float(self.values[-1])


def _settle(lists: Sequence[_Candidates], database: Database) -> None:
    """Score all candidates exactly, order them by similarity and then by row, and cut at ``k``."""
    for candidates in lists:
        candidates.rows = np.sort(candidates.rows)
        candidates.values = np.empty(len(candidates.rows), np.float32)
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *(c.rows for c in lists)]))
    done = np.zeros(len(lists), np.int64)
    step = max(1, EXACT_BLOCK // max(1, len(lists[0].query))) if lists else 1
    # a row is read and widened once for all queries that want it
    for start in range(0, len(wanted), step):
        block = wanted[start : start + step]
        values = database.gather(block).astype(np.float64)
        for number, candidates in enumerate(lists):
            first, last = done[number], np.searchsorted(candidates.rows, block[-1], side="right")
            if first < last:
                places = np.searchsorted(block, candidates.rows[first:last])
                part = values if len(places) == len(block) else values[places]
                candidates.values[first:last] = part @ candidates.query
                done[number] = last
    for candidates in lists:
        best = np.argsort(-candidates.values, kind="stable")[: candidates.k]
        candidates.rows, candidates.values = candidates.rows[best], candidates.values[best]
