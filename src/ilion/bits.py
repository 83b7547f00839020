"""Descriptors of one bit a dimension: packing, and the Hamming distances of all pairs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError

Packed = NDArray[np.uint8]
"""(M, d / 8) bytes; the first dimension is the highest bit of the first byte."""


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


def hamming(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.int32]:
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
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ArtifactError(
            f"packed descriptors must be rows of equally many uint8 bytes, not {a.dtype} {a.shape} "
            f"and {b.dtype} {b.shape}"
        )
    distances = np.empty((len(a), len(b)), np.int32)
    if not distances.size:
        return distances
    # its type stubs lack the raw interface
    library: Any = importlib.import_module("faiss")
    part = distances
    for start, size in _parts(a.shape[1]):
        x, y = (_padded(rows[:, start : start + size], size) for rows in (a, b))
        address = library.swig_ptr
        library.hammings(address(x), address(y), len(x), len(y), size, address(part))
        if start:
            distances += part
        else:
            part = np.empty_like(distances) if size < a.shape[1] else part
    return distances


def _parts(size: int) -> Iterator[tuple[int, int]]:
    """Cut codes into start and size of parts of 32, 16 and 8 bytes, for which the library has fast kernels.

    Longer codes in one piece take three times as long; plain numpy (bitwise_count) takes ten times as long.
    """
    start = 0
    while start < size:
        part = next((n for n in (32, 16) if n <= size - start), 8)
        yield start, part
        start += part


def _padded(rows: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    return np.ascontiguousarray(
        rows if rows.shape[1] == size else np.pad(rows, ((0, 0), (0, size - rows.shape[1])))
    )
