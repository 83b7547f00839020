"""The print of every package: its faces as textures.

Faces depend on the product alone, so that two pictures of a product show the same print.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from ilion.synthetic import words
from ilion.synthetic.color import (
    BLACK,
    WHITE,
    Colour,
    darker,
    lighter,
    mix,
    readable,
)
from ilion.synthetic.covers import cover, poster
from ilion.synthetic.goods import PART_KINDS
from ilion.synthetic.ink import BOLD, U8, Graded, Ink, Style
from ilion.synthetic.layouts import LAYOUTS
from ilion.synthetic.parts import logo, part
from ilion.synthetic.products import Product, print_on
from ilion.synthetic.seeds import rng
from ilion.synthetic.warps import convolve, enlarge

FACE_SIDE = 448
"""Pixels of a face's longer side."""
CARDBOARD: Colour = (196, 158, 112)


def front(what: Product) -> U8:
    """Return the front face (H, W, 3)."""
    width, height, _ = what.line.size
    ink = _face(width, height)
    if what.line.package == "parts":
        _parts_front(ink, what)
    elif what.line.package == "book":
        cover(ink, what)
    elif what.line.package == "poster":
        poster(ink, what)
    else:
        LAYOUTS[what.line.layout % len(LAYOUTS)](ink, what)
    return ink.rgb


def side(what: Product) -> U8:
    """Return the right and left face (H, W, 3); the spine of a book."""
    _, height, depth = what.line.size
    ink = _face(depth, height)
    of, h = what.line, ink.height
    if of.package == "book":
        ground = what.flavour.colour
        ink.rect(0, 0, 1, h, Graded(darker(ground, 0.2), lighter(ground, 0.08), 0))
        tone = readable(ground, darker(of.dark, 0.1), of.paper)
        for y in (0.04, 0.09, 0.86):
            ink.rect(0, h * y, 1, h * y + 0.08, of.second)
        ink.text(of.title, 0.2, h * 0.13, 0.6, h * 0.48, tone, BOLD, turn=3, align=0)
        ink.text(of.claim2.split()[-1], 0.28, h * 0.63, 0.44, h * 0.2, tone, turn=3, align=1)
        ink.text(what.number.split()[-1], 0.1, h * 0.925, 0.8, h * 0.05, tone, BOLD)
        return ink.rgb
    ground = of.ground if of.package != "parts" or of.layout % 3 else mix(CARDBOARD, WHITE, 0.1)
    ink.rect(0, 0, 1, h, Graded(lighter(ground, 0.06), darker(ground, 0.1), 90))
    ink.rect(0, h * 0.9, 1, h, what.flavour.colour)
    tone = print_on(ground, of)
    if of.package == "parts":
        ink.text(of.brand, 0.08, h * 0.08, 0.84, h * 0.2, tone, of.style)
        ink.text(what.number, 0.08, h * 0.33, 0.84, h * 0.16, tone, BOLD)
        ink.rect(0.12, h * 0.55, 0.88, h * 0.86, WHITE)
        _barcode(ink, what, 0.17, h * 0.58, 0.66, h * 0.24)
        return ink.rgb
    ink.text(of.brand, 0.1, h * 0.04, 0.8, h * 0.1, tone, of.style)
    ink.text(what.flavour.name, 0.1, h * 0.15, 0.8, h * 0.06, tone, BOLD)
    _paragraph(ink, what, words.SMALL_PRINT, 0.1, h * 0.235, 0.8, h * 0.19, tone)
    _table(ink, what, 0.1, h * 0.45, 0.8, h * 0.24)
    ink.rect(0.14, h * 0.72, 0.86, h * 0.88, WHITE)
    _barcode(ink, what, 0.2, h * 0.735, 0.6, h * 0.13)
    return ink.rgb


def top(what: Product) -> U8:
    """Return the top face (H, W, 3); the page edges of a book; the roof of a gable-top carton."""
    of = what.line
    width, _, depth = of.size
    if of.package == "book":
        pages = np.full((24, 200, 3), (238, 230, 212), np.uint8)
        pages[::3] = (222, 212, 190)
        pages[:2] = pages[-2:] = np.array(what.flavour.colour, np.uint8)
        return pages
    if of.package == "poster":
        return np.full((8, 64, 3), 235, np.uint8)
    ink = _face(width, depth if of.package != "gable" else depth * 0.75)
    h = ink.height
    ground = of.ground if of.package != "parts" or of.layout % 3 else mix(CARDBOARD, WHITE, 0.1)
    ink.rect(0, 0, 1, h, Graded(lighter(ground, 0.18), ground, 90))
    tone = print_on(ground, of)
    if of.package == "gable":
        ink.rect(0, h * 0.86, 1, h, what.flavour.colour)
        ink.text(of.brand, 0.1, h * 0.4, 0.8, h * 0.4, tone, of.style)
        if of.serial % 2:
            ink.ellipse(0.5, h * 0.24, 0.17, h * 0.2, darker(what.flavour.colour, 0.35))
            ink.ellipse(
                0.5,
                h * 0.21,
                0.16,
                h * 0.18,
                Graded(lighter(what.flavour.colour, 0.3), what.flavour.colour, 60),
            )
    else:
        ink.rect(0, 0, 0.09, h, what.flavour.colour)
        ink.text(of.brand, 0.15, h * 0.14, 0.7, h * 0.44, tone, of.style)
        label = what.number if of.package == "parts" else f"{what.flavour.name} {of.noun}"
        ink.text(label, 0.15, h * 0.62, 0.7, h * 0.22, tone)
        ink.line([(0, h * 0.5), (1, h * 0.5)], 0.004, darker(ground, 0.2))
    return ink.rgb


