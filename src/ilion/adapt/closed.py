"""Layers in closed form, without training: PCA whitening, LDA, WCCN, ridge regression.

All take shrinkage, because a few hundred labelled photos say little about a thousand dimensions. Letters: N
descriptors, D dimensions, C classes, D' dimensions of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.base import METHODS, Photos
from ilion.adapt.layer import Adapter, Correction, identity
from ilion.adapt.scatter import LARGEST, Spectrum, class_means, float64_blocks, spectrum
from ilion.errors import ConfigError, DatasetError
from ilion.types import Float32, Float64, Int64
from ilion.wording import counted

Target = Literal["means", "one-hot"]

_MISSING_VARIANCE = "shrinkage 0 divides by the variances that the photos lack; use more than 0"


def pca_whitening(values: NDArray[np.floating], *, dim: int = 512, shrinkage: float = 0.1) -> Adapter:
    """Learn PCA whitening: decorrelate, and give the main directions equal variance.

    For retrieval: Jégou and Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012.

    Args:
        values: (N, D); no labels are needed.
        dim: D', at most as many as the descriptors have directions.
        shrinkage: Share of their mean in the variances that are divided by; 1 only rotates and cuts.

    Raises:
        ConfigError: A setting is out of range.
        DatasetError: The descriptors do not scatter.
    """
    _check(dim, shrinkage)
    mean = class_means(values, np.zeros(len(values), np.int64)).means[0]
    found = spectrum(values, mean)
    kept = min(dim, len(found.variances))
    variances, _ = found.shrunk(shrinkage)
    weight = found.directions[:kept] / np.sqrt(variances[:kept])[:, None]
    return _adapter(weight, -weight @ mean)


def wccn(values: NDArray[np.floating], labels: Int64, *, shrinkage: float = 0.5) -> Correction:
    """Learn within-class covariance normalisation: directions in which photos of one class differ count less.

    Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based speaker recognition",
    Interspeech 2006. Scaled so that what no class varies in keeps its length: with full shrinkage the layer
    is the identity.

    Args:
        values: (N, D).
        labels: (N,) classes 0 to C - 1.
        shrinkage: Share of their mean in the variances within classes, from above 0 to 1.

    Raises:
        ConfigError: The shrinkage is out of range, or 0 where a direction has no variance.
        DatasetError: No class has two different photos.
    """
    _check(1, shrinkage)
    return wccn_of(within(values, labels), shrinkage)


def within(values: NDArray[np.floating], labels: Int64) -> Spectrum:
    """Decompose the scatter within classes.

    Raises:
        ConfigError: See `ilion.adapt.scatter.spectrum`.
        DatasetError: No class has two different photos.
    """
    found = class_means(values, labels)
    if len(found.counts) == len(labels):
        raise DatasetError("every class has one photo only; at least some need two or more to learn from")
    return spectrum(values, found.means, labels)


def wccn_of(found: Spectrum, shrinkage: float) -> Correction:
    """Return the layer of `wccn` for a scatter that is decomposed already."""
    if shrinkage == 1:
        return identity(found.dim)
    gains, unit = _inverse_roots(found, shrinkage)
    up = (found.directions * (gains / unit - 1)[:, None]).T
    bias = np.zeros(found.dim, np.float32)
    return Correction(found.directions.astype(np.float32), up.astype(np.float32), bias)


def lda(values: NDArray[np.floating], labels: Int64, *, dim: int = 512, shrinkage: float = 0.5) -> Adapter:
    """Learn linear discriminant analysis: where classes differ most against their own scatter.

    Rao, "The utilization of multiple measurements in problems of biological classification", J. Royal
    Statistical Society B, 1948.

    Args:
        values: (N, D).
        labels: (N,) classes 0 to C - 1.
        dim: D', at most C - 1.
        shrinkage: Shrinkage of the scatter within classes, from above 0 to 1.

    Raises:
        ConfigError: A setting is out of range.
        DatasetError: There is one class only, or no class has two different photos.
    """
    _check(dim, shrinkage)
    found = class_means(values, labels)
    if len(found.counts) < 2:
        raise DatasetError("LDA needs at least two classes")
    scatter = within(values, labels)
    gains, unit = _inverse_roots(scatter, shrinkage)
    mean = found.mean

    def whiten(rows: Float64) -> Float64:
        return unit * rows + ((rows @ scatter.directions.T) * (gains - unit)) @ scatter.directions

    weights = np.sqrt(found.counts / found.counts.sum())
    _, strengths, directions = np.linalg.svd(
        whiten((found.means - mean) * weights[:, None]), full_matrices=False
    )
    kept = min(dim, len(found.counts) - 1, int((strengths > strengths[0] * 1e-7).sum()))
    weight = whiten(directions[:kept])
    return _adapter(weight, -weight @ mean)


def ridge(
    values: NDArray[np.floating], labels: Int64, *, alpha: float = 1.0, target: Target = "means"
) -> Adapter:
    """Learn ridge regression: from a descriptor to the mean of its class, or to its class as one-hot numbers.

    Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 1970.
    The bias is not shrunk.

    Args:
        values: (N, D).
        labels: (N,) classes 0 to C - 1.
        alpha: Weight of the squared coefficients against the sum of squared errors; positive.
        target: ``means`` keeps D dimensions, ``one-hot`` gives C.

    Raises:
        ConfigError: ``alpha`` is not positive, or N and D are both too large.
        DatasetError: The labels do not fit.
    """
    if not alpha > 0:
        raise ConfigError(f"ridge: alpha must be positive, got {alpha}")
    found = class_means(values, labels)
    n, dim = values.shape
    if min(n, dim) > LARGEST:
        raise ConfigError(
            f"{counted(n, 'descriptor')} of {counted(dim, 'dimension')} are "
            "too many for ridge; choose 'linear'"
        )
    mean = found.mean
    means = found.means if target == "means" else np.eye(len(found.counts))
    centre = found.counts @ means / n
    # X^T T needs no pass over the data: targets are equal within a class
    moments = (found.counts[:, None] * (found.means - mean)).T @ (means - centre)
    if n < dim:
        everything = np.empty((n, dim))
        for rows, block in float64_blocks(values):
            everything[rows] = block - mean
        gram = everything @ everything.T
        gram[np.diag_indices(n)] += alpha
        solved = everything.T @ np.linalg.solve(gram, (means - centre)[labels])
    else:
        covariance = np.zeros((dim, dim))
        for _, block in float64_blocks(values):
            block -= mean
            covariance += block.T @ block
        covariance[np.diag_indices(dim)] += alpha
        solved = np.linalg.solve(covariance, moments)
    return _adapter(solved.T, centre - mean @ solved)


def _inverse_roots(found: Spectrum, shrinkage: float) -> tuple[Float64, float]:
    """Return 1 / sqrt(variance) along the directions and of the rest, scaled to a mean variance of one."""
    variances, rest = found.shrunk(shrinkage)
    if len(variances) < found.dim and rest <= 0:
        raise ConfigError(f"{len(variances)} of {found.dim} directions vary: {_MISSING_VARIANCE}")
    scale = float(found.variances.sum()) / found.dim
    return np.sqrt(scale / variances), float(np.sqrt(scale / rest)) if rest > 0 else 1.0


def _adapter(weight: Float64, bias: Float64) -> Adapter:
    """Round to float32 with a largest coefficient of one: only the direction of a result counts."""
    scale = float(np.abs(weight).max())
    if not scale > 0:
        raise DatasetError("nothing was learnt: the layer is zero")
    single: Float32 = (weight / scale).astype(np.float32)
    return Adapter(single, (bias / scale).astype(np.float32))


def _check(dim: int, shrinkage: float) -> None:
    if dim < 1 or not 0 <= shrinkage <= 1:
        raise ConfigError(f"dim must be at least 1 and shrinkage in [0, 1], got {dim} and {shrinkage}")


@METHODS.register("pca")
@dataclass(frozen=True)
class Pca:
    """The method ``pca``; see `pca_whitening`."""

    dim: int
    shrinkage: float

    def learn(self, photos: Photos) -> Adapter:
        """Learn a layer; the labels do not matter."""
        return pca_whitening(photos.values, **vars(self))


@METHODS.register("lda")
@dataclass(frozen=True)
class Lda(Pca):
    """The method ``lda``; see `lda`."""

    def learn(self, photos: Photos) -> Adapter:
        """Learn a layer."""
        return lda(photos.values, photos.labels.classes, **vars(self))


@METHODS.register("wccn")
@dataclass(frozen=True)
class Wccn:
    """The method ``wccn``; see `wccn`."""

    shrinkage: float

    def learn(self, photos: Photos) -> Correction:
        """Learn a layer."""
        return wccn(photos.values, photos.labels.classes, **vars(self))


@METHODS.register("ridge")
@dataclass(frozen=True)
class Ridge:
    """The method ``ridge``; see `ridge`."""

    alpha: float

    def learn(self, photos: Photos) -> Adapter:
        """Learn a layer."""
        return ridge(photos.values, photos.labels.classes, **vars(self))
