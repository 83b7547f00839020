"""Reading rendered text, and the parts of it against arrays with a known answer."""

from __future__ import annotations

from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ilion.errors import ExtractionError, MissingExtraError
from ilion.reading import paddle
from ilion.reading.base import Reader, ReaderOptions
from ilion.reading.lines import LONGEST, decode_ctc, prepare_line, straighten
from ilion.reading.paddle import PaddleReader
from ilion.reading.regions import find_text_regions, order_corners, sides, sort_as_read
from ilion.types import RGB, Float32


def written(lines: list[tuple[str, tuple[int, int], int]], size: tuple[int, int] = (400, 300)) -> RGB:
    """Draw dark text on a light ground: text, place, height of the letters."""
    image = Image.new("RGB", size, (235, 230, 220))
    pen = ImageDraw.Draw(image)
    for text, place, height in lines:
        pen.text(place, text, fill=(20, 30, 60), font=ImageFont.load_default(height))
    return np.asarray(image)


@pytest.fixture(scope="module")
def reader() -> PaddleReader:
    return PaddleReader(ReaderOptions(side=480))


def test_rendered_text_is_read_where_it_stands(reader: PaddleReader) -> None:
    image = written([("God Morgon", (30, 40), 40), ("AB-1234/5", (60, 200), 32)])
    first, second = reader.read(image)
    assert (first.text, second.text) == ("God Morgon", "AB-1234/5")
    assert min(first.confidence, second.confidence) > 0.9
    left, top = second.quad.min(axis=0)
    assert abs(left - 60) < 12
    assert abs(top - 205) < 15
    assert 25 < second.height < 50
    assert isinstance(reader, Reader)


@pytest.mark.slow
def test_what_is_read_does_not_depend_on_the_size_of_the_image(reader: PaddleReader) -> None:
    image = written([("Tropicana", (60, 100), 48)])
    larger = np.asarray(Image.fromarray(image).resize((1200, 900), Image.Resampling.BICUBIC))
    [one], [two] = reader.read(image), reader.read(larger)
    assert one.text == two.text == "Tropicana"
    np.testing.assert_allclose(two.quad / 3, one.quad, atol=6)


@pytest.mark.slow
def test_turned_text_is_read(reader: PaddleReader) -> None:
    upright = Image.fromarray(written([("APELSINJUICE", (50, 120), 40)]))
    for degrees in (-20, 20):
        turned = np.asarray(upright.rotate(degrees, fillcolor=(235, 230, 220)))
        [line] = reader.read(turned)
        assert line.text == "APELSINJUICE"
    downwards = np.asarray(upright.rotate(-90, expand=True))
    [line] = reader.read(downwards)
    assert line.text == "APELSINJUICE"


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 2), (33, 31), (3000, 20)])
def test_images_without_text_give_no_lines(reader: PaddleReader, size: tuple[int, int]) -> None:
    assert reader.read(np.full((size[1], size[0], 3), 127, np.uint8)) == ()


@pytest.mark.slow
def test_small_lines_can_be_left_out() -> None:
    image = written([("BRAVO", (60, 40), 70), ("apple juice", (60, 200), 18)])
    texts = [line.text for line in PaddleReader(ReaderOptions(side=480, smallest=0.1)).read(image)]
    assert texts == ["BRAVO"]


@pytest.mark.slow
def test_reading_twice_gives_the_same(reader: PaddleReader) -> None:
    image = written([("valio", (60, 40), 50), ("Vanilj", (60, 160), 50)])
    one, two = reader.read(image), reader.read(image)
    assert [(a.text, a.confidence) for a in one] == [(b.text, b.confidence) for b in two]


@pytest.mark.slow
def test_the_spec_tells_settings_that_change_what_is_read() -> None:
    one, two = PaddleReader(ReaderOptions(side=480)), PaddleReader(ReaderOptions(side=640, threads=2))
    assert one.spec.revision == two.spec.revision
    assert (one.spec.side, two.spec.side) == (480, 640)
    assert "threads" not in str(two.spec.as_dict())


