"""The plot of accuracy against cost: one disc a run, over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ilion.outcome import Interval
from ilion.report.charts.canvas import TICK_GLYPH, Canvas, share_axis, ticks
from ilion.wording import Words

_PANEL = 320


@dataclass(frozen=True)
class Point:
    """One run in a plot of accuracy against cost.

    Args:
        mark: Short, stands in the disc.
        name: Text of the tool tip.
        cost: Positive.
        cost_text: The cost written for people.
        accuracy: [0, 1].
        ci95: Interval of the accuracy.
        main: Whether this is the run that the report is about.
    """

    mark: str
    name: str
    cost: float
    cost_text: str
    accuracy: float
    ci95: Interval
    main: bool


def accuracy_against_cost(name: str, points: Sequence[Point], title: str, unit: str, words: Words) -> Markup:
    """Draw runs over a logarithmic cost axis, with the interval of each accuracy.

    Args:
        name: Unique in the document.
        points: At least one, all of positive cost.
        title: Title of the panel.
        unit: Key of the unit's string, such as ``ms``: how the axis is labelled.
        words: The catalogue.
    """
    left, right, top, bottom, height = 40.0, 14.0, 14.0, 34.0, 250.0
    costs = [p.cost for p in points]
    low, high = min(costs) / 2, max(costs) * 2
    step, ceiling = share_axis(max(p.ci95.high for p in points))
    description = words.sentences(
        words("chart.cost_point", name=p.name, cost=p.cost_text, accuracy=words.percent(p.accuracy, 1))
        for p in points
    )
    canvas = Canvas(name, _PANEL, height, title, description)

    def x_of(cost: float) -> float:
        share = math.log(cost / low) / math.log(high / low)
        return left + share * (_PANEL - left - right)

    def y_of(accuracy: float) -> float:
        return top + (1 - accuracy / ceiling) * (height - top - bottom)

    steps = [i * step for i in range(round(ceiling / step) + 1)]
    canvas.shares((left, _PANEL - right), ((y_of(share), words.percent(share)) for share in steps))
    labels = ((x_of(value), words.cost(value, unit, digits=1)) for value in ticks(low, high))
    canvas.logarithmic(y_of(0), labels, 2 * TICK_GLYPH)
    for p in sorted(points, key=lambda p: p.main):
        x, css = x_of(p.cost), "main" if p.main else "other"
        canvas.whisker(x, (y_of(p.ci95.low), y_of(p.ci95.high)), 5, css)
        canvas.circle(x, y_of(p.accuracy), 10, f"dot {css}", p.name)
        canvas.text(x, y_of(p.accuracy) + 4, p.mark, "mark", "middle")
        canvas.text(x + 14, y_of(p.accuracy) + 4, words.percent(p.accuracy), "value")
    return canvas.finish()
