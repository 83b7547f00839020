"""The colours of a photo in a coarse grid, and those of a query.

What tells two flavours of one brand apart has often no keypoint: their print is the same, their colours are
not. So the photo's colours, one byte a cell, are held against the query's where the verified motion lays it.

`ilion.searching.local.agreement` compares them.

Letters: S photos of a shortlist, n cells of a photo along either side, T of a query.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.types import RGB, Float32, Value

LOW, STEP, MOST = 88, 5, 15
"""Sixteen steps of the usual range of a and b of Lab, each 0 to 255 as in OpenCV."""
FINE = 64
"""Cells of a query along either side."""
SHIFT = 8.0
"""Change of colour by the light, in Lab units, that is taken out at most."""
CLOSE = 10.0
"""Difference of colours, in Lab units, below which they are called the same."""
NOISE = 100.0
"""Variance of colours, in squared Lab units, that is no variance of the print."""
LEAST = 6
"""Points inside the photo without which nothing is said."""
UNKNOWN = (0.0, 20.0, 20.0, 25.0, 0.0, 15.0, 0.0)
"""Numbers of a photo of which nothing is said."""


@dataclass(frozen=True, eq=False)
class Looks(Value):
    """Sizes and colours of photos.

    Args:
        sizes: (S, 2) width and height in pixels.
        tones: (S, n * n) uint8.
    """

    sizes: NDArray[np.integer]
    tones: NDArray[np.uint8]


def describe_tones(image: RGB, cells: int) -> NDArray[np.uint8]:
    """Describe the colours of a photo without their lightness.

    Args:
        image: (H, W, 3) RGB uint8.
        cells: Number n of cells along either side.

    Returns:
        (n * n,) uint8, row by row: a in the lower four bits, b in the upper ones.
    """
    lab = cv2.cvtColor(cv2.resize(image, (cells, cells), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    steps = np.clip((lab[:, :, 1:].astype(np.int64) - LOW) // STEP, 0, MOST).astype(np.uint8)
    return np.asarray(steps[:, :, 0] | steps[:, :, 1] << 4, np.uint8).reshape(-1)


def describe_query_tones(image: RGB) -> NDArray[np.uint8]:
    """Describe the colours of a query: (T, T, 2) uint8 a and b of Lab."""
    small = cv2.resize(image, (FINE, FINE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[:, :, 1:], np.uint8)


def unpack_tones(packed: NDArray[np.uint8]) -> Float32:
    """Return (S, n, n, 2) a and b of packed colours (S, n * n)."""
    cells = round(sqrt(packed.shape[1]))
    steps = np.stack([packed & 15, packed >> 4], axis=2).astype(np.float32)
    return (LOW + (steps + np.float32(0.5)) * STEP).reshape(-1, cells, cells, 2)
