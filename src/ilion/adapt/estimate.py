"""Does a layer help on objects that it has not seen? Retrieval among labelled photos, one left out at a time.

Letters: N photos, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilion.evaluation.intervals import bootstrap_means, percentiles
from ilion.outcome import Interval
from ilion.types import Bool, Float32, Float64, Int64

BLOCK = 1024
"""Photos that look for their like at once."""


@dataclass(frozen=True)
class Gain:
    """Change of the mean AP of unseen classes by a layer; fractions.

    Args:
        before: Mean over classes without the layer.
        after: Mean over classes with it.
        difference: ``after - before``.
        ci95: Bootstrap interval of the difference over classes.
        classes: Number of classes that take part.
        photos: Number of photos that were queries.
    """

    before: float
    after: float
    difference: float
    ci95: Interval
    classes: int
    photos: int

    @property
    def certain(self) -> bool:
        """Whether the interval lies above zero."""
        return self.ci95.low > 0


def photo_precisions(values: Float32, classes: Int64, queries: Bool | None = None) -> Float64:
    """Return the AP of each photo as a query among all others; those of its class are the positives.

    The AP is that of a complete ranking: the mean precision at the positives. Ties are in order of rows.

    Args:
        values: (N, D) L2-normalised descriptors.
        classes: (N,) classes; a negative one is a distractor and never a query.
        queries: (N,) whether a photo is a query; None means all.

    Returns:
        (N,) AP; NaN where a photo does not ask or is the only one of its class.

    >>> photo_precisions(np.eye(3, dtype=np.float32)[[0, 0, 1]], np.array([7, 7, 8]))
    array([ 1.,  1., nan])
    """
    n = len(values)
    asking = (classes >= 0) if queries is None else (classes >= 0) & queries
    found = np.full(n, np.nan)
    rows = np.flatnonzero(asking)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        similarities = values[some] @ values.T
        similarities[np.arange(len(some)), some] = -np.inf
        order = np.argsort(-similarities, axis=1, kind="stable")[:, : n - 1]
        hits = classes[order] == classes[some][:, None]
        number = hits.sum(axis=1)
        precision = np.cumsum(hits, axis=1) / np.arange(1, n)
        with np.errstate(invalid="ignore"):
            found[some] = np.where(number > 0, (precision * hits).sum(axis=1) / number, np.nan)
    return found


def class_precisions(values: Float32, classes: Int64, queries: Bool | None = None) -> Float64:
    """Return the mean AP of each class that has one, in the order of class numbers.

    Args:
        values: (N, D).
        classes: (N,).
        queries: See `photo_precisions`.
    """
    found = photo_precisions(values, classes, queries)
    there = ~np.isnan(found)
    _, of = np.unique(classes[there], return_inverse=True)
    return np.asarray(np.bincount(of, found[there]) / np.bincount(of))


def estimate_gain(
    before: Float64, after: Float64, photos: int, *, samples: int = 2000, seed: int = 0
) -> Gain:
    """Compare the APs of the same classes without and with a layer.

    Args:
        before: (C,) mean AP of each class.
        after: (C,) in the same order.
        photos: Number of photos that were queries.
        samples: Number of bootstrap samples.
        seed: Seed of the samples.

    >>> round(estimate_gain(np.array([0.5, 0.4]), np.array([0.6, 0.5]), 9).difference, 3)
    0.1
    """
    differences = after - before
    count = len(differences)
    interval = Interval(-1.0, 1.0)
    if count > 1:
        replicates = bootstrap_means(differences[:, None], np.ones((count, 1)), samples, seed)
        interval = percentiles(replicates[:, 0], count)
    return Gain(float(before.mean()), float(after.mean()), float(differences.mean()), interval, count, photos)
