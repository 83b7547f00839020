"""Codes that are learnt on a sample of the database: PCA, product quantisation, binarisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ilion.kernels.hamming import pack_signs
from ilion.localfeatures.codecs.base import CODECS, Code, CodecSettings
from ilion.localfeatures.codecs.layout import Bytes, count_fitting
from ilion.localfeatures.codecs.plain import Uint8Code
from ilion.runtime.clusters import learn_centroids
from ilion.types import Float32, Float64, Metric

WORDS = 256
"""Centroids of a subspace: as many as one byte tells apart."""
LEAST_SAMPLE = 2 * WORDS
"""Fewest descriptors to learn from: each centroid of a product quantiser needs some."""
ITQ_ROUNDS = 50
"""Rounds of iterative quantisation, as in the paper."""

LEAST_STEP, ROOMY = 6, 3000
"""Bytes of a product quantiser for budgets below the second number of bytes an image."""
STEPS = (8, 12, 16, 32, 64)
"""Bytes of a product quantiser for larger budgets: the most with which all features fit, or the least."""


def principal_axes(sample: Float32) -> tuple[Float32, Float64, Float64]:
    """Return mean (d,), axes (d, d) as columns and variances (d,), the largest variance first.

    The sign of an axis is such that its largest element is positive, so that it does not depend on the
    linear algebra library.

    Args:
        sample: (S, d).
    """
    mean = sample.mean(axis=0, dtype=np.float64)
    centred = sample - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / max(len(sample) - 1, 1))
    axes, variances = axes[:, ::-1], np.maximum(variances[::-1], 0)
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))]
    return mean.astype(np.float32), axes * np.sign(largest), variances


class LearntCode(Code):
    """Base of codes that project descriptors: ``basis`` is (d, d')."""

    sized = True
    least_sample = LEAST_SAMPLE
    basis: Float32

    @classmethod
    def choose_size(cls, dim: int, metric: Metric, budget: int, features: int) -> int:
        """Return one bit a dimension."""
        return dim // 8

    @cached_property
    def dim(self) -> int:
        """Length of the descriptors that it takes."""
        return len(self.basis)


@CODECS.register("pca")
@dataclass(frozen=True, eq=False)
class PcaCode(LearntCode):
    """The first principal components, whitened, one byte each.

    Args:
        mean: (d,).
        basis: (d, d') axes, each divided by its deviation to the power of the whitening.
        low: (d',) what byte 0 of a component stands for.
        step: (d',) the difference of two bytes.
    """

    mean: Float32
    basis: Float32
    low: Float32
    step: Float32
    ratio = 0.95  # few bytes blur distances, and a strict test loses true matches

    @classmethod
    def fit(cls, sample: NDArray[Any], settings: CodecSettings, seed: int) -> Self:
        """Learn principal components (Jégou and Chum, ECCV 2012, for the whitening) from (S, d)."""
        mean, axes, variances = principal_axes(sample)
        axes, variances = axes[:, : settings.size], variances[: settings.size]
        # components without variance are noise, which must not be blown up
        deviations = np.sqrt(np.maximum(variances, 1e-6 * variances[0] + 1e-12))
        basis = (axes * deviations**-settings.whitening).astype(np.float32)
        inner = Uint8Code.fit_columns((sample - mean) @ basis)
        return cls(mean, basis, inner.low, inner.step)

    @classmethod
    def choose_size(cls, dim: int, metric: Metric, budget: int, features: int) -> int:
        """Return half of the dimensions."""
        return dim // 2

    @cached_property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return int(self.basis.shape[1])

    @cached_property
    def inner(self) -> Uint8Code:
        """Code of the components."""
        return Uint8Code(self.low, self.step, self.size)

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, d) to (M, d')."""
        return self.inner.encode(self.query(descriptors))

    def decode(self, codes: Bytes) -> Float32:
        """Decode to (M, d') float32 components."""
        return self.inner.decode(codes)

    def query(self, descriptors: NDArray[np.generic]) -> Float32:
        """Return the components (M, d') float32."""
        return np.asarray((descriptors.astype(np.float32) - self.mean) @ self.basis, np.float32)

    def original(self, decoded: NDArray[np.generic]) -> Float32:
        """Return (M, d) float32, the components that were left out at their mean."""
        return np.asarray(decoded.astype(np.float32) @ self._back + self.mean, np.float32)

    @cached_property
    def _back(self) -> Float32:
        return np.linalg.pinv(self.basis)


@CODECS.register("pq")
@dataclass(frozen=True, eq=False)
class PqCode(LearntCode):
    """Product quantisation (Jégou, Douze and Schmid, PAMI 2011) after a rotation: one byte a subspace.

    Args:
        basis: (d, d') orthonormal columns.
        centroids: (bytes, 256, d' / bytes).
    """

    basis: Float32
    centroids: Float32
    ratio = 0.95

    @classmethod
    def fit(cls, sample: NDArray[Any], settings: CodecSettings, seed: int) -> Self:
        """Learn rotation and centroids from (S, d).

        The rotation is the parametric solution of optimised product quantisation (Ge et al., CVPR 2013):
        principal axes, dealt out so that the subspaces have equal products of variances. Where ``size`` does
        not divide d, the axes with the least variance are left out.
        """
        _, axes, variances = principal_axes(sample)
        size, width = settings.size, sample.shape[1] // settings.size
        basis = axes[:, deal_out(variances[: width * size], size)].astype(np.float32)
        parts = (sample @ basis).reshape(len(sample), size, width)
        centroids = np.empty((size, WORDS, width), np.float32)
        for s in range(size):
            centroids[s] = learn_centroids(parts[:, s], WORDS, seed=seed + s, rounds=20)
        return cls(basis, centroids)

    @classmethod
    def choose_size(cls, dim: int, metric: Metric, budget: int, features: int) -> int:
        """Return the most bytes with which all features fit the budget, from `STEPS`, or the least."""
        if not budget:
            return super().choose_size(dim, metric, budget, features)
        # measured on descriptors of 128 dimensions; longer ones get bytes in proportion
        sizes = [max(1, step * dim // 128) for step in (LEAST_STEP, *STEPS)]
        roomy = [size for size in sizes[1:] if count_fitting(budget, size) >= features]
        return max(roomy, default=sizes[budget >= ROOMY])

    @cached_property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return len(self.centroids)

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, d) to the nearest centroid of each subspace, (M, bytes)."""
        parts = self.query(descriptors).reshape(len(descriptors), *self.centroids.shape[::2])
        codes = np.empty((len(descriptors), self.size), np.uint8)
        # |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2), and |x| is the same for all centroids
        halved = 0.5 * np.square(self.centroids).sum(axis=2)
        for s in range(self.size):
            codes[:, s] = np.argmax(parts[:, s] @ self.centroids[s].T - halved[s], axis=1)
        return codes

    def decode(self, codes: Bytes) -> Float32:
        """Decode to (M, d') float32: the centroids side by side."""
        parts = self.centroids[np.arange(self.size), codes]
        return parts.reshape(len(codes), self.basis.shape[1])

    def query(self, descriptors: NDArray[np.generic]) -> Float32:
        """Rotate (M, d) to (M, d') float32."""
        return np.asarray(descriptors.astype(np.float32) @ self.basis, np.float32)

    def original(self, decoded: NDArray[np.generic]) -> Float32:
        """Rotate (M, d') back to (M, d) float32."""
        return np.asarray(decoded.astype(np.float32) @ self.basis.T, np.float32)


def deal_out(variances: Float64, groups: int) -> NDArray[np.int64]:
    """Deal out axes to groups of equal size and nearly equal products of variances.

    Args:
        variances: (d,) descending; ``groups`` divides d.
        groups: Number of groups.

    Returns:
        (d,) the axes of the first group, then those of the second ...

    >>> deal_out(np.array([8.0, 4.0, 2.0, 1.0]), 2).tolist()
    [0, 3, 1, 2]
    """
    width = len(variances) // groups
    members: list[list[int]] = [[] for _ in range(groups)]
    products = np.zeros(groups)
    logs = np.log(np.maximum(variances, 1e-12))
    for axis, log in enumerate(logs - min(logs.min(), 0)):
        open_ones = [g for g in range(groups) if len(members[g]) < width]
        group = min(open_ones, key=lambda g: products[g])
        members[group].append(axis)
        products[group] += log
    return np.array(members, np.int64).ravel()


@CODECS.register("binary")
@dataclass(frozen=True, eq=False)
class BinaryCode(LearntCode):
    """The signs of rotated principal components: iterative quantisation (Gong and Lazebnik, CVPR 2011).

    Args:
        mean: (d,).
        basis: (d, bits) principal axes times rotation.
        asymmetric: Compare the query's real components with the database's signs by their cosine, in place
            of signs with signs; the stored bytes are the same.
    """

    mean: Float32
    basis: Float32
    asymmetric: bool = False
    most_bits = 1
    reversible = False  # signs keep no lengths

    @classmethod
    def fit(cls, sample: NDArray[Any], settings: CodecSettings, seed: int) -> Self:
        """Learn principal components of (S, d) and the rotation that brings them near a cube's corners."""
        mean, axes, _ = principal_axes(sample)
        axes = axes[:, : 8 * settings.size]
        rotation, _ = learn_rotation((sample - mean) @ axes, seed)
        return cls(mean, (axes @ rotation).astype(np.float32))

    @classmethod
    def metric_for(cls, metric: Metric) -> Metric:
        """Return ``hamming``: signs are compared with signs."""
        return "hamming"

    @cached_property
    def metric(self) -> Metric:
        """``cosine`` if asymmetric, else ``hamming``."""
        return "cosine" if self.asymmetric else "hamming"

    @cached_property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return int(self.basis.shape[1]) // 8

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, d) to packed signs (M, bits / 8)."""
        return pack_signs(self._components(descriptors))

    def decode(self, codes: Bytes) -> NDArray[np.generic]:
        """Return the packed signs; if asymmetric, (M, bits) float32 of -1 and 1."""
        if not self.asymmetric:
            return codes
        return 2 * np.unpackbits(codes, axis=1).astype(np.float32) - 1

    def query(self, descriptors: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return packed signs (M, bits / 8); if asymmetric, components (M, bits) float32."""
        components = self._components(descriptors)
        return components if self.asymmetric else pack_signs(components)

    def _components(self, descriptors: NDArray[np.generic]) -> Float32:
        return np.asarray((descriptors.astype(np.float32) - self.mean) @ self.basis, np.float32)


def learn_rotation(components: Float64, seed: int | np.random.Generator) -> tuple[Float64, list[float]]:
    """Alternate between signs and rotation (iterative quantisation).

    Args:
        components: (S, b) centred.
        seed: Seed or generator of the first rotation.

    Returns:
        The (b, b) rotation, and the mean squared distance to the signs before each round, which never grows.
    """
    bits = components.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))[0]
    objectives = []
    for _ in range(ITQ_ROUNDS):
        rotated = components @ rotation
        signs = np.where(rotated > 0, 1.0, -1.0)
        objectives.append(float(np.square(signs - rotated).sum(axis=1).mean()))
        # orthogonal Procrustes: the rotation that brings the components closest to these signs
        left, _, right = np.linalg.svd(components.T @ signs)
        rotation = left @ right
    return rotation, objectives
