"""k-means whose result does not depend on the number of threads, of our own or of the linear algebra library.

The algorithm is that of faiss (Johnson, Douze and Jégou, IEEE Transactions on Big Data 2021): random points
to begin with, exact assignment, and large clusters split where one is empty. Products are taken in blocks of
a fixed shape, each by one thread, and sums in a fixed order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ilion.runtime.threads import in_order, single_threaded_products
from ilion.types import Float32, Int64

MAX_POINTS = 256
"""Points that take part for each cluster; more change centroids by less than another seed does."""
_BLOCK = 2**22
"""Products of points and centroids that one thread holds (16 MiB)."""
_SHIFT = 1 / 1024
"""Relative distance between the halves of a cluster that is split."""


def learn_centroids(
    points: Float32, count: int, *, seed: int, rounds: int, most: int = MAX_POINTS, workers: int = 0
) -> Float32:
    """Learn centroids by k-means.

    Args:
        points: (N, d), at least ``count``.
        count: Number of centroids.
        seed: Seed of the points to begin with.
        rounds: Number of iterations.
        most: Points for each centroid that take part, chosen at random.
        workers: Number of threads; 0 means one per core. The result does not depend on it.

    Returns:
        (count, d) float32.
    """
    rng = np.random.default_rng(seed)
    points = np.ascontiguousarray(points, np.float32)
    if len(points) > most * count:
        points = points[np.sort(rng.permutation(len(points))[: most * count])]
    centroids = points[np.sort(rng.permutation(len(points))[:count])].copy()
    for _ in range(rounds):
        nearest = find_nearest(points, centroids, workers=workers)
        sizes = np.bincount(nearest, minlength=count)
        order = np.argsort(nearest, kind="stable")
        filled = np.flatnonzero(sizes)
        starts = np.cumsum(sizes)[filled] - sizes[filled]
        sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64)
        centroids[filled] = sums / sizes[filled, None]
        _split_large(centroids, sizes, rng)
    return centroids


def find_nearest(points: Float32, centroids: Float32, *, workers: int = 0) -> Int64:
    """Find the nearest centroid of each point by Euclidean distance; ties go to the lower one.

    Args:
        points: (N, d).
        centroids: (C, d).
        workers: See `learn_centroids`.

    Returns:
        (N,) rows of ``centroids``.
    """
    halved = np.asarray(0.5 * np.square(centroids).sum(axis=1), np.float32)
    step = max(1, _BLOCK // len(centroids))

    def assign(start: int) -> Int64:
        closeness = points[start : start + step] @ centroids.T
        closeness -= halved
        return np.asarray(closeness.argmax(axis=1), np.int64)

    with single_threaded_products():
        found = in_order(range(0, len(points), step), assign, workers=workers)
        parts = [future.result() for _, future in found]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _split_large(centroids: Float32, sizes: NDArray[np.intp], rng: np.random.Generator) -> None:
    """Give each empty cluster half of a cluster that is drawn in proportion to its size."""
    signs = np.where(np.arange(centroids.shape[1]) % 2 == 0, _SHIFT, -_SHIFT).astype(np.float32)
    for empty in np.flatnonzero(sizes == 0):
        share = np.maximum(sizes - 1, 0).astype(np.float64)
        if not share.any():
            return
        large = int(rng.choice(len(sizes), p=share / share.sum()))
        centroids[empty] = centroids[large] * (1 + signs)
        centroids[large] *= 1 - signs
        sizes[empty] = sizes[large] // 2
        sizes[large] -= sizes[empty]
