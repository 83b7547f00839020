"""From a block of rows to the pairs that can reach their query's threshold: the work of a search."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.kernels import widening
from ilion.runtime.torch import extra_library, torch_device
from ilion.searching.bounds import FLOOR, Filter, norms_from, norms_of, product_error
from ilion.searching.candidates import Pairs, no_pairs
from ilion.types import Float32, Int64

MAX_SIMILARITIES = 2**20
"""Similarities computed at once by one thread (4 MiB): they are compared while they are in the cache."""
LARGEST_NORM = 2.0**56
"""Squares of it are float32, also after differences and mixing."""
DENSE_SHARE = 0.12
"""A pair scored alone costs about eight times as much as one in a matrix product (measured); above this share
of surviving pairs the whole block is multiplied."""


class Kernel(Protocol):
    """One way to compare rows with all queries."""

    def pairs(self, rows: Float32, start: int, thresholds: Float32) -> Pairs:
        """Return every pair whose value plus error reaches the threshold of its query, and maybe more.

        Args:
            rows: (B, D) float32 rows of the database.
            start: Number of the first.
            thresholds: (Q,).

        Raises:
            ArtifactError: A row is not finite.
        """
        ...


def rows_at_once(queries: int) -> int:
    """Return how many rows a kernel is given at once: so few that they stay in the cache.

    >>> rows_at_once(1232), rows_at_once(1)
    (851, 1024)
    """
    return max(64, min(1024, MAX_SIMILARITIES // max(1, queries)))


def measure_norms(rows: Float32, start: int) -> Float32:
    """Return the norms of rows.

    Raises:
        ArtifactError: A norm is not finite: NaN, infinity or a value near the end of float32.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return check_norms(norms_of(rows), start)


def check_norms(norms: Float32, start: int) -> Float32:
    """Return the norms of rows again.

    Raises:
        ArtifactError: As `measure_norms`.
    """
    if not (norms < LARGEST_NORM).all():
        raise ArtifactError(f"the database has NaN or infinity between rows {start} and {start + len(norms)}")
    return norms


class Dense:
    """A float32 matrix product of everything.

    Args:
        queries: (Q, D) float32.
    """

    def __init__(self, queries: Float32) -> None:
        self._queries = queries
        dim = queries.shape[1]
        # norms are never below FLOOR * sqrt(dim), which makes up for products that vanish in float32
        self.slack = np.asarray(product_error(dim) * norms_of(queries) + FLOOR * np.sqrt(dim), np.float32)

    def pairs(self, rows: Float32, start: int, thresholds: Float32) -> Pairs:
        """See `Kernel`."""
        return self.of(rows, measure_norms(rows, start), start, thresholds)

    def of(self, rows: Float32, norms: Float32, start: int, thresholds: Float32) -> Pairs:
        """Do the same with norms that are known."""
        if not len(rows) or not len(self._queries):
            return no_pairs()
        return self.find_candidates(rows @ self._queries.T, norms, start, thresholds)

    def find_candidates(self, values: Float32, norms: Float32, start: int, thresholds: Float32) -> Pairs:
        """Return the pairs of a block that reach the threshold within their error.

        Args:
            values: (B, Q) inner products.
            norms: (B,), B > 0.
            start: Number of the first row.
            thresholds: (Q,).
        """
        # the largest norm of the block bounds every pair; those it lets through are looked at by their own
        flat = np.flatnonzero(values >= thresholds - self.slack * norms.max())
        row, query = np.divmod(flat, len(self._queries))
        return self.find_reaching(query, row, values.reshape(-1)[flat], norms, start, thresholds)

    def find_reaching(
        self, query: Int64, row: Int64, values: Float32, norms: Float32, start: int, thresholds: Float32
    ) -> Pairs:
        """Return the pairs whose value reaches the threshold within its own error."""
        errors = self.slack[query] * norms[row]
        kept = np.flatnonzero(values + errors >= thresholds[query])
        return Pairs(query[kept], row[kept] + start, values[kept], errors[kept])


