from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ilion.datasets import open_dataset
from ilion.datasets.reader import box_share
from ilion.errors import ConfigError, DatasetError
from ilion.types import Box, RetrievalDataset, TarSource

Save = Callable[[Path, bytes | str], Path]
SaveTar = Callable[[Path, Mapping[str, bytes]], None]
Photo = Callable[..., bytes]


def ids(dataset: RetrievalDataset) -> list[str]:
    return [record.id for shard in dataset.database for record in shard.records()]


def fingerprints(dataset: RetrievalDataset) -> dict[str, str]:
    return {shard.name: shard.fingerprint() for shard in dataset.database}


def refusal(root: Path) -> str:
    with pytest.raises(DatasetError) as error:
        open_dataset(root)
    return str(error.value)


def test_ilias_layout(tiny_dataset: Path) -> None:
    dataset = open_dataset(tiny_dataset)
    assert dataset.name == "tiny"
    assert dataset.notes == ()
    images = [q for q in dataset.queries if q.image]
    texts = [q for q in dataset.queries if q.text]
    assert [q.id for q in images] == [
        "mug_000/query/Q000_00.jpg",
        "poster_002/query/Q002_00.jpg",
        "täfelchen_001/query/Q001_00.jpg",
    ]
    assert [q.id for q in texts] == [
        "mug_000/query/T000.txt",
        "poster_002/query/T002.txt",
        "täfelchen_001/query/T001.txt",
    ]
    assert images[0].image is not None
    assert images[0].image.boxes == (Box(8, 4, 80, 56),)
    assert texts[0].text == "the object number 0"
    assert dataset.positives["mug_000/query/T000.txt"] == tuple(
        f"mug_000/pos/P000_0{i}.jpg" for i in range(3)
    )
    assert dataset.labels == {
        "category": {"mug_000": "product", "täfelchen_001": "product", "poster_002": "art"},
        "subcategory": {
            "mug_000": "product/kitchen",
            "täfelchen_001": "product/kitchen",
            "poster_002": "art/print",
        },
    }
    database = ids(dataset)
    assert len(database) == len(set(database)) == 18
    assert database[:9] == sorted(database[:9])
    assert database[9:] == [f"shard_00000.tar/img{i}" for i in range(5)] + [
        f"distractors/loose/d{i}.jpg" for i in range(4)
    ]


def test_boxes_are_attached_and_give_the_scale(tiny_dataset: Path) -> None:
    dataset = open_dataset(tiny_dataset)
    records = {r.id: r for shard in dataset.database for r in shard.records()}
    assert records["mug_000/pos/P000_01.jpg"].boxes == (Box(10, 8, 48, 32),)
    assert dataset.attributes["scale"]["mug_000/pos/P000_01.jpg"] == pytest.approx(48 * 32 / (96 * 64))
    assert "clutter" not in dataset.attributes


def test_scale_follows_the_upright_size(tiny_dataset: Path, photo: Photo, save: Save) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    stem = tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_00"
    save(stem.with_suffix(".jpg"), photo(1, size=(96, 64), exif=exif))
    save(stem.with_name("P000_00_bbox.txt"), "0 64 64 32\n")
    assert open_dataset(tiny_dataset).attributes["scale"]["mug_000/pos/P000_00.jpg"] == pytest.approx(1 / 3)


def test_values_of_the_benchmark_win_over_boxes(tiny_dataset: Path, save: Save) -> None:
    lines = [f"mug_000/pos/P000_0{i}.jpg,0.{i + 1},{10 * i}" for i in range(3)]
    lines += [f"t#U00e4felchen_001/pos/P001_0{i}.jpg,0.5,7" for i in range(3)]
    lines += [f"poster_002/pos/P002_0{i}.jpg,0.5,7" for i in range(3)]
    save(tiny_dataset / "image_ids" / "positive_ids.txt", "\n".join(lines))
    dataset = open_dataset(tiny_dataset)
    assert dataset.notes == ()
    assert dataset.attributes["scale"]["mug_000/pos/P000_02.jpg"] == 0.3
    assert dataset.attributes["clutter"]["mug_000/pos/P000_02.jpg"] == 20
    assert dataset.attributes["clutter"]["täfelchen_001/pos/P001_01.jpg"] == 7


