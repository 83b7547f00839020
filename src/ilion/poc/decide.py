"""From what designs find in each cell to a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.evaluation.intervals import cautious_interval
from ilion.poc import say
from ilion.poc.cells import Cell, CellsOfPhotos, Outcomes
from ilion.poc.compare import (
    ALL,
    Comparisons,
    Weighted,
    compare_designs,
    gain_between,
    judge_mean,
    objects_to_settle,
    shares_of,
)
from ilion.poc.decision import (
    CellFigures,
    Decision,
    DesignFigures,
    Estimate,
    Money,
    MoneyLine,
    Statement,
    Verdict,
)
from ilion.poc.money import DesignCost, break_even, missing_prices, money_line, monthly_costs, price_of
from ilion.poc.sample import LEAST_OBJECTS, Spread, half_width, prior_spread
from ilion.poc.settings import DESIGNS, Measure, PocConfig
from ilion.poc.shots import needed_objects

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Tried:
    """One design that was run."""

    name: str
    outcomes: Outcomes
    cost: DesignCost


def decide(
    settings: PocConfig,
    sorted_photos: CellsOfPhotos,
    tried: Sequence[Tried],
    not_run: Mapping[str, str],
    counts: Mapping[str, int],
    parts: Mapping[str, object] | None = None,
) -> Decision:
    """Decide which design pays, where, and what may be said.

    Args:
        settings: Settings of the proof of concept.
        sorted_photos: Cells, and the photos in them.
        tried: Designs that were run; without the baseline nothing is recommended.
        not_run: Design -> why it was not run.
        counts: ``queries``, ``positives`` and ``database``: how many of each.
        parts: Further parts of the decision: ``threshold``, ``lookalikes``, ``stages``.
    """
    measure = settings.goal.measure
    some = tried[0].outcomes if tried else None
    photos = some.photos.sum(axis=0) if some else np.zeros(len(sorted_photos.cells), np.int64)
    names = tuple(cell.name for cell in sorted_photos.cells)
    wanted = (
        dict(zip(settings.photos.cells, settings.photos.shares, strict=True))
        if settings.photos.shares
        else {}
    )
    shares = shares_of(names, photos, wanted)
    cells = _cells(settings, sorted_photos.cells, shares, some)
    base = next((each for each in tried if each.name == settings.designs.baseline), None)
    least = {each.name: _least(settings, each, base) for each in tried}
    compared = Comparisons((), 0.025, {}, {})
    first_gains: dict[str, Estimate] = {}
    if base is not None:
        outcomes = {each.name: each.outcomes for each in tried}
        compared = compare_designs(
            outcomes,
            base.name,
            shares,
            {name: value for name, (value, _) in least.items()},
            measure,
            settings.seed,
            {each.name: _least(settings, each, base, at_best=True)[0] for each in tried},
        )
        for each in tried:
            gain = gain_between(base.outcomes, each.outcomes, shares, "R@1", compared.tail)
            if gain is not None and each is not base:
                first_gains[each.name] = gain
    designs = _designs(settings, tried, not_run, least, shares)
    money = _money(settings, tried, base, first_gains)
    recommendation, change, statements = _say(
        settings, designs, cells, shares, tried, base, compared, not_run
    )
    return Decision(
        name=settings.name,
        language=settings.language,
        measure=measure,
        confidence=CONFIDENCE,
        objects=len(some.objects) if some else 0,
        queries=counts.get("queries", 0),
        positives=counts.get("positives", 0),
        database=counts.get("database", 0),
        gain=settings.goal.gain,
        searches_a_day=settings.money.searches_a_day,
        clutter_source=sorted_photos.clutter_origin,
        cells=(*cells, _whole(cells, some)),
        designs=designs,
        baseline=settings.designs.baseline,
        verdicts=compared.verdicts,
        money=money,
        recommendation=recommendation,
        change=change,
        statements=statements,
        spreads=_spreads(compared),
        **dict(parts or {}),
    )


def cannot_win(best: Outcomes, shares: Weighted, measure: Measure, gain: float) -> bool:
    """Tell whether no further design can gain what is worth paying for over the best one so far.

    Nothing is above 1, so what is left is bounded: the upper end of the interval of ``1 - measure`` lies
    below the gain for all searches and in every cell that has a share of them.
    """
    values = best.values[measure]
    columns = [values[:, cell] for cell in np.flatnonzero(shares.weights > 0)]
    left = [1.0 - column[~np.isnan(column)] for column in columns]
    return bool(left) and all(
        len(each) >= LEAST_OBJECTS and cautious_interval(each).high < gain for each in left
    )


def _least(settings: PocConfig, each: Tried, base: Tried | None, at_best: bool = False) -> tuple[float, bool]:
    """Return the gain at which a design pays, and whether it comes from money."""
    if base is not None and settings.goal.measure == "R@1":
        from_money = break_even(each.cost, base.cost, settings.money, at_best)
        if from_money is not None:
            return from_money, True
    return settings.goal.gain, False


def _cells(
    settings: PocConfig, cells: Sequence[Cell], shares: Weighted, outcomes: Outcomes | None
) -> tuple[CellFigures, ...]:
    photos = outcomes.photos if outcomes else np.zeros((0, len(cells)), np.int64)
    planned = settings.plan.objects or needed_objects(settings.goal, prior_spread(settings.goal.measure))
    return tuple(
        CellFigures(
            cell.name,
            cell.size,
            cell.clutter,
            cell.size_range,
            cell.clutter_range,
            float(shares.weights[number]),
            int((photos[:, number] > 0).sum()),
            int(photos[:, number].sum()),
            planned if cell.name in settings.photos.cells else 0,
            planned * settings.plan.photos if cell.name in settings.photos.cells else 0,
        )
        for number, cell in enumerate(cells)
    )


def _whole(cells: Sequence[CellFigures], outcomes: Outcomes | None) -> CellFigures:
    return CellFigures(
        ALL,
        "",
        "",
        (0.0, 1.0),
        (0.0, float("inf")),
        1.0,
        len(outcomes.objects) if outcomes else 0,
        sum(cell.photos for cell in cells),
        max((cell.planned_objects for cell in cells), default=0),
        sum(cell.planned_photos for cell in cells),
    )


def _designs(
    settings: PocConfig,
    tried: Sequence[Tried],
    not_run: Mapping[str, str],
    least: Mapping[str, tuple[float, bool]],
    shares: Weighted,
) -> tuple[DesignFigures, ...]:
    figures = []
    for each in sorted(tried, key=lambda t: _order(t.cost, settings)):
        photos = int(each.outcomes.photos.sum())
        value, from_money = least[each.name]
        means = {}
        for measure in each.outcomes.values:
            over_all = shares.over_all(each.outcomes.values[measure])
            means[measure] = judge_mean(
                each.outcomes.whole[measure] if over_all is None else np.clip(over_all, 0, 1),
                photos,
                settings.seed,
            )
        figures.append(
            DesignFigures(
                each.name,
                DESIGNS[each.name],
                True,
                "",
                means["R@1"],
                means["AP"],
                each.cost.bytes_per_photo,
                each.cost.ms_per_search,
                each.cost.ms_per_photo,
                price_of(each.cost, settings.money),
                value,
                "money" if from_money else "goal",
                int(settings.money.photos or each.cost.photos),
                settings.money.photos > each.cost.photos,
            )
        )
    figures += [DesignFigures(name, DESIGNS[name], False, reason) for name, reason in not_run.items()]
    return tuple(figures)


def _order(cost: DesignCost, settings: PocConfig) -> tuple[float, float]:
    """Return what designs are ordered by: money where it is known, else bytes, then milliseconds.

    Times are those that were measured: in proportion to far more photos, a busy machine would decide.
    """
    if not missing_prices(settings.money):
        return (sum(monthly_costs(cost, settings.money, as_measured=True)), 0.0)
    return (cost.bytes_per_photo, cost.ms_per_search)


def _money(
    settings: PocConfig, tried: Sequence[Tried], base: Tried | None, gains: Mapping[str, Estimate]
) -> Money:
    missing = missing_prices(settings.money)
    lines: list[MoneyLine] = []
    if base is not None and not missing:
        lines = [
            money_line(each.name, gains[each.name], each.cost, base.cost, settings.money)
            for each in tried
            if each.name in gains and gains[each.name].objects >= LEAST_OBJECTS
        ]
    return Money(settings.money.currency, missing, tuple(lines))


def _spreads(compared: Comparisons) -> dict[str, float]:
    """Return standard deviations of the gains of the design that gains most, for a further plan."""
    known = {name: values for name, values in compared.over_all.items() if values is not None}
    known = {name: v for name, v in known.items() if (~np.isnan(v)).sum() >= LEAST_OBJECTS}
    if not known:
        return {}
    best = max(known, key=lambda name: float(np.nanmean(known[name])))
    cells = [c[~np.isnan(c)] for c in compared.gains[best].T]
    inside = [float(c.std(ddof=1)) for c in cells if len(c) >= LEAST_OBJECTS]
    found = {"all": float(np.nanstd(known[best], ddof=1))}
    if found["all"] < 1e-9:  # no object differs, which says nothing about how much others do
        return {}
    return found | ({"cell": max(inside)} if inside else {})


def _say(
    settings: PocConfig,
    designs: Sequence[DesignFigures],
    cells: Sequence[CellFigures],
    shares: Weighted,
    tried: Sequence[Tried],
    base: Tried | None,
    compared: Comparisons,
    not_run: Mapping[str, str],
) -> tuple[Statement, Statement, tuple[Statement, ...]]:
    figures = {each.name: each for each in designs}
    by_name = {each.name: each for each in tried}
    measure = settings.goal.measure
    overall = [v for v in compared.verdicts if v.cell == ALL]
    objects = max((v.gain.objects for v in overall), default=0)
    if base is None or not overall or objects < LEAST_OBJECTS:
        have = max((len(t.outcomes.objects) for t in tried), default=0)
        reason = "not-run" if base is None or not overall else "few-objects"
        return _only_plan(settings, reason, have, compared)
    order = [each.name for each in designs if each.ran]
    paying = sorted((v for v in overall if v.answer == "pays"), key=lambda v: order.index(v.design))
    if paying:
        chosen = paying[0]
        for verdict in paying[1:]:  # a dearer one must pay over the cheaper one too
            step = gain_between(
                by_name[chosen.design].outcomes,
                by_name[verdict.design].outcomes,
                shares,
                measure,
                compared.tail,
            )
            more = figures[verdict.design].break_even - figures[chosen.design].break_even
            least = more if figures[verdict.design].break_even_from == "money" else settings.goal.gain
            if step is not None and step.low > least:
                chosen = verdict
        picked = figures[chosen.design]
        said = say.recommend(picked, figures[base.name], chosen.gain, measure)
        change = say.change_of(compared.gains[chosen.design], shares, cells, chosen, picked.break_even)
    elif all(v.answer == "does-not-pay" for v in overall) and not _left_out(not_run):
        picked = figures[base.name]
        said = say.stay(picked, overall, measure)
        nearest = max(overall, key=lambda v: v.gain.high)
        change = say.change_of(
            compared.gains[nearest.design], shares, cells, nearest, figures[nearest.design].break_even
        )
    else:
        return _only_plan(settings, "not-settled", objects, compared)
    outcomes = by_name[picked.name].outcomes
    first = {
        cell.name: judge_mean(outcomes.values["R@1"][:, number], cell.photos, settings.seed)
        for number, cell in enumerate(cells)
    }
    further = [
        say.what_it_costs(picked, settings.money.currency, by_name[picked.name].cost.photos),
        say.where_it_fails(picked.name, first, picked.first or Estimate(0, 0, 1, 0, 0)),
        say.what_next(
            _open_questions(picked.name, base.name, compared, cells),
            _dearer(by_name[picked.name], [by_name[v.design] for v in paying], settings, shares, compared),
        ),
    ]
    if picked.name != base.name:
        further.insert(0, say.where_it_pays(compared, picked.name, cells))
    return said, change, tuple(further)


def _open_questions(
    picked: str, baseline: str, compared: Comparisons, cells: Sequence[CellFigures]
) -> list[tuple[float, Verdict]]:
    """Return what is open in the cells about the recommended design, each with its share of the searches.

    Where it is to stay with the baseline, every other design is asked about.
    """
    share = {cell.name: cell.share for cell in cells}
    return [
        (share[v.cell], v)
        for v in compared.verdicts
        if v.answer == "not-enough-photos" and v.cell != ALL and picked in (v.design, baseline)
    ]


def _dearer(
    picked: Tried, paying: Sequence[Tried], settings: PocConfig, shares: Weighted, compared: Comparisons
) -> list[tuple[str, Estimate, int]]:
    """Return dearer designs that pay and may pay over the recommended one, too: name, gain over it, objects.

    The objects are about how many further ones would settle it; 0 where no number would.
    """
    found = []
    for each in paying:
        measure = settings.goal.measure
        step = gain_between(picked.outcomes, each.outcomes, shares, measure, compared.tail)
        dearer = _order(each.cost, settings) > _order(picked.cost, settings)
        if each is picked or not dearer or step is None or step.objects < LEAST_OBJECTS:
            continue
        least = settings.goal.gain
        if measure == "R@1":
            from_money = break_even(each.cost, picked.cost, settings.money)
            least = least if from_money is None else from_money
        if step.high > least:
            found.append((each.name, step, objects_to_settle(step, least, compared.tail)))
    return found


STOPPED = "cannot win"
"""How the reason of a design begins that was not run because it could not have paid."""


def _left_out(not_run: Mapping[str, str]) -> list[str]:
    return [name for name, reason in not_run.items() if not reason.startswith(STOPPED)]


def _only_plan(
    settings: PocConfig, reason: str, objects: int, compared: Comparisons
) -> tuple[Statement, Statement, tuple[Statement, ...]]:
    goal, found = settings.goal, _spreads(compared)
    prior = prior_spread(goal.measure)
    spread = Spread(
        found.get("cell", prior.cell), found.get("all", prior.over_all), "pilot" if found else "prior"
    )
    needed = max(needed_objects(goal, spread), objects + 1 if reason == "not-settled" else 0)
    open_ = [v.more_objects for v in compared.verdicts if v.cell == ALL and v.more_objects]
    if reason == "not-settled" and open_:
        needed = max(needed, objects + min(open_))
    width = half_width(spread.over_all, needed)
    have = half_width(spread.over_all, objects) if objects >= LEAST_OBJECTS else None
    settled = list(dict.fromkeys(v.cell for v in compared.verdicts if v.answer == "pays"))
    change = Statement("change-gain", False, reason, {}, "")
    others = tuple(Statement(kind, False, reason, {}, "") for kind in ("pays-in", "fails-in", "costs"))
    plan = say.plan(reason, objects, needed, width, have, settled)
    if settled:
        by_cell = {
            cell: [v.design for v in compared.verdicts if v.cell == cell and v.answer == "pays"]
            for cell in settled
        }
        text = "; ".join(f"for {cell}, {', '.join(names)} pays" for cell, names in by_cell.items())
        values = {"design": "", "cells": settled, "designs": by_cell, "not": [], "open": []}
        others = (Statement("pays-in", True, "", values, f"Settled already: {text}."), *others[1:])
    return plan, change, others
