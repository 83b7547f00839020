"""What rounding can do to an inner product, and a cheap upper bound of one.

All bounds are deterministic: they hold for every order of summation, with or without fused multiply-add
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1), not only most of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilion.types import Float32, Float64, Value

UNIT = 2.0**-24
"""Unit roundoff of float32."""
FLOOR = 2.0**-74
"""Largest error, over sqrt(D), of a float32 norm whose tiniest squares vanish."""
BASIS_ROWS = 4096
"""Largest number of rows, and of queries, that directions are learnt on."""
FROM_ROWS = 2048
"""Dimensions up to which moments are a (D, D) matrix; above, the same basis comes from as many rows."""


def gamma(terms: int) -> float:
    """Return the relative error of a float32 sum of so many rounded products, as a share of |a| |b|.

    >>> 1.9e-6 < gamma(32) < 2e-6
    True
    """
    return terms * UNIT / (1.0 - terms * UNIT)


def product_error(dim: int) -> float:
    """Return the error of a float32 inner product, as a share of both norms.

    Four units more cover the rounding of the norms and of the final similarity to float32.
    """
    return 1.001 * (gamma(dim) + 4.0 * UNIT)


def norms_of(rows: Float32) -> Float32:
    """Return the norms (N,) of rows, never too small: rounded up by more than their error."""
    return norms_from(np.einsum("nd,nd->n", rows, rows), rows.shape[1])


def norms_from(squares: Float32, dim: int) -> Float32:
    """Return the same from float32 sums of ``dim`` squares, in whatever order they were added."""
    return np.asarray(
        np.sqrt(squares) * np.float32(1.0 + gamma(dim + 4)) + np.float32(FLOOR * np.sqrt(dim)), np.float32
    )


def leading_basis(rows: Float32, queries: Float32, dims: int) -> Float32:
    """Return the orthonormal directions (D, dims) along which rows and queries vary most, the first first.

    Both count alike. They are the leading eigenvectors of the sum of both second moments (not centred: an
    inner product is not either).

    Args:
        rows: (S, D) sample of the database.
        queries: (Q, D).
        dims: Number of directions, at most D.
    """
    dim = rows.shape[1]
    parts = []
    for values in (rows, queries):
        most = BASIS_ROWS if dim <= FROM_ROWS else FROM_ROWS // 2
        values = values[:: max(1, len(values) // most)][:most]
        wide = values.astype(np.float64)
        parts.append(wide / max(float(np.linalg.norm(wide)), 1e-200))
    stacked = np.concatenate(parts)
    if dim <= FROM_ROWS:
        basis = np.linalg.eigh(stacked.T @ stacked)[1][:, ::-1][:, :dims]
    else:
        values, vectors = np.linalg.eigh(stacked @ stacked.T)
        usable = min(dims, int((values > 1e-9 * values[-1]).sum()))
        basis, _ = np.linalg.qr(stacked.T @ vectors[:, ::-1][:, :usable])
    return np.ascontiguousarray(basis, np.float32)


@dataclass(frozen=True)
class Filter(Value):
    """An upper bound of inner products from a few dimensions.

    With the projections p = V'q and y = V'x and what they leave, |q|^2 - |p|^2 and |x|^2 - |y|^2, the
    Cauchy-Schwarz inequality gives

        q.x <= p.y + sqrt(|q|^2 - |p|^2) sqrt(|x|^2 - |y|^2) + c |q| |x|.

    c |q| |x| covers all rounding, and that the columns of V are orthonormal only nearly. The bound is itself
    an inner product of d + 2 terms, so one small matrix product bounds all pairs.

    Args:
        basis: (D, d + 2) float32 V, and two columns of zeros where the two other terms will stand.
        queries: (Q, d + 2) float32: p, what it leaves, and c |q|.
        share: Added to |x|^2 - |y|^2 for rounding, as a share of |x|^2.
    """

    basis: Float32
    queries: Float32
    share: float

    @classmethod
    def of(cls, basis: Float32, queries: Float32) -> Filter:
        """Make the filter of queries (Q, D) from the columns of a basis (D, d)."""
        dim, d = basis.shape
        exact: Float64 = basis.astype(np.float64)
        # |V'V - I|: what is off because the columns are orthonormal only nearly
        skew = float(np.linalg.norm(exact.T @ exact - np.eye(d)))
        # |computed V'x - V'x| <= lost |x|: each of d terms errs by at most gamma(D) |v| |x|
        lost = 1.01 * gamma(dim) * np.sqrt(d)
        share = 1.01 * (2.1 * lost + 2.0 * gamma(dim) + skew)
        slack = 1.01 * (lost + skew + gamma(d + 3) + 8.0 * UNIT)
        wide = queries.astype(np.float64)
        projected = wide @ exact
        squares = (wide**2).sum(axis=1)
        # rounding and skew could make what is left look smaller than it is, and then the bound would be too
        # low: both are added, so that it is never below the true value
        left = np.maximum(squares - (projected**2).sum(axis=1), 0.0) + (skew + 4.0 * UNIT) * squares
        bound = np.concatenate(
            [projected, np.sqrt(left)[:, None] + FLOOR, slack * np.sqrt(squares)[:, None] + FLOOR], axis=1
        )
        padded = np.concatenate([basis, np.zeros((dim, 2), np.float32)], axis=1)
        return cls(padded, np.ascontiguousarray(bound, np.float32), share)

    def project(self, rows: Float32, norms: Float32) -> Float32:
        """Return the other side of the bound: (N, d + 2) of rows (N, D) and their norms (N,)."""
        sides = rows @ self.basis
        inside = np.einsum("nd,nd->n", sides, sides)
        squares = norms * norms
        left = np.maximum(squares - inside, 0.0) + np.float32(self.share) * squares
        sides[:, -2] = np.sqrt(left) + np.float32(FLOOR * np.sqrt(rows.shape[1]))
        sides[:, -1] = norms
        return sides
