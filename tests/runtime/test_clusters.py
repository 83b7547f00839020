"""k-means: as good as faiss, and the same bytes with any number of threads."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ilion.runtime.clusters import find_nearest, learn_centroids
from ilion.types import Float32

BLOBS: Float32 = np.random.default_rng(0).normal(0, 1, (9, 24)).astype(np.float32)
POINTS: Float32 = np.random.default_rng(1).normal(0, 0.4, (3000, 24)).astype(np.float32) + np.repeat(
    BLOBS, [1000, 500, 400, 300, 300, 200, 150, 100, 50], axis=0
)


def error(centroids: Float32) -> float:
    return float(np.square(POINTS - centroids[find_nearest(POINTS, centroids)]).sum(axis=1).mean())


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 8, 64, 300])
def test_it_fits_as_well_as_faiss(count: int) -> None:
    kmeans = faiss.Kmeans(24, count, niter=15, seed=3, min_points_per_centroid=1)
    kmeans.train(POINTS)
    ours = np.mean([error(learn_centroids(POINTS, count, seed=seed, rounds=15)) for seed in range(5)])
    assert ours < 1.05 * error(np.asarray(kmeans.centroids))


def test_bytes_do_not_depend_on_threads() -> None:
    results = []
    for workers in (1, 2, 7):
        with threadpool_limits(limits=workers):
            results.append(learn_centroids(POINTS, 200, seed=0, rounds=6, workers=workers).tobytes())
    assert len(set(results)) == 1


def test_nearest_agrees_with_distances() -> None:
    centroids = POINTS[::100]
    distances = np.square(POINTS[:, None].astype(np.float64) - centroids).sum(axis=2)
    assert (find_nearest(POINTS, centroids) == distances.argmin(axis=1)).all()


def test_empty_clusters_are_filled() -> None:
    points = np.repeat(POINTS[:3], 40, axis=0)
    centroids = learn_centroids(points, 8, seed=0, rounds=5)
    assert np.isfinite(centroids).all()
    assert np.square(points - centroids[find_nearest(points, centroids)]).sum(axis=1).max() < 1e-3


def test_a_sample_is_drawn_from_many_points() -> None:
    one, two = (learn_centroids(POINTS, 4, seed=seed, rounds=3, most=20) for seed in (0, 1))
    assert (one != two).any()
    assert (one == learn_centroids(POINTS, 4, seed=0, rounds=3, most=20)).all()
