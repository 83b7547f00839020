"""The closed forms against scikit-learn or their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.covariance import shrunk_covariance
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from ilion.adapt.closed import lda, pca_whitening, ridge, wccn
from ilion.types import Float32, Float64, Int64


def photos(n: int, dim: int, classes: int) -> tuple[Float32, Int64]:
    rng = np.random.default_rng(n)
    labels = rng.permutation(np.arange(n) % classes)
    values = rng.standard_normal((classes, dim))[labels] + rng.standard_normal((n, dim)) * np.linspace(
        0.1, 2, dim
    )
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32), labels


def cosines(values: Float64) -> Float64:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


SIZES = [(200, 12, 9), (40, 60, 9)]
"""More descriptors than dimensions, and fewer."""


@pytest.mark.parametrize(("n", "dim", "classes"), SIZES)
def test_pca_whitening_without_shrinkage_is_scikit_learns(n: int, dim: int, classes: int) -> None:
    values, _ = photos(n, dim, classes)
    peer = PCA(8, whiten=True, svd_solver="full").fit_transform(values.astype(np.float64))
    ours = pca_whitening(values, dim=8, shrinkage=0.0).apply(values)
    np.testing.assert_allclose(ours @ ours.T, cosines(peer), atol=1e-5)


def scatter_within(values: Float64, labels: Int64) -> Float64:
    """From the definition, one descriptor at a time."""
    within = np.zeros((values.shape[1], values.shape[1]))
    for c in np.unique(labels):
        for row in values[labels == c] - values[labels == c].mean(axis=0):
            within += np.outer(row, row) / len(values)
    return within


def test_lda_without_shrinkage_is_scikit_learns() -> None:
    values, labels = photos(200, 12, 9)
    peer = LinearDiscriminantAnalysis(solver="svd").fit(values.astype(np.float64), labels)
    ours = lda(values, labels, shrinkage=0.0)
    assert ours.dim_out == 8
    adapted = ours.apply(values)
    np.testing.assert_allclose(adapted @ adapted.T, cosines(peer.transform(values)), atol=1e-5)


@pytest.mark.parametrize(("n", "dim", "classes"), SIZES)
def test_lda_with_shrinkage_is_its_definition(n: int, dim: int, classes: int) -> None:
    """scikit-learn shrinks the total scatter too, which is another method; here the definition decides."""
    values, labels = photos(n, dim, classes)
    wide = values.astype(np.float64)
    within = scatter_within(wide, labels)
    between = np.cov(wide.T, bias=True) - within
    _, vectors = eigh(between, shrunk_covariance(within, shrinkage=0.3))
    expected = (wide - wide.mean(axis=0)) @ vectors[:, -(classes - 1) :]
    adapted = lda(values, labels, shrinkage=0.3).apply(values)
    np.testing.assert_allclose(adapted @ adapted.T, cosines(expected), atol=1e-5)


@pytest.mark.parametrize(("n", "dim", "classes"), SIZES)
def test_wccn_is_its_definition(n: int, dim: int, classes: int) -> None:
    """The whole covariance, shrunk by scikit-learn; its inverse defines the similarity."""
    values, labels = photos(n, dim, classes)
    wide = values.astype(np.float64)
    within = scatter_within(wide, labels)
    metric = np.linalg.inv(shrunk_covariance(within, shrinkage=0.4))
    plain = wide @ metric @ wide.T
    expected = plain / np.sqrt(np.outer(np.diag(plain), np.diag(plain)))
    adapted = wccn(values, labels, shrinkage=0.4).apply(values)
    np.testing.assert_allclose(adapted @ adapted.T, expected, atol=2e-5)


@pytest.mark.parametrize(("n", "dim", "classes"), SIZES)
@pytest.mark.parametrize("target", ["means", "one-hot"])
def test_ridge_is_scikit_learns(n: int, dim: int, classes: int, target: str) -> None:
    values, labels = photos(n, dim, classes)
    wide = values.astype(np.float64)
    means = np.stack([wide[labels == c].mean(axis=0) for c in range(classes)])
    targets = means[labels] if target == "means" else np.eye(classes)[labels]
    peer = Ridge(alpha=0.7).fit(wide, targets)
    adapted = ridge(values, labels, alpha=0.7, target="means" if target == "means" else "one-hot").apply(
        values
    )
    np.testing.assert_allclose(adapted @ adapted.T, cosines(peer.predict(wide)), atol=1e-5)
