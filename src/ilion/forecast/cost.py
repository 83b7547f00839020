"""Time, memory, disk and price at a larger database, from what smaller ones took.

All are straight lines, whose slopes are measured: describing an image costs the same whatever their number;
a search takes a fixed time and one for each image; stored bytes grow with the images, and ids in memory
as long as they are few (`ilion.storage.ids`). What is not known is not invented: without rates there is no
price, and a single measurement gives no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ilion.errors import ConfigError
from ilion.outcome import Interval
from ilion.storage.ids import IN_MEMORY
from ilion.types import Between


@dataclass(frozen=True)
class Measured:
    """What one run took.

    Args:
        images: Database images.
        queries: Number of queries searched.
        describe_seconds: Seconds to describe a database image; NaN or 0 where it is not known.
        search_seconds: Seconds to search all queries.
        bytes_per_image: Bytes of an image on disk, without its id.
        id_bytes: Mean length of an id in bytes.
        peak_memory: Peak memory in bytes.
        growth: (database images, seconds of a query) of searches among more images that were timed, too.
    """

    images: int
    queries: int
    describe_seconds: float
    search_seconds: float
    bytes_per_image: float
    id_bytes: float
    peak_memory: int
    growth: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Prices:
    """What machines and disks cost; 0 is unknown, and then no price is said.

    Args:
        hour: Price of an hour of the machine that was measured on.
        gigabyte_month: Price of a gigabyte of disk for a month.
        months: Months that the database is kept.
        currency: Currency, shown beside prices.
    """

    hour: Annotated[float, Between(0, 1e9)] = 0.0
    gigabyte_month: Annotated[float, Between(0, 1e9)] = 0.0
    months: Annotated[float, Between(0, 1e5)] = 1.0
    currency: str = ""

    def __post_init__(self) -> None:
        """Refuse rates that are negative or no number."""
        for value in (self.hour, self.gigabyte_month, self.months):
            if not Between(0, 1e9).holds(value):
                raise ConfigError(f"prices and months must be numbers and not be negative, got {value}")


@dataclass(frozen=True)
class CostPoint:
    """Cost at one size; intervals are the range of the fits that leave one measurement out.

    Args:
        images: Database images.
        describe_hours: Hours to describe them all once; None where descriptors were imported.
        describe_range: Range of that time, or None.
        search_ms: Milliseconds of a query, exact search.
        search_range: Range of that time, or None.
        disk_bytes: Bytes of descriptors and ids on disk.
        memory_bytes: Peak memory, without what the system caches of the mapped files.
        price: Price of describing and keeping, or None without rates.
        price_range: Range of the price, or None.
    """

    images: int
    describe_hours: float | None
    describe_range: Interval | None
    search_ms: float
    search_range: Interval | None
    disk_bytes: float
    memory_bytes: float
    price: float | None
    price_range: Interval | None


ID_OVERHEAD = 80
"""Bytes of a Python string beside its characters, and of its place in tuple and dictionary (estimated)."""
GIGABYTE = 1e9


def fit_line(images: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Fit ``intercept + slope x images`` with neither below 0.

    Args:
        images: (n,) at least one.
        values: (n,) at least 0.

    Returns:
        Intercept and slope; through the origin for one measurement, or where that fits better.

    >>> fit_line([100, 200], [3.0, 5.0])
    (1.0, 0.02)
    >>> fit_line([100], [5.0])
    (0.0, 0.05)
    """
    x, y = np.asarray(images, np.float64), np.asarray(values, np.float64)
    through = float((x * y).sum() / (x * x).sum())
    if len(set(x.tolist())) < 2:
        return 0.0, through
    slope, intercept = (float(v) for v in np.polyfit(x, y, 1))
    if slope < 0.0:
        return float(y.mean()), 0.0
    return (0.0, through) if intercept < 0.0 else (round(intercept, 12), round(slope, 15))


def forecast_cost(
    measured: Sequence[Measured], images: Sequence[int], prices: Prices | None = None
) -> tuple[CostPoint, ...]:
    """Forecast the cost of larger databases.

    Args:
        measured: At least one run; the largest says what an image takes on disk.
        images: Database images of each size.
        prices: Prices of machine and disk; None gives no price.

    Raises:
        ConfigError: Nothing was measured.
    """
    if not measured:
        raise ConfigError("a forecast of costs needs a measured run")
    runs = sorted(measured, key=lambda run: run.images)
    prices = prices or Prices()
    last = runs[-1]
    describe = [run.describe_seconds for run in runs if run.describe_seconds > 0]
    per_image = float(np.mean(describe)) if describe else None
    points = []
    for size in images:
        disk = size * (last.bytes_per_image + last.id_bytes + 4)
        if size > IN_MEMORY:  # then they are listed too, with 8 bytes for where each starts
            disk += size * (last.id_bytes + 8)
        held = max(min(size, IN_MEMORY) - last.images, 0)
        hours = None if per_image is None else size * per_image / 3600
        spread = _range([size * value / 3600 for value in describe])
        price = _price(hours, disk, prices)
        points.append(
            CostPoint(
                images=size,
                describe_hours=hours,
                describe_range=spread,
                search_ms=_search(runs, size),
                search_range=_range(
                    [_search([*runs[:i], *runs[i + 1 :]], size) for i in range(len(runs))]
                    if len(runs) > 1
                    else []
                ),
                disk_bytes=disk,
                memory_bytes=last.peak_memory + held * (last.id_bytes + ID_OVERHEAD),
                price=price,
                price_range=None
                if price is None or spread is None
                else Interval(*(float(_price(h, disk, prices) or 0.0) for h in (spread.low, spread.high))),
            )
        )
    return tuple(points)


def _search(runs: Sequence[Measured], size: int) -> float:
    last = runs[-1]
    if last.growth and size > last.images:
        intercept, slope = fit_line(*zip(*last.growth, strict=True))
        return 1e3 * max(intercept + slope * size, last.search_seconds / last.queries)
    intercept, slope = fit_line(
        [run.images for run in runs], [run.search_seconds / run.queries for run in runs]
    )
    return 1e3 * (intercept + slope * size)


def _range(values: Sequence[float]) -> Interval | None:
    return Interval(float(min(values)), float(max(values))) if len(values) > 1 else None


def _price(hours: float | None, disk: float, prices: Prices) -> float | None:
    if hours is None or (prices.hour == 0 and prices.gigabyte_month == 0):
        return None
    return hours * prices.hour + disk / GIGABYTE * prices.gigabyte_month * prices.months
