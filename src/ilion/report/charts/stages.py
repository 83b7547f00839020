"""The charts of re-ranking: what each stage gained and lost, and slices before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ilion.outcome import Interval
from ilion.report.charts.canvas import WIDTH, Canvas, share_axis, short
from ilion.wording import Words

_PITCH = 46.0


@dataclass(frozen=True)
class Step:
    """One row of a waterfall.

    Args:
        label: Name of the step.
        remark: Amount in words and numbers, at the right end.
        start: Start of its bar, [0, 1].
        end: End of its bar; below ``start`` for a loss.
        css: ``total``, ``gain``, ``loss``, ``room`` (still to be gained) or ``far`` (out of reach).
        ci95: Interval of a total.
    """

    label: str
    remark: str
    start: float
    end: float
    css: str
    ci95: Interval | None = None


def waterfall(name: str, steps: Sequence[Step], title: str, words: Words) -> Markup:
    """Draw steps from 0 to 100%, one below the other, each beginning where the one before ended."""
    reach = WIDTH - 2.0
    description = words.sentences(words("chart.step", label=s.label, value=s.remark) for s in steps)
    canvas = Canvas(name, WIDTH, _PITCH * len(steps) - 8, title, description)
    for i, step in enumerate(steps[:-1]):
        x = step.end * reach
        canvas.line(x, i * _PITCH + 33, x, (i + 1) * _PITCH + 21, "link")
    for i, step in enumerate(steps):
        y = i * _PITCH
        canvas.text(0, y + 14, step.label, "label halo-text")
        canvas.text(WIDTH, y + 14, step.remark, "tick halo-text", "end")
        canvas.rect(0, y + 21, WIDTH, 12, "track", 2)
        low, high = sorted((step.start, step.end))
        canvas.rect(low * reach, y + 21, max((high - low) * reach, 1.0), 12, f"step {step.css}", 2)
        if step.ci95 is not None:
            canvas.whisker(y + 27, (step.ci95.low * reach, step.ci95.high * reach), 4, "ink", lying=True)
    return canvas.finish()


@dataclass(frozen=True)
class Part:
    """One part of a whole."""

    label: str
    count: int
    css: str


def whole(name: str, parts: Sequence[Part], title: str, words: Words) -> Markup:
    """Draw parts of a whole as one bar, in order; a key that names them belongs beside it."""
    total = sum(part.count for part in parts)
    description = words.sentences(
        words("chart.part", label=p.label, count=p.count, share=words.percent(p.count / max(total, 1), 1))
        for p in parts
    )
    canvas = Canvas(name, WIDTH, 30, title, description)
    left = 0.0
    for part in parts:
        width = part.count / max(total, 1) * WIDTH
        if part.count:
            # what is small can still be seen
            canvas.rect(left, 0, max(width - 1.5, 1.0), 30, f"part {part.css}")
        left += width
    return canvas.finish()


@dataclass(frozen=True)
class Pair:
    """A value before and after, each with its interval; fractions."""

    label: str
    remark: str
    before: float
    before_ci95: Interval
    after: float
    after_ci95: Interval


def before_and_after(name: str, rows: Sequence[Pair], title: str, words: Words) -> Markup:
    """Draw values before and after with their intervals, one below the other, on an axis that begins at 0."""
    step, end = share_axis(max(max(r.before_ci95.high, r.after_ci95.high) for r in rows))
    description = words.sentences(
        words(
            "chart.pair",
            label=r.label,
            before=words.percent(r.before, 1),
            after=words.percent(r.after, 1),
            remark=r.remark,
        )
        for r in rows
    )
    height = 50.0 * len(rows) + 24
    canvas = Canvas(name, WIDTH, height, title, description)
    left, right = 4.0, 14.0

    def x_of(value: float) -> float:
        return left + value / end * (WIDTH - left - right)

    for i in range(round(end / step) + 1):
        x = x_of(i * step)
        canvas.line(x, 0, x, height - 20, "axis" if i == 0 else "grid")
        canvas.text(x, height - 5, words.percent(i * step), "tick", "start" if i == 0 else "middle")
    for i, row in enumerate(rows):
        y = 50.0 * i
        canvas.text(left + 4, y + 15, short(row.label, 24), "label halo-text")
        canvas.text(WIDTH - right, y + 15, row.remark, "tick halo-text", "end")
        for value, ci95, css, at in (
            (row.before, row.before_ci95, "other", y + 27),
            (row.after, row.after_ci95, "main", y + 37),
        ):
            canvas.whisker(at, (x_of(ci95.low), x_of(ci95.high)), 3, css, lying=True)
            if css == "main":
                canvas.circle(x_of(value), at, 5, "dot main", words.percent(value, 1))
            else:
                canvas.rect(x_of(value) - 4.5, at - 4.5, 9, 9, "dot other")
    return canvas.finish()
