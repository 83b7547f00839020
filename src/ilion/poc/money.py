"""A gain in money: more finds and fewer wrong picks against bytes and machines. No price is assumed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ilion.forecast.cost import fit_line
from ilion.poc.decision import Estimate, MoneyLine
from ilion.poc.settings import MoneyConfig

DAYS = 365.25 / 12
"""Days of a month."""
GIGABYTE = 1e9
HOUR_MS = 3_600_000.0


@dataclass(frozen=True)
class DesignCost:
    """What a design was measured to cost.

    Args:
        bytes_per_photo: Stored bytes of a photo.
        ms_per_search: Milliseconds of a search, describing the query included.
        ms_per_photo: Milliseconds to describe a photo.
        photos: Number of photos searched when that was measured.
        ms_of_query: Milliseconds of a search that take no account of their number: describing the query.
        growth: (photos, milliseconds of a search without describing the query) among more photos, if that was
            timed.
    """

    bytes_per_photo: float
    ms_per_search: float
    ms_per_photo: float
    photos: int
    ms_of_query: float = 0.0
    growth: tuple[tuple[int, float], ...] = ()

    def ms_among(self, photos: float) -> float:
        """Return the milliseconds of a search among so many photos, at most.

        A line through what was timed among more photos, else one through 0: real searches grow less. Among
        fewer photos than were measured, what was measured.

        >>> DesignCost(4000, 30, 50, 1000, ms_of_query=20).ms_among(5000)
        70.0
        >>> DesignCost(4000, 30, 50, 1000, 20, growth=((10_000, 30), (100_000, 120))).ms_among(1_000_000)
        1040.0
        """
        if self.growth and photos > self.photos:
            fixed, each = fit_line(*zip(*self.growth, strict=True))
            return self.ms_of_query + max(fixed + each * photos, self.ms_per_search - self.ms_of_query)
        times = max(photos / max(self.photos, 1), 1.0)
        return self.ms_of_query + (self.ms_per_search - self.ms_of_query) * times


def missing_prices(money: MoneyConfig) -> tuple[str, ...]:
    """Return the settings without which nothing can be said in money.

    >>> missing_prices(MoneyConfig(currency="EUR", searches_a_day=100, photos=10**6, find=1))
    ('money.gigabyte_month', 'money.core_month')
    """
    needed = {
        "money.currency": money.currency.strip(),
        "money.searches_a_day": money.searches_a_day,
        "money.photos": money.photos,
        "money.gigabyte_month": money.gigabyte_month,
        "money.core_month": money.core_month,
        "money.find": value_of_right(money),
    }
    return tuple(name for name, value in needed.items() if not value)


def value_of_right(money: MoneyConfig) -> float:
    """Return what a right first answer in place of a wrong one is worth: find, wrong pick and minutes."""
    return money.find + money.wrong_pick + money.minute * money.minutes_lost


def monthly_costs(cost: DesignCost, money: MoneyConfig, as_measured: bool = False) -> tuple[float, float]:
    """Return the price of storage and of processor cores a month, at most.

    Cores are those that the busiest hour keeps busy; a fraction of a core has its fraction of the price.

    Args:
        cost: Cost of the design.
        money: Prices, and the number of photos that will be searched; 0 means as many as were measured.
        as_measured: Whether a search among all of them is taken to be as quick as the measured one.

    >>> money = MoneyConfig(photos=10**6, gigabyte_month=0.5, core_month=20, searches_a_day=50_000)
    >>> monthly_costs(DesignCost(1e4, 360, 50, 10**6), money)
    (5.0, 20.0)
    >>> monthly_costs(DesignCost(1e4, 36, 50, 10**5), money)
    (5.0, 20.0)
    """
    photos = money.photos or cost.photos
    storage = photos * cost.bytes_per_photo / GIGABYTE * money.gigabyte_month
    milliseconds = cost.ms_per_search if as_measured else cost.ms_among(photos)
    cores = money.searches_a_day * money.peak * milliseconds / HOUR_MS
    return storage, cores * money.core_month


def price_of(cost: DesignCost, money: MoneyConfig) -> float | None:
    """Return what a design costs a month, at most; None without currency, searches and both prices."""
    return monthly_cost_of(
        int(money.photos or cost.photos),
        (money.photos or cost.photos) * cost.bytes_per_photo,
        cost.ms_among(money.photos or cost.photos),
        money,
    )


def extra_costs(
    cost: DesignCost, baseline: DesignCost, money: MoneyConfig, at_best: bool = False
) -> tuple[float, float]:
    """Return how much more a design costs a month than the baseline: storage, and processor cores.

    How much longer a search among more photos takes is not known: between not at all and what
    `DesignCost.ms_among` says. So the most that the difference may be is returned, or the least.

    Args:
        cost: Cost of the design.
        baseline: Cost of the baseline.
        money: Prices.
        at_best: Whether to return the least.
    """
    pairs = [
        (monthly_costs(cost, money, measured), monthly_costs(baseline, money, measured))
        for measured in (False, True)
    ]
    extra = [(mine[0] - theirs[0], mine[1] - theirs[1]) for mine, theirs in pairs]
    return min(extra, key=sum) if at_best else max(extra, key=sum)


def monthly_cost_of(
    photos: int, stored_bytes: float, ms_per_search: float, money: MoneyConfig
) -> float | None:
    """Return the price a month of a database of some size; None without currency, searches and both prices.

    Args:
        photos: Number of photos.
        stored_bytes: Bytes stored of all of them.
        ms_per_search: Milliseconds of a search among them, describing the query included.
        money: Prices; its number of photos is not looked at.

    >>> money = MoneyConfig(currency="EUR", gigabyte_month=0.5, core_month=20, searches_a_day=50_000)
    >>> monthly_cost_of(10**6, 1e10, 360, money), monthly_cost_of(10**6, 1e10, 360, MoneyConfig())
    (25.0, None)
    """
    needed = (money.searches_a_day, money.gigabyte_month, money.core_month)
    if not money.currency.strip() or not all(needed):
        return None
    cost = DesignCost(stored_bytes / max(photos, 1), ms_per_search, 0.0, photos)
    return sum(monthly_costs(cost, replace(money, photos=float(photos))))


def break_even(
    cost: DesignCost, baseline: DesignCost, money: MoneyConfig, at_best: bool = False
) -> float | None:
    """Return the share of searches that must newly be right for a design to pay; None without prices.

    It is negative for a design that is cheaper than the baseline.

    Args:
        cost: Cost of the design.
        baseline: Cost of the baseline.
        money: Prices.
        at_best: Whether to take the least that the design may cost more, in place of the most.
    """
    if missing_prices(money):
        return None
    extra = sum(extra_costs(cost, baseline, money, at_best))
    return extra / (money.searches_a_day * DAYS * value_of_right(money))


def money_line(
    design: str, gain: Estimate, cost: DesignCost, baseline: DesignCost, money: MoneyConfig
) -> MoneyLine:
    """Return what a design changes a month, in money.

    Args:
        design: Name of the design.
        gain: Gain of R@1, as a share of searches.
        cost: Cost of the design.
        baseline: Cost of the baseline.
        money: Prices.
    """
    searches = money.searches_a_day * DAYS
    storage, machines = (-extra for extra in extra_costs(cost, baseline, money))

    def times(factor: float, plus: float = 0.0) -> Estimate:
        value, low, high = (factor * v + plus for v in (gain.value, gain.low, gain.high))
        return Estimate(value, low, high, gain.objects, gain.photos)

    return MoneyLine(
        design,
        times(searches * money.find),
        times(searches * (money.wrong_pick + money.minute * money.minutes_lost)),
        storage,
        machines,
        times(searches * value_of_right(money), storage + machines),
    )
