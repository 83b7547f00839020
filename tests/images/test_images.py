"""Images: every kind of file, its message or its pixels; and what becomes of them afterwards."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.bad_images import (
    BUSY,
    cases,
    encode,
    jpeg_claiming,
    orientation_exif,
    png_claiming,
    stored,
)

from ilion.errors import ConfigError, ImageError
from ilion.images import (
    EXTENSIONS,
    batches_by_shape,
    crop,
    decode,
    geometry,
    least_size,
    mask,
    probe,
    resize,
    rotate,
)
from ilion.images.decode import MAX_PIXELS
from ilion.images.geometry import FILL
from ilion.types import RGB, Box, Float32, Resize

CASES = cases()
BAD = {name: case for name, case in CASES.items() if case.error}
GOOD = {name: case for name, case in CASES.items() if not case.error}
MODES: tuple[Resize, ...] = get_args(Resize)


def ramp(height: int, width: int) -> RGB:
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [rows * 255 // max(height - 1, 1), columns * 255 // max(width - 1, 1), rows * 0 + 7], 2
    ).astype(np.uint8)


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_an_error_that_says_where_what_and_what_to_do(name: str) -> None:
    case = BAD[name]
    with pytest.raises(ImageError, match=case.error) as caught:
        decode(case.data, where=f"photos/{name}")
    message = str(caught.value)
    assert message.startswith(f"photos/{name}: ")
    remedy = r"fetch|save|convert|export|scale|pull|unpack|update|take a frame"
    assert re.search(remedy, message), message
    if case.header_ok:
        probe(case.data)
    else:
        with pytest.raises(ImageError):
            probe(case.data)


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_file_decodes_to_its_picture(name: str) -> None:
    case = GOOD[name]
    decoded = decode(case.data)
    assert case.pixels is not None
    assert decoded.image.dtype == np.uint8
    assert decoded.image.shape == case.pixels.shape
    assert decoded.image.flags.c_contiguous
    assert decoded.image.flags.writeable
    assert np.abs(decoded.image.astype(int) - case.pixels).mean() <= case.tolerance
    assert decoded.full_size == case.pixels.shape[1::-1]
    assert decoded.scale == (1.0, 1.0)


@pytest.mark.parametrize("name", GOOD)
def test_the_header_says_what_is_odd(name: str) -> None:
    case = GOOD[name]
    facts = probe(case.data)
    assert facts.size == decode(case.data).full_size
    assert {key: getattr(facts, key) for key in case.facts} == case.facts
    if case.warning:
        assert any(case.warning in warning for warning in facts.warnings), facts.warnings
    if name.startswith("plain."):
        assert facts.warnings == ()
        assert Path(name).suffix in EXTENSIONS[facts.format]


def test_there_are_many_kinds() -> None:
    assert len(BAD) >= 30
    assert len(GOOD) >= 60


def test_nothing_but_image_errors_comes_out_of_random_damage() -> None:
    rng = np.random.default_rng(3)
    survived = 0
    for name in (
        "plain.webp",
        "rgba.png",
        "plain.gif",
        "gray_16.tif",
        "plain.jp2",
        "exif_6.jpg",
        "plain.bmp",
    ):
        for _ in range(40):
            data = bytearray(GOOD[name].data)
            for position in rng.integers(0, len(data), 3):
                data[position] = rng.integers(256)
            for function in (probe, decode):
                with suppress(ImageError):
                    function(bytes(data))
                    survived += 1
    assert survived > 50


def test_any_text_is_refused() -> None:
    with pytest.raises(ImageError, match=r"a text file.*'Bonjour, tout le monde!'"):
        decode(b"Bonjour,\n tout le monde!")


def test_too_many_pixels_are_refused_before_anything_is_allocated() -> None:
    for data in (jpeg_claiming(65000, 65000), png_claiming(2**31 - 1, 2**31 - 1)):
        with pytest.raises(ImageError, match=f"more than the limit of {MAX_PIXELS:,}"):
            decode(data)
    with pytest.raises(ImageError, match="48 x 32 pixels, more than the limit of 1,535"):
        decode(GOOD["plain.webp"].data, max_pixels=48 * 32 - 1)
    assert decode(GOOD["plain.webp"].data, max_pixels=48 * 32).full_size == (48, 32)


def test_pillow_limits_and_warnings_of_the_process_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    # Above the limit Pillow warns (an error here), above twice the limit it raises.
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)
    for name in ("animated.gif", "pages.tif", "rgba.png"):
        probe(GOOD[name].data)
        decode(GOOD[name].data)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    for name in ("rgba.png", "plain.bmp"):
        probe(GOOD[name].data)
        decode(GOOD[name].data)
    with pytest.raises(ImageError, match=r"a TIFF above Pillow's own limit of pixels .*scale it down"):
        decode(GOOD["pages.tif"].data)


def test_decoding_in_threads_gives_the_same_and_restores_the_warning_filters() -> None:
    names = [n for n in GOOD if not n.endswith(".jpg")] * 3
    before = list(warnings.filters)
    expected = {name: decode(GOOD[name].data).image for name in set(names)}
    with ThreadPoolExecutor(8) as pool:
        for name, decoded in zip(names, pool.map(lambda n: decode(GOOD[n].data), names), strict=True):
            np.testing.assert_array_equal(decoded.image, expected[name])
    assert warnings.filters == before


# --- decoding at a fraction --------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("at_least", [(1, 1), (100, 1), (1, 100), (200, 150), (256, 192), (4000, 1)])
def test_a_fraction_is_large_enough_and_the_boxes_follow(at_least: tuple[int, int], orientation: int) -> None:
    pixels = np.ascontiguousarray(stored(BUSY, orientation))
    data = encode(pixels, "JPEG", quality=95, exif=orientation_exif(orientation))
    decoded = decode(data, at_least=at_least)
    height, width = decoded.image.shape[:2]
    assert decoded.full_size == (256, 192)
    assert width >= min(at_least[0], 256)
    assert height >= min(at_least[1], 192)
    # A cell of BUSY lies where its scaled box says.
    sx, sy = decoded.scale
    box = Box(64 * sx, 32 * sy, 64 * sx, 96 * sy)
    expected = BUSY[32:128, 64:128].reshape(-1, 3).mean(0)
    np.testing.assert_allclose(crop(decoded.image, [box]).reshape(-1, 3).mean(0), expected, atol=6)
    if at_least == (1, 1):
        assert width <= 64


@pytest.mark.parametrize("mode", MODES)
def test_least_size_suffices_for_the_mode(mode: Resize) -> None:
    data = encode(ramp(912, 1216), "JPEG")
    decoded = decode(data, at_least=least_size(mode, 200))
    full = decode(data)
    if mode != "none":
        a, b = resize(decoded.image, mode, 200), resize(full.image, mode, 200)
        assert a.shape == b.shape
        assert np.abs(a.astype(int) - b).mean() < 1
    # the benchmark's extractor decodes at full size
    assert (decoded.image.size < full.image.size) == (mode != "ilias")


# --- resize ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    side=st.integers(1, 60),
    mode=st.sampled_from(MODES),
    multiple=st.sampled_from([1, 7, 16]),
)
@settings(max_examples=150, deadline=None)
def test_resize_keeps_its_promises(height: int, width: int, side: int, mode: Resize, multiple: int) -> None:
    image = ramp(height, width)
    result = resize(image, mode, side)
    h, w = result.shape[:2]
    if mode == "long":
        assert max(h, w) == side
        assert abs(w - max(1, width * side / max(height, width))) <= 0.5
        assert abs(h - max(1, height * side / max(height, width))) <= 0.5
    if mode == "short":
        assert min(h, w) == side
    if mode in ("square", "center-crop", "pad"):
        assert (h, w) == (side, side)
    assert resize(result, mode, side) is result
    padded = resize(image, mode, side, pad_multiple=multiple)
    ph, pw = padded.shape[:2]
    assert (ph, pw) == (-(-h // multiple) * multiple, -(-w // multiple) * multiple)
    top, left = (ph - h) // 2, (pw - w) // 2
    np.testing.assert_array_equal(padded[top : top + h, left : left + w], result)
    frame = np.ones((ph, pw), bool)
    frame[top : top + h, left : left + w] = False
    assert (padded[frame] == FILL).all()


def test_pad_centres_the_picture_on_the_fill() -> None:
    result = resize(np.full((50, 100, 3), 200, np.uint8), "pad", 40)
    assert (result[10:30] == 200).all()
    assert (result[:10] == FILL).all()
    assert (result[30:] == FILL).all()


def test_center_crop_takes_the_middle() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, 20:80] = 255
    assert (resize(image, "center-crop", 30) == 255).all()


def test_square_with_one_axis_growing_does_not_alias() -> None:
    stripes = np.zeros((20, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    result = resize(stripes, "square", 40)
    assert np.abs(result[:, 1:-1].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("factor", [1.1, 1.5, 1.9, 2.0, 2.7, 5.0, 9.3])
def test_fine_stripes_become_gray_when_shrunk(factor: float) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (400, 400, 1), dtype=np.uint8).repeat(3, 2) * 255
    result = resize(noise, "long", round(400 / factor)).astype(float)
    # Averaging n pixels of independent noise divides its deviation by about sqrt(n) = factor.
    assert result.std() < 127.5 / factor * 1.25
    assert abs(result.mean() - noise.mean()) < 1


def test_flat_colours_stay_exactly() -> None:
    for side in (10, 33, 50, 70, 99, 100, 101, 250):
        assert (resize(np.full((100, 80, 3), 201, np.uint8), "long", side) == 201).all()


STRIPS = ((1, 100_000), (100_000, 1), (2, 90_000), (3, 50_000), (199, 60_000))


def test_extreme_strips() -> None:
    strip = ramp(1, 3000)
    assert resize(strip, "long", 384).shape == (1, 384, 3)
    assert resize(strip, "pad", 384).shape == (384, 384, 3)
    assert resize(strip, "center-crop", 384).shape == (384, 384, 3)
    assert resize(strip, "square", 384).shape == (384, 384, 3)
    with pytest.raises(ImageError, match=r"3000 x 1 pixels becomes 1152000 x 384.*resize = long"):
        resize(strip, "short", 384)


@pytest.mark.parametrize(
    "shape", [(1, 30_000), *(pytest.param(s, marks=pytest.mark.slow) for s in STRIPS)], ids=str
)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "short"])
def test_the_cost_of_a_strip_is_bounded(shape: tuple[int, int], mode: Resize) -> None:
    """The filter's fit grows with the cube of the factor: a strip of 177 bytes took 50 s, and then failed."""
    fits: list[int] = []
    fit = geometry._low_pass

    def counted(factor_32: int) -> Float32:
        fits.append(factor_32)
        assert factor_32 <= 32 * 33, "this would take very long"
        return fit(factor_32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "_low_pass", counted)
        result = resize(ramp(*shape), mode, 384, pad_multiple=14)
    assert fits or mode in ("none", "center-crop", "ilias")  # Pillow's filter reads each pixel once
    assert max(result.shape) <= 100_014
    if mode != "none":
        assert max(result.shape) == 392


