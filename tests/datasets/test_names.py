"""Names as Macs, Windows, Excel and people write them: found, or refused with the true difference."""

from __future__ import annotations

import gzip
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilion.adapt import load_labels
from ilion.datasets import open_dataset
from ilion.datasets.ids import IdSet, read_ids
from ilion.datasets.names import FileFinder, NameIndex, bad_characters, check_id, difference, normal
from ilion.errors import DatasetError

Save = Callable[[Path, bytes | str], Path]
Photo = Callable[..., bytes]
GA = "が"


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@given(st.text(min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_what_is_no_text_is_found_by_category(name: str) -> None:
    wanted = any(unicodedata.category(c) in ("Cc", "Cs") for c in name)
    turning = any(unicodedata.bidirectional(c) in ("LRE", "RLE", "PDF", "LRO", "RLO") for c in name)
    turning |= any(unicodedata.bidirectional(c) in ("LRI", "RLI", "FSI", "PDI") for c in name)
    assert bool(bad_characters(name)) == (wanted or turning)


def test_what_turns_the_direction_of_a_name_is_refused() -> None:
    assert "U+202E" in bad_characters("photo\u202egpj.exe")


@pytest.mark.parametrize("bad", ["", "a\nb", "a\x00", "\ud800.jpg", "caf\udce9.jpg", "\x85", "a\x7f"])
def test_ids_that_cannot_be_written_are_refused(bad: str) -> None:
    with pytest.raises(DatasetError, match=r"here: the id '.*' holds .*; give the image another name"):
        check_id(bad, "here")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a", "a", ""),
        ("a", "b", ""),
        (nfd(GA), GA, "how accents are stored (NFC and NFD)"),
        ("IMG.jpg", "img.JPG", "upper and lower case"),
        ("img.jpg ", "img.jpg", "spaces"),
        ("a/ b.jpg", "a/b.jpg", "spaces"),
        ("ＡＢ", "AB", "full-width and half-width characters"),
        ("ｶﾞ", "ガ", "full-width and half-width characters"),
        ("ａｂ", "AB", "upper and lower case and full-width and half-width characters"),
    ],
)
def test_differences_have_words(first: str, second: str, words: str) -> None:
    assert difference(first, second) == words


def test_an_index_prefers_the_very_name() -> None:
    index = NameIndex([nfd(GA), GA])
    assert index.find(GA) == GA
    assert index.find(nfd(GA)) == nfd(GA)


def test_files_are_found_through_folders_in_another_form(tmp_path: Path, save: Save) -> None:
    save(tmp_path / nfd("が") / nfd("ぱ.jpg"), b"x")
    finder = FileFinder(tmp_path)
    found = finder.find("が/ぱ.jpg")
    assert found == nfd("が/ぱ.jpg")
    assert (tmp_path / found).is_file()
    assert finder.find("が/ば.jpg") is None
    assert finder.find(f"../{tmp_path.name}/が/ぱ.jpg") is None
    assert finder.near("が/ぱ.JPG") == nfd("が/ぱ.jpg")


@pytest.fixture
def mac(tmp_path: Path, photo: Photo, save: Save) -> Path:
    """A plain data set as a Mac stores it; tables come from Excel, in NFC."""
    root = tmp_path / "mac"
    for name in ("が物", "ポスター"):
        save(root / "objects" / nfd(name) / "query" / nfd(f"{name}.jpg"), photo(len(name)))
        save(root / "objects" / nfd(name) / "positive" / nfd(f"{name}2.jpg"), photo(10 + len(name)))
    save(root / "objects.csv", "object,description\nが物,赤いマグ\nポスター,青いポスター\n")
    save(root / "distractors" / nfd("ど.jpg"), photo(30))
    return root


def test_objects_of_folders_and_tables_are_the_same(mac: Path) -> None:
    dataset = open_dataset(mac)
    assert dataset.notes == ()
    assert {query.instance for query in dataset.queries} == {"が物", "ポスター"}
    assert len(dataset.queries) == 4
    (first,) = dataset.positives[nfd("objects/が物/query/が物.jpg")]
    assert (mac / first).is_file()


def test_files_of_a_table_are_found_in_nfd_folders(mac: Path, save: Save) -> None:
    save(
        mac / "photos.csv",
        "file,object,role\nobjects/が物/positive/が物2.jpg,が物,positive\ndistractors/ど.jpg,,distractor\n",
    )
    dataset = open_dataset(mac)
    ids = [record.id for shard in dataset.database for record in shard.records()]
    assert nfd("distractors/ど.jpg") in ids
    for shard in dataset.database:
        for record in shard.records():
            assert record.source.read()


