"""Sentences of a decision, each with the numbers that carry it, or with the reason why it is not said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ilion.evaluation.intervals import TAIL, cautious_interval
from ilion.poc.compare import Comparisons, Weighted
from ilion.poc.decision import CellFigures, DesignFigures, Estimate, Statement, Verdict
from ilion.poc.sample import LEAST_OBJECTS
from ilion.poc.threshold import AtRisk, Rate
from ilion.types import Float64
from ilion.wording import counted


def percent(value: float) -> str:
    """Write a fraction in percent.

    >>> percent(0.123)
    '12%'
    """
    return f"{100 * value:.0f}%"


def points(value: float) -> str:
    """Write a difference of fractions in points, with its sign.

    >>> points(-0.123)
    '-12 points'
    """
    return f"{100 * value:+.0f} points"


def _between(gain: Estimate) -> str:
    return f"{points(gain.value)} (95%: {points(gain.low)} to {points(gain.high)})"


def recommend(design: DesignFigures, baseline: DesignFigures, gain: Estimate, measure: str) -> Statement:
    """Say which design to use. It pays over the baseline, whose figures it is compared with."""
    assert design.first is not None
    assert baseline.first is not None
    text = (
        f"Use {design.name}: the first answer is right in {percent(design.first.value)} of searches "
        f"(95%: {percent(design.first.low)} to {percent(design.first.high)}), with {baseline.name} in "
        f"{percent(baseline.first.value)}; {measure} changes by {_between(gain)}, from "
        f"{counted(gain.objects, 'object')}."
    )
    values = {
        "design": design.name,
        "against": baseline.name,
        "first": design.first,
        "before": baseline.first,
        "gain": gain,
        "measure": measure,
        "break_even": design.break_even,
    }
    return Statement("recommend", True, "", values, text)


def stay(baseline: DesignFigures, rivals: Sequence[Verdict], measure: str) -> Statement:
    """Say that no other design is worth its price."""
    best = max(rivals, key=lambda v: v.gain.high)
    text = (
        f"Stay with {baseline.name}: of {counted(len(rivals), 'other design')} none is worth its price; at "
        f"best, {measure} changes by {points(best.gain.high)} ({best.design})."
    )
    values = {
        "design": baseline.name,
        "rivals": [v.design for v in rivals],
        "best": best.design,
        "gain": best.gain,
        "first": baseline.first,
        "measure": measure,
    }
    return Statement("stay", True, "", values, text)


def plan(
    withheld: str, objects: int, needed: int, width: float, have_width: float | None, cells: Sequence[str]
) -> Statement:
    """Say how many objects a decision needs, where nothing may be recommended.

    Args:
        withheld: Why nothing is: ``few-objects``, ``not-settled`` or ``not-run``.
        objects: Number of objects there are.
        needed: Number of objects that are needed.
        width: Half the width of a gain's interval with those.
        have_width: The same with what there is; None below `LEAST_OBJECTS`.
        cells: Names of the cells in which something is settled already.
    """
    why = {
        "few-objects": f"{counted(objects, 'object says', 'objects say')} nothing certain about others",
        "not-settled": f"{counted(objects, 'object leaves', 'objects leave')} it open whether a design pays",
        "not-run": "the designs have not been run",
    }[withheld]
    have = f" (with your {objects} it is ±{100 * have_width:.0f})" if have_width is not None else ""
    text = (
        f"Nothing is recommended yet: {why}. Photograph {counted(needed, 'object')}: a gain is then known to "
        f"±{100 * width:.0f} points{have}."
    )
    values = {
        "objects": needed,
        "width": width,
        "have": objects,
        "have_width": have_width,
        "cells": list(cells),
        "why": withheld,
    }
    return Statement("plan", True, "", values, text)


def change_of(
    gains: Float64, shares: Weighted, cells: Sequence[CellFigures], verdict: Verdict, least: float
) -> Statement:
    """Say what would change a recommendation: the share of small objects, or the gain that is asked for.

    The share of searches for small objects at which the design no longer pays solves ``share x gain of the
    small + (1 - share) x gain of the others = least``. Its interval holds the shares for which the weighted
    gain cannot be told from ``least`` (Fieller, "Some Problems in Interval Estimation", JRSS B 16(2), 1954).

    Args:
        gains: (I, C) paired gains of the design.
        shares: Shares of the searches.
        cells: C cells, sizes ascending.
        verdict: Verdict about all searches.
        least: Gain at which the design pays.
    """
    sizes = [size for size in dict.fromkeys(cell.size for cell in cells) if size not in ("", "unknown")]
    found = []
    for cut in range(1, len(sizes)):
        small = np.array([cell.size in sizes[:cut] for cell in cells]) & (shares.weights > 0)
        large = np.array([cell.size in sizes[cut:] for cell in cells]) & (shares.weights > 0)
        turn = _turning_share(gains, shares, small, large, least, TAIL / (len(sizes) - 1))
        if turn is not None:
            turn = replace(turn, photos=sum(cell.photos for cell in cells))
            names = [cell.name for cell, inside in zip(cells, small, strict=True) if inside]
            edge = max(cell.size_range[1] for cell in cells if cell.name in names)
            found.append((turn.high - turn.low, turn, names, edge))
    if found and verdict.answer == "pays":
        _, turn, names, edge = min(found, key=lambda each: each[0])
        now = float(sum(w for w, cell in zip(shares.weights, cells, strict=True) if cell.name in names))
        text = (
            f"If fewer than {percent(turn.value)} (95%: {percent(turn.low)} to {percent(turn.high)}) of the "
            f"searches are for objects under {percent(edge)} of the photo, stay with {verdict.against}; now "
            f"it is {percent(now)}."
        )
        values = {
            "cells": names,
            "size_below": edge,
            "share": turn,
            "share_now": now,
            "cheaper": verdict.against,
            "dearer": verdict.design,
        }
        return Statement("change-share", True, "", values, text)
    values = {"design": verdict.design, "against": verdict.against, "gain": verdict.gain, "break_even": least}
    if verdict.answer == "pays":
        text = (
            f"If only gains above {100 * verdict.gain.low:.0f} points were worth their price to you, "
            f"{verdict.design} would no longer be certain to pay."
        )
        return Statement("change-gain", True, "", values, text)
    if verdict.answer == "does-not-pay":
        most = f"{100 * max(verdict.gain.high, 0):.0f} points"
        text = f"If a gain of {most} or less were worth its price to you, look again."
        return Statement("change-gain", True, "", values, text)
    withheld = "few-objects" if verdict.gain.objects < LEAST_OBJECTS else "not-settled"
    return Statement("change-gain", False, withheld, values, "")


def _turning_share(
    gains: Float64, shares: Weighted, small: np.ndarray, large: np.ndarray, least: float, tail: float
) -> Estimate | None:
    """Return the share of small objects at which the gain is just worth it; None where none is certain."""
    if not small.any() or not large.any():
        return None
    parts = []
    for inside in (small, large):
        weights = np.where(inside, shares.weights, 0.0)
        values = Weighted(weights / weights.sum(), shares.names).over_all(gains)
        if values is None or (~np.isnan(values)).sum() < LEAST_OBJECTS:
            return None
        parts.append(values)
    both = ~np.isnan(parts[0]) & ~np.isnan(parts[1])
    if both.sum() < LEAST_OBJECTS:
        return None
    means = [float(np.nanmean(part)) for part in parts]
    slope = cautious_interval(parts[0][both] - parts[1][both], tail)
    value = (least - means[1]) / (means[0] - means[1]) if means[0] > means[1] else -1.0
    if slope.low <= 0 or not 0 < value < 1:
        return None
    grid = np.linspace(0, 1, 101)
    ends = [cautious_interval(share * parts[0][both] + (1 - share) * parts[1][both], tail) for share in grid]
    open_ = np.array([end.low <= least <= end.high for end in ends])
    if not open_.any() or open_.all():
        return None
    return Estimate(value, float(grid[open_].min()), float(grid[open_].max()), int(both.sum()), 0)


def where_it_pays(compared: Comparisons, design: str, cells: Sequence[CellFigures]) -> Statement:
    """Say in which cells a design pays."""
    verdicts = [compared.find(design, cell.name) for cell in cells]
    paying = [v.cell for v in verdicts if v.answer == "pays"]
    other = [v.cell for v in verdicts if v.answer == "does-not-pay"]
    settled = bool(paying or other)
    text = f"{design} pays for {', '.join(paying) or 'no cell'}"
    text += f" and does not pay for {', '.join(other)}." if other else "."
    values = {
        "design": design,
        "cells": paying,
        "not": other,
        "open": [v.cell for v in verdicts if v.answer == "not-enough-photos"],
    }
    return Statement("pays-in", settled, "" if settled else "not-settled", values, text if settled else "")


def where_it_fails(design: str, first: Mapping[str, Estimate], overall: Estimate) -> Statement:
    """Say in which cell a design fails most, if it is certain to be worse there than on the whole.

    Args:
        design: Name of the design.
        first: Cell -> share of right first answers.
        overall: The same over all searches.
    """
    known = {name: each for name, each in first.items() if each.objects >= LEAST_OBJECTS}
    if not known:
        return Statement("fails-in", False, "few-objects", {"design": design}, "")
    worst = min(known, key=lambda name: known[name].value)
    values = {"design": design, "cell": worst, "first": known[worst]}
    if known[worst].high >= overall.value:
        return Statement("fails-in", False, "no-difference", values, "")
    text = (
        f"{design} fails most for {worst}: the first answer is right in {percent(known[worst].value)} "
        f"(95%: {percent(known[worst].low)} to {percent(known[worst].high)})."
    )
    return Statement("fails-in", True, "", values, text)


def what_it_costs(design: DesignFigures, currency: str, searched: int) -> Statement:
    """Say what a design costs.

    Args:
        design: The design.
        currency: Currency, or "".
        searched: Number of photos among which the time of a search was measured.
    """
    text = (
        f"{design.name} takes {design.bytes_per_photo:,.0f} bytes a photo and {design.ms_per_search:,.0f} "
        f"ms a search among {counted(searched, 'photo')} on this machine"
    )
    if design.monthly_cost is not None:
        most = "at most " if design.monthly_at_most else ""
        photos = counted(design.monthly_photos, "photo costs", "photos cost")
        text += f"; {photos} {most}{design.monthly_cost:,.0f} {currency} a month"
    values = {
        "design": design.name,
        "bytes_per_photo": design.bytes_per_photo,
        "ms_per_search": design.ms_per_search,
        "monthly_cost": design.monthly_cost,
        "monthly_photos": design.monthly_photos,
        "monthly_at_most": design.monthly_at_most,
        "currency": currency,
        "searched": searched,
    }
    return Statement("costs", True, "", values, text + ".")


FARTHEST = 5
"""Times the objects that there are, beyond which further ones are not asked for."""


def what_next(
    cells: Sequence[tuple[float, Verdict]], dearer: Sequence[tuple[str, Estimate, int]]
) -> Statement:
    """Say what to photograph next: what settles most searches for an object photographed.

    Cells with too few objects for any interval come last: how many would settle them is not known.

    Args:
        cells: Open verdicts of cells, each with the cell's share of the searches.
        dearer: Designs that may pay over the recommended one over all searches: name, gain over it, and about
            how many further objects would settle it.
    """
    questions = [
        (share, v.more_objects, v.gain.objects, {"cell": v.cell, "design": v.design})
        for share, v in cells
        if share > 0
    ]
    questions += [(1.0, more, gain.objects, {"design": name}) for name, gain, more in dearer]
    if not questions:
        return Statement("next", False, "no-difference", {}, "")
    within = [each for each in questions if 0 < each[1] <= FARTHEST * max(each[2], LEAST_OBJECTS)]
    if not within:
        return Statement("next", False, "far", {}, "")
    _, more, have, of = max(within, key=lambda each: (each[2] >= LEAST_OBJECTS, each[0] / each[1]))
    if have < LEAST_OBJECTS:
        text = (
            f"Next, photograph {counted(more, 'further object')} as {of['cell']}: so many are needed before "
            f"anything can be said of {of['design']} there."
        )
        return Statement("next", True, "", {**of, "objects": more, "settles": False}, text)
    where = f" as {of['cell']}" if "cell" in of else ""
    what = f"{of['design']} pays there" if "cell" in of else f"{of['design']} is worth its higher price"
    text = (
        f"Next, photograph about {counted(more, 'further object')}{where}: if its gain is as it seems, that "
        f"settles in 4 of 5 cases whether {what}."
    )
    return Statement("next", True, "", {**of, "objects": more, "settles": True}, text)


def at_equal_risk(design: str, against: str, found: AtRisk | None, risk: float, objects: int) -> Statement:
    """Say what a design finds when it and the baseline let through equally few wrong answers.

    Args:
        design: Name of the design.
        against: Name of the baseline.
        found: The comparison, the baseline first; None where so few objects promise nothing.
        risk: Largest share of searches that may end in an accepted wrong answer.
        objects: Number of objects.
    """
    values = {"design": design, "against": against, "risk": risk}
    if found is None:
        return Statement("equal-risk", False, "few-objects", values, "")

    def estimate(rate: Rate) -> Estimate:
        return Estimate(rate.value, rate.interval.low, rate.interval.high, objects, photos=0)

    now, before, gain = (estimate(rate) for rate in (found.found_b, found.found_a, found.difference))
    values |= {"found": now, "before": before, "gain": gain}
    if gain.low <= 0 <= gain.high:
        return Statement("equal-risk", False, "not-settled", values, "")
    text = (
        f"Where at most {percent(risk)} of the searches may end in a wrong answer, {design} finds "
        f"{percent(now.value)} (95%: {percent(now.low)} to {percent(now.high)}) and {against} "
        f"{percent(before.value)}; the difference is {_between(gain)}."
    )
    return Statement("equal-risk", True, "", values, text)
