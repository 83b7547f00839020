"""The report on a sweep: which setting to take for which cost, as sentences, charts and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from markupsafe import Markup

from ilion.outcome import Sweep, SweepRun
from ilion.report.build import write_page
from ilion.report.charts.pareto import COLOURS, SHAPES, CostPoint, pareto_chart
from ilion.report.english import failure_text
from ilion.wording import Words, load_words

WORTH = 0.005
"""Least gain in mAP of a dearer run to be advised: smaller ones come by chance alone."""
ADVISED = 6
"""Runs that a sentence of advice names at most."""


def write_sweep_report(found: Sweep, path: Path, *, language: str = "en") -> Path:
    """Write the report on a sweep as one HTML file that loads nothing from anywhere.

    Args:
        found: The sweep.
        path: The file; written aside and renamed.
        language: See `ilion.wording.languages`.

    Raises:
        ConfigError: There is no such language.
        ArtifactError: The file cannot be written.
    """
    words = load_words("report", language)
    kinds: tuple[Literal["bytes", "ms"], ...] = ("bytes", "ms")
    return write_page(
        path,
        "sweep.html.j2",
        words,
        found=found,
        failure=lambda reason: failure_text(reason, words),
        advice=[text for kind in kinds if (text := advice(found, kind, words))],
        charts=[_chart(found, kind, words) for kind in kinds],
        fronts={kind: found.front(kind) for kind in kinds},
        first=found.runs[0],
    )


def advice(found: Sweep, kind: Literal["bytes", "ms"], words: Words) -> str:
    """Say in one sentence which run to take for which cost; "" where the cost is the same for all.

    Args:
        found: The sweep.
        kind: ``bytes`` an image or ``ms`` a query.
        words: The catalogue.
    """
    costs = [cost_of(run, kind) for run in found.runs]
    if max(costs) - min(costs) < 0.01 * max(costs):
        return ""
    kept: list[SweepRun] = []
    for number in sorted(found.front(kind), key=lambda n: costs[n]):
        if not kept or found.runs[number].evaluation.mean >= kept[-1].evaluation.mean + WORTH:
            kept.append(found.runs[number])
    if len(kept) > ADVISED:
        places = [round(i * (len(kept) - 1) / (ADVISED - 1)) for i in range(ADVISED)]
        kept = [kept[place] for place in places]
    steps = [
        words(
            "sweep.step",
            cost=words.cost(cost_of(run, kind), kind),
            setting=_named(run),
            value=words.percent(run.evaluation.mean, 1),
        )
        for run in kept
    ]
    return words(f"sweep.advice_{kind}", steps=words("sweep.between_steps").join(steps))


def cost_of(run: SweepRun, kind: Literal["bytes", "ms"]) -> float:
    """Return the bytes an image or the milliseconds a query of a run."""
    return run.cost.bytes_per_image if kind == "bytes" else run.cost.search_ms_per_query


def _named(run: SweepRun) -> str:
    return ", ".join(f"{name} = {value}" for name, value in run.named.items())


def _chart(found: Sweep, kind: Literal["bytes", "ms"], words: Words) -> Markup:
    front = found.front(kind)
    points = []
    for number, run in enumerate(found.runs):
        label, *others = run.named.items()
        points.append(
            CostPoint(
                series=", ".join(f"{name} = {value}" for name, value in others),
                label=label[1],
                name=_named(run),
                cost=max(cost_of(run, kind), 1e-3),
                accuracy=run.evaluation.mean,
                ci95=run.evaluation.ci95,
                on_front=number in front,
            )
        )
    if len({p.series for p in points}) > len(SHAPES) * len(COLOURS):
        points = [_without_series(p) for p in points]
    title = words("sweep.chart", axis=words(f"sweep.axis_{kind}"))
    return pareto_chart(f"c-sweep-{kind}", points, title, kind, words(f"sweep.axis_{kind}"), words)


def _without_series(point: CostPoint) -> CostPoint:
    return CostPoint("", point.label, point.name, point.cost, point.accuracy, point.ci95, point.on_front)
