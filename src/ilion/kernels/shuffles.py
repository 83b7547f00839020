"""Nearest codes of one bit a dimension by byte shuffles: compiled when first used.

Counting differing bits one pair after the other is bound by the population count. Here a code is cut into
nibbles; for each nibble of a query a table of 16 bytes says by how many bits every value differs from it, and
one shuffle looks up 32 database nibbles at once, as in the fast scan of product quantisers (André, Kermarrec
and Le Scouarnec, VLDB 2015). A nibble differs by at most 4 bits, so two queries share one table: the first
counts in the lower half of a byte, the second in the upper, three nibbles long. Sums are exact. On processors
without AVX2, `ilion.kernels.hamming` counts bits instead; the results are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.kernels.jit import compiles

WIDTH = 32
"""Bytes in a register of AVX2."""
LANES = 4
"""Registers of tokens that share what is loaded of the queries: 128 tokens; their sums fit the registers."""
BLOCK = WIDTH * LANES
STEP = 3
"""Nibbles counted in half a byte: 3 * 4 differing bits are less than 16."""
WHOLE = 63
"""Nibbles whose differences (at most 4 each) are added in one byte."""
_BITS = np.bitwise_count(np.arange(16)[:, None] ^ np.arange(16)[None, :]).astype(np.uint8)
TABLES = np.tile((_BITS[:, None] << 4 | _BITS[None, :]).reshape(256, 16), 2)
"""(256, 32) by how many bits two nibbles differ from one, for both halves of a register."""

LIMIT = 2**16
"""Bits of a code from which sums would not fit 16 bits."""

Kernel = Callable[[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]], None]


def pair_nibbles(codes: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Cut codes (M, bytes) into nibbles and put those of two codes into one byte, the first one lower.

    Returns:
        (ceil(M / 2), nibbles): zeros fill up the nibbles to a multiple of `STEP`, and an odd code.

    >>> pair_nibbles(np.array([[0xA5], [0x07]], np.uint8)).tolist()
    [[10, 117, 0]]
    """
    count, size = codes.shape
    out = np.zeros((count + count % 2, 2 * size + -2 * size % STEP), np.uint8)
    np.right_shift(codes, 4, out=out[:count, : 2 * size : 2], casting="unsafe")
    np.bitwise_and(codes, 15, out=out[:count, 1 : 2 * size : 2], casting="unsafe")
    pairs: NDArray[np.uint8] = out[::2] | out[1::2] << 4
    return pairs