class Few(Dense):
    """The same for few queries (see `ilion.kernels.widening`), of rows of float16 as they are stored.

    Args:
        queries: (Q, D) float32.
    """

    def pairs(self, rows: NDArray[Any], start: int, thresholds: Float32) -> Pairs:
        """See `Kernel`; rows may be float16."""
        if rows.dtype != np.float16:
            return super().pairs(widening.widen(rows), start, thresholds)
        values, squares = widening.compare(rows, self._queries)
        norms = check_norms(norms_from(squares, rows.shape[1]), start)
        return self.find_candidates(values, norms, start, thresholds)


class Filtered:
    """A bound from a few dimensions first; only pairs that it cannot exclude are scored.

    Args:
        queries: (Q, D) float32.
        basis: (D, d), see `ilion.searching.bounds.leading_basis`.
    """

    def __init__(self, queries: Float32, basis: Float32) -> None:
        self._queries = queries
        self._dense = Dense(queries)
        self._filter = Filter.of(basis, queries)

    def pairs(self, rows: Float32, start: int, thresholds: Float32) -> Pairs:
        """See `Kernel`."""
        norms = measure_norms(rows, start)
        bounds = self._filter.project(rows, norms) @ self._filter.queries.T
        flat = np.flatnonzero(bounds >= thresholds)
        if len(flat) > DENSE_SHARE * bounds.size:
            return self._dense.of(rows, norms, start, thresholds)
        row, query = np.divmod(flat, len(self._queries))
        return self._dense.find_reaching(
            query, row, score_pairs(self._queries, query, rows, row), norms, start, thresholds
        )


def score_pairs(queries: Float32, query: Int64, rows: Float32, row: Int64) -> Float32:
    """Return the float32 inner products (P,) of pairs of a query and a row, in the calling thread."""
    faiss: Any = importlib.import_module("faiss")
    values = np.empty(len(row), np.float32)
    query, row = np.ascontiguousarray(query, np.int64), np.ascontiguousarray(row, np.int64)
    # this thread's own setting: the threads of a search share the cores already
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        faiss.pairwise_indexed_inner_product(
            rows.shape[1],
            len(row),
            faiss.swig_ptr(queries),
            faiss.swig_ptr(query),
            faiss.swig_ptr(rows),
            faiss.swig_ptr(row),
            faiss.swig_ptr(values),
        )
    finally:
        faiss.omp_set_num_threads(before)
    return values


class Torch:
    """The matrix product of `Dense` on another device.

    Args:
        queries: (Q, D) float32.
        device: As torch names it, such as ``cuda`` or ``cuda:1``.

    Raises:
        MissingExtraError: Torch is not installed.
        ConfigError: There is no such kind of device.
        ExtractionError: The machine does not have it.
    """

    def __init__(self, queries: Float32, device: str) -> None:
        self._torch: Any = extra_library("torch", f"search on device {device!r}")
        place = torch_device(device)
        self._queries = self._torch.from_numpy(queries).to(place)
        self._dense = Dense(queries)
        self._slack = self._torch.from_numpy(self._dense.slack).to(place)

    def pairs(self, rows: Float32, start: int, thresholds: Float32) -> Pairs:
        """See `Kernel`."""
        torch, device = self._torch, self._queries.device
        norms = measure_norms(rows, start)
        # the error bound is that of float32; TensorFloat-32 keeps 10 bits
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            values = torch.from_numpy(rows).to(device) @ self._queries.T
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        least = torch.from_numpy(thresholds).to(device) - self._slack * float(norms.max())
        row, query = torch.nonzero(values >= least, as_tuple=True)
        found = values[row, query].cpu().numpy()
        return self._dense.find_reaching(
            query.cpu().numpy(), row.cpu().numpy(), found, norms, start, thresholds
        )
