"""The curves over rank: which share of the positives, and of the queries, is served by each rank."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from ilion.report.charts.canvas import WIDTH, Canvas
from ilion.types import Float64
from ilion.wording import Words


def positives_by_rank(name: str, recall: Float64, any_hit: Float64, title: str, words: Words) -> Markup:
    """Draw which share of the positives, and of the queries, is served by each rank, on a logarithmic axis.

    Args:
        name: Unique in the document.
        recall: (k,) mean recall at ranks 1..k.
        any_hit: (k,) share of queries with a positive at ranks 1..k.
        title: Title of the chart.
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

    canvas.shares((left, WIDTH - right), ((y_of(i / 4), words.percent(i / 4)) for i in range(5)))
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
    return canvas.finish()
