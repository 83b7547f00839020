"""Stored descriptors in a wider type: float16 widened to float32, also while few queries are held against it,
and products of float32 in float64.

NumPy widens a float16 in several times the time that a whole inner product takes of it. The functions of
`ilion.kernels.widening_compiled` do not, but must be loaded, in about a second: so short work is done
without, until a process has done so much of it that loading would have paid. What is computed is the same.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.kernels.jit import compiles
from ilion.types import Float32, Float64, Int64

LOAD_AFTER = 2**28
"""Values that a process widens without the compiled functions: about half a second's work for NumPy."""
MOST_QUERIES = 16
"""Queries up to which `compare` is faster than widening, norms and a matrix product."""

_loaded: list[Any] = []
_widened = 0


def can_compile() -> bool:
    """Say whether the functions can be compiled: numba, and x86 with AVX2 and conversion of float16."""
    return compiles("avx2", "f16c")


def load() -> bool:
    """Load the compiled functions; return whether they are there."""
    if not _loaded and can_compile() and (module := _import()) is not None:
        _loaded.append(module)
    return bool(_loaded)


@cache
def _import() -> Any:
    try:
        return importlib.import_module("ilion.kernels.widening_compiled")
    except RuntimeError:  # no folder can be written where numba keeps what it compiled
        return None


def pays(values: int) -> bool:
    """Return whether the compiled functions are loaded, or are now, as so many values are to be widened."""
    global _widened
    _widened += values
    return bool(_loaded) or (_widened >= LOAD_AFTER and load())


def widen(rows: NDArray[Any]) -> Float32:
    """Return an array as contiguous float32; it is the same one where it is that already.

    All values are kept; a signalling NaN may become a quiet one.

    >>> widen(np.array([[0.5, 6e-8]], np.float16)).tolist()
    [[0.5, 5.960464477539063e-08]]
    """
    if rows.dtype != np.float16 or not pays(rows.size):
        return np.ascontiguousarray(rows, np.float32)
    rows = np.ascontiguousarray(rows)
    floats = np.empty(rows.shape, np.float32)
    _loaded[0].widen(rows.reshape(-1).view(np.uint16), floats.reshape(-1))
    return floats


def compare(rows: NDArray[np.float16], queries: Float32) -> tuple[Float32, Float32]:
    """Return inner products (B, Q) and squared lengths (B,) of rows, added up in any order.

    Only after `load`.

    Args:
        rows: (B, D) float16.
        queries: (Q, D) float32, contiguous.
    """
    rows = np.ascontiguousarray(rows)
    values, squares = np.empty((len(rows), len(queries)), np.float32), np.empty(len(rows), np.float32)
    _loaded[0].compare(rows.view(np.uint16), queries, values, squares)
    return values, squares


def multiply_pairs(rows: Float32, queries: Float32, row: Int64, query: Int64) -> Float64:
    """Return inner products (P,) of pairs in float64, added up in any order; only after `load`.

    Args:
        rows: (B, D).
        queries: (Q, D).
        row: (P,) row of each pair.
        query: (P,) its query.
    """
    values = np.empty(len(row), np.float64)
    sides = (np.ascontiguousarray(side, np.float32) for side in (rows, queries))
    pairs = (np.ascontiguousarray(places, np.int64) for places in (row, query))
    _loaded[0].multiply(*sides, *pairs, values)
    return values
