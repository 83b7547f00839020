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
QUERIES, LANES = 2, 5
"""Queries that share what is loaded of the tokens, and registers of tokens: 160, which suits 500 to 640 an
image. Their ten sums just fit the registers."""
BLOCK = WIDTH * LANES
WHOLE = 62
"""Nibbles whose differences (at most 4 each) are added in one byte; an even number keeps bytes together."""
TABLES = np.array([[(a ^ b).bit_count() for b in range(16)] * 2 for a in range(16)], np.uint8)
"""(16, 32) by how many bits two nibbles differ, for both halves of a register."""

Kernel = Callable[[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.int32]], None]


def nibbles(codes: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Cut codes (M, bytes) into (M, 2 * bytes) nibbles, the upper one first.

    >>> nibbles(np.array([[0xA5]], np.uint8)).tolist()
    [[10, 5]]
    """
    out = np.empty((len(codes), 2 * codes.shape[1]), np.uint8)
    np.right_shift(codes, 4, out=out[:, ::2], casting="unsafe")
    np.bitwise_and(codes, 15, out=out[:, 1::2], casting="unsafe")
    return out


def words(codes: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Return codes (N, bytes) as (N, words) of 8 bytes each, filled up with zeros."""
    missing = -codes.shape[1] % 8
    whole = np.pad(codes, ((0, 0), (0, missing))) if missing else np.ascontiguousarray(codes)
    return whole.view(np.uint64)


@cache
def least_by_shuffle() -> Kernel | None:
    """Return what fills (M,) int32 with the bits by which codes differ from the nearest of (N, bytes).

    The codes of the first side are given as `nibbles` (M, 2 * bytes), so that they are cut up only once;
    those of the second as `words`.

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

    few, many = _nearest(wide=False), _nearest(wide=True)

    low, four = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(4)
    swaps = (
        (4, np.uint64(32), np.uint64(0x00000000FFFFFFFF)),
        (2, np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
        (1, np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    )

    @njit(nogil=True)
    def nibbles_by_block(codes: Any) -> Any:
        """(N, words) to (blocks, nibbles, BLOCK / 8 words); the last code fills up the last block."""
        count, size = codes.shape
        blocks = (count + BLOCK - 1) // BLOCK
        out = np.empty((blocks, 16 * size, BLOCK // 8), np.uint64)
        square = np.empty(8, np.uint64)
        for block in range(blocks):
            for part in range(BLOCK // 8):
                first = block * BLOCK + 8 * part
                for word in range(size):
                    for r in range(8):
                        square[r] = codes[min(first + r, count - 1), word]
                    # rows and columns of 8 x 8 bytes change places: quarters, then quarters of those ...
                    for step, shift, mask in swaps:
                        for r in range(8):
                            if not r & step:
                                change = ((square[r] >> shift) ^ square[r + step]) & mask
                                square[r] ^= change << shift
                                square[r + step] ^= change
                    for byte in range(8):
                        at = 16 * word + 2 * byte
                        out[block, at, part] = (square[byte] >> four) & low
                        out[block, at + 1, part] = square[byte] & low
        return out

    @njit(nogil=True)
    def least(own: Any, codes: Any, into: Any) -> None:
        tokens = nibbles_by_block(codes).view(np.uint8)
        nibbles, last = own.shape[1], len(own) - 1
        places = np.empty(QUERIES, np.int64)
        # a block of tokens stays in the nearest cache while all queries look at it
        for block in range(len(tokens)):
            for start in range(0, len(own), QUERIES):
                for q in range(QUERIES):
                    places[q] = min(start + q, last) * nibbles
                at = block * tokens.shape[1] * BLOCK
                if nibbles <= WHOLE:
                    found = few(TABLES, own, places, tokens, at, nibbles)
                else:
                    found = many(TABLES, own, places, tokens, at, nibbles)
                for q in range(min(QUERIES, len(own) - start)):
                    best = np.int32((found >> np.uint64(16 * q)) & np.uint64(65535))
                    into[start + q] = best if block == 0 else min(into[start + q], best)

    # compiled now, so that no measured call pays for it
    least(np.zeros((1, 16), np.uint8), np.zeros((1, 1), np.uint64), np.empty(1, np.int32))
    kernel: Kernel = least
    return kernel


def _nearest(*, wide: bool) -> Any:
    """Return the least ``sum of TABLES[query[n]][tokens[n]] over nibbles`` of two queries, compiled.

    Two queries share what is loaded of the tokens. The result of the first comes 16 bits higher.
    Arguments are arrays and the offsets in them: slices would be counted references in the inner loop.
    Sums of `WHOLE` nibbles are kept in bytes, and if ``wide`` added up in 16 bits.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped
    from numba.extending import intrinsic

    cgutils: Any = untyped
    byte, half, word = ir.IntType(8), ir.IntType(16), ir.IntType(64)
    register = ir.VectorType(byte, WIDTH)
    element = half if wide else byte
    final = ir.VectorType(element, WIDTH)

    @intrinsic
    def nearest(_: Any, tables: Any, query: Any, places: Any, tokens: Any, tokens_at: Any, count: Any) -> Any:
        signature = types.uint64(tables, query, places, tokens, tokens_at, count)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def data(number: int) -> Any:
                array = context.make_array(signature.args[number])(context, builder, values[number])
                return builder.bitcast(array.data, byte.as_pointer())

            def vector(base: Any, offset: Any) -> Any:
                place = builder.bitcast(builder.gep(base, [offset]), register.as_pointer())
                return builder.load(place, align=1)

            def function(name: str, result: Any, *arguments: Any) -> Any:
                kind = ir.FunctionType(result, arguments)
                return cgutils.get_or_insert_function(builder.module, kind, name)

            def smaller(a: Any, b: Any) -> Any:
                return builder.select(builder.icmp_unsigned("<", a, b), a, b)

            def number(value: int) -> Any:
                return ir.Constant(word, value)

            shuffle = function("llvm.x86.avx2.pshuf.b", register, register, register)
            least = function(f"llvm.vector.reduce.umin.v{WIDTH}{element}", element, final)
            rows, others = data(0), builder.gep(data(3), [values[4]])
            places = builder.bitcast(data(2), word.as_pointer())
            starts = [builder.load(builder.gep(places, [number(query)])) for query in range(QUERIES)]
            own = [builder.gep(data(1), [start]) for start in starts]
            none, nothing = ir.Constant(register, [0] * WIDTH), ir.Constant(final, [0] * WIDTH)
            pairs = [(query, lane) for lane in range(LANES) for query in range(QUERIES)]
            sums = {pair: cgutils.alloca_once_value(builder, none) for pair in pairs}
            totals = {pair: cgutils.alloca_once_value(builder, nothing) for pair in pairs}

            def add_up(start: Any, stop: Any) -> None:
                with cgutils.for_range_slice(builder, start, stop, number(1)) as (at, _):
                    nibbles = [builder.zext(builder.load(builder.gep(row, [at])), word) for row in own]
                    shown = [vector(rows, builder.mul(nibble, number(WIDTH))) for nibble in nibbles]
                    begin = builder.mul(at, number(BLOCK))
                    for lane in range(LANES):
                        codes = vector(others, builder.add(begin, number(lane * WIDTH)))
                        for query in range(QUERIES):
                            place = sums[query, lane]
                            differing = builder.call(shuffle, [shown[query], codes])
                            builder.store(builder.add(builder.load(place), differing), place)

            if not wide:
                totals = sums
                add_up(number(0), values[5])
            else:
                with cgutils.for_range_slice(builder, number(0), values[5], number(WHOLE)) as (start, _):
                    for pair in pairs:
                        builder.store(none, sums[pair])
                    add_up(start, smaller(builder.add(start, number(WHOLE)), values[5]))
                    for pair in pairs:
                        more = builder.zext(builder.load(sums[pair]), final)
                        builder.store(builder.add(builder.load(totals[pair]), more), totals[pair])
            result = number(0)
            for query in range(QUERIES):
                best = builder.load(totals[query, 0])
                for lane in range(1, LANES):
                    best = smaller(best, builder.load(totals[query, lane]))
                found = builder.zext(builder.call(least, [best]), word)
                result = builder.or_(result, builder.shl(found, number(16 * query)))
            return result

        return signature, generate

    return nearest
