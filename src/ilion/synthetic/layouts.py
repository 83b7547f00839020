"""Front panels of food and household goods: seven designs.

Each has the hierarchy of real ones: brand, flavour, picture, small print.
A panel is one unit wide and ``ink.height`` units tall.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ilion.synthetic.artwork import drawing
from ilion.synthetic.color import WHITE, Colour, darker, lighter, luminance, mix, readable
from ilion.synthetic.ink import BOLD, CAPS, PLAIN, Graded, Ink, Style, oval
from ilion.synthetic.parts import logo
from ilion.synthetic.products import Product, paper_of, print_on

WIDE = Style(weight=0.03, spacing=0.12)


def _hero(ink: Ink, what: Product, cx: float, cy: float, size: float, crowd: int = 3) -> None:
    """Print the flavour's drawing, with smaller ones behind it."""
    stamp = drawing(what.flavour.art, what.flavour.colour)
    for k in range(crowd - 1):
        side = 1 if k % 2 else -1
        step = 0.42 + 0.12 * (k // 2)
        ink.stamp(stamp, cx + side * size * step, cy + size * 0.14, size * 0.62, side * (18 + 9 * k))
    ink.ellipse(cx, cy + size * 0.46, size * 0.42, size * 0.05, (20, 16, 14), opacity=0.22)
    ink.stamp(stamp, cx, cy, size)


def _badge(ink: Ink, text: str, cx: float, cy: float, r: float, ground: Colour) -> None:
    teeth = [
        (cx + q * np.cos(np.pi * k / 16), cy + q * np.sin(np.pi * k / 16))
        for k in range(32)
        for q in [r * (1.0 if k % 2 else 0.9)]
    ]
    ink.polygon(teeth, ground)
    tone = readable(ground)
    ink.ring(cx, cy, r * 0.8, 0.006, tone)
    parts = text.split()
    half = (len(parts) + 1) // 2
    rows = [" ".join(parts[:half]), " ".join(parts[half:])] if len(parts) > 1 else parts
    tall = r * (0.5 if len(rows) == 2 else 0.6)
    for k, row in enumerate(rows):
        y = cy + (k - len(rows) / 2) * tall
        ink.text(row, cx - r * 0.68, y, r * 1.36, tall * 0.86, tone, BOLD)


def _foot(ink: Ink, what: Product, tone: Colour, y: float) -> None:
    """The line at the foot: amount on the right, second claim on the left."""
    ink.text(what.number, 0.62, y, 0.32, 0.055, tone, BOLD, align=1)
    ink.text(what.line.claim2 or what.line.noun, 0.06, y + 0.008, 0.5, 0.04, tone, PLAIN, align=0)


def wave(ink: Ink, what: Product) -> None:
    """A brand-coloured top, a wave of the flavour's colour, the fruit where they meet."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    ink.rect(0, 0, 1, h, Graded(lighter(of.ground, 0.12), darker(of.ground, 0.12), 100))
    for k, tone in enumerate((lighter(accent, 0.62), lighter(accent, 0.25), accent)):
        xs = np.linspace(0, 1, 24)
        ys = h * (0.56 + 0.05 * k) + 0.07 * np.sin(xs * 5.2 + of.serial % 6 + 0.5 * k)
        ink.polygon([(0, h), *zip(xs.tolist(), ys.tolist(), strict=True), (1, h)], tone)
    tone = print_on(of.ground, of)
    ink.stamp(logo(of.logo, tone, of.second), 0.5, h * 0.085, min(0.15, h * 0.12))
    ink.text(of.brand, 0.07, h * 0.15, 0.86, min(h * 0.15, 0.3), tone, of.style)
    ink.text(of.noun.upper(), 0.15, h * 0.315, 0.7, min(h * 0.05, 0.07), tone, CAPS)
    _hero(ink, what, 0.5, h * 0.55, min(0.56, h * 0.36))
    low = readable(accent)
    ink.text(what.flavour.name, 0.08, h * 0.755, 0.84, min(h * 0.11, 0.2), low, BOLD)
    ink.text(of.claim, 0.1, h * 0.865, 0.8, min(h * 0.04, 0.055), low)
    _foot(ink, what, low, h - min(0.085, h * 0.07))


def medallion(ink: Ink, what: Product) -> None:
    """A round label on a quiet pattern, a ribbon with the flavour."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    ink.rect(0, 0, 1, h, of.ground)
    pale = lighter(of.ground, 0.14) if luminance(of.ground) < 150 else darker(of.ground, 0.1)
    for row in range(int(h / 0.13) + 2):
        for k in range(8):
            x, y = 0.14 * k + 0.07 * (row % 2), 0.13 * row
            ink.polygon(oval(x, y, 0.035, 0.014, 45 if (row + k) % 2 else -45, steps=10), pale)
    r = min(0.44, h * 0.34)
    cy = h * 0.4
    paper = paper_of(what)
    for radius, tone in ((r, of.second), (r * 0.965, paper), (r * 0.9, of.dark), (r * 0.885, paper)):
        ink.ellipse(0.5, cy, radius, radius, tone)
    ink.text(
        of.brand,
        0.5 - r * 0.78,
        cy - r * 0.66,
        r * 1.56,
        r * 0.44,
        of.ground if luminance(of.ground) < 170 else of.dark,
        of.style,
    )
    ink.text(of.noun.upper(), 0.5 - r * 0.6, cy - r * 0.2, r * 1.2, r * 0.13, of.dark, CAPS)
    _hero(ink, what, 0.5, cy + r * 0.42, r * 0.95)
    y = cy + r * 0.86
    tall = min(0.17, h * 0.12)
    for side in (0, 1):
        x0, x1 = (0.02, 0.14) if side == 0 else (0.86, 0.98)
        ink.polygon(
            [
                (x0, y + 0.03),
                (x1, y + 0.03),
                (x1, y + tall + 0.03),
                (x0, y + tall + 0.03),
                (x0 + (0.04 if side == 0 else 0), y + tall / 2 + 0.03),
            ],
            darker(accent, 0.4),
        )
    ink.rect(0.08, y, 0.92, y + tall, Graded(lighter(accent, 0.1), darker(accent, 0.12), 90))
    ink.text(what.flavour.name, 0.13, y + tall * 0.16, 0.74, tall * 0.68, readable(accent), BOLD)
    tone = print_on(of.ground, of)
    ink.text(of.claim, 0.1, y + tall * 1.25, 0.8, min(0.06, h * 0.04), tone, WIDE)
    _foot(ink, what, tone, h - min(0.09, h * 0.07))


def split(ink: Ink, what: Product) -> None:
    """A tall band with the brand on its side; the flavour and picture on paper."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    paper = paper_of(what)
    ink.rect(0, 0, 1, h, Graded(lighter(paper, 0.3), paper, 90))
    ink.rect(0, 0, 0.3, h, of.ground)
    ink.rect(0.3, 0, 0.325, h, accent)
    tone = print_on(of.ground, of)
    ink.text(
        of.brand,
        0.045,
        h * 0.06,
        0.21,
        h * 0.7,
        tone,
        Style(of.style.weight, 1.0, 0, of.style.spacing),
        turn=1,
    )
    ink.stamp(logo(of.logo, tone, of.second), 0.15, h * 0.9, min(0.2, h * 0.15))
    ink.text(
        what.flavour.name, 0.37, h * 0.06, 0.58, min(0.17, h * 0.12), darker(accent, 0.25), BOLD, align=0
    )
    ink.text(of.noun, 0.37, h * 0.06 + min(0.17, h * 0.12), 0.56, min(0.095, h * 0.075), of.dark, align=0)
    ink.rect(0.37, h * 0.3, 0.6, h * 0.3 + 0.008, accent)
    ink.text(of.claim, 0.37, h * 0.32, 0.56, min(0.06, h * 0.045), of.dark, align=0)
    ink.ellipse(0.7, h * 0.66, min(0.3, h * 0.27), min(0.3, h * 0.27), lighter(accent, 0.72))
    _hero(ink, what, 0.68, h * 0.66, min(0.55, h * 0.45))
    ink.text(what.number, 0.6, h - min(0.1, h * 0.08), 0.34, min(0.06, h * 0.05), of.dark, BOLD, align=1)


def sunburst(ink: Ink, what: Product) -> None:
    """Rays from behind the picture, a slanted brand with an outline."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    ink.rect(0, 0, 1, h, Graded(lighter(of.ground, 0.28), of.ground, radial=True, centre=(0.5, 0.6)))
    pale = lighter(of.ground, 0.2) if luminance(of.ground) < 160 else lighter(of.ground, 0.55)
    for k in range(0, 32, 2):
        a, b = np.pi * k / 16, np.pi * (k + 1) / 16
        ink.polygon(
            [
                (0.5, h * 0.6),
                (0.5 + 2 * np.cos(a), h * 0.6 + 2 * np.sin(a)),
                (0.5 + 2 * np.cos(b), h * 0.6 + 2 * np.sin(b)),
            ],
            pale,
        )
    tall = min(h * 0.2, 0.34)
    light = lighter(of.paper, 0.3)
    dark = of.dark if luminance(of.ground) > 60 else darker(of.second, 0.3)
    style = Style(max(of.style.weight, 0.06), of.style.stretch, 0.16, of.style.spacing, of.style.round, 0.16)
    ink.text(of.brand, 0.06, h * 0.05, 0.88, tall, light, style, outline=(dark, 0.08))
    ink.text(of.noun, 0.2, h * 0.05 + tall * 1.02, 0.6, min(0.085, h * 0.07), print_on(of.ground, of), BOLD)
    r = min(0.36, h * 0.27)
    ink.ellipse(0.5, h * 0.6, r, r, lighter(accent, 0.8), opacity=0.75)
    _hero(ink, what, 0.5, h * 0.585, r * 1.5, 5)
    y = h * 0.8
    lift = min(0.05, h * 0.04)
    ink.polygon([(0, y + lift), (1, y - lift), (1, y + h * 0.13), (0, y + h * 0.13 + 2 * lift)], accent)
    ink.polygon([(0, y + lift), (1, y - lift), (1, y - lift + 0.015), (0, y + lift + 0.015)], of.second)
    ink.text(
        what.flavour.name,
        0.08,
        y + h * 0.03,
        0.84,
        min(h * 0.085, 0.15),
        readable(accent),
        Style(0.06, 1, 0.16),
    )
    _badge(ink, of.claim, 0.83, h * 0.4, min(0.13, h * 0.1), of.second)
    _foot(ink, what, print_on(of.ground, of), h - min(0.065, h * 0.05))


def swiss(ink: Ink, what: Product) -> None:
    """Flat colour, large lower-case words on a grid, one cropped picture."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    paper = paper_of(what)
    ground = (paper, accent, of.ground)[of.layout // 7 % 3]
    ink.rect(0, 0, 1, h, ground)
    tone = readable(ground, darker(of.dark, 0.2), WHITE)
    ink.text(of.brand.lower(), 0.07, h * 0.05, 0.5, min(0.1, h * 0.075), tone, BOLD, align=0)
    ink.text(what.number, 0.6, h * 0.055, 0.33, min(0.06, h * 0.05), tone, align=1)
    ink.rect(0.07, h * 0.14, 0.93, h * 0.14 + 0.006, tone)
    y = h * 0.17
    for word in what.flavour.name.lower().split():
        tall = min(0.24, h * 0.15)
        ink.text(word, 0.06, y, 0.88, tall, tone, Style(weight=0.05, stretch=0.9), align=0)
        y += tall
    ink.text(of.noun, 0.07, y + 0.01, 0.6, min(0.1, h * 0.07), tone, align=0)
    r = min(0.42, h * 0.3)
    disc = accent if ground != accent else lighter(accent, 0.7)
    ink.ellipse(0.66, h * 0.76, r, r, disc)
    ink.stamp(
        drawing(what.flavour.art, what.flavour.colour if disc != accent else lighter(accent, 0.25)),
        0.64,
        h * 0.74,
        r * 1.5,
    )
    ink.text(of.claim, 0.07, h * 0.9, 0.42, min(0.055, h * 0.04), tone, align=0)
    ink.stamp(logo(of.logo, tone, disc), 0.14, h * 0.8, min(0.13, h * 0.1))


def retro(ink: Ink, what: Product) -> None:
    """Stripes above and below a framed paper label."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    paper = paper_of(what)
    ink.rect(0, 0, 1, h, paper)
    count = 5 + of.serial % 4 * 2
    for k in range(count):
        if k % 2 == 0:
            ink.rect(k / count, 0, (k + 1) / count, h, of.ground)
    top, bottom = h * 0.13, h * 0.86
    ink.rect(0.06, top, 0.94, bottom, accent, 0.06)
    ink.rect(0.075, top + 0.015, 0.925, bottom - 0.015, paper, 0.05)
    ink.rect(0.1, top + 0.04, 0.9, bottom - 0.04, of.dark, 0.035)
    ink.rect(0.106, top + 0.046, 0.894, bottom - 0.046, lighter(paper, 0.4), 0.03)
    inner = bottom - top
    ink.text(
        of.brand.upper(),
        0.14,
        top + inner * 0.1,
        0.72,
        min(inner * 0.2, 0.2),
        of.dark,
        Style(0.03, 0.85, 0, 0.08, arc=0.25),
    )
    ink.text(
        f"· {of.claim} ·",
        0.16,
        top + inner * 0.32,
        0.68,
        min(inner * 0.07, 0.05),
        accent if luminance(accent) < 150 else darker(accent, 0.4),
        PLAIN,
    )
    _hero(ink, what, 0.5, top + inner * 0.55, min(0.46, inner * 0.36))
    ink.text(
        what.flavour.name, 0.14, top + inner * 0.75, 0.72, min(inner * 0.13, 0.14), darker(accent, 0.2), BOLD
    )
    ink.text(of.noun.upper(), 0.2, top + inner * 0.875, 0.6, min(inner * 0.055, 0.055), of.dark, CAPS)
    ink.rect(0.3, h * 0.9, 0.7, h * 0.97, of.dark, 0.02)
    ink.text(what.number, 0.33, h * 0.91, 0.34, h * 0.05, of.paper, BOLD)


def farm(ink: Ink, what: Product) -> None:
    """Hills below a sun, the picture in the foreground, the brand on a plate."""
    of, accent, h = what.line, what.flavour.colour, ink.height
    paper = paper_of(what)
    ink.rect(0, 0, 1, h, Graded(mix(lighter(of.ground, 0.55), paper, 0.3), paper, 90))
    ink.ellipse(0.74, h * 0.44, 0.16, 0.16, lighter(of.second, 0.2))
    for k, tone in enumerate((lighter(of.ground, 0.45), lighter(of.ground, 0.15), darker(of.ground, 0.15))):
        xs = np.linspace(0, 1, 20)
        ys = h * (0.52 + 0.06 * k) + 0.06 * np.sin(xs * (4 + k) + of.serial % 7 + 2 * k)
        ink.polygon([(0, h), *zip(xs.tolist(), ys.tolist(), strict=True), (1, h)], tone)
    for k in range(7):
        ink.line(
            [(0.5 + 0.06 * (k - 3), h * 0.66), (0.5 + 0.24 * (k - 3), h)], 0.008, lighter(of.ground, 0.2)
        )
    tall = min(0.3, h * 0.18)
    ink.rect(0.07, h * 0.05, 0.93, h * 0.05 + tall, of.dark, 0.06)
    ink.rect(
        0.085,
        h * 0.05 + 0.015,
        0.915,
        h * 0.05 + tall - 0.015,
        Graded(lighter(of.ground, 0.1), darker(of.ground, 0.15), 90),
        0.05,
    )
    ink.text(of.brand, 0.13, h * 0.05 + tall * 0.16, 0.74, tall * 0.68, print_on(of.ground, of), of.style)
    ink.text(of.noun, 0.2, h * 0.06 + tall, 0.6, min(0.085, h * 0.07), of.dark, BOLD)
    ink.text(
        what.flavour.name,
        0.08,
        h * 0.135 + tall,
        0.84,
        min(0.16, h * 0.105),
        darker(accent, 0.2),
        BOLD,
        outline=(lighter(paper, 0.5), 0.07),
    )
    _hero(ink, what, 0.5, h * 0.68, min(0.6, h * 0.36), 5)
    ink.rect(0, h * 0.88, 1, h, accent)
    low = readable(accent)
    ink.text(of.claim, 0.06, h * 0.895, 0.56, min(0.065, h * 0.05), low, align=0)
    ink.text(what.number, 0.64, h * 0.895, 0.3, min(0.075, h * 0.06), low, BOLD, align=1)


LAYOUTS: tuple[Callable[[Ink, Product], None], ...] = (wave, medallion, split, sunburst, swiss, retro, farm)
