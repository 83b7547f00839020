"""From the local features of one image to one aggregated residual a visual word.

As a word counts once however often it occurs, repeated structure does not drown the rest.

Letters: M local features, A aggregates (words that occur in the image), b components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.kernels.hamming import pack_signs
from ilion.searching.asmk.codebook import Codebook
from ilion.searching.asmk.settings import AsmkSettings, selectivity
from ilion.types import Float32, Int64, LocalFeatures, Value

OCTAVES = 8.0
"""Sizes of keypoints from the longer side of the image down to 2^-8 of it fit in a byte."""


@dataclass(frozen=True)
class Aggregates(Value):
    """One image as the kernel sees it.

    Args:
        words: (A,) int64, ascending, unique.
        codes: (A, b / 8) uint8 signs of the components, or (A, b) float16 of unit length.
        frames: (A, 4) uint8, place, size and angle of the word's strongest keypoint (see `frames`).
    """

    words: Int64
    codes: NDArray[np.generic]
    frames: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.words)


def aggregate(features: LocalFeatures, codebook: Codebook, assignments: int = 1) -> Aggregates:
    """Sum the residuals of each word, project and normalise.

    Args:
        features: Local features with real-valued descriptors (M, d).
        codebook: Learnt from descriptors of the same kind.
        assignments: Nearest words that each descriptor goes to; more than one is for queries.

    Raises:
        ArtifactError: The descriptors do not fit the codebook.

    >>> words = np.array([[0.0, 0.0], [10.0, 0.0]], np.float32)
    >>> codebook = Codebook(words, np.eye(2, dtype=np.float32), np.ones(2, np.float32), binary=False)
    >>> descriptors = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    >>> features = LocalFeatures(np.zeros((2, 2), np.float32), descriptors, np.ones(2, np.float32), (8, 8))
    >>> aggregates = aggregate(features, codebook)
    >>> aggregates.words.tolist(), aggregates.codes.round(1).tolist()
    ([0], [[0.60009765625, 0.7998046875]])
    """
    nearest = codebook.assign(features.descriptors, assignments)
    words = nearest.ravel()
    descriptors = np.repeat(np.asarray(features.descriptors, np.float32), nearest.shape[1], axis=0)
    # by word, and the strongest keypoint first
    order = np.lexsort((-np.repeat(features.scores, nearest.shape[1]), words))
    present, starts = np.unique(words[order], return_index=True)
    where = frames(features)[order[starts] // nearest.shape[1]]
    if not len(present):
        vectors = np.zeros((0, codebook.components), np.float32)
    else:
        residuals = (descriptors - codebook.words[words])[order]
        vectors = np.add.reduceat(residuals, starts, axis=0) @ codebook.projection
    if codebook.binary:
        return Aggregates(present, pack_signs(vectors), where)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return Aggregates(present, (vectors / lengths).astype(np.float16), where)


def frames(features: LocalFeatures) -> NDArray[np.uint8]:
    """Bring position, size and orientation of keypoints to one byte each.

    Args:
        features: Local features; scales or angles that are None count as the image's side and 0.

    Returns:
        (M, 4) uint8: x and y in 1/255 of the longer side, size in about 1/32 octave from 2^-8 of the longer
        side on, angle in 1/256 turn.

    >>> point, one = np.array([[50, 100]], np.float32), np.ones(1, np.float32)
    >>> features = LocalFeatures(point, np.zeros((1, 2)), one, (100, 200), scales=200 * one, angles=0 * one)
    >>> frames(features).tolist()
    [[64, 128, 255, 0]]
    """
    side = float(max(features.image_size))
    packed = np.empty((len(features.keypoints), 4), np.uint8)
    packed[:, :2] = np.clip(np.rint(features.keypoints * (255.0 / side)), 0, 255)
    packed[:, 2] = 255
    packed[:, 3] = 0
    if features.scales is not None:
        octaves = np.log2(np.maximum(features.scales, 1e-6) / side)
        packed[:, 2] = np.clip(np.rint((octaves / OCTAVES + 1) * 255), 0, 255)
    if features.angles is not None:
        packed[:, 3] = np.rint(features.angles * (128 / np.pi)).astype(np.int64) % 256
    return packed


def self_similarity(words: Int64, codebook: Codebook) -> float:
    """Return the kernel of an image with itself before normalisation: the weights of its words, summed."""
    return float(codebook.weights[words].sum(dtype=np.float64))


def similarities(a: Aggregates, rows: Int64, b: Aggregates, others: Int64, codebook: Codebook) -> Float32:
    """Compare pairs of aggregates: cosine, or for signs 1 - 2 x (share of differing bits).

    Args:
        a: One image.
        rows: (P,) its aggregates of the pairs.
        b: Another image.
        others: (P,) its aggregates of the pairs.
        codebook: Codebook of both.
    """
    if codebook.binary:
        differing = np.unpackbits(a.codes[rows] ^ b.codes[others], axis=1).sum(axis=1)  # type: ignore[operator]
        return np.asarray(1 - 2 * differing / codebook.components, np.float32)
    x, y = a.codes[rows].astype(np.float32), b.codes[others].astype(np.float32)
    return np.asarray(np.einsum("pb,pb->p", x, y), np.float32)


def kernel(a: Aggregates, b: Aggregates, codebook: Codebook, settings: AsmkSettings) -> float:
    """Compare two images without an inverted file: the kernel of the paper, [0, 1].

    K(X, Y) = n(X) n(Y) sum_c w_c sigma(V(X_c) · V(Y_c)), with n such that K(X, X) = 1. `burst` and `votes`
    of the settings need the database, so they have no effect here.
    """
    _, rows, others = np.intersect1d(a.words, b.words, assume_unique=True, return_indices=True)
    if not len(rows):
        return 0.0
    compared = selectivity(similarities(a, rows, b, others, codebook), settings.alpha, settings.tau)
    total = float((codebook.weights[a.words[rows]] * compared).sum(dtype=np.float64))
    return total / float(np.sqrt(self_similarity(a.words, codebook) * self_similarity(b.words, codebook)))
