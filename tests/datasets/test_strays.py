"""What a user put somewhere and is not read is named and counted, in the check and in the notes of a run."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ilion.datasets import check_dataset, open_dataset
from ilion.errors import DatasetError

Save = Callable[[Path, bytes | str], Path]
Photo = Callable[..., bytes]
SaveTar = Callable[[Path, dict[str, bytes]], None]


def kinds(root: Path) -> dict[str, str]:
    """Return place -> message of the problems that are no oddities of images."""
    found = check_dataset(root, full_decode=False).problems
    return {problem.file: f"{problem.severity} {problem.kind}: {problem.message}" for problem in found}


NEARLY = ["Distractors", "DISTRACTORS", "distractor", "ｄistractors", "distractors "]


@pytest.mark.parametrize("name", NEARLY)
def test_a_folder_of_nearly_the_right_name_is_refused(plain_dataset: Path, name: str) -> None:
    (plain_dataset / "distractors").rename(plain_dataset / name)
    with pytest.raises(DatasetError, match=r"it differs from .distractors. in .*; rename it to distractors"):
        open_dataset(plain_dataset)
    assert kinds(plain_dataset)[name].startswith("error near-name: is not read")


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("Objects.csv", "objects.csv"),
        ("objects.CSV", "objects.csv"),
        ("photos.csv.txt", "photos.csv"),
        ("Photos.csv", "photos.csv"),
        ("photos .csv", "photos.csv"),
        ("photos.csv.csv", "photos.csv"),
        ("photo.csv", "photos.csv"),
        ("PHOTOS.XLSX", "photos.xlsx"),
    ],
)
def test_a_table_of_nearly_the_right_name_is_refused(
    plain_dataset: Path, save: Save, name: str, right: str
) -> None:
    (plain_dataset / "objects.csv").unlink()
    save(plain_dataset / name, "file,object,role\n")
    with pytest.raises(DatasetError, match=f"rename it to {right}"):
        open_dataset(plain_dataset)


@pytest.mark.parametrize("name", ["Query", "QUERY", "queries ", "querys"])
def test_a_folder_of_nearly_a_role_is_refused(
    plain_dataset: Path, photo: Photo, save: Save, name: str
) -> None:
    save(plain_dataset / "objects" / "red mug" / name / "a.jpg", photo(9))
    save(plain_dataset / "objects" / "red mug" / name / "b.jpg", photo(8))
    found = kinds(plain_dataset)
    if name.strip() == "queries":
        assert "stray-file" in str(found)
        return
    (place,) = (place for place, said in found.items() if "near-name" in said)
    assert place == f"objects/red mug/{name}"
    assert "its name differs from 'query' in" in found[place]


def test_tables_of_amendments_that_are_not_read_are_named(plain_dataset: Path, save: Save) -> None:
    save(plain_dataset / "amendments" / "1.csv", "file,object,role\n")
    assert "is not read" in kinds(plain_dataset)["amendments/1.csv"]


def test_roles_of_the_ilias_layout_too(tiny_dataset: Path, photo: Photo, save: Save) -> None:
    save(tiny_dataset / "ilias_core" / "mug_000" / "Pos" / "a.jpg", photo(9))
    save(tiny_dataset / "Distractors" / "a.jpg", photo(8))
    found = kinds(tiny_dataset)
    assert "near-name" in found["ilias_core/mug_000/Pos"]
    assert "near-name" in found["Distractors"]


@pytest.mark.parametrize("layout", ["plain_dataset", "tiny_dataset"])
def test_what_lies_beside_the_data_set_is_named(
    layout: str, request: pytest.FixtureRequest, save: Save, save_tar: SaveTar, photo: Photo
) -> None:
    root: Path = request.getfixturevalue(layout)
    save_tar(root / "more.tar", {"a.jpg": photo(3)})
    save(root / "old.zip", b"PK")
    save(root / "boxes.csv", "a\n")
    save(root / "README.md", "hello")
    save(root / "runs" / "one" / "run.json", "{}")
    save(root / "todo.txt", "x")
    notes = "\n".join(open_dataset(root).notes)
    for name in ("more.tar", "old.zip", "boxes.csv"):
        assert f"{name}: is not read" in notes
    assert "move it to distractors/" in notes
    assert "todo" not in notes
    found = kinds(root)
    assert found["."] == "info not-read: 2 other files or folders are not read (runs, todo.txt)"
    assert "README" not in str(found)


def test_distractors_from_a_folder_inside_are_no_stray(plain_dataset: Path, photo: Photo, save: Save) -> None:
    save(plain_dataset / "Distractors" / "b.jpg", photo(3))
    dataset = open_dataset(plain_dataset, distractors=plain_dataset / "Distractors")
    assert sum(1 for shard in dataset.database for _ in shard.records()) == 9


def linked_tar(path: Path, photo: Photo) -> Path:
    """One image and twelve hard links to it; one to nowhere, a symlink, names without ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(data), kind, target
            tar.addfile(member, io.BytesIO(data))

        add("./a.jpg", photo(1))
        add("a.txt", b"a caption")
        for i in range(12):
            add(f"hard{i}.jpg", kind=tarfile.LNKTYPE, target="a.jpg")
        add("lost.jpg", kind=tarfile.LNKTYPE, target="elsewhere.jpg")
        add("soft.jpg", kind=tarfile.SYMTYPE, target="a.jpg")
        add("IMG_0001", photo(2))
        add("IMG_0002.jpgx", photo(3))
    return path


def test_hard_links_are_images_and_the_rest_is_counted(plain_dataset: Path, photo: Photo) -> None:
    linked_tar(plain_dataset / "distractors" / "t.tar", photo)
    dataset = open_dataset(plain_dataset)
    (tar,) = (shard for shard in dataset.database if "tar" in shard.name)
    records = list(tar.records())
    assert [record.id for record in records] == ["t.tar/a", *(f"t.tar/hard{i}" for i in range(12))]
    assert {record.source.read() for record in records} == {photo(1)}
    (note,) = dataset.notes
    assert "2 members without an image of that name ('IMG_0001', 'IMG_0002.jpgx')" in note
    assert "2 links to no file before ('lost.jpg', 'soft.jpg')" in note
    assert kinds(plain_dataset)["distractors/t.tar"].startswith("warning tar-members: holds 2 members")


@pytest.mark.parametrize("name", ["caf\udce9.jpg", "a\x07.jpg", "two\nlines.jpg"])
def test_names_in_tars_that_are_no_text_are_refused(
    plain_dataset: Path, photo: Photo, save_tar: SaveTar, name: str
) -> None:
    with tarfile.open(plain_dataset / "distractors" / "t.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        tar.addfile(member, io.BytesIO(b""))
    found = kinds(plain_dataset)["distractors/t.tar"]
    assert found.startswith("error bad-tar: the name ")
    (shard,) = (s for s in open_dataset(plain_dataset).database if "tar" in s.name)
    with pytest.raises(DatasetError, match=r"holds (U\+DCE9|the control character)"):
        list(shard.records())


def test_a_subset_that_matches_nothing_is_refused(tiny_dataset: Path, save: Save) -> None:
    for lines in ("nowhere\nnor/here.jpg\n", "other.tar/1\nother.tar/2\n"):
        subset = save(tiny_dataset.parent / "subset.txt", lines)
        with pytest.raises(DatasetError, match=r"subset.txt: none of its 2 ids is in the data set"):
            open_dataset(tiny_dataset, subset=subset)
