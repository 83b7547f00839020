"""Book covers and posters."""

from __future__ import annotations

import numpy as np

from ilion.synthetic.color import Colour, darker, lighter, luminance, readable, turned
from ilion.synthetic.ink import BOLD, CAPS, PLAIN, U8, Ink, Style
from ilion.synthetic.pictures import PICTURES
from ilion.synthetic.products import Product, paper_of
from ilion.synthetic.seeds import rng


def cover(ink: Ink, what: Product) -> None:
    """Print the front of a book: a picture, the title, author and volume."""
    of, h = what.line, ink.height
    ground = what.flavour.colour
    paper = paper_of(what)
    draw = rng(of.serial, "cover")
    picture = PICTURES[of.layout // 5 % len(PICTURES)]
    style = of.layout % 3
    first, second = of.title.rsplit(" ", 1)
    if style == 0:  # full picture, title above
        picture(ink, draw, (ground, of.second, paper))
        ink.rect(0.0, 0, 1, h * 0.3, ground, opacity=0.86)
        tone = readable(ground, darker(of.dark, 0.2), paper)
        ink.text(first, 0.08, h * 0.05, 0.84, h * 0.085, tone, of.style)
        ink.text(second, 0.08, h * 0.145, 0.84, h * 0.115, tone, Style(0.05, 0.9))
        low, low_tone = (darker(ground, 0.3), paper)
        ink.rect(0, h * 0.88, 1, h, low, opacity=0.85)
    elif style == 1:  # framed picture on paper
        ink.rect(0, 0, 1, h, ground)
        frame = Ink(round(0.76 * ink.unit), round(h * 0.5 * ink.unit), 0.76 * ink.unit, paper)
        picture(frame, draw, (turned(ground, 0.0, -0.08), of.second, paper))
        tone = readable(ground, darker(of.dark, 0.2), paper)
        ink.rect(0.105, h * 0.345, 0.895, h * 0.875, tone)
        ink.mask(np.full(frame.alpha.shape, 255, np.uint8), 0.12, h * 0.36, tone)
        y, x = round(h * 0.36 * ink.unit), round(0.12 * ink.unit)
        ink.rgb[y : y + frame.rgb.shape[0], x : x + frame.rgb.shape[1]] = frame.rgb
        ink.text(first, 0.1, h * 0.07, 0.8, h * 0.1, tone, Style(0.03, 0.85))
        ink.text(second, 0.1, h * 0.175, 0.8, h * 0.12, tone, of.style)
        low, low_tone = ground, tone
    else:  # large letters, a band of the picture
        ink.rect(0, 0, 1, h, paper)
        band = Ink(ink.rgb.shape[1], round(h * 0.42 * ink.unit), ink.unit, paper)
        picture(band, draw, (ground, of.second, paper))
        y = round(h * 0.46 * ink.unit)
        ink.rgb[y : y + band.rgb.shape[0]] = band.rgb[: ink.rgb.shape[0] - y]
        strong = ground if luminance(ground) < 150 else darker(ground, 0.5)
        ink.text(first, 0.08, h * 0.07, 0.84, h * 0.15, strong, Style(0.07, 0.9), align=0)
        ink.text(second, 0.08, h * 0.23, 0.84, h * 0.17, darker(of.dark, 0.1), Style(0.07, 0.9), align=0)
        low, low_tone = paper, darker(of.dark, 0.1)
    ink.text(of.claim2, 0.1, h * 0.905, 0.5, h * 0.045, low_tone, CAPS, align=0)
    tone = readable(low, darker(of.dark, 0.1), paper)
    ink.text(what.number, 0.66, h * 0.9, 0.28, h * 0.04, tone, BOLD, align=1)
    ink.text(of.claim, 0.1, h * 0.955, 0.5, h * 0.026, low_tone, align=0)
    ink.text(of.brand, 0.66, h * 0.95, 0.28, h * 0.032, low_tone, align=1)
    ink.rect(0, 0, 0.035, h, darker(ground, 0.5), opacity=0.35)


def poster(ink: Ink, what: Product) -> None:
    """Print a poster: a picture, a place and a year."""
    of, h = what.line, ink.height
    main, paper = what.flavour.colour, paper_of(what)
    draw = rng(of.serial, "poster")
    picture = PICTURES[of.number % len(PICTURES)]
    if of.layout // 10 % 2:  # picture in a frame of paper, words below
        ink.rect(0, 0, 1, h, paper)
        inner = Ink(round(0.88 * ink.unit), round(h * 0.72 * ink.unit), 0.88 * ink.unit, paper)
        picture(inner, draw, (main, of.second, paper))
        y, x = round(0.06 * ink.unit), round(0.06 * ink.unit)
        ink.rgb[y : y + inner.rgb.shape[0], x : x + inner.rgb.shape[1]] = inner.rgb
        tone = darker(of.dark, 0.1)
        ink.text(of.title.upper(), 0.06, h * 0.785, 0.66, h * 0.11, tone, Style(0.06, 0.8), align=0)
        strong = main if luminance(main) < 170 else tone
        ink.text(what.number, 0.72, h * 0.79, 0.22, h * 0.1, strong, Style(0.07, 0.8), align=1)
        y0 = h * 0.91
    else:  # full picture, words on top
        picture(ink, draw, (main, of.second, paper))
        tone = readable(_mean(ink.rgb[: ink.rgb.shape[0] // 5]), darker(of.dark, 0.25), lighter(paper, 0.3))
        ink.text(of.title, 0.07, h * 0.035, 0.86, h * 0.13, tone, of.style)
        ink.text(
            what.number, 0.3, h * 0.17, 0.4, h * 0.06, tone, Style(0.04, spacing=0.3), outline=(main, 0.1)
        )
        ink.rect(0, h * 0.9, 1, h, darker(main, 0.55))
        tone, y0 = paper, h * 0.915
    topic = of.noun.rsplit(" ", 1)[0].upper()
    ink.text(f"{topic} · {of.claim}", 0.06, y0, 0.6, h * 0.032, tone, Style(0.02, spacing=0.06), align=0)
    ink.text(of.brand, 0.7, y0, 0.24, h * 0.045, tone, BOLD, align=1)
    small = "Tickets and maps at every station · free entry for children"
    ink.text(small, 0.06, y0 + h * 0.042, 0.6, h * 0.022, tone, PLAIN, align=0)


def _mean(pixels: U8) -> Colour:
    r, g, b = (round(float(v)) for v in pixels.reshape(-1, 3).mean(axis=0))
    return r, g, b
