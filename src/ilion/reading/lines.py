"""From one line in an image to the input of a recogniser, and from its output to text."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np

from ilion.reading.regions import sides
from ilion.types import RGB, Float32

UPRIGHT = 1.5
"""A line so many times higher than wide is written downwards; it is turned before it is read."""
STEP = 32
"""Inputs are padded to a multiple of this width, so that networks see few shapes."""
LONGEST = 40
"""A line is read at no more than this many times its height; a longer one is squeezed."""


def straighten(image: RGB, quad: Float32) -> RGB:
    """Cut out a line so that it runs from left to right.

    Args:
        image: (H, W, 3).
        quad: (4, 2) corners in pixels, ordered as `ilion.reading.regions.order_corners` does.

    Returns:
        (h, w, 3); a line that is written downwards is turned by a quarter, counter-clockwise.

    >>> photo = np.zeros((40, 80, 3), np.uint8)
    >>> straighten(photo, np.array([[10, 10], [60, 10], [60, 20], [10, 20]], np.float32)).shape
    (10, 50, 3)
    >>> straighten(photo, np.array([[10, 0], [20, 0], [20, 30], [10, 30]], np.float32)).shape
    (10, 30, 3)
    """
    across, down = sides(quad)
    width, height = max(1, round(across)), max(1, round(down))
    onto = np.array([[0, 0], [width, 0], [0, height]], np.float32)
    affine = cv2.getAffineTransform(quad[[0, 1, 3]], onto)
    cut = cv2.warpAffine(
        image, affine, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    if height >= UPRIGHT * width:
        cut = cv2.rotate(cut, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.asarray(cut, np.uint8)


def prepare_line(line: RGB, height: int) -> Float32:
    """Bring a line to the height of a recogniser, in [-1, 1], blue first, padded with 0 on the right.

    Args:
        line: (h, w, 3) RGB.
        height: Pixels.

    Returns:
        (1, 3, height, W); W is the width of the line at that height, rounded up to a multiple of `STEP`.

    >>> prepare_line(np.zeros((10, 50, 3), np.uint8), 48).shape
    (1, 3, 48, 256)
    """
    width = min(max(1, ceil(height * line.shape[1] / line.shape[0])), LONGEST * height)
    shrinks = line.shape[0] > height
    resized = cv2.resize(line, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    padded = np.zeros((1, 3, height, ceil(width / STEP) * STEP), np.float32)
    padded[0, :, :, :width] = resized[:, :, ::-1].transpose(2, 0, 1) / np.float32(127.5) - 1
    return padded


def decode_ctc(probabilities: Float32, characters: Sequence[str]) -> tuple[str, float]:
    """Read the output of a recogniser trained with CTC by the best class of every step.

    Graves et al., "Connectionist temporal classification", ICML 2006: repeated classes are one, blanks part
    them.

    Args:
        probabilities: (T, C); class 0 is the blank.
        characters: C - 1 strings, those of the classes from 1 on.

    Returns:
        The text, and the mean probability of its characters in [0, 1]; 0 for an empty text.

    >>> steps = np.eye(3, dtype=np.float32)[[1, 1, 0, 1, 2]]
    >>> decode_ctc(steps, ["a", "b"])
    ('aab', 1.0)
    """
    classes = probabilities.argmax(axis=1)
    kept = np.flatnonzero((classes != 0) & (np.diff(classes, prepend=0) != 0))
    if not len(kept):
        return "", 0.0
    text = "".join(characters[c - 1] for c in classes[kept])
    return text, float(probabilities[kept, classes[kept]].mean())
