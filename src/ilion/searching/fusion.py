"""Global and local evidence in one score, as pure functions.

Score fusion adds the weighted local score to the global similarity. The weight may be learnt from queries
whose answers are known (`calibrate`). Rank fusion needs no weight: reciprocal rank fusion, Cormack et al.,
SIGIR 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.types import Float32, Float64, Int64, Value

RANK_CONSTANT = 60.0
"""Constant of reciprocal rank fusion, as in the paper."""
STEPS = (0.0, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Weights that a calibration tries, as multiples of the scorer's usual one: scorers differ in their range."""


def by_score(similarities: Float32, local: Float32, weight: float) -> Float32:
    """Add weighted local scores to global similarities.

    Args:
        similarities: (..., S) global similarities.
        local: (..., S) local scores, 0 where there is no evidence.
        weight: Weight of the local scores, at least 0.

    >>> by_score(np.array([0.5, 0.4], np.float32), np.array([0.0, 2.0], np.float32), 0.1).round(2).tolist()
    [0.5, 0.6000000238418579]
    """
    return np.asarray(similarities + np.float32(weight) * local, np.float32)


def by_rank(similarities: Float32, local: Float32) -> Float32:
    """Sum the reciprocal ranks in both lists.

    Args:
        similarities: (..., S) global similarities, best first.
        local: (..., S) local scores.

    Returns:
        (..., S) scores in (0, 2 / 61]. Images without local evidence share the worst local rank; images that
        are all equally similar share the worst global one.

    >>> by_rank(np.array([0.9, 0.8, 0.7], np.float32), np.array([0.0, 3.0, 0.0], np.float32)).argmax()
    np.int64(1)
    """
    size = similarities.shape[-1]
    first = np.arange(1, size + 1, dtype=np.float64)
    order = np.argsort(-local, axis=-1, kind="stable")
    second = np.empty(local.shape, np.float64)
    np.put_along_axis(second, order, np.broadcast_to(first, local.shape).copy(), axis=-1)
    second = np.where(local > 0, second, size)
    equal = (similarities == similarities[..., :1]).all(axis=-1, keepdims=True) & (size > 1)
    first = np.where(equal, size, first)
    return np.asarray(1 / (RANK_CONSTANT + first) + 1 / (RANK_CONSTANT + second), np.float32)


@dataclass(frozen=True)
class Calibration(Value):
    """Weights learnt on a held-out part.

    Args:
        weights: (Q,) weight of each query; NaN where there was too little to learn from.
        fold: (Q,) int64, which part each query belongs to; its weight was learnt on all the others.
    """

    weights: Float64
    fold: Int64


def calibrate(
    score: Callable[[float, Sequence[int]], float],
    groups: Sequence[str],
    *,
    usual: float = 0.08,
    folds: int = 2,
    seed: int = 0,
) -> Calibration:
    """Choose a weight for each query from the other queries only.

    The instances are dealt into folds; the weight of a fold is the one that does best on the other folds. So
    no query takes part in choosing its own weight, and neither does another view of its object.

    Args:
        score: From a weight and query numbers to the accuracy on those queries.
        groups: (Q,) instance of each query.
        usual: Weight around which to look: `STEPS` times it. Of equally good ones the smallest is taken.
        folds: At least 2; with fewer instances than folds nothing is learnt.
        seed: Seed of the assignment of instances to folds.

    >>> calibrate(lambda weight, queries: -abs(weight - 0.1), ["a", "b", "c"]).weights.tolist()
    [0.08, 0.08, 0.08]
    """
    instances = sorted(set(groups))
    if len(instances) < folds:
        return Calibration(np.full(len(groups), np.nan), np.zeros(len(groups), np.int64))
    dealt = np.random.default_rng(seed).permutation(len(instances)) % folds
    fold_of = dict(zip(instances, dealt, strict=True))
    fold: Int64 = np.array([fold_of[group] for group in groups], np.int64)
    weights = np.empty(len(groups), np.float64)
    for number in range(folds):
        others = np.flatnonzero(fold != number).tolist()
        tried = [usual * step for step in STEPS]
        weights[fold == number] = max(tried, key=lambda weight: (score(weight, others), -weight))
    return Calibration(weights, fold)
