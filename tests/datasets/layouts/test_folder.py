from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from ilion.datasets import new_dataset, open_dataset
from ilion.datasets.layouts.folder import PHOTOS_COLUMNS
from ilion.errors import ConfigError, DatasetError
from ilion.types import Box, RetrievalDataset
from ilion.wording import unwanted

Save = Callable[[Path, bytes | str], Path]
Photo = Callable[..., bytes]

HEADER = "file,object,role,x,y,width,height,clutter\n"


@pytest.fixture
def flat(tmp_path: Path, photo: Photo, save: Save) -> Path:
    """Eight photos that lie flat in one folder, without a table."""
    root = tmp_path / "flat"
    for i in range(8):
        save(root / "photos" / f"{i}.jpg", photo(i))
    return root


def ids(dataset: RetrievalDataset) -> list[str]:
    return [record.id for shard in dataset.database for record in shard.records()]


def refusal(root: Path) -> str:
    with pytest.raises(DatasetError) as error:
        open_dataset(root)
    return str(error.value)


def test_sorted_into_folders(plain_dataset: Path) -> None:
    dataset = open_dataset(plain_dataset)
    assert dataset.notes == ()
    assert [(q.id, q.instance, q.text) for q in dataset.queries] == [
        ("objects/blue mug/query/front.jpg", "blue mug", None),
        ("objects/red mug/query/front.jpg", "red mug", None),
        ("objects.csv/red mug", "red mug", "a red mug, with a handle"),
    ]
    assert dataset.positives["objects.csv/red mug"] == (
        "objects/red mug/positive/IMG_0.jpg",
        "objects/red mug/positive/IMG_1.jpg",
    )
    assert dataset.ignored == {
        "objects/red mug/query/front.jpg": ("objects/red mug/ignored/maybe.jpg",),
        "objects.csv/red mug": ("objects/red mug/ignored/maybe.jpg",),
    }
    assert dataset.labels == {"category": {"red mug": "kitchen"}}
    assert ids(dataset) == [
        "objects/blue mug/positive/IMG_0.jpg",
        "objects/blue mug/positive/IMG_1.jpg",
        "objects/red mug/ignored/maybe.jpg",
        "objects/red mug/positive/IMG_0.jpg",
        "objects/red mug/positive/IMG_1.jpg",
        *(f"distractors/d{i}.jpg" for i in range(3)),
    ]


def test_flat_photos_with_a_table(flat: Path, save: Save) -> None:
    save(
        flat / "photos.csv",
        HEADER
        + "photos/0.jpg,cup,query,1,2,30,40,\n"
        + "photos/1.jpg,cup,positive,10,10,24,32,5\n"
        + "photos/1.jpg,plate,positive,50,10,24,16,5\n"
        + "./photos//2.jpg,plate,Query,,,,,\n"
        + "photos/3.jpg,cup,positive,0,0,24,32,9\n"
        + "photos/3.jpg,cup,positive,24,0,24,32,\n"
        + "photos/3.jpg,plate,ignored,,,,,\n"
        + "photos/4.jpg,,distractor,,,,,\n"
        + ",,,,,,,\n"
        + "photos/5.jpg,,distractor,,,,,\n",
    )
    dataset = open_dataset(flat)
    assert [(q.id, q.instance) for q in dataset.queries] == [
        ("photos/0.jpg", "cup"),
        ("photos/2.jpg", "plate"),
    ]
    assert dataset.queries[0].image is not None
    assert dataset.queries[0].image.boxes == (Box(1, 2, 30, 40),)
    assert dataset.positives == {
        "photos/0.jpg": ("photos/1.jpg", "photos/3.jpg"),
        "photos/2.jpg": ("photos/1.jpg",),
    }
    assert dataset.ignored == {"photos/2.jpg": ("photos/3.jpg",)}
    assert ids(dataset) == ["photos/1.jpg", "photos/3.jpg", "photos/4.jpg", "photos/5.jpg"]
    assert dataset.attributes == {
        "scale": {"photos/3.jpg": 0.25},
        "clutter": {"photos/1.jpg": 5, "photos/3.jpg": 9},
    }
    records = {r.id: r for shard in dataset.database for r in shard.records()}
    assert records["photos/1.jpg"].boxes == (Box(10, 10, 24, 32), Box(50, 10, 24, 16))
    notes = "\n".join(dataset.notes)
    assert "photos/6.jpg: is a photo without a role and is not read; give it a row in photos.csv" in notes
    assert "photos/7.jpg: is a photo without a role" in notes
    assert "1 photo shows several objects and no single object size" in notes


