"""Several views of one image, averaged: image scales and rotations, for any extractor.

The scales 0.707, 1 and 1.414 are those of Radenović et al. (PAMI 2018); each view is L2-normalised before the
mean, and the mean again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ilion.descriptors.base import Extractor, ExtractorSpec, Fittable, TextExtractor
from ilion.descriptors.pooling import l2_normalise
from ilion.descriptors.texts import count_long
from ilion.errors import ConfigError
from ilion.images import resize, rotate
from ilion.types import RGB, Float32


def make_view(image: RGB, scale: float, rotation: int) -> RGB:
    """Return an image at another scale and rotation.

    Args:
        image: (H, W, 3), already resized for the model.
        scale: Factor of the longer side, which is rounded to whole pixels; the aspect is kept.
        rotation: Degrees counter-clockwise, a multiple of 90.

    >>> make_view(np.zeros((10, 20, 3), np.uint8), 0.5, 90).shape
    (10, 5, 3)
    """
    longer = max(1, round(max(image.shape[:2]) * scale))
    return rotate(resize(image, "long", longer), rotation)


class MultiView:
    """An extractor whose descriptor is the normalised mean over scales and rotations.

    Args:
        extractor: Extractor of each view.
        scales: Positive factors.
        rotations: Degrees, multiples of 90.
        code: Digest of the extractor's code, if that is not Ilion's own.

    Raises:
        ConfigError: A scale or rotation is not possible.
    """

    def __init__(
        self, extractor: Extractor, scales: Sequence[float], rotations: Sequence[int], code: str = ""
    ) -> None:
        if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
            raise ConfigError(f"scales must be positive numbers, got {list(scales)}")
        if (
            not rotations
            or any(r % 90 for r in rotations)
            or len({r % 360 for r in rotations}) < len(rotations)
        ):
            raise ConfigError(f"rotations must be different multiples of 90 degrees, got {list(rotations)}")
        self._inner: Any = extractor
        self._scales = tuple(float(s) for s in scales)
        self._rotations = tuple(r % 360 for r in rotations)
        self._code = code

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        spec: ExtractorSpec = self._inner.spec
        options = {**spec.options, "code": self._code} if self._code else spec.options
        return replace(spec, scales=self._scales, rotations=self._rotations, options=options)

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe all views of the images; returns (B, D) float32, each row L2-normalised."""
        if (self._scales, self._rotations) == ((1.0,), (0,)):
            alone: Float32 = self._inner.extract(images)
            return alone
        total = np.zeros((len(images), self._inner.spec.dim), np.float32)
        # One view of all images at a time, so that equal shapes still form full batches.
        for scale in self._scales:
            for rotation in self._rotations:
                total += self._inner.extract([make_view(image, scale, rotation) for image in images])
        result: Float32 = l2_normalise(total)
        return result


class _TextMultiView(MultiView):
    def extract_text(self, texts: Sequence[str]) -> Float32:
        """Describe texts, which have no views."""
        result: Float32 = self._inner.extract_text(texts)
        return result

    def count_long(self, texts: Sequence[str]) -> int:
        """Count the texts that exceed what the model reads."""
        return count_long(self._inner, texts)


class _FittableMultiView(MultiView):
    def fit(self, images: Iterable[RGB], seed: int) -> None:
        """Learn from the images as they are."""
        self._inner.fit(images, seed)

    def state(self) -> dict[str, Any]:
        """Return the learnt arrays by name."""
        state: dict[str, Any] = self._inner.state()
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the learnt arrays back."""
        self._inner.load_state(state)


def add_views(
    extractor: Extractor,
    scales: Sequence[float] | None = None,
    rotations: Sequence[int] | None = None,
    code: str = "",
) -> Extractor:
    """Wrap an extractor, unless the image itself is its only view; a text tower or something to fit stays.

    Args:
        extractor: Any.
        scales: Positive factors; None means the image's own.
        rotations: Degrees, multiples of 90; None means none.
        code: Digest of the code of an extractor from outside, which then belongs to its spec.

    Raises:
        ConfigError: A scale or rotation is not possible.
    """
    scales = (1.0,) if scales is None else scales
    rotations = (0,) if rotations is None else rotations
    if (tuple(scales), tuple(rotations), code) == ((1.0,), (0,), ""):
        return extractor
    kind = MultiView
    if isinstance(extractor, TextExtractor):
        kind = _TextMultiView
    elif isinstance(extractor, Fittable):
        kind = _FittableMultiView
    return kind(extractor, scales, rotations, code)
