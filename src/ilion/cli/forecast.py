"""Forecasts: accuracy and cost of larger databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ilion.cli.common import (
    AsJson,
    BadImage,
    Model,
    Output,
    Set,
    counted,
    experiment_of,
    progress_bars,
    say_json,
)

if TYPE_CHECKING:
    from ilion.forecast import ForecastResult
    from ilion.outcome import Interval


def forecast(
    source: Annotated[
        list[Path], typer.Argument(help="An experiment (TOML), a data set, or folders of finished runs.")
    ],
    at: Annotated[str, typer.Option(help="Numbers of distractors to forecast for.")] = "1M,5M,100M",
    sizes: Annotated[
        str | None, typer.Option(help="Numbers of distractors to measure; default: a tenth, a third, all.")
    ] = None,
    per_hour: Annotated[float | None, typer.Option(help="Price of an hour of the machine.")] = None,
    per_gb_month: Annotated[float | None, typer.Option(help="Price of a gigabyte and month of disk.")] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the prices, such as EUR.")] = None,
    months: Annotated[float | None, typer.Option(help="Months that the database is stored.")] = None,
    stages: Annotated[
        bool,
        typer.Option(
            "--stages", help="Also plan 1,000, 10,000, 100,000 and 1M photos, with a gate for each."
        ),
    ] = False,
    settings: Set = None,
    model: Model = None,
    output: Output = None,
    on_bad_image: BadImage = None,
    page: Annotated[
        Path | None, typer.Option(help="Page to write; default: forecast.html in the run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast mAP, time, memory, disk and price at larger databases, with intervals, and write a page."""
    from ilion import api
    from ilion.errors import ConfigError
    from ilion.forecast import SIZES, parse_sizes
    from ilion.storage.runs import FILE

    finished = [path for path in source if (path / FILE).exists()]
    if finished and len(finished) != len(source):
        other = next(path for path in source if path not in finished)
        raise ConfigError(f"{other}: holds no finished run; name runs only, or one experiment")
    if not finished and len(source) > 1:
        raise ConfigError("name one experiment, or the output folders of finished runs")
    if finished and (settings or model is not None or output is not None or on_bad_image):
        raise ConfigError(
            "finished runs are as they are: --set, --model, --on-bad-image and -o belong to a forecast of an "
            "experiment, which is then measured anew"
        )
    with progress_bars() as progress:
        result, path = api.forecast(
            finished or experiment_of("forecast", source[0], settings, model, output, on_bad_image),
            parse_sizes(at),
            parse_sizes(sizes) if sizes else (),
            stages=SIZES if stages else (),
            per_hour=per_hour,
            per_gigabyte_month=per_gb_month,
            months=months,
            currency=currency,
            output=page,
            progress=progress,
        )
    if as_json:
        say_json(_plain(result, path, stages))
    else:
        _say(result)
        if stages:
            _say_stages(result)
        print(f"page: {path}")


def _plain(result: ForecastResult, path: Path, stages: bool) -> dict[str, object]:
    from ilion.forecast import plan_stages
    from ilion.report.forecast import warning_sentences

    predicted = result.forecast
    return {
        "name": result.name,
        "design": result.design,
        "definition": predicted.definition,
        "k": predicted.k,
        "measured": [{"distractors": size, "mAP": mean} for size, mean in result.runs],
        "forecast": [
            {
                "distractors": point.distractors,
                "images": images,
                "mAP": point.mean,
                "interval": [point.interval.low, point.interval.high],
                "ci95": [point.ci95.low, point.ci95.high],
                "cost": cost,
            }
            for point, images, cost in zip(predicted.points, result.images, result.costs, strict=True)
        ],
        "largest": result.largest,
        "hold_outs": result.held,
        "imperfection": predicted.imperfection,
        "currency": result.prices.currency,
        "warnings": warning_sentences(result),
        "page": str(path),
        **({"stages": plan_stages(result)} if stages else {}),
    }


_GATES = {
    "representative": "the photos that join are of the kind that will come, and show none of the objects",
    "measure": "measure it{between}",
    "checked": "this size lies beyond what forecasts were checked for: only measuring tells",
    "threshold": "set the threshold again: the best wrong photo scores higher in a larger database",
    "objects": "take more objects than {objects}: the interval is too wide to decide by",
    "speed": "a search may take {ms} ms then: enough machines, or another design",
    "memory": "{gigabytes} GB of memory will be needed",
}


def _say_stages(result: ForecastResult) -> None:
    from ilion.download.planning import format_bytes
    from ilion.forecast import format_duration, format_price, format_size, plan_stages

    plan = plan_stages(result)
    print(f"  in stages ({plan.metric}):")
    for stage in plan.stages:
        if stage.accuracy is None:
            known = "nothing is said: measure more distractors first"
        else:
            known = f"{stage.accuracy:.4f}" + (f" [{_span(stage.ci95)}]" if stage.ci95 else "")
        price = "" if stage.price is None else f", {format_price(stage.price, plan.currency)}"
        print(f"  {format_size(stage.images):>10} photos: {known} ({stage.kind})")
        print(
            f"              {format_duration(stage.search_ms / 1000)} a query, "
            f"{format_bytes(stage.disk_bytes)} on disk, {format_bytes(stage.memory_bytes)} of memory{price}"
        )
        for gate in stage.gates:
            values = dict(gate.values)
            between = f": it must lie in {values['low']} to {values['high']}" if "low" in values else ""
            print(f"              before the next: {_GATES[gate.key].format(between=between, **values)}")


def _say(result: ForecastResult) -> None:
    from ilion.download.planning import format_bytes
    from ilion.forecast import format_duration, format_price, format_size
    from ilion.report.forecast import warning_sentences

    predicted = result.forecast
    print(
        f"{result.name}: {result.design}, {counted(result.queries, 'query', 'queries')} "
        f"of {counted(result.objects, 'object')}"
    )
    for sentence in warning_sentences(result):
        print(f"  warning: {sentence}")
    print(f"  distractors     mAP@{predicted.k} ({predicted.definition})")
    for size, mean in result.runs:
        print(f"  {format_size(size):>10}      {mean:.4f}  measured")
    for point in predicted.points:
        print(
            f"  {format_size(point.distractors):>10}      {point.mean:.4f}  "
            f"[95%, these queries: {_span(point.interval)}; other objects: {_span(point.ci95)}]"
        )
    if result.largest is not None:
        one = result.largest
        print(
            f"  hold-out: from {format_size(one.start)}, the forecast for {format_size(one.size)} was "
            f"{one.foretold:.4f} [{_span(one.interval)}], measured {one.measured:.4f}; "
            f"a line over log size gives {one.log_linear:.4f}"
        )
    if result.held:
        inside = sum(one.inside for one in result.held)
        print(f"  hold-outs by thinning: {inside} of {len(result.held)} inside their intervals")
    print(f"  cost, in straight lines from {result.machine}:")
    print("  distractors   describe all    a query       disk     memory  price")
    for point, cost in zip(predicted.points, result.costs, strict=True):
        price = "no rates" if cost.price is None else format_price(cost.price, result.prices.currency)
        hours = cost.describe_hours
        describe = "not measured" if hours is None else format_duration(3600 * hours)
        answer = format_duration(cost.search_ms / 1000)
        print(
            f"  {format_size(point.distractors):>10}  {describe:>12}  {answer:>10}  "
            f"{format_bytes(cost.disk_bytes):>9}  {format_bytes(cost.memory_bytes):>9}  {price}"
        )


def _span(span: Interval) -> str:
    return f"{span.low:.4f} to {span.high:.4f}"
