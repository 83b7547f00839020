"""Colours of photos in a coarse grid, held against a query."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tests.searching.local.small import draw_frames, draw_vectors, query_of

from ilion.searching.local import LocalQuery, Looks
from ilion.searching.local.agreement import NAMES, compare_tones
from ilion.searching.local.tones import UNKNOWN, describe_query_tones, describe_tones, unpack_tones
from ilion.types import RGB, Box

MOTION = np.array([[0.5, 0.0, 0.25, 0.0, 0.5, 0.2]])
SIZE = np.array([[320, 320]])


def _product(seed: int) -> RGB:
    """A picture of 4 x 4 patches of any colour."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.repeat(np.repeat(patches, 40, axis=0), 40, axis=1)


def _photo(product: RGB) -> RGB:
    """A grey photo of 320 pixels that shows a product of 160 where `MOTION` lays it."""
    photo = np.full((320, 320, 3), 128, np.uint8)
    photo[64:224, 80:240] = cv2.resize(product, (160, 160), interpolation=cv2.INTER_AREA)
    return photo


def _query(product: RGB) -> LocalQuery:
    described = query_of(draw_vectors(0, 400), draw_frames(0, 400))
    return replace(described, tones=describe_query_tones(product), part=Box(0, 0, 160, 160))


def test_colours_are_stored_to_within_half_a_step() -> None:
    image = _product(0)
    lab = cv2.cvtColor(cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    stored = unpack_tones(describe_tones(image, 4)[None])[0]
    wanted = np.clip(lab[:, :, 1:].astype(np.float64), 88, 168)
    assert stored.shape == (4, 4, 2)
    assert abs(stored - wanted).max() <= 2.5


@pytest.mark.parametrize("cells", [8, 16])
def test_the_same_print_in_its_own_colours_agrees_better_than_in_others(cells: int) -> None:
    product = _product(1)
    hues = cv2.cvtColor(product, cv2.COLOR_RGB2HSV)
    hues[:, :, 0] = (hues[:, :, 0].astype(np.int64) + 60) % 180
    other = np.asarray(cv2.cvtColor(hues, cv2.COLOR_HSV2RGB), np.uint8)
    photos = np.array([describe_tones(_photo(shown), cells) for shown in (product, other)])
    query, motions = _query(product), np.repeat(MOTION, 2, axis=0)
    numbers = compare_tones(query, motions, Looks(np.repeat(SIZE, 2, axis=0), photos))
    assert tuple(numbers) == NAMES
    assert numbers["tone match"][0] > numbers["tone match"][1] + 0.3
    assert numbers["tone seen"].tolist() == [1.0, 1.0]
    for name in ("tone mean", "tone median", "tone worst"):
        assert numbers[name][0] < 0.7 * numbers[name][1]
    assert numbers["tone close"][0] > numbers["tone close"][1]


def test_a_common_shift_of_colour_is_the_light() -> None:
    """A shift within the range that is taken out leaves no difference, and is told as what it is."""
    product = np.full((160, 160, 3), (150, 120, 90), np.uint8)
    tones = describe_query_tones(product)
    query, seen = _query(product), []
    for shift in (0, 5):
        values = np.clip((tones[0, 0] + shift - 88.0) // 5, 0, 15).astype(np.uint8)
        looks = Looks(SIZE, np.full((1, 64), values[0] | values[1] << 4, np.uint8))
        seen.append(compare_tones(query, MOTION, looks))
    assert seen[0]["tone mean"][0] == pytest.approx(0, abs=1e-5)
    assert seen[1]["tone mean"][0] == pytest.approx(0, abs=1e-5)
    assert seen[1]["tone shift"][0] == pytest.approx(np.hypot(5, 5), abs=3.6)


def test_of_what_lies_outside_the_photo_nothing_is_said() -> None:
    query, stored = _query(_product(2)), describe_tones(_photo(_product(2)), 8)
    motions = np.array([[0.5, 0, 3.0, 0, 0.5, 0.2], [0.0] * 6, [-0.5, 0, 0.5, 0, 0.5, 0.2]])
    looks = Looks(np.repeat(SIZE, 3, axis=0), np.repeat(stored[None], 3, axis=0))
    numbers = compare_tones(query, motions, looks)
    assert [[numbers[name][row] for name in NAMES] for row in range(3)] == [list(UNKNOWN)] * 3


def test_the_numbers_of_a_photo_do_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(3)
    query = _query(_product(3))
    motions = MOTION + rng.normal(0, 0.05, (9, 6))
    looks = Looks(np.repeat(SIZE, 9, axis=0), rng.integers(0, 256, (9, 256), np.uint8))
    together = compare_tones(query, motions, looks)
    for row in range(9):
        alone = compare_tones(query, motions[[row]], Looks(looks.sizes[[row]], looks.tones[[row]]))
        assert {name: value[0] for name, value in alone.items()} == {
            name: value[row] for name, value in together.items()
        }
