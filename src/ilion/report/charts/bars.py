"""Bars: the slices of an axis with their intervals, and the average precision of every query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ilion.outcome import Interval
from ilion.report.charts.canvas import WIDTH, Canvas, short
from ilion.types import Float64
from ilion.wording import Words


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
        canvas.whisker(y + 27, (row.ci95.low * reach, row.ci95.high * reach), 4, "ink", lying=True)
    return canvas.finish()


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

    canvas.shares((left, WIDTH - right), ((y_of(i / 4), words.percent(i / 4)) for i in range(5)))
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
    return canvas.finish()
