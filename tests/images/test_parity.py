"""Images against Pillow, an independent implementation of nearly everything here."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.bad_images import BUSY, SMOOTH, encode, orientation_exif

from ilion.images import decode, least_size, resize
from ilion.images.colour import turn_upright
from ilion.types import RGB


def photo_like(height: int, width: int, seed: int = 0) -> RGB:
    """Draw a picture with the spectrum of photos (amplitude falls as 1 / frequency), and hard edges."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    spectrum = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    texture = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / max(height, width)), (height, width))
    image = np.clip(128 + 50 * texture / texture.std(), 0, 255).transpose(1, 2, 0)
    image[height // 4 : height // 2, width // 3 : width // 2] = (250, 240, 20)
    return np.asarray(image, np.uint8)


def difference(a: RGB, b: RGB) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("side", [384, 260, 224, 190, 120, 80, 50, 333, 339])
def test_shrinking_equals_pillows_antialiased_bicubic(side: int) -> None:
    image = photo_like(300, 400)
    result = resize(image, "long", side)
    height, width = result.shape[:2]
    pillow = Image.fromarray(image)
    bicubic = np.asarray(pillow.resize((width, height), Image.Resampling.BICUBIC))
    bilinear = np.asarray(pillow.resize((width, height), Image.Resampling.BILINEAR))
    assert difference(result, bicubic) < 1
    assert difference(result, bicubic) < 0.35 * difference(bilinear, bicubic)


@pytest.mark.parametrize("side", [401, 480, 800])
def test_enlarging_is_close_to_pillows_bicubic(side: int) -> None:
    image = photo_like(300, 400)
    result = resize(image, "long", side)
    height, width = result.shape[:2]
    assert difference(result, np.asarray(Image.fromarray(image).resize((width, height), 3))) < 1.6


@pytest.mark.parametrize("mode", ["square", "center-crop", "short"])
def test_other_modes_are_those_of_pillow(mode: str) -> None:
    image = photo_like(200, 400)
    pillow = Image.fromarray(image)
    if mode == "square":
        expected = pillow.resize((150, 150), 3)
        result = resize(image, "square", 150)
    elif mode == "center-crop":
        expected = ImageOps.fit(pillow, (150, 150), Image.Resampling.BICUBIC)
        result = resize(image, "center-crop", 150)
    else:
        expected = pillow.resize((300, 150), 3)
        result = resize(image, "short", 150)
    assert difference(result, np.asarray(expected)) < 1.2


@pytest.mark.parametrize("value", range(1, 9))
def test_orientations_are_those_of_pillow(value: int) -> None:
    data = encode(SMOOTH, "PNG", exif=orientation_exif(value))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode(data).image, expected)
    np.testing.assert_array_equal(turn_upright(SMOOTH, value), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpeg_pixels_are_those_of_pillow(mode: str, options: dict[str, object]) -> None:
    data = encode(Image.fromarray(BUSY).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert difference(decode(data).image, expected) <= 0.01


@pytest.mark.slow
def test_a_fraction_of_a_jpeg_then_resized_is_close_to_the_whole_resized_by_pillow() -> None:
    data = encode(photo_like(1200, 1600), "JPEG", quality=90)
    decoded = decode(data, at_least=least_size("long", 384))
    assert decoded.image.shape[1] < 1600
    expected = np.asarray(Image.open(io.BytesIO(data)).resize((384, 288), Image.Resampling.BICUBIC))
    assert difference(resize(decoded.image, "long", 384), expected) < 2


@pytest.mark.grocery
def test_real_photos_come_out_as_from_pillow(grocery: Path) -> None:
    for path in sorted(grocery.glob("ilias_core/*/*/*.jpg"))[::40]:
        data = path.read_bytes()
        with Image.open(path) as file:
            pillow = ImageOps.exif_transpose(file).convert("RGB")
        decoded = decode(data, where=str(path))
        assert difference(decoded.image, np.asarray(pillow)) <= 0.01
        result = resize(decoded.image, "long", 224)
        expected = np.asarray(pillow.resize(result.shape[1::-1], Image.Resampling.BICUBIC))
        assert difference(result, expected) < 1