def test_a_strip_averages_to_its_mean() -> None:
    assert abs(resize(ramp(1, 100_000), "square", 8)[0, :, 1].astype(int) - np.arange(16, 256, 32)).max() <= 2


def test_short_refuses_what_would_cost_gigabytes_and_takes_panoramas() -> None:
    assert resize(ramp(100, 1600), "short", 600).shape == (600, 9600, 3)
    with pytest.raises(ImageError, match=r"use resize = long, square or pad"):
        resize(ramp(10, 5000), "short", 224)


def test_wrong_resize_settings() -> None:
    image = ramp(4, 4)
    with pytest.raises(ConfigError, match="unknown resize mode 'longest'; use long"):
        resize(image, "longest", 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 1"):
        resize(image, "long", 0)
    with pytest.raises(ConfigError, match="at least 1"):
        resize(image, "long", 3, pad_multiple=0)


# --- boxes -------------------------------------------------------------------------------------------------


def test_crop_is_the_smallest_rectangle_around_all_boxes() -> None:
    image = ramp(100, 200)
    np.testing.assert_array_equal(crop(image, [Box(30, 40, 20, 10)]), image[40:50, 30:50])
    np.testing.assert_array_equal(crop(image, [Box(30, 40, 20, 10), Box(5, 60, 1, 1)]), image[40:61, 5:50])
    np.testing.assert_array_equal(crop(image, [Box(0.5, 0.5, 1, 1)]), image[:2, :2])
    np.testing.assert_array_equal(crop(image, [Box(-5, -5, 20, 10)]), image[:5, :15])
    np.testing.assert_array_equal(crop(image, [Box(190, 90, 20, 20)]), image[90:, 190:])
    np.testing.assert_array_equal(crop(image, [Box(100, 50, 20, 10)], margin=0.1), image[49:61, 98:122])


def test_crop_without_effect_returns_the_image_itself() -> None:
    image = ramp(10, 20)
    assert crop(image, []) is image
    assert crop(image, [Box(0, 0, 20, 10)]) is image
    assert crop(image, [Box(5, 5, 1, 1)], margin=50) is image
    assert mask(image, []) is image


def test_mask_hides_everything_else() -> None:
    image = ramp(10, 20)
    kept = np.zeros((10, 20), bool)
    kept[2:5, 1:4] = kept[8:, 15:] = True
    result = mask(image, [Box(1, 2, 3, 3), Box(15, 8, 99, 99)])
    np.testing.assert_array_equal(result[kept], image[kept])
    assert (result[~kept] == FILL).all()
    assert (mask(image, [Box(1, 2, 3, 3)], fill=(1, 2, 3))[0, 0] == (1, 2, 3)).all()


@pytest.mark.parametrize("box", [Box(20, 0, 5, 5), Box(0, 10, 5, 5), Box(-5, 0, 5, 5), Box(0, -9, 5, 5)])
def test_a_box_outside_is_an_error_even_beside_a_good_one(box: Box) -> None:
    image = ramp(10, 20)
    for boxes in ([box], [Box(0, 0, 5, 5), box]):
        with pytest.raises(ImageError, match=r"box x=.* lies outside the image of 20 x 10 pixels; boxes are"):
            crop(image, boxes)
        with pytest.raises(ImageError, match="lies outside the image of 20 x 10"):
            mask(image, boxes)


@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))), st.integers(-8, 8))
@settings(max_examples=60, deadline=None)
def test_rotate_is_that_of_numpy(image: RGB, turns: int) -> None:
    np.testing.assert_array_equal(rotate(image, 90 * turns), np.rot90(image, turns))