def test_positive_ids_that_disagree_with_the_files_are_noted(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "image_ids" / "positive_ids.txt", "gone_003/pos/P003_00.jpg,0.1,2\n")
    notes = open_dataset(tiny_dataset).notes
    assert any("lists 1 positive that is not there, such as 'gone_003/pos/P003_00.jpg'" in n for n in notes)
    assert any("does not list 9 positives" in n for n in notes)


def test_unknown_size_is_noted_and_not_guessed(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_00.jpg", b"broken")
    dataset = open_dataset(tiny_dataset)
    assert "mug_000/pos/P000_00.jpg" not in dataset.attributes["scale"]
    assert "the object size is unknown in 1 photo with a box whose own size" in dataset.notes[0]


def test_several_boxes(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "ilias_core" / "mug_000" / "query" / "Q000_00_bbox.txt", "1 2 3 4\n\n5.5 6 7 8\n")
    image = open_dataset(tiny_dataset).queries[0].image
    assert image is not None
    assert image.boxes == (Box(1, 2, 3, 4), Box(5.5, 6, 7, 8))


@pytest.mark.parametrize("shard_size", [1, 2, 7, 10_000])
def test_shard_size_changes_neither_ids_nor_order(
    tiny_dataset: Path, plain_dataset: Path, shard_size: int
) -> None:
    for root in (tiny_dataset, plain_dataset):
        assert ids(open_dataset(root, shard_size=shard_size)) == ids(open_dataset(root))


def test_shard_size_must_be_positive(tiny_dataset: Path) -> None:
    with pytest.raises(ConfigError, match="shard_size is 0"):
        open_dataset(tiny_dataset, shard_size=0)


def test_shards_have_safe_distinct_names(tiny_dataset: Path, photo: Photo, save_tar: SaveTar) -> None:
    save_tar(tiny_dataset / "distractors" / "schön 1.tar", {"a.jpg": photo(1)})
    names = [shard.name for shard in open_dataset(tiny_dataset, shard_size=2).database]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and "/" not in name and " " not in name for name in names)


def test_fingerprint_follows_content_and_boxes(tiny_dataset: Path, save: Save) -> None:
    before = fingerprints(open_dataset(tiny_dataset, shard_size=3))
    assert fingerprints(open_dataset(tiny_dataset, shard_size=3)) == before
    positive = tiny_dataset / "ilias_core" / "mug_000" / "pos"
    save(positive / "P000_00_bbox.txt", "1 1 2 2\n")
    boxed = fingerprints(open_dataset(tiny_dataset, shard_size=3))
    assert {name for name in before if before[name] != boxed[name]} == {"positives_00000"}
    os.utime(tiny_dataset / "distractors" / "shard_00000.tar", ns=(1, 1))
    touched = fingerprints(open_dataset(tiny_dataset, shard_size=3))
    assert {name for name in before if boxed[name] != touched[name]} == {"distractors_tar_shard_00000"}


def test_fingerprint_of_a_vanished_file_says_so(tiny_dataset: Path) -> None:
    dataset = open_dataset(tiny_dataset)
    (tiny_dataset / "ilias_core" / "mug_000" / "pos" / "P000_01.jpg").unlink()
    (tiny_dataset / "distractors" / "shard_00000.tar").unlink()
    for shard in dataset.database[:2]:
        with pytest.raises(DatasetError, match="cannot be read any more"):
            shard.fingerprint()


