"""What is stored of a feature: a code of what it looks like, and five bytes of place, size, angle and colour.

    bits   0  9 18   24   30 32 36  40
           x  y size angle L  a  b

x and y are shares of the longer side of the image, size is its binary logarithm against the longer side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilion.types import Float32

PLACES, SIZES, ANGLES = 512, 64, 64
OCTAVES = 8.0
"""Sizes from the longer side of the image down to 2^-8 of it are told apart."""
GEOMETRY = 5
"""Bytes of place, size, angle and colour."""
ROW = 2
"""Bytes of the row in the postings."""
COLOUR_LOW = np.array([0, 88, 88], np.float32)
COLOUR_STEP = np.array([64, 5, 5], np.float32)
COLOUR_MOST = np.array([3, 15, 15], np.float32)
"""Lab, each 0 to 255 as in OpenCV: four steps of lightness, sixteen of the usual range of a and b."""


def pack(frames: Float32, colours: Float32) -> NDArray[np.uint8]:
    """Pack place, size, angle and colour into `GEOMETRY` bytes.

    Args:
        frames: (M, 4) x and y as shares of the longer side, log2 of the size as a share of it, angle in
            radians.
        colours: (M, 3) Lab, each 0 to 255.

    >>> frames = np.array([[0.5, 0.25, -3.0, 1.57]], np.float32)
    >>> packed = pack(frames, np.array([[128, 130, 90]], np.float32))
    >>> unpack_colours(packed, 0).tolist()
    [[160.0, 130.5, 90.5]]
    """
    places = np.clip(np.floor(frames[:, :2] * PLACES), 0, PLACES - 1).astype(np.uint64)
    sizes = np.clip(np.rint((frames[:, 2] / OCTAVES + 1) * (SIZES - 1)), 0, SIZES - 1).astype(np.uint64)
    angles = (np.rint(frames[:, 3] * (ANGLES / (2 * np.pi))).astype(np.int64) % ANGLES).astype(np.uint64)
    steps = np.clip(np.floor((colours - COLOUR_LOW) / COLOUR_STEP), 0, COLOUR_MOST).astype(np.uint64)
    shifts = np.array([0, 9, 18, 24, 30, 32, 36], np.uint64)
    columns = np.column_stack([places, sizes, angles, steps])
    packed = np.bitwise_or.reduce(columns << shifts, axis=1)
    return np.ascontiguousarray(packed.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :GEOMETRY])


def unpack_colours(records: NDArray[np.uint8], start: int) -> Float32:
    """Return (n, 3) Lab colours of packed records, whose geometry begins at byte ``start``."""
    last, lower = records[:, start + 4], records[:, start + 3]
    steps = np.column_stack([lower >> 6, last & 15, last >> 4]).astype(np.float32)
    return np.asarray(COLOUR_LOW + (steps + 0.5) * COLOUR_STEP, np.float32)
