"""Look-alikes: confusions counted by hand, where photos differ, and advice that follows from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilion.poc.lookalikes import LookAlikes, advise, find_differences, find_lookalikes
from ilion.types import Box, GroundTruth, Ranking

IDS = ("a1", "a2", "b1", "c1", "x")
SHOWS = {0: "a", 1: "a", 2: "b", 3: "c"}


def found(lines: list[list[int]], **prices: float) -> LookAlikes:
    names = ("a0", "a1", "b0", "c0")
    ranking = Ranking.from_arrays(np.array(lines), query_ids=names, database_ids=IDS)
    nothing = np.empty(0, np.int64)
    truth = GroundTruth(
        names,
        (np.array([0, 1]), np.array([0, 1]), np.array([2]), np.array([3])),
        (nothing, nothing, nothing, nothing),
        np.zeros(4, np.int64),
    )
    return find_lookalikes(ranking, truth, ["a", "a", "b", "c"], SHOWS, **prices)  # type: ignore[arg-type]


def test_confusions_are_those_that_stand_before_every_right_photo() -> None:
    result = found([[2, 0, 3, 1, 4], [0, 2, 1, 3, 4], [4, 0, 1, 2, 3], [3, 2, 1, 0, 4]])
    pairs = {(p.asked, p.shown): (p.searches, p.first, p.of) for p in result.pairs}
    assert pairs == {("a", "b"): (1, 1, 2), ("b", "a"): (1, 0, 1)}
    assert (result.wrong, result.unnamed, result.queries, result.objects) == (2, 1, 4, 3)
    assert result.mutual == (("a", "b"),)
    [example] = result.pairs[0].examples
    assert (example.photo, example.rank, example.positive, example.positive_rank) == ("b1", 1, "a1", 2)
    assert result.pairs[0].share == 1.0


def test_cost_is_that_of_the_wrong_picks() -> None:
    result = found(
        [[2, 0, 3, 1, 4], [0, 2, 1, 3, 4], [2, 0, 1, 4, 3], [3, 2, 1, 0, 4]], searches=300, wrong_pick=2
    )
    assert result.pairs[0].cost == pytest.approx(300 / 3 * 0.5 * 2)
    assert found([[2, 0, 3, 1, 4]] * 4).pairs[0].cost is None


def test_nothing_is_mistaken_where_all_is_right() -> None:
    result = found([[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [2, 0, 1, 3, 4], [3, 2, 1, 0, 4]])
    assert not result.pairs
    assert not result.mutual


def test_regions_differ_where_only_the_right_photo_agrees() -> None:
    rng = np.random.default_rng(0)
    logo = rng.uniform((300, 100), (360, 160), (20, 2))
    frame = rng.uniform((0, 400), (800, 600), (60, 2))
    [box] = find_differences(np.concatenate([logo, frame]), frame)
    assert box.x <= logo[:, 0].min()
    assert box.x + box.width >= logo[:, 0].max()
    assert box.y + box.height < 400
    assert find_differences(frame, frame) == ()
    assert find_differences(np.empty((0, 2)), frame) == ()


def test_advice_follows_from_what_differs() -> None:
    pair = found([[2, 0, 3, 1, 4], [2, 0, 1, 3, 4], [0, 2, 1, 4, 3], [3, 2, 1, 0, 4]]).pairs[0]
    assert advise(pair) == ("label",)
    assert advise(pair, mutual=True) == ("merge", "label")
    [example, *_] = pair.examples
    read = replace(pair, examples=(replace(example, words=("decaf",)),))
    assert advise(read) == ("reading",)
    seen = replace(pair, examples=(replace(example, differs=(Box(0, 0, 1, 1),)),))
    assert advise(seen) == ("view", "label")
    assert "local" in advise(pair, compares_points=False)
    assert advise(replace(pair, first=0)) == ("view",)
