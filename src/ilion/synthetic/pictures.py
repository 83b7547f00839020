"""Cover and poster pictures: landscapes, cities, geometry, drawn with flat and graded shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ilion.synthetic.color import CREAM, Colour, darker, lighter, mix, turned
from ilion.synthetic.ink import Graded, Ink, smooth

Random = np.random.Generator
Tones = tuple[Colour, Colour, Colour]
"""Main colour, second colour, paper."""


def _ridge(draw: Random, base: float, rise: float, count: int, foot: float) -> list[tuple[float, float]]:
    xs = np.linspace(-0.05, 1.05, count)
    heights = base - rise * draw.random(count) * np.where(np.arange(count) % 2, 1.0, 0.35)
    return [(-0.05, foot), *zip(xs.tolist(), heights.tolist(), strict=True), (1.05, foot)]


def mountains(ink: Ink, draw: Random, tones: Tones) -> None:
    """Layered ridges in front of a sun."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(mix(second, paper, 0.6), lighter(second, 0.1), 90))
    x, r = float(draw.uniform(0.3, 0.7)), float(draw.uniform(0.12, 0.2))
    ink.ellipse(x, h * 0.42, r, r, lighter(second, 0.55))
    for k in range(4):
        ridge = _ridge(draw, h * (0.55 + 0.12 * k), h * (0.26 - 0.04 * k), 9, h)
        ink.polygon(ridge, mix(lighter(main, 0.5), darker(main, 0.55), k / 3))
    if draw.random() < 0.6:
        for _ in range(14):
            x, s = float(draw.random()), float(draw.uniform(0.05, 0.1))
            for k in range(3):
                y = h - s * 0.5 * k
                ink.polygon(
                    [(x - s * (1 - 0.25 * k) / 2, y), (x, y - s), (x + s * (1 - 0.25 * k) / 2, y)],
                    darker(main, 0.75),
                )


def sea(ink: Ink, draw: Random, tones: Tones) -> None:
    """A sailing boat on waves under a striped sun."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(lighter(main, 0.75), mix(second, paper, 0.45), 90))
    ink.ellipse(0.64, h * 0.42, 0.22, 0.22, second)
    for k in range(5):
        y = h * 0.42 + 0.03 + 0.04 * k
        ink.rect(0.4, y, 0.9, y + 0.006 + 0.004 * k, mix(second, paper, 0.6))
    bx, by, s = float(draw.uniform(0.25, 0.5)), h * 0.66, float(draw.uniform(0.2, 0.3))
    ink.polygon([(bx, by - 0.03), (bx, by - s * 1.3), (bx + s * 0.6, by - 0.05)], paper)
    ink.polygon(
        [(bx - 0.015, by - 0.03), (bx - 0.015, by - s), (bx - s * 0.4, by - 0.04)], lighter(second, 0.4)
    )
    ink.polygon(
        [
            (bx - s * 0.5, by - 0.02),
            (bx + s * 0.65, by - 0.02),
            (bx + s * 0.4, by + 0.08),
            (bx - s * 0.3, by + 0.08),
        ],
        darker(main, 0.6),
    )
    for k in range(6):
        y = h * (0.68 + 0.06 * k)
        xs = np.linspace(-0.05, 1.05, 40)
        wave = y + 0.018 * np.sin(xs * (16 - k) + float(draw.uniform(0, 6)))
        ink.polygon(
            [(-0.05, h), *zip(xs.tolist(), wave.tolist(), strict=True), (1.05, h)],
            mix(lighter(main, 0.3), darker(main, 0.45), k / 5),
        )


def city(ink: Ink, draw: Random, tones: Tones) -> None:
    """A skyline with lit windows."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(darker(main, 0.35), mix(second, main, 0.25), 90))
    ink.ellipse(float(draw.uniform(0.2, 0.8)), h * 0.26, 0.1, 0.1, lighter(paper, 0.3))
    for depth in range(3):
        tone = mix(mix(main, second, 0.35), darker(main, 0.8), 0.2 + 0.4 * depth)
        x = -0.05
        while x < 1:
            wide, tall = (
                float(draw.uniform(0.08, 0.17)),
                float(draw.uniform(0.14, 0.46)) * (1.1 - 0.25 * depth),
            )
            top = h * (0.95 + 0.05 * depth) - h * tall
            ink.rect(x, top, x + wide, h, tone)
            if draw.random() < 0.3:
                ink.polygon([(x, top), (x + wide / 2, top - 0.08), (x + wide, top)], tone)
            if depth:
                for row in range(int((h - top) / 0.05)):
                    for k in range(int(wide / 0.035)):
                        if draw.random() < 0.45:
                            wx, wy = x + 0.015 + 0.033 * k, top + 0.02 + 0.05 * row
                            ink.rect(wx, wy, wx + 0.016, wy + 0.024, lighter(second, 0.35))
            x += wide + float(draw.uniform(0, 0.02))


