"""Products of 8-bit integers as a filter: an upper bound of every pair from one integer matrix product.

ONNX Runtime multiplies bytes exactly, and faster than a processor multiplies float32: twice as fast with
AVX2, more where it has instructions for it (VNNI, NEON dot products).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ilion.searching.bounds import UNIT, gamma, norms_of
from ilion.searching.candidates import Pairs
from ilion.searching.scoring import DENSE_SHARE, Dense, measure_norms, score_pairs
from ilion.types import Float32, Float64, Int64

SPREADS = (1.0, 0.9999, 0.999)
"""Shares of the sample's values that are coded without being clipped; the one of least error is taken."""
USUAL = 0.998
"""Share of the sample's rows that may have the error of the codes; the others are multiplied in float32."""
SAMPLE = 1024
"""Number of sampled rows that centre and scales are chosen by."""
MIXED = 16
"""Values of a descriptor that are mixed with one another."""
SAFE = 1 + 2.0**-20
"""Factor that covers the rounding of float64 many times over."""


class Coded(NamedTuple):
    """Rows as bytes, and what they lose.

    Args:
        codes: (B, D) uint8.
        errors: (B,) upper bounds of the distances between centred rows and their codes.
        lengths: (B,) upper bounds of the lengths of centred rows.
    """

    codes: NDArray[np.uint8]
    errors: Float32
    lengths: Float32


