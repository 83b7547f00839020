"""Which of many keypoints are worth keeping, as an order: the first m are the best m."""

from __future__ import annotations

import numpy as np

from ilion.types import Int64, LocalFeatures

SELECTIONS = ("response", "scale")
"""``response``: the strongest. ``scale``: the largest."""


def take(features: LocalFeatures, rows: Int64) -> LocalFeatures:
    """Return some of the features, in the order of ``rows``.

    >>> one = LocalFeatures(np.zeros((2, 2), "f"), np.eye(2, dtype="f"), np.array([1, 2], "f"), (8, 8))
    >>> take(one, np.array([1])).scores.tolist()
    [2.0]
    """
    return LocalFeatures(
        keypoints=features.keypoints[rows],
        descriptors=features.descriptors[rows],
        scores=features.scores[rows],
        image_size=features.image_size,
        scales=None if features.scales is None else features.scales[rows],
        angles=None if features.angles is None else features.angles[rows],
    )


def selected(features: LocalFeatures, number: int, selection: str) -> Int64:
    """Choose the features to keep.

    Args:
        features: All that were found.
        number: At most so many are kept.
        selection: One of `SELECTIONS`.

    Returns:
        (m,) rows, the most worth keeping first.
    """
    importance = features.scores if selection == "response" or features.scales is None else features.scales
    return np.argsort(-importance, kind="stable")[:number]
