"""Growing in stages: what each size brings and costs, and what must be measured before going on to the next.

A stage is measured, forecast within what forecasts were checked for, or beyond it. Beyond, its accuracy is
not said to be known: the gate of the stage before says what to measure first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from ilion.forecast.cost import CostPoint, forecast_cost
from ilion.forecast.runs import ForecastResult, format_size
from ilion.outcome import Interval
from ilion.types import Value

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Database images of the stages."""
CHECKED = 10
"""Factor over which forecasts were compared with measurements many times; larger ones are extrapolated."""
SLOW, HEAVY = 1000.0, 16e9
"""Milliseconds a query, and bytes of memory, from which a gate asks to look at them."""

Kind = Literal["measured", "forecast", "extrapolated", "unknown"]


@dataclass(frozen=True)
class Gate:
    """What must be looked at, at one stage, before the next is built.

    Args:
        key: ``accuracy`` (measure it; it must lie in the interval that was forecast), ``threshold`` (set it
            anew, since the best wrong photo scores higher in a larger database), ``forecast`` (forecast the
            next stage from this one), ``kind`` (photos that join must be of the kind to come), ``objects``
            (too few for a narrow interval), ``speed``, ``memory``.
        values: Values for the sentence.
    """

    key: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One size of the database.

    Args:
        images: Database images.
        distractors: Those that show none of the objects.
        kind: How its accuracy is known: ``measured``; ``forecast``, within the factor that was checked;
            ``extrapolated``, beyond it; ``unknown``, where nothing is said.
        accuracy: mAP; None where it is unknown.
        interval: 95% for the queries at hand once it is measured; None where it is measured or unknown.
        ci95: 95% for other objects; None where it is measured or unknown.
        cost: Time, disk, memory and price.
        gates: What must be looked at before the next stage.
    """

    images: int
    distractors: int
    kind: Kind
    accuracy: float | None
    interval: Interval | None
    ci95: Interval | None
    cost: CostPoint
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class StagePlan(Value):
    """Stages of one design.

    Args:
        design: Short name of the method.
        metric: Name of the metric, with its definition.
        machine: Machine that the cost was measured on.
        currency: Currency of prices; "" without rates.
        stages: Ascending by size.
    """

    design: str
    metric: str
    machine: str
    currency: str
    stages: tuple[Stage, ...]


def plan_stages(result: ForecastResult, sizes: Sequence[int] = SIZES) -> StagePlan:
    """Plan the growth of a database in stages, from the largest measured size on.

    Args:
        result: A forecast, made with these sizes as its stages.
        sizes: Database images of the stages; those below the measured one are passed.
    """
    last, (known, accuracy) = result.measured[-1], result.runs[-1]
    rest = last.images - known
    points = {point.distractors: point for point in result.forecast.points}
    wanted = [last.images, *sorted(size for size in sizes if size > last.images)]
    costs = forecast_cost(result.measured, wanted, result.prices)
    stages = [Stage(last.images, known, "measured", accuracy, None, None, costs[0], ())]
    for size, cost in zip(wanted[1:], costs[1:], strict=True):
        point = points.get(size - rest)
        kind: Kind = "unknown"
        if point is not None:
            kind = "forecast" if point.distractors <= CHECKED * known else "extrapolated"
        mean = None if point is None else point.mean
        interval = None if point is None else point.interval
        ci95 = None if point is None else point.ci95
        stages.append(Stage(size, size - rest, kind, mean, interval, ci95, cost, ()))
    gated = [replace(stage, gates=_gates(stage, following, result)) for stage, following in pairwise(stages)]
    metric = f"mAP@{result.forecast.k} ({result.forecast.definition})"
    return StagePlan(result.design, metric, result.machine, result.prices.currency, (*gated, stages[-1]))


def _gates(stage: Stage, following: Stage, result: ForecastResult) -> tuple[Gate, ...]:
    """Say what must be looked at at a stage before the next is built."""
    gates = [Gate("kind")]
    if stage.kind != "measured":
        told = {} if stage.interval is None else {"low": stage.interval.low, "high": stage.interval.high}
        gates.append(Gate("accuracy", {name: f"{value:.4f}" for name, value in told.items()}))
    gates += [Gate("threshold"), Gate("forecast", {"size": format_size(following.images)})]
    if "vague" in result.warnings:
        gates.append(Gate("objects", {"objects": str(result.objects)}))
    if following.cost.search_ms >= SLOW:
        gates.append(Gate("speed", {"ms": f"{following.cost.search_ms:.0f}"}))
    if following.cost.memory_bytes >= HEAVY:
        gates.append(Gate("memory", {"gigabytes": f"{following.cost.memory_bytes / 1e9:.0f}"}))
    return tuple(gates)
