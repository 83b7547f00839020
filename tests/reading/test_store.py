"""Texts on disk: whole or not there, bad images counted, finished shards never read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.stages import describe_shards

from ilion import storage
from ilion.datasets import open_dataset
from ilion.errors import ArtifactError, ExtractionError, ImageError
from ilion.extraction.texts import TextDescription, read_queries
from ilion.reading.base import ReaderOptions, ReaderSpec
from ilion.reading.store import ReadImage, TextSet, write_texts
from ilion.runtime.machine import machine
from ilion.types import RGB, TextLine


def line(text: str, shift: float = 0.0) -> TextLine:
    quad = np.array([[1, 2], [9, 2], [9, 6], [1, 6]], np.float32) + np.float32(shift)
    return TextLine(text, 0.6, quad)


def stats(images: int) -> storage.ShardStats:
    return storage.ShardStats(images, 0.5, 1 << 20, machine())


@pytest.fixture
def artifact(tmp_path: Path) -> storage.Artifact:
    return storage.open_artifact(tmp_path / "cache", "texts", {"spec": "s"})


class FakeReader:
    """Says the size of what it sees, in a quad that covers the lower right quarter of it."""

    def __init__(self, side: int = 64) -> None:
        self.spec = ReaderSpec("fake", "none", "1", side, "MIT")
        self.seen = 0

    def read(self, image: RGB) -> Sequence[TextLine]:
        self.seen += 1
        h, w = image.shape[:2]
        quad = np.array([[w / 2, h / 2], [w, h / 2], [w, h], [w / 2, h]], np.float32)
        return [TextLine(f"{w}x{h}", 1.0, quad)]


def test_texts_come_back_image_by_image(artifact: storage.Artifact) -> None:
    first = [("a", ReadImage((line("Mjölk"), line("牛奶", 3)), (100, 50))), ("b", ReadImage((), (10, 20)))]
    write_texts(artifact, "one", first, stats)
    write_texts(artifact, "none", [], stats)
    write_texts(artifact, "two", [("ü/c", ReadImage((line("x"),), (4000, 3000)))], stats)
    texts = TextSet(artifact, ["one", "none", "two"])
    assert texts.ids == ("a", "b", "ü/c")
    assert texts.lines == 3
    assert texts.rows_of(["ü/c", "?"]).tolist() == [2, -1]
    assert [ln.text for ln in texts.read(0).lines] == ["Mjölk", "牛奶"]
    assert texts.read(1) == ReadImage((), (10, 20))
    last = texts.read(2)
    assert last.image_size == (4000, 3000)
    assert last.lines[0].confidence == pytest.approx(0.6, abs=1 / 510)
    np.testing.assert_allclose(last.lines[0].quad, line("x").quad, atol=0.05)
    assert last.lines[0].height == pytest.approx(4, abs=0.1)
    assert texts.bytes_per_image > 0


def test_rows_outside_are_refused(artifact: storage.Artifact) -> None:
    write_texts(artifact, "one", [("a", ReadImage((), (1, 1)))], stats)
    for row in (-1, 1):
        with pytest.raises(ArtifactError, match=r"outside its 1 image\b"):
            TextSet(artifact, ["one"]).read(row)


def test_damage_is_said(artifact: storage.Artifact) -> None:
    write_texts(artifact, "one", [("a", ReadImage((line("milk"),), (9, 9)))], stats)
    path = artifact.folder / "one.texts.npz"
    arrays = storage.read_arrays(path)
    storage.write_arrays(path, {**arrays, "ends": arrays["ends"] - 1})
    with pytest.raises(ArtifactError, match="do not fit together"):
        TextSet(artifact, ["one"])
    storage.write_arrays(path, {"text": arrays["text"]})
    with pytest.raises(ArtifactError, match=r"lacks .*sizes"):
        TextSet(artifact, ["one"])
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ArtifactError, match="damaged"):
        TextSet(artifact, ["one"])


def test_an_id_that_occurs_twice_is_refused(artifact: storage.Artifact) -> None:
    for key in ("one", "two"):
        write_texts(artifact, key, [("a", ReadImage((), (1, 1)))], stats)
    with pytest.raises(ArtifactError, match="'a' occurs twice"):
        TextSet(artifact, ["one", "two"])


def test_shards_are_read_once(tiny_dataset: Path, artifact: storage.Artifact) -> None:
    database = open_dataset(tiny_dataset).database
    reader, told = FakeReader(), []
    keys, reused = describe_shards(
        database, TextDescription(reader), artifact, workers=2, progress=lambda *a: told.append(a)
    )
    assert (reader.seen, reused) == (18, False)
    assert told[-1] == (18, 18)
    (artifact.folder / f"{keys[1]}.ids.json").unlink()  # as if killed while this shard was written
    again, reused = describe_shards(database, TextDescription(FakeReader()), artifact)
    assert (again, reused) == (keys, False)
    reader = FakeReader()
    assert describe_shards(database, TextDescription(reader), artifact) == (keys, True)
    assert reader.seen == 0
    texts = TextSet(artifact, keys)
    assert texts.ids == tuple(r.id for shard in database for r in shard.records())
    assert texts.read(0).image_size == (96, 64)


def test_bad_images_are_errors_or_counted(tiny_dataset: Path, artifact: storage.Artifact) -> None:
    bad = tiny_dataset / "distractors" / "loose" / "d2.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    database = open_dataset(tiny_dataset).database
    with pytest.raises(ImageError, match="on-bad-image=skip"):
        describe_shards(database, TextDescription(FakeReader()), artifact)
    keys, _ = describe_shards(database, TextDescription(FakeReader()), artifact, on_bad_image="skip")
    assert len(TextSet(artifact, keys)) == 17
    skipped = [s for key in keys for s in storage.read_stats(artifact, key).skipped]
    assert [s.where.endswith("d2.jpg") for s in skipped] == [True]


def test_query_photos_are_read_inside_their_boxes(tiny_dataset: Path, artifact: storage.Artifact) -> None:
    queries = open_dataset(tiny_dataset).queries
    photos = [q for q in queries if q.image is not None]
    key, reused = read_queries(photos, FakeReader(), artifact)
    assert not reused
    found = TextSet(artifact, [key]).read(0)
    # the box is 8 4 80 56; the fake's quad is the lower right quarter of what it sees
    assert [ln.text for ln in found.lines] == ["80x56"]
    np.testing.assert_allclose(found.lines[0].quad, [[48, 32], [88, 32], [88, 60], [48, 60]], atol=0.01)
    reader = FakeReader()
    assert read_queries(photos, reader, artifact) == (key, True)
    assert reader.seen == 0
    with pytest.raises(ExtractionError, match="is a text already"):
        read_queries(queries, reader, artifact)


def test_large_photos_are_shrunk_and_quads_are_not(tiny_dataset: Path) -> None:
    record = next(open_dataset(tiny_dataset).database[0].records())
    found = TextDescription(FakeReader(side=32)).load(record)
    assert found.lines[0].text == "64x43"
    np.testing.assert_allclose(found.lines[0].quad[2], [96, 64], atol=0.01)


@pytest.mark.parametrize("options", [{"side": 16}, {"side": 9999}, {"smallest": 1.0}, {"threads": -1}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(Exception, match="reading: "):
        ReaderOptions(**options)  # type: ignore[arg-type]
