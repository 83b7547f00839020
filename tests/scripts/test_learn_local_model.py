"""The parts of the script that learns what the local search comes with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scripts.compose import SUFFIXES, _paste, compose, cut_out, on_white
from scripts.learn_local_model import fit_logistic, look_alike
from scripts.words import assign_words, learn_codes, learn_projection, learn_words


def _noise(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    picture = np.random.default_rng(seed).integers(0, 255, (height, width, 4)).astype(np.uint8)
    picture[:, :, 3] = 255
    return picture


@pytest.mark.slow
def test_words_and_codes_are_the_same_for_a_seed_and_near_the_points() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 16))
    points = (centres[rng.integers(8, size=2000)] + 0.1 * rng.normal(size=(2000, 16))).astype(np.float32)
    cells, words = learn_words(points, 4, 4, seed=3)
    again = learn_words(points, 4, 4, seed=3)
    assert cells.tobytes() == again[0].tobytes()
    assert words.tobytes() == again[1].tobytes()
    left = points - words.reshape(-1, 16)[assign_words(points, cells, words)]
    assert (
        np.square(left).sum(axis=1).mean() < 0.5 * np.square(points - points.mean(axis=0)).sum(axis=1).mean()
    )
    rotation, books = learn_codes(left, 4, 64, seed=3)
    assert books.shape == (4, 64, 4)
    assert np.allclose(rotation @ rotation.T, np.eye(16), atol=1e-5)
    parts = (left @ rotation.T).reshape(-1, 4, 4)
    nearest = np.square(parts[:, :, None] - books[None]).sum(axis=3).min(axis=2)
    assert nearest.sum(axis=1).mean() < 0.5 * np.square(left).sum(axis=1).mean()


def test_the_projection_keeps_the_largest_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    points = (rng.normal(size=(500, 10)) * np.array([5, 4, *[0.1] * 8])).astype(np.float32)
    mean, projection = learn_projection(points, 2)
    assert np.allclose(projection @ projection.T, np.eye(2), atol=1e-5)
    assert ((points - mean) @ projection.T).var(axis=0).sum() > 0.99 * points.var(axis=0).sum()
    with monkeypatch.context() as patched:
        patched.setattr("scripts.words._BLOCK", 64)
        in_blocks = learn_projection(points, 2)[1]
    np.testing.assert_allclose(in_blocks, projection, atol=1e-6)


def test_a_composite_shows_the_object_at_its_size() -> None:
    base, wanted = _noise(0, 400, 600), np.full((100, 100, 4), 255, np.uint8)
    made = compose(base, [], np.random.default_rng(5), wanted, 150.0)
    assert max(made.image.shape[:2]) == 512
    area = made.image.shape[0] * made.image.shape[1]
    assert 0.3 * 150**2 < made.share * area < 1.1 * 150**2
    same = compose(base, [], np.random.default_rng(5), wanted, 150.0)
    assert (same.image == made.image).all()
    assert compose(base, [wanted], np.random.default_rng(5)).share == 0


def test_a_thin_picture_keeps_a_pixel_when_it_is_shrunk() -> None:
    line, canvas = np.full((640, 3, 4), 255, np.uint8), np.zeros((100, 100, 3), np.float32)
    covers = _paste(canvas, line, np.diag([0.1, 0.1, 1.0]), np.random.default_rng(0))
    assert canvas[:64].any()
    assert not covers[70:].any()


def test_pictures_that_words_are_learnt_from_are_named_once() -> None:
    names = (Path(__file__).parents[2] / "scripts" / "pictures.txt").read_text(encoding="utf-8").split()
    assert len(names) == len(set(names)) == 80
    assert not any(Path(name).is_absolute() or Path(name).suffix not in SUFFIXES for name in names)


def test_a_cut_out_loses_its_clear_border(tmp_path: Path) -> None:
    picture = np.zeros((300, 400, 4), np.uint8)
    picture[50:250, 100:300] = (0, 0, 200, 255)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    part = cut_out(tmp_path / "a.png")
    assert part is not None
    assert part.shape == (200, 200, 4)
    assert (part[0, 0] == (200, 0, 0, 255)).all()
    assert (on_white(part)[0, 0] == 255).all()


def test_a_look_alike_differs_in_a_part_of_it() -> None:
    part, others = _noise(1, 120, 100), [_noise(2, 60, 60)]
    kinds = [look_alike(part, others, np.random.default_rng(seed)) for seed in range(6)]
    assert all(made.shape == part.shape and (made != part).any() for made in kinds)


def test_logistic_weights_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(2)
    numbers = rng.normal(size=(4000, 2)) * (1, 10) + (3, -5)
    chance = 1 / (1 + np.exp(-(1.5 * numbers[:, 0] - 0.2 * numbers[:, 1] - 5)))
    right = rng.random(4000) < chance
    weights, bias = fit_logistic(numbers, right, ridge=1e-6)
    assert weights == pytest.approx([1.5, -0.2], rel=0.2)
    # at the most likely weights the fitted and the seen outcome have the same moments
    fitted = 1 / (1 + np.exp(-(numbers @ weights + bias)))
    assert fitted.sum() == pytest.approx(right.sum(), rel=1e-6)
    assert fitted @ numbers == pytest.approx(right @ numbers, rel=1e-5)
