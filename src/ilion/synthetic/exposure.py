"""Effects of a camera on a scene: light, colour cast, exposure, blur, noise, JPEG."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.synthetic.ink import U8
from ilion.synthetic.warps import enlarge, smooth, streak

Random = np.random.Generator
_NOISE_SIDE = 768


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.int16]:
    """Return a fixed sheet of sensor noise (standard deviation 32), slightly correlated."""
    draw = np.random.Generator(np.random.PCG64(20_141_118))
    grey = draw.normal(0, 1, (_NOISE_SIDE, _NOISE_SIDE, 1)).astype(np.float32)
    colour = draw.normal(0, 1, (_NOISE_SIDE, _NOISE_SIDE, 3)).astype(np.float32)
    sheet = smooth(0.8 * grey + 0.6 * smooth(colour, 0.8) * 1.6, 0.45)
    scaled: NDArray[np.int16] = (sheet / sheet.std() * 32).astype(np.int16)
    return scaled


def _gain(draw: Random, height: int, width: int, harsh: float) -> U8:
    """Return a coarse map of light and colour cast, 128 is neutral, enlarged to (height, width, 3)."""
    x = np.linspace(-1, 1, 24, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
    angle = float(draw.uniform(0, 2 * np.pi))
    gain = 1 + harsh * 0.22 * (np.cos(angle) * x + np.sin(angle) * y)
    gain = gain - 0.07 * max(harsh, 0.3) * (x**2 + y**2)
    kind = draw.random()
    if kind < 0.18:  # sun through a window: a bright slanted patch
        slope, at, wide = draw.uniform(-0.8, 0.8), draw.uniform(-0.6, 0.6), draw.uniform(0.25, 0.6)
        edge = np.clip((wide - np.abs(x + slope * y - at)) * 9, 0, 1)
        gain = gain * (0.86 + 0.34 * harsh * edge)
    elif kind < 0.3:  # a lamp
        cx, cy = draw.uniform(-0.8, 0.8, 2)
        gain = gain * (0.82 + 0.42 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.7))
    gain = gain * float(np.exp(draw.normal(-0.06, 0.11) * harsh))
    warm, tint = float(draw.normal(0, 0.05 * harsh)), float(draw.normal(0, 0.015 * harsh))
    cast = np.array([1 + warm, 1 + tint, 1 - warm], np.float32)
    small = np.clip(128 * gain[..., None] * cast, 30, 255).astype(np.uint8)
    gain_map: U8 = np.clip(np.rint(enlarge(small, (width, height))), 0, 255).astype(np.uint8)
    return gain_map


@lru_cache(maxsize=64)
def _curve(step: int) -> U8:
    """Return a tone curve; ``step`` in -8..8 runs from flat to contrasty."""
    t = np.linspace(0, 1, 256)
    s = t * t * (3 - 2 * t)
    flat = 0.06 + 0.88 * t
    mixed = t + (s - t) * step / 10 if step > 0 else t + (flat - t) * -step / 8
    return np.clip(255 * mixed + 0.5, 0, 255).astype(np.uint8)


def expose(draw: Random, canvas: U8, size: tuple[int, int], harsh: float) -> bytes:
    """Return the JPEG that a camera would have made of a scene.

    Args:
        draw: Random numbers.
        canvas: (H, W, 3), an integer factor larger than ``size``.
        size: Width and height in pixels.
        harsh: 0 for a calm product photo, 1 for a snapshot by phone.
    """
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    image = cv2.multiply(image, _gain(draw, size[1], size[0], harsh), scale=1 / 128)
    image = cv2.LUT(image, _curve(int(np.clip(draw.normal(1, 3 * harsh), -8, 8))))
    blur = draw.random()
    unit = max(size) / 512
    if harsh > 0.5 and blur < 0.16:
        image = _shaken(image, float(draw.uniform(2.5, 7)) * unit, float(draw.uniform(0, np.pi)))
    elif harsh > 0.5 and blur < 0.32:
        image = cv2.GaussianBlur(image, (0, 0), float(draw.uniform(0.6, 1.6)) * unit)
    level = float(draw.gamma(1.6, 2.2)) * harsh
    if level > 0.8:
        x, y = (int(v) for v in draw.integers(0, _NOISE_SIDE - 1, 2))
        sheet = np.roll(_noise(), (-y, -x), axis=(0, 1)) if max(size) > _NOISE_SIDE else _window(x, y, size)
        reps = (-(-size[1] // sheet.shape[0]), -(-size[0] // sheet.shape[1]), 1)
        sheet = np.tile(sheet, reps)[: size[1], : size[0]] if max(reps) > 1 else sheet[: size[1], : size[0]]
        image = cv2.addWeighted(image, 1.0, sheet, min(level, 16.0) / 32, 0, dtype=cv2.CV_8U)
    quality = int(draw.integers(72, 95)) if harsh > 0.5 else int(draw.integers(88, 96))
    if harsh > 0.5 and draw.random() < 0.08:
        quality = int(draw.integers(40, 65))
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return bytes(data)


def _window(x: int, y: int, size: tuple[int, int]) -> NDArray[np.int16]:
    x, y = x % (_NOISE_SIDE - size[0] + 1), y % (_NOISE_SIDE - size[1] + 1)
    return _noise()[y : y + size[1], x : x + size[0]]


def _shaken(image: U8, length: float, angle: float) -> U8:
    """Blur along a line of ``length`` pixels, as a shaking hand does."""
    side = int(np.ceil(length)) | 1
    kernel = np.zeros((side, side), np.int32)
    middle = side / 2 - 0.5
    for t in np.linspace(-0.5, 0.5, 4 * side):
        x, y = middle + t * (length - 1) * np.cos(angle), middle + t * (length - 1) * np.sin(angle)
        kernel[round(float(y)), round(float(x))] += 1
    return streak(image, kernel)
