"""Warps and filters: OpenCV's to within its rounding, and the same bytes everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import features

from ilion.synthetic.photos import Settings, distractor, positive, query
from ilion.synthetic.warps import convolve, enlarge, remap, smooth, streak, warp

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
SOFT = cv2.blur(PHOTO, (9, 9))
TILT = np.array([[1.2, 0.1, 3.0], [-0.2, 0.9, 12.0], [0.001, 0.002, 1.0]])
BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "wrap": cv2.BORDER_WRAP,
}
SET = {"2.14.3": "2f1f41cc9f11c934", "2.13.2": "a8b641b9b6a7e7a4"}
"""Digests of the photos of `draw_set` by version of FreeType, which shapes their letters."""


def digest(*arrays: NDArray[Any]) -> str:
    hasher = hashlib.sha256()
    for array in arrays:
        hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()[:16]


def draw_set() -> str:
    """Return the digest of 40 rendered photos."""
    settings = Settings(5, 12, 192, True)
    photos = [query(settings, index) for index in range(6)]
    photos += [positive(settings, index, number) for index in range(6) for number in range(3)]
    photos += [distractor(settings, index) for index in range(16)]
    return hashlib.sha256(b"".join(photo.jpeg for photo in photos)).hexdigest()[:16]


@pytest.mark.parametrize("border", BORDERS)
def test_a_warp_is_that_of_opencv(border: str) -> None:
    ours = warp(SOFT, TILT, (90, 70), BORDERS[border]).astype(int)
    theirs = cv2.warpPerspective(SOFT, TILT, (90, 70), flags=cv2.INTER_LINEAR, borderMode=BORDERS[border])
    assert np.abs(ours - theirs).mean() < 0.6
    assert (np.abs(ours - theirs) > 8).mean() < 0.02


def test_an_affine_warp_is_that_of_opencv() -> None:
    turn = cv2.getRotationMatrix2D((30, 30), 30, 1.0)
    ours = warp(SOFT, turn, (60, 60), cv2.BORDER_CONSTANT).astype(int)
    assert np.abs(ours - cv2.warpAffine(SOFT, turn, (60, 60))).mean() < 0.6


def test_a_transparent_border_leaves_the_picture() -> None:
    canvas = np.full((70, 90, 3), 7, np.uint8)
    out = warp(SOFT, TILT, (90, 70), cv2.BORDER_TRANSPARENT, canvas)
    assert out is canvas
    assert (canvas[0, :3] == 7).all()
    assert (canvas != 7).any()


def test_positions_that_are_no_numbers_lie_outside() -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e30, 3.0]])
    out = remap(np.full((9, 9), 200, np.uint8), x, np.full_like(x, 4.0), cv2.BORDER_CONSTANT)
    assert out.tolist() == [[0, 0, 0, 0, 200]]
    assert (remap(np.full((9, 9), 200, np.uint8), x, x, cv2.BORDER_WRAP) == 200).all()


@pytest.mark.parametrize("cubic", [True, False])
def test_enlarging_is_that_of_opencv(cubic: bool) -> None:
    small = PHOTO[:9, :7].astype(np.float32)
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    theirs = cv2.resize(small, (64, 41), interpolation=how)
    np.testing.assert_allclose(enlarge(small, (64, 41), cubic=cubic), theirs, atol=1e-3 * 255)


def test_filters_are_those_of_opencv() -> None:
    image = PHOTO.astype(np.float32)
    theirs = cv2.GaussianBlur(image, (0, 0), 1.3, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(smooth(image, 1.3), theirs, atol=0.05)
    slope = cv2.Sobel(image[..., 0], cv2.CV_32F, 1, 1, ksize=7)
    ours = convolve(image[..., 0], *cv2.getDerivKernels(1, 1, 7))
    np.testing.assert_allclose(ours, slope, rtol=1e-4, atol=1e-4 * np.abs(slope).max())
    counts = np.eye(5, dtype=np.int32) * 3
    blurred = cv2.filter2D(PHOTO, -1, (counts / counts.sum()).astype(np.float32))
    assert np.abs(streak(PHOTO, counts).astype(int) - blurred).max() <= 1


def test_bytes_are_the_same_everywhere() -> None:
    warps = [warp(PHOTO, TILT, (90, 70), border) for border in BORDERS.values()]
    through = warp(PHOTO, TILT, (90, 70), cv2.BORDER_TRANSPARENT, np.zeros((70, 90, 3), np.uint8))
    assert digest(*warps, through) == "45f3306441f9b7c7"
    floats = [enlarge(PHOTO[:9, :7], (64, 41)), smooth(PHOTO, 1.3), streak(PHOTO, np.eye(5, dtype=np.int32))]
    assert digest(*(np.rint(values).astype(np.uint8) for values in floats)) == "362012abdba564b4"


@pytest.mark.slow
@pytest.mark.parametrize("disabled", ["", "AVX512-SKX", "AVX512-SKX,AVX2,FP16,AVX"])
def test_a_rendered_set_is_the_same_with_other_versions_and_instructions(disabled: str) -> None:
    letters = str(features.version("freetype2"))
    if letters not in SET:
        pytest.skip(f"what FreeType {letters} draws is not noted")
    code = "from tests.synthetic.test_warps import draw_set; print(draw_set())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OPENCV_CPU_DISABLE": disabled},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == SET[letters]
