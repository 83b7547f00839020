"""Decisions from values whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilion.evaluation.intervals import TAIL, cautious_interval
from ilion.poc.cells import Cell, CellsOfPhotos, Outcomes
from ilion.poc.compare import ALL, SETTLED, objects_to_settle, shares_of
from ilion.poc.decide import STOPPED, Tried, cannot_win, decide
from ilion.poc.decision import Decision, Estimate, Verdict, to_plain
from ilion.poc.money import (
    DesignCost,
    break_even,
    missing_prices,
    money_line,
    monthly_cost_of,
    monthly_costs,
    price_of,
)
from ilion.poc.say import FARTHEST, what_next
from ilion.poc.settings import DesignsConfig, GoalConfig, MoneyConfig, PhotosConfig, PocConfig
from ilion.types import Float64

CELLS = (
    Cell("small", "small", "", (0.0, 0.05), (0.0, float("inf"))),
    Cell("large", "large", "", (0.05, 1.0), (0.0, float("inf"))),
)
SORTED = CellsOfPhotos(CELLS, {}, "counted", {})
COUNTS = {"queries": 40, "positives": 80, "database": 1000}
SETTINGS = PocConfig(
    photos=PhotosConfig(sizes=("small", "large"), size_edges=(0.05,), backgrounds=(), clutter_edges=()),
    designs=DesignsConfig(names=("global", "local-1k", "local-4k")),
)
PRICES = MoneyConfig(
    currency="EUR",
    searches_a_day=1000,
    find=0.5,
    wrong_pick=1.5,
    gigabyte_month=2.0,
    core_month=30.0,
    photos=1e6,
)
COSTS = {
    "global": DesignCost(2_000, 10, 30, 1000),
    "local-1k": DesignCost(3_000, 50, 40, 1000),
    "local-4k": DesignCost(4_000, 60, 40, 1000),
}


def tried(name: str, small: float, large: float, objects: int = 40, noise: float = 0.1) -> Tried:
    """Return a design whose values in the two cells scatter evenly around two means."""
    rng = np.random.default_rng(7)  # the same objects are easy for all designs
    of_object = np.linspace(-noise, noise, objects)
    own = np.random.default_rng(len(name)).uniform(-0.05, 0.05, (objects, 2))
    own -= own.mean(axis=0)  # so that means and gains are exactly what is asked for
    values = np.clip(np.array([small, large]) + rng.permutation(of_object)[:, None] + own, 0, 1)
    measures: dict[str, Float64] = {"AP": values, "R@1": values}
    whole = {measure: each.mean(axis=1) for measure, each in measures.items()}
    names = tuple(f"object {number}" for number in range(objects))
    return Tried(name, Outcomes(names, measures, np.full((objects, 2), 2), whole), COSTS[name])  # type: ignore[arg-type]


def decided(*designs: Tried, settings: PocConfig = SETTINGS, **not_run: str) -> Decision:
    return decide(settings, SORTED, designs, not_run, COUNTS)


def test_what_pays_is_recommended_and_the_turning_share_is_said() -> None:
    """Gains are 0.4 for small objects and 0 for large ones: 0.05 is reached with 12.5% small ones."""
    found = decided(tried("global", 0.3, 0.8), tried("local-1k", 0.7, 0.8))
    assert found.recommendation.kind == "recommend"
    assert found.recommendation.values["design"] == "local-1k"
    answers = {v.cell: v.answer for v in found.verdicts}
    assert answers == {"small": "pays", "large": "does-not-pay", ALL: "pays"}
    assert found.change.kind == "change-share"
    share = found.change.values["share"]
    assert share.value == pytest.approx(0.125, abs=0.03)
    assert share.low <= 0.125 <= share.high
    assert found.change.values["share_now"] == 0.5
    pays = next(s for s in found.statements if s.kind == "pays-in")
    assert (pays.values["cells"], pays.values["not"]) == (["small"], ["large"])


def test_a_gain_that_is_the_same_everywhere_has_no_turning_share() -> None:
    found = decided(tried("global", 0.3, 0.4), tried("local-1k", 0.7, 0.8))
    assert found.change.kind == "change-gain"
    assert found.change.said


def test_a_dearer_design_must_pay_over_the_cheaper_one() -> None:
    base = tried("global", 0.2, 0.2)
    close = decided(base, tried("local-1k", 0.6, 0.6), tried("local-4k", 0.62, 0.62))
    assert close.recommendation.values["design"] == "local-1k"
    far = decided(base, tried("local-1k", 0.4, 0.4), tried("local-4k", 0.8, 0.8))
    assert far.recommendation.values["design"] == "local-4k"
    assert [design.name for design in far.designs] == ["global", "local-1k", "local-4k"]


def test_staying_is_said_only_if_every_other_design_is_settled() -> None:
    same = (tried("global", 0.5, 0.5), tried("local-1k", 0.5, 0.5))
    assert decided(*same).recommendation.kind == "stay"
    failed = decide(SETTINGS, SORTED, same, {"local-4k": "has not been run"}, COUNTS)
    assert failed.recommendation.kind == "plan"
    stopped = decide(SETTINGS, SORTED, same, {"local-4k": f"{STOPPED}: ..."}, COUNTS)
    assert stopped.recommendation.kind == "stay"


@pytest.mark.parametrize("objects", [1, 3, 9])
def test_too_few_objects_give_a_plan_only(objects: int) -> None:
    found = decided(tried("global", 0.1, 0.1, objects), tried("local-1k", 0.9, 0.9, objects))
    assert found.recommendation.kind == "plan"
    assert {v.answer for v in found.verdicts} == {"not-enough-photos"}
    assert not any(s.said for s in (found.change, *found.statements))
    assert all((v.gain.low, v.gain.high) == (-1, 1) for v in found.verdicts)


def test_a_cell_with_few_objects_stays_open() -> None:
    base, rival = tried("global", 0.1, 0.1), tried("local-1k", 0.9, 0.9)
    for each in (base, rival):
        for values in each.outcomes.values.values():
            values[7:, 1] = np.nan
        each.outcomes.photos[7:, 1] = 0
    answers = {v.cell: (v.answer, v.more_objects) for v in decided(base, rival).verdicts}
    assert answers["small"][0] == "pays"
    assert answers["large"] == ("not-enough-photos", 3)


def test_designs_stop_when_nothing_is_left_to_gain() -> None:
    shares = shares_of(("small", "large"), np.array([80, 80]), {})
    assert cannot_win(tried("global", 1.0, 1.0, noise=0.0).outcomes, shares, "AP", 0.1)
    assert not cannot_win(tried("global", 1.0, 0.7).outcomes, shares, "AP", 0.1)
    assert not cannot_win(tried("global", 1.0, 1.0, objects=6).outcomes, shares, "AP", 0.1)


def test_money_is_said_with_all_prices_only() -> None:
    designs = (tried("global", 0.3, 0.3), tried("local-1k", 0.5, 0.5))
    assert decided(*designs).money.lines == ()
    assert "money.find" in decided(*designs).money.missing
    partly = replace(SETTINGS, money=replace(PRICES, core_month=0.0))
    assert decided(*designs, settings=partly).money.missing == ("money.core_month",)
    found = decided(*designs, settings=replace(SETTINGS, money=PRICES))
    (line,) = found.money.lines
    gain = next(v.gain for v in found.verdicts if v.cell == ALL)
    searches = 1000 * 365.25 / 12
    assert line.finds.value == pytest.approx(searches * gain.value * 0.5)
    assert line.wrong_picks.value == pytest.approx(searches * gain.value * 1.5)
    assert line.storage == pytest.approx(-(3_000 - 2_000) * 1e6 / 1e9 * 2.0)
    assert line.net.value == pytest.approx(
        line.finds.value + line.wrong_picks.value + line.storage + line.machines
    )
    assert line.net.low < line.net.value < line.net.high


def test_the_break_even_is_where_the_money_is_zero() -> None:
    assert missing_prices(PRICES) == ()
    least = break_even(COSTS["local-4k"], COSTS["global"], PRICES)
    assert least is not None
    assert least > 0
    estimate = Estimate(least, least, least, 10, 10)
    line = money_line("local-4k", estimate, COSTS["local-4k"], COSTS["global"], PRICES)
    assert line.net.value == pytest.approx(0, abs=1e-6)
    assert sum(monthly_costs(COSTS["local-4k"], PRICES)) > sum(monthly_costs(COSTS["global"], PRICES))


def test_prices_decide_what_pays() -> None:
    """A gain of 10 points pays where a find is worth much, and does not where the machines cost more."""
    by_first = replace(SETTINGS, goal=GoalConfig(measure="R@1"))
    designs = (tried("global", 0.5, 0.5), tried("local-1k", 0.6, 0.6))
    rich = decided(*designs, settings=replace(by_first, money=PRICES))
    assert rich.recommendation.kind == "recommend"
    assert rich.designs[1].break_even_from == "money"
    dear = replace(PRICES, core_month=3e8)
    assert decided(*designs, settings=replace(by_first, money=dear)).recommendation.kind == "stay"


def test_shares_of_the_searches_decide() -> None:
    designs = (tried("global", 0.3, 0.8, 60), tried("local-1k", 0.7, 0.8, 60))
    rarely = replace(SETTINGS, photos=replace(SETTINGS.photos, shares=(0.01, 0.99)))
    found = decided(*designs, settings=rarely)
    assert found.recommendation.kind == "stay"
    assert [cell.share for cell in found.cells] == [0.01, 0.99, 1.0]


def test_every_number_of_a_decision_has_its_interval() -> None:
    found = to_plain(decided(tried("global", 0.3, 0.8), tried("local-1k", 0.7, 0.8)))
    assert found["cells"][0]["clutter_range"] == [0.0, None]
    for verdict in found["verdicts"]:
        for name in ("baseline", "value", "gain"):
            number = verdict[name]
            assert number["low"] <= number["value"] <= number["high"]
            assert number["objects"] == 40
            assert number["photos"] in (80, 160)


def test_the_price_is_that_of_the_photos_that_will_be_searched_or_says_how_many_were() -> None:
    designs = (tried("global", 0.3, 0.3), tried("local-1k", 0.5, 0.5))
    planned = decided(*designs, settings=replace(SETTINGS, money=PRICES))
    chosen = next(each for each in planned.designs if each.name == "local-1k")
    cores = 1000 * 0.2 * (50 * 1000) / 3_600_000
    assert chosen.monthly_cost == pytest.approx(3_000 * 1e6 / 1e9 * 2.0 + cores * 30.0)
    assert (chosen.monthly_photos, chosen.monthly_at_most) == (1_000_000, True)
    measured = decided(*designs, settings=replace(SETTINGS, money=replace(PRICES, photos=0.0)))
    chosen = next(each for each in measured.designs if each.name == "local-1k")
    assert chosen.monthly_cost == pytest.approx(3_000 * 1000 / 1e9 * 2.0 + cores / 1000 * 30.0)
    assert (chosen.monthly_photos, chosen.monthly_at_most) == (1000, False)
    assert measured.money.missing == ("money.photos",)
    assert price_of(COSTS["global"], replace(PRICES, currency="")) is None
    assert monthly_cost_of(0, 0.0, 50, PRICES) == pytest.approx(cores / 1000 * 30.0), (
        "no photo is a price, too"
    )
    costs = next(each for each in planned.statements if each.kind == "costs")
    assert "1,000,000 photos cost at most" in costs.text


def test_the_time_of_a_busy_machine_makes_no_design_the_dearer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What 5 KB more cost is certain; that a search took 40 ms longer is not worth 1,000 times that."""
    monkeypatch.setitem(
        COSTS, "local-4k", replace(COSTS["local-4k"], bytes_per_photo=8_000, ms_per_search=10)
    )
    designs = (tried("global", 0.2, 0.2), tried("local-1k", 0.6, 0.6), tried("local-4k", 0.61, 0.61))
    found = decided(*designs, settings=replace(SETTINGS, money=PRICES))
    assert [each.name for each in found.designs] == ["global", "local-1k", "local-4k"]
    assert found.recommendation.values["design"] == "local-1k"


