"""Descriptors of one bit a dimension: packing, and Hamming distances of all pairs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.kernels.shuffles import LIMIT, compile_nearest, pair_nibbles, view_words

Packed = NDArray[np.uint8]
"""(M, d / 8) bytes; the first dimension is the highest bit of the first byte."""
Int32 = NDArray[np.int32]

PIECES = (32, 16, 8)
"""Codes are compared in pieces of so many bytes, for which faiss has fast kernels: 96 bytes at once take
three times as long; plain numpy (bitwise_count) takes six times as long. `ilion.kernels.shuffles` is
faster."""
TOGETHER = 128
"""Images copied into one array for a call of the kernel, during which other threads need not wait."""
BLOCK = 300_000
"""Distances computed before their minimum is taken (1.2 MB): about what the cache of one core holds."""


def pack_signs(values: NDArray[np.floating]) -> Packed:
    """Keep one bit of each dimension, whether it is positive, eight to a byte.

    Args:
        values: (M, d) real numbers. Where d is no multiple of 8, zero bits fill the last byte.

    >>> pack_signs(np.array([[0.5, -1.0, 2.0, 0.0]])).tolist()
    [[160]]
    """
    return np.packbits(values > 0, axis=1)


def unpack_signs(packed: Packed, dims: int) -> NDArray[np.float32]:
    """Turn bits back into -1 and 1, to compare them with full-precision descriptors.

    Args:
        packed: (M, bytes).
        dims: Dimensions d before packing; the filling is left out.

    Returns:
        (M, d) float32.

    >>> unpack_signs(np.array([[160]], np.uint8), 4).tolist()
    [[1.0, -1.0, 1.0, -1.0]]
    """
    return np.unpackbits(packed, axis=1, count=dims).astype(np.float32) * 2 - 1


def hamming(a: NDArray[np.generic], b: NDArray[np.generic]) -> Int32:
    """Count the differing bits of all pairs of rows.

    Args:
        a: (M, bytes) uint8.
        b: (N, bytes) uint8.

    Returns:
        (M, N) int32.

    Raises:
        ArtifactError: The rows are not bytes, or not equally many.

    >>> hamming(np.array([[0b11]], np.uint8), np.array([[0b01], [0b100]], np.uint8)).tolist()
    [[1, 3]]
    """
    _check(a, b)
    distances, spare = np.empty((2, len(a), len(b)), np.int32)
    _count(_pieces(a), _pieces(b), distances, spare)
    return distances


def least_hamming(a: NDArray[np.generic], many: Sequence[NDArray[np.generic]]) -> Int32:
    """Count the bits by which each row differs from the nearest row of each other array.

    The table of all pairs is never held, which makes this faster than the minimum of `hamming`. On x86
    with AVX2 it is four times as fast again (`ilion.kernels.shuffles`), after some seconds of compiling
    once.

    Args:
        a: (M, bytes) uint8.
        many: B arrays (N, bytes) uint8, N > 0.

    Returns:
        (B, M) int32.

    Raises:
        ArtifactError: The rows are not bytes, or not equally many, or an array is empty.

    >>> a, b = np.array([[0b11], [0b100]], np.uint8), np.array([[0b01], [0b111]], np.uint8)
    >>> least_hamming(a, [b]).tolist()
    [[1, 2]]
    """
    for b in many:
        _check(a, b)
        if not b.size:
            raise ArtifactError(f"nothing is nearest among packed descriptors of shape {b.shape}")
    least = np.empty((len(many), len(a)), np.int32)
    kernel = compile_nearest() if 8 * a.shape[1] < LIMIT else None
    if kernel is not None:
        pairs = pair_nibbles(a)
        for first in range(0, len(many), TOGETHER):
            some = many[first : first + TOGETHER]
            starts = np.cumsum([0, *map(len, some)])
            kernel(pairs, view_words(np.concatenate(some)), starts, least[first : first + TOGETHER])
        return least
    pieces, space = _pieces(a), np.empty((2, BLOCK), np.int32)
    for b, row in zip(many, least, strict=True):
        others, n = _pieces(b), len(b)
        size = max(1, BLOCK // n)
        if n > BLOCK:
            space = np.empty((2, n), np.int32)
        for start in range(0, len(a), size):
            block = [piece[start : start + size] for piece in pieces]
            distances, spare = space[:, : len(block[0]) * n].reshape(2, -1, n)
            _count(block, others, distances, spare)
            distances.min(axis=1, out=row[start : start + size])
    return least


def _check(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.ndim != 2 or b.ndim != 2 or a.shape[1:] != b.shape[1:]:
        raise ArtifactError(
            f"packed descriptors must be rows of equally many uint8 bytes, not {a.dtype} {a.shape} "
            f"and {b.dtype} {b.shape}"
        )


def _pieces(codes: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """Cut codes into contiguous pieces of the lengths in `PIECES`; the last one is filled with zeros."""
    pieces, start = [], 0
    while start < codes.shape[1]:
        left = codes.shape[1] - start
        size = next((n for n in PIECES if n <= left), min(PIECES))
        piece = codes[:, start : start + size]
        pieces.append(
            np.ascontiguousarray(np.pad(piece, ((0, 0), (0, size - left))) if left < size else piece)
        )
        start += size
    return pieces


def _count(
    a: list[NDArray[np.generic]], b: list[NDArray[np.generic]], distances: Int32, spare: Int32
) -> None:
    """Fill (M, N) distances from the pieces of both sides; ``spare`` is overwritten."""
    # the type stubs of faiss lack its raw interface
    library: Any = importlib.import_module("faiss")
    address = library.swig_ptr
    for number, (x, y) in enumerate(zip(a, b, strict=True)):
        into = spare if number else distances
        library.hammings(address(x), address(y), len(x), len(y), x.shape[1], address(into))
        if number:
            distances += spare
