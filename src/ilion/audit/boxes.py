"""Boxes that miss the object, and queries that need one: by where verified matches lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilion.types import Box

LEAST_MATCHES = 12
"""Verified matches without which nothing is said about a box."""
SMALL = 0.35
"""Share of a query photo below which its matched part is small enough that a box would matter."""
WITNESSES = 2
"""Photos that must agree on the part of a query."""


def share_inside(places: NDArray[np.floating], boxes: Sequence[Box]) -> float:
    """Return the share of places (M, 2) that lie in any of the boxes, which are taken a tenth larger.

    >>> share_inside(np.array([[5, 5], [50, 50]]), [Box(0, 0, 10, 10)])
    0.5
    """
    if not len(places):
        return 0.0
    x, y = places.T
    inside = [
        (b.x - 0.05 * b.width <= x)
        & (x <= b.x + 1.05 * b.width)
        & (b.y - 0.05 * b.height <= y)
        & (y <= b.y + 1.05 * b.height)
        for b in boxes
    ]
    return float(np.any(inside, axis=0).mean()) if inside else 0.0


def misses(places: NDArray[np.floating], boxes: Sequence[Box]) -> float:
    """Return the probability that boxes miss an object that was matched at some places (M, 2) of a photo.

    It is a rule, not learnt: the share of matches outside, less where they are few.
    """
    count = len(places)
    if count < LEAST_MATCHES or not boxes:
        return 0.0
    outside = 1 - share_inside(places, boxes)
    return outside * count / (count + LEAST_MATCHES) if outside > 0.5 else 0.0


def matched_part(places: Sequence[NDArray[np.floating]], size: tuple[int, int]) -> tuple[Box, float] | None:
    """Return the part of a query photo in which its object's photos match it.

    Args:
        places: For each photo the (M, 2) places of its verified matches in the query.
        size: Width and height of the query photo.

    Returns:
        The box, and its share of the photo; None where fewer than `WITNESSES` photos match well.
    """
    kept = [each for each in places if len(each) >= LEAST_MATCHES]
    if len(kept) < WITNESSES:
        return None
    (left, top), (right, bottom) = np.quantile(np.concatenate(kept), (0.02, 0.98), axis=0).tolist()
    box = Box(left, top, max(right - left, 1.0), max(bottom - top, 1.0))
    return box, box.area / (size[0] * size[1])
