"""An index in an engine answers as one that searches its own files, whatever happens to either."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ilion import Index
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError
from ilion.serve.engines import attached
from ilion.serve.engines.attached import read_setting, redact
from ilion.serve.photos import NewPhoto
from ilion.serve.verbs import index as make_index
from ilion.serve.writer import add, attach, build, compact, create_from_run, remove, switch, writing
from ilion.types import MemorySource
from tests.serve.engines.memory import ASKED, DOWN, HELD
from tests.serve.test_index import picture

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    HELD.clear()
    DOWN.clear()
    ASKED.clear()


@pytest.fixture(scope="session")
def _own(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_from_run(tmp_path_factory.mktemp("own") / "index", quick).folder


@pytest.fixture
def both(_own: Path, quick: Path, tmp_path: Path) -> tuple[Index, Index]:
    """The same photos, searched in the files of the index and in an engine."""
    own = Index.open(shutil.copytree(_own, tmp_path / "own"))
    return own, make_index([quick], tmp_path / "far", engine="memory:here")


def agree(both: tuple[Index, Index], photo: bytes, where: str = "") -> None:
    own, far = (index.search(photo, where=where, k=60).photos for index in both)
    assert [p.id for p in far] == [p.id for p in own]
    np.testing.assert_allclose([p.score for p in far], [p.score for p in own], atol=1e-5)


def test_it_answers_like_the_embedded_search_while_photos_come_and_go(
    both: tuple[Index, Index], photos: Path
) -> None:
    photo = picture(photos)
    agree(both, photo)
    assert ASKED, "the engine was asked"
    assert both[1].status().engine == "memory:here"
    for index in both:
        new = [
            NewPhoto(f"new {n}", MemorySource("", picture(photos, n)), {}, {"site": f"{n}"}) for n in (0, 1)
        ]
        add(index, photos=new)
    agree(both, photo)
    agree(both, photo, "site=1")
    for index in both:
        remove(index, ["new 0"])
    agree(both, photo)
    for index in both:
        compact(index)
    agree(both, photo)
    [held] = HELD.values()
    assert len(held) == 31


def test_filters_that_leave_many_go_to_the_engine(
    both: tuple[Index, Index], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "FEW", 2)
    for index in both:
        more = [
            NewPhoto(f"new {n}", MemorySource("", picture(photos, n % 4) + bytes([n])), {}, {"n": f"{n}"})
            for n in range(6)
        ]
        add(index, photos=more)
        remove(index, ["new 3"])
    ASKED.clear()
    agree(both, picture(photos), "n >= 1")
    agree(both, picture(photos), "not n = 2")
    agree(both, picture(photos), "n in (0, 1)")
    assert [(only, without) for _, only, without in ASKED] == [(True, False), (False, True)]


def test_vectors_of_photos_that_do_not_count_cost_no_result(both: tuple[Index, Index], photos: Path) -> None:
    _, far = both
    photo = picture(photos)
    [held] = HELD.values()
    best = held[next(iter(held))]
    held |= {10_000 + n: 2 * best for n in range(70)}  # as if a writer had died before its photos counted
    agree(both, photo)
    agree(both, photo, "not id = nothing")
    with far.tables.write() as connection:
        connection.execute("UPDATE photos SET status = 2 WHERE number < 4")
        connection.execute("UPDATE state SET value = value + 1 WHERE name = 'revision'")
    assert len(far.search(photo, k=60).photos) == 27


def test_an_engine_that_is_down_is_said_and_loses_nothing(both: tuple[Index, Index], photos: Path) -> None:
    _, far = both
    photo, new = picture(photos), NewPhoto("new", MemorySource("", picture(photos, 1)))
    DOWN.add("here")
    with pytest.raises(ArtifactError, match="does not answer"):
        far.search(photo)
    with pytest.raises(ArtifactError, match="does not answer"):
        add(far, photos=[new])
    with pytest.raises(ArtifactError, match="does not answer"):
        Index.open(far.folder).search(photo)
    gone = far.objects()[0]
    removed = remove(far, [f"object:{gone}"])
    DOWN.clear()
    assert gone not in {o.name for o in far.search(photo, k=60).objects}, (
        "removed although nobody could be told"
    )
    agree((far, far), photo)
    assert add(far, photos=[new]).added == 1
    assert len(far.search(photo, k=60).photos) == 31 - removed
    compact(far)
    [held] = HELD.values()
    assert len(held) == 31 - removed


def test_an_engine_that_lost_vectors_is_filled_again(both: tuple[Index, Index], photos: Path) -> None:
    _, far = both
    [held] = HELD.values()
    for number in list(held)[:5]:
        del held[number]
    with pytest.raises(ArtifactError, match="lost vectors"):
        far.search(picture(photos))
    assert attach(far, "memory:there") == 30
    agree(both, picture(photos))
    assert [key.split("/")[0] for key in HELD] == ["there"], "the old ones are dropped"
    attach(far, "embedded")
    assert not HELD
    assert read_setting(far.folder) is None
    agree(both, picture(photos))


def test_staged_photos_of_a_dead_writer_leave_the_engine(both: tuple[Index, Index], photos: Path) -> None:
    _, far = both
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ilion.serve.writer.photos.tell", lambda *args: 1 / 0)  # dies after it told the engine
        with pytest.raises(ZeroDivisionError):
            add(far, photos=[NewPhoto("new", MemorySource("", picture(photos, 1)))])
    [held] = HELD.values()
    assert len(held) == 31
    with writing(far):
        assert len(held) == 30
    agree(both, picture(photos))


def test_each_design_has_vectors_of_its_own(both: tuple[Index, Index], finished: Path, photos: Path) -> None:
    own, far = both
    for index in both:
        number = build(index, Design.of_run(finished), finished)
        switch(index, number)
        add(index, photos=[NewPhoto("new", MemorySource("", picture(photos, 1)))], before=False)
    agree(both, picture(photos))
    assert sorted(map(len, HELD.values())) == [30, 31]
    switch(own, 0)
    switch(far, 0)
    agree(both, picture(photos))
    assert sorted(map(len, HELD.values())) == [31, 31]


def test_designs_that_do_not_fit_are_refused(usual: Path, quick: Path, tmp_path: Path) -> None:
    local = create_from_run(tmp_path / "local", usual)
    with pytest.raises(ConfigError, match=r"search\.method = 'local'.*only compares global"):
        attach(local, "memory:here")
    with pytest.raises(ConfigError, match="no index engine is named 'milwus'; did you mean"):
        attach(create_from_run(tmp_path / "quick", quick), "milwus:x")
    far = make_index([quick], tmp_path / "far", engine="memory:here")
    with pytest.raises(ConfigError, match="embedded"):
        build(far, Design.of_run(usual), usual)
    with pytest.raises(ConfigError, match="say where it is"):
        attach(far, "memory")


def test_passwords_are_not_shown() -> None:
    assert redact("milvus:https://me:secret@host:1") == "milvus:https://host:1"
