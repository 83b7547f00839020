"""Accuracy against one cost, with the front of the designs that no other one beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ilion.errors import ConfigError
from ilion.outcome import Interval
from ilion.report.charts.canvas import TICK_GLYPH, WIDTH, Canvas, ticks
from ilion.wording import Words

SHAPES = ("disc", "square", "triangle", "diamond", "plus", "bowtie")
COLOURS = ("main", "miss", "other")
"""Classes of the style sheet. Two series never share both shape and colour, and the first six no shape."""
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320.0, 44.0, 16.0, 18.0, 48.0
_MARK = 5.5
"""Half the size of a mark, pixels."""
_LABEL = 30
"""Longest label, characters."""
Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class CostPoint:
    """One design in a chart of accuracy against cost.

    Args:
        series: Designs of one series share a mark; "" for a chart of one series.
        label: Short, such as ``4 KB``; stands beside the mark of a design on the front where there is room.
        name: The whole design, for the tool tip and for people who do not see the chart.
        cost: Positive, in the unit of the chart.
        accuracy: [0, 1].
        ci95: Interval of the accuracy.
        on_front: Whether no other design costs no more and is more accurate.
    """

    series: str
    label: str
    name: str
    cost: float
    accuracy: float
    ci95: Interval
    on_front: bool


def pareto_chart(
    name: str,
    points: Sequence[CostPoint],
    title: str,
    unit: str,
    axis: str,
    words: Words,
    *,
    reference: tuple[str, float] | None = None,
) -> Markup:
    """Draw designs over a logarithmic cost axis: those on the front joined by a line, the others faint.

    The line is a staircase: between two designs of the front, what a budget buys is the cheaper one. The axis
    of accuracy does not start at zero but holds every accuracy and the intervals of the front.

    Args:
        name: Unique in the document, such as ``c-sweep-bytes``.
        points: At least one. A series is drawn with one mark, in order of appearance; at most 18 series.
        title: Title of the chart, for people who do not see it.
        unit: Unit of the cost: ``bytes`` or ``ms``.
        axis: Title of the cost axis.
        words: The catalogue.
        reference: A name and an accuracy, drawn as a dashed line across: what there is without any cost.

    Returns:
        A figure: the chart and, if there are several series, their legend.

    Raises:
        ConfigError: There is no point, a cost is not positive and finite, or there are too many series.
    """
    series = list(dict.fromkeys(p.series for p in points))
    if not points or len(series) > len(SHAPES) * len(COLOURS):
        raise ConfigError(
            f"a chart shows 1 to {len(SHAPES) * len(COLOURS)} series, got {len(series)}; choose fewer"
        )
    for p in points:
        if not 0 < p.cost < math.inf:
            raise ConfigError(f"{p.name}: a cost of {p.cost} has no place on a logarithmic axis")
    front = sorted((p for p in points if p.on_front), key=lambda p: (p.cost, p.accuracy))
    canvas = Canvas(name, WIDTH, _HEIGHT, title, _description(points, front, unit, words))
    x_of, y_of = _axes(canvas, points, front, unit, axis, words, reference)
    if front:
        steps = [(x_of(front[0].cost), y_of(front[0].accuracy))]
        for p in front[1:]:
            steps += [(x_of(p.cost), steps[-1][1]), (x_of(p.cost), y_of(p.accuracy))]
        canvas.path([*steps, (WIDTH - _RIGHT, steps[-1][1])], "curve front")
    places = [(x_of(p.cost), y_of(p.accuracy)) for p in points]
    for p, (x, y) in sorted(zip(points, places, strict=True), key=lambda pair: pair[0].on_front):
        number = series.index(p.series)
        if p.on_front:
            canvas.line(x, y_of(p.ci95.low), x, y_of(p.ci95.high), f"whisker {_colour(number)}")
        canvas.raw(_mark(x, y, number, faint=not p.on_front, title=_sentence(p, unit, words)))
    taken = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in places]
    taken += [(x_of(p.cost) - 2, y_of(p.ci95.high), x_of(p.cost) + 2, y_of(p.ci95.low)) for p in front]
    for p in front:
        _label(canvas, x_of(p.cost), y_of(p.accuracy), p.label, taken)
    legend = _legend(series) if len(series) > 1 else Markup("")
    return Markup('<figure class="pareto">{}{}</figure>').format(canvas.finish(), legend)


def accuracy_axis(low: float, high: float) -> tuple[float, float, float]:
    """Return start, end and step of an axis that holds [low, high] with at most six steps.

    >>> accuracy_axis(0.41, 0.68)
    (0.4, 0.7, 0.05)
    >>> accuracy_axis(0.5, 0.5)
    (0.5, 0.51, 0.01)
    """
    for step in (0.01, 0.02, 0.05, 0.1, 0.2):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        last = max(last, first + 1)
        if last - first <= 6:
            break
    return round(first * step, 9), round(last * step, 9), step


def _axes(
    canvas: Canvas,
    points: Sequence[CostPoint],
    front: Sequence[CostPoint],
    unit: str,
    axis: str,
    words: Words,
    reference: tuple[str, float] | None,
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Draw both axes and the reference; returns where a cost and where an accuracy lie."""
    low, high = min(p.cost for p in points) / 1.5, max(p.cost for p in points) * 1.5
    shown = [p.accuracy for p in points] + [v for p in front for v in (p.ci95.low, p.ci95.high)]
    shown += [reference[1]] if reference else []
    start, end, step = accuracy_axis(min(shown), max(shown))

    def x_of(cost: float) -> float:
        return _LEFT + math.log(cost / low) / math.log(high / low) * (WIDTH - _LEFT - _RIGHT)

    def y_of(accuracy: float) -> float:
        return _TOP + (end - accuracy) / (end - start) * (_HEIGHT - _TOP - _BOTTOM)

    steps = [start + i * step for i in range(round((end - start) / step) + 1)]
    canvas.shares((_LEFT, WIDTH - _RIGHT), ((y_of(value), words.percent(value)) for value in steps))
    labels = ((x_of(cost), words.cost(cost, unit, digits=1)) for cost in ticks(low, high))
    canvas.logarithmic(y_of(start), labels)
    canvas.text((_LEFT + WIDTH - _RIGHT) / 2, _HEIGHT - 8, axis, "tick", "middle")
    if reference:
        y = y_of(reference[1])
        canvas.line(_LEFT, y, WIDTH - _RIGHT, y, "mean")
        canvas.text(WIDTH - _RIGHT, y - 5, reference[0], "value reference", "end")
    return x_of, y_of


