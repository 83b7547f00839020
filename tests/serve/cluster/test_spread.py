"""An index held in parts answers as one that is held whole, to the bit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion.errors import ArtifactError, ConfigError
from ilion.searching.local import Postings
from ilion.serve.answers import Answer
from ilion.serve.cluster.holder import Holder, Part, Question
from ilion.serve.cluster.spread import Spread
from ilion.serve.index import Index
from ilion.serve.writer import add, create_from_run, remove
from tests.serve.test_index import picture

pytestmark = pytest.mark.slow


class Here:
    """Holders in this process; arrays cannot be written to, as if they came from another one."""

    def __init__(self, count: int) -> None:
        self.count, self.retries = count, 0
        self.holders = [Holder() for _ in range(count)]
        self.asked: list[tuple[int, Question]] = []

    def ask(self, questions: Sequence[tuple[int, Question]]) -> list[Any]:
        self.asked += questions
        return [_lock(self.holders[number].answer(question)) for number, question in questions]


def _lock(value: Any) -> Any:
    for array in [value, *vars(value).values()] if hasattr(value, "__dict__") else [value]:
        if isinstance(array, np.ndarray) and array.flags.owndata:
            array.flags.writeable = False
    return value


@pytest.fixture(scope="session")
def whole(usual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread") / "index"
    create_from_run(folder, usual)
    return folder


def told(answer: Answer) -> dict[str, Any]:
    """Return all of an answer but the time it took."""
    plain = answer.as_dict()
    del plain["searched"]["seconds"]
    return plain


@pytest.mark.parametrize("closer", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_answers_are_those_of_one_machine(
    whole: Path, photos: Path, count: int, closer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if closer:  # as in a large database: most photos are passed over
        for name, value in (("WHOLE", 5), ("CLOSER", 8)):
            monkeypatch.setattr(f"ilion.searching.local.search.{name}", value)
        monkeypatch.setattr("ilion.pipeline.experiment.Experiment.results_kept", 4)
    one, holders = Index(whole), Here(count)
    spread = Index(whole, holders)
    for number in range(4):
        for where in ("", "object=x or not object=x", f"not object={one.objects()[0]}"):
            asked = picture(photos, number)
            expected = told(one.search(asked, where=where))
            assert expected["photos"]
            assert told(spread.search(asked, where=where)) == expected
    verbs = {question.verb for _, question in holders.asked}
    assert {"matches", "looks", "photos"} <= verbs
    assert ("sums" in verbs) == closer
    assert len({question.part.keys for _, question in holders.asked}) == min(count, 4)


def test_photos_come_and_go_while_holders_stay(whole: Path, photos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "index"))
    one, spread = Index(folder), Index(folder, Here(2))
    new = tmp_path / "new.jpg"
    new.write_bytes(picture(photos, 1))
    before = told(spread.search(new))
    add(one, [new], shown="mine")
    found = spread.search(new)
    assert found.objects[0].name == "mine"
    assert told(found) == told(one.search(new))
    remove(one, ["new.jpg"])
    after = told(spread.search(new))
    assert after == told(one.search(new))
    assert after["photos"][0]["id"] == before["photos"][0]["id"]


def test_every_photo_has_one_holder(whole: Path) -> None:
    index = Index(whole)
    with index.tables.read() as connection:
        prepared = index.snapshot(connection).ready.prepared
    database = getattr(prepared, "database")  # noqa: B009
    assert isinstance(database, Postings)
    for count in range(1, 9):
        spread = Spread(database, Here(count))
        rows = [row for held in spread.parts for row in range(held.start, held.stop)]
        assert rows == list(range(len(database)))
        assert [key for held in spread.parts for key in held.part.keys] == [k for k, _ in database.shards]
        assert (spread.lengths == database.lengths).all()
        mixed = np.array([len(database) - 1, 0, 7, 3])
        assert (spread.looks(mixed).tones == database.looks(mixed).tones).all()
        assert (spread.looks(mixed).sizes == database.looks(mixed).sizes).all()
        for mine, theirs in zip(spread.photos(mixed), database.photos(mixed), strict=True):
            assert (mine.records == theirs.records).all()
            assert (mine.size, len(mine.words)) == (theirs.size, len(theirs.words))
        assert spread.looks(mixed[:0]).sizes.shape == (0, 2)


def test_a_holder_that_does_not_see_the_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must have the same path on all of them"):
        Holder().answer(Question(Part(str(tmp_path / "nowhere"), ("a",), 16_384), "lengths"))


def test_a_design_of_global_descriptors_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="milvus"):
        Index(folder, Here(2)).status()
