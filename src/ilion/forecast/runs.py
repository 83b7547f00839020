"""From measured runs to the forecast of accuracy and cost, and how right it was where it can be checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ilion.errors import ConfigError
from ilion.evaluation.average_precision import Definition
from ilion.forecast.accuracy import Forecast, forecast
from ilion.forecast.cost import CostPoint, Measured, Prices, forecast_cost
from ilion.forecast.distractors import DistractorCounts
from ilion.forecast.hold_outs import HoldOut, estimate_imperfection, forecast_hold_outs, hold_out
from ilion.forecast.shortlists import ShortlistCounts
from ilion.types import Value
from ilion.wording import counted


@dataclass(frozen=True)
class Run:
    """One measured size.

    Args:
        name: Name for people.
        counts: Distractors above each positive in its ranking.
        mean: Measured mAP.
        measured: Cost of the run.
    """

    name: str
    counts: DistractorCounts | ShortlistCounts
    mean: float
    measured: Measured


@dataclass(frozen=True)
class ForecastResult(Value):
    """A forecast of accuracy and cost, and what it rests on.

    Args:
        name: Name of the experiment.
        dataset: Name of the data set.
        design: Short name of the method.
        queries: Number of queries.
        objects: Number of instances.
        runs: Measured sizes: distractors and mAP, ascending.
        forecast: Forecast of mAP.
        largest: Forecast of the largest measured size from the next smaller one; None with one size.
        held: Hold-outs by thinning.
        images: Database images for each point of the forecast: its distractors and the photos of objects.
        costs: Cost at each point.
        prices: Rates that were given.
        machine: Machine that the cost was measured on.
        measured: Cost of the measured sizes, ascending.
        warnings: Limits beyond which the checks support nothing: kind -> values for the sentence.
    """

    name: str
    dataset: str
    design: str
    queries: int
    objects: int
    runs: tuple[tuple[int, float], ...]
    forecast: Forecast
    largest: HoldOut | None
    held: tuple[HoldOut, ...]
    images: tuple[int, ...]
    costs: tuple[CostPoint, ...]
    prices: Prices
    machine: str
    measured: tuple[Measured, ...] = ()
    warnings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


FAR = 1000
"""Largest factor in size over which forecasts were compared with measurements (docs/forecast.md)."""
FEW = 300
"""Below so many measured distractors, fewer than 30 values of a query are in its tail."""
VAGUE = 0.2
"""An interval wider than this, or than the forecast itself, says little."""


def find_warnings(
    predicted: Forecast, held: Sequence[HoldOut], largest: HoldOut | None
) -> dict[str, Mapping[str, str]]:
    """Say where a forecast goes beyond what its checks support.

    Args:
        predicted: The forecast.
        held: Hold-outs by thinning.
        largest: Hold-out between the two largest measured sizes.

    Returns:
        Kind -> values: ``far`` (larger than was ever checked), ``vague`` (wide intervals), ``few`` (measured
        distractors) and ``missed`` (hold-outs outside their intervals).
    """
    found: dict[str, Mapping[str, str]] = {}
    known, last = predicted.distractors, predicted.points[-1]
    if last.distractors > FAR * known:
        values = {"size": format_size(last.distractors), "known": format_size(known), "most": str(FAR)}
        found["far"] = {**values, "factor": f"{last.distractors / known:,.0f}"}
    vague = [p for p in predicted.points if p.ci95.high - p.ci95.low > min(VAGUE, p.mean)]
    if vague:
        widest = max(vague, key=lambda point: point.ci95.high - point.ci95.low)
        found["vague"] = {
            "size": format_size(widest.distractors),
            "low": f"{widest.ci95.low:.4f}",
            "high": f"{widest.ci95.high:.4f}",
        }
    if known < FEW:
        found["few"] = {"known": str(known), "least": str(FEW)}
    checks = [*held, *([largest] if largest else [])]
    missed = sum(not one.inside for one in checks)
    if missed > 0.2 * len(checks):
        found["missed"] = {"missed": str(missed), "checks": str(len(checks))}
    return found


def forecast_runs(
    runs: Sequence[Run],
    sizes: Sequence[int],
    *,
    name: str,
    dataset: str,
    design: str,
    definition: Definition,
    k: int,
    prices: Prices,
    machine: str,
    stages: Sequence[int] = (),
    replicates: int = 300,
    seed: int = 0,
) -> ForecastResult:
    """Forecast accuracy and cost from measured runs.

    Args:
        runs: Measured sizes of one experiment with the same queries.
        sizes: Numbers of distractors to forecast for; smaller ones than measured are left out.
        name: Name of the experiment.
        dataset: Name of the data set.
        design: Short name of the method.
        definition: Definition of AP.
        k: Cut-off.
        prices: Prices of machine and disk.
        machine: Machine that the cost was measured on.
        stages: Further sizes, as numbers of all database images.
        replicates: Number of replicates of the forecast.
        seed: Seed of all draws.

    Raises:
        ConfigError: There is no run, or no size above the largest measured one.
    """
    ordered = sorted(runs, key=lambda run: run.counts.distractors)
    if not ordered:
        raise ConfigError("a forecast needs a measured run")
    last = ordered[-1]
    known = last.counts
    rest = last.measured.images - known.distractors
    ahead = sorted({n for n in (*sizes, *(size - rest for size in stages)) if n > known.distractors})
    if not ahead:
        raise ConfigError(
            f"{counted(known.distractors, 'distractor is', 'distractors are')} measured and "
            "no larger number is asked for; give --at 1M,5M"
        )
    beyond = [size for size in ahead if isinstance(known, ShortlistCounts) and size > known.largest]
    if len(beyond) < len(ahead):  # or the forecast says what is too large
        ahead = ahead[: len(ahead) - len(beyond)]
    held = forecast_hold_outs(known, definition=definition, k=k, seed=seed)
    error = estimate_imperfection(held)
    predicted = forecast(
        known, ahead, definition=definition, k=k, replicates=replicates, imperfection=error, seed=seed
    )
    largest = _largest(ordered, definition, k, error, seed) if len(ordered) > 1 else None
    images = tuple(size + rest for size in ahead)
    return ForecastResult(
        name=name,
        dataset=dataset,
        design=design,
        queries=len(known.positives),
        objects=len(set(known.instances)),
        runs=tuple((run.counts.distractors, run.mean) for run in ordered),
        forecast=predicted,
        largest=largest,
        held=held,
        images=images,
        costs=forecast_cost([run.measured for run in ordered], images, prices),
        prices=prices,
        machine=machine,
        measured=tuple(run.measured for run in ordered),
        warnings={**_say_beyond(beyond, known), **find_warnings(predicted, held, largest)},
    )


def _say_beyond(
    sizes: Sequence[int], known: DistractorCounts | ShortlistCounts
) -> dict[str, Mapping[str, str]]:
    """Say which sizes were left out since shortlists do not tell of them."""
    if not sizes or not isinstance(known, ShortlistCounts):
        return {}
    values = {"size": format_size(sizes[0]), "most": format_size(known.largest)}
    return {"beyond": {**values, "known": format_size(known.distractors), "shortlist": str(known.shortlist)}}


def _largest(
    ordered: Sequence[Run], definition: Definition, k: int, error: float, seed: int
) -> HoldOut | None:
    """Forecast the largest measured size from the one before it, which is the hold-out that counts most."""
    before, last = ordered[-2], ordered[-1]
    size = last.counts.distractors
    if before.counts.distractors >= size:
        return None
    xs = np.log([run.counts.distractors for run in ordered[:-1]])
    line = np.polyfit(xs, [run.mean for run in ordered[:-1]], 1) if len(ordered) > 2 else [0.0, before.mean]
    log_linear = float(np.clip(np.polyval(line, np.log(size)), 0.0, 1.0))
    return hold_out(
        before.counts,
        last.counts,
        log_linear,
        definition=definition,
        k=k,
        imperfection=error,
        replicates=200,
        seed=seed,
    )


def parse_sizes(text: str) -> tuple[int, ...]:
    """Parse sizes such as ``300,10K,1.5M``.

    Raises:
        ConfigError: The text is no such list.

    >>> parse_sizes("300,10K,1.5M,100M")
    (300, 10000, 1500000, 100000000)
    """
    sizes = []
    for piece in text.replace("_", "").split(","):
        number, factor = piece.strip().upper(), 1
        for ending, value in (("K", 10**3), ("M", 10**6), ("G", 10**9)):
            if number.endswith(ending):
                number, factor = number.removesuffix(ending), value
        try:
            size = round(float(number) * factor)
        except (ValueError, OverflowError):
            size = 0
        if not 0 < size <= 10**12:
            raise ConfigError(f"{piece.strip()!r} is no size; write numbers such as 1000,10K,1M")
        sizes.append(size)
    return tuple(sizes)


def format_size(size: float) -> str:
    """Write a number of images for people.

    >>> format_size(1500), format_size(1_000_000), format_size(964)
    ('1.5K', '1M', '964')
    """
    for factor, ending in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if size >= factor:
            return f"{size / factor:.4g}{ending}"
    return f"{size:.4g}"


def format_duration(seconds: float) -> str:
    """Write a time for people, in the largest unit of which there is at least one.

    >>> [format_duration(s) for s in (0.00123, 0.9, 84.9, 5400.0, 3e5, 1e9)]
    ['1.23 ms', '900 ms', '84.9 s', '1.5 h', '3.47 days', '31.7 years']
    """
    units = ((365.25 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
    for length, name in units:
        if seconds >= (1.5 * length if name == "min" else length):
            return f"{float(f'{seconds / length:.3g}'):,.10g} {name}"
    return f"{1000 * seconds:.3g} ms"


def format_price(price: float, currency: str) -> str:
    """Write a price for people.

    >>> format_price(1234567.8, "EUR"), format_price(0.01234, "EUR")
    ('1,234,568 EUR', '0.01234 EUR')
    """
    return f"{price:,.0f} {currency}" if price >= 1000 else f"{price:.4g} {currency}"