def test_a_price_that_may_be_less_settles_nothing() -> None:
    """Which gain a design needs lies between its extra price as measured and in proportion to the photos."""
    most = break_even(COSTS["local-4k"], COSTS["global"], PRICES)
    least = break_even(COSTS["local-4k"], COSTS["global"], PRICES, at_best=True)
    assert most is not None
    assert least is not None
    assert 0 < least < most
    near = replace(PRICES, photos=1000.0)
    assert break_even(COSTS["local-4k"], COSTS["global"], near) == pytest.approx(
        break_even(COSTS["local-4k"], COSTS["global"], near, at_best=True)
    )


def open_verdict(cell: str, more: int, objects: int = 20) -> Verdict:
    some = Estimate(0.1, -0.1, 0.3, objects, 2 * objects)
    return Verdict(cell, "local-1k", "global", some, some, some, "not-enough-photos", more)


def test_next_comes_what_settles_most_searches_for_an_object() -> None:
    often, cheap = open_verdict("often", 60), open_verdict("cheap", 10)
    assert what_next([(0.5, often), (0.2, cheap)], ()).values["cell"] == "cheap"
    assert what_next([(0.5, often), (0.05, cheap)], ()).values["cell"] == "often"
    assert what_next([(0.5, often), (0.0, cheap)], ()).values["cell"] == "often"
    dearer = what_next([(0.5, often)], [("local-4k", Estimate(0.1, 0.0, 0.2, 20, 40), 30)])
    assert dearer.values == {"design": "local-4k", "objects": 30, "settles": True}
    few = open_verdict("few", 5, objects=5)
    assert what_next([(0.5, few), (0.1, often)], ()).values["cell"] == "often"
    assert "before anything can be said" in what_next([(0.5, few)], ()).text
    assert not what_next([(0.5, few)], ()).values["settles"]
    assert what_next((), ()).withheld == "no-difference"
    far = open_verdict("far", FARTHEST * 20 + 1)
    assert (what_next([(1.0, far)], ()).said, what_next([(1.0, far)], ()).withheld) == (False, "far")
    assert what_next([(1.0, open_verdict("hopeless", 0))], ()).withheld == "far"


