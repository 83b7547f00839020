"""Codecs against peers and against loops written from the definitions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import faiss
import numpy as np
import pytest
from sklearn.decomposition import PCA

from ilion.localfeatures.codecs import CodecSettings
from ilion.localfeatures.codecs.learnt import (
    BinaryCode,
    PcaCode,
    PqCode,
    deal_out,
    learn_rotation,
    principal_axes,
)
from ilion.types import Float32

DIM = 32


@pytest.fixture(scope="module")
def sample() -> Float32:
    """Correlated descriptors with a mean, variances from large to small."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((DIM, DIM)) * np.geomspace(1, 0.05, DIM)[:, None]
    return np.asarray(rng.standard_normal((4000, DIM)) @ mixing + rng.uniform(0, 2, DIM), np.float32)


@pytest.fixture(scope="module")
def pq(sample: Float32) -> PqCode:
    return PqCode.fit(sample, CodecSettings("pq", 4), seed=0)


@pytest.mark.slow
def test_pq_codes_and_decoding_equal_naive_loops(sample: Float32, pq: PqCode) -> None:
    rotated = sample[:60].astype(np.float64) @ pq.basis.astype(np.float64)
    width = rotated.shape[1] // 4
    codes = np.zeros((60, 4), int)
    decoded = np.zeros_like(rotated)
    for i in range(60):
        for s in range(4):
            part = rotated[i, s * width : (s + 1) * width]
            nearest = [float(np.sum((part - centroid) ** 2)) for centroid in pq.centroids[s]]
            codes[i, s] = nearest.index(min(nearest))
            decoded[i, s * width : (s + 1) * width] = pq.centroids[s][codes[i, s]]
    np.testing.assert_array_equal(pq.encode(sample[:60]), codes)
    np.testing.assert_allclose(pq.decode(pq.encode(sample[:60])), decoded, rtol=1e-6)


@pytest.mark.slow
def test_pq_equals_faiss_with_the_same_centroids(sample: Float32, pq: PqCode) -> None:
    peer: Any = faiss.ProductQuantizer(pq.basis.shape[1], 4, 8)
    faiss.copy_array_to_vector(pq.centroids.ravel(), peer.centroids)
    rotated = np.ascontiguousarray(sample @ pq.basis)
    codes = peer.compute_codes(rotated)
    own = pq.encode(sample)
    # sums in another order can turn a tie within the rounding of float32
    assert (own == codes).mean() > 0.9999
    np.testing.assert_array_equal(pq.decode(codes), peer.decode(codes))


@pytest.mark.slow
def test_the_rotation_loses_less_than_the_given_order_of_dimensions(sample: Float32, pq: PqCode) -> None:
    peer: Any = faiss.ProductQuantizer(DIM, 4, 8)
    peer.train(sample)
    lost_there = np.square(peer.decode(peer.compute_codes(sample)) - sample).sum()
    lost_here = np.square(pq.decode(pq.encode(sample)) - pq.query(sample)).sum()
    # measured with four seeds: 0.341 to 0.344
    assert lost_here < 0.5 * lost_there


def test_the_rotation_keeps_angles(sample: Float32, pq: PqCode) -> None:
    np.testing.assert_allclose(pq.basis.T @ pq.basis, np.eye(DIM), atol=1e-5)
    rotated = pq.query(sample[:50])
    np.testing.assert_allclose(rotated @ rotated.T, sample[:50] @ sample[:50].T, rtol=1e-3, atol=1e-3)


def test_groups_have_equal_sizes_and_nearly_equal_products() -> None:
    variances = np.geomspace(1000, 1, 24)
    groups = np.log(variances[deal_out(variances, 6)]).reshape(6, 4).sum(axis=1)
    assert sorted(deal_out(variances, 6).tolist()) == list(range(24))
    in_order = np.log(variances).reshape(6, 4).sum(axis=1)
    assert np.ptp(groups) < 0.1 * np.ptp(in_order)


def test_principal_components_equal_those_of_scikit_learn(sample: Float32) -> None:
    mean, axes, variances = principal_axes(sample)
    peer = PCA(n_components=DIM, svd_solver="full").fit(sample.astype(np.float64))
    np.testing.assert_allclose(mean, peer.mean_, rtol=1e-5)
    np.testing.assert_allclose(variances, peer.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(axes.T * peer.components_, axis=1)), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("whitening", [0.0, 1.0])
def test_whitened_components_equal_those_of_scikit_learn(sample: Float32, whitening: float) -> None:
    code = PcaCode.fit(sample, CodecSettings("pca", 12, whitening=whitening), 0)
    peer = PCA(n_components=12, whiten=whitening == 1, svd_solver="full").fit(sample.astype(np.float64))
    expected = peer.transform(sample[:100].astype(np.float64))
    found = code.query(sample[:100])
    signs = np.sign(np.sum(found * expected, axis=0))
    np.testing.assert_allclose(found * signs, expected, rtol=1e-3, atol=1e-3)
    # one byte a component: half a step, where the component is not clipped
    off = np.abs(code.decode(code.encode(sample[:100])) - found)
    clipped = (found < code.inner.low) | (found > code.inner.low + 255 * code.inner.step)
    assert clipped.mean() < 0.01
    assert (off[~clipped] <= np.broadcast_to(code.inner.step, off.shape)[~clipped] * 0.501).all()


@pytest.mark.slow
def test_the_objective_of_iterative_quantisation_never_grows(sample: Float32) -> None:
    mean, axes, _ = principal_axes(sample)
    rotation, objectives = learn_rotation((sample - mean) @ axes[:, :16], seed=0)
    assert all(after <= before + 1e-9 for before, after in pairwise(objectives))
    # measured with 20 seeds: 0.970 to 0.987
    assert objectives[-1] < 0.995 * objectives[0]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(16), atol=1e-9)


@pytest.mark.slow
def test_learnt_bits_keep_neighbours_better_than_random_ones(sample: Float32) -> None:
    """Recall of the true 10 nearest neighbours among the 50 nearest by Hamming distance."""
    code = BinaryCode.fit(sample, CodecSettings("binary", 2), seed=0)
    centred = sample[:1000] - code.mean
    directions = np.random.default_rng(1).standard_normal((DIM, 16)).astype(np.float32)

    def recall(bits: np.ndarray) -> float:
        signs = 2.0 * bits - 1
        true = np.argsort(-(centred[:100] @ centred.T) + np.square(centred).sum(axis=1) / 2, axis=1)[:, :10]
        found = np.argsort(-(signs[:100] @ signs.T), axis=1, kind="stable")[:, :50]
        return float(np.mean([len(set(t) & set(f)) / 10 for t, f in zip(true, found, strict=True)]))

    learnt = recall(np.unpackbits(code.encode(sample[:1000]), axis=1))
    # measured with four seeds of both: 0.11 to 0.18 more
    assert learnt > recall(centred @ directions > 0) + 0.05
