"""What speaks for a photo to show an object."""

from __future__ import annotations

import numpy as np
import pytest

from ilion.audit.find import ANOTHER, label_suspects
from ilion.audit.labels import Asked, Shown, logit, weigh_labels

NAMES = ("mug", "cup")


def asked(photo: str, row: int, name: str, *found: tuple[int, float]) -> Asked:
    rows, chances = zip(*found, strict=True)
    return Asked(photo, row, (name,), np.array(rows), np.array(chances))


def number_of(shown: Shown, row: int, name: int, what: str) -> float:
    [place] = np.flatnonzero((shown.rows == row) & (shown.objects == name))
    return float(shown.numbers[what][place])


def test_each_photo_of_an_object_speaks_once_and_never_for_itself() -> None:
    told = [
        asked("q", -1, "mug", (0, 0.9), (5, 0.6)),
        asked("p0", 0, "mug", (0, 1.0), (1, 0.5), (5, 0.4)),  # itself, and two others
        asked("p1", 1, "mug", (0, 0.7)),  # the same pair, from the other side
        asked("p2", 2, "cup", (5, 0.2)),
    ]
    shown = {0: (0,), 1: (0,), 2: (1,)}
    found = weigh_labels(told, NAMES, shown, {}, {})
    odds = {chance: logit(np.array([chance]))[0] for chance in (0.2, 0.4, 0.6, 0.7, 0.9)}
    assert number_of(found, 0, 0, "photos") == pytest.approx(odds[0.7])
    assert number_of(found, 0, 0, "second") == 0, "one other photo is no second one"
    assert number_of(found, 0, 0, "several") == pytest.approx(odds[0.7]), "of as many as there are"
    assert number_of(found, 5, 0, "several") == pytest.approx(odds[0.4] / 2)
    assert number_of(found, 5, 0, "several rest") == pytest.approx(odds[0.2])
    assert number_of(found, 5, 1, "rest") == pytest.approx(odds[0.6])
    assert found.labelled.tolist() == [row != 5 for row in found.rows.tolist()]
    believed = weigh_labels(told, NAMES, shown, {}, {}, frozenset((0, 1)))
    assert believed.labelled.sum() == 1, "what is believed speaks, but has no label"
    assert number_of(believed, 0, 0, "photos") == pytest.approx(odds[0.7])


def test_another_object_in_a_photo_that_is_rightly_labelled_is_less_likely() -> None:
    shown = Shown(
        np.array([0, 0, 1]),
        np.array([0, 1, 1]),
        np.array([True, False, False]),
        {name: np.zeros(3) for name in ("query", "photos", "rest", "described", "read")},
        np.full(3, -1),
    )
    ids = {0: "a", 1: "b"}
    suspects = label_suspects(shown, np.array([1.0, 0.2, 0.2]), [], ids, NAMES, {}, {})
    assert {(s.photos[0], s.confidence) for s in suspects} == {("a", 0.2 * ANOTHER), ("b", 0.2)}
