"""Drawings of machine parts, as printed on the boxes of spare parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ilion.synthetic.artwork import STAMP
from ilion.synthetic.color import Colour, darker, lighter
from ilion.synthetic.ink import U8, Graded, Ink, oval

STEEL: Colour = (150, 160, 172)
DARK: Colour = (52, 58, 66)


def _metal(angle: float = 90.0) -> Graded:
    return Graded(lighter(STEEL, 0.55), darker(STEEL, 0.35), angle)


def _disc(ink: Ink, r: float, fill: Colour | Graded) -> None:
    ink.ellipse(0.5, 0.5, r, r, fill)


def _bearing(ink: Ink, colour: Colour) -> None:
    for r, fill in ((0.47, DARK), (0.455, _metal(45)), (0.36, DARK), (0.35, (88, 94, 102))):
        _disc(ink, r, fill)
    for k in range(11):
        a = 2 * np.pi * k / 11
        ink.ellipse(
            0.5 + 0.295 * np.cos(a),
            0.5 + 0.295 * np.sin(a),
            0.062,
            0.062,
            Graded((250, 250, 252), (96, 104, 114), radial=True),
        )
    for r, fill in ((0.235, DARK), (0.225, _metal(225)), (0.13, DARK), (0.12, colour)):
        _disc(ink, r, fill)


def _gear(ink: Ink, colour: Colour) -> None:
    teeth = 14
    outline = []
    for k in range(teeth):
        for shift, r in ((0.0, 0.36), (0.16, 0.46), (0.46, 0.46), (0.62, 0.36)):
            a = 2 * np.pi * (k + shift) / teeth
            outline.append((0.5 + r * np.cos(a), 0.5 + r * np.sin(a)))
    ink.polygon(outline, _metal(50))
    _disc(ink, 0.3, darker(STEEL, 0.3))
    _disc(ink, 0.285, _metal(230))
    for k in range(5):
        a = 2 * np.pi * k / 5
        ink.ellipse(0.5 + 0.19 * np.cos(a), 0.5 + 0.19 * np.sin(a), 0.055, 0.055, DARK)
    _disc(ink, 0.09, colour)
    _disc(ink, 0.06, DARK)


def _bolt(ink: Ink, colour: Colour) -> None:
    for x in (0.28, 0.68):
        ink.rect(x - 0.15, 0.08, x + 0.15, 0.27, _metal(0), 0.02)
        ink.rect(x - 0.05, 0.08, x + 0.05, 0.27, lighter(STEEL, 0.6), opacity=0.5)
        ink.rect(x - 0.19, 0.27, x + 0.19, 0.32, darker(STEEL, 0.2), 0.02)
        ink.rect(x - 0.08, 0.32, x + 0.08, 0.9, _metal(0))
        for k in range(12):
            y = 0.42 + 0.04 * k
            ink.line([(x - 0.09, y), (x + 0.09, y + 0.02)], 0.012, DARK)
    ink.ellipse(0.48, 0.93, 0.1, 0.03, colour)


def _filter(ink: Ink, colour: Colour) -> None:
    ink.rect(0.22, 0.14, 0.78, 0.9, Graded(lighter(colour, 0.35), darker(colour, 0.4), 0), 0.05)
    for k in range(9):
        x = 0.26 + 0.06 * k
        ink.line([(x, 0.6), (x, 0.86)], 0.012, darker(colour, 0.45))
    ink.rect(0.22, 0.3, 0.78, 0.5, (244, 244, 240))
    ink.rect(0.28, 0.36, 0.6, 0.4, DARK)
    ink.rect(0.28, 0.43, 0.5, 0.45, DARK)
    ink.ellipse(0.5, 0.14, 0.28, 0.07, _metal(0))
    ink.ellipse(0.5, 0.14, 0.12, 0.03, DARK)


def _plug(ink: Ink, colour: Colour) -> None:
    ink.rect(0.455, 0.03, 0.545, 0.14, _metal(0), 0.02)
    ink.rect(0.42, 0.13, 0.58, 0.42, Graded((255, 255, 255), (198, 200, 204), 0), 0.02)
    for y in (0.19, 0.25, 0.31):
        ink.line([(0.42, y), (0.58, y)], 0.012, (176, 180, 186))
    ink.rect(0.43, 0.35, 0.57, 0.39, colour)
    ink.rect(0.33, 0.42, 0.67, 0.55, _metal(0), 0.01)
    ink.rect(0.39, 0.55, 0.61, 0.82, _metal(0))
    for k in range(6):
        ink.line([(0.385, 0.59 + 0.04 * k), (0.615, 0.6 + 0.04 * k)], 0.011, DARK)
    ink.rect(0.48, 0.82, 0.52, 0.88, (230, 230, 226))
    ink.line([(0.59, 0.82), (0.59, 0.92), (0.47, 0.92)], 0.025, DARK)


def _bulb(ink: Ink, colour: Colour) -> None:
    ink.ellipse(0.5, 0.38, 0.3, 0.32, Graded((255, 252, 224), lighter(colour, 0.35), radial=True))
    ink.polygon([(0.3, 0.58), (0.7, 0.58), (0.62, 0.74), (0.38, 0.74)], lighter(colour, 0.45))
    ink.line(
        [(0.42, 0.7), (0.42, 0.45), (0.46, 0.38), (0.5, 0.46), (0.54, 0.38), (0.58, 0.45), (0.58, 0.7)],
        0.014,
        (150, 96, 30),
    )
    ink.rect(0.38, 0.72, 0.62, 0.9, _metal(0), 0.02)
    for y in (0.77, 0.82, 0.87):
        ink.line([(0.37, y), (0.63, y + 0.012)], 0.012, DARK)
    ink.ellipse(0.5, 0.92, 0.07, 0.03, DARK)


def _spring(ink: Ink, colour: Colour) -> None:
    for k in range(8):
        y = 0.14 + 0.095 * k
        ink.line([(0.25, y + 0.05), (0.75, y)], 0.045, darker(STEEL, 0.4))
        ink.line([(0.25, y + 0.045), (0.75, y - 0.005)], 0.02, lighter(STEEL, 0.5))
        if k < 7:
            ink.line([(0.75, y), (0.25, y + 0.145)], 0.05, DARK)
            ink.line([(0.75, y), (0.25, y + 0.142)], 0.03, colour)


def _battery(ink: Ink, colour: Colour) -> None:
    for x in (0.2, 0.55):
        ink.rect(x + 0.08, 0.08, x + 0.17, 0.16, _metal(0), 0.01)
        ink.rect(x, 0.14, x + 0.25, 0.92, Graded(lighter(DARK, 0.35), (24, 24, 28), 0), 0.025)
        ink.rect(x, 0.2, x + 0.25, 0.42, Graded(lighter(colour, 0.3), darker(colour, 0.25), 0))
        ink.line([(x + 0.09, 0.31), (x + 0.16, 0.31)], 0.02, (255, 255, 255))
        ink.line([(x + 0.125, 0.275), (x + 0.125, 0.345)], 0.02, (255, 255, 255))


def _brake(ink: Ink, colour: Colour) -> None:
    for r, fill in ((0.46, DARK), (0.45, _metal(45)), (0.27, DARK), (0.26, _metal(200))):
        _disc(ink, r, fill)
    for k in range(24):
        a = 2 * np.pi * k / 24
        r = 0.33 + 0.055 * (k % 3)
        ink.ellipse(0.5 + r * np.cos(a), 0.5 + r * np.sin(a), 0.013, 0.013, DARK)
    for k in range(5):
        a = 2 * np.pi * k / 5
        ink.ellipse(0.5 + 0.17 * np.cos(a), 0.5 + 0.17 * np.sin(a), 0.028, 0.028, DARK)
    _disc(ink, 0.1, DARK)
    t = np.radians(np.linspace(200, 285, 14))
    pad = [*zip(0.5 + 0.49 * np.cos(t), 0.5 + 0.49 * np.sin(t), strict=True)]
    pad += [*zip(0.5 + 0.29 * np.cos(t[::-1]), 0.5 + 0.29 * np.sin(t[::-1]), strict=True)]
    ink.polygon(pad, Graded(lighter(colour, 0.25), darker(colour, 0.2), 60))


def _connector(ink: Ink, colour: Colour) -> None:
    ink.line([(0.5, 0.5), (0.5, 0.75), (0.3, 0.85), (0.3, 0.99)], 0.07, DARK)
    ink.rect(0.2, 0.16, 0.8, 0.58, Graded(lighter(colour, 0.3), darker(colour, 0.3), 90), 0.05)
    ink.rect(0.26, 0.24, 0.74, 0.5, DARK, 0.02)
    for k in range(4):
        for row in (0.31, 0.42):
            ink.ellipse(0.33 + 0.113 * k, row, 0.032, 0.032, (226, 190, 96))


PARTS: dict[str, Callable[[Ink, Colour], None]] = {
    "bearing": _bearing, "gear": _gear, "bolt": _bolt, "filter": _filter, "plug": _plug, "bulb": _bulb,
    "spring": _spring, "battery": _battery, "brake": _brake, "connector": _connector,
}  # fmt: skip


@lru_cache(maxsize=128)
def part(name: str, colour: Colour) -> U8:
    """Return the RGBA stamp of a machine part with an accent colour; (STAMP, STAMP, 4).

    >>> bool(part("gear", (200, 60, 40))[..., 3].any())
    True
    """
    ink = Ink(STAMP, STAMP, STAMP)
    PARTS[name](ink, colour)
    stamp = ink.rgba()
    stamp.setflags(write=False)
    return stamp


@lru_cache(maxsize=512)
def logo(mark: int, colour: Colour, second: Colour) -> U8:
    """Return the RGBA stamp of one of twelve geometric logo marks; (STAMP, STAMP, 4).

    >>> logo(3, (0, 0, 0), (255, 255, 255)).shape
    (224, 224, 4)
    """
    ink = Ink(STAMP, STAMP, STAMP)
    mark %= 12
    if mark == 0:
        _disc(ink, 0.48, colour)
        ink.polygon([(0.5, 0.14), (0.8, 0.7), (0.2, 0.7)], second)
    elif mark == 1:
        for k in range(3):
            ink.ellipse(
                0.5 + 0.2 * np.cos(2.09 * k - 1.57),
                0.5 + 0.2 * np.sin(2.09 * k - 1.57),
                0.25,
                0.25,
                (colour, second, darker(colour, 0.3))[k],
                opacity=0.9,
            )
    elif mark == 2:
        ink.polygon(oval(0.5, 0.5, 0.48, 0.48, 30, 6), colour)
        ink.polygon(oval(0.5, 0.5, 0.3, 0.3, 30, 6), second)
        ink.polygon(oval(0.5, 0.5, 0.15, 0.15, 30, 6), colour)
    elif mark == 3:
        for k in range(4):
            ink.rect(0.08 + 0.22 * k, 0.8 - 0.2 * k, 0.25 + 0.22 * k, 0.92, colour if k < 3 else second)
    elif mark == 4:
        _disc(ink, 0.24, second)
        for k in range(12):
            a = np.pi * k / 6
            ink.line(
                [
                    (0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a)),
                    (0.5 + 0.46 * np.cos(a), 0.5 + 0.46 * np.sin(a)),
                ],
                0.05,
                colour,
            )
    elif mark == 5:
        ink.polygon([(0.04, 0.84), (0.36, 0.22), (0.54, 0.56), (0.66, 0.38), (0.96, 0.84)], colour)
        ink.polygon([(0.36, 0.22), (0.45, 0.4), (0.36, 0.46), (0.27, 0.4)], second)
    elif mark == 6:
        ink.rect(0.06, 0.06, 0.94, 0.94, colour, 0.2)
        ink.curve([(0.2, 0.62), (0.4, 0.36), (0.6, 0.64), (0.8, 0.4), (0.6, 0.8), (0.4, 0.54)], second)
    elif mark == 7:
        for k, r in enumerate((0.47, 0.36, 0.25, 0.14)):
            _disc(ink, r, second if k % 2 else colour)
    elif mark == 8:
        ink.curve([(0.5, 0.05), (0.85, 0.4), (0.5, 0.95), (0.15, 0.4)], colour)
        ink.line([(0.5, 0.9), (0.5, 0.3)], 0.04, second)
    elif mark == 9:
        star = [
            (0.5 + r * np.sin(np.pi * k / 5), 0.5 - r * np.cos(np.pi * k / 5))
            for k, r in enumerate([0.48, 0.2] * 5)
        ]
        ink.polygon(star, colour)
    elif mark == 10:
        ink.polygon(
            [(0.5, 0.03), (0.93, 0.18), (0.86, 0.64), (0.5, 0.97), (0.14, 0.64), (0.07, 0.18)], colour
        )
        ink.polygon([(0.5, 0.2), (0.78, 0.5), (0.5, 0.78), (0.22, 0.5)], second)
    else:
        t = np.linspace(0, np.pi, 24)
        for k, r in enumerate((0.46, 0.34, 0.22)):
            ink.polygon(
                np.stack([0.5 + r * np.cos(t), 0.74 - r * np.sin(t)], axis=1), second if k == 1 else colour
            )
        ink.rect(0.04, 0.78, 0.96, 0.86, colour)
    stamp = ink.rgba()
    stamp.setflags(write=False)
    return stamp
