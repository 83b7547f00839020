"""Reading against RapidOCR, the package whose two networks Ilion runs in its own way.

Finding lines, cutting them out, padding and decoding are Ilion's own. RapidOCR as its documentation shows it
is the reference: it enlarges images more, asks a third network which lines stand upside down, and reads lines
in batches, so hard lines are read otherwise by either.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.distance import Levenshtein

from ilion.images import decode
from ilion.reading.base import ReaderOptions
from ilion.reading.paddle import PaddleReader
from ilion.reading.regions import find_text_regions
from ilion.types import RGB, Float32

SIDE = 640
SURE = 0.9
WORDS = ["Yoghurt", "Vanilj", "APELSIN", "Tropicana", "Valio", "Bravo", "Naturell", "Mild", "Laktosfri"]


@cache
def ours() -> PaddleReader:
    return PaddleReader(ReaderOptions(side=SIDE))


@cache
def theirs(as_ours: bool) -> Callable[[RGB], list[tuple[str, float]]]:
    """RapidOCR as documented, or with the settings of Ilion as far as it has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rapidocr import RapidOCR

    params: dict[str, object] = {
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    }
    if as_ours:
        params |= {"Global.use_cls": False, "Rec.rec_batch_num": 1}
        params |= {"Det.limit_type": "max", "Det.limit_side_len": SIDE}
    engine: Any = RapidOCR(params=params)

    def read(image: RGB) -> list[tuple[str, float]]:
        if as_ours:  # it would not enlarge
            factor = SIDE / max(image.shape[:2])
            size = [round(n * factor) for n in image.shape[1::-1]]
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        found = engine(np.ascontiguousarray(image[:, :, ::-1]))
        return [] if found.txts is None else list(zip(found.txts, found.scores, strict=True))

    return read


def read_by_us(image: RGB) -> list[tuple[str, float]]:
    return [(line.text, line.confidence) for line in ours().read(image)]


def words(lines: Iterable[tuple[str, float]], least: float) -> Counter[str]:
    return Counter(word.casefold() for text, sure in lines if sure >= least for word in text.split())


def agreement(ones: Sequence[Counter[str]], others: Sequence[Counter[str]]) -> float:
    """Return the share of words that both have: twice the common ones over all of both."""
    common = sum((one & other).total() for one, other in zip(ones, others, strict=True))
    return 2 * common / max(1, sum(c.total() for c in [*ones, *others]))


def label(seed: int) -> tuple[RGB, Counter[str]]:
    """Draw three lines, turned a little, on a ground with noise."""
    rng = np.random.default_rng(seed)
    drawn = [*rng.choice(WORDS, 2, replace=False).tolist(), f"AB-{rng.integers(1000, 9999)}"]
    picture = Image.new("RGB", (480, 360), (225, 215, 200))
    pen = ImageDraw.Draw(picture)
    for number, word in enumerate(drawn):
        place = (int(rng.integers(40, 120)), 50 + 95 * number)
        pen.text(place, word, fill=(20, 30, 60), font=ImageFont.load_default(int(rng.integers(26, 50))))
    turned = picture.rotate(float(rng.uniform(-8, 8)), Image.Resampling.BICUBIC, fillcolor=(225, 215, 200))
    pixels = np.clip(np.asarray(turned) + rng.normal(0, 6, (360, 480, 3)), 0, 255).astype(np.uint8)
    return pixels, Counter(word.casefold() for word in drawn)


@cache
def labels() -> list[tuple[RGB, Counter[str]]]:
    return [label(seed) for seed in range(6)]


@cache
def words_of_labels_by_us() -> list[Counter[str]]:
    return [words(read_by_us(image), 0.5) for image, _ in labels()]


@pytest.mark.slow
@pytest.mark.parametrize("as_ours", [False, True])
def test_words_of_drawn_labels_are_those_of_the_package(as_ours: bool) -> None:
    mine = words_of_labels_by_us()
    peer = [words(theirs(as_ours)(image), 0.5) for image, _ in labels()]
    truth = [drawn for _, drawn in labels()]
    assert agreement(peer, truth) > 0.9  # or the labels say nothing
    assert agreement(mine, truth) >= agreement(peer, truth) - 0.06
    assert agreement(mine, peer) > 0.9


@pytest.mark.slow
@pytest.mark.grocery
def test_sure_lines_of_photos_are_those_of_the_package(grocery: Path) -> None:
    """Pictures of 198 pixels, where many words differ by a space or a character: so characters count."""
    photos = sorted((grocery / "ilias_core").glob("*/query/*.jpg"))[::4]
    images = [decode(path.read_bytes()).image for path in photos]
    mine = [read_by_us(image) for image in images]
    for as_ours in (True, False):
        peer = [theirs(as_ours)(image) for image in images]
        for sure, other in ((peer, mine), (mine, peer)):
            edits, characters = 0, 0
            for lines, others in zip(sure, other, strict=True):
                for text in (text for text, confidence in lines if confidence >= SURE):
                    edits += min([len(text), *(Levenshtein.distance(text, there) for there, _ in others)])
                    characters += len(text)
            assert characters > 100
            assert edits / characters < 0.12, as_ours


@pytest.mark.parametrize("seed", range(8))
def test_lines_are_found_where_the_package_finds_them(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

    rng = np.random.default_rng(seed)
    probability = np.zeros((320, 480), np.float32)
    yy, xx = np.mgrid[0:320, 0:480]
    for number in range(6):  # cores of lines, some too faint or too thin to count
        a = radians(float(rng.uniform(-30, 30)))
        x, y = 90 + 150 * (number % 3), 90 + 140 * (number // 3)
        u, v = (xx - x) * cos(a) + (yy - y) * sin(a), -(xx - x) * sin(a) + (yy - y) * cos(a)
        core = (abs(u) <= rng.uniform(15, 45)) & (abs(v) <= rng.choice([0.6, 4, 7, 10]))
        probability[core] = rng.choice([0.35, 0.7, 0.95])
    found = find_text_regions(probability)
    reference = DBPostProcess(thresh=0.3, box_thresh=0.5, unclip_ratio=1.6, use_dilation=True)
    boxes, _ = reference(probability[None, None], (320, 480))
    assert len(found) == len(boxes) > 0
    by_place = sorted(found, key=lambda quad: tuple(quad.mean(axis=0).round(-1)))
    expected: list[Float32] = sorted(
        np.asarray(boxes, np.float32), key=lambda quad: tuple(quad.mean(axis=0).round(-1))
    )
    for quad, box in zip(by_place, expected, strict=True):
        np.testing.assert_allclose(quad, box, atol=3)