def test_a_missing_package_prints_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ilion\[reading\]'"):
        PaddleReader(ReaderOptions())


def test_a_package_without_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match="found none"):
        paddle._only(tmp_path, "*_det_*.onnx")


def rectangle(centre: tuple[float, float], width: float, height: float, degrees: float) -> Float32:
    """Corners in reading order, computed with sines and cosines."""
    a = radians(degrees)
    along, down = np.array([cos(a), sin(a)]), np.array([-sin(a), cos(a)])
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.array(
        [np.array(centre) + x * width / 2 * along + y * height / 2 * down for x, y in corners], np.float32
    )


@pytest.mark.parametrize("degrees", [0, 12, -12, 35, -35])
def test_a_core_grows_by_area_over_perimeter(degrees: float) -> None:
    core = rectangle((100, 80), 80, 20, degrees)
    yy, xx = np.mgrid[0:160, 0:200]
    a = radians(degrees)
    u, v = (xx - 100) * cos(a) + (yy - 80) * sin(a), -(xx - 100) * sin(a) + (yy - 80) * cos(a)
    probability = ((abs(u) <= 40) & (abs(v) <= 10)).astype(np.float32) * 0.9
    [quad] = find_text_regions(probability)
    grown = 2 * 1.6 * 80 * 20 / (2 * (80 + 20))
    np.testing.assert_allclose(quad, rectangle((100, 80), 80 + grown, 20 + grown, degrees), atol=2.5)
    assert sides(core) == pytest.approx((80, 20), abs=1e-4)


def test_faint_and_tiny_cores_are_no_text() -> None:
    probability = np.zeros((60, 60), np.float32)
    probability[10:20, 10:40] = 0.4  # above the threshold of a pixel, below that of a line
    probability[40:41, 10:12] = 0.9
    assert find_text_regions(probability) == []


@pytest.mark.parametrize("degrees", [0, 30, -30, 44, -44])
def test_corners_are_brought_into_reading_order(degrees: float) -> None:
    quad = rectangle((50, 50), 40, 10, degrees)
    for order in ([2, 0, 3, 1], [3, 2, 1, 0]):
        np.testing.assert_array_equal(order_corners(quad[order]), quad)


def test_lines_come_row_by_row() -> None:
    quads = [rectangle(c, 30, 10, 0) for c in [(80, 51), (20, 50), (50, 90), (50, 10)]]
    assert sort_as_read(quads) == [3, 1, 0, 2]


def test_a_line_is_cut_out_straight() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    quad = rectangle((50, 50), 40, 12, 0)
    image[44:56, 30:50] = (250, 0, 0)
    line = straighten(image, quad)
    assert line.shape == (12, 40, 3)
    assert line[3:9, 2:18, 0].min() > 240
    assert line[:, 22:].max() < 10


def test_input_is_padded_and_bounded() -> None:
    line = np.full((10, 31, 3), 255, np.uint8)
    line[..., 0] = 0
    network_input = prepare_line(line, 48)
    assert network_input.shape == (1, 3, 48, 160)
    assert (network_input[0, 2, :, :148] == -1).all()  # red comes last
    assert (network_input[0, 0, :, :148] == 1).all()
    assert (network_input[0, :, :, 149:] == 0).all()
    assert prepare_line(np.zeros((2, 900, 3), np.uint8), 48).shape[-1] == LONGEST * 48


def test_ctc_keeps_repeats_only_across_blanks() -> None:
    steps = np.full((7, 3), 0.1, np.float32)
    for step, (best, value) in enumerate(
        [(1, 0.9), (1, 0.5), (0, 0.9), (1, 0.7), (2, 0.8), (2, 0.9), (0, 1.0)]
    ):
        steps[step, best] = value
    text, confidence = decode_ctc(steps, ["a", "b"])
    assert text == "aab"
    assert confidence == pytest.approx((0.9 + 0.7 + 0.8) / 3)
    assert decode_ctc(np.eye(3, dtype=np.float32)[[0, 0]], ["a", "b"]) == ("", 0.0)
