"""The compiled functions of `ilion.kernels.widening`: compiled on first import, kept beside this file.

This module imports numba, which takes half a second.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from ilion.kernels.instructions import widen_half

_half = widen_half()
# sums in any order, with fused products: the bounds of a search hold for all of them
_LOOSE = {"reassoc", "contract"}
_HALVES = [types.Array(types.uint16, n, "C", readonly=True) for n in (1, 2)]
_FLOATS = types.Array(types.float32, 2, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)


@numba.njit(types.void(_HALVES[0], types.float32[::1]), nogil=True, cache=True)
def widen(halves: Any, floats: Any) -> None:
    """Widen float16, seen as integers (N,), to float32 (N,)."""
    for i in range(len(halves)):
        floats[i] = _half(halves[i])


@numba.njit(
    types.void(_HALVES[1], _FLOATS, types.float32[:, ::1], types.float32[::1]),
    nogil=True,
    cache=True,
    fastmath=_LOOSE,
)
def compare(halves: Any, queries: Any, values: Any, squares: Any) -> None:
    """Fill inner products (B, Q) and squared lengths (B,) of rows (B, D) of float16, seen as integers."""
    dim = halves.shape[1]
    row = np.empty(dim, np.float32)
    for r in range(len(halves)):
        square = product = np.float32(0)
        for d in range(dim):
            value = _half(halves[r, d])
            row[d] = value
            square += value * value
            product += value * queries[0, d]
        squares[r], values[r, 0] = square, product
        for q in range(1, len(queries)):
            product = np.float32(0)
            for d in range(dim):
                product += row[d] * queries[q, d]
            values[r, q] = product


@numba.njit(
    types.void(_FLOATS, _FLOATS, _NUMBERS, _NUMBERS, types.float64[::1]),
    nogil=True,
    cache=True,
    fastmath=_LOOSE,
)
def multiply(rows: Any, queries: Any, row: Any, query: Any, values: Any) -> None:
    """Fill inner products (P,) in float64 of pairs of rows (B, D) and queries (Q, D)."""
    dim = rows.shape[1]
    for p in range(len(row)):
        r, q = row[p], query[p]
        value = 0.0
        for d in range(dim):
            value += np.float64(rows[r, d]) * np.float64(queries[q, d])
        values[p] = value
