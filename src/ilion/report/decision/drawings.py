"""Small drawings: what a cell of size and clutter looks like, gains, a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ilion.report.charts.canvas import WIDTH, Canvas
from ilion.report.decision.names import Plain
from ilion.wording import Words

_SIZE = (160.0, 120.0)
_MOST_THINGS = 36
_GOLDEN = 0.6180339887498949
"""Steps of this share spread points evenly (Weyl)."""


def cell_drawing(
    size_range: Sequence[float], clutter_range: Sequence[float | None], label: str, crowded: float = 0.5
) -> Markup:
    """Draw a photo of a cell: the object with its frame, and the things around it.

    Args:
        size_range: Share of the photo that the object takes, from and to.
        clutter_range: Number of things on the photo, from and to; None is open.
        label: Text for a screen reader.
        crowded: Clutter of the cell among the backgrounds, [0, 1], where things are not counted.
    """
    width, height = _SIZE
    low, high = float(size_range[0]), float(size_range[1])
    # the middle of a range of areas as the eye sees it: that of their sides
    middle = ((math.sqrt(low) + math.sqrt(min(high, 0.6))) / 2) ** 2
    side = math.sqrt(min(max(middle, 0.004), 0.5) * width * height)
    w, h = min(side * 0.86, width * 0.9), min(side / 0.86, height * 0.92)
    x, y = (width - w) * 0.56, (height - h) * 0.58
    number = _things(clutter_range, crowded)
    parts = [
        Markup(
            '<svg class="cell-drawing" viewBox="0 0 160 120" role="img" aria-label="{}">'
            '<rect class="photo" width="160" height="120"/><path class="floor" d="M0 84H160V120H0Z"/>'
        ).format(label)
    ]
    parts += [_thing(i, number) for i in range(number)]
    parts.append(
        Markup(
            '<g transform="translate({:.1f} {:.1f}) scale({:.3f} {:.3f})">'
            '<rect class="object" width="43" height="58" rx="3"/>'
            '<rect class="object-label" x="5" y="17" width="33" height="27" rx="2"/>'
            '<path class="object-mark" d="M13 37l8-14 8 14z"/>'
            '<rect class="object-cap" x="13" y="-5" width="17" height="7" rx="2"/></g>'
            '<rect class="frame" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></svg>'
        ).format(x, y, w / 43, h / 58, x - 2, y - h * 0.1 - 2, w + 4, h * 1.1 + 4)
    )
    return Markup("").join(parts)


def _things(clutter_range: Sequence[float | None], crowded: float) -> int:
    low, high = clutter_range[0] or 0.0, clutter_range[1]
    if low <= 0 and (high is None or math.isinf(high)):
        return round(3 + 20 * crowded)
    middle = low * 1.5 if high is None or math.isinf(high) else (low + high) / 2
    if high is not None and high <= 1:  # a density of edges, not a number of things
        return round(3 + 20 * crowded)
    return max(1, min(_MOST_THINGS, round(middle)))


def _thing(i: int, number: int) -> Markup:
    """Draw one thing of the background; the same i is always the same thing."""
    across, down = (0.37 + i * _GOLDEN) % 1, (i + 0.5) / number
    size = 9 + 9 * ((i * 0.37) % 1) + 14 / math.sqrt(number)
    x, y = 4 + across * 152 - size / 2, 10 + down * 100 - size / 2
    tone = f"thing tone{i % 4}"
    if i % 3 == 0:
        return Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"/>'
        ).format(tone, x, y, size * 0.8, size * 1.25)
    if i % 3 == 1:
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(
            tone, x + size / 2, y + size / 2, size / 2
        )
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1"/>').format(
        tone, x, y, size * 1.4, size * 0.6
    )


def gain_drawing(gain: Plain, break_even: float, reach: float, answer: str) -> Markup:
    """Draw a gain with its interval on an axis from -reach to reach, with the gain at which it pays.

    Args:
        gain: Estimate of the gain, as a table.
        break_even: Gain at which it begins to pay.
        reach: End of the axis, above 0.
        answer: The verdict, as a class of the style sheet.
    """

    def x(value: float | None, otherwise: float) -> float:
        return 50 + 48 * max(-1.0, min(1.0, (otherwise if value is None else value) / reach))

    low, high, at = x(gain["low"], -reach), x(gain["high"], reach), x(gain["value"], 0)
    return Markup(
        '<svg class="gain {}" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="grid" x1="2" y1="7" x2="98" y2="7"/><line class="zero" x1="50" y1="2" x2="50" y2="12"/>'
        '<line class="needed" x1="{n:.1f}" y1="0" x2="{n:.1f}" y2="14"/>'
        '<line class="span" x1="{:.1f}" y1="7" x2="{:.1f}" y2="7"/>'
        '<line class="point" x1="{a:.1f}" y1="3" x2="{a:.1f}" y2="11"/></svg>'
    ).format(answer, low, high, n=x(break_even, 0), a=at)


def threshold_chart(curve: Sequence[Plain], chosen: Plain | None, risk: float, words: Words) -> Markup:
    """Draw the share of searches that are found over the share of wrong answers that are let through.

    Args:
        curve: Points with the rates ``wrong_absent`` and ``found``.
        chosen: The point of the threshold; None where nothing is promised.
        risk: Most wrong answers that are allowed.
        words: The catalogue.
    """
    left, right, top, bottom, height = 40.0, 24.0, 16.0, 34.0, 250.0
    points = sorted((p["wrong_absent"]["value"], p["found"]["value"]) for p in curve)
    end = max(min(1.0, 4 * risk), 0.1)
    told = [chosen] if chosen else []
    description = words.sentences(
        words(
            "none.point",
            wrong=words.percent(p["wrong_absent"]["value"], 1),
            found=words.percent(p["found"]["value"]),
        )
        for p in told
    )
    canvas = Canvas("threshold", WIDTH, height, words("none.chart"), description)

    def x_of(share: float) -> float:
        return left + min(share / end, 1) * (WIDTH - left - right)

    def y_of(share: float) -> float:
        return top + (1 - share) * (height - top - bottom)

    canvas.shares((left, WIDTH - right), ((y_of(i / 4), words.number(25 * i, 0)) for i in range(5)))
    for i in range(5):
        canvas.text(x_of(end * i / 4), y_of(0) + 18, words.significant(25 * end * i, 2), "tick", "middle")
    canvas.line(x_of(risk), top, x_of(risk), y_of(0), "mean")
    inside = [(x_of(wrong), y_of(found)) for wrong, found in points if wrong <= end]
    if inside:
        canvas.path(inside, "curve main")
    for p in told:
        x, y = x_of(p["wrong_absent"]["value"]), y_of(p["found"]["value"])
        canvas.circle(x, y, 5, "dot main", description)
        canvas.text(x + 9, y + 16, words.percent(p["found"]["value"]), "value")
    return canvas.finish()
