"""Scales and rotations, whatever the extractor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ilion.descriptors import pooling
from ilion.descriptors.base import ExtractorSpec, Fittable, TextExtractor
from ilion.descriptors.views import add_views, make_view
from ilion.errors import ConfigError
from ilion.types import RGB, Float32


def _images(*sizes: tuple[int, int]) -> list[RGB]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


class _Brightness:
    """Describes an image by its mean colour; its texts and its state are for the wrapper to pass on."""

    spec = ExtractorSpec("brightness", "none", "1", 3, "long", 16, (0.0,) * 3, (1.0,) * 3, "head", "MIT")

    def extract(self, images: Sequence[RGB]) -> Float32:
        means = np.array([image[: len(image) // 2].mean(axis=(0, 1)) for image in images])
        result: Float32 = pooling.l2_normalise(means.astype(np.float32))
        return result


def test_views_are_averaged_by_hand() -> None:
    image = _images((8, 16))[0]
    inner = _Brightness()
    viewed = add_views(inner, (1.0,), (0, 90, 180, 270))
    turns = [np.rot90(image, k) for k in range(4)]
    mean = inner.extract(turns).mean(axis=0)
    np.testing.assert_allclose(viewed.extract([image])[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert (viewed.spec.scales, viewed.spec.rotations) == ((1.0,), (0, 90, 180, 270))
    assert add_views(inner, (1.0,), (0,)) is inner


@pytest.mark.parametrize(
    ("scales", "rotations", "message"),
    [
        ((0.0,), (0,), "scales must be positive"),
        ((float("nan"),), (0,), "scales must be positive"),
        ((1.0,), (45,), "multiples of 90"),
        ((1.0,), (0, 360), "different multiples"),
        ((1.0,), (), "different multiples"),
    ],
)
def test_impossible_views(scales: tuple[float, ...], rotations: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        add_views(_Brightness(), scales, rotations)


def test_views_keep_text_and_fitting() -> None:
    class Texts(_Brightness):
        def extract_text(self, texts: Sequence[str]) -> Float32:
            return np.full((len(texts), 3), 3**-0.5, np.float32)

    class Learner(_Brightness):
        def __init__(self) -> None:
            self.learnt: dict[str, Any] = {}

        def fit(self, images: Sequence[RGB], seed: int) -> None:
            self.learnt = {"seed": seed, "images": len(images)}

        def state(self) -> dict[str, Any]:
            return self.learnt

        def load_state(self, state: dict[str, Any]) -> None:
            self.learnt = state

    texts = add_views(Texts(), (1.0,), (0, 90))
    assert isinstance(texts, TextExtractor)
    assert texts.extract_text(["a", "b"]).shape == (2, 3)
    learner = add_views(Learner(), (1.0,), (0, 90))
    assert isinstance(learner, Fittable)
    assert not isinstance(learner, TextExtractor)
    learner.fit(_images((8, 8), (8, 8)), 5)
    assert learner.state() == {"seed": 5, "images": 2}
    learner.load_state({"seed": 6})
    assert learner.state() == {"seed": 6}


def test_scaled_views_see_the_same_picture() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 5, dtype=np.uint8)[None, :, None], (24, 48, 3))
    half = make_view(np.ascontiguousarray(ramp), 0.5, 0)
    assert half.shape == (12, 24, 3)
    # Pixel pairs 0 and 5, 10 and 15, ... average to 2.5, 12.5, ...
    np.testing.assert_allclose(half[0, :, 0], np.arange(24) * 10 + 2.5, atol=0.6)
    assert make_view(np.ascontiguousarray(ramp), 1.414, 90).shape == (68, 34, 3)