class Lowbit:
    """Codes of one byte a value on both sides, and what they lose as a bound.

    With a centre c of the database, y = x - c, and codes y = y' + r of a row and q = q' + s of a query,

        q.x = q.c + q'.y' + q'.r + s.y <= q.c + q'.y' + |q'| |r| + |s| |y|,

    where q'.y' is a scaled product of integers, and |r| and |s| are measured, not estimated.

    Args:
        queries: (Q, D) float32.
        sample: (S, D) float32 rows of the database: centre and scales are chosen by it.
        seed: Seed of the rotation that gives all values about the same spread.
    """

    ZERO = 128
    """Code of the value 0: rows are stored as unsigned bytes, as the fast instructions want one side."""
    LARGEST = 63
    """Largest code of a query. Sums of two products stay below 2^15, where AVX2 would cut them off."""

    def __init__(self, queries: Float32, sample: Float32, seed: int = 0) -> None:
        self._queries = queries
        self._dense = Dense(queries)
        sample = sample[:: max(1, len(sample) // SAMPLE)]
        self._centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        wide = queries.astype(np.float64)
        self._offset: Float64 = wide @ self._centre.astype(np.float64)
        inexact = self._choose_mix(queries.shape[1], seed)
        self._step, self._usual = _choose_step(self._turn_rows(sample - self._centre), self.ZERO)
        mine = self._turn_rows(wide) / self._stretch
        scale = np.abs(mine).max(axis=1, initial=0.0) / self.LARGEST
        self._scale: Float64 = np.where(scale > 0, scale, 1.0)
        codes = np.rint(mine / self._scale[:, None])
        coded = codes * self._scale[:, None]
        self._length = np.linalg.norm(coded, axis=1) * SAFE
        lost = np.linalg.norm(mine - coded, axis=1) + (inexact + 2.0**-40) * np.linalg.norm(mine, axis=1)
        self._error = lost * SAFE
        self._prepare(codes.astype(np.int8))

    def _choose_mix(self, dims: int, seed: int) -> float:
        """Choose how values are mixed; return its error in inner products, as a share of both lengths."""
        self._turn, inexact = _rotation(dims, seed)
        self._stretch = 1.0
        return inexact

    def _prepare(self, codes: NDArray[np.int8]) -> None:
        """Prepare the matrix product with the codes (Q, D) of the queries."""
        self._session = _product_with(codes, self.ZERO)

    def pairs(self, rows: Float32, start: int, thresholds: Float32) -> Pairs:
        """See `ilion.searching.scoring.Kernel`."""
        norms = measure_norms(rows, start)
        coded = self._coded(rows, norms)
        odd = self._odd(coded.errors)
        if not odd.any():
            return self._score_bounded(rows, coded, norms, np.arange(len(rows)), start, thresholds)
        usual = np.flatnonzero(~odd)
        found = self._alone(rows, norms, odd, start, thresholds)
        if not len(usual):
            return found
        rest = Coded(coded.codes[usual], coded.errors[usual], coded.lengths[usual])
        return Pairs.join([self._score_bounded(rows, rest, norms, usual, start, thresholds), found])

    def _score_bounded(
        self, rows: Float32, coded: Coded, norms: Float32, places: Int64, start: int, thresholds: Float32
    ) -> Pairs:
        """Score the pairs that the bound does not exclude; ``places`` are the rows that are coded."""
        products = self._session.run(None, {"rows": coded.codes})[0]
        limits = self._limits(float(coded.errors.max()), float(coded.lengths.max()), thresholds)
        flat = np.flatnonzero(products >= limits)
        if len(flat) > DENSE_SHARE * products.size:
            return self._dense.of(rows[places], norms[places], 0, thresholds).renumber(places + start)
        row, query = np.divmod(flat, len(self._queries))
        row = places[row]
        values = score_pairs(self._queries, query, rows, row)
        return self._dense.find_reaching(query, row, values, norms, start, thresholds)

    def _odd(self, errors: Float32) -> NDArray[np.bool_]:
        """Tell which rows lose so much that the others are better off without them."""
        return np.asarray(errors > np.float32(1.01 * self._usual))

    def _alone(
        self, rows: Float32, norms: Float32, odd: NDArray[np.bool_], start: int, thresholds: Float32
    ) -> Pairs:
        """Compare the odd rows without a bound."""
        alone = np.flatnonzero(odd)
        return self._dense.of(rows[alone], norms[alone], 0, thresholds).renumber(alone + start)

    def _limits(
        self, error: float, length: float, thresholds: Float32, above: Int64 | int = 0
    ) -> NDArray[np.int32]:
        """Return the smallest integer products (Q,) with which a row can still reach the thresholds.

        Args:
            error: Largest distance of a row from its codes.
            length: Largest length of a centred row.
            thresholds: (Q,).
            above: Amount by which products are higher than those of the codes' values.
        """
        # Cauchy-Schwarz for both rests: with a product below the limit, q.x is below the threshold for every
        # row of at most this error and length, wherever its rest points
        slack = self._length * error + self._error * length
        slack = self._offset + slack * SAFE + 2.0**-40 * np.abs(self._offset)
        least = (thresholds.astype(np.float64) - slack) / (self._scale * self._step)
        # a unit less: what float64 rounds here is far below it
        whole = np.clip(np.floor(least) - 1 + above, -(2.0**31), 2.0**31 - 1)
        return np.asarray(whole, np.int32)

    def _rounding(self, norms: Float32) -> Float32:
        """Return what the rounding of differences, products and lengths of rows can be."""
        return np.asarray(
            np.float32(8 * UNIT) * (norms + np.float32(np.linalg.norm(self._centre))), np.float32
        )

    def _coded(self, rows: Float32, norms: Float32) -> Coded:
        values = self._turn_rows(rows - self._centre)
        rounding = self._rounding(norms)
        lengths = norms_of(values) + rounding
        with np.errstate(over="ignore"):
            whole = values * np.float32(1 / self._step)
        np.rint(whole, out=whole)
        np.clip(whole, -self.ZERO, self.ZERO - 1, out=whole)
        codes = np.empty(rows.shape, np.uint8)
        np.add(whole, np.float32(self.ZERO), out=codes, casting="unsafe")
        whole *= np.float32(self._step)
        values -= whole
        return Coded(codes, norms_of(values) + rounding, lengths)

    def _turn_rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """Mix the values of rows, so that all have about the same spread; inner products are stretched."""
        if self._turn is None:
            return values
        size = len(self._turn)
        parts = values.reshape(len(values), size, values.shape[1] // size)
        return np.asarray(np.matmul(self._turn.astype(values.dtype), parts).reshape(values.shape))


def _rotation(dims: int, seed: int) -> tuple[Float32 | None, float]:
    """Return a rotation of `MIXED` values, and what it changes inner products by, as a share of both lengths.

    It takes values that are far apart, because neighbours are often alike (principal components are).
    """
    size = next((size for size in range(MIXED, 3, -1) if dims % size == 0), 0)
    if not size:
        return None, 0.0
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0].astype(np.float32)
    exact = turn.astype(np.float64)
    skew = float(np.linalg.norm(exact.T @ exact - np.eye(size)))
    return turn, 1.01 * (gamma(size) * np.sqrt(size) + skew + 2 * UNIT)


def _choose_step(sample: Float32, zero: int) -> tuple[float, float]:
    """Return the size of a code's step, a float32 number, and the usual error of a row."""
    values = np.abs(sample)
    best = (1.0, 0.0)
    for share in SPREADS:
        largest = float(np.quantile(values, share)) if values.size else 0.0
        step = float(np.float32(max(largest, 1e-30) / (zero - 1)))
        left = values - np.minimum(np.rint(values / np.float32(step)), zero - 1) * np.float32(step)
        error = float(np.quantile(np.linalg.norm(left, axis=1), USUAL)) if values.size else 0.0
        if share == SPREADS[0] or error < best[1]:
            best = (step, error)
    return best


def _product_with(codes: NDArray[np.int8], zero: int) -> Any:
    """Return a session that multiplies rows (B, D) uint8, less ``zero``, with codes (Q, D): (B, Q) int32."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    number, dim = codes.shape
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(codes.T), "queries"),
        numpy_helper.from_array(np.array(zero, np.uint8), "zero"),
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["rows", "queries", "zero"], ["products"])],
        "products",
        [helper.make_tensor_value_info("rows", TensorProto.UINT8, [None, dim])],
        [helper.make_tensor_value_info("products", TensorProto.INT32, [None, number])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    # the threads of the search share the cores already
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
