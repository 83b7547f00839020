"""Photos with other pictures pasted into them: seeded, any number, from photos and cut-outs of a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.types import RGB, Float64

SIDE = 512
"""Longer side of a composed photo in pixels."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LEAST_SIDE = 120
"""Shorter side, in pixels, of a picture that is used."""


@dataclass(frozen=True)
class Composed:
    """A photo with something pasted into it.

    Args:
        image: (H, W, 3) RGB.
        share: Area of the wanted object as a fraction of the photo; 0 where it has none.
        hidden: Fraction of the wanted object that other things cover.
    """

    image: RGB
    share: float = 0.0
    hidden: float = 0.0


def find_pictures(folders: Sequence[Path]) -> list[Path]:
    """List the pictures of folders, at any depth, in the order of their names."""
    found = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    return sorted(path for path in found if path.is_file())


@lru_cache(maxsize=256)
def read_picture(path: Path, longest: int = 1024) -> NDArray[np.uint8] | None:
    """Read a picture as (H, W, 4) RGB and opacity; None if it is too small or cannot be read."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint8:
        return None
    if raw.ndim == 2:
        raw = cv2.cvtColor(raw, cv2.COLOR_GRAY2BGR)
    if min(raw.shape[:2]) < LEAST_SIDE:
        return None
    if raw.shape[2] == 3:
        raw = np.dstack([raw, np.full(raw.shape[:2], 255, np.uint8)])
    raw = raw[:, :, [2, 1, 0, 3]]
    zoom = longest / max(raw.shape[:2])
    if zoom < 1:
        raw = cv2.resize(raw, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(raw)


def cut_out(path: Path) -> NDArray[np.uint8] | None:
    """Read a picture and cut away its clear border; None if nearly nothing is left."""
    picture = read_picture(path, 640)
    if picture is None:
        return None
    solid = picture[:, :, 3] > 40
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if len(rows) < LEAST_SIDE // 2 or len(columns) < LEAST_SIDE // 2 or solid.mean() < 0.05:
        return None
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def on_white(picture: NDArray[np.uint8], margin: float = 0.04) -> RGB:
    """Show a cut-out on a white ground, as catalogues do."""
    edge = int(margin * max(picture.shape[:2]))
    padded = cv2.copyMakeBorder(
        picture, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(255, 255, 255, 0)
    )
    opacity = padded[:, :, 3:].astype(np.float32) / 255
    return np.asarray(padded[:, :, :3] * opacity + 255 * (1 - opacity), np.uint8)


def crop_of(
    picture: NDArray[np.uint8], rng: np.random.Generator, low: float = 0.25, high: float = 0.7
) -> NDArray[np.uint8]:
    """Cut a rectangle out of a photo: a poster, a label, a screen."""
    height, width = picture.shape[:2]
    h, w = (int(size * rng.uniform(low, high)) for size in (height, width))
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    return np.ascontiguousarray(picture[y : y + h, x : x + w])


def ground(picture: NDArray[np.uint8], rng: np.random.Generator) -> RGB:
    """Take a part of a photo as background, `SIDE` pixels long."""
    part = crop_of(picture, rng, 0.6, 1.0)[:, :, :3]
    zoom = SIDE / max(part.shape[:2])
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    height, width = (max(64, round(size * zoom)) for size in part.shape[:2])
    sized = np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)
    return np.ascontiguousarray(sized[:, ::-1] if rng.random() < 0.5 else sized)


def _motion(
    shape: tuple[int, ...], size: float, centre: Float64, rng: np.random.Generator, tilt: float
) -> Float64:
    """Draw a map from a picture into a photo: turned, tilted, `size` pixels long, around a centre."""
    height, width = shape[:2]
    zoom = size / max(height, width)
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) * zoom / 2
    angle = np.radians(rng.normal(0, 12) if rng.random() < 0.85 else rng.uniform(-180, 180))
    stretch = np.array([1, rng.uniform(1 - tilt, 1)])[:: rng.choice([-1, 1])]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners * stretch) @ turn.T + rng.normal(0, 0.25 * tilt * size / 4, (4, 2)) + centre
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(source, moved.astype(np.float32)), np.float64)


def _paste(
    canvas: NDArray[np.float32], picture: NDArray[np.uint8], motion: Float64, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw a picture over a canvas (float32, changed) in its own light; returns where it now covers."""
    height, width = canvas.shape[:2]
    zoom = np.sqrt(abs(np.linalg.det(motion[:2, :2])))
    if zoom < 0.6:  # averaging pixels first keeps fine detail from flickering, and is faster
        shrink = max(1.4 * zoom, 1 / min(picture.shape[:2]))  # a thin one keeps a pixel
        fine = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        smaller = np.asarray(fine, np.uint8)
        ratio = np.array(picture.shape[1::-1]) / smaller.shape[1::-1]
        picture, motion = smaller, motion @ np.diag([*ratio, 1.0])
    tall, wide = picture.shape[:2]
    corners = np.array([[[0, 0], [wide, 0], [wide, tall], [0, tall]]], np.float64)
    moved = cv2.perspectiveTransform(corners, motion)[0]
    left, top = np.clip(np.floor(moved.min(axis=0)).astype(int) - 2, 0, (width, height))
    right, bottom = np.clip(np.ceil(moved.max(axis=0)).astype(int) + 2, 0, (width, height))
    covers = np.zeros((height, width), np.bool_)
    if right <= left or bottom <= top:
        return covers
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    drawn = cv2.warpPerspective(
        picture, shift @ motion, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR
    )
    opacity = drawn[:, :, 3:].astype(np.float32) / 255
    light = rng.uniform(0.6, 1.15) * (1 + rng.normal(0, 0.05, 3))
    lit = np.clip(drawn[:, :, :3] * light + rng.normal(0, 8), 0, 255).astype(np.float32)
    part = canvas[top:bottom, left:right]
    part += (lit - part) * opacity
    covers[top:bottom, left:right] = opacity[:, :, 0] > 0.5
    return covers


