"""Held-out objects that a training watches, to keep the weights that do best on what it did not learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ilion.types import Float64, Int64

WATCHED = 60
"""Largest number of held-out photos."""


def hold_out(labels: Sequence[str], share: float, seed: int) -> tuple[Int64, Int64]:
    """Return the rows to learn from, and those to watch; of fewer than two objects none are watched.

    Args:
        labels: N objects; "" for a photo that shows none of them, which is never watched.
        share: Share of the objects with two photos or more that is watched.
        seed: Seed of their choice.

    >>> [len(rows) for rows in hold_out(list("aabbccdd"), 0.5, seed=0)]
    [4, 4]
    """
    names, numbers, counts = np.unique(np.array(labels, str), return_inverse=True, return_counts=True)
    rng = np.random.default_rng((seed, 2))
    able = rng.permutation(np.flatnonzero((counts > 1) & (names != "")))
    chosen = able[: round(share * len(able))]
    if len(chosen) < 2:
        return np.arange(len(labels)), np.arange(0)
    outside = np.isin(numbers, chosen)
    rows = [np.flatnonzero(numbers == n)[: max(2, WATCHED // len(chosen))] for n in chosen]
    return np.flatnonzero(~outside), np.concatenate(rows)[:WATCHED]


def photo_precisions(scores: Float64, labels: Sequence[str]) -> Float64:
    """Return the AP (N,) of photos that ask for the others of their object; NaN for one without others.

    Args:
        scores: (N, N) similarity of the photos to each other; higher is better.
        labels: N objects.
    """
    names = np.array(labels, str)
    found = np.full(len(names), np.nan)
    for row in range(len(names)):
        order = np.argsort(-scores[row], kind="stable")
        hits = (names[order] == names[row])[order != row]
        if hits.any():
            found[row] = (np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean()
    return found


def is_surely_better(these: Float64, others: Float64, labels: Sequence[str]) -> bool:
    """Say whether values are larger by more than twice the standard error over objects of their difference.

    Args:
        these: (N,) values of photos.
        others: (N,) values of the same photos.
        labels: N objects, two or more.

    >>> others = np.array([0.4, 0.5, 0.6, 0.2])
    >>> is_surely_better(others + 0.1, others, list("aabb"))
    True
    >>> is_surely_better(others + [0.5, 0.5, 0.0, 0.0], others, list("aabb"))
    False
    """
    names, gains = np.array(labels, str), these - others
    each = np.array([gains[names == name].mean() for name in np.unique(names)])
    return bool(each.mean() > 2 * each.std(ddof=1) / np.sqrt(len(each)))
