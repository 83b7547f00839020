"""The bound of `ilion.searching.lowbit` with smaller codes and compiled kernels (`ilion.kernels.tiles`).

With AVX2 a product of bytes is held up by widening: the sums of every multiplication are brought from 16 to
32 bits. Here rows have codes of 7 bits, like queries, so that two sums are added before; and the product is
compared while it is in the registers, so that one bit a pair is all that is stored. The bound is weaker, and
more pairs are scored in float32, which is compiled as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.kernels.instructions import DIMS, GROUP, ROWS
from ilion.kernels.tiles import choose_mixes, compile_kernels, mix_rows, tile_codes
from ilion.searching.bounds import UNIT, norms_from
from ilion.searching.candidates import Pairs
from ilion.searching.lowbit import Lowbit
from ilion.searching.scoring import DENSE_SHARE, check_norms
from ilion.types import Float32


class Compiled(Lowbit):
    """See `ilion.searching.lowbit.Lowbit`; only where `ilion.kernels.tiles.can_compile`."""

    ZERO, LARGEST = 64, 63

    def _choose_mix(self, dims: int, seed: int) -> float:
        self._mixes = choose_mixes(dims)
        self._stretch = float(self._mixes[:, 0].prod())
        self._signs = np.where(np.random.default_rng(seed).random(dims) < 0.5, -1, 1).astype(np.float32)
        # every doubling rounds each value once
        return float(1.01 * UNIT * np.log2(self._stretch))

    def _turn_rows(self, values: NDArray[Any]) -> NDArray[Any]:
        return mix_rows(values * self._signs, self._mixes)

    def _prepare(self, codes: NDArray[np.int8]) -> None:
        self._kernels = compile_kernels()
        self._tiles = tile_codes(codes)
        # a row's code is above its value by ZERO; and what is at least a limit is above one less
        self._above = self.ZERO * codes.sum(axis=1, dtype=np.int64) - 1

    def pairs(self, rows: Float32, start: int, thresholds: Float32) -> Pairs:
        """See `ilion.searching.scoring.Kernel`."""
        number, dim = rows.shape
        codes = np.full((number + -number % ROWS, dim + -dim % DIMS), self.ZERO, np.uint8)
        squares = np.empty((3, number), np.float32)
        step, zero = np.float32(self._step), np.int32(self.ZERO)
        self._kernels.code(rows, self._centre, self._signs, self._mixes, step, zero, codes, squares)
        norms = check_norms(norms_from(squares[0], dim), start)
        rounding = self._rounding(norms) * np.float32(np.sqrt(self._stretch))
        errors, lengths = (norms_from(of, dim) + rounding for of in (squares[2], squares[1]))
        odd = self._odd(errors)
        bits = np.zeros((len(codes), len(self._tiles)), np.uint8)
        if not odd.all():
            usual = ~odd
            most = float(errors[usual].max()), float(lengths[usual].max())
            # queries that fill up the tile are above no limit
            limits = np.full(len(self._tiles) * GROUP, 2**31 - 1, np.int32)
            limits[: len(self._above)] = self._limits(*most, thresholds, self._above)
            self._kernels.compare(codes, self._tiles, limits, bits)
        bits[:number][odd] = 0
        held = int(np.bitwise_count(bits[:number]).sum(dtype=np.int64))
        if held > DENSE_SHARE * number * len(self._queries):
            return self._dense.of(rows, norms, start, thresholds)
        query, row = np.empty((2, held), np.int64)
        values, errors = np.empty((2, held), np.float32)
        found = self._kernels.score(
            bits, rows, self._queries, norms, self._dense.slack, thresholds, query, row, values, errors
        )
        # copies: most of what is held is not found, and pairs wait for long
        pairs = Pairs(query[:found].copy(), row[:found] + start, values[:found].copy(), errors[:found].copy())
        if not odd.any():
            return pairs
        return Pairs.join([pairs, self._alone(rows, norms, odd, start, thresholds)])