def _description(points: Sequence[CostPoint], front: Sequence[CostPoint], unit: str, words: Words) -> str:
    beaten = len(points) - len(front)
    sentences = [_sentence(p, unit, words) for p in front]
    if beaten:
        sentences.append(words("chart.beaten", count=beaten))
    return words.sentences(sentences)


def _sentence(point: CostPoint, unit: str, words: Words) -> str:
    return words(
        "chart.front_point",
        name=point.name,
        cost=words.cost(point.cost, unit),
        accuracy=words.percent(point.accuracy, 1),
        low=words.percent(point.ci95.low, 1),
        high=words.percent(point.ci95.high, 1),
    )


def _colour(number: int) -> str:
    return COLOURS[(number + number // len(SHAPES)) % len(COLOURS)]


def _mark(x: float, y: float, number: int, *, faint: bool = False, title: str = "") -> Markup:
    """Return the mark of a series at a place, with a tool tip."""
    r = _MARK
    s = r - 0.7  # a square looks larger than a disc as wide
    outline = {
        "disc": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z",
        "square": f"M{x - s:.1f} {y - s:.1f}h{2 * s:.1f}v{2 * s:.1f}h{-2 * s:.1f}Z",
        "triangle": f"M{x:.1f} {y - r - 1:.1f}l{r + 1} {2 * r}h{-2 * r - 2}Z",
        "diamond": f"M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}Z",
        "plus": f"M{x - 2:.1f} {y - r - 0.5:.1f}h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",
        "bowtie": f"M{x - r - 0.5:.1f} {y - r:.1f}v{2 * r}l{2 * r + 1} {-2 * r}v{2 * r}Z",
    }[SHAPES[number % len(SHAPES)]]
    css = f"point {_colour(number)}" + (" faint" if faint else "")
    return Markup('<path d="{}" class="{}"><title>{}</title></path>').format(outline, css, title)


def _label(canvas: Canvas, x: float, y: float, text: str, taken: list[Area]) -> None:
    """Write a label beside a mark where it covers nothing; without such a place the tool tip must do."""
    text = text if len(text) <= _LABEL else ""
    width = len(text) * TICK_GLYPH
    # to the right first, below and above the line there: on the left it would seem to name another mark
    for dx, dy, anchor in ((6, 16, "start"), (6, -6, "start"), (-6, -6, "end"), (-6, 16, "end")):
        left = x + dx - (width if anchor == "end" else 0)
        area = (left, y + dy - 10, left + width, y + dy + 2)
        inside = area[0] >= _LEFT and area[2] <= WIDTH and area[1] >= 0 and area[3] <= _HEIGHT - _BOTTOM
        if text and inside and not any(_overlap(area, other) for other in taken):
            canvas.text(x + dx, y + dy, text, "value beside", anchor)
            taken.append(area)
            return


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legend(series: Sequence[str]) -> Markup:
    keys = [
        Markup('<li><svg class="key-mark" viewBox="0 0 16 16" aria-hidden="true">{}</svg>{}</li>').format(
            _mark(8, 8, number), text
        )
        for number, text in enumerate(series)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(keys))
