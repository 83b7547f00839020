"""Things that are no products: crockery, tools, plants, small parts; and the surfaces they lie on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ilion.synthetic.artwork import drawing
from ilion.synthetic.camera import Pyramid, premultiplied, pyramid
from ilion.synthetic.color import WHITE, Colour, darker, lighter, mix, parse
from ilion.synthetic.ink import BOLD, Graded, Ink, oval, smooth
from ilion.synthetic.parts import STEEL

_SIDE = 192
_TONES: tuple[Colour, ...] = tuple(
    parse(c)
    for c in (
        "c8352b",
        "1f4e79",
        "2f6b4f",
        "f3c53a",
        "e7772e",
        "f4efe2",
        "3a3a40",
        "8ec3dd",
        "b5482f",
        "7ea04d",
    )
)


def _metal(angle: float) -> Graded:
    return Graded(lighter(STEEL, 0.5), darker(STEEL, 0.35), angle)


def _mug(ink: Ink, tone: Colour) -> None:
    ink.ring(0.77, 0.58, 0.17, 0.065, darker(tone, 0.2))
    ink.rect(0.14, 0.22, 0.72, 0.99, Graded(lighter(tone, 0.15), darker(tone, 0.3), 0), 0.07)
    ink.rect(0.2, 0.3, 0.26, 0.9, WHITE, 0.03, 0.35)
    ink.ellipse(0.43, 0.23, 0.29, 0.085, lighter(tone, 0.35))
    ink.ellipse(0.43, 0.235, 0.255, 0.066, (70, 42, 26))


def _glass(ink: Ink, tone: Colour) -> None:
    ink.polygon([(0.2, 0.1), (0.8, 0.1), (0.72, 0.99), (0.28, 0.99)], (222, 234, 238), 0.55)
    ink.polygon(
        [(0.225, 0.35), (0.775, 0.35), (0.715, 0.95), (0.285, 0.95)],
        Graded(lighter(tone, 0.3), tone, 0),
        0.85,
    )
    ink.ellipse(0.5, 0.35, 0.275, 0.05, lighter(tone, 0.45), opacity=0.9)
    ink.ellipse(0.5, 0.1, 0.3, 0.055, (236, 243, 246), opacity=0.8)
    ink.polygon([(0.27, 0.16), (0.33, 0.16), (0.36, 0.9), (0.32, 0.9)], WHITE, 0.5)


def _plant(ink: Ink, tone: Colour) -> None:
    for k, angle in enumerate((-165, -15, -140, -40, -118, -62, -90, -104, -76)):
        a, length = np.radians(angle), 0.44 + 0.03 * (k % 4)
        tip = (0.5 + length * np.cos(a), 0.62 + length * np.sin(a))
        middle = (0.5 + 0.55 * length * np.cos(a - 0.2), 0.62 + 0.55 * length * np.sin(a - 0.2))
        other = (0.5 + 0.5 * length * np.cos(a + 0.2), 0.62 + 0.5 * length * np.sin(a + 0.2))
        leaf = mix((52, 104, 62), (122, 168, 82), (k % 3) / 2)
        ink.curve([(0.5, 0.64), middle, tip, other], Graded(lighter(leaf, 0.2), darker(leaf, 0.25), angle))
    ink.polygon(
        [(0.3, 0.62), (0.7, 0.62), (0.64, 0.99), (0.36, 0.99)],
        Graded(lighter(tone, 0.2), darker(tone, 0.35), 0),
    )
    ink.rect(0.27, 0.6, 0.73, 0.68, Graded(lighter(tone, 0.3), darker(tone, 0.2), 0), 0.02)


def _lamp(ink: Ink, tone: Colour) -> None:
    ink.ellipse(0.5, 0.96, 0.2, 0.035, (60, 56, 54))
    ink.rect(0.48, 0.4, 0.52, 0.96, _metal(0))
    ink.polygon(
        [(0.34, 0.05), (0.66, 0.05), (0.86, 0.46), (0.14, 0.46)],
        Graded(lighter(tone, 0.55), lighter(tone, 0.1), 0),
    )
    ink.ellipse(0.5, 0.46, 0.36, 0.04, (255, 240, 205))


def _bowl(ink: Ink, tone: Colour) -> None:
    for x, y, name, colour in (
        (0.3, 0.36, "round", "c4282f"),
        (0.68, 0.36, "citrus", "f28a1c"),
        (0.5, 0.3, "pear", "a9bf38"),
    ):
        ink.stamp(drawing(name, parse(colour)), x, y, 0.44)
    ink.curve(
        [(0.04, 0.5), (0.5, 0.53), (0.96, 0.5), (0.84, 0.8), (0.62, 0.98), (0.38, 0.98), (0.16, 0.8)],
        Graded(lighter(tone, 0.25), darker(tone, 0.3), 20),
    )
    ink.line(smooth([(0.05, 0.52), (0.5, 0.56), (0.95, 0.52)], closed=False), 0.015, lighter(tone, 0.5))


def _kettle(ink: Ink, tone: Colour) -> None:
    ink.line(smooth([(0.3, 0.36), (0.32, 0.1), (0.68, 0.1), (0.7, 0.36)], closed=False), 0.05, (40, 38, 40))
    ink.polygon([(0.76, 0.5), (0.97, 0.36), (0.99, 0.44), (0.78, 0.74)], darker(tone, 0.15))
    ink.curve(
        [(0.3, 0.33), (0.7, 0.33), (0.84, 0.7), (0.8, 0.98), (0.2, 0.98), (0.16, 0.7)],
        Graded(lighter(tone, 0.3), darker(tone, 0.35), 0),
    )
    ink.ellipse(0.5, 0.33, 0.2, 0.035, darker(tone, 0.3))
    ink.ellipse(0.5, 0.29, 0.035, 0.035, (40, 38, 40))
    ink.ellipse(0.32, 0.62, 0.04, 0.16, WHITE, 8, 0.45)


def _cup_of_tools(ink: Ink, tone: Colour) -> None:
    for x, lean, handle in ((0.36, -0.08, "c8352b"), (0.5, 0.0, "f3c53a"), (0.64, 0.09, "1f4e79")):
        ink.line([(x, 0.7), (x + lean, 0.3)], 0.03, (190, 196, 204))
        ink.line([(x + lean, 0.3), (x + lean * 1.6, 0.06)], 0.075, parse(handle))
    ink.rect(0.22, 0.5, 0.78, 0.99, Graded(lighter(tone, 0.2), darker(tone, 0.35), 0), 0.03)


def _sphere(ink: Ink, tone: Colour) -> None:
    ink.ellipse(0.5, 0.5, 0.48, 0.48, Graded(lighter(tone, 0.35), darker(tone, 0.4), radial=True))
    ink.ellipse(0.34, 0.3, 0.1, 0.07, WHITE, -35, 0.6)


def _plate(ink: Ink, tone: Colour) -> None:
    for r, fill in (
        (0.49, (206, 204, 200)),
        (0.48, (248, 247, 244)),
        (0.43, tone),
        (0.415, (250, 249, 246)),
        (0.33, (228, 226, 222)),
        (0.32, (246, 245, 242)),
    ):
        ink.ellipse(0.5, 0.5, r, r, fill)


def _coffee(ink: Ink, tone: Colour) -> None:
    ink.ellipse(0.5, 0.5, 0.49, 0.49, (240, 239, 235))
    ink.ellipse(0.5, 0.5, 0.36, 0.36, (214, 212, 208))
    ink.rect(0.74, 0.45, 0.97, 0.55, tone, 0.04)
    for r, fill in ((0.3, tone), (0.27, WHITE), (0.245, (92, 56, 34)), (0.16, (170, 118, 76))):
        ink.ellipse(0.5, 0.5, r, r, fill)


def _wrench(ink: Ink, _: Colour) -> None:
    ink.rect(0.44, 0.2, 0.56, 0.8, _metal(0), 0.03)
    for y in (0.14, 0.86):
        ink.ellipse(0.5, y, 0.15, 0.13, _metal(45))
    ink.polygon([(0.43, 0.0), (0.57, 0.0), (0.57, 0.13), (0.5, 0.18), (0.43, 0.13)], (0, 0, 0))
    ink.alpha[: round(0.02 * _SIDE)] = 0
    ink.polygon(oval(0.5, 0.86, 0.075, 0.075, steps=6), (40, 42, 46))


def _screwdriver(ink: Ink, tone: Colour) -> None:
    ink.rect(0.475, 0.03, 0.525, 0.56, _metal(0))
    ink.rect(0.41, 0.52, 0.59, 0.98, Graded(lighter(tone, 0.35), darker(tone, 0.35), 0), 0.08)
    for x in (0.45, 0.5, 0.55):
        ink.line([(x, 0.6), (x, 0.92)], 0.014, darker(tone, 0.45))


def _hammer(ink: Ink, tone: Colour) -> None:
    ink.rect(0.455, 0.16, 0.545, 0.98, Graded((214, 168, 110), (150, 102, 58), 0), 0.03)
    ink.rect(0.44, 0.66, 0.56, 0.98, tone, 0.04)
    ink.rect(0.24, 0.06, 0.7, 0.2, _metal(90), 0.03)
    ink.polygon([(0.7, 0.06), (0.86, 0.1), (0.9, 0.24), (0.7, 0.2)], darker(STEEL, 0.25))


def _pliers(ink: Ink, tone: Colour) -> None:
    for side in (-1, 1):
        grip = smooth(
            [(0.5 + side * 0.04, 0.42), (0.5 + side * 0.16, 0.62), (0.5 + side * 0.13, 0.96)], closed=False
        )
        ink.line(grip, 0.085, tone)
        ink.polygon(
            [(0.5, 0.4), (0.5 + side * 0.1, 0.34), (0.5 + side * 0.06, 0.08), (0.5 + side * 0.01, 0.06)],
            _metal(0),
        )
    ink.ellipse(0.5, 0.4, 0.085, 0.085, _metal(45))
    ink.ellipse(0.5, 0.4, 0.03, 0.03, (44, 46, 50))


def _nut(ink: Ink, _: Colour) -> None:
    ink.polygon(oval(0.5, 0.5, 0.48, 0.48, 12, steps=6), _metal(45))
    ink.ellipse(0.5, 0.5, 0.24, 0.24, (38, 36, 36))


def _screw(ink: Ink, _: Colour) -> None:
    ink.rect(0.44, 0.2, 0.56, 0.9, _metal(0))
    ink.polygon([(0.44, 0.9), (0.56, 0.9), (0.5, 0.99)], darker(STEEL, 0.3))
    for k in range(9):
        ink.line([(0.42, 0.3 + 0.065 * k), (0.58, 0.33 + 0.065 * k)], 0.022, (60, 64, 70))
    ink.ellipse(0.5, 0.14, 0.15, 0.12, _metal(45))
    ink.line([(0.42, 0.14), (0.58, 0.14)], 0.03, (44, 46, 50))


def _tape(ink: Ink, tone: Colour) -> None:
    for r, fill in (
        (0.49, darker(tone, 0.25)),
        (0.47, tone),
        (0.4, lighter(tone, 0.15)),
        (0.3, (204, 176, 130)),
        (0.26, (70, 58, 48)),
    ):
        ink.ellipse(0.5, 0.5, r, r, fill)


def _pen(ink: Ink, tone: Colour) -> None:
    ink.rect(0.46, 0.1, 0.54, 0.88, Graded(lighter(tone, 0.4), darker(tone, 0.3), 0), 0.02)
    ink.rect(0.455, 0.04, 0.545, 0.34, Graded(lighter(tone, 0.1), darker(tone, 0.5), 0), 0.03)
    ink.polygon([(0.465, 0.88), (0.535, 0.88), (0.5, 0.98)], (204, 196, 170))


def _fork(ink: Ink, _: Colour) -> None:
    ink.rect(0.475, 0.4, 0.525, 0.98, _metal(0), 0.025)
    ink.curve([(0.41, 0.28), (0.59, 0.28), (0.53, 0.44), (0.47, 0.44)], _metal(0))
    for x in (0.42, 0.473, 0.527, 0.58):
        ink.rect(x - 0.012, 0.04, x + 0.012, 0.3, (190, 196, 204), 0.012)


def _knife(ink: Ink, tone: Colour) -> None:
    ink.curve([(0.47, 0.02), (0.56, 0.2), (0.55, 0.55), (0.47, 0.56)], _metal(20))
    ink.rect(0.465, 0.55, 0.545, 0.98, Graded(lighter(tone, 0.2), darker(tone, 0.4), 0), 0.03)


def _leaf_flat(ink: Ink, _: Colour) -> None:
    ink.stamp(drawing("leaves", (76, 132, 70)), 0.5, 0.5, 0.98)


def _note(ink: Ink, tone: Colour) -> None:
    ink.rect(0.08, 0.06, 0.92, 0.94, mix(tone, (255, 250, 230), 0.75))
    for k in range(6):
        ink.rect(0.16, 0.2 + 0.12 * k, 0.84 - 0.1 * (k % 3), 0.215 + 0.12 * k, (110, 110, 120))


STANDING: dict[str, Callable[[Ink, Colour], None]] = {
    "mug": _mug, "glass": _glass, "plant": _plant, "lamp": _lamp, "bowl": _bowl, "kettle": _kettle,
    "cup": _cup_of_tools, "sphere": _sphere,
}  # fmt: skip
FLAT: dict[str, Callable[[Ink, Colour], None]] = {
    "plate": _plate, "coffee": _coffee, "wrench": _wrench, "screwdriver": _screwdriver, "hammer": _hammer,
    "pliers": _pliers, "nut": _nut, "screw": _screw, "tape": _tape, "pen": _pen, "fork": _fork,
    "knife": _knife, "leaf": _leaf_flat, "note": _note,
}  # fmt: skip
FRUIT: tuple[tuple[str, str], ...] = (
    ("round", "c4282f"), ("round", "6fb33a"), ("citrus", "f28a1c"), ("pear", "a9bf38"), ("banana", "ecc643"),
    ("round", "d8321e"), ("peach", "f0956a"), ("pineapple", "edb93a"), ("carrot", "ee7f22"),
)  # fmt: skip
HEIGHTS: dict[str, float] = {
    "mug": 9, "glass": 13, "plant": 26, "lamp": 38, "bowl": 17, "kettle": 21, "cup": 22, "sphere": 2,
    "plate": 24, "coffee": 14, "wrench": 20, "screwdriver": 21, "hammer": 28, "pliers": 18, "nut": 2.2,
    "screw": 4.5, "tape": 9, "pen": 14, "fork": 19, "knife": 21, "leaf": 11, "note": 9, "fruit": 8,
}  # fmt: skip
"""Centimetres from foot to top (of flat things: length)."""


@lru_cache(maxsize=256)
def prop(name: str, tone: int) -> Pyramid:
    """Return a premultiplied RGBA pyramid; ``tone`` picks a colour (or which fruit)."""
    if name == "fruit":
        art, colour = FRUIT[tone % len(FRUIT)]
        return pyramid(premultiplied(drawing(art, parse(colour))))
    ink = Ink(_SIDE, _SIDE, _SIDE)
    (STANDING.get(name) or FLAT[name])(ink, _TONES[tone % len(_TONES)])
    return pyramid(premultiplied(ink.rgba()))


@lru_cache(maxsize=64)
def price_tag(number: int) -> Pyramid:
    """Return a shelf label with a price."""
    ground = (WHITE, WHITE, WHITE, (255, 222, 60), (214, 48, 40))[number % 5]
    tone = WHITE if number % 5 == 4 else (24, 24, 28)
    ink = Ink(96, 60, 96, ground)
    ink.text(
        f"{number * 7 % 60 + 1}.{(90, 95, 49, 99)[number % 4]}", 0.3, 0.12, 0.64, 0.4, tone, BOLD, align=1
    )
    for k in range(9):
        if (number * 37 + k * k * 5) % 7 > 2:
            ink.rect(0.05 + 0.026 * k, 0.24, 0.062 + 0.026 * k, 0.5, tone)
    ink.rect(0.05, 0.07, 0.55, 0.11, tone)
    ink.rect(0.05, 0.14, 0.4, 0.17, tone)
    return pyramid(ink.rgb)