def wrap(what: Product) -> U8:
    """Return the label around a can, bottle, jar or tub (H, W, 3), its front in the middle."""
    of = what.line
    width, height, _ = of.size
    tall = height * LABEL[of.package][1]
    ink = _face(width * np.pi, tall, FACE_SIDE * 3 // 2)
    rows, columns = ink.alpha.shape
    ground = of.ground
    ink.rgb[:] = ground
    panel_width = round(columns * 0.44)
    panel = Ink(panel_width, rows, panel_width)
    LAYOUTS[of.layout % len(LAYOUTS)](panel, what)
    start = (columns - panel_width) // 2
    ink.rgb[:, start : start + panel_width] = panel.rgb
    edge = 20  # pixels over which the panel runs into the rest of the label
    for step in range(edge):
        share = step / edge
        for column in (start + step, start + panel_width - 1 - step):
            ink.rgb[:, column] = ink.rgb[:, column] * share + np.array(ground) * (1 - share)
    ink.rgb[: rows // 30] = what.flavour.colour
    ink.rgb[-(rows // 24) :] = what.flavour.colour
    tone, h = print_on(ground, of), ink.height
    for x in (0.03, 0.8):
        _paragraph(ink, what, words.SMALL_PRINT, x, h * 0.12, 0.17, h * 0.3, tone)
        ink.rect(x + 0.02, h * 0.5, x + 0.13, h * 0.85, WHITE)
        _barcode(ink, what, x + 0.03, h * 0.54, 0.09, h * 0.26)
    return ink.rgb


# Where the label of a round package lies, as fractions of its height from the top: (start, length).
LABEL: dict[str, tuple[float, float]] = {
    "can": (0.06, 0.9), "bottle": (0.42, 0.46), "jar": (0.26, 0.62), "tub": (0.07, 0.91),
}  # fmt: skip


def _face(width: float, height: float, side: int = FACE_SIDE) -> Ink:
    scale = side / max(width, height)
    pixels = max(24, round(width * scale))
    return Ink(pixels, max(12, round(height * scale)), pixels, WHITE)


def _barcode(ink: Ink, what: Product, x: float, y: float, width: float, height: float) -> None:
    """Bars whose digits differ between any two products of a line."""
    digits = f"{what.line.serial:05d}{int(what.line.own)}{what.line.number % 1000:03d}{what.variant:03d}"
    bars = "101" + "".join(_EAN[int(d)] for d in digits) + "101"
    step = width / len(bars)
    for k, bar in enumerate(bars):
        if bar == "1":
            ink.rect(x + k * step, y, x + (k + 1) * step, y + height * 0.8, BLACK)
    ink.text(digits, x, y + height * 0.82, width, height * 0.2, BLACK, Style(spacing=0.15))


_EAN = [
    "0001101",
    "0011001",
    "0010011",
    "0111101",
    "0100011",
    "0110001",
    "0101111",
    "0111011",
    "0110111",
    "0001011",
]


def _paragraph(
    ink: Ink,
    what: Product,
    text: Sequence[str],
    x: float,
    y: float,
    width: float,
    height: float,
    tone: Colour,
) -> None:
    start = what.line.serial % len(text)
    turned_words = [*text[start:], *text[:start]]
    rows, per = 7, 6
    for row in range(rows):
        line = " ".join(turned_words[row * per : (row + 1) * per])
        ink.text(line, x, y + row * height / rows, width, height / rows * 0.72, tone, align=0)


def _table(ink: Ink, what: Product, x: float, y: float, width: float, height: float) -> None:
    ink.rect(x, y, x + width, y + height, WHITE)
    draw = rng(what.line.serial, "table", what.variant)
    names = ("Energy", "Fat", "Carbs", "Sugar", "Protein", "Salt")
    tall = height / 7
    ink.text("per 100 g", x + 0.04, y + tall * 0.15, width * 0.6, tall * 0.8, BLACK, BOLD, align=0)
    for k, name in enumerate(names):
        top_edge = y + tall * (k + 1)
        ink.rect(x, top_edge, x + width, top_edge + 0.008, BLACK)
        ink.text(name, x + 0.04, top_edge + tall * 0.18, width * 0.5, tall * 0.68, BLACK, align=0)
        value = f"{int(draw.integers(20, 480))} kcal" if k == 0 else f"{draw.uniform(0.1, 30):.1f} g"
        ink.text(value, x + width * 0.5, top_edge + tall * 0.18, width * 0.46, tall * 0.68, BLACK, align=1)


def _parts_front(ink: Ink, what: Product) -> None:
    of, accent, h = what.line, what.flavour.colour, ink.height
    ground = (mix(CARDBOARD, WHITE, 0.1), WHITE, of.ground)[of.layout % 3]
    ink.rect(0, 0, 1, h, Graded(lighter(ground, 0.1), darker(ground, 0.05), 90))
    if of.layout // 3 % 2:
        ink.polygon(
            [(0, 0), (1, 0), (1, h * 0.2), (0, h * 0.34)], of.ground if ground != of.ground else of.dark
        )
        band = of.ground if ground != of.ground else of.dark
        ink.polygon([(0, h * 0.34), (1, h * 0.2), (1, h * 0.23), (0, h * 0.37)], accent)
    else:
        band = accent
        ink.rect(0, 0, 1, h * 0.26, accent)
        ink.rect(0, h * 0.26, 1, h * 0.275, of.dark)
    tone = readable(band)
    mark = of.second if accent != of.second else lighter(of.ground, 0.3)
    ink.stamp(logo(of.logo, tone, mark), 0.1, h * 0.12, min(0.13, h * 0.18))
    ink.text(of.brand, 0.19, h * 0.035, 0.55, h * 0.17, tone, of.style, align=0)
    dark = readable(ground, of.dark, WHITE)
    ink.rect(0.05, h * 0.4, 0.44, h * 0.93, WHITE, 0.015)
    ink.stamp(part(of.art, accent), 0.245, h * 0.665, min(0.37, h * 0.5))
    ink.text(of.noun.upper(), 0.49, h * 0.36, 0.46, h * 0.085, dark, Style(0.03, spacing=0.08), align=0)
    ink.text(what.number, 0.49, h * 0.45, 0.46, h * 0.13, dark, Style(0.07, 0.95), align=0)
    draw = rng(of.serial, "spec", what.variant)
    kind = next(kind for kind in PART_KINDS if kind.noun == of.noun)
    for k, name in enumerate(kind.spec):
        y = h * (0.61 + 0.065 * k)
        ink.rect(0.49, y + h * 0.056, 0.73, y + h * 0.06, dark)
        ink.text(name, 0.49, y, 0.13, h * 0.048, dark, align=0)
        ink.text(f"{draw.uniform(2, 90):.1f}", 0.62, y, 0.11, h * 0.048, dark, BOLD, align=1)
    ink.text(of.claim, 0.76, h * 0.6, 0.2, h * 0.09, dark, BOLD)
    ink.rect(0.755, h * 0.71, 0.96, h * 0.95, WHITE)
    _barcode(ink, what, 0.77, h * 0.735, 0.175, h * 0.2)
    _paragraph(ink, what, words.TECH_PRINT, 0.49, h * 0.82, 0.24, h * 0.13, dark)


@lru_cache(maxsize=64)
def crinkle(seed: int) -> U8:
    """Return soft folds of foil as grey levels around 128, (FACE_SIDE, FACE_SIDE)."""
    draw = rng(seed, "crinkle")
    small = draw.normal(0, 1, (9, 7)).astype(np.float32)
    large = enlarge(small, (FACE_SIDE, FACE_SIDE))
    slope = convolve(large, *cv2.getDerivKernels(1, 1, 7))
    folds: U8 = np.clip(128 + 16 * slope / (np.abs(slope).mean() + 1e-6), 60, 205).astype(np.uint8)
    return folds


def pouch(what: Product) -> U8:
    """Return a filled pouch as seen from the front (H, W, 4): welded top, bulging foil, rounded foot."""
    flat = front(what)
    rows, columns = flat.shape[:2]
    ink = Ink(columns, rows, columns)
    h = ink.height
    outline = [(0.03, 0), (0.97, 0), (0.965, 0.1 * h), (1.0, 0.45 * h), (0.985, 0.85 * h), (0.95, h * 0.985)]
    outline += [(0.5, h), (0.05, h * 0.985), (0.015, 0.85 * h), (0, 0.45 * h), (0.035, 0.1 * h)]
    ink.polygon(outline, WHITE)
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    bulge = (
        1.06
        - 0.5 * np.abs(x) ** 3 * np.clip(y * 3, 0, 1)
        + 0.16 * np.exp(-((x + 0.45) ** 2) / 0.03) * np.clip(1.4 - y, 0, 1)
    )
    bulge = bulge * (1 - 0.25 * np.clip((y - 0.8) / 0.2, 0, 1) ** 2)
    folds = cv2.resize(crinkle(what.line.serial % 64), (columns, rows)).astype(np.float32) / 128
    bulge = bulge * (0.7 + 0.3 * folds)
    weld = round(rows * 0.07)
    bulge[:weld] = np.where((np.arange(weld) // 3 % 2)[:, None] == 0, 0.93, 1.04)
    bulge[weld : weld + 2] = 0.75
    return np.dstack([np.clip(flat * bulge[..., None], 0, 255).astype(np.uint8), ink.alpha])