def compose(
    base: NDArray[np.uint8],
    others: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    wanted: NDArray[np.uint8] | None = None,
    size: float = 0.0,
) -> Composed:
    """Paste pictures, and the wanted one among them, into a photo, and take a bad picture of it.

    Args:
        base: Photo, RGB and opacity.
        others: Pictures that stand around.
        rng: Source of all chance.
        wanted: The object, if the photo shall show it.
        size: Its longer side in pixels.
    """
    canvas = ground(base, rng).astype(np.float32)
    height, width = canvas.shape[:2]
    place = rng.uniform(0.15, 0.85, 2) * (width, height)
    before = (
        int(rng.integers(0, len(others) + 1)) if len(others) < 3 else len(others) - int(rng.integers(0, 3))
    )
    for picture in others[:before]:
        _paste(
            canvas,
            picture,
            _motion(picture.shape, rng.uniform(40, 220), rng.uniform(0, 1, 2) * (width, height), rng, 0.3),
            rng,
        )
    covers = np.zeros((height, width), bool)
    if wanted is not None:
        covers = _paste(canvas, wanted, _motion(wanted.shape, size, place, rng, 0.45), rng)
    area = max(int(covers.sum()), 1)
    left = covers.copy()
    for picture in others[before:]:
        where = rng.uniform(0, 1, 2) * (width, height)
        if wanted is not None and rng.random() < 0.4:
            where = place + rng.normal(0, 0.45 * size, 2)
        left &= ~_paste(
            canvas,
            picture,
            _motion(picture.shape, rng.uniform(30, max(60.0, 0.5 * size)), where, rng, 0.3),
            rng,
        )
    seen: NDArray[np.floating] = canvas
    if rng.random() < 0.5:
        seen = np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 1.1)), np.float32)
    seen = seen * rng.uniform(0.75, 1.15) + rng.normal(0, 6) + rng.normal(0, rng.uniform(0, 6), seen.shape)
    quality = int(rng.integers(55, 95))
    bgr = np.clip(seen, 0, 255).astype(np.uint8)[:, :, ::-1]
    coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]
    return Composed(
        np.ascontiguousarray(image),
        float(covers.sum() / covers.size),
        0.0 if wanted is None else float(1 - (covers & left).sum() / area),
    )
