"""What suspects do to the numbers, against the evaluation of the changed labels and all combinations."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ilion.audit.decisions import changes_if_true
from ilion.audit.effects import Judged, measure_effects
from ilion.audit.suspects import Suspect, order
from ilion.datasets.amendments import Amendment, amend
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_of
from ilion.types import Query, Ranking, RetrievalDataset

PHOTOS = tuple(f"p{n}" for n in range(20))


def world(seed: int) -> tuple[Judged, list[Suspect]]:
    rng = np.random.default_rng(seed)
    queries = tuple(Query(f"q{n}", f"o{n // 2}", text="x") for n in range(6))
    own = {f"o{n}": tuple(rng.choice(PHOTOS, 4, replace=False).tolist()) for n in range(3)}
    dataset = RetrievalDataset("w", Path(), queries, (), {q.id: own[q.instance] for q in queries})
    indices = np.array([rng.permutation(20) for _ in queries])
    values = np.sort(rng.random((6, 20)).astype(np.float32), axis=1)[:, ::-1]
    ranking = Ranking(tuple(q.id for q in queries), PHOTOS, indices, values, np.full(6, 20))
    suspects = [
        Suspect("wrong-label", (own["o0"][0],), "o0", 0.9, "o1"),
        Suspect("wrong-label", (own["o1"][1],), "o1", 0.9),
        *(
            Suspect("unlabelled", (photo,), "o2", 0.5)
            for photo in [p for p in PHOTOS if p not in own["o2"]][:3]
        ),
    ]
    return Judged(ranking, dataset, "ilias", 15), suspects


def numbers(judged: Judged, suspects: list[Suspect]) -> tuple[float, float]:
    rows = [Amendment(*change) for s in suspects for change in changes_if_true(s)]
    changed = amend(judged.dataset, rows)
    truth, axes = truth_of(changed, judged.ranking.query_ids, PHOTOS)
    found = evaluate(
        judged.ranking, truth, axes, definition="ilias", k=15, ties="rank", metrics=(), bootstrap=10, seed=0
    )
    return found.mean, found.metrics["R@1"]


@pytest.mark.parametrize("seed", range(5))
def test_effects_are_those_of_an_evaluation(seed: int) -> None:
    judged, suspects = world(seed)
    measured, precision, first = measure_effects(judged, suspects)
    assert precision is not None
    assert first is not None
    assert (precision.as_is, first.as_is) == pytest.approx(numbers(judged, []))
    assert (precision.if_all, first.if_all) == pytest.approx(numbers(judged, suspects))
    for before, after in zip(suspects, measured, strict=True):
        one = numbers(judged, [before])
        assert after.map_change == pytest.approx(one[0] - precision.as_is)
        assert after.first_change == pytest.approx(one[1] - first.as_is)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_reached_and_nearly_the_widest(seed: int) -> None:
    judged, suspects = world(seed)
    _, precision, _ = measure_effects(judged, suspects)
    assert precision is not None
    every = [
        numbers(judged, list(some))[0] for n in range(len(suspects) + 1) for some in combinations(suspects, n)
    ]
    # an object's suspects are chosen by themselves: what one suspect does to two objects is counted apart
    assert precision.low <= min(every) + 0.02
    assert precision.high >= max(every) - 0.02
    assert precision.low <= precision.as_is <= precision.high
    assert precision.low <= precision.if_all <= precision.high


def test_without_suspects_nothing_changes() -> None:
    judged, _ = world(0)
    measured, precision, first = measure_effects(judged, [])
    assert precision is not None
    assert first is not None
    assert measured == []
    assert precision.as_is == precision.if_all == precision.low == precision.high
    assert first.low == first.high


def test_two_photos_of_one_moment_matter_where_they_are_said_to_show_different_things() -> None:
    """Else nothing is wrong, and they come after every label that may be."""
    mug, cup = (("mug", "positive"),), (("cup", "positive"),)

    def burst(*roles: tuple[tuple[str, str], ...]) -> Suspect:
        return Suspect("duplicate", ("a", "b"), "", 0.9, relation="burst", roles=roles)

    alike, apart, one_only = burst(mug, mug), burst(mug, cup), burst(mug, ())
    label = Suspect("unlabelled", ("c",), "mug", 0.02)
    copy = Suspect("duplicate", ("a", "b"), "", 0.9, relation="resaved", roles=(mug, mug))
    ranked = order([alike, label, apart, copy])
    assert ranked == [copy, apart, label, alike]
    assert one_only.value == alike.value, "whether it lacks a label is another suspect"
