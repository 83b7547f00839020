"""Forecast accuracy and cost of databases that are not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilion.api.run import Settings, pipeline_of
from ilion.api.runs import load_run
from ilion.config import ExperimentConfig, check_first_stage, from_dict
from ilion.errors import ConfigError
from ilion.pipeline import Progress
from ilion.storage.runs import read_run
from ilion.types import Where

if TYPE_CHECKING:
    from ilion.forecast import ForecastResult


def forecast(
    source: Settings | Sequence[Where],
    at: Sequence[int] = (1_000_000, 5_000_000, 100_000_000),
    sizes: Sequence[int] = (),
    *,
    per_hour: float | None = None,
    per_gigabyte_month: float | None = None,
    months: float | None = None,
    currency: str | None = None,
    output: Where | None = None,
    progress: Progress | None = None,
) -> tuple[ForecastResult, Path]:
    """Forecast mAP, time, memory, disk and price at larger databases.

    Args:
        source: An experiment, which is measured at several sizes on the fly, or a list of the output
            folders of finished runs of one experiment.
        at: Numbers of distractors to forecast for.
        sizes: Numbers of distractors to measure, for an experiment; empty takes a tenth, a third and all.
        per_hour: Price of an hour of the machine; None takes that of the experiment.
        per_gigabyte_month: Price of a gigabyte of disk for a month; None takes that of the experiment.
        months: Months that the database is kept; None takes that of the experiment.
        currency: Currency of the prices; None takes that of the experiment.
        output: The page to write; by default ``forecast.html`` in the output folder.
        progress: Callback that receives a stage, steps done and steps in all.

    Returns:
        The forecast and the path of its page.

    Raises:
        ConfigError: The runs do not belong together, or no size is above the measured ones.
        ArtifactError: There are too few distractors.
    """
    from ilion.forecast import forecast_runs
    from ilion.pipeline.jobs.forecast import measure_parts, measured_runs
    from ilion.report.forecast import write_forecast

    if isinstance(source, ExperimentConfig | str | Path):
        pipeline = pipeline_of(source, progress)
        config = pipeline.config
        check_first_stage("forecast", config)
        extracted = pipeline.extract()
        runs = measure_parts(pipeline.experiment, extracted, sizes, config.seed)
        name, design, dataset = config.name, pipeline.design, pipeline.dataset.name
        machine, folder = extracted.machine, Path(config.output)
    else:
        if not source:
            raise ConfigError("name an experiment, or at least one run folder")
        if sizes:
            raise ConfigError("--sizes is for an experiment; finished runs have the sizes that they have")
        results = [load_run(path) for path in source]
        runs = measured_runs(results)
        name, design, dataset = results[0].name, results[0].design, results[0].dataset.name
        machine, folder = results[0].cost.machine, Path(source[0])
        config = from_dict(ExperimentConfig, read_run(folder)["provenance"]["config"])
    given: dict[str, Any] = {
        "hour": per_hour,
        "gigabyte_month": per_gigabyte_month,
        "months": months,
        "currency": currency,
    }
    prices = replace(config.price, **{name: value for name, value in given.items() if value is not None})
    if (prices.hour or prices.gigabyte_month) and not prices.currency:
        raise ConfigError(
            "a price needs a currency: give --currency EUR, or price.currency in the experiment"
        )
    result = forecast_runs(
        runs,
        at,
        name=name,
        dataset=dataset,
        design=design,
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        prices=prices,
        machine=f"{machine.cpu}, {machine.cores} cores",
        seed=config.seed,
    )
    path = Path(output or folder / "forecast.html")
    return result, write_forecast(result, path, language=config.report.language)
