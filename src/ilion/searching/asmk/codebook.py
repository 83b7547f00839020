"""Visual words, and the projection of residuals whose signs are stored.

Letters: W words, d dimensions of a local descriptor, b components of a residual.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.runtime.clusters import find_nearest, learn_centroids
from ilion.runtime.threads import single_threaded_products
from ilion.storage import read_arrays, write_arrays
from ilion.types import Float32, Int64, LocalFeatures, Value
from ilion.wording import counted

SAMPLE_PER_WORD = 60
"""Descriptors that take part in k-means for each word; faiss calls fewer than 39 too few."""
ITERATIONS = 10
DIMS = 64
"""Dimensions of residuals kept by PCA. The other 64 of RootSIFT hold 10% of the variance; 128 bits of the
first 64 find as much as 128 bits of all (docs/asmk.md)."""
WHITENING = 0.25
"""Exponent of the eigenvalues by which components are divided: half of the way to whitening. It lets the
random rotation spread information over more bits; none and full whitening (0.5) found a little less."""
MAX_PRODUCTS = 2**24
"""Similarities of descriptors and words held at once (64 MiB)."""


@dataclass(frozen=True)
class Codebook(Value):
    """What local features are aggregated by. The same codebook must serve queries and database.

    Args:
        words: (W, d) float32, centroids.
        projection: (d, b) float32, applied to residuals; b is a multiple of 64 where ``binary``.
        weights: (W,) float32, positive, the weight of each word in the kernel.
        binary: Keep only the signs of aggregated residuals, one bit a component; else float16.

    Raises:
        ArtifactError: Shapes do not fit together, or a value is not finite.
    """

    words: Float32
    projection: Float32
    weights: Float32
    binary: bool = True

    def __post_init__(self) -> None:
        fits = (
            self.words.ndim == 2
            and self.projection.ndim == 2
            and len(self.projection) == self.words.shape[1]
            and self.weights.shape == (len(self.words),)
        )
        if not fits:
            raise ArtifactError(
                f"codebook: words {self.words.shape}, projection {self.projection.shape} and weights "
                f"{self.weights.shape} do not fit together"
            )
        for name in ("words", "projection", "weights"):
            if not np.isfinite(getattr(self, name)).all():
                raise ArtifactError(f"codebook: the {name} have NaN or infinity")
        if not (self.weights > 0).all():
            raise ArtifactError("codebook: the weights must be positive")
        if self.binary and self.projection.shape[1] % 64:
            raise ArtifactError(f"codebook: {self.projection.shape[1]} bits, must be a multiple of 64")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def components(self) -> int:
        """Components b of a residual, which are the bits of a binary one."""
        return int(self.projection.shape[1])

    @cached_property
    def digest(self) -> str:
        """Digest of everything; what is indexed with another codebook must not be mixed."""
        digest = hashlib.blake2b(repr((self.words.shape, self.binary)).encode(), digest_size=16)
        for array in (self.words, self.projection, self.weights):
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
        return digest.hexdigest()

    @cached_property
    def _half_norms(self) -> Float32:
        return np.asarray(0.5 * np.square(self.words).sum(axis=1), np.float32)

    def assign(self, descriptors: NDArray[np.generic], count: int = 1) -> Int64:
        """Find the nearest words of each descriptor.

        Args:
            descriptors: (M, d).
            count: Words a descriptor, at most W.

        Returns:
            (M, count) words, nearest first.

        Raises:
            ArtifactError: The descriptors have another dimension, or are not finite numbers.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.words.shape[1]:
            raise ArtifactError(
                f"descriptors are {descriptors.shape}, the codebook was learnt from {self.words.shape[1]} "
                "dimensions; extract both with the same settings"
            )
        values = np.asarray(descriptors, np.float32)
        if not np.isfinite(values).all():
            raise ArtifactError("a local descriptor has NaN or infinity; extract it again")
        count = min(count, len(self))
        nearest = np.empty((len(values), count), np.int64)
        step = max(1, MAX_PRODUCTS // max(1, len(self)))
        for start in range(0, len(values), step):
            closeness = values[start : start + step] @ self.words.T - self._half_norms
            lines = np.arange(len(closeness))
            # a few rounds of argmax are faster than a partial sort of thousands of words
            for place in range(count):
                best = closeness.argmax(axis=1)
                nearest[start : start + step, place] = best
                closeness[lines, best] = -np.inf
        return nearest


def learn_codebook(
    sample: Iterable[LocalFeatures],
    *,
    words: int = 4096,
    bits: int = 128,
    binary: bool = True,
    idf: bool = False,
    seed: int = 0,
) -> Codebook:
    """Learn words by k-means, and the projection of residuals: PCA, half whitening, random rotation.

    A rotation into more components than there are dimensions makes the Hamming distance follow the angle
    more closely than one bit a dimension would (locality-sensitive hashing with an orthogonal basis: Ji et
    al., "Super-bit locality-sensitive hashing", NeurIPS 2012).

    Args:
        sample: Features of some images, best of the database itself; read once. They are held in memory, so
            the caller bounds how many there are.
        words: Size W of the codebook.
        bits: Components b of a stored residual, a multiple of 64 (any number where not ``binary``).
        binary: See `Codebook`.
        idf: Weigh a word by the logarithm of (images of the sample / images that show it); else all weigh 1.
        seed: The same sample and seed give the same codebook, whatever the number of threads.

    Raises:
        ConfigError: A size is out of range.
        ExtractionError: The sample has too few features.
        ArtifactError: The features differ in dimension, or are not finite.
    """
    if words < 1 or bits < 1 or (binary and bits % 64):
        raise ConfigError(f"a codebook needs words > 0 and bits in multiples of 64, got {words} and {bits}")
    parts = [np.asarray(features.descriptors, np.float32) for features in sample]
    parts = [part for part in parts if len(part)]
    if len({part.shape[1] for part in parts}) > 1:
        raise ArtifactError("the features of the sample differ in dimension; extract all with one setting")
    count = sum(len(part) for part in parts)
    if count < max(4 * words, 2):
        raise ExtractionError(
            f"the sample shows only {counted(count, 'local feature')}, too few to learn "
            f"{counted(words, 'word')}; use at most {counted(count // 4, 'word')} or a larger sample"
        )
    descriptors = np.concatenate(parts)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(count)[: SAMPLE_PER_WORD * words])
    learnt = learn_centroids(descriptors[chosen], words, seed=seed, rounds=ITERATIONS, most=SAMPLE_PER_WORD)
    nearest = find_nearest(descriptors[chosen], learnt)
    with single_threaded_products():
        projection = _projection(descriptors[chosen] - learnt[nearest], bits, rng)
    weights = np.ones(words, np.float32)
    if idf:
        images = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        weights = _idf(find_nearest(descriptors, learnt), images, words)
    return Codebook(learnt, projection, weights, binary)


