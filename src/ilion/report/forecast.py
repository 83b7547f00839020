"""The page of a forecast: a chart of mAP over the size of the database, tables, and what they rest on."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from ilion.forecast import ForecastResult, format_size
from ilion.report.build import write_page
from ilion.report.charts.canvas import WIDTH, Canvas, share_axis, ticks
from ilion.report.english import design_text
from ilion.wording import Words, load_words


def write_forecast(result: ForecastResult, path: Path, *, language: str = "en") -> Path:
    """Write a forecast as one HTML file that loads nothing from anywhere.

    Args:
        result: The forecast.
        path: The file; written aside and renamed.
        language: See `ilion.wording.languages`.

    Raises:
        ConfigError: There is no such language.
        ArtifactError: The file cannot be written.
    """
    words = load_words("report", language)
    return write_page(
        path,
        "forecast.html.j2",
        words,
        format_size=_sizes(words),
        result=result,
        design=design_text(result.design, words),
        chart=sizes_chart("forecast", result, words),
        warnings=warning_sentences(result, words),
        rows=list(zip(result.forecast.points, result.images, result.costs, strict=True)),
    )


def warning_sentences(result: ForecastResult, words: Words | None = None) -> list[str]:
    """Say in sentences where a forecast goes beyond what its checks support.

    Args:
        result: The forecast.
        words: The catalogue; None for English with fractions, as a terminal shows them.
    """
    page, words = words is not None, words or load_words("report", "en")
    found = []
    for kind, values in result.warnings.items():
        said = {key: _SHORT.sub(lambda m: _sizes(words)(_long(m)), value) for key, value in values.items()}
        if page:  # where all else is in percent
            said |= {end: words.percent(float(values[end]), 1) for end in ("low", "high") if end in values}
        found.append(words(f"forecast.warn_{kind}", **said))
    return found


_SHORT = re.compile(r"\b([\d.]+)([KM])\b")


def _long(found: re.Match[str]) -> float:
    return float(found[1]) * {"K": 1e3, "M": 1e6}[found[2]]


def _sizes(words: Words) -> Callable[[float], str]:
    """Return how numbers of photos are written: short as in ``10K`` in English, else as people say them."""
    return format_size if words.language == "en" else words.large


def sizes_chart(name: str, result: ForecastResult, words: Words) -> Markup:
    """Draw mAP over the number of distractors: measured points, and the forecast with both intervals.

    Args:
        name: Unique in the document.
        result: The forecast.
        words: The catalogue.
    """
    left, right, top, bottom, height = 40.0, 24.0, 22.0, 34.0, 280.0
    points, shown = result.forecast.points, _sizes(words)
    sizes = [size for size, _ in result.runs] + [point.distractors for point in points]
    low, high = min(sizes) / 1.5, max(sizes) * 1.5
    step, ceiling = share_axis(max([mean for _, mean in result.runs] + [p.ci95.high for p in points]))
    description = words.sentences(
        [
            *(
                words("forecast.measured_point", size=shown(size), value=words.percent(mean, 1))
                for size, mean in result.runs
            ),
            *(
                words(
                    "forecast.forecast_point",
                    size=shown(p.distractors),
                    value=words.percent(p.mean, 1),
                    low=words.percent(p.interval.low, 1),
                    high=words.percent(p.interval.high, 1),
                )
                for p in points
            ),
        ]
    )
    canvas = Canvas(name, WIDTH, height, words("forecast.chart"), description)

    def x_of(size: float) -> float:
        return left + math.log(size / low) / math.log(high / low) * (WIDTH - left - right)

    def y_of(share: float) -> float:
        return top + (1 - share / ceiling) * (height - top - bottom)

    steps = [i * step for i in range(round(ceiling / step) + 1)]
    canvas.shares((left, WIDTH - right), ((y_of(share), words.percent(share)) for share in steps))
    canvas.logarithmic(y_of(0), ((x_of(value), shown(value)) for value in ticks(low, high)))
    last, mean = result.runs[-1]
    canvas.path([(x_of(size), y_of(value)) for size, value in result.runs], "curve main")
    canvas.path(
        [(x_of(last), y_of(mean)), *((x_of(p.distractors), y_of(p.mean)) for p in points)], "curve other"
    )
    for p in points:
        for span, half, css in ((p.ci95, 4, "other"), (p.interval, 8, "main")):
            canvas.whisker(x_of(p.distractors), (y_of(span.low), y_of(span.high)), half, css)
        canvas.circle(x_of(p.distractors), y_of(p.mean), 4, "dot other", shown(p.distractors))
        canvas.text(x_of(p.distractors), y_of(p.ci95.high) - 7, words.percent(p.mean, 1), "value", "middle")
    for size, value in result.runs:
        canvas.circle(x_of(size), y_of(value), 4, "dot main", shown(size))
    return canvas.finish()
