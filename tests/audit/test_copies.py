"""Copies of drawn photos: found as what they are; other photos, and other things in one place, are none."""

from __future__ import annotations

from hashlib import blake2b

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import draw_photo

from ilion.audit.copies import EQUALS, crop_candidates, find_copies, judge_overlap, overlay
from ilion.audit.hashes import sign
from ilion.images import decode
from ilion.types import RGB


def draw(seed: int) -> RGB:
    """A photo with more in it than bars: noise that survives saving."""
    photo = decode(draw_photo(seed, (400, 300))).image
    noise = np.random.default_rng(seed).normal(0, 25, (30, 40, 3))
    return np.asarray(np.clip(photo + cv2.resize(noise, (400, 300)), 0, 255), np.uint8)


def save(photo: RGB, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", photo[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def resized(photo: RGB, scale: float) -> RGB:
    size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def relations(files: list[bytes]) -> dict[tuple[int, int], str]:
    photos = [decode(data).image for data in files]
    signed = [sign(photo) for photo in photos]
    digests = np.stack([np.frombuffer(blake2b(data, digest_size=16).digest(), np.uint8) for data in files])
    sizes = np.array([photo.shape[1::-1] for photo in photos], np.int64)
    columns = [np.stack([getattr(s, name) for s in signed]) for name in ("code", "mirrored", "thumb")]
    pairs, crowded = find_copies(
        digests, columns[0], columns[1], columns[2], sizes, lambda a, b: overlay(photos[a], photos[b])
    )
    assert crowded == 0
    assert all(0.5 < pair.confidence <= 1 for pair in pairs if pair.relation != "burst")
    return {(pair.first, pair.second): pair.relation for pair in pairs}


def test_versions_of_photos_are_found_and_others_are_not() -> None:
    photos = [draw(n) for n in range(30)]
    files = [save(photo, 92) for photo in photos]
    copies = [
        (files[0], "exact"),
        (save(photos[1], 40), "resaved"),
        (save(resized(photos[2], 0.5), 70), "resized"),
        (save(photos[3][:, ::-1], 60), "mirrored"),
    ]
    found = relations(files + [data for data, _ in copies])
    assert found == {(n, 30 + n): kind for n, (_, kind) in enumerate(copies)}


def test_another_thing_in_the_same_place_is_no_copy() -> None:
    photo = draw(0)
    other = photo.copy()
    other[100:180, 150:230] = (250, 20, 20)
    found = relations([save(photo, 92), save(other, 92)])
    assert set(found.values()) <= {"burst"}


def test_versions_of_a_photo_of_one_colour_are_equal_only_as_files() -> None:
    flat = np.full((90, 120, 3), 200, np.uint8)
    other = np.full((90, 120, 3), 60, np.uint8)
    assert relations([save(flat, 90), save(other, 90), save(flat, 90)]) == {(0, 2): "exact"}


@pytest.mark.parametrize(("left", "top", "share"), [(0, 0, 0.6), (100, 60, 0.7), (40, 20, 0.85)])
def test_what_was_cut_out_is_laid_where_it_was(left: int, top: int, share: float) -> None:
    photo = draw(7)
    width, height = round(400 * share), round(300 * share)
    part = photo[top : top + height, left : left + width]
    # shares of the longer side: x' = a x + c
    scale = 400 / max(width, height)
    shift = -np.array([left, top]) / max(width, height)
    rough = np.array([[scale, 0, shift[0] + 0.01], [0, scale, shift[1] - 0.01]])
    seen = overlay(photo, decode(save(part, 60)).image, rough)
    assert seen is not None
    assert seen.likeness > 0.97
    assert seen.second > 0.95
    assert seen.first == pytest.approx(part.size / photo.size, abs=0.06)
    pair = judge_overlap(0, 1, seen)
    assert pair is not None
    assert pair.relation == "cropped"
    wrong = overlay(draw(8), part, rough)
    assert wrong is None or judge_overlap(0, 1, wrong) is None


def test_only_what_is_shifted_and_scaled_may_be_cut_out() -> None:
    turn = np.radians(20)
    motions: NDArray[np.float64] = np.array(
        [
            [1.5, 0, 0.1, 0, 1.5, 0.1],
            [np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0],
            [1, 0, 0, 0, 1, 0],
            [1.5, 0, 0, 0, 1, 0],
            [-1, 0, 0, 0, -1, 0],
        ]
    )
    assert crop_candidates(np.array([20, 30, 5, 40, 50]), motions) == [0]
    assert crop_candidates(np.array([20, 30, 50, 40, 50]), motions) == [2, 0]


def test_a_thing_as_bright_as_what_it_covers_is_no_copy() -> None:
    """Red on green: brightness alone takes the photo with and the one without it for one."""
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (192, 256)).astype(np.float32), (0, 0), 6)
    grey = np.clip(120 + 6 * (grey - grey.mean()), 60, 180)
    photo = np.stack([0.2 * grey, 1.4 * grey, 0.5 * grey], axis=2)
    with_thing = photo.copy()
    place = np.s_[60:110, 90:140]
    luminance = photo[place] @ np.array([0.299, 0.587, 0.114])
    with_thing[place] = np.stack([2.1 * luminance, 0.5 * luminance, 0.7 * luminance], axis=2)
    first, second = (np.clip(each, 0, 255).astype(np.uint8) for each in (photo, with_thing))
    seen = overlay(first, second)
    assert seen is not None
    assert seen.likeness > 0.965
    judged = judge_overlap(0, 1, seen)
    assert judged is None or judged.relation == "burst"
    again = overlay(first, decode(save(first, 40)).image)
    assert again is not None
    copy = judge_overlap(0, 1, again)
    assert copy is not None
    assert copy.relation == "resized"