def _projection(residuals: Float32, bits: int, rng: np.random.Generator) -> Float32:
    """PCA (no centring: the mean residual of a word is zero), scaling, and orthonormal rows or columns."""
    variances, vectors = np.linalg.eigh(residuals.T.astype(np.float64) @ residuals / len(residuals))
    order = np.argsort(-variances)[:DIMS]
    kept = np.maximum(variances[order], 1e-6 * variances.max(initial=1e-12))
    size = max(len(order), bits)
    rotation = np.linalg.qr(rng.standard_normal((size, size)))[0][: len(order), :bits]
    return np.asarray((vectors[:, order] / kept**WHITENING) @ rotation, np.float32)


def _idf(words: Int64, images: Int64, count: int) -> Float32:
    """Weights log(1 + images / images with the word), positive for words of every image too."""
    total = int(images.max()) + 1
    pairs = np.unique(words * total + images)
    shown = np.bincount(pairs // total, minlength=count)
    return np.asarray(np.log1p(total / np.maximum(shown, 1)), np.float32)


def write_codebook(folder: Path, codebook: Codebook) -> None:
    """Store a codebook as ``codebook.npz``."""
    write_arrays(
        folder / "codebook.npz",
        {
            "words": codebook.words,
            "projection": codebook.projection,
            "weights": codebook.weights,
            "binary": np.array([codebook.binary]),
        },
    )


def read_codebook(folder: Path) -> Codebook:
    """Read what `write_codebook` wrote.

    Raises:
        ArtifactError: The codebook is missing or damaged.
    """
    forms = {"words": ("f", 2), "projection": ("f", 2), "weights": ("f", 1), "binary": ("b", 1)}
    arrays = read_arrays(folder / "codebook.npz", forms)
    return Codebook(arrays["words"], arrays["projection"], arrays["weights"], bool(arrays["binary"][0]))
