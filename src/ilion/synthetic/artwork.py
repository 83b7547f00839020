"""Vector drawings that are printed on packages: fruit, leaves, grains, nuts, and machine parts.

Each drawing works in the unit square and becomes a square RGBA stamp.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ilion.synthetic.color import WHITE, Colour, darker, lighter, mix, turned
from ilion.synthetic.ink import U8, Graded, Ink, oval, smooth

STAMP = 224  # pixels
LEAF: Colour = (86, 148, 62)
WOOD: Colour = (104, 70, 40)


def _ball(ink: Ink, cx: float, cy: float, rx: float, ry: float, colour: Colour, shine: bool = True) -> None:
    ink.ellipse(cx, cy, rx, ry, Graded(lighter(colour, 0.25), darker(colour, 0.3), radial=True))
    if shine:
        ink.ellipse(cx - rx * 0.35, cy - ry * 0.4, rx * 0.22, ry * 0.15, WHITE, -35, 0.65)


def _leaf(ink: Ink, x: float, y: float, length: float, angle: float, colour: Colour = LEAF) -> None:
    a = np.radians(angle)
    along, across = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
    base = np.array([x, y])
    shape = [(0, 0), (0.25, 0.2), (0.6, 0.22), (1, 0), (0.6, -0.16), (0.25, -0.14)]
    ink.curve(
        [tuple(base + length * (u * along + v * across)) for u, v in shape],
        Graded(lighter(colour, 0.2), darker(colour, 0.25), angle + 90),
    )
    ink.line([(x, y), tuple(base + along * length * 0.9)], 0.012, lighter(colour, 0.45))


def _round_fruit(ink: Ink, colour: Colour) -> None:
    body = [(0.5, 0.3), (0.68, 0.22), (0.88, 0.36), (0.88, 0.62), (0.72, 0.88), (0.5, 0.9)]
    body += [(1 - x, y) for x, y in body[-2:0:-1]]
    ink.curve(body, Graded(lighter(colour, 0.3), darker(colour, 0.35), radial=True))
    ink.ellipse(0.5, 0.31, 0.11, 0.035, darker(colour, 0.45), opacity=0.6)
    ink.line(smooth([(0.5, 0.31), (0.51, 0.2), (0.56, 0.1)], closed=False), 0.035, WOOD)
    _leaf(ink, 0.53, 0.2, 0.3, -18)
    ink.ellipse(0.3, 0.46, 0.06, 0.1, WHITE, 25, 0.55)


def _peach(ink: Ink, colour: Colour) -> None:
    _ball(ink, 0.5, 0.55, 0.4, 0.38, colour, shine=False)
    ink.curve([(0.55, 0.2), (0.8, 0.3), (0.86, 0.6), (0.66, 0.9), (0.74, 0.55)], turned(colour, -0.05), 0.45)
    ink.line(smooth([(0.52, 0.2), (0.44, 0.4), (0.5, 0.62)], closed=False), 0.014, darker(colour, 0.35))
    _leaf(ink, 0.5, 0.2, 0.34, -25)
    _leaf(ink, 0.5, 0.2, 0.3, -160)


def _citrus(ink: Ink, colour: Colour) -> None:
    _ball(ink, 0.4, 0.4, 0.34, 0.34, colour)
    _leaf(ink, 0.36, 0.1, 0.3, 5)
    cx, cy, r = 0.64, 0.64, 0.31
    ink.ellipse(cx, cy, r, r, darker(colour, 0.12))
    ink.ellipse(cx, cy, r * 0.93, r * 0.93, lighter(colour, 0.82))
    for k in range(9):
        a = np.radians(k * 40 + 8)
        b = np.radians(k * 40 + 40)
        m = (a + b) / 2
        wedge = [
            (cx + 0.05 * np.cos(m), cy + 0.05 * np.sin(m)),
            (cx + r * 0.84 * np.cos(a), cy + r * 0.84 * np.sin(a)),
            (cx + r * 0.88 * np.cos(m), cy + r * 0.88 * np.sin(m)),
            (cx + r * 0.84 * np.cos(b), cy + r * 0.84 * np.sin(b)),
        ]
        ink.polygon(wedge, mix(colour, lighter(colour, 0.4), 0.35 * (k % 2)))


def _strawberry(ink: Ink, colour: Colour) -> None:
    body = [(0.5, 0.24), (0.75, 0.22), (0.86, 0.42), (0.72, 0.72), (0.5, 0.94)]
    body += [(1 - x, y) for x, y in body[-2:0:-1]]
    ink.curve(body, Graded(lighter(colour, 0.25), darker(colour, 0.3), radial=True))
    for k in range(22):
        x, y = 0.24 + 0.125 * (k % 5) + 0.06 * (k // 5 % 2), 0.38 + 0.115 * (k // 5)
        if abs(x - 0.5) < 0.34 - 0.42 * max(0, y - 0.45):
            ink.ellipse(x, y, 0.013, 0.02, (250, 214, 110))
    for angle in (-170, -130, -90, -50, -10):
        _leaf(ink, 0.5, 0.27, 0.26, angle + 12, (70, 140, 58))
    ink.line([(0.5, 0.25), (0.53, 0.07)], 0.03, (90, 130, 60))


def _cluster(ink: Ink, colour: Colour) -> None:
    _leaf(ink, 0.5, 0.22, 0.4, -28)
    _leaf(ink, 0.5, 0.22, 0.38, -155)
    spots = [(0.32, 0.36), (0.54, 0.33), (0.74, 0.4), (0.22, 0.55), (0.43, 0.52), (0.64, 0.56)]
    for x, y in [*spots, (0.83, 0.6), (0.33, 0.73), (0.54, 0.75), (0.73, 0.77)]:
        _ball(ink, x, y, 0.14, 0.14, colour)
        ink.polygon(oval(x + 0.02, y + 0.015, 0.036, 0.03, steps=6), darker(colour, 0.45), 0.8)


def _grapes(ink: Ink, colour: Colour) -> None:
    ink.line([(0.5, 0.26), (0.53, 0.06)], 0.03, WOOD)
    _leaf(ink, 0.5, 0.18, 0.36, -8)
    for row, count in enumerate((4, 5, 4, 3, 2, 1)):
        for k in range(count):
            _ball(ink, 0.5 + (k - (count - 1) / 2) * 0.165, 0.31 + row * 0.115, 0.092, 0.092, colour)


def _raspberry(ink: Ink, colour: Colour) -> None:
    for row, count in enumerate((4, 5, 4, 4, 3, 2)):
        for k in range(count):
            _ball(ink, 0.5 + (k - (count - 1) / 2) * 0.145, 0.33 + row * 0.108, 0.084, 0.08, colour)
    for angle in (-165, -125, -90, -55, -15):
        _leaf(ink, 0.5, 0.3, 0.24, angle, (92, 150, 70))


def _cherry(ink: Ink, colour: Colour) -> None:
    ink.line(smooth([(0.3, 0.62), (0.4, 0.35), (0.6, 0.1)], closed=False), 0.025, (98, 120, 52))
    ink.line(smooth([(0.7, 0.66), (0.68, 0.36), (0.6, 0.1)], closed=False), 0.025, (98, 120, 52))
    _leaf(ink, 0.59, 0.12, 0.36, 20)
    _ball(ink, 0.29, 0.7, 0.2, 0.19, colour)
    _ball(ink, 0.7, 0.74, 0.2, 0.19, colour)


def _pear(ink: Ink, colour: Colour) -> None:
    body = [(0.5, 0.18), (0.62, 0.26), (0.66, 0.46), (0.84, 0.66), (0.74, 0.9), (0.5, 0.94)]
    body += [(1 - x, y) for x, y in body[-2:0:-1]]
    ink.curve(body, Graded(lighter(colour, 0.35), darker(colour, 0.25), radial=True))
    ink.line(smooth([(0.5, 0.19), (0.5, 0.1), (0.56, 0.04)], closed=False), 0.035, WOOD)
    _leaf(ink, 0.52, 0.13, 0.28, -8)
    ink.ellipse(0.37, 0.6, 0.05, 0.12, WHITE, 12, 0.5)


def _banana(ink: Ink, colour: Colour) -> None:
    for lift, shade in ((0.13, 0.18), (0.0, 0.0)):
        body = [(0.12, 0.35), (0.2, 0.62), (0.45, 0.82), (0.75, 0.8), (0.93, 0.62), (0.88, 0.58)]
        body += [(0.7, 0.66), (0.48, 0.62), (0.3, 0.46), (0.21, 0.26), (0.13, 0.2)]
        ink.curve(
            [(x, y - lift) for x, y in body],
            Graded(lighter(darker(colour, shade), 0.3), darker(colour, shade + 0.12), 80),
        )
        ink.line(
            smooth([(0.17, 0.4 - lift), (0.36, 0.66 - lift), (0.66, 0.76 - lift)], closed=False),
            0.012,
            darker(colour, 0.3),
        )
        ink.polygon([(0.11, 0.2 - lift), (0.2, 0.27 - lift), (0.2, 0.17 - lift), (0.12, 0.1 - lift)], WOOD)


def _kiwi(ink: Ink, colour: Colour) -> None:
    ink.ellipse(0.5, 0.52, 0.43, 0.4, (122, 90, 52))
    ink.ellipse(0.5, 0.52, 0.4, 0.37, Graded(lighter(colour, 0.5), colour, radial=True, centre=(0.5, 0.5)))
    ink.ellipse(0.5, 0.52, 0.12, 0.1, lighter(colour, 0.78))
    for k in range(24):
        a = 2 * np.pi * k / 24
        r = 0.19 + 0.05 * (k % 2)
        ink.ellipse(0.5 + r * np.cos(a), 0.52 + r * np.sin(a), 0.025, 0.01, (32, 36, 20), np.degrees(a))


def _melon(ink: Ink, colour: Colour) -> None:
    t = np.linspace(0, np.pi, 30)
    for radius, paint in ((0.46, (50, 120, 62)), (0.42, (226, 240, 196)), (0.38, colour)):
        ink.polygon(np.stack([0.5 + radius * np.cos(t), 0.3 + 1.2 * radius * np.sin(t)], axis=1), paint)
    for x, y in ((0.3, 0.42), (0.5, 0.4), (0.7, 0.42), (0.4, 0.56), (0.6, 0.56), (0.5, 0.68)):
        ink.ellipse(x, y, 0.016, 0.028, (44, 24, 24))


def _pineapple(ink: Ink, colour: Colour) -> None:
    for k, angle in enumerate((-150, -30, -130, -50, -110, -70, -90)):
        _leaf(ink, 0.5, 0.4, 0.3 + 0.015 * k, angle, (72, 138, 66))
    ink.ellipse(0.5, 0.65, 0.26, 0.31, Graded(lighter(colour, 0.25), darker(colour, 0.3), radial=True))
    for k in range(-4, 5):
        for slope in (-1, 1):
            x = 0.5 + k * 0.1
            ends = [(x - slope * 0.2, 0.4), (x + slope * 0.2, 0.9)]
            inside = [
                p
                for t in np.linspace(0, 1, 40)
                if ((p := (ends[0][0] + t * (ends[1][0] - ends[0][0]), 0.4 + 0.5 * t))[0] - 0.5) ** 2 / 0.0625
                + (p[1] - 0.65) ** 2 / 0.09
                < 1
            ]
            if len(inside) > 1:
                ink.line(inside, 0.012, darker(colour, 0.35))


def _coconut(ink: Ink, colour: Colour) -> None:
    _ball(ink, 0.42, 0.45, 0.36, 0.36, colour, shine=False)
    for k in range(9):
        ink.line([(0.12 + 0.06 * k, 0.35), (0.16 + 0.06 * k, 0.6)], 0.008, darker(colour, 0.3))
    ink.ellipse(0.62, 0.62, 0.33, 0.31, darker(colour, 0.25))
    ink.ellipse(0.62, 0.61, 0.3, 0.275, (252, 250, 244))
    ink.ellipse(0.63, 0.63, 0.2, 0.17, Graded((226, 226, 220), (250, 250, 246), 90))


def _drop(ink: Ink, colour: Colour) -> None:
    body = [(0.5, 0.06), (0.62, 0.34), (0.8, 0.62), (0.72, 0.86), (0.5, 0.95)]
    body += [(1 - x, y) for x, y in body[-2:0:-1]]
    ink.curve(body, Graded(lighter(colour, 0.45), darker(colour, 0.1), 60))
    ink.curve([(0.36, 0.58), (0.31, 0.72), (0.4, 0.84), (0.37, 0.7)], WHITE, 0.75)


def _comb(ink: Ink, colour: Colour) -> None:
    for x, y in (
        (0.3, 0.3),
        (0.58, 0.3),
        (0.16, 0.54),
        (0.44, 0.54),
        (0.72, 0.54),
        (0.3, 0.78),
        (0.58, 0.78),
    ):
        hexagon = oval(x, y, 0.155, 0.155, 30, steps=6)
        ink.polygon(hexagon, darker(colour, 0.35))
        ink.polygon(oval(x, y, 0.128, 0.128, 30, steps=6), Graded(lighter(colour, 0.35), colour, 60))
    ink.curve([(0.72, 0.66), (0.8, 0.8), (0.78, 0.95), (0.68, 0.95), (0.66, 0.8)], lighter(colour, 0.15))


def _chocolate(ink: Ink, colour: Colour) -> None:
    for row in range(3):
        for k in range(3):
            x, y = 0.14 + 0.25 * k, 0.14 + 0.25 * row
            ink.rect(x, y, x + 0.24, y + 0.24, darker(colour, 0.3))
            ink.rect(x, y, x + 0.225, y + 0.225, lighter(colour, 0.2))
            ink.rect(x + 0.025, y + 0.025, x + 0.2, y + 0.2, Graded(lighter(colour, 0.12), colour, 45))


def _bean(ink: Ink, colour: Colour) -> None:
    for x, y, angle in ((0.34, 0.36, 40), (0.66, 0.42, -30), (0.42, 0.72, -10), (0.76, 0.74, 60)):
        ink.ellipse(x, y, 0.21, 0.145, Graded(lighter(colour, 0.3), darker(colour, 0.25), radial=True), angle)
        a = np.radians(angle)
        c, s = np.cos(a), np.sin(a)
        cut = [
            (x + c * u - s * v, y + s * u + c * v) for u, v in ((-0.19, 0.01), (-0.06, 0.03), (0.06, -0.03))
        ]
        ink.line(smooth([*cut, (x + c * 0.19, y + s * 0.19)], closed=False), 0.018, darker(colour, 0.55))


def _nut(ink: Ink, colour: Colour) -> None:
    for x, y, r in ((0.35, 0.42, 0.24), (0.66, 0.6, 0.26), (0.32, 0.76, 0.17)):
        body = [(x, y - r * 1.2), (x + r * 0.8, y - r * 0.4), (x + r * 0.75, y + r * 0.6), (x, y + r)]
        body += [(x - r * 0.75, y + r * 0.6), (x - r * 0.8, y - r * 0.4)]
        ink.curve(body, Graded(lighter(colour, 0.35), darker(colour, 0.25), radial=True))
        ink.curve(
            [(x - r * 0.6, y + r * 0.5), (x, y + r * 0.38), (x + r * 0.6, y + r * 0.5), (x, y + r)],
            lighter(colour, 0.5),
            0.8,
        )


def _wheat(ink: Ink, colour: Colour) -> None:
    for lean in (-0.24, 0.0, 0.24):
        top = np.array([0.5 + lean, 0.08 + abs(lean) * 0.4])
        foot = np.array([0.5 + lean * 0.1, 0.96])
        ink.line([tuple(foot), tuple(top)], 0.016, darker(colour, 0.2))
        for k in range(6):
            at = top + (foot - top) * (0.06 + 0.09 * k)
            for side in (-1, 1):
                ink.ellipse(
                    at[0] + side * 0.05,
                    at[1],
                    0.03,
                    0.066,
                    Graded(lighter(colour, 0.3), darker(colour, 0.12), 60),
                    side * 28 + lean * 60,
                )


def _leaves(ink: Ink, colour: Colour) -> None:
    for angle, length in ((-150, 0.46), (-30, 0.46), (-118, 0.52), (-62, 0.52), (-90, 0.6)):
        _leaf(ink, 0.5, 0.78, length, angle, colour)
    ink.line([(0.5, 0.76), (0.5, 0.96)], 0.025, darker(colour, 0.3))


def _chili(ink: Ink, colour: Colour) -> None:
    for dx, dy in ((0.0, -0.1), (0.06, 0.14)):
        body = [(0.2, 0.3), (0.36, 0.26), (0.58, 0.42), (0.78, 0.66), (0.86, 0.84), (0.6, 0.72), (0.32, 0.5)]
        ink.curve([(x + dx, y + dy) for x, y in body], Graded(lighter(colour, 0.3), darker(colour, 0.25), 60))
        ink.curve([(0.16 + dx, 0.3 + dy), (0.3 + dx, 0.24 + dy), (0.3 + dx, 0.36 + dy)], LEAF)
        ink.line([(0.2 + dx, 0.3 + dy), (0.08 + dx, 0.16 + dy)], 0.03, LEAF)


def _carrot(ink: Ink, colour: Colour) -> None:
    for angle in (-140, -110, -80, -50):
        _leaf(ink, 0.32, 0.32, 0.34, angle - 15)
    ink.curve(
        [(0.22, 0.36), (0.38, 0.2), (0.6, 0.45), (0.9, 0.92), (0.44, 0.64)],
        Graded(lighter(colour, 0.3), darker(colour, 0.2), 30),
    )
    for x, y in ((0.36, 0.36), (0.48, 0.5), (0.62, 0.62)):
        ink.line([(x - 0.05, y + 0.05), (x + 0.05, y - 0.02)], 0.012, darker(colour, 0.3))


def _mushroom(ink: Ink, colour: Colour) -> None:
    for x, y, s in ((0.44, 0.08, 0.56), (0.02, 0.22, 0.72)):
        stem = [(0.38, 0.45), (0.62, 0.45), (0.66, 0.92), (0.34, 0.92)]
        ink.curve([(x + u * s, y + v * s) for u, v in stem], Graded((250, 244, 232), (214, 200, 178), 0))
        cap = [(0.1, 0.5), (0.2, 0.24), (0.5, 0.1), (0.8, 0.24), (0.9, 0.5), (0.5, 0.56)]
        ink.curve(
            [(x + u * s, y + v * s) for u, v in cap],
            Graded(lighter(colour, 0.35), darker(colour, 0.25), radial=True),
        )


def _fish(ink: Ink, colour: Colour) -> None:
    ink.curve([(0.74, 0.5), (0.95, 0.28), (0.92, 0.5), (0.96, 0.74)], darker(colour, 0.2))
    ink.curve(
        [(0.06, 0.52), (0.25, 0.34), (0.5, 0.28), (0.8, 0.48), (0.5, 0.72), (0.25, 0.68)],
        Graded(lighter(colour, 0.15), lighter(colour, 0.75), 90),
    )
    ink.line(smooth([(0.28, 0.38), (0.33, 0.52), (0.28, 0.66)], closed=False), 0.014, darker(colour, 0.4))
    ink.ellipse(0.18, 0.48, 0.03, 0.03, WHITE)
    ink.ellipse(0.18, 0.48, 0.016, 0.016, (20, 20, 24))
    for k in range(4):
        ink.line([(0.42 + 0.08 * k, 0.42), (0.45 + 0.08 * k, 0.5), (0.42 + 0.08 * k, 0.58)], 0.01, WHITE)


def _flower(ink: Ink, colour: Colour) -> None:
    for k in range(6):
        a = np.radians(60 * k + 15)
        ink.ellipse(
            0.5 + 0.23 * np.cos(a),
            0.48 + 0.23 * np.sin(a),
            0.23,
            0.12,
            Graded(WHITE, mix(colour, WHITE, 0.3), 60),
            60 * k + 15,
        )
    _ball(ink, 0.5, 0.48, 0.1, 0.1, (236, 178, 52), shine=False)
    ink.line(smooth([(0.6, 0.66), (0.72, 0.8), (0.9, 0.93)], closed=False), 0.035, (70, 46, 30))


def _paw(ink: Ink, colour: Colour) -> None:
    ink.curve([(0.5, 0.5), (0.72, 0.68), (0.7, 0.86), (0.5, 0.82), (0.3, 0.86), (0.28, 0.68)], colour)
    for x, y, a in ((0.18, 0.5, -25), (0.38, 0.28, -8), (0.62, 0.28, 8), (0.82, 0.5, 25)):
        ink.ellipse(x, y, 0.085, 0.125, colour, a)


def _bubbles(ink: Ink, colour: Colour) -> None:
    for x, y, r in (
        (0.4, 0.6, 0.28),
        (0.7, 0.36, 0.19),
        (0.3, 0.24, 0.12),
        (0.78, 0.72, 0.12),
        (0.55, 0.12, 0.07),
    ):
        ink.ellipse(x, y, r, r, Graded(lighter(colour, 0.85), colour, radial=True), opacity=0.85)
        ink.ellipse(x - r * 0.35, y - r * 0.4, r * 0.24, r * 0.15, WHITE, -35)


Drawing = Callable[[Ink, Colour], None]

DRAWINGS: dict[str, Drawing] = {
    "round": _round_fruit, "peach": _peach, "citrus": _citrus, "strawberry": _strawberry,
    "cluster": _cluster, "grapes": _grapes, "raspberry": _raspberry, "cherry": _cherry, "pear": _pear,
    "banana": _banana, "kiwi": _kiwi, "melon": _melon, "pineapple": _pineapple, "coconut": _coconut,
    "drop": _drop, "comb": _comb, "chocolate": _chocolate, "bean": _bean, "nut": _nut, "wheat": _wheat,
    "leaves": _leaves, "chili": _chili, "carrot": _carrot, "mushroom": _mushroom, "fish": _fish,
    "flower": _flower, "paw": _paw, "bubbles": _bubbles,
}  # fmt: skip


@lru_cache(maxsize=256)
def drawing(name: str, colour: Colour) -> U8:
    """Return the RGBA stamp of a drawing in a colour; (STAMP, STAMP, 4).

    >>> drawing("cherry", (180, 20, 40)).shape
    (224, 224, 4)
    """
    ink = Ink(STAMP, STAMP, STAMP)
    DRAWINGS[name](ink, colour)
    stamp = ink.rgba()
    stamp.setflags(write=False)
    return stamp
