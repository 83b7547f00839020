"""Kernels of the exact search for x86 with AVX2: compiled when first used.

All of them work in the calling thread and hold no lock of the interpreter.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ilion.kernels import instructions
from ilion.kernels.instructions import DIMS, GROUP, LINE, PARTS, QUERIES, ROWS
from ilion.kernels.jit import compiles

MOST_DIMS = 2**17
"""Largest number of dimensions whose integer products surely fit in an int32."""
CACHED = 2**15
"""Number of values of queries, and of rows (128 KiB each), whose pairs are scored at once."""


class Kernels(NamedTuple):
    """The compiled functions.

    Args:
        code: ``(rows (B, D), centre (D,), signs (D,), mixes (m, 2), step, zero, codes (B, >= D), squares
            (3, B))`` fills the codes of rows mixed by `mix_rows`, and squared lengths of the rows, of what is
            coded, and of what the codes lose.
        compare: ``(codes (B, d), tiles, limits (Q,), bits (B, bytes))`` sets a bit for each query whose
            product is above its limit.
        score: ``(bits, rows (B, D), queries (Q, D), norms (B,), slack (Q,), thresholds (Q,), query,
            row, values, errors)`` fills the last four with the pairs whose bit is set and whose float32
            value reaches the threshold within its error, and returns how many they are.
    """

    code: Any
    compare: Any
    score: Any


def can_compile() -> bool:
    """Say whether the kernels can be compiled: numba, and x86 with AVX2 and conversion of float16."""
    return compiles("avx2", "f16c")


def tile_codes(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Lay codes (Q, D) out as ``compare`` reads them: four dimensions of 8 queries after the other.

    Returns:
        (groups, D / 4, 32) bytes; zeros fill up dimensions and queries.

    >>> tile_codes(np.array([[1, 2, 3, 4, 5]], np.int8))[0, :2, :5].tolist()
    [[1, 2, 3, 4, 0], [5, 0, 0, 0, 0]]
    """
    number, dim = codes.shape
    filled = np.zeros((number + -number % QUERIES, dim + -dim % DIMS), np.int8)
    filled[:number, :dim] = codes
    parts = filled.reshape(len(filled) // GROUP, GROUP, filled.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(parts).reshape(len(parts), -1, 4 * GROUP).view(np.uint8)


def choose_mixes(dim: int) -> NDArray[np.int64]:
    """Return the steps (m, 2) of a mix: how many parts, and how far apart their values are.

    Neighbouring values are often alike (principal components are), so the last step is a register apart.

    >>> choose_mixes(512).tolist(), choose_mixes(768).tolist(), choose_mixes(100).tolist()
    ([[8, 64], [8, 8]], [[8, 96], [4, 24]], [])
    """
    found, left = [], dim
    while left and (parts := next((p for p in PARTS if left % (p * LINE) == 0), 0)):
        left //= parts
        found.append((parts, left))
    return np.array(found, np.int64).reshape(-1, 2)


def mix_rows(values: NDArray[Any], mixes: NDArray[np.int64]) -> NDArray[Any]:
    """Replace values of rows (N, D) by sums and differences of them: a Walsh-Hadamard transform.

    It is not normalised: inner products are multiplied by the product of all parts. It is what ``code`` does,
    in the type of the values.

    >>> mix_rows(np.arange(16.0)[None], choose_mixes(16))[0, [0, 1, 8]].tolist()
    [8.0, 10.0, -8.0]
    """
    for parts, stride in mixes.tolist():
        half = parts // 2
        while half:
            pairs = values.reshape(len(values), -1, 2, half * stride)
            first, second = pairs[:, :, 0], pairs[:, :, 1]
            values = np.stack([first + second, first - second], axis=2).reshape(values.shape)
            half //= 2
    return values


@cache
def compile_kernels() -> Kernels:
    """Return the kernels; ask first whether they are `can_compile`."""
    from numba import njit

    # no slices below: each would be a counted reference
    tile = instructions.compare_tile()
    mix8, mix4, mix2 = (instructions.mix_registers(parts) for parts in PARTS)
    # sums in any order, with fused products: the bounds hold for all of them
    loose = {"reassoc", "contract"}

    @njit(nogil=True, fastmath=loose)
    def code(
        rows: Any, centre: Any, signs: Any, mixes: Any, step: Any, zero: Any, codes: Any, squares: Any
    ) -> None:
        dim, values = rows.shape[1], np.empty(rows.shape[1], np.float32)
        inverse, low, high = np.float32(1) / step, np.float32(-zero), np.float32(zero - 1)
        for r in range(len(rows)):
            whole = length = lost = np.float32(0)
            for d in range(dim):
                whole += rows[r, d] * rows[r, d]
                values[d] = (rows[r, d] - centre[d]) * signs[d]
            for number in range(len(mixes)):
                parts, stride = mixes[number]
                for base in range(0, dim, parts * stride):
                    for at in range(base, base + stride, LINE):
                        if parts == 8:
                            mix8(values, at, stride)
                        elif parts == 4:
                            mix4(values, at, stride)
                        else:
                            mix2(values, at, stride)
            for d in range(dim):
                value = values[d]
                rounded = min(max(np.rint(value * inverse), low), high)
                codes[r, d] = np.uint8(np.int32(rounded) + zero)
                left = value - rounded * step
                length += value * value
                lost += left * left
            squares[0, r], squares[1, r], squares[2, r] = whole, length, lost

    @njit(nogil=True)
    def compare(codes: Any, tiles: Any, limits: Any, bits: Any) -> None:
        number, dim = codes.shape
        groups, size = len(tiles), tiles.shape[1] * tiles.shape[2]
        rounds, width = dim // DIMS, bits.shape[1]
        # a tile of queries stays in the nearest cache while all rows pass
        for group in range(0, groups, QUERIES // GROUP):
            for row in range(0, number, ROWS):
                place = row * width + group
                tile(
                    codes,
                    row * dim,
                    dim,
                    tiles,
                    group * size,
                    size,
                    limits,
                    group * GROUP,
                    bits,
                    place,
                    width,
                    rounds,
                )

    @njit(nogil=True, fastmath=loose)
    def score(
        bits: Any, rows: Any, queries: Any, norms: Any, slack: Any, thresholds: Any,
        query: Any, row: Any, values: Any, errors: Any,
    ) -> int:  # fmt: skip
        found, dim, number = 0, rows.shape[1], len(queries)
        # rows and queries that stay in the second cache together
        few = max(GROUP, CACHED // dim // GROUP * GROUP)
        for above in range(0, len(rows), few):
            below = min(above + few, len(rows))
            for first in range(0, number, few):
                last = min(first + few, number)
                for r in range(above, below):
                    for group in range(first // GROUP, (last + GROUP - 1) // GROUP):
                        left = bits[r, group]
                        if left == 0:
                            continue
                        for q in range(group * GROUP, min(group * GROUP + GROUP, last)):
                            if left >> (q & 7) & 1:
                                value = np.float32(0)
                                for d in range(dim):
                                    value += rows[r, d] * queries[q, d]
                                error = slack[q] * norms[r]
                                if value + error >= thresholds[q]:
                                    query[found], row[found], values[found], errors[found] = (
                                        q,
                                        r,
                                        value,
                                        error,
                                    )
                                    found += 1
        return found

    return Kernels(code, compare, score)
