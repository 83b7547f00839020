"""Where text is: from the probability map of a text detector to rotated rectangles.

The post-processing of DB, Liao et al., "Real-time scene text detection with differentiable binarization",
AAAI 2020: the network is taught a shrunken core of each line; the rectangle around a core is grown back.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import cv2
import numpy as np

from ilion.types import Float32

THRESHOLD = 0.3
"""A pixel belongs to a core from this probability on."""
LEAST_SCORE = 0.5
"""A line counts from this mean probability on."""
GROWTH = 1.6
"""Area over perimeter of a core, times this, is how far its sides move out."""
LEAST_SIDE = 3.0
"""Pixels; thinner cores are noise."""
SAME_LINE = 0.5
"""Quads whose tops differ by less than this share of their height stand in one row."""
_KERNEL = np.ones((2, 2), np.uint8)


def find_text_regions(probability: Float32) -> list[Float32]:
    """Find lines of text.

    Args:
        probability: (H, W), that a pixel belongs to the core of a line.

    Returns:
        One (4, 2) float32 quad a line, in pixels of the map: top left, top right, bottom right, bottom left
        of the line as it is read. In no particular order.

    >>> probability = np.zeros((40, 80), np.float32)
    >>> probability[16:24, 20:60] = 0.9
    >>> quad = find_text_regions(probability)[0]
    >>> quad.round().astype(int).tolist()
    [[15, 11], [65, 11], [65, 29], [15, 29]]
    """
    cores = cv2.dilate((probability > THRESHOLD).astype(np.uint8), _KERNEL)
    contours, _ = cv2.findContours(cores, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < LEAST_SIDE:
            continue
        core = np.asarray(cv2.boxPoints((centre, (width, height), angle)), np.float32)
        if _mean_inside(probability, core) < LEAST_SCORE:
            continue
        grown = 2 * GROWTH * (width * height) / (2 * (width + height))
        quad = cv2.boxPoints((centre, (width + grown, height + grown), angle))
        found.append(order_corners(np.asarray(quad, np.float32)))
    return found


def _mean_inside(probability: Float32, quad: Float32) -> float:
    """Mean of the map over the pixels of a quad."""
    height, width = probability.shape
    left, top = np.clip(np.floor(quad.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(quad.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(inside, [(quad - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], inside)[0])


def order_corners(quad: Float32) -> Float32:
    """Order the corners of a rectangle: top left, top right, bottom right, bottom left.

    Args:
        quad: (4, 2) corners, in any order.

    >>> order_corners(np.array([[9, 5], [0, 0], [9, 0], [0, 5]], np.float32)).astype(int).tolist()
    [[0, 0], [9, 0], [9, 5], [0, 5]]
    """
    across = quad[np.lexsort((quad[:, 1], quad[:, 0]))]
    left, right = across[:2], across[2:]
    left, right = left[np.argsort(left[:, 1], kind="stable")], right[np.argsort(right[:, 1], kind="stable")]
    return np.stack([left[0], right[0], right[1], left[1]])


def sides(quad: Float32) -> tuple[float, float]:
    """Return width and height of a quad whose corners are ordered as `order_corners` does.

    >>> sides(np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32))
    (9.0, 5.0)
    """
    along, down = quad[1] - quad[0], quad[3] - quad[0]
    return hypot(*along.tolist()), hypot(*down.tolist())


def sort_as_read(quads: Sequence[Float32]) -> list[int]:
    """Order quads from top to bottom, those that stand in one row from left to right.

    Args:
        quads: (4, 2) each.

    Returns:
        Positions in ``quads``.

    >>> box = np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32)
    >>> sort_as_read([box + (30, 1), box + (0, 20), box])
    [2, 0, 1]
    """
    by_top = sorted(range(len(quads)), key=lambda i: (*quads[i].min(axis=0)[::-1].tolist(), i))
    rows: list[list[int]] = []
    for i in by_top:
        top, height = float(quads[i].min(axis=0)[1]), sides(quads[i])[1]
        if rows and top - float(quads[rows[-1][0]].min(axis=0)[1]) < SAME_LINE * height:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: (float(quads[i].min(axis=0)[0]), i))]
