"""Aggregated RootSIFT: a codebook learnt on the database's own photos, one residual sum a word.

RootSIFT: Arandjelović and Zisserman, CVPR 2012. VLAD: Jégou et al., CVPR 2010; the signed power normalisation
is from Perronnin et al., ECCV 2010. Words and dimensions were chosen on real photos (docs/models.md): many
words of few dimensions beat few words of many; whitening or a learnt projection is left out because it
collapses when the sample is unlike the queries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.base import ExtractorOptions, ExtractorSpec
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.descriptors.rootsift import rootsift
from ilion.errors import ConfigError, ExtractionError
from ilion.images import resize
from ilion.runtime.clusters import learn_centroids
from ilion.runtime.threads import in_order, single_threaded_products
from ilion.types import RGB, Float32
from ilion.wording import counted

KEYPOINTS = 1000
"""Keypoints an image."""
SAMPLE_PER_IMAGE = 250
"""Descriptors of one image that take part in learning the codebook."""
POWER = 0.5
"""Exponent of the signed power normalisation."""


@BACKENDS.register("vlad")
def build(info: ModelInfo, options: ExtractorOptions) -> VladExtractor:
    """Build an extractor that must be fitted before use.

    Raises:
        ConfigError: A setting that a codebook does not have.
    """
    for name in ("weights", "pooling", "scales", "rotations", "resize"):
        if getattr(options, name):
            raise ConfigError(
                f"{info.name}: the setting '{name}' does not apply to aggregated local descriptors"
            )
    return VladExtractor(
        info.name,
        words=int(str(info.settings["words"])),
        dims=int(str(info.settings["dims"])),
        side=options.side or info.side,
        threads=options.threads,
    )


class VladExtractor:
    """VLAD of RootSIFT reduced by PCA.

    Args:
        name: Model name.
        words: Size of the codebook.
        dims: Dimensions of a local descriptor after PCA.
        side: Longer side of the image in pixels.
        threads: Number of images described at once; 0 means one per core.
    """

    def __init__(self, name: str, *, words: int, dims: int, side: int, threads: int = 0) -> None:
        self._words, self._dims, self._threads = words, dims, threads
        self._mean: Float32 = np.empty(0, np.float32)
        self._basis: Float32 = np.empty((0, 0), np.float32)
        self._codebook: Float32 = np.empty((0, 0), np.float32)
        self._spec = ExtractorSpec(
            name=name,
            weights="learnt on the database",
            revision="unfitted",
            dim=words * dims,
            resize="long",
            side=side,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            pooling="vlad",
            licence="MIT",
            options={"words": words, "dims": dims, "keypoints": KEYPOINTS, "power": POWER},
        )

    @property
    def spec(self) -> ExtractorSpec:
        """The spec; its revision is the digest of the codebook."""
        return self._spec

    def fit(self, images: Iterable[RGB], seed: int) -> None:
        """Learn PCA and codebook.

        Raises:
            ExtractionError: The images hold fewer keypoints than the codebook has words.
        """
        rng = np.random.default_rng(seed)
        parts = []
        for _, future in in_order(images, self._local, workers=self._threads):
            found = future.result()
            parts.append(found[rng.permutation(len(found))[:SAMPLE_PER_IMAGE]])
        sample = np.concatenate(parts).astype(np.float32) if parts else np.empty((0, 128), np.float32)
        if len(sample) < 4 * self._words:
            raise ExtractionError(
                f"{self._spec.name}: the database shows only {len(sample)} keypoints, too few to learn "
                f"{counted(self._words, 'word')}; use --model efficientnet-lite2, which learns nothing"
            )
        mean: Float32 = sample.mean(axis=0)
        with single_threaded_products():
            variance, vectors = np.linalg.eigh(np.cov((sample - mean).T))
            basis = vectors[:, np.argsort(-variance)[: self._dims]].astype(np.float32)
            reduced = np.asarray((sample - mean) @ basis, np.float32)
        codebook = learn_centroids(reduced, self._words, seed=seed, rounds=15, workers=self._threads)
        self.load_state({"mean": mean, "basis": basis, "codebook": codebook})

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learnt arrays: mean (128,), basis (128, d), codebook (words, d)."""
        self._require_fit()
        return {"mean": self._mean, "basis": self._basis, "codebook": self._codebook}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take learnt arrays back.

        Raises:
            ExtractionError: The shapes are not those of this model.
        """
        expected = {"mean": (128,), "basis": (128, self._dims), "codebook": (self._words, self._dims)}
        for name, shape in expected.items():
            if name not in state or state[name].shape != shape or not np.isfinite(state[name]).all():
                raise ExtractionError(
                    f"{self._spec.name}: the codebook's {name!r} is not a finite {shape} array"
                )
        arrays = {name: np.ascontiguousarray(state[name], np.float32) for name in expected}
        self._mean, self._basis, self._codebook = arrays["mean"], arrays["basis"], arrays["codebook"]
        digest = hashlib.blake2b(b"".join(arrays[name].tobytes() for name in sorted(arrays)), digest_size=8)
        self._spec = replace(self._spec, revision=digest.hexdigest())

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe images; (B, D) float32, L2-normalised.

        An image without keypoints gets the unit vector of the first component: nearly orthogonal to every
        other image, and equal to other images without keypoints.

        Raises:
            ExtractionError: `fit` or `load_state` was not called.
        """
        self._require_fit()
        found = in_order(images, lambda image: self._aggregate(self._local(image)), workers=self._threads)
        return np.array([future.result() for _, future in found], np.float32).reshape(len(images), -1)

    def _require_fit(self) -> None:
        if self._mean.size == 0:
            raise ExtractionError(f"{self._spec.name}: its codebook must be learnt (fit) or loaded first")

    def _local(self, image: RGB) -> Float32:
        return rootsift(resize(image, "long", self._spec.side), KEYPOINTS).descriptors.astype(np.float32)

    def _aggregate(self, local: Float32) -> Float32:
        """Sum the residuals (M, 128) word by word."""
        if len(local) == 0:
            lonely = np.zeros(self._words * self._dims, np.float32)
            lonely[0] = 1.0
            return lonely
        # in float64: the last bits of a float32 product depend on how many threads share it
        basis, codebook = self._basis.astype(np.float64), self._codebook.astype(np.float64)
        reduced = ((local - self._mean) @ basis).astype(np.float32)
        nearest = np.argmax(reduced @ codebook.T - 0.5 * np.square(codebook).sum(axis=1), axis=1)
        residuals = reduced - self._codebook[nearest]
        sums = np.stack([np.bincount(nearest, column, self._words) for column in residuals.T], axis=1).ravel()
        powered = np.sign(sums) * np.abs(sums) ** POWER
        return np.asarray(powered / np.linalg.norm(powered), np.float32)
