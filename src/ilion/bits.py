"""Descriptors of one bit a dimension: packing, and the Hamming distances of all pairs."""

from __future__ import annotations

import importlib
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
    # its type stubs lack the raw interface
    library: Any = importlib.import_module("faiss")

    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ArtifactError(
            f"packed descriptors must be rows of equally many uint8 bytes, not {a.dtype} {a.shape} "
            f"and {b.dtype} {b.shape}"
        )
    distances = np.empty((len(a), len(b)), np.int32)
    if distances.size:
        # plain numpy (bitwise_count) needs temporaries eight times as large, and ten times as long
        x, y = np.ascontiguousarray(a), np.ascontiguousarray(b)
        address = library.swig_ptr
        library.hammings(address(x), address(y), len(x), len(y), x.shape[1], address(distances))
    return distances
