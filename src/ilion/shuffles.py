"""Nearest codes of one bit a dimension by byte shuffles: compiled when first used, with the extra ``fast``.

Counting differing bits one pair after the other is bound by the population count. Here a code is cut into
nibbles; for each nibble of a query a table of 16 bytes says by how many bits every value differs from it, and
one shuffle looks up 32 database nibbles at once, as in the fast scan of product quantisers (André, Kermarrec
and Le Scouarnec, VLDB 2015). Sums are exact. On processors without AVX2, or without the extra, `ilion.bits`
counts bits instead; the results are the same.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 32
"""Bytes in a register of AVX2."""
LANES = 5
"""Registers that one table serves before the next is loaded: 160 tokens, which suits 500 to 640 an image."""
BLOCK = WIDTH * LANES
WHOLE = 62
"""Nibbles whose differences (at most 4 each) are added in one byte; an even number keeps bytes together."""
TABLES = np.array([[(a ^ b).bit_count() for b in range(16)] * 2 for a in range(16)], np.uint8)
"""(16, 32) by how many bits two nibbles differ, for both halves of a register."""

Kernel = Callable[[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32]], None]


@cache
def least_by_shuffle() -> Kernel | None:
    """Return what fills (M,) with the bits by which rows (M, bytes) differ from the nearest of (N, bytes).

    It holds no lock of the interpreter while it works. None where numba is missing, or AVX2.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or find_spec("numba") is None:
        return None
    import llvmlite.binding

    if not llvmlite.binding.get_host_cpu_features().get("avx2"):
        return None
    return _compiled()


def _compiled() -> Kernel:
    from numba import njit

    add_tables = _add_tables()

    @njit(nogil=True)
    def nibbles_by_row(codes: Any) -> Any:
        out = np.empty((codes.shape[0], 2 * codes.shape[1]), np.uint8)
        for row in range(codes.shape[0]):
            for byte in range(codes.shape[1]):
                out[row, 2 * byte] = codes[row, byte] >> 4
                out[row, 2 * byte + 1] = codes[row, byte] & 15
        return out

    @njit(nogil=True)
    def nibbles_by_block(codes: Any) -> Any:
        """(blocks, nibbles, BLOCK): nibble after nibble; the last code fills up the last block."""
        count, size = codes.shape
        blocks = (count + BLOCK - 1) // BLOCK
        turned = np.empty((blocks, size, BLOCK), np.uint8)
        for row in range(blocks * BLOCK):
            for byte in range(size):
                turned[row // BLOCK, byte, row % BLOCK] = codes[min(row, count - 1), byte]
        out = np.empty((blocks, 2 * size, BLOCK), np.uint8)
        for block in range(blocks):
            for byte in range(size):
                for j in range(BLOCK):
                    out[block, 2 * byte, j] = turned[block, byte, j] >> 4
                    out[block, 2 * byte + 1, j] = turned[block, byte, j] & 15
        return out

    @njit(nogil=True)
    def least(queries: Any, codes: Any, into: Any) -> None:
        tokens, own = nibbles_by_block(codes), nibbles_by_row(queries)
        nibbles = own.shape[1]
        sums, total = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint16)
        # a block of tokens stays in the nearest cache while all queries look at it
        for block in range(len(tokens)):
            for i in range(len(own)):
                best = np.uint16(65535)
                if nibbles <= WHOLE:
                    add_tables(TABLES, own, i * nibbles, tokens, block * nibbles * BLOCK, nibbles, sums)
                    few = np.uint8(255)
                    for j in range(BLOCK):
                        few = min(few, sums[j])
                    best = np.uint16(few)
                else:
                    total[:] = 0
                    for start in range(0, nibbles, WHOLE):
                        count = min(nibbles - start, WHOLE)
                        at = (block * nibbles + start) * BLOCK
                        add_tables(TABLES, own, i * nibbles + start, tokens, at, count, sums)
                        for j in range(BLOCK):
                            total[j] += sums[j]
                    for j in range(BLOCK):
                        best = min(best, total[j])
                into[i] = best if block == 0 else min(into[i], best)

    # compiled now, so that no measured call pays for it
    one = np.zeros((1, 8), np.uint8)
    least(one, one, np.empty(1, np.int32))
    kernel: Kernel = least
    return kernel


def _add_tables() -> Any:
    """Return ``sums[:] = sum of TABLES[query[n]][tokens[n]] over count nibbles`` as machine instructions.

    Arguments are arrays and the offsets in them: slices would be counted references in the inner loop.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped
    from numba.extending import intrinsic

    cgutils: Any = untyped
    byte, word = ir.IntType(8), ir.IntType(64)
    register = ir.VectorType(byte, WIDTH)

    @intrinsic
    def add_tables(
        _: Any, tables: Any, query: Any, query_at: Any, tokens: Any, tokens_at: Any, count: Any, sums: Any
    ) -> Any:
        signature = types.void(tables, query, query_at, tokens, tokens_at, count, sums)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def data(number: int) -> Any:
                array = context.make_array(signature.args[number])(context, builder, values[number])
                return builder.bitcast(array.data, byte.as_pointer())

            def vector(base: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(base, [offset]), register.as_pointer())

            shuffle = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(register, [register, register]), "llvm.x86.avx2.pshuf.b"
            )
            rows, first = data(0), builder.gep(data(1), [values[2]])
            others, results = builder.gep(data(3), [values[4]]), data(6)
            zero = ir.Constant(register, [0] * WIDTH)
            lanes = [cgutils.alloca_once_value(builder, zero) for _ in range(LANES)]
            with cgutils.for_range(builder, values[5]) as loop:
                own = builder.zext(builder.load(builder.gep(first, [loop.index])), word)
                table = builder.load(vector(rows, builder.mul(own, ir.Constant(word, WIDTH))), align=1)
                start = builder.mul(loop.index, ir.Constant(word, BLOCK))
                for number, lane in enumerate(lanes):
                    at = vector(others, builder.add(start, ir.Constant(word, number * WIDTH)))
                    differing = builder.call(shuffle, [table, builder.load(at, align=1)])
                    builder.store(builder.add(builder.load(lane), differing), lane)
            for number, lane in enumerate(lanes):
                builder.store(builder.load(lane), vector(results, ir.Constant(word, number * WIDTH)), align=1)
            return context.get_dummy_value()

        return signature, generate

    return add_tables
