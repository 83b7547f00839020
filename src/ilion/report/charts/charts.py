"""The plots, as inline SVG that takes its colours from the style sheet and prints its values as text.

Every chart has a title and a description for people who do not see it. Coordinates are CSS pixels at full
width, and no chart is wider than a phone needs to keep its text readable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ilion.outcome import Interval
from ilion.report.charts.canvas import TICK_GLYPH, WIDTH, Canvas, share_axis, short, ticks
from ilion.report.charts.pareto import CostPoint, pareto_chart
from ilion.report.words import Words
from ilion.types import Float64

__all__ = [
    "Bar",
    "CostPoint",
    "Point",
    "accuracy_against_cost",
    "bars",
    "pareto_chart",
    "positives_by_rank",
    "sorted_precisions",
]

_PANEL = 320


@dataclass(frozen=True)
class Point:
    """One run in a plot of accuracy against cost.

    Args:
        mark: Short, stands in the disc.
        name: For the tool tip.
        cost: Positive.
        cost_text: The cost written for people.
        accuracy: [0, 1].
        ci95: Its interval.
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
        title: What the panel shows.
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

    for i in range(round(ceiling / step) + 1):
        y = y_of(i * step)
        canvas.line(left, y, _PANEL - right, y, "axis" if i == 0 else "grid")
        canvas.text(left - 6, y + 4, words.percent(i * step), "tick", "end")
    free = 0.0
    for value in ticks(low, high):
        canvas.line(x_of(value), y_of(0), x_of(value), y_of(0) + 4, "axis")
        text = words.cost(value, unit, digits=1)
        half = len(text) * TICK_GLYPH / 2
        if x_of(value) - half >= free:
            canvas.text(x_of(value), y_of(0) + 18, text, "tick", "middle")
            free = x_of(value) + half + 2 * TICK_GLYPH
    for p in sorted(points, key=lambda p: p.main):
        x, css = x_of(p.cost), "main" if p.main else "other"
        for end in (p.ci95.low, p.ci95.high):
            canvas.line(x - 5, y_of(end), x + 5, y_of(end), f"whisker {css}")
        canvas.line(x, y_of(p.ci95.low), x, y_of(p.ci95.high), f"whisker {css}")
        canvas.circle(x, y_of(p.accuracy), 10, f"dot {css}", p.name)
        canvas.text(x, y_of(p.accuracy) + 4, p.mark, "mark", "middle")
        canvas.text(x + 14, y_of(p.accuracy) + 4, words.percent(p.accuracy), "value")
    return canvas.done()


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: a value in [0, 1] with its interval and a remark."""

    label: str
    value: float
    ci95: Interval
    remark: str


def bars(name: str, rows: Sequence[Bar], title: str, words: Words) -> Markup:
    """Draw horizontal bars with interval whiskers, 0 to 100%, each labelled with its value."""
    pitch, reach = 46.0, WIDTH - 2.0
    description = words.sentences(
        words("chart.bar", label=r.label, value=words.percent(r.value, 1), remark=r.remark) for r in rows
    )
    canvas = Canvas(name, WIDTH, pitch * len(rows), title, description)
    for i, row in enumerate(rows):
        y = i * pitch
        canvas.text(0, y + 14, short(row.label, 24), "label")
        canvas.text(WIDTH, y + 14, row.remark, "tick", "end")
        canvas.rect(0, y + 21, WIDTH, 12, "track", 2)
        canvas.rect(0, y + 21, row.value * reach, 12, "bar", 2)
        low, high = row.ci95.low * reach, row.ci95.high * reach
        canvas.line(low, y + 27, high, y + 27, "whisker ink")
        for end in (low, high):
            canvas.line(end, y + 23, end, y + 31, "whisker ink")
    return canvas.done()


def positives_by_rank(name: str, recall: Float64, any_hit: Float64, title: str, words: Words) -> Markup:
    """Draw which share of the positives, and of the queries, is served by each rank, on a logarithmic axis.

    Args:
        name: Unique in the document.
        recall: (k,) mean recall at ranks 1..k.
        any_hit: (k,) share of queries with a positive at ranks 1..k.
        title: What the chart shows.
        words: The catalogue.
    """
    left, right, top, bottom, height = 40.0, 24.0, 22.0, 30.0, 280.0
    k = len(recall)
    marks = sorted({r for r in (1, 10, 100, 1000, 10_000) if r < k / 1.5} | {k})
    description = words.sentences(
        words(
            "chart.rank_point",
            rank=rank,
            recall=words.percent(recall[rank - 1], 1),
            queries=words.percent(any_hit[rank - 1], 1),
        )
        for rank in marks
    )
    canvas = Canvas(name, WIDTH, height, title, description)

    def x_of(rank: float) -> float:
        return left + math.log(rank) / math.log(max(k, 2)) * (WIDTH - left - right)

    def y_of(share: float) -> float:
        return top + (1 - share) * (height - top - bottom)

    for i in range(5):
        canvas.line(left, y_of(i / 4), WIDTH - right, y_of(i / 4), "axis" if i == 0 else "grid")
        canvas.text(left - 6, y_of(i / 4) + 4, words.percent(i / 4), "tick", "end")
    for values, css in ((any_hit, "other"), (recall, "main")):
        steps = [(x_of(1), y_of(values[0]))]
        for rank in (np.flatnonzero(np.diff(values)) + 2).tolist():
            steps += [(x_of(rank), steps[-1][1]), (x_of(rank), y_of(values[rank - 1]))]
        canvas.path([*steps, (x_of(k), steps[-1][1])], f"curve {css}")
    for rank in marks:
        canvas.line(x_of(rank), y_of(0), x_of(rank), y_of(0) + 4, "axis")
        canvas.text(x_of(rank), y_of(0) + 18, words.integer(rank), "tick", "middle")
        high, low = y_of(any_hit[rank - 1]), y_of(recall[rank - 1])
        canvas.circle(x_of(rank), high, 3.5, "dot other")
        canvas.circle(x_of(rank), low, 3.5, "dot main")
        # The curves rise to the right: a label above one stands left of its point, a label below one right.
        side, shift = ("start", 2) if rank == 1 else ("end", -2)
        canvas.text(x_of(rank) + shift, high - 8, words.percent(any_hit[rank - 1]), "value", side)
        text = words.percent(recall[rank - 1])
        if y_of(0) - low < 24 or (rank == k and low - high > 24):
            canvas.text(x_of(rank) + shift, low - 8, text, "value", side)
        else:
            right_side, shift = ("end", 0) if rank == k else ("start", 5)
            canvas.text(x_of(rank) + shift, low + 17, text, "value", right_side)
    return canvas.done()


def sorted_precisions(name: str, aps: Float64, mean: float, title: str, words: Words) -> Markup:
    """Draw the average precision of each query, from the worst to the best, with the mean."""
    left, right, top, bottom, height = 40.0, 24.0, 22.0, 30.0, 280.0
    ordered = np.sort(aps)
    quartiles = np.quantile(ordered, [0.25, 0.5, 0.75])
    description = words(
        "chart.precision_description",
        low=words.percent(quartiles[0], 1),
        median=words.percent(quartiles[1], 1),
        high=words.percent(quartiles[2], 1),
    )
    canvas = Canvas(name, WIDTH, height, title, description)
    span = (WIDTH - left - right) / len(ordered)

    def y_of(ap: float) -> float:
        return top + (1 - ap) * (height - top - bottom)

    for i in range(5):
        canvas.line(left, y_of(i / 4), WIDTH - right, y_of(i / 4), "axis" if i == 0 else "grid")
        canvas.text(left - 6, y_of(i / 4) + 4, words.percent(i / 4), "tick", "end")
    if span >= 4:
        for i, ap in enumerate(ordered.tolist()):
            canvas.rect(left + i * span, y_of(ap), span - 1.5, y_of(0) - y_of(ap), "bar")
    else:
        outline = [(left, y_of(0))]
        for i, ap in enumerate(ordered.tolist()):
            outline += [(left + i * span, y_of(ap)), (left + (i + 1) * span, y_of(ap))]
        canvas.path([*outline, (WIDTH - right, y_of(0))], "bar", close=True)
    canvas.line(left, y_of(mean), WIDTH - right, y_of(mean), "mean")
    canvas.text(left + 4, y_of(mean) - 6, words("chart.mean", value=words.percent(mean, 1)), "value")
    canvas.text(left, y_of(0) + 18, words("chart.worst_query"), "tick")
    canvas.text(WIDTH - right, y_of(0) + 18, words("chart.best_query"), "tick", "end")
    return canvas.done()
