"""What versions of one photo share: hashes of three kinds, also mirrored, and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.types import RGB, Value

BITS = 192
"""Bits of the hashes of a photo: 64 of frequencies, 64 to the right, 64 downwards."""
THUMB = 16
"""Side of a thumbnail in pixels."""
_GRID, _GREY = 8, 32


@dataclass(frozen=True, eq=False)
class Signature(Value):
    """What is kept of a photo to find other versions of it.

    Args:
        code: (24,) uint8 hashes.
        mirrored: (24,) uint8 hashes of the mirrored photo.
        thumb: (16, 16, 3) uint8.
    """

    code: NDArray[np.uint8]
    mirrored: NDArray[np.uint8]
    thumb: NDArray[np.uint8]


def sign(image: RGB) -> Signature:
    """Return the signature of a photo.

    Args:
        image: (H, W, 3) RGB uint8, upright; a longer side of 64 pixels is enough.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_GREY, _GREY), interpolation=cv2.INTER_AREA)
    thumb = cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    values = grey.astype(np.float32)
    return Signature(_code(values), _code(values[:, ::-1]), np.asarray(thumb, np.uint8))


def _code(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Hash a grey photo of 32 x 32 pixels.

    The frequency bits are those of pHash (Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010): the lowest 8 x 8 of a cosine transform against their median. The others say whether an
    8 x 8 grid grows brighter to the right and downwards.
    """
    low = cv2.dct(np.ascontiguousarray(grey))[:_GRID, :_GRID]
    right = cv2.resize(grey, (_GRID + 1, _GRID), interpolation=cv2.INTER_AREA)
    down = cv2.resize(grey, (_GRID, _GRID + 1), interpolation=cv2.INTER_AREA)
    kinds = (low > np.median(low), right[:, 1:] > right[:, :-1], down[1:] > down[:-1])
    return np.packbits(np.concatenate([bits.ravel() for bits in kinds]))


def thumb_distances(
    first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compare thumbnails of n pairs after their brightness and contrast were made equal.

    Args:
        first: (n, 16, 16, 3) uint8.
        second: (n, 16, 16, 3) uint8.

    Returns:
        (n,) largest difference in grey levels, where a photo has a deviation of 50; and (n,) correlation.
    """
    a, b = (x.reshape(len(x), THUMB * THUMB * 3).astype(np.float32) for x in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).mean(axis=1) * (b * b).mean(axis=1))
    a /= np.maximum(np.sqrt((a * a).mean(axis=1, keepdims=True)), 1e-3)
    b /= np.maximum(np.sqrt((b * b).mean(axis=1, keepdims=True)), 1e-3)
    likeness = (a * b).mean(axis=1)
    flat = spread < 1  # two photos of one colour are alike, or not, by nothing that could be seen here
    likeness[flat] = 0
    return 50 * np.abs(a - b).max(axis=1), likeness.astype(np.float32)
