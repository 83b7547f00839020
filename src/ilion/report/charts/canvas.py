"""The drawing board of the plots: SVG elements, round axis values, and text that stays readable on a phone.

Coordinates are CSS pixels at full width. Colours come from the style sheet.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence

from markupsafe import Markup

WIDTH = 440
"""Width of a chart: no wider than a phone needs to keep its text readable."""
TICK_GLYPH = 6.5
"""Generous width of a character of a tick label, to keep labels apart."""


class Canvas:
    """Collects SVG elements; every text that goes in is escaped.

    Args:
        name: Unique in the document; ids of title and description are made from it.
        width: Width of the coordinate system.
        height: Height of the drawing.
        title: Title, which a screen reader says first.
        description: The same content as the picture, in words.
    """

    def __init__(self, name: str, width: float, height: float, title: str, description: str) -> None:
        self._parts = [
            Markup(
                '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t {n}-d">'
                '<title id="{n}-t">{t}</title><desc id="{n}-d">{d}</desc>'
            ).format(w=width, h=height, n=name, t=title, d=description)
        ]

    def _draw(self, template: str, *values: float | str) -> None:
        """Add an element; coordinates are written short and the same on every machine."""
        shown = (value if isinstance(value, str) else _n(value) for value in values)
        self._parts.append(Markup(template).format(*shown))

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        """Write text with its baseline at y."""
        self._draw('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>', x, y, css, anchor, text)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draw a straight line."""
        self._draw('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>', x1, y1, x2, y2, css)

    def whisker(
        self, x: float, span: tuple[float, float], half: float, css: str, *, lying: bool = False
    ) -> None:
        """Draw an interval with its ends.

        Args:
            x: Place of its line; the height of one that lies.
            span: Heights of its ends; places of one that lies.
            half: Half the length of an end.
            css: Class of its colour.
            lying: Whether it lies, instead of standing.
        """
        low, high = span
        for x1, y1, x2, y2 in ((x, low, x, high), *((x - half, y, x + half, y) for y in span)):
            self.line(*((y1, x1, y2, x2) if lying else (x1, y1, x2, y2)), f"whisker {css}")

    def rect(self, x: float, y: float, width: float, height: float, css: str, radius: float = 0) -> None:
        """Draw a rectangle."""
        template = '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" class="{}"/>'
        self._draw(template, x, y, width, height, radius, css)

    def circle(self, x: float, y: float, radius: float, css: str, title: str = "") -> None:
        """Draw a disc, with a tool tip."""
        template = '<circle cx="{}" cy="{}" r="{}" class="{}"><title>{}</title></circle>'
        self._draw(template, x, y, radius, css, title)

    def path(self, points: Sequence[tuple[float, float]], css: str, close: bool = False) -> None:
        """Draw a polyline."""
        data = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._parts.append(Markup('<path d="M{}{}" class="{}"/>').format(data, "Z" if close else "", css))

    def shares(self, x: tuple[float, float], rows: Iterable[tuple[float, str]]) -> None:
        """Draw the axis of shares.

        Args:
            x: Left and right end of its lines.
            rows: Height and label of each line, from the axis upwards.
        """
        for number, (y, text) in enumerate(rows):
            self.line(x[0], y, x[1], y, "grid" if number else "axis")
            self.text(x[0] - 6, y + 4, text, "tick", "end")

    def logarithmic(self, y: float, values: Iterable[tuple[float, str]], gap: float = TICK_GLYPH) -> None:
        """Draw the ticks of a logarithmic axis at height y, and those of their labels that have room.

        Args:
            y: Height of the axis.
            values: Place and label of each tick, from left to right.
            gap: Space between labels.
        """
        free = 0.0
        for x, text in values:
            self.line(x, y, x, y + 4, "axis")
            half = columns(text) * TICK_GLYPH / 2
            if x - half >= free:
                self.text(x, y + 18, text, "tick", "middle")
                free = x + half + gap

    def raw(self, element: Markup) -> None:
        """Add an element that is finished already."""
        self._parts.append(element)

    def finish(self) -> Markup:
        """Return the finished element."""
        return Markup("").join([*self._parts, Markup("</svg>")])


def _n(value: float) -> str:
    """Write a coordinate, short and the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")


def ticks(low: float, high: float) -> list[float]:
    """Return round values in [low, high] for a logarithmic axis: at most six.

    >>> ticks(3, 60)
    [5.0, 10.0, 20.0, 50.0]
    >>> ticks(1, 1e6)
    [1.0, 100.0, 10000.0, 1000000.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for mantissas, step in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
        values = [float(m * 10.0**e) for e in range(first, last + 1, step) for m in mantissas]
        inside = [v for v in values if low * 0.999 <= v <= high * 1.001]
        if len(inside) <= 6:
            break
    return inside


def share_axis(highest: float) -> tuple[float, float]:
    """Return the step and the end of an axis of shares from 0 that holds the highest value with 3 to 5 steps.

    >>> share_axis(0.63), share_axis(1.0)
    ((0.2, 0.8), (0.25, 1.0))
    """
    for step in (0.01, 0.02, 0.05, 0.1, 0.2):
        steps = math.ceil(highest / step - 1e-9)
        if steps <= 4:
            return step, step * max(steps, 1)
    return 0.25, 1.0


def columns(text: str) -> int:
    """Return the width of a text in Latin characters: Chinese and Japanese are twice as wide, joiners 0.

    >>> columns("ab"), columns("物体"), columns("a\\u2060b")
    (2, 4, 2)
    """
    return sum(
        1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
        if unicodedata.category(letter) != "Cf"
    )


def short(text: str, length: int) -> str:
    """Cut a text that is wider than so many Latin characters.

    >>> short("chamomile", 5), short("検索する物体", 9)
    ('cham…', '検索する…')
    """
    if columns(text) <= length:
        return text
    while columns(text) > length - 1:
        text = text[:-1]
    return text + "…"
