"""Forecast: what a larger database will do to accuracy, time, memory, disk and price, from a smaller one.

ranking -> distractors above each positive -> tails -> AP at any size, with intervals
"""

from ilion.forecast.accuracy import Forecast, Point, forecast
from ilion.forecast.cost import CostPoint, Measured, Prices, forecast_cost
from ilion.forecast.distractors import DistractorCounts, count_distractors, thin_distractors
from ilion.forecast.hold_outs import HoldOut, forecast_hold_outs
from ilion.forecast.runs import (
    ForecastResult,
    Run,
    forecast_runs,
    format_duration,
    format_price,
    format_size,
    parse_sizes,
)

__all__ = [
    "CostPoint",
    "DistractorCounts",
    "Forecast",
    "ForecastResult",
    "HoldOut",
    "Measured",
    "Point",
    "Prices",
    "Run",
    "count_distractors",
    "forecast",
    "forecast_cost",
    "forecast_hold_outs",
    "forecast_runs",
    "format_duration",
    "format_price",
    "format_size",
    "parse_sizes",
    "thin_distractors",
]