def test_tar_members_are_read_in_place(tiny_dataset: Path, photo: Photo, save_tar: SaveTar) -> None:
    save_tar(
        tiny_dataset / "distractors" / "wds.tar",
        {"./00/a.jpg": photo(1), "00/a.json": b"{}", "00/b.v2.PNG": photo(2, kind="PNG"), "00/._a.jpg": b"x"},
    )
    dataset = open_dataset(tiny_dataset)
    records = {r.id: r for shard in dataset.database for r in shard.records()}
    assert records["wds.tar/00/a"].source.read() == photo(1)
    assert isinstance(records["wds.tar/00/b"].source, TarSource)
    assert len([i for i in records if i.startswith("wds.tar/")]) == 2


def test_a_key_that_occurs_twice_in_a_tar(tiny_dataset: Path, photo: Photo, save_tar: SaveTar) -> None:
    save_tar(tiny_dataset / "distractors" / "two.tar", {"a.jpg": photo(1), "a.png": photo(2)})
    with pytest.raises(DatasetError, match=r"two.tar!a.png: the key 'a' occurs twice"):
        ids(open_dataset(tiny_dataset))


def test_distractors_from_elsewhere(
    tiny_dataset: Path, tmp_path: Path, photo: Photo, save: Save, save_tar: SaveTar
) -> None:
    save_tar(tmp_path / "yfcc" / "deep" / "y_0.tar", {"k.jpg": photo(1)})
    save(tmp_path / "yfcc" / "x.jpg", photo(2))
    save_tar(tiny_dataset / "yfcc100m" / "z_0.tar", {"k.jpg": photo(3)})
    dataset = open_dataset(tiny_dataset, distractors=tmp_path / "yfcc")
    assert ids(dataset)[-8:] == [
        "shard_00000.tar/img4",
        "y_0.tar/k",
        "z_0.tar/k",
        *(f"distractors/loose/d{i}.jpg" for i in range(4)),
        "yfcc/x.jpg",
    ]


def test_tars_of_the_same_name_clash(
    tiny_dataset: Path, tmp_path: Path, photo: Photo, save_tar: SaveTar
) -> None:
    save_tar(tmp_path / "more" / "shard_00000.tar", {"k.jpg": photo(1)})
    with pytest.raises(DatasetError, match="has the same file name as") as error:
        open_dataset(tiny_dataset, distractors=tmp_path / "more")
    assert "rename one of the two tars" in str(error.value)


def test_folders_of_the_same_name_clash(tiny_dataset: Path, tmp_path: Path, photo: Photo, save: Save) -> None:
    save(tmp_path / "more" / "distractors" / "a.jpg", photo(1))
    with pytest.raises(DatasetError, match="rename one of the two folders"):
        open_dataset(tiny_dataset, distractors=tmp_path / "more" / "distractors")


@pytest.mark.parametrize("compress", [False, True])
def test_subset(tiny_dataset: Path, tmp_path: Path, compress: bool) -> None:
    listed = b"shard_00000.tar/img1\nimg3,7\ndistractors/loose/d2.jpg\nloose/d3\nmug_000/pos/P000_00.jpg\n"
    path = tmp_path / ("some.txt.gz" if compress else "some.txt")
    path.write_bytes(gzip.compress(listed) if compress else listed)
    dataset = open_dataset(tiny_dataset, subset=path)
    assert ids(dataset)[9:] == [
        "shard_00000.tar/img1",
        "shard_00000.tar/img3",
        "distractors/loose/d2.jpg",
        "distractors/loose/d3.jpg",
    ]
    assert len(ids(dataset)) == 13
    assert dataset.notes == ()


def test_subset_says_what_is_not_there(tiny_dataset: Path, tmp_path: Path, save: Save) -> None:
    path = save(tmp_path / "ids.txt", "img0\nimg77\nother_1.tar/a\nother_1.tar/b\nother_2.tar/a\n")
    dataset = open_dataset(tiny_dataset, subset=path)
    assert ids(dataset)[9:] == ["shard_00000.tar/img0"]
    assert "names 3 ids of tars that are not there: other_1.tar, other_2.tar" in dataset.notes[0]
    assert "4 of 5 listed ids are not in the data: img77, other_1.tar/a" in dataset.notes[1]


