"""Materials that scenes are built of, as tiles that repeat: wood, tiles, plaster, pegboard, cloth ..."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from ilion.synthetic.color import PALETTES, Colour, darker, lighter, mix, parse
from ilion.synthetic.ink import U8, Graded, Ink
from ilion.synthetic.seeds import rng
from ilion.synthetic.warps import enlarge

Random = np.random.Generator
SIDE = 512  # pixels
_WOODS = tuple(
    (parse(dark), parse(light))
    for dark, light in (
        ("8a5a34", "c99a66"),
        ("5b3a26", "8c6242"),
        ("b48a5e", "e2c39a"),
        ("6f5a48", "a08b74"),
        ("9a6f48", "d6ab78"),
    )
)
_PLASTERS = tuple(
    parse(c) for c in ("d9cdb8", "c7d0cf", "b9c3b0", "e6dfd0", "c9b5a5", "a9b7c4", "dccfc9", "8fa39a")
)
_GLAZES = tuple(
    parse(c) for c in ("c8352b", "1f4e79", "2f6b4f", "f3c53a", "e7772e", "3a3a40", "8ec3dd", "7ea04d")
)


def _grain(draw: Random, tall: int, wide: int) -> U8:
    """Return grey noise whose grains are ``tall`` by ``wide`` pixels; it repeats without a seam."""
    rows, columns = SIDE // tall, max(3, SIDE // wide)
    around = np.pad(draw.normal(0, 1, (rows, columns)).astype(np.float32), 2, mode="wrap")
    top, left = round(2 * SIDE / rows), round(2 * SIDE / columns)
    fine = enlarge(around, (SIDE + 2 * left, SIDE + 2 * top))
    return np.clip(128 + 34 * fine[top : top + SIDE, left : left + SIDE], 0, 255).astype(np.uint8)


def _tinted(grey: U8, dark: Colour, light: Colour) -> U8:
    levels = np.linspace(0, 1, 256)[:, None]
    table = np.array(dark) * (1 - levels) + np.array(light) * levels
    tinted: U8 = table.astype(np.uint8)[grey]
    return tinted


def _boards(draw: Random, number: int, count: int) -> U8:
    dark, light = _WOODS[number % len(_WOODS)]
    grey = cv2.addWeighted(_grain(draw, 5, 160), 0.75, _grain(draw, 2, 60), 0.25, 0)
    tile = _tinted(np.asarray(grey, np.uint8), dark, light)
    for k in range(count):
        y0, y1 = k * SIDE // count, (k + 1) * SIDE // count
        tile[y0:y1] = np.clip(tile[y0:y1].astype(np.int16) + int(draw.integers(-14, 15)), 0, 255)
        tile[y0 : y0 + 3] = darker(dark, 0.45)
        x = int(draw.integers(SIDE))
        tile[y0:y1, x : x + 3] = darker(dark, 0.4)
    return tile


def _wood(draw: Random, number: int) -> U8:
    return _boards(draw, number, 4)


def _floor(draw: Random, number: int) -> U8:
    return _boards(draw, number, 6)


def _tiles(draw: Random, number: int) -> U8:
    tone = _GLAZES[int(draw.integers(len(_GLAZES)))]
    light = ((238, 238, 232), lighter(tone, 0.6), lighter(tone, 0.82))[number % 3]
    ink = Ink(SIDE, SIDE, SIDE, darker(light, 0.18))
    step = 1 / 6
    for row in range(6):
        for k in range(7):
            x, y = (k - 0.5 * (row % 2)) * step, row * step
            shade = float(draw.uniform(-0.05, 0.05))
            face = lighter(light, shade) if shade > 0 else darker(light, -shade)
            glaze = Graded(lighter(face, 0.25), face, 60)
            ink.rect(x + 0.006, y + 0.006, x + step - 0.006, y + step - 0.006, glaze)
    return ink.rgb


def _plaster(draw: Random, number: int) -> U8:
    base = _PLASTERS[number % len(_PLASTERS)]
    return _tinted(_grain(draw, 40, 40), darker(base, 0.07), lighter(base, 0.12))


def _wallpaper(draw: Random, number: int) -> U8:
    ground, _, paper, _ = PALETTES[number % len(PALETTES)]
    base = mix(lighter(ground, 0.6), paper, 0.4)
    ink = Ink(SIDE, SIDE, SIDE, base)
    for k in range(8):
        if number % 2:
            ink.rect(k / 8, 0, k / 8 + 0.05, 1, lighter(ground, 0.5))
        for row in range(8):
            x, y = k / 8 + 0.0625 * (row % 2), row / 8 + 0.06
            leaf = [(x, y - 0.03), (x + 0.02, y), (x, y + 0.03), (x - 0.02, y)]
            ink.curve(leaf, mix(base, ground, 0.3))
    return ink.rgb


def _pegboard(draw: Random, number: int) -> U8:
    base = ((196, 158, 110), (226, 224, 216), (88, 100, 110))[number % 3]
    ink = Ink(SIDE, SIDE, SIDE, base)
    for row in range(12):
        for k in range(12):
            ink.ellipse((k + 0.5) / 12, (row + 0.5) / 12, 0.009, 0.009, darker(base, 0.7))
    return ink.rgb


def _cloth(draw: Random, number: int) -> U8:
    tone = _GLAZES[int(draw.integers(len(_GLAZES)))]
    ink = Ink(SIDE, SIDE, SIDE, (244, 241, 234))
    for k in range(8):
        ink.rect(k / 8, 0, k / 8 + 1 / 16, 1, tone, opacity=0.5)
        ink.rect(0, k / 8, 1, k / 8 + 1 / 16, tone, opacity=0.5)
    return ink.rgb


def _stone(draw: Random, number: int) -> U8:
    base = ((226, 224, 220), (196, 194, 190), (120, 122, 124), (232, 226, 214))[number % 4]
    tile = _tinted(_grain(draw, 24, 24), darker(base, 0.12), lighter(base, 0.2))
    tile[draw.random((SIDE, SIDE)) < 0.02] = darker(base, 0.22)
    return np.asarray(cv2.GaussianBlur(tile, (3, 3), 0), np.uint8)


_MATERIALS: dict[str, Callable[[Random, int], U8]] = {
    "wood": _wood,
    "floor": _floor,
    "tiles": _tiles,
    "plaster": _plaster,
    "wallpaper": _wallpaper,
    "pegboard": _pegboard,
    "cloth": _cloth,
    "stone": _stone,
}


@lru_cache(maxsize=64)
def surface(name: str, number: int) -> U8:
    """Return a tile (SIDE, SIDE, 3) of a material; ``number`` picks one of its looks.

    >>> surface("wood", 0).shape
    (512, 512, 3)
    """
    return _MATERIALS[name](rng(number, "surface", name), number)
