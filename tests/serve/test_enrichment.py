"""Confirmed photos are added where searches that were held out gain by them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilion import Index
from ilion.errors import DatasetError
from ilion.serve.enrichment import VISIT, enrich, halve
from ilion.serve.feedback import Confirmed, Feedback
from tests.serve.test_index import picture, queries


def test_photos_of_one_visit_stay_together() -> None:
    asked = [("a", 0.0), ("a", 0.9), ("b", 1.0), ("a", 1.8), ("a", 3.0), ("b", 1.5), ("a", 9.0)]
    confirmed = [Confirmed(str(n), b"", "", name, at * VISIT) for n, (name, at) in enumerate(asked)]
    assert halve(confirmed) == {"0": 0, "1": 0, "3": 0, "4": 1, "6": 0}


@pytest.mark.slow
def test_what_held_out_searches_gain_decides(
    folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, store = Index.open(folder), Feedback(folder, float("inf"))
    kept = list[Confirmed]()
    monkeypatch.setattr(Feedback, "confirmed", lambda self: (kept, 0, 0))

    def confirm(number: int, name: str) -> None:
        photo = picture(photos, number) + str(len(kept)).encode()
        kept.append(Confirmed(str(len(kept)), photo, "5,5,140,140", name, 2 * VISIT * len(kept)))

    confirm(0, "new 0")
    with pytest.raises(DatasetError, match="two visits"):
        enrich(index, store)
    confirm(0, "new 0")
    for _ in range(2):
        confirm(1, "new 1")
    done = enrich(index, store)
    assert (done.photos, done.objects, done.asked, done.better, done.worse) == (4, 2, 4, 4, 0)
    assert done.first == (0.0, 1.0)
    assert done.helps
    assert index.status().photos == 30, "only a copy was changed"
    assert not list(folder.glob(".trial*/index"))
    # what a trial that was killed left, with photos that somebody asked with
    (folder / ".trial" / "index" / "photos").mkdir(parents=True)
    store.forget(before=0)
    assert not (folder / ".trial" / "index").exists()
    (folder / ".trial" / "index" / "photos").mkdir(parents=True)
    assert enrich(index, store, apply=True).added == 4
    assert index.search(picture(photos), where="origin=feedback").objects[0].name == "new 0"
    for number in (2, 3):  # somebody is wrong, twice
        confirm(number, queries(photos)[number].instance)
        confirm(number, f"wrong {number}")
        confirm(number, f"wrong {number}")
    with pytest.raises(DatasetError, match="nothing is added"):
        enrich(index, store, apply=True)
    assert index.status().photos == 34