def test_next_asks_about_the_recommended_design_and_dearer_ones_only() -> None:
    """The recommended design is settled in both cells: that another one is not is nobody's next question."""
    base, picked = tried("global", 0.2, 0.2), tried("local-1k", 0.6, 0.6)
    found = decided(base, picked, tried("local-4k", 0.68, 0.68))
    assert found.recommendation.values["design"] == "local-1k"
    step = next(each for each in found.statements if each.kind == "next")
    assert step.said
    assert step.values["design"] == "local-4k"
    assert "cell" not in step.values


@pytest.mark.parametrize(("gain", "spread", "objects"), [(0.15, 0.2, 12), (0.12, 0.2, 20), (-0.03, 0.2, 20)])
def test_the_number_of_further_objects_settles_it_as_often_as_it_says(
    gain: float, spread: float, objects: int
) -> None:
    rng = np.random.default_rng(4)
    least = 0.05
    seen = rng.normal(size=objects)
    seen = gain + spread * (seen - seen.mean()) / seen.std(ddof=1)
    ends = cautious_interval(seen)
    more = objects_to_settle(Estimate(gain, ends.low, ends.high, objects, 2 * objects), least, TAIL)
    assert ends.low < least < ends.high
    settled = 0
    for _ in range(1000):
        ends = cautious_interval(rng.normal(gain, spread, objects + more))
        settled += ends.low > least if gain > least else ends.high < least
    assert SETTLED - 0.05 <= settled / 1000 <= 0.99
