"""Codes that are learnt on a sample of the database: PCA, product quantisation, binarisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError
from ilion.kernels.hamming import pack_signs
from ilion.localfeatures.codecs.layout import Bytes
from ilion.localfeatures.codecs.plain import Uint8Code, fit_uint8_columns
from ilion.types import Float32, Float64, Metric

WORDS = 256
"""Centroids of a subspace: one byte."""
ITQ_ROUNDS = 50
"""As in the paper."""


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


@dataclass(frozen=True, eq=False)
class PcaCode:
    """The first principal components, whitened, one byte each.

    Args:
        mean: (d,).
        basis: (d, d') axes, each divided by its deviation to the power of the whitening.
        inner: Code of the components.
    """

    mean: Float32
    basis: Float32
    inner: Uint8Code
    kind: str = "pca"
    metric: Metric = "cosine"

    @property
    def dim(self) -> int:
        """Length of the descriptors that it takes."""
        return len(self.mean)

    @property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return self.inner.size

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learnt arrays."""
        return {"mean": self.mean, "basis": self.basis, **self.inner.state()}

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


def fit_pca(sample: Float32, dims: int, whitening: float = 1.0) -> PcaCode:
    """Learn principal components (Jégou and Chum, ECCV 2012, for the whitening).

    Args:
        sample: (S, d).
        dims: Components kept.
        whitening: 1 gives all components the same variance, 0 leaves them as they are.
    """
    mean, axes, variances = principal_axes(sample)
    # components without variance are noise, which must not be blown up
    deviations = np.sqrt(np.maximum(variances[:dims], 1e-6 * variances[0] + 1e-12))
    basis = (axes[:, :dims] * deviations**-whitening).astype(np.float32)
    return PcaCode(mean, basis, fit_uint8_columns((sample - mean) @ basis))


@dataclass(frozen=True, eq=False)
class PqCode:
    """Product quantisation (Jégou, Douze and Schmid, PAMI 2011) after a rotation: one byte a subspace.

    Args:
        basis: (d, d') orthonormal columns.
        centroids: (bytes, 256, d' / bytes).
    """

    basis: Float32
    centroids: Float32
    kind: str = "pq"
    metric: Metric = "cosine"

    @property
    def dim(self) -> int:
        """Length of the descriptors that it takes."""
        return len(self.basis)

    @property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return len(self.centroids)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learnt arrays."""
        return {"basis": self.basis, "centroids": self.centroids}

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, d) to the nearest centroid of each subspace, (M, bytes)."""
        parts = self.query(descriptors).reshape(len(descriptors), *self.centroids.shape[::2])
        codes = np.empty((len(descriptors), self.size), np.uint8)
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


def fit_pq(sample: Float32, size: int, seed: int) -> PqCode:
    """Learn rotation and centroids.

    The rotation is the parametric solution of optimised product quantisation (Ge et al., CVPR 2013):
    principal axes, dealt out so that the subspaces have equal products of variances. Where ``size`` does not
    divide d, the axes with the least variance are left out.

    Args:
        sample: (S, d), at least 256 descriptors.
        size: Bytes of a descriptor, at most d.
        seed: Of the k-means.
    """
    import faiss

    _, axes, variances = principal_axes(sample)
    width = sample.shape[1] // size
    basis = axes[:, balanced(variances[: width * size], size)].astype(np.float32)
    parts = (sample @ basis).reshape(len(sample), size, width)
    centroids = np.empty((size, WORDS, width), np.float32)
    for s in range(size):
        kmeans = faiss.Kmeans(width, WORDS, niter=20, seed=seed + s + 1, min_points_per_centroid=1)
        kmeans.train(np.ascontiguousarray(parts[:, s]))
        centroids[s] = kmeans.centroids
    return PqCode(basis, centroids)


def balanced(variances: Float64, groups: int) -> NDArray[np.int64]:
    """Deal out axes to groups of equal size and nearly equal products of variances.

    Args:
        variances: (d,) descending; ``groups`` divides d.
        groups: Number of groups.

    Returns:
        (d,) the axes of the first group, then those of the second ...

    >>> balanced(np.array([8.0, 4.0, 2.0, 1.0]), 2).tolist()
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


@dataclass(frozen=True, eq=False)
class BinaryCode:
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
    kind: str = "binary"

    @property
    def metric(self) -> Metric:
        """``cosine`` if asymmetric, else ``hamming``."""
        return "cosine" if self.asymmetric else "hamming"

    @property
    def dim(self) -> int:
        """Length of the descriptors that it takes."""
        return len(self.mean)

    @property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return int(self.basis.shape[1]) // 8

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learnt arrays."""
        return {"mean": self.mean, "basis": self.basis}

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

    def original(self, decoded: NDArray[np.generic]) -> NDArray[np.generic]:
        """Refuse: signs keep no lengths."""
        raise ConfigError(
            "descriptors of one bit a dimension cannot be brought back to numbers; use codec 'pq'"
        )

    def _components(self, descriptors: NDArray[np.generic]) -> Float32:
        return np.asarray((descriptors.astype(np.float32) - self.mean) @ self.basis, np.float32)


def fit_binary(sample: Float32, size: int, seed: int) -> BinaryCode:
    """Learn principal components and the rotation that brings them close to the corners of a cube.

    Args:
        sample: (S, d).
        size: Bytes of a descriptor; 8 * size is at most d.
        seed: Of the first rotation.
    """
    mean, axes, _ = principal_axes(sample)
    axes = axes[:, : 8 * size]
    rotation, _ = learn_rotation((sample - mean) @ axes, seed)
    return BinaryCode(mean, (axes @ rotation).astype(np.float32))


def learn_rotation(components: Float64, seed: int) -> tuple[Float64, list[float]]:
    """Alternate between signs and rotation (iterative quantisation).

    Args:
        components: (S, b) centred.
        seed: Of the first rotation.

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
        left, _, right = np.linalg.svd(components.T @ signs)
        rotation = left @ right
    return rotation, objectives
