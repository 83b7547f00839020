"""Forecast: what a larger database will do to accuracy, time, memory, disk and price, from a smaller one.

ranking -> standings (who stands above each positive) -> tails -> AP at any size, with intervals
"""

from ilion.forecast.accuracy import Forecast, Point, forecast
from ilion.forecast.check import HoldOut, hold_outs
from ilion.forecast.cost import CostPoint, Measured, Prices, forecast_cost
from ilion.forecast.runs import Outlook, Run, compact, look_ahead, parse_sizes
from ilion.forecast.standings import Standings, standings, thinned

__all__ = [
    "CostPoint",
    "Forecast",
    "HoldOut",
    "Measured",
    "Outlook",
    "Point",
    "Prices",
    "Run",
    "Standings",
    "compact",
    "forecast",
    "forecast_cost",
    "hold_outs",
    "look_ahead",
    "parse_sizes",
    "standings",
    "thinned",
]
