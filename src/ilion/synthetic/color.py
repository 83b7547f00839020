"""Colours: brand palettes and small helpers. A colour is (red, green, blue), 0..255."""

from __future__ import annotations

import colorsys

import numpy as np

Colour = tuple[int, int, int]

CREAM: Colour = (250, 244, 230)
WHITE: Colour = (252, 252, 250)
BLACK: Colour = (28, 26, 28)


def parse(text: str) -> Colour:
    """Return the colour of six hexadecimal digits.

    >>> parse("ff8000")
    (255, 128, 0)
    """
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; ``share`` in [0, 1] is the part of the second.

    >>> mix((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    r, g, b = (round(p + (q - p) * share) for p, q in zip(first, second, strict=True))
    return r, g, b


def lighter(colour: Colour, share: float) -> Colour:
    """Blend towards white.

    >>> lighter((0, 0, 0), 1.0)
    (255, 255, 255)
    """
    return mix(colour, (255, 255, 255), share)


def darker(colour: Colour, share: float) -> Colour:
    """Blend towards a warm near-black.

    >>> darker((255, 255, 255), 1.0)
    (18, 14, 22)
    """
    return mix(colour, (18, 14, 22), share)


def luminance(colour: Colour) -> float:
    """Return the luma (ITU-R BT.601 weights) in [0, 255].

    >>> luminance((255, 255, 255))
    255.0
    """
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def readable(ground: Colour, dark: Colour = BLACK, light: Colour = WHITE) -> Colour:
    """Return whichever of two colours can be read on a ground.

    >>> readable((255, 230, 0)) == BLACK
    True
    """
    return dark if luminance(ground) > 145 else light


def turned(colour: Colour, hue: float, lightness: float = 0.0) -> Colour:
    """Turn the hue by a fraction of the circle and add to the lightness.

    >>> turned((255, 0, 0), 1 / 3)
    (0, 255, 0)
    """
    h, level, s = colorsys.rgb_to_hls(*(c / 255 for c in colour))
    r, g, b = colorsys.hls_to_rgb((h + hue) % 1.0, float(np.clip(level + lightness, 0, 1)), s)
    return round(r * 255), round(g * 255), round(b * 255)


# A brand's colours: ground, dark (for print), light (paper), second colour. Chosen by eye to go together.
PALETTES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = tuple(
    (parse(a), parse(b), parse(c), parse(d))
    for a, b, c, d in (
        line.split()
        for line in (
            "1f4e79 0f2a44 f4efe2 f2b134",
            "c8352b 5a1410 fbf1dc f5c84c",
            "2f6b4f 163a2b f5f1dd e9a23b",
            "f3c53a 4a2f0b fff8e3 d94f30",
            "6a3d7c 2d1838 f7eff4 f0a35e",
            "e7772e 57240a fdf3e1 2d6e8e",
            "12808a 073b42 eef7f2 f6b042",
            "f1e7d0 3a2a1d fffaf0 b5482f",
            "222a35 0d1117 f1f1ec e0533d",
            "b3284f 4a0d20 fdf0ee f3c969",
            "7ea04d 2f4218 f7f6e4 d9573b",
            "8ec3dd 163b57 f7fbfc e8574e",
            "f0a8a0 5c2630 fff5f0 3f7d7a",
            "a7794e 3b2414 faf1e2 2f5d62",
            "3a57b5 141f4d f2f3fb f7d046",
            "dfe6e2 24423d ffffff 2f9e77",
            "d2452d 2b1a12 f8ead0 1e6f74",
            "5b7f95 1c2c38 f3f4ef e6b84f",
        )
    )
)
