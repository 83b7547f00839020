"""Forecast: what a larger database will do to accuracy, time, memory, disk and price, from a smaller one.

ranking -> distractors above each positive -> tails -> AP at any size, with intervals
"""

from ilion.forecast.accuracy import forecast
from ilion.forecast.cost import Measured
from ilion.forecast.distractors import count_distractors
from ilion.forecast.hold_outs import forecast_hold_outs
from ilion.forecast.runs import (
    ForecastResult,
    Run,
    forecast_runs,
    format_duration,
    format_price,
    format_size,
    parse_sizes,
)
from ilion.forecast.stages import SIZES, StagePlan, plan_stages

__all__ = [
    "SIZES",
    "ForecastResult",
    "Measured",
    "Run",
    "StagePlan",
    "count_distractors",
    "forecast",
    "forecast_hold_outs",
    "forecast_runs",
    "format_duration",
    "format_price",
    "format_size",
    "parse_sizes",
    "plan_stages",
]
