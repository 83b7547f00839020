from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ilion.datasets import check_dataset, open_dataset, render_check
from ilion.errors import ConfigError, DatasetError, ImageError
from ilion.report.pictures import Pictures, find_records
from ilion.types import NoSource, RetrievalDataset


def make(root: Path) -> Path:
    """Two objects, one with a name beyond ASCII, in the benchmark's layout of id files."""
    ids = root / "image_ids"
    ids.mkdir(parents=True)
    (ids / "image_query_ids.txt").write_text(
        "mug_000/query/Q000_00.jpg,12,x\ncaf#U00e9_001/query/Q001_00.jpg\n"
    )
    (ids / "text_query_ids.txt").write_text("mug_000/query/T000.txt,a mug, green\n")
    (ids / "positive_ids.txt").write_text(
        "mug_000/pos/P000_00.jpg,0.5,3\nmug_000/pos/P000_01.jpg,0.01,40\ncaf#U00e9_001/pos/P001_00.jpg,0.2,20\n"
    )
    with gzip.open(ids / "distractor_ids.txt.gz", "wt") as file:
        file.write("a.tar/1\na.tar/2\nb.tar/3\n")
    (root / "misc").mkdir()
    tree = {"kitchen": {"cup": {"mug": ["mug_000"]}}, "place": {"bar": {"x": ["café_001"]}}}
    (root / "misc" / "taxonomy.json").write_text(json.dumps(tree))
    return root


def ids_of(dataset: RetrievalDataset) -> list[str]:
    return [record.id for shard in dataset.database for record in shard.records()]


def test_ids_are_a_data_set(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    assert not dataset.complete
    assert [(q.id, q.instance, q.text) for q in dataset.queries] == [
        ("café_001/query/Q001_00.jpg", "café_001", None),
        ("mug_000/query/Q000_00.jpg", "mug_000", None),
        ("mug_000/query/T000.txt", "mug_000", "a mug, green"),
    ]
    pair = ("mug_000/pos/P000_00.jpg", "mug_000/pos/P000_01.jpg")
    assert dataset.positives["mug_000/query/Q000_00.jpg"] == pair
    assert dataset.attributes["scale"]["café_001/pos/P001_00.jpg"] == 0.2
    assert dataset.attributes["clutter"][pair[1]] == 40
    assert dataset.labels["subcategory"] == {"café_001": "place/bar", "mug_000": "kitchen/cup"}
    assert ids_of(dataset) == ["café_001/pos/P001_00.jpg", *pair, "a.tar/1", "a.tar/2", "b.tar/3"]
    assert len({shard.fingerprint() for shard in dataset.database}) == 2


def test_the_folder_itself_and_a_subset_of_keys(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "mini.txt").write_text("2\n3\n")
    whole = open_dataset(tmp_path / "image_ids")
    dataset = open_dataset(tmp_path / "image_ids", layout="ids", subset=tmp_path / "mini.txt")
    assert ids_of(dataset)[3:] == ["a.tar/2", "b.tar/3"]
    assert dataset.database[1].fingerprint() != whole.database[1].fingerprint()


def test_pictures_are_not_needed_but_missed_where_they_are(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    records = find_records(dataset, ["b.tar/3", "mug_000/pos/P000_00.jpg", "elsewhere.tar/9"])
    assert {type(record.source) for record in records.values()} == {NoSource}
    pictures = Pictures(records.values())
    assert pictures.problems == {}
    assert len(pictures) == 3
    with pytest.raises(ImageError, match="only the id of this image is known"):
        records["b.tar/3"].source.read()


def test_a_check_knows_what_the_ids_say(tmp_path: Path) -> None:
    found = check_dataset(make(tmp_path))
    assert found.ok
    assert found.facts.counts["positives"] == 3
    text = render_check(found)
    assert "ids only, no images" in text
    assert "object count" in text


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("positive_ids.txt", "mug_000/pos/P000_02.jpg,0.5", "is not 'id,scale,clutter'"),
        ("positive_ids.txt", "mug_000/pos/P000_00.jpg,0.6,3", "has other values before"),
        ("positive_ids.txt", "mug_000/query/Q000_00.jpg,0.6,3", "lists 'mug_000/query/Q000_00.jpg' 2 times"),
        ("image_query_ids.txt", "caf#U00e9_001/query/Q001_00.jpg", "2 times"),
        ("image_query_ids.txt", "Q001_00.jpg", "'Q001_00.jpg' names no object"),
        ("image_query_ids.txt", "new_002/query/Q002_00.jpg", "object 'new_002' has no positive"),
        ("positive_ids.txt", "new_002/pos/P002_00.jpg,0.1,1", "object 'new_002' has no query"),
    ],
)
def test_mistakes_are_said_with_their_place(tmp_path: Path, name: str, line: str, message: str) -> None:
    path = make(tmp_path) / "image_ids" / name
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path)


def test_other_layouts_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no image_ids/positive_ids.txt"):
        open_dataset(tmp_path, layout="ids")
    make(tmp_path)
    with pytest.raises(ConfigError, match="a folder of distractors cannot be added"):
        open_dataset(tmp_path, distractors=tmp_path)
    # where the images are, the ids only add values
    (tmp_path / "ilias_core").mkdir()
    with pytest.raises(DatasetError, match="there is no object"):
        open_dataset(tmp_path)
    assert not open_dataset(tmp_path, layout="ids").complete
