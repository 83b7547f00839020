"""The scatter of descriptors around their mean, and around the means of their classes.

Letters: N descriptors, D dimensions, C classes, R directions. All sums are float64, whatever the input, and
are gathered in blocks, so a memory-mapped million of descriptors is read once and never held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError, DatasetError
from ilion.types import Float64, Int64, Value
from ilion.wording import counted

LARGEST = 12_288
"""Largest side of a square matrix that is decomposed: 1.2 GB in float64."""
BLOCK = 4096
"""Descriptors summed at once."""
_RELATIVE = 1e-10
"""Variances below this share of the largest one are rounding."""


@dataclass(frozen=True)
class Spectrum(Value):
    """Main directions of a scatter.

    Args:
        directions: (R, D) float64, orthonormal rows.
        variances: (R,) float64, positive, descending; all others of the D variances are zero.
        dim: Number D of dimensions.
    """

    directions: Float64
    variances: Float64
    dim: int

    def shrunk(self, shrinkage: float) -> tuple[Float64, float]:
        """Move all variances towards their mean (the target of Ledoit and Wolf, J. Multivar. Anal. 2004).

        Args:
            shrinkage: Share of their mean, from 0 (as measured) to 1 (all equal).

        Returns:
            (R,) variances along the directions, and the variance of everything orthogonal to them.

        >>> Spectrum(np.eye(1, 2), np.array([4.0]), 2).shrunk(0.5)
        (array([3.]), 1.0)
        """
        mean = float(self.variances.sum()) / self.dim
        return (1 - shrinkage) * self.variances + shrinkage * mean, shrinkage * mean


@dataclass(frozen=True)
class ClassMeans(Value):
    """What is known of each class.

    Args:
        means: (C, D) float64.
        counts: (C,) int64, all at least 1.
    """

    means: Float64
    counts: Int64

    @property
    def mean(self) -> Float64:
        """(D,) mean of all descriptors."""
        return np.asarray(self.counts @ self.means / self.counts.sum())


def float64_blocks(values: NDArray[np.floating]) -> Iterator[tuple[slice, Float64]]:
    """Yield (rows, float64 block) of a possibly memory-mapped array, in order."""
    for start in range(0, len(values), BLOCK):
        rows = slice(start, min(start + BLOCK, len(values)))
        yield rows, np.asarray(values[rows], np.float64)


def class_means(values: NDArray[np.floating], labels: Int64) -> ClassMeans:
    """Average the descriptors of each class.

    Args:
        values: (N, D).
        labels: (N,) classes 0 to C - 1, none of them empty.

    Raises:
        DatasetError: The labels do not fit the descriptors or leave a class empty.

    >>> class_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1])).means.tolist()
    [[2.0], [5.0]]
    """
    if values.ndim != 2 or labels.shape != (len(values),) or not len(values):
        raise DatasetError(f"{labels.shape} labels do not fit descriptors of shape {values.shape}")
    if labels.min() < 0:
        raise DatasetError("a class number is negative; number classes from 0")
    counts = np.bincount(labels)
    if not counts.all():
        raise DatasetError(
            f"class {int(np.flatnonzero(counts == 0)[0])} has no descriptor; number classes from 0"
        )
    sums = np.zeros((len(counts), values.shape[1]))
    for rows, block in float64_blocks(values):
        order = np.argsort(labels[rows], kind="stable")
        of = labels[rows][order]
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        sums[of[starts]] += np.add.reduceat(block[order], starts, axis=0)
    return ClassMeans(sums / counts[:, None], counts)


def spectrum(values: NDArray[np.floating], centres: Float64, labels: Int64 | None = None) -> Spectrum:
    """Decompose the scatter around a mean, or around the mean of each descriptor's class.

    The matrix that is decomposed has the smaller of both sides, N or D.

    Args:
        values: (N, D).
        centres: (D,) one mean, or (C, D) one per class.
        labels: (N,) classes, where there is one mean per class.

    Raises:
        ConfigError: Both sides are too large to decompose.
        DatasetError: There is no scatter: all descriptors equal their centre.
    """
    n, dim = values.shape
    if min(n, dim) > LARGEST:
        raise ConfigError(
            f"{counted(n, 'descriptor')} of {counted(dim, 'dimension')}: a matrix of "
            f"{counted(min(n, dim), 'row')} is too large to decompose "
            f"(at most {LARGEST}); learn from fewer photos, or choose method 'linear'"
        )

    def centred() -> Iterator[tuple[slice, Float64]]:
        for rows, block in float64_blocks(values):
            block -= centres if labels is None else centres[labels[rows]]
            yield rows, block

    if n <= dim:
        everything = np.empty((n, dim))
        for rows, block in centred():
            everything[rows] = block
        variances, vectors = np.linalg.eigh(everything @ everything.T / n)
        kept = _kept(variances)
        directions = (vectors[:, kept].T @ everything) / np.sqrt(n * variances[kept])[:, None]
    else:
        covariance = np.zeros((dim, dim))
        for _, block in centred():
            covariance += block.T @ block
        variances, vectors = np.linalg.eigh(covariance / n)
        kept = _kept(variances)
        directions = vectors[:, kept].T
    return Spectrum(np.ascontiguousarray(directions), variances[kept], dim)


def _kept(variances: Float64) -> Int64:
    """Return which variances are more than rounding, largest first."""
    if variances[-1] <= 0:
        raise DatasetError("the descriptors do not scatter: all equal their centre")
    return np.flatnonzero(variances > variances[-1] * _RELATIVE)[::-1]