def geometry(ink: Ink, draw: Random, tones: Tones) -> None:
    """A grid of quarter circles, discs and triangles."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, paper)
    n = int(draw.integers(3, 5))
    cell = 1 / n
    palette = (main, second, darker(main, 0.55), lighter(second, 0.45), turned(second, 0.45), paper)
    t = np.linspace(0, np.pi / 2, 12)
    for row in range(int(np.ceil(h / cell))):
        for k in range(n):
            x, y = k * cell, row * cell
            a, b = (palette[int(v)] for v in draw.integers(0, len(palette), 2))
            ink.rect(x, y, x + cell, y + cell, a)
            what, flip = int(draw.integers(5)), int(draw.integers(4))
            cx, cy = x + cell * (flip % 2), y + cell * (flip // 2)
            sx, sy = 1 - 2 * (flip % 2), 1 - 2 * (flip // 2)
            if what <= 1:
                for r, tone in ((cell, b), (cell * 0.55, a), (cell * 0.25, b))[: 1 + 2 * what]:
                    arc = np.stack([cx + sx * r * np.cos(t), cy + sy * r * np.sin(t)], axis=1)
                    ink.polygon(np.vstack([[[cx, cy]], arc]), tone)
            elif what == 2:
                ink.ellipse(x + cell / 2, y + cell / 2, cell * 0.38, cell * 0.38, b)
            elif what == 3:
                ink.polygon([(cx, cy), (cx + sx * cell, cy), (cx, cy + sy * cell)], b)
            else:
                for j in range(4):
                    ink.rect(x, y + cell * j / 4, x + cell, y + cell * (j + 0.5) / 4, b)


def rings(ink: Ink, draw: Random, tones: Tones) -> None:
    """Concentric circles that are sliced and shifted, as on concert posters."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, main)
    cx, cy = float(draw.uniform(0.3, 0.7)), h * float(draw.uniform(0.4, 0.55))
    wide = float(draw.uniform(0.035, 0.055))
    t = np.linspace(0, np.pi, 40)
    shift = float(draw.uniform(0.04, 0.12))
    for k in range(12, 0, -1):
        tone = (second, darker(main, 0.5), paper)[k % 3]
        for side, move in ((1, shift), (-1, -shift)):
            arc = np.stack([cx + move + k * wide * np.cos(t), cy + side * k * wide * np.sin(t)], axis=1)
            ink.polygon(arc, tone)