def test_subset_of_large_tars_is_not_listed_eagerly(
    tiny_dataset: Path, tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilion.datasets.reader._CHEAP_TAR_BYTES", 10)
    path = save(tmp_path / "ids.txt", "img0\nimg77\n")
    (note,) = open_dataset(tiny_dataset, subset=path).notes
    assert "lists 2 ids; whether all are there is known once the tars were read" in note


def test_subset_changes_the_fingerprint_of_tars_only(tiny_dataset: Path, tmp_path: Path, save: Save) -> None:
    whole = fingerprints(open_dataset(tiny_dataset))
    some = fingerprints(open_dataset(tiny_dataset, subset=save(tmp_path / "ids.txt", "img0\n")))
    assert some["positives_00000"] == whole["positives_00000"]
    assert some["distractors_tar_shard_00000"] != whole["distractors_tar_shard_00000"]


def test_the_layout_is_found_or_its_absence_explained(tmp_path: Path, tiny_dataset: Path, save: Save) -> None:
    for path, message in (
        (tmp_path / "none", "does not exist"),
        (tiny_dataset / "taxonomy.json", "is a file"),
        (tiny_dataset / "distractors", "holds no objects or photos.csv .*, nor ilias_core"),
        (tiny_dataset / "ilias_core", "give the folder above it"),
    ):
        with pytest.raises(DatasetError, match=message):
            open_dataset(path)
    with pytest.raises(DatasetError, match=r"holds no objects or photos.csv"):
        open_dataset(tiny_dataset, layout="folder")
    save(tiny_dataset / "photos.csv", "file,object\n")
    with pytest.raises(DatasetError, match="say which layout to read"):
        open_dataset(tiny_dataset)
    assert len(open_dataset(tiny_dataset, layout="ilias").queries) == 6
    with pytest.raises(DatasetError, match="does not exist"):
        open_dataset(tiny_dataset, layout="ilias", distractors=tmp_path / "none")


def test_all_errors_are_said_at_once(tiny_dataset: Path, save: Save) -> None:
    core = tiny_dataset / "ilias_core"
    save(core / "mug_000" / "query" / "Q000_00_bbox.txt", "1 2 3\n1 2 0 4\n")
    save(core / "poster_002" / "query" / "T002.txt", " \n")
    (core / "empty_003" / "pos").mkdir(parents=True)
    save(tiny_dataset / "distractors" / "x.tar.gz", b"")
    save(tiny_dataset / "taxonomy.json", "{")
    message = refusal(tiny_dataset)
    assert "the data set has 7 errors" in message
    for part in (
        "ilias_core/mug_000/query/Q000_00_bbox.txt:1: '1 2 3' is not a box; write one box a line",
        "ilias_core/mug_000/query/Q000_00_bbox.txt:2: '1 2 0 4' is not a box",
        "ilias_core/poster_002/query/T002.txt: the description is empty; write one",
        "ilias_core/empty_003: object 'empty_003' has no query; add a photo",
        "ilias_core/empty_003: object 'empty_003' has no positive; add a photo",
        "distractors/x.tar.gz: is a compressed archive",
        "taxonomy.json: is not valid JSON",
    ):
        assert part in message


def test_many_errors_are_cut_short(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "ilias_core" / "mug_000" / "query" / "Q000_00_bbox.txt", "x\n" * 30)
    message = refusal(tiny_dataset)
    assert message.count("is not a box") == 20
    assert "... and 10 more (ilion datasets check lists them all)" in message


def test_links_must_not_lead_out(tiny_dataset: Path, tmp_path: Path, photo: Photo, save: Save) -> None:
    secret = save(tmp_path / "private.jpg", photo(5))
    positives = tiny_dataset / "ilias_core" / "mug_000" / "pos"
    (positives / "P000_90.jpg").symlink_to(secret)
    (positives / "P000_91.jpg").symlink_to(tmp_path / "nowhere.jpg")
    message = refusal(tiny_dataset)
    assert "P000_90.jpg: the link leads out of the data set; copy the photos here" in message
    assert "P000_91.jpg: the link leads nowhere" in message


def test_links_within_and_named_folders_as_links_are_fine(
    tiny_dataset: Path, tmp_path: Path, photo: Photo, save_tar: SaveTar
) -> None:
    positives = tiny_dataset / "ilias_core" / "mug_000" / "pos"
    (positives / "P000_90.jpg").symlink_to(positives / "P000_00.jpg")
    save_tar(tmp_path / "disk" / "big.tar", {"a.jpg": photo(1)})
    (tiny_dataset / "yfcc100m").symlink_to(tmp_path / "disk")
    found = ids(open_dataset(tiny_dataset))
    assert "mug_000/pos/P000_90.jpg" in found
    assert "big.tar/a" in found


def test_links_to_folders_are_not_followed(tiny_dataset: Path) -> None:
    (tiny_dataset / "distractors" / "again").symlink_to(tiny_dataset / "distractors" / "loose")
    dataset = open_dataset(tiny_dataset)
    assert len(ids(dataset)) == 18
    assert "distractors/again: links to folders are not followed" in dataset.notes[0]


def test_names_that_are_no_text(tiny_dataset: Path, photo: Photo) -> None:
    folder = os.fsencode(tiny_dataset / "distractors")
    for name in (b"caf\xe9.jpg", b"two\nlines.jpg"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(photo(9))
    message = refusal(tiny_dataset)
    assert (
        r"caf\udce9.jpg: the name holds U+DCE9, half of a character or a byte that is not UTF-8; rename it"
        in message
    )
    assert r"two\nlines.jpg: the name holds" in message


def test_stray_files_become_notes_and_system_files_do_not(tiny_dataset: Path, save: Save) -> None:
    core = tiny_dataset / "ilias_core"
    save(core / "mug_000" / "pos" / ".DS_Store", b"x")
    save(core / "mug_000" / "pos" / "P000_00_url.txt", "somewhere")
    save(core / "mug_000" / "notes.docx", b"x")
    save(core / "mug_000" / "pos" / "more" / "a.jpg", b"x")
    save(core / "mug_000" / "query" / "what.txt", "x")
    save(core / "mug_000" / "pos" / "P000_77_bbox.txt", "1 2 3 4")
    save(tiny_dataset / "distractors" / "readme.txt", "x")
    notes = "\n".join(open_dataset(tiny_dataset).notes)
    assert notes.count("\n") == 4
    for part in (
        "mug_000/notes.docx: is not expected outside of",
        "mug_000/pos/more/a.jpg: is not expected outside of",
        "mug_000/query/what.txt: is not expected beside the photos",
        "P000_77_bbox.txt: is a box file without its photo",
        "distractors/readme.txt: is not expected among the distractors",
    ):
        assert part in notes


def test_taxonomy_problems(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "taxonomy.json", '{"a": {"b": {"c": ["mug_000"]}}}')
    assert "does not name 2 of 3 objects, such as 'poster_002'" in open_dataset(tiny_dataset).notes[0]
    for text, message in (
        ('{"a": {"b": ["mug_000"]}}', "'a' / 'b' is not a table of names"),
        ('{"a": {"b": {"c": "mug_000"}}}', "'a' / 'b' / 'c' is not a list of objects"),
        ('{"a": {"b": {"c": ["x"], "d": ["x"]}, "e": {"f": ["x"]}}}', "stands both in 'a/b' and in 'a/e'"),
        ("[]", "the taxonomy is not a table of names"),
    ):
        save(tiny_dataset / "taxonomy.json", text)
        assert message in refusal(tiny_dataset)


def test_taxonomy_of_the_benchmarks_repository(tiny_dataset: Path) -> None:
    (tiny_dataset / "misc").mkdir()
    (tiny_dataset / "taxonomy.json").rename(tiny_dataset / "misc" / "taxonomy.json")
    assert open_dataset(tiny_dataset).labels["category"]["poster_002"] == "art"


def test_bad_positive_ids(tiny_dataset: Path, save: Save) -> None:
    save(tiny_dataset / "image_ids" / "positive_ids.txt", "a,1\nb,x,3\n")
    message = refusal(tiny_dataset)
    assert "image_ids/positive_ids.txt:1: 'a,1' is not 'id,scale,clutter'" in message
    assert "image_ids/positive_ids.txt:2: 'b,x,3'" in message
    save(tiny_dataset / "image_ids" / "positive_ids.txt", b"caf\xe9,1,1\n")
    assert "image_ids/positive_ids.txt: cannot be read as text" in refusal(tiny_dataset)


def test_names_that_differ_in_case_only(tiny_dataset: Path, photo: Photo, save: Save) -> None:
    save(tiny_dataset / "distractors" / "loose" / "D1.JPG", photo(8))
    (note,) = open_dataset(tiny_dataset).notes
    assert (
        "distractors/loose/d1.jpg: differs from distractors/loose/D1.JPG only in upper and lower case" in note
    )


def test_many_warnings_are_cut_short(tiny_dataset: Path, save: Save) -> None:
    for i in range(25):
        save(tiny_dataset / "distractors" / f"note{i:02d}.txt", "x")
    notes = open_dataset(tiny_dataset).notes
    assert len(notes) == 11
    assert notes[-1] == "... and 15 more warnings 'stray-file' (ilion datasets check lists all)"


def test_tars_that_differ_in_case_only(tiny_dataset: Path, photo: Photo, save_tar: SaveTar) -> None:
    save_tar(tiny_dataset / "distractors" / "Shard_00000.tar", {"a.jpg": photo(1)})
    (note,) = open_dataset(tiny_dataset).notes
    assert "shard_00000.tar: differs from Shard_00000.tar only in upper and lower case" in note


def test_folders_that_cannot_be_read(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith(("loose", "mug_000")):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = refusal(tiny_dataset)
    assert (
        "distractors/loose: the folder cannot be read (Permission denied); check its permissions" in message
    )
    assert "ilias_core/mug_000: the folder cannot be read" in message


def test_an_unknown_layout(tiny_dataset: Path) -> None:
    with pytest.raises(
        ConfigError, match="no data set layout is named 'plain'; known are folder, gldv2, icir, ids"
    ):
        open_dataset(tiny_dataset, layout="plain")


@pytest.mark.parametrize(
    ("boxes", "share"),
    [
        ((Box(0, 0, 100, 100),), 1.0),
        ((Box(-50, -50, 100, 100),), 0.25),
        ((Box(0, 0, 10, 10), Box(0, 0, 10, 10)), 0.01),
        ((Box(0, 0, 20, 10), Box(10, 0, 20, 10), Box(50, 50, 10, 10)), 0.04),
        ((Box(200, 200, 10, 10),), 0.0),
    ],
)
def test_box_share(boxes: tuple[Box, ...], share: float) -> None:
    assert box_share(boxes, 100, 100) == pytest.approx(share)


@pytest.mark.grocery
def test_grocery(grocery: Path) -> None:
    dataset = open_dataset(grocery)
    assert dataset.notes == ()
    assert len([q for q in dataset.queries if q.image]) == 31
    assert len([q for q in dataset.queries if q.text]) == 31
    assert len({q.instance for q in dataset.queries}) == 31
    database = ids(dataset)
    assert len(set(database)) == len(database) == 964 + 1500
    assert len({i for positives in dataset.positives.values() for i in positives}) == 964
    assert {i for positives in dataset.positives.values() for i in positives} == set(database[:964])
    assert dataset.attributes == {}
    assert set(dataset.labels["subcategory"].values()) == {"product/drink", "product/dairy"}
    source = next(dataset.database[-1].records()).source
    assert source.read().startswith(b"\xff\xd8\xff")
