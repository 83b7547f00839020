"""The plots: accuracy against cost, by size, clutter and label, by rank and by query."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from ilion.outcome import RunResult, SliceResult
from ilion.report.charts.bars import Bar, bars, sorted_precisions
from ilion.report.charts.cost import Point, accuracy_against_cost
from ilion.report.charts.ranks import positives_by_rank
from ilion.report.context import Context, Section
from ilion.report.sections.facts import recall_by_rank
from ilion.report.sections.verdict import answer_ms, known_slices, label_axes, slice_label

_MAX_BARS = 12


def plots_section(context: Context) -> Section:
    """Plot accuracy against cost, by size, clutter and label, by rank and by query."""
    words, evaluation = context.words, context.main.evaluation
    costs: tuple[tuple[str, str, Callable[[RunResult], float]], ...] = (
        ("photo", "ms", lambda r: r.cost.extraction_ms_per_image),
        ("bytes", "bytes", lambda r: r.cost.bytes_per_image),
        ("query", "ms", answer_ms),
    )
    panels = [
        (words(f"plots.cost_{name}"), _cost_panel(context, name, unit, cost)) for name, unit, cost in costs
    ]
    recall, any_hit = recall_by_rank(context.outcome.queries, context.outcome.k)
    aps = evaluation.per_query
    data = {
        "single": len(context.results) == 1,
        "panels": panels,
        "values": [(axis, _value_bars(context, axis)) for axis in ("scale", "clutter")],
        "labels": [(axis, *_label_bars(context, axis)) for axis in label_axes(evaluation)],
        "ranks": positives_by_rank("c-rank", recall, any_hit, words("plots.rank_heading"), words),
        "precisions": sorted_precisions(
            "c-precision", aps, evaluation.mean, words("plots.precision_heading"), words
        ),
        "precision_intro": words(
            "plots.precision_intro", count=len(aps), low=int((aps < 0.1).sum()), high=int((aps > 0.9).sum())
        ),
    }
    return Section("plots", words("plots.title"), data)


def _cost_panel(context: Context, name: str, unit: str, cost: Callable[[RunResult], float]) -> Markup | None:
    words = context.words
    points = [
        Point(
            mark=str(number),
            name=result.design,
            cost=cost(result),
            cost_text=words.cost(cost(result), unit),
            accuracy=result.evaluation.mean,
            ci95=result.evaluation.ci95,
            main=result is context.main,
        )
        for number, result in enumerate(context.results, start=1)
        if cost(result) > 0
    ]
    if not points:
        return None
    return accuracy_against_cost(f"c-{name}", points, words(f"plots.cost_{name}"), unit, words)


def _bar(context: Context, part: SliceResult) -> Bar:
    words = context.words
    remark = words(
        "chart.bar_remark",
        value=words.percent(part.mean, 1),
        low=words.percent(part.ci95.low),
        high=words.percent(part.ci95.high),
        count=part.instances,
    )
    return Bar(slice_label(part.axis, part.label, words), part.mean, part.ci95, remark)


def _value_bars(context: Context, axis: str) -> Markup | None:
    slices = known_slices(context.main.evaluation, axis)
    if not slices:
        return None
    rows = [_bar(context, s) for s in context.main.evaluation.slices if s.axis == axis]
    return bars(f"c-{axis}", rows, context.words(f"plots.{axis}_heading"), context.words)


def _label_bars(context: Context, axis: str) -> tuple[Markup, int]:
    """Draw the labels of an axis from the weakest to the strongest; of many, the two ends."""
    slices = sorted(known_slices(context.main.evaluation, axis), key=lambda s: s.mean)
    left_out = max(0, len(slices) - _MAX_BARS)
    if left_out:
        slices = slices[: _MAX_BARS // 2] + slices[-(_MAX_BARS // 2) :]
    number = label_axes(context.main.evaluation).index(axis)
    title = context.words("plots.label_heading", axis=axis)
    return bars(f"c-label{number}", [_bar(context, s) for s in slices], title, context.words), left_out
