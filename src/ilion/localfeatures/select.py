"""Which of many keypoints are worth keeping, as an order: the first m are the best m."""

from __future__ import annotations

import numpy as np

from ilion.types import Int64, LocalFeatures

SELECTIONS = ("response", "scale")
"""``response``: the strongest. ``scale``: the largest."""


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