def test_one_photo_as_query_of_two_objects(flat: Path, save: Save) -> None:
    save(
        flat / "photos.csv",
        "file,object,role\nphotos/0.jpg,cup,query\nphotos/0.jpg,plate,query\n"
        "photos/1.jpg,cup,positive\nphotos/1.jpg,plate,positive\n",
    )
    dataset = open_dataset(flat)
    assert [(q.id, q.instance) for q in dataset.queries] == [
        ("photos/0.jpg#cup", "cup"),
        ("photos/0.jpg#plate", "plate"),
    ]
    assert {q.image.id for q in dataset.queries if q.image} == {"photos/0.jpg"}


def test_round_trip_of_a_flat_table(plain_dataset: Path, tmp_path: Path) -> None:
    """The same set, written as a table over unsorted folders, is the same data set."""
    sorted_set = open_dataset(plain_dataset)
    flat = tmp_path / "again"
    plain_dataset.rename(flat)
    (flat / "objects").rename(flat / "stuff")
    with (flat / "photos.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "object", *PHOTOS_COLUMNS))
        for path in sorted((flat / "stuff").glob("*/*/*.jpg")):
            table.writerow((path.relative_to(flat).as_posix(), path.parts[-3], path.parts[-2]))
        for path in sorted((flat / "distractors").glob("*.jpg")):
            table.writerow((path.relative_to(flat).as_posix(), "", "distractor"))
    again = open_dataset(flat)
    assert again.notes == ()

    def renamed(image_id: str) -> str:
        return image_id.replace("stuff/", "objects/", 1)

    assert [renamed(i) for i in ids(again)] == ids(sorted_set)
    assert [renamed(q.id) for q in again.queries] == [q.id for q in sorted_set.queries]
    for mine, other in ((again.positives, sorted_set.positives), (again.ignored, sorted_set.ignored)):
        assert {renamed(q): tuple(map(renamed, found)) for q, found in mine.items()} == other
    assert again.labels == sorted_set.labels


def test_table_wins_over_the_folder_of_a_photo(plain_dataset: Path, save: Save) -> None:
    save(
        plain_dataset / "photos.csv",
        HEADER
        + "objects/red mug/positive/IMG_0.jpg,red mug,,8,8,48,32,\n"
        + "objects/red mug/positive/IMG_1.jpg,red mug,ignored,,,,,\n"
        + "distractors/d0.jpg,blue mug,positive,,,,,\n",
    )
    dataset = open_dataset(plain_dataset)
    assert dataset.positives["objects.csv/red mug"] == ("objects/red mug/positive/IMG_0.jpg",)
    assert dataset.positives["objects/blue mug/query/front.jpg"][0] == "distractors/d0.jpg"
    assert "objects/red mug/positive/IMG_1.jpg" in dataset.ignored["objects.csv/red mug"]
    assert ids(dataset).count("distractors/d0.jpg") == 1
    assert dataset.attributes["scale"] == {"objects/red mug/positive/IMG_0.jpg": 0.25}


@pytest.mark.parametrize(
    ("delimiter", "number", "end"), [(";", "10,5", "\r\n"), (",", "10.5", "\r\n"), ("\t", "10.5", "\n")]
)
def test_tables_as_excel_writes_them(flat: Path, delimiter: str, number: str, end: str) -> None:
    rows = [
        ["File", " Object ", "ROLE", "x", "y", "width", "height"],
        ["photos\\0.jpg", "Tasse", "query", "", "", "", ""],
        ["photos\\1.jpg", "Tasse", "positive", number, "1", "20", "20"],
        ["", "", "", "", "", "", ""],
    ]
    text = end.join(delimiter.join(row) for row in rows) + end
    (flat / "photos.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    description = f'object{delimiter}description{end}Tasse{delimiter}"weiß; groß, ""schön"""{end}'
    (flat / "objects.csv").write_bytes(b"\xef\xbb\xbf" + description.encode())
    dataset = open_dataset(flat)
    assert [q.text for q in dataset.queries] == [None, 'weiß; groß, "schön"']
    assert next(dataset.database[0].records()).boxes == (Box(10.5, 1, 20, 20),)


def test_non_ascii_names_are_kept_as_on_disk(tmp_path: Path, photo: Photo, save: Save) -> None:
    decomposed = unicodedata.normalize("NFD", "Käse.jpg")
    root = tmp_path / "名前"
    save(root / "写真" / "お茶　一.jpg", photo(0))
    save(root / "写真" / decomposed, photo(1))
    save(root / "photos.csv", "file,object,role\n写真/お茶　一.jpg,お茶,query\n写真/Käse.jpg,お茶,positive\n")
    dataset = open_dataset(root)
    assert dataset.name == "名前"
    assert dataset.queries[0].id == "写真/お茶　一.jpg"
    assert ids(dataset) == [f"写真/{decomposed}"]
    assert next(dataset.database[0].records()).source.read() == photo(1)


def test_a_table_cannot_reach_out_of_the_folder(flat: Path, tmp_path: Path, photo: Photo, save: Save) -> None:
    secret = save(tmp_path / "private.jpg", photo(9))
    (flat / "photos" / "link.jpg").symlink_to(secret)
    paths = ("../private.jpg", str(secret), "photos/../../private.jpg", "C:\\private.jpg", "photos/link.jpg")
    save(flat / "photos.csv", "file,object,role\n" + "".join(f"{path},cup,positive\n" for path in paths))
    message = refusal(flat)
    for line, path in enumerate(paths, 2):
        assert (
            f"photos.csv:{line}: file {path!r} lies outside of the data set; copy the photo into" in message
        )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",cup,query", "names no file; fill in the column 'file'"),
        ("photos/\0.jpg,cup,query", "holds the control character U+0000"),
        (f"photos/{'x' * 300}.jpg,cup,query", "there is no file 'photos/xxx"),
        ("photos/1.jpg,,positive", "names no object; fill in the column 'object'"),
        ("photos/9.jpg,cup,positive", "there is no file 'photos/9.jpg'; check the name"),
        (
            "photos/1.JPG,cup,positive",
            "there is no file 'photos/1.JPG'; there is 'photos/1.jpg', which differs in upper and lower case",
        ),
        ("nowhere/1.jpg,cup,positive", "there is no file 'nowhere/1.jpg'"),
        ("photos.csv,cup,positive", "'photos.csv' is not an image file"),
        ("photos/1.jpg,cup,postive", "role 'postive' is unknown; use query, positive, ignored or distractor"),
        ("photos/1.jpg,cup,", "the role is missing; use query, positive"),
        ("photos/1.jpg,cup,distractor", "is a distractor and shows an object at the same time"),
        ("photos/1.jpg,cup,positive,1,2,3,", "'1 2 3 -' is not a box; fill in x, y, width and height"),
        ("photos/1.jpg,cup,positive,1,2,3,x", "'1 2 3 x' is not a box"),
        ("photos/1.jpg,cup,positive,1,2,0,4", "'1 2 0 4' is not a box"),
        ("photos/1.jpg,cup,positive,,,,,many", "clutter 'many' is not a number"),
        ("photos/1.jpg,cup,positive,,,,,1,2,3", 'has 10 values for 8 columns; put a text that contains ","'),
        (
            "photos/0.jpg,cup,positive",
            "'photos/0.jpg' is positive here and query in an earlier row; give it one",
        ),
        ("photos/0.jpg,plate,ignored", "is ignored here and query in an earlier row"),
        ("photos/2.jpg,cup,ignored", "is ignored here and positive in an earlier row"),
        ("photos/2.jpg,,distractor", "is a distractor and shows an object at the same time"),
        ("photos/3.jpg,cup,positive", "is positive here and distractor in an earlier row"),
    ],
)
def test_wrong_rows(flat: Path, save: Save, row: str, message: str) -> None:
    save(
        flat / "photos.csv",
        HEADER + f"photos/0.jpg,cup,query\nphotos/2.jpg,cup,positive\nphotos/3.jpg,,distractor\n{row}\n",
    )
    (line,) = (part for part in refusal(flat).splitlines() if "photos.csv:5: " in part)
    assert message in line


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("photos.csv", b"", "photos.csv:1: has no column 'file' (it has nothing)"),
        (
            "photos.csv",
            b"datei,objekt\n",
            "has no column 'file' (it has 'datei', 'objekt'); the first line must be",
        ),
        ("photos.csv", b"file,object,file\n", "has two columns named 'file'"),
        ("photos.csv", b'file,object\n"a.jpg,b\n', "is not valid CSV"),
        ("objects.csv", b"object,description\n,text\n", "objects.csv:2: names no object"),
        ("objects.csv", b"object\na\nb\na\n", "objects.csv:4: object 'a' has a row already (objects.csv:2)"),
        ("objects.csv", b"object,description\na,x,y\n", "objects.csv:2: has 3 values for 2 columns"),
    ],
)
def test_wrong_tables(flat: Path, table: str, content: bytes, message: str) -> None:
    (flat / table).write_bytes(content)
    assert message in refusal(flat)


def test_columns_without_a_meaning_are_noted(flat: Path, save: Save) -> None:
    save(
        flat / "photos.csv",
        "file,object,role,heigth,remark\nphotos/0.jpg,a,query,,\nphotos/1.jpg,a,positive,,\n",
    )
    notes = "\n".join(open_dataset(flat).notes)
    assert "photos.csv:1: column 'heigth' has no meaning here; did you mean 'height'?" in notes
    assert "column 'remark' has no meaning here; known columns: file, object, role" in notes


def test_line_separators_of_unicode_are_text(flat: Path, save: Save) -> None:
    save(flat / "photos.csv", "file,object,role\nphotos/0.jpg,a,query\nphotos/1.jpg,a,positive\n")
    save(flat / "objects.csv", "object,description\na,one\u2028two\x85three\n")
    assert open_dataset(flat).queries[1].text == "one\u2028two\x85three"


def test_lines_are_counted_through_values_with_line_breaks(flat: Path, save: Save) -> None:
    save(flat / "objects.csv", 'object,description\na,"two\nlines"\n\n,x\n')
    assert "objects.csv:5: names no object" in refusal(flat)


def test_objects_without_photos(plain_dataset: Path, save: Save) -> None:
    save(plain_dataset / "objects.csv", "object,description\nRed mug,the same\n")
    (plain_dataset / "objects" / "empty" / "query").mkdir(parents=True)
    message = refusal(plain_dataset)
    assert "objects/empty: object 'empty' has no query" in message
    assert "objects/empty: object 'empty' has no positive" in message
    assert "objects/Red mug: object 'Red mug' has no positive" in message


def test_stray_files(plain_dataset: Path, photo: Photo, save: Save) -> None:
    save(plain_dataset / "objects" / "red mug" / "loose.jpg", photo(70))
    save(plain_dataset / "objects" / "red mug" / "query" / "notes.txt", "x")
    save(plain_dataset / "README.md", "fine")
    notes = "\n".join(open_dataset(plain_dataset).notes)
    assert "objects/red mug/loose.jpg: is not expected outside of <object>/query|positive|ignored" in notes
    assert "objects/red mug/query/notes.txt: is not expected beside the photos" in notes
    assert notes.count("\n") == 1


def test_new_dataset(tmp_path: Path, photo: Photo, save: Save) -> None:
    folder = tmp_path / "my photos"
    made = new_dataset(folder)
    assert {p.relative_to(folder).as_posix() for p in made} == {
        "README.md",
        "objects.csv",
        "photos.csv",
        "objects/rename me/query",
        "objects/rename me/positive",
        "distractors",
    }
    assert all(path.exists() for path in made)
    assert f'ilion datasets check "{folder}"' in (folder / "README.md").read_text(encoding="utf-8")
    message = refusal(folder)
    assert "object 'rename me' has no query" in message
    (folder / "objects" / "rename me").rename(folder / "objects" / "cup")
    save(folder / "objects" / "cup" / "query" / "a.jpg", photo(1))
    save(folder / "objects" / "cup" / "positive" / "b.jpg", photo(2))
    save(folder / "distractors" / "c.jpg", photo(3))
    dataset = open_dataset(folder)
    assert dataset.notes == ()
    assert len(dataset.queries) == 1
    assert len(ids(dataset)) == 2


def test_a_new_dataset_explains_itself_in_japanese(tmp_path: Path) -> None:
    said = {}
    for language in ("en", "ja"):
        new_dataset(tmp_path / language, language)
        said[language] = (tmp_path / language / "README.md").read_text(encoding="utf-8")
    assert said["ja"].startswith("# お手元の写真のデータセット")
    assert unwanted(said["ja"], "ja") == []
    # the same folders, files, columns and roles are named
    named = [set(re.findall(r"`([a-z_./]+)`", text)) for text in said.values()]
    assert named[0] == named[1]
    with pytest.raises(ConfigError, match="no README in the language 'xx'; choose one of en, ja"):
        new_dataset(tmp_path / "xx", "xx")


def test_new_dataset_overwrites_nothing(tmp_path: Path, save: Save) -> None:
    file = save(tmp_path / "set" / "a.txt", "mine")
    for place in (file.parent, file):
        with pytest.raises(DatasetError, match="is not empty; name a new folder"):
            new_dataset(place)
    with pytest.raises(DatasetError, match="cannot be written"):
        new_dataset(file / "below")
    assert file.read_text() == "mine"
    (tmp_path / "there").mkdir()
    made = new_dataset(tmp_path / "there")
    (tmp_path / "there" / "photos.csv").unlink()  # a kill or a full disk: the same again finishes it
    assert new_dataset(tmp_path / "there") == made
    assert all(path.exists() for path in made)
    with (tmp_path / "there" / "objects.csv").open("a") as table:
        table.write("cup,a cup,\n")
    with pytest.raises(DatasetError, match="is not empty; name a new folder"):
        new_dataset(tmp_path / "there")