def view_words(codes: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Return codes (N, bytes) as (N, words) of 8 bytes each, filled up with zeros."""
    missing = -codes.shape[1] % 8
    whole = np.pad(codes, ((0, 0), (0, missing))) if missing else np.ascontiguousarray(codes)
    return whole.view(np.uint64)


@cache
def compile_nearest() -> Kernel | None:
    """Return the kernel that counts by how many bits M codes differ from the nearest of each of B images.

    It is None where numba is missing, or AVX2. Its arguments: the M codes by `pair_nibbles`; the codes of all
    images (none of them empty) one after the other, by `view_words`; (B + 1,) where each image begins among
    them and the last ends; the array (B, M) int32 to fill. No lock of the interpreter is held meanwhile.
    """
    return _compile() if compiles("avx2") else None


def _compile() -> Kernel:
    from numba import njit

    few, many = _nearest(wide=False), _nearest(wide=True)

    low, four = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(4)
    swaps = (
        (4, np.uint64(32), np.uint64(0x00000000FFFFFFFF)),
        (2, np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
        (1, np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    )

    @njit(nogil=True)
    def nibbles_by_block(codes: Any, nibbles: Any) -> Any:
        """(N, words) to (blocks, nibbles, BLOCK / 8 words); the last code fills up the last block."""
        count, size = codes.shape
        blocks = (count + BLOCK - 1) // BLOCK
        out = np.zeros((blocks, max(nibbles, 16 * size), BLOCK // 8), np.uint64)
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
    def least(pairs: Any, codes: Any, starts: Any, into: Any) -> None:
        nibbles = pairs.shape[1]
        parts = (nibbles + WHOLE - 1) // WHOLE
        part = (nibbles // STEP + parts - 1) // parts * STEP
        # a copy begins at a register's boundary; a constant begins anywhere, and half of its rows cost twice
        tables = TABLES.copy()
        narrow = np.empty((len(pairs), 2, WIDTH), np.uint8)
        wide = np.empty((len(pairs) if parts > 1 else 0, 2, WIDTH), np.uint16)
        for image in range(len(into)):
            tokens = nibbles_by_block(codes[starts[image] : starts[image + 1]], nibbles).view(np.uint8)
            narrow[:] = 255
            wide[:] = 65535
            # a block of tokens stays in the nearest cache while all queries look at it
            for block in range(len(tokens)):
                at = block * tokens.shape[1] * BLOCK
                for pair in range(len(pairs)):
                    if parts == 1:
                        few(tables, pairs, pair * nibbles, tokens, at, nibbles, part, narrow, pair)
                    else:
                        many(tables, pairs, pair * nibbles, tokens, at, nibbles, part, wide, pair)
            for query in range(into.shape[1]):
                if parts == 1:
                    into[image, query] = narrow[query >> 1, query & 1].min()
                else:
                    into[image, query] = wide[query >> 1, query & 1].min()

    # compiled now, so that no measured call pays for it
    least(
        np.zeros((1, 18), np.uint8), np.zeros((1, 1), np.uint64), np.array([0, 1]), np.empty((1, 1), np.int32)
    )
    kernel: Kernel = least
    return kernel


def _nearest(*, wide: bool) -> Any:
    """Return what lowers the least ``sum of TABLES[pair[n]][tokens[n]] over nibbles``, compiled.

    For each of two queries, and each byte of a register, it keeps the least of one more block of tokens.
    Arguments are arrays and the offsets in them: slices would be counted references in the inner loop.
    Sums of ``part`` nibbles are kept in bytes, and if ``wide`` added up in 16 bits.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped
    from numba.extending import intrinsic

    cgutils: Any = untyped
    byte, half, word = ir.IntType(8), ir.IntType(16), ir.IntType(64)
    register, halves = ir.VectorType(byte, WIDTH), ir.VectorType(half, WIDTH // 2)
    final = ir.VectorType(half, WIDTH) if wide else register

    @intrinsic
    def nearest(
        _: Any, tables: Any, pairs: Any, pairs_at: Any, tokens: Any, tokens_at: Any,
        count: Any, part: Any, least: Any, pair: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(tables, pairs, pairs_at, tokens, tokens_at, count, part, least, pair)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def data(number: int) -> Any:
                array = context.make_array(signature.args[number])(context, builder, values[number])
                return builder.bitcast(array.data, byte.as_pointer())

            def vector(base: Any, offset: Any, kind: Any = register) -> Any:
                place = builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())
                return builder.load(place, align=1)

            def smaller(a: Any, b: Any) -> Any:
                return builder.select(builder.icmp_unsigned("<", a, b), a, b)

            def number(value: int) -> Any:
                return ir.Constant(word, value)

            def same(kind: Any, value: int) -> Any:
                return ir.Constant(kind, [value] * kind.count)

            def shifted(vector: Any, left: int = 0, right: int = 0) -> Any:
                """Shift whole words of 16 bits; the caller sees to what crosses bytes."""
                move, bits = (builder.shl, left) if left else (builder.lshr, right)
                moved = move(builder.bitcast(vector, halves), same(halves, bits))
                return builder.bitcast(moved, register)

            two = ir.FunctionType(register, [register, register])
            shuffle = cgutils.get_or_insert_function(builder.module, two, "llvm.x86.avx2.pshuf.b")
            rows, own = data(0), builder.gep(data(1), [values[2]])
            others = builder.gep(data(3), [values[4]])
            lanes = range(LANES)
            # sums of both queries, overflowing, and those of the second alone
            both, second = (
                [cgutils.alloca_once_value(builder, same(register, 0)) for _ in lanes] for _ in "12"
            )
            totals = [[cgutils.alloca_once_value(builder, same(final, 0)) for _ in lanes] for _ in "12"]

            def raise_(place: Any, by: Any) -> None:
                builder.store(builder.add(builder.load(place), by), place)

            def three(at: Any) -> list[Any]:
                """Look up three nibbles; return 16 times what the second query differs by."""
                shown, begins = [], []
                for step in range(STEP):
                    here = builder.add(at, number(step))
                    value = builder.zext(builder.load(builder.gep(own, [here])), word)
                    shown.append(vector(rows, builder.mul(value, number(WIDTH))))
                    begins.append(builder.mul(here, number(BLOCK)))
                found = []
                for lane in lanes:
                    codes = [vector(others, builder.add(begin, number(lane * WIDTH))) for begin in begins]
                    first, *rest = (builder.call(shuffle, [t, c]) for t, c in zip(shown, codes, strict=True))
                    for more in rest:
                        first = builder.add(first, more)
                    raise_(both[lane], first)
                    found.append(builder.and_(first, same(register, 0xF0)))
                return found

            def add_up(start: Any, stop: Any) -> None:
                with cgutils.for_range_slice(builder, start, stop, number(STEP)) as (at, _):
                    for lane, a in enumerate(three(at)):
                        raise_(second[lane], shifted(a, right=4))

            def sums(lane: int) -> tuple[Any, Any]:
                b = builder.load(second[lane])
                sixteen = builder.and_(shifted(b, left=4), same(register, 0xF0))
                return builder.sub(builder.load(both[lane]), sixteen), b

            if wide:
                with cgutils.for_range_slice(builder, number(0), values[5], values[6]) as (start, _):
                    for place in (*both, *second):
                        builder.store(same(register, 0), place)
                    add_up(start, smaller(builder.add(start, values[6]), values[5]))
                    for lane in lanes:
                        for query, found in enumerate(sums(lane)):
                            raise_(totals[query][lane], builder.zext(found, final))
            else:
                add_up(number(0), values[5])
            results = [
                [builder.load(totals[q][lane]) for q in (0, 1)] if wide else sums(lane) for lane in lanes
            ]
            bytes_ = WIDTH * (2 if wide else 1)
            for query in (0, 1):
                place = builder.gep(data(7), [builder.mul(number(2 * bytes_), values[8])])
                place = builder.gep(place, [number(query * bytes_)])
                place = builder.bitcast(place, final.as_pointer())
                best = builder.load(place, align=1)
                for found in results:
                    best = smaller(best, found[query])
                builder.store(best, place, align=1)
            return context.get_dummy_value()

        return signature, generate

    return nearest