def forest(ink: Ink, draw: Random, tones: Tones) -> None:
    """Trunks and crowns in mist, with a moon."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(mix(paper, second, 0.25), lighter(main, 0.35), 90))
    ink.ellipse(0.7, h * 0.3, 0.15, 0.15, lighter(paper, 0.5))
    for depth in range(3):
        tone = mix(lighter(main, 0.35), darker(main, 0.6), depth / 2)
        for x in np.sort(draw.random(7 - depth)) * 1.1 - 0.05:
            s, foot = float(draw.uniform(0.5, 0.8)) * (0.7 + 0.25 * depth), h * (0.82 + 0.09 * depth)
            ink.rect(x - 0.012, foot - s * 0.4, x + 0.012, foot, darker(tone, 0.3))
            for k in range(5):
                y, w = foot - s * (0.2 + 0.18 * k), s * 0.24 * (1 - 0.16 * k)
                ink.polygon([(x - w, y), (x, y - s * 0.3), (x + w, y)], mix(tone, paper, 0.04 * k))
        ink.rect(0, h * (0.81 + 0.09 * depth), 1, h, tone)


def balloon(ink: Ink, draw: Random, tones: Tones) -> None:
    """Hot-air balloons over hills."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(lighter(main, 0.45), mix(paper, second, 0.2), 90))
    for _ in range(4):
        x, y = float(draw.random()), h * float(draw.uniform(0.08, 0.55))
        for dx, r in ((-0.07, 0.03), (0, 0.05), (0.07, 0.035)):
            ink.ellipse(x + dx, y, r * 1.3, r * 0.8, lighter(paper, 0.5), opacity=0.85)
    for cx, cy, r in ((0.36, 0.38, 0.23), (0.78, 0.26, 0.11), (0.76, 0.55, 0.08)):
        y = cy * h
        for k in range(6):
            wide = r * (1 - k / 6)
            envelope = [
                (cx - wide, y - r * 0.1),
                (cx, y - r),
                (cx + wide, y - r * 0.1),
                (cx + wide * 0.3, y + r),
                (cx - wide * 0.3, y + r),
            ]
            ink.curve(envelope, (second, paper, darker(main, 0.3))[k % 3])
        ink.rect(cx - r * 0.16, y + r * 1.2, cx + r * 0.16, y + r * 1.42, darker(second, 0.55))
        ink.line([(cx - r * 0.2, y + r * 0.95), (cx - r * 0.15, y + r * 1.2)], 0.006, darker(main, 0.6))
        ink.line([(cx + r * 0.2, y + r * 0.95), (cx + r * 0.15, y + r * 1.2)], 0.006, darker(main, 0.6))
    for k in range(3):
        hill = smooth(
            [
                (-0.1, h * (0.86 + 0.06 * k)),
                (0.25, h * (0.76 + 0.08 * k)),
                (0.6, h * (0.87 + 0.05 * k)),
                (1.1, h * (0.78 + 0.07 * k)),
            ],
            closed=False,
        )
        ink.polygon([(-0.1, h), *hill.tolist(), (1.1, h)], mix(lighter(main, 0.2), darker(main, 0.55), k / 2))


