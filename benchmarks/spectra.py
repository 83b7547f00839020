"""Descriptors whose spectrum and neighbours are like real ones, as many as wanted.

A smoothed bootstrap (Silverman, Density Estimation, 1986, section 6.4.1): a new descriptor is

    mean + w (real - mean) + sqrt(1 - w^2) noise, then float16 and unit length,

where `real` is drawn from real descriptors and the noise is Gaussian with their covariance. Whatever w is,
mean and covariance, so the whole spectrum, stay those of the real ones; w says how much they crowd around
them. It is chosen so that the median similarity to the 10th and the 100th neighbour is that of as many real
ones.

Real descriptors come from a finished extraction (--real FOLDER of the artifact); they are brought to 512
dimensions by their own leading directions, as a learnt projection does. Without photos, the real ones are
drawn from a Gaussian with the spectrum measured on 2,464 shop photos (EfficientNet-Lite2, GeM).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilion import storage
from ilion.runtime.machine import machine
from ilion.types import Descriptors, Float32, Float64

DIM = 512
SHARD = 50_000
MEAN_NORM = 0.71
"""Norm of the mean of real unit descriptors (measured)."""


def unit(values: Float64) -> Float64:
    """Return rows of unit length."""
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def load(folder: Path) -> Float64:
    """Read all descriptors of an artifact."""
    keys = sorted(path.name.removesuffix(".ids.json") for path in folder.glob("*.ids.json"))
    database = storage.DescriptorSet(storage.load_artifact(folder), keys)
    return database.gather(np.arange(len(database))).astype(np.float64)


def like_photos(rng: np.random.Generator, number: int = 2464) -> Float64:
    """Stand-ins for real descriptors: eigenvalues fall as (rank + 2)^-0.93, around a common direction."""
    spectrum = (np.arange(DIM) + 2.0) ** -0.93
    spectrum *= (1.0 - MEAN_NORM**2) / spectrum.sum()
    values = rng.standard_normal((number, DIM)) * np.sqrt(spectrum)
    values[:, 0] += MEAN_NORM
    return unit(values)


def neighbours(values: Float64) -> Float64:
    """Return the median similarity to the 10th and the 100th neighbour."""
    similarities = values @ values.T
    np.fill_diagonal(similarities, -1.0)
    return np.asarray(np.median(-np.sort(-similarities, axis=1)[:, [9, 99]], axis=0))


class Realistic:
    """The generator.

    Args:
        real: (N, D) real descriptors.
        queries: (Q, D) real queries, or None to draw queries like database descriptors.
    """

    def __init__(self, real: Float64, queries: Float64 | None = None) -> None:
        basis = np.linalg.eigh(np.cov(real.T))[1][:, ::-1][:, :DIM]
        self.basis = basis if real.shape[1] > DIM else np.eye(DIM)
        self.real = unit(real @ self.basis)
        self.real_queries = self.real if queries is None else unit(queries @ self.basis)
        self.mean = self.real.mean(axis=0)
        covariance = np.cov(self.real.T) + 1e-9 * np.eye(DIM)
        self.root = np.linalg.cholesky(covariance).T.astype(np.float32)
        wanted = neighbours(self.real)
        self.misfit = {}
        for weight in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98):
            rng = np.random.default_rng(0)
            made = self.around(rng, self.real[rng.permutation(len(self.real))], weight)
            self.misfit[weight] = float(np.abs(neighbours(made.astype(np.float64)) - wanted).sum())
        self.weight = min(self.misfit, key=lambda w: self.misfit[w])

    def around(self, rng: np.random.Generator, centres: Float64, weight: float) -> Float32:
        """Draw one descriptor around each centre."""
        noise = rng.standard_normal(centres.shape, np.float32) @ self.root
        values = (self.mean + weight * (centres - self.mean)).astype(np.float32)
        values += np.float32(np.sqrt(1.0 - weight**2)) * noise
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    def rows(self, seed: int, number: int) -> Float32:
        """Draw database descriptors."""
        rng = np.random.default_rng([1, seed])
        return self.around(rng, self.real[rng.integers(0, len(self.real), number)], self.weight)

    def queries(self, number: int) -> Float32:
        """Draw queries: half around real queries, half like database descriptors."""
        rng = np.random.default_rng(2)
        half = number // 2
        some = self.real_queries[rng.integers(0, len(self.real_queries), half)]
        others = self.real[rng.integers(0, len(self.real), number - half)]
        return self.around(rng, np.concatenate([some, others]), self.weight)


class Isotropic:
    """All directions alike: the worst case of every bound."""

    weight = 0.0

    def rows(self, seed: int, number: int) -> Float32:
        values = np.random.default_rng([3, seed]).standard_normal((number, DIM), np.float32)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    def queries(self, number: int) -> Float32:
        return self.rows(10**6, number)


def keys_of(number: int) -> list[str]:
    """Return the shards that hold so many rows."""
    return [f"s{first // SHARD:04d}-{min(SHARD, number - first)}" for first in range(0, number, SHARD)]


def build(folder: Path, kind: str, generator: Realistic | Isotropic, number: int) -> storage.DescriptorSet:
    """Write shards, unless they are there, and open them."""
    artifact = storage.open_artifact(folder, "descriptors", {"kind": kind, "weight": generator.weight})
    keys = keys_of(number)
    for first, key in zip(range(0, number, SHARD), keys, strict=True):
        rows = min(SHARD, number - first)
        if not storage.has_descriptors(artifact, key):
            values = generator.rows(first, rows).astype(np.float16)
            ids = tuple(f"{i}" for i in range(first, first + rows))
            storage.write_descriptors(
                artifact, key, Descriptors(ids, values), storage.ShardStats(rows, 0.0, 0, machine())
            )
    return storage.DescriptorSet(artifact, keys)


def maps(database: storage.DescriptorSet, number: int) -> Iterator[NDArray[np.float16]]:
    """Yield the memory-mapped files, as anybody would open them."""
    for key in keys_of(number):
        yield np.load(database.artifact.folder / f"{key}.npy", mmap_mode="r")