def test_rotate_takes_right_angles_only() -> None:
    image = ramp(2, 3)
    assert rotate(image, 0) is image
    assert rotate(image, -360) is image
    with pytest.raises(ConfigError, match="multiples of 90 degrees, not by 45"):
        rotate(image, 45)


# --- batches -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), max_size=60), st.integers(1, 5), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_batches_lose_nothing_and_wait_for_no_more_than_the_window(
    heights: Sequence[int], batch_size: int, window: int
) -> None:
    taken = 0

    def stream() -> list[tuple[int, RGB]]:
        return [(i, np.full((height, 2, 3), i, np.uint8)) for i, height in enumerate(heights)]

    def counted() -> Iterator[tuple[int, RGB]]:
        nonlocal taken
        for pair in stream():
            taken += 1
            yield pair

    keys: list[int] = []
    for batch in batches_by_shape(counted(), batch_size, window):
        assert taken - len(keys) <= window
        assert 1 <= len(batch) <= batch_size
        assert len({image.shape for _, image in batch}) == 1
        assert all((image == key).all() for key, image in batch)
        assert [key for key, _ in batch] == sorted(key for key, _ in batch)
        keys += [key for key, _ in batch]
    assert sorted(keys) == list(range(len(heights)))
    again = [[key for key, _ in batch] for batch in batches_by_shape(stream(), batch_size, window)]
    assert [key for batch in again for key in batch] == keys


def test_rare_shapes_do_not_keep_common_ones_from_filling_batches() -> None:
    stream = [(i, np.zeros((i if i % 5 == 0 else 1, 1, 3), np.uint8)) for i in range(1, 200)]
    sizes = [len(batch) for batch in batches_by_shape(stream, 8, 32) if batch[0][1].shape[0] == 1]
    assert np.mean(sizes) > 7


def test_wrong_batch_settings() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        next(batches_by_shape([], 0, 4))