def rocket(ink: Ink, draw: Random, tones: Tones) -> None:
    """A rocket between a planet and stars."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(darker(main, 0.75), darker(main, 0.2), 90))
    for x, y, r in zip(draw.random(60), draw.random(60) * h, draw.uniform(0.002, 0.007, 60), strict=True):
        ink.ellipse(x, y, r, r, paper)
    ink.ellipse(0.8, h * 0.88, 0.42, 0.42, Graded(lighter(second, 0.35), darker(second, 0.45), radial=True))
    ink.ellipse(0.2, h * 0.2, 0.11, 0.11, lighter(main, 0.45))
    ink.line(smooth([(0.03, h * 0.23), (0.2, h * 0.215), (0.37, h * 0.165)], closed=False), 0.012, second)
    x, y = 0.46, h * 0.5
    body = [(x, y - 0.34), (x + 0.1, y - 0.14), (x + 0.1, y + 0.14), (x + 0.05, y + 0.2)]
    body += [(2 * x - px, py) for px, py in body[:0:-1]]
    ink.polygon(
        [(x - 0.2, y + 0.24), (x - 0.08, y), (x + 0.08, y), (x + 0.2, y + 0.24), (x, y + 0.14)], second
    )
    ink.curve(body, Graded(lighter(paper, 0.4), darker(paper, 0.35), 0))
    ink.ellipse(x, y - 0.1, 0.055, 0.055, darker(main, 0.4))
    ink.ellipse(x, y - 0.1, 0.04, 0.04, lighter(main, 0.4))
    ink.curve([(x - 0.06, y + 0.2), (x + 0.06, y + 0.2), (x, y + 0.46)], lighter(second, 0.3))
    ink.curve([(x - 0.03, y + 0.2), (x + 0.03, y + 0.2), (x, y + 0.34)], CREAM)


def vase(ink: Ink, draw: Random, tones: Tones) -> None:
    """Cut-out leaves in a vase, as on exhibition posters."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, paper)
    ink.curve(
        [(0.1, h * 0.2), (0.6, h * 0.1), (0.92, h * 0.4), (0.8, h * 0.8), (0.3, h * 0.75)],
        lighter(second, 0.45),
    )
    for angle in np.linspace(-160, -20, 7) + draw.uniform(-8, 8, 7):
        a, length = np.radians(angle), float(draw.uniform(0.3, 0.5))
        tip = np.array([0.5 + length * np.cos(a), h * 0.56 + length * np.sin(a)])
        root = np.array([0.5, h * 0.6])
        ink.line([tuple(root), tuple(tip)], 0.01, darker(main, 0.4))
        across = np.array([-np.sin(a), np.cos(a)])
        for k in range(5):
            at = root + (tip - root) * (0.4 + 0.15 * k)
            for side in (-1, 1):
                end = at + 0.09 * (side * across + 0.6 * np.array([np.cos(a), np.sin(a)]))
                middle, off = (at + end) / 2, 0.02 * np.array([np.cos(a), np.sin(a)])
                ink.curve(
                    [tuple(at), tuple(middle + off), tuple(end), tuple(middle - off)],
                    (main, turned(main, 0.1))[k % 2],
                )
    pot = [
        (0.42, h * 0.56),
        (0.58, h * 0.56),
        (0.66, h * 0.72),
        (0.58, h * 0.88),
        (0.42, h * 0.88),
        (0.34, h * 0.72),
    ]
    ink.curve(pot, Graded(lighter(second, 0.1), darker(second, 0.3), 0))
    for k in range(3):
        ink.rect(0.37, h * (0.68 + 0.045 * k), 0.63, h * (0.69 + 0.045 * k), paper, opacity=0.8)


def desert(ink: Ink, draw: Random, tones: Tones) -> None:
    """Cacti and dunes below a low sun."""
    main, second, paper = tones
    h = ink.height
    ink.rect(0, 0, 1, h, Graded(lighter(main, 0.3), lighter(second, 0.5), 90))
    for k in range(4):
        r = 0.3 - 0.06 * k
        ink.ellipse(0.5, h * 0.52, r, r, mix(lighter(second, 0.55), second, k / 3))
    for k in range(3):
        dune = smooth(
            [
                (-0.1, h * (0.7 + 0.1 * k)),
                (0.3, h * (0.62 + 0.1 * k)),
                (0.55, h * (0.7 + 0.09 * k)),
                (1.1, h * (0.64 + 0.1 * k)),
            ],
            closed=False,
        )
        ink.polygon(
            [(-0.1, h), *dune.tolist(), (1.1, h)], mix(mix(second, paper, 0.4), darker(second, 0.5), k / 2)
        )
    for x, s in zip(draw.uniform(0.08, 0.92, 3), (0.3, 0.2, 0.14), strict=True):
        y, tone = h * 0.88, darker(main, 0.45)
        ink.rect(x - s * 0.13, y - s * 1.5, x + s * 0.13, y, tone, s * 0.12)
        for side, lift in ((-1, 0.5), (1, 0.75)):
            ink.rect(
                min(x, x + side * s * 0.5),
                y - s * lift - s * 0.09,
                max(x, x + side * s * 0.5),
                y - s * lift + s * 0.09,
                tone,
                s * 0.08,
            )
            ax = x + side * s * 0.5
            ink.rect(
                ax - s * 0.09, y - s * lift - s * 0.5, ax + s * 0.09, y - s * lift + s * 0.09, tone, s * 0.08
            )


PICTURES: tuple[Callable[[Ink, Random, Tones], None], ...] = (
    mountains, sea, city, geometry, rings, forest, balloon, rocket, vase, desert,
)  # fmt: skip
