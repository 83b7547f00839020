"""What is stored of a feature: one word of 64 bits for its photo, what it looks like, place, size and angle.

    bits   0  12   40    55   59 64
          row code place size angle

The row is counted within a segment of `ROWS` photos. The code has `PARTS` parts of 7 bits. A place is one of
`PLACES` x `PLACES` cells of a square as wide as the longer side of the photo; a size is the binary logarithm
of its share of that side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilion.types import Float32

SIZE = 8
"""Bytes of a feature."""
ROWS = 4096
"""Photos that can be told apart in a segment."""
PARTS, CENTROIDS = 4, 128
"""Parts of a code, and values of each."""
PLACES, SIZES, ANGLES = 181, 16, 32
SMALLEST, LARGEST = -8.0, -2.0
"""Sizes between which there are `SIZES` steps; the few features beyond are taken to the nearer one."""
CODE_AT, PLACE_AT, SIZE_AT, ANGLE_AT = 12, 40, 55, 59
"""First bits."""


def pack(codes: NDArray[np.uint8], frames: Float32) -> NDArray[np.uint64]:
    """Pack codes, places, sizes and angles; the row is 0.

    Args:
        codes: (M, `PARTS`) below `CENTROIDS`.
        frames: (M, 4) x and y as shares of the longer side, log2 of the size as a share of it, angle in
            radians.

    >>> code, frame = np.array([[1, 2, 3, 127]], np.uint8), np.array([[0.5, 0.25, -3.2, 1.57]], np.float32)
    >>> unpack_codes(pack(code, frame)).tolist()
    [[1, 2, 3, 127]]
    """
    x, y = np.clip(np.floor(frames[:, :2] * PLACES), 0, PLACES - 1).T
    step = (LARGEST - SMALLEST) / (SIZES - 1)
    sizes = np.clip(np.rint((frames[:, 2] - SMALLEST) / step), 0, SIZES - 1)
    angles = np.rint(frames[:, 3] * (ANGLES / (2 * np.pi))) % ANGLES
    columns = np.column_stack([codes, y * PLACES + x, sizes, angles]).astype(np.uint64)
    first = [*(CODE_AT + 7 * part for part in range(PARTS)), PLACE_AT, SIZE_AT, ANGLE_AT]
    return np.asarray(np.bitwise_or.reduce(columns << np.array(first, np.uint64), axis=1), np.uint64)


def unpack_codes(records: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the codes (n, `PARTS`) of packed records."""
    first = np.array([CODE_AT + 7 * part for part in range(PARTS)], np.uint64)
    return (records[:, None] >> first & np.uint64(CENTROIDS - 1)).astype(np.uint8)
