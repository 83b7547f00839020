"""Growing in stages: what each size brings and costs, and what must be measured before going on to the next.

A stage is measured, forecast within what forecasts were checked for, or beyond it. Beyond, its accuracy is
not said to be known: the gate of the stage before says what to measure first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from ilion.forecast.accuracy import Point
from ilion.forecast.cost import CostPoint, forecast_cost
from ilion.forecast.runs import ForecastResult
from ilion.outcome import Interval
from ilion.types import Value

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Database images of the stages."""
CHECKED = 10
"""Factor over which forecasts were compared with measurements many times; larger ones are extrapolated."""
SLOW, HEAVY = 1000.0, 16e9
"""Milliseconds a query, and bytes of memory, from which a gate asks to look at them."""

Kind = Literal["measured", "forecast", "extrapolated"]


@dataclass(frozen=True)
class Gate:
    """What must be looked at, at one stage, before the next is built.

    Args:
        key: ``representative`` (photos that join must be of the kind to come), ``measure`` (accuracy must lie
            in the interval that was forecast), ``checked`` (it is forecast beyond what was checked, so only
            measuring tells), ``threshold`` (set it anew, since the best wrong photo scores higher in a larger
            database), ``objects`` (too few for a narrow interval), ``speed``, ``memory``.
        values: Values for the sentence.
    """

    key: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One size of the database.

    Args:
        images: Database images.
        distractors: Number of photos that show none of the objects.
        kind: Origin of the accuracy: ``measured``; ``forecast``, within the factor that was checked;
            ``extrapolated``, beyond it.
        accuracy: mAP; None where nothing can be said.
        interval: 95% for the queries at hand once it is measured; None where it is measured or
            nothing can be said.
        ci95: 95% for other objects; None where it is measured or nothing can be said.
        disk_bytes: Bytes on disk.
        memory_bytes: Peak memory.
        search_ms: Milliseconds a query.
        search_range: Range of that time; None with one measured size: a line through 0 says too much.
        describe_hours: Hours to describe all photos once; None where that was not measured.
        price: Price of describing and keeping; None without rates.
        gates: Checks before the next stage.
    """

    images: int
    distractors: int
    kind: Kind
    accuracy: float | None
    interval: Interval | None
    ci95: Interval | None
    disk_bytes: float
    memory_bytes: float
    search_ms: float
    search_range: Interval | None
    describe_hours: float | None
    price: float | None
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
    stages = [_stage(known, "measured", accuracy, None, costs[0])]
    for size, cost in zip(wanted[1:], costs[1:], strict=True):
        point = points.get(size - rest)
        kind: Kind = "forecast" if point and point.distractors <= CHECKED * known else "extrapolated"
        stages.append(_stage(size - rest, kind, None if point is None else point.mean, point, cost))
    gated = [replace(stage, gates=_gates(stage, following, result)) for stage, following in pairwise(stages)]
    metric = f"mAP@{result.forecast.k} ({result.forecast.definition})"
    return StagePlan(result.design, metric, result.machine, result.prices.currency, (*gated, stages[-1]))


def _stage(
    distractors: int, kind: Kind, accuracy: float | None, point: Point | None, cost: CostPoint
) -> Stage:
    return Stage(
        images=cost.images,
        distractors=distractors,
        kind=kind,
        accuracy=accuracy,
        interval=None if point is None else point.interval,
        ci95=None if point is None else point.ci95,
        disk_bytes=cost.disk_bytes,
        memory_bytes=cost.memory_bytes,
        search_ms=cost.search_ms,
        search_range=cost.search_range,
        describe_hours=cost.describe_hours,
        price=cost.price,
        gates=(),
    )


def _gates(stage: Stage, following: Stage, result: ForecastResult) -> tuple[Gate, ...]:
    """Say what must be looked at at a stage before the next is built."""
    gates = [Gate("representative")]
    if stage.interval is not None:
        ends = {"low": f"{stage.interval.low:.4f}", "high": f"{stage.interval.high:.4f}"}
        gates.append(Gate("measure", ends))
    if stage.kind == "extrapolated":
        gates.append(Gate("checked"))
    gates.append(Gate("threshold"))
    if "vague" in result.warnings:
        gates.append(Gate("objects", {"objects": str(result.objects)}))
    if following.search_ms >= SLOW:
        gates.append(Gate("speed", {"ms": f"{following.search_ms:,.0f}"}))
    if following.memory_bytes >= HEAVY:
        gates.append(Gate("memory", {"gigabytes": f"{following.memory_bytes / 1e9:,.0f}"}))
    return tuple(gates)