def test_a_version_is_found_though_another_photo_has_its_hash() -> None:
    """Of equal hashes one stands for the others, also for those that are other photos."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (8, 24), np.uint8)
    thumbs = rng.integers(0, 256, (8, 16, 16, 3), np.uint8)
    codes[1:4] = codes[0]  # 0 and 1 are two photos; 2 is a version of 1, 3 is a file equal to 1
    codes[4] = codes[0] ^ np.array([1] + 23 * [0], np.uint8)  # another version of 1, by one bit
    for copy in (2, 3, 4):
        thumbs[copy] = np.clip(thumbs[1] + rng.normal(0, 3, thumbs[1].shape), 0, 255)
    digests = rng.integers(0, 256, (8, 16), np.uint8)
    digests[3] = digests[1]
    mirrored = rng.integers(0, 256, (8, 24), np.uint8)
    pairs, crowded = find_copies(digests, codes, mirrored, thumbs, np.full((8, 2), 256, np.int64))
    assert {(p.first, p.second): p.relation for p in pairs} == {
        (1, 2): "resaved",
        (1, 3): "exact",
        (1, 4): "resaved",
        (2, 4): "resaved",
    }
    assert crowded == 0


def test_photos_of_one_hash_beyond_a_few_are_counted() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(rng.integers(0, 256, (1, 24), np.uint8), 12, axis=0)
    thumbs = rng.integers(0, 256, (12, 16, 16, 3), np.uint8)
    digests, mirrored = rng.integers(0, 256, (12, 16), np.uint8), rng.integers(0, 256, (12, 24), np.uint8)
    pairs, crowded = find_copies(digests, codes, mirrored, thumbs, np.full((12, 2), 256, np.int64))
    assert not pairs
    assert crowded == 12 - EQUALS
    digests[10:] = digests[0]  # files that are equal are found all the same
    pairs, crowded = find_copies(digests, codes, codes[:, ::-1], thumbs, np.full((12, 2), 256, np.int64))
    assert [(p.first, p.second, p.relation) for p in pairs] == [(0, 10, "exact"), (0, 11, "exact")]
    assert crowded == 12 - EQUALS - 2, "a photo counts once, though its mirror image has a hash, too"


def test_brighter_photos_and_those_almost_without_blue_are_found_when_saved_anew() -> None:
    """What was cut off at white is no difference, and neither is blue noise where nothing is blue."""
    photo = draw(3)
    brighter = np.clip(photo * 1.3, 0, 255).astype(np.uint8)
    assert (brighter == 255).mean() > 0.05
    yellow = draw(5).copy()
    yellow[..., 2] = np.random.default_rng(0).integers(0, 24, yellow.shape[:2])
    yellow[100:160, 200:280] = (250, 120, 0)
    again = decode(save(resized(yellow, 0.4), 40)).image
    files = [save(photo, 92), save(yellow, 95), save(brighter, 80), save(again, 50)]
    assert relations(files) == {(0, 2): "resaved", (1, 3): "resized"}
