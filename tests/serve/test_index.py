"""An index answers as the evaluated run did, and lives: photos come and go while others search."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilion import Index
from ilion.datasets import open_dataset
from ilion.descriptors.base import Extractor
from ilion.errors import ArtifactError, ConfigError, DatasetError, ImageError
from ilion.images import decode
from ilion.reranking.localisation import overlap
from ilion.serve.photos import NewPhoto
from ilion.serve.request import SearchRequest
from ilion.serve.writer import add, build, compact, create, create_from_run, remove, switch
from ilion.storage import read_json, read_ranking, write_json
from ilion.types import Box, MemorySource, Query

pytestmark = pytest.mark.slow


def queries(photos: Path) -> list[Query]:
    return [query for query in open_dataset(photos).queries if query.image is not None]


def picture(photos: Path, number: int = 0) -> bytes:
    image = queries(photos)[number].image
    assert image is not None
    return image.source.read()


def ranked(index: Index, photo: bytes) -> list[str]:
    return [found.id for found in index.search(photo, k=40).photos]


@pytest.mark.parametrize("kind", ["finished", "quick", "usual"])
def test_it_ranks_as_the_evaluated_run(
    photos: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(kind)
    judged = read_ranking(run / "ranking").to_dict()
    adopted = create_from_run(tmp_path / "adopted", run)
    anew, _ = create(tmp_path / "anew", [photos], like=run)
    for query in queries(photos):
        assert query.image is not None
        [box] = query.image.boxes or [None]
        for index in (adopted, anew):
            answer = index.search(query.image.source.read(), box=box, k=40)
            assert {p.id: p.score for p in answer.photos} == judged[query.id]
            assert [p.id for p in answer.photos] == list(judged[query.id])


def test_nothing_of_a_run_is_described_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise AssertionError("an image is described")

    monkeypatch.setattr("ilion.pipeline.distributed.compute.describe_shard", fail)
    status = create_from_run(tmp_path / "index", finished).status()
    assert (status.photos, status.objects, status.without_descriptor) == (30, 4, 0)


def test_a_run_whose_photos_changed_is_refused(photos: Path, quick: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(quick, tmp_path / "run"))
    plain = read_json(moved / "run.json")
    plain["provenance"]["config"]["output"] = str(moved)
    write_json(moved / "run.json", plain)
    next(moved.glob("artifacts/descriptors-*/*.ids.json")).unlink()
    with pytest.raises(ArtifactError, match="run it again first"):
        create_from_run(tmp_path / "index", moved)
    assert not (tmp_path / "index").exists()


def test_an_answer_says_what_was_found_where_and_why(photos: Path, folder: Path) -> None:
    index = Index.open(folder)
    shown = _ids(index)[0]
    answer = index.search(like=shown, k=3)
    [best, *_] = answer.objects
    assert (best.name, best.photo.id) == (shown.split("/")[0], shown)
    assert best.photo.points
    assert best.why == f"{best.photo.points} points agree in place and shape"
    assert best.photo.region is not None
    assert best.photos > 1, "the other photos of the object are counted"
    assert answer.none is None, "nobody set a threshold"
    assert answer.searched.photos == 30
    plain = answer.as_dict()
    assert plain["objects"][0]["score"] == best.photo.score


def test_every_photo_with_points_says_where(folder: Path) -> None:
    index = Index.open(folder)
    shown = _ids(index)[0]
    again = MemorySource("again", index.source(shown).read())
    add(index, photos=[NewPhoto("again", again, {shown.split("/")[0]: ()})])
    answer = Index.open(folder).search(like=shown, k=2)
    assert {photo.id for photo in answer.photos} == {shown, "again"}
    assert answer.objects[0].photos > 1, "one of them is not the object's best"
    assert all(photo.points and photo.region for photo in answer.photos)


def test_the_region_is_that_of_the_drawn_matches(folder: Path) -> None:
    """It comes from the search itself, the drawing looks at the pair again: in a small index the same."""
    index = Index.open(folder)
    answer, matches = index.ask(SearchRequest(like=_ids(index)[0], k=3))
    regions = {photo.id: photo.region for photo in answer.photos if photo.region}
    assert regions
    for photo, region in regions.items():
        drawn = matches.explain(photo)
        assert drawn is not None
        assert drawn.box is not None
        assert overlap(region, drawn.box) > 0.8


def test_photos_are_found_by_a_photo_of_the_index(folder: Path) -> None:
    index = Index.open(folder)
    first = index.search(like=index.search(like=next(iter(_ids(index)))).photos[0].id)
    assert first.photos[0].score >= first.photos[1].score
    with pytest.raises(DatasetError, match="no photo 'nothing'"):
        index.search(like="nothing")


def _ids(index: Index) -> list[str]:
    rows = index.tables.connection.execute("SELECT id FROM photos WHERE status = 1 ORDER BY number")
    return [name for (name,) in rows.fetchall()]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "ask with a photo"),
        ({"photo": b"x", "like": "y"}, "ask with a photo"),
        ({"text": "box", "box": Box(0, 0, 1, 1)}, "a box belongs to a photo"),
        ({"photo": b"x", "k": 0}, "at least 1"),
        ({"photo": b"x", "where": "colour=red"}, "no photo has a label 'colour'"),
    ],
)
def test_what_cannot_be_asked_is_said(folder: Path, asked: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Index.open(folder).search(**asked)  # type: ignore[arg-type]


def test_a_photo_that_cannot_be_read_is_said(folder: Path) -> None:
    with pytest.raises(ImageError, match="not an image"):
        Index.open(folder).search(b"<html>no photo</html>")


@pytest.mark.parametrize("share", [0.5, 0.1, 0.0])
def test_filters_are_exact(photos: Path, folder: Path, share: float) -> None:
    index = Index.open(folder)
    chosen = set(np.array(_ids(index))[np.random.default_rng(1).random(30) < share].tolist())
    with index.tables.write() as connection:
        for name in chosen:
            insert = "INSERT INTO labels SELECT number, 'site', 'Osaka' FROM photos WHERE id = ?"
            connection.execute(insert, (name,))
        connection.execute("INSERT INTO labels SELECT number, 'other', 'x' FROM photos LIMIT 1")
        connection.execute("INSERT INTO labels SELECT number, 'site', 'Kobe' FROM photos WHERE number = 1")
        connection.execute("UPDATE state SET value = value + 1 WHERE name = 'revision'")
    answer = index.search(picture(photos), where="site=Osaka", k=40)
    assert {found.id for found in answer.photos} == chosen
    assert answer.searched.filtered == 30 - len(chosen)
    # the same first stage without a filter, with the others taken out
    plain = [name for name in ranked(index, picture(photos)) if name in chosen]
    assert [found.id for found in answer.photos] == plain


def test_photos_come_go_and_are_replaced(photos: Path, folder: Path) -> None:
    index, reader = Index.open(folder), Index.open(folder)
    photo = picture(photos, 1)
    before = ranked(reader, photo)
    new = NewPhoto("new.jpg", MemorySource("", photo), {"valve": ()}, {"Site": "Osaka"})
    assert add(index, photos=[new]).added == 1
    assert ranked(reader, photo)[0] == "new.jpg"
    found = reader.search(photo, where="site=Osaka").objects
    assert [(o.name, o.photo.labels) for o in found] == [("valve", {"site": "Osaka"})]
    assert add(index, photos=[new]).unchanged == 1
    other = replace(new, source=MemorySource("", picture(photos, 0)))
    assert add(index, photos=[other]).replaced == 1
    assert ranked(reader, picture(photos, 0))[0] == "new.jpg"
    assert ranked(reader, photo)[0] != "new.jpg"
    assert remove(index, ["new.jpg"]) == 1
    assert ranked(reader, photo) == before
    assert remove(index, [f"object:{queries(photos)[0].instance}"]) == 4
    assert reader.status().photos == 26
    with pytest.raises(DatasetError, match=r"no photo 'new\.jpg'"):
        remove(index, ["new.jpg"])


def test_what_was_removed_is_gone_from_the_disk_once_compacted(photos: Path, folder: Path) -> None:
    index, reader = Index.open(folder), Index.open(folder)
    photo = picture(photos, 1)
    for number in range(3):
        add(index, photos=[NewPhoto(f"gone {number}.jpg", MemorySource("", photo + bytes([number])))])
    remove(index, ["gone 1.jpg", _ids(index)[0]])
    before = ranked(reader, photo)
    assert compact(index) > 0
    assert ranked(reader, photo) == before, "a reader that was open goes on"
    status = Index.open(folder).status()
    assert (status.photos, status.removed) == (31, 0)
    assert status.shards < 8, "small parts are merged"
    assert len(list((folder / "photos").rglob("?" * 32))) == 2
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"gone 1.jpg" not in content
    assert b"gone 0.jpg" in content


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["quick", "usual"])
def test_compaction_needs_no_photos(
    photos: Path, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    copy = Path(shutil.copytree(photos, tmp_path / "set"))
    index, _ = create(tmp_path / "index", [copy], like=request.getfixturevalue(kind))
    photo, gone = picture(photos), _ids(index)[3]
    remove(index, [gone])
    assert gone not in ranked(index, photo)
    index = Index.open(shutil.copytree(tmp_path / "index", tmp_path / "same"))
    compact(Index.open(tmp_path / "index"))
    expected = ranked(Index.open(tmp_path / "index"), photo)
    shutil.rmtree(copy)
    compact(index)
    assert ranked(index, photo) == expected


def test_unreadable_photos_are_named(photos: Path, folder: Path) -> None:
    index = Index.open(folder)
    good = NewPhoto("good", MemorySource("", picture(photos)))
    done = add(index, photos=[good, NewPhoto("bad", MemorySource("", b"no photo"))])
    assert done.added == 1
    assert list(done.unreadable) == ["bad"]
    with pytest.raises(DatasetError, match="given twice"):
        add(index, photos=[good, good])


def test_folders_tables_and_tars_are_taken_as_they_are(photos: Path, quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "valve 17").mkdir(parents=True)
    (folder / "valve 17" / "a.jpg").write_bytes(picture(photos, 0))
    (folder / "b.jpg").write_bytes(picture(photos, 1))
    table = tmp_path / "table.csv"
    table.write_text("file,id,object,x,y,width,height,Site\nphotos/b.jpg,b2,box,1,2,30,40,Osaka\n")
    tar = next((photos / "distractors").glob("*.tar"))
    index, added = create(tmp_path / "index", [folder, table, tar], like=quick)
    assert added.added == 3 + 14
    answer = index.search(picture(photos, 0))
    assert answer.objects[0].name == "valve 17"
    assert index.search(picture(photos, 1), where="site=Osaka and object=box").photos[0].id == "b2"
    with pytest.raises(DatasetError, match="holds no photo"):
        add(index, [quick])
    with pytest.raises(DatasetError, match="does not exist"):
        add(index, [tmp_path / "nothing"])
    with pytest.raises(ConfigError, match="is not empty"):
        create(folder, [folder])
    file = quick / "run.json"
    with pytest.raises(ConfigError, match=r"run\.json: is no folder; name one for the output"):
        create(file, [folder])


def test_a_new_design_stands_beside_the_old_and_can_go_back(
    photos: Path, finished: Path, quick: Path, tmp_path: Path
) -> None:
    index = create_from_run(tmp_path / "index", quick)
    reader, photo = Index.open(tmp_path / "index"), picture(photos)
    before = ranked(reader, photo)
    from ilion.config.design import Design

    number = build(index, Design.of_run(finished), finished)
    assert ranked(reader, photo) == before
    add(index, photos=[NewPhoto("new", MemorySource("", photo))])  # meanwhile
    switch(index, number)
    assert reader.search(photo).photos[0].points
    assert reader.status().current == number
    assert reader.search(photo).photos[0].id == "new"
    assert switch(index, 0) == Design.of_run(quick).name
    assert reader.search(photo).photos[0].points is None
    compact(index)
    switch(index, 0)
    assert reader.search(photo).photos[0].points


def test_the_design_before_catches_up(
    photos: Path, finished: Path, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilion.config.design import Design

    index, photo = create_from_run(tmp_path / "index", quick), picture(photos)
    switch(index, build(index, Design.of_run(finished), finished))
    add(index, photos=[NewPhoto("soon", MemorySource("", photo))], before=False)
    assert index.search(photo).photos[0].id == "soon"
    assert index.status().behind == 1
    compact(index)
    assert index.status().behind == 0, "compaction needs both designs over all photos"
    add(index, photos=[NewPhoto("later", MemorySource("", picture(photos, 1)))], before=False)
    add(index, photos=[NewPhoto("last", MemorySource("", picture(photos, 2)))])
    assert index.status().behind == 0
    monkeypatch.setattr(
        "ilion.pipeline.distributed.compute.describe_shard", lambda *args, **options: pytest.fail("late")
    )
    switch(index, 0)
    assert index.search(picture(photos, 1)).photos[0].id == "later"
    assert index.status().behind == 0


def test_two_writers_wait_or_are_told(photos: Path, folder: Path) -> None:
    from ilion.serve.writer import writing

    index, other = Index.open(folder), Index.open(folder)
    with writing(index), pytest.raises(ArtifactError, match="another process is writing"):
        remove(other, ["x"], wait=0.05)


def test_the_stored_picture_is_small(folder: Path) -> None:
    index = Index.open(folder)
    small = decode(index.thumbnail(_ids(index)[0])).image
    assert max(small.shape) <= 256
    with pytest.raises(DatasetError, match="no picture"):
        index.thumbnail("nothing")


def test_no_index_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no index"):
        Index.open(tmp_path)


@pytest.mark.slow
def test_a_service_keeps_descriptors_mapped(quick: Path, tmp_path: Path) -> None:
    create_from_run(tmp_path / "index", quick)
    index = Index(tmp_path / "index")
    index.warm()
    with index.tables.read() as connection:
        prepared: Any = index.snapshot(connection).ready.prepared
    assert prepared.database._maps.held


@pytest.mark.slow
def test_it_says_whether_texts_are_understood(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_from_run(tmp_path / "index", quick)
    assert not Index(tmp_path / "index").status().texts
    monkeypatch.setattr("ilion.pipeline.stages.first.TextExtractor", Extractor)  # as if it had a text tower
    assert Index(tmp_path / "index").status().texts


def test_an_index_warms_up_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SearchRequest] = []
    ask = Index.ask

    def counted(index: Index, request: SearchRequest) -> Any:
        asked.append(request)
        return ask(index, request)

    monkeypatch.setattr(Index, "ask", counted)
    index = Index(folder)
    index.warm()
    index.warm()
    assert len(asked) == 1