def test_a_subset_in_nfc_keeps_what_a_mac_stored(mac: Path, save: Save) -> None:
    subset = save(mac.parent / "subset.txt", "distractors/ど.jpg\n")
    dataset = open_dataset(mac, subset=subset)
    ids = [record.id for shard in dataset.database for record in shard.records()]
    assert nfd("distractors/ど.jpg") in ids
    assert dataset.notes == ()
    wanted = IdSet(["ど"])
    assert wanted.take("x.tar/" + nfd("ど"), nfd("ど"))
    assert list(wanted.missing([nfd("ど")])) == []


def test_boxes_sizes_and_categories_of_another_form(tmp_path: Path, photo: Photo, save: Save) -> None:
    core = tmp_path / "set" / "ilias_core" / nfd("が_000")
    save(core / "query" / nfd("ぱ.jpg"), photo(1))
    save(core / "query" / "ぱ_bbox.txt", "8 4 80 56\n")
    save(core / "pos" / nfd("ぽ.jpg"), photo(2))
    save(tmp_path / "set" / "image_ids" / "positive_ids.txt", "が_000/pos/ぽ.jpg,0.25,7\n")
    save(tmp_path / "set" / "taxonomy.json", '{"物": {"紙": {"箱": ["が_000"]}}}')
    dataset = open_dataset(tmp_path / "set")
    assert dataset.notes == ()
    (query,) = dataset.queries
    assert query.image is not None
    assert len(query.image.boxes) == 1
    assert list(dataset.attributes["clutter"].values()) == [7]
    assert dataset.labels["category"] == {"が_000": "物"}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("photos/A.JPG", "upper and lower case"),
        ("photos/ａ.jpg", "full-width and half-width characters"),
        ("Photos/a.jpg", "upper and lower case"),
        ("photos /a.jpg", "spaces"),
        ("photos/b .jpg", None),
    ],
)
def test_a_missing_file_says_the_true_difference(
    tmp_path: Path, photo: Photo, save: Save, written: str, words: str | None
) -> None:
    save(tmp_path / "set" / "photos" / "a.jpg", photo(1))
    save(tmp_path / "set" / "photos.csv", f"file,object,role\n{written},cup,query\n")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path / "set")
    message = str(caught.value)
    assert f"there is no file {written!r}" in message
    if words:
        assert f"there is 'photos/a.jpg', which differs in {words}" in message


def test_objects_that_differ_only_so_are_named_with_it(tmp_path: Path, photo: Photo, save: Save) -> None:
    root = tmp_path / "set"
    save(root / "objects" / "ＭＵＧ" / "query" / "a.jpg", photo(1))
    save(root / "objects" / "ＭＵＧ" / "positive" / "b.jpg", photo(2))
    save(root / "objects.csv", "object,description\nMUG,a mug\n")
    with pytest.raises(DatasetError):
        open_dataset(root)
    from ilion.datasets import check_dataset

    messages = [problem.message for problem in check_dataset(root).problems]
    assert "object 'ＭＵＧ' and object 'MUG' differ only in full-width and half-width characters" in messages


def test_labels_are_read_in_nfd_folders(tmp_path: Path, save: Save) -> None:
    labels = load_labels(save(tmp_path / "labels.csv", "が/1.jpg," + nfd("が") + "\nが/2.jpg,が\n"))
    assert labels.class_names == ("が",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("packed", [False, True])
def test_id_files_in_any_unicode_form(tmp_path: Path, save: Save, encoding: str, packed: bool) -> None:
    data = "a/1.jpg\nが/2.jpg,0.5,1\n".encode(encoding)
    path = save(tmp_path / ("ids.txt.gz" if packed else "ids.txt"), gzip.compress(data) if packed else data)
    assert list(read_ids(path)) == ["a/1.jpg", "が/2.jpg"]


@pytest.mark.parametrize("line", ["a\x07b", "#Ud800", "x/#U000a"])
def test_id_files_with_what_is_no_text_are_refused(tmp_path: Path, save: Save, line: str) -> None:
    path = save(tmp_path / "ids.txt", f"good\n{line}\n")
    with pytest.raises(DatasetError, match=r"ids.txt:2: the id .* holds"):
        list(read_ids(path))


def test_a_surrogate_in_a_table_is_refused(tmp_path: Path, photo: Photo, save: Save) -> None:
    save(tmp_path / "set" / "photos" / "a.jpg", photo(1))
    save(tmp_path / "set" / "photos.csv", "file,object,role\nphotos/a.jpg,cu\x07p,query\n")
    with pytest.raises(DatasetError, match=r"photos.csv:2: holds the control character U\+0007"):
        open_dataset(tmp_path / "set")


def test_names_on_disk_are_opened_as_they_are(mac: Path) -> None:
    for shard in open_dataset(mac).database:
        for record in shard.records():
            assert record.id == nfd(record.id)
            assert record.id.rpartition("/")[2] in os.listdir((mac / record.id).parent)
            assert normal(record.id) != record.id
