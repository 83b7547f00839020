"""Which of many keypoints are worth keeping, as an order: the first m are the best m."""

from __future__ import annotations

import numpy as np

from ilion.types import Int64, LocalFeatures

SELECTIONS = ("spread", "response")
"""``spread``: the strongest of each part of the image, then the second strongest of each ... ``response``:
the strongest of the image, wherever they are."""

CELLS = 12
"""Parts along the longer side, for ``spread``; from 8 to 12 the accuracy on real photos is much the same, and
for fewer than 100 features 8 are a little better (docs/local.md)."""


def select_features(features: LocalFeatures, number: int, selection: str) -> Int64:
    """Choose the features to keep.

    In a cluttered photo, the strongest keypoints crowd on whatever has the strongest print, which is seldom
    what is looked for. One from every part of the image in turn leaves something of every object. The order
    does not depend on ``number``.

    Args:
        features: All features found in an image.
        number: Largest number to keep.
        selection: One of `SELECTIONS`.

    Returns:
        (m,) rows, the most worth keeping first.

    >>> places = np.array([[1, 1], [2, 2], [90, 90]], np.float32)
    >>> three = LocalFeatures(places, np.eye(3), np.array([0.3, 0.2, 0.1], np.float32), (100, 100))
    >>> select_features(three, 2, "response").tolist(), select_features(three, 2, "spread").tolist()
    ([0, 1], [0, 2])
    """
    strongest = np.argsort(-features.scores, kind="stable")
    if selection == "response":
        return strongest[:number]
    side = max(features.image_size) / CELLS
    column, row = np.floor(np.maximum(features.keypoints[strongest], 0) / side).astype(np.int64).T
    cell = row * (CELLS + 1) + column
    by_cell = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[by_cell], prepend=-1))
    turn = np.empty(len(cell), np.int64)
    turn[by_cell] = np.arange(len(cell)) - np.repeat(starts, np.diff(starts, append=len(cell)))
    return strongest[np.argsort(turn, kind="stable")][:number]
