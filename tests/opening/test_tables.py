"""Tables as Excel and other programs write them, in every place that reads one."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ilion.adapt import load_labels
from ilion.datasets import check_dataset, open_dataset
from ilion.errors import ConfigError, DatasetError
from ilion.opening.tables import TableError, read_cells

Save = Callable[[Path, bytes | str], Path]
Photo = Callable[..., bytes]

ROWS = [
    ["file", "object", "role"],
    ["photos/0.jpg", "赤いマグ", "query"],
    ["photos/1.jpg", "赤いマグ", "positive"],
]


def text(rows: list[list[str]], delimiter: str = ",", end: str = "\r\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


def workbook(rows: list[list[str | float]], *more: list[list[str | float]]) -> bytes:
    """The least that Excel opens: inline texts, one sheet for each list of rows."""
    out = io.BytesIO()
    sheets = [rows, *more]
    with zipfile.ZipFile(out, "w") as book:
        names = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in range(1, len(sheets) + 1))
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets></workbook>',
        )
        places = "".join(
            f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/s{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        kind = "http://schemas.openxmlformats.org/package/2006"
        start = f'<Relationship Id="r" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
        book.writestr("_rels/.rels", f'<Relationships xmlns="{kind}/relationships">{start}</Relationships>')
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{kind}/relationships">{places}</Relationships>',
        )
        for n, sheet in enumerate(sheets, 1):
            body = ""
            for r, row in enumerate(sheet, 1):
                cells = "".join(
                    f'<c r="{chr(65 + c)}{r}"><v>{cell}</v></c>'
                    if isinstance(cell, (int, float))
                    else f'<c r="{chr(65 + c)}{r}" t="inlineStr"><is><t>{cell}</t></is></c>'
                    for c, cell in enumerate(row)
                )
                body += f'<row r="{r}">{cells}</row>'
            book.writestr(
                f"xl/worksheets/s{n}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
            )
    return out.getvalue()


FORMS: dict[str, bytes] = {
    "plain": text(ROWS).encode(),
    "excel utf-8": text(ROWS).encode("utf-8-sig"),
    "cp932": text(ROWS).encode("cp932"),
    "euc-jp": text(ROWS, ";").encode("euc_jp"),
    "utf-16 with tabs": text(ROWS, "\t").encode("utf-16"),
    "semicolons": text(ROWS, ";").encode(),
    "sep=;": ("sep=;\r\n" + text(ROWS, ";")).encode(),
    "sep=, with mark": ("SEP=,\r\n" + text(ROWS)).encode("utf-8-sig"),
    "sep=| ": ("sep=|\n" + text(ROWS, "|", "\n")).encode(),
    "quoted sep": ('"sep=;"\r\n' + text(ROWS, ";")).encode(),
    "blank first lines": ("\r\n,,,\r\n  \r\n" + text(ROWS)).encode(),
    "empty columns": text([[*row, "", "", ""] for row in ROWS]).encode(),
    "empty columns of rows": text([ROWS[0], *([*row, "", ""] for row in ROWS[1:])]).encode(),
    "blank rows": (text(ROWS) + ",,\r\n\r\n,,,,,\r\n").encode(),
    "old Mac line ends": text(ROWS, end="\r").encode(),
    "backslashes": text([[cell.replace("/", "\\") for cell in row] for row in ROWS]).encode(),
    "Japanese columns": text([["ファイル名", "商品名", "役割"], *ROWS[1:]]).encode(),
    "Japanese columns and roles, cp932": text(
        [["画像", "対象物", "区分"], [*ROWS[1][:2], "クエリ"], [*ROWS[2][:2], "正例"]]
    ).encode("cp932"),
    "half-width column": text([["ﾌｧｲﾙ", "ＯＢＪＥＣＴ", "Role"], *ROWS[1:]]).encode(),
}


@pytest.fixture
def root(tmp_path: Path, photo: Photo, save: Save) -> Path:
    for i in range(2):
        save(tmp_path / "set" / "photos" / f"{i}.jpg", photo(i))
    return tmp_path / "set"


@pytest.mark.parametrize("form", FORMS)
def test_photos_in_every_form(root: Path, save: Save, form: str) -> None:
    save(root / "photos.csv", FORMS[form])
    dataset = open_dataset(root)
    assert [(q.id, q.instance) for q in dataset.queries] == [("photos/0.jpg", "赤いマグ")]
    assert dataset.positives["photos/0.jpg"] == ("photos/1.jpg",)


@pytest.mark.parametrize("form", FORMS)
def test_objects_in_every_form(root: Path, save: Save, form: str) -> None:
    save(root / "photos.csv", FORMS["plain"])
    data = FORMS[form]
    if "Japanese" in form or "half-width" in form:
        rows = [["物体", "説明", "カテゴリ"], ["赤いマグ", "とても赤いマグ", "台所"]]
    else:
        rows = [["object", "description", "category"], ["赤いマグ", "とても赤いマグ", "台所"]]
    old = data.decode("utf-8-sig") if form in ("plain", "excel utf-8") else ""
    content = text(rows).encode("cp932" if "cp932" in form else "utf-8-sig" if old else "utf-8")
    save(root / "objects.csv", content)
    dataset = open_dataset(root)
    assert [q.text for q in dataset.queries if q.text] == ["とても赤いマグ"]
    assert dataset.labels == {"category": {"赤いマグ": "台所"}}


def test_labels_read_the_forms_themselves(tmp_path: Path, save: Save) -> None:
    for form in ("cp932", "sep=;", "backslashes", "blank first lines", "empty columns", "utf-16 with tabs"):
        data = FORMS[form]
        table = read_cells(save(tmp_path / "labels.csv", data))
        rows = [cells for _, cells in table.rows]
        encoding = table.encoding
        plain = data.decode(encoding).replace(rows[0][0], "path").replace(rows[0][1], "class")
        labels = load_labels(save(tmp_path / "labels.csv", plain.replace("role", "domain").encode(encoding)))
        assert labels.paths == ("photos/0.jpg", "photos/1.jpg"), form


def test_a_guess_is_said_and_correctable(root: Path, save: Save) -> None:
    save(
        root / "photos.csv",
        text([ROWS[0], ["photos/0.jpg", "ｱｲｳ", "query"], ["photos/1.jpg", "ｱｲｳ", "positive"]]).encode(
            "cp932"
        ),
    )
    (note,) = open_dataset(root, encoding="").notes
    assert "photos.csv: is not UTF-8 and was read as" in note
    assert "dataset.encoding" in note
    dataset = open_dataset(root, encoding="cp932")
    assert dataset.notes == ()
    assert dataset.queries[0].instance == "ｱｲｳ"
    assert check_dataset(root, encoding="cp932").totals["warning"].get("code-page", 0) == 0
    assert check_dataset(root).totals["warning"]["code-page"] == 1
    with pytest.raises(ConfigError, match="no encoding is named 'sjjs'"):
        open_dataset(root, encoding="sjjs")


def test_unnamed_columns_in_the_middle_are_left_out(root: Path, save: Save) -> None:
    rows = [[row[0], "", row[1], "", row[2]] for row in ROWS]
    save(root / "photos.csv", text(rows))
    assert open_dataset(root).queries[0].instance == "赤いマグ"


@pytest.mark.parametrize("ending", [".xlsx", ".xlsm"])
def test_workbooks(root: Path, save: Save, ending: str) -> None:
    pytest.importorskip("python_calamine")
    rows: list[list[str | float]] = [["ファイル", "商品名", "役割", "x", "y", "width", "height"]]
    rows += [
        ["photos\\0.jpg", "赤いマグ", "query", 1, 2.5, 30, 40],
        ["photos\\1.jpg", "赤いマグ", "positive"],
    ]
    save(root / f"photos{ending}", workbook([[]], rows))
    dataset = open_dataset(root)
    assert dataset.notes == ()
    (query,) = dataset.queries
    assert query.image is not None
    assert (query.image.boxes[0].x, query.image.boxes[0].y) == (1, 2.5)
    labels: list[list[str | float]] = [["path", "class"], ["a.jpg", 7], ["b.jpg", 8]]
    assert load_labels(save(root.parent / f"labels{ending}", workbook(labels))).class_names == ("7", "8")


def test_a_second_sheet_is_said(root: Path, save: Save) -> None:
    pytest.importorskip("python_calamine")
    rows: list[list[str | float]] = [[*row] for row in ROWS]
    save(root / "photos.xlsx", workbook(rows, [["other"]]))
    (note,) = open_dataset(root).notes
    assert "has several sheets, of which 'S1' is read" in note


def test_a_workbook_without_the_extra_has_its_install_line(
    root: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(root / "photos.xlsx", workbook([["file"]]))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(Exception, match=r"photos.xlsx: a workbook needs the 'excel' extra.*ilion\[excel\]"):
        open_dataset(root)


def test_wrong_workbooks(root: Path, save: Save) -> None:
    pytest.importorskip("python_calamine")
    rows: list[list[str | float]] = [[*row] for row in ROWS]
    for data in (b"", b"PK\x03\x04 no zip", workbook(rows)[:300], b"\xd0\xcf\x11\xe0" + bytes(600), b"a,b\n"):
        with pytest.raises(DatasetError, match="is no workbook that can be read"):
            list(read_cells(save(root / "photos.xlsx", data)).rows)
    with pytest.raises(DatasetError, match=r"photos.xlsx: is no workbook"):
        open_dataset(root)


def test_a_workbook_that_unpacks_to_very_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("python_calamine")
    monkeypatch.setattr("ilion.opening.tables.MOST_WORKBOOK", 1 << 20)
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book, book.open("xl/workbook.xml", "w") as part:
        for _ in range(3):
            part.write(bytes(1 << 20))
    with pytest.raises(TableError, match="unpacks to 3,145,728 bytes"):
        read_cells(path)


def test_a_workbook_named_csv_says_so(root: Path, save: Save) -> None:
    save(root / "photos.csv", workbook([["file"]]))
    with pytest.raises(DatasetError, match=r"is a workbook named as a text; rename it to .xlsx"):
        open_dataset(root)


def test_a_table_and_a_workbook_at_once_are_refused(root: Path, save: Save) -> None:
    save(root / "photos.csv", FORMS["plain"])
    save(root / "photos.xlsx", workbook([["file"]]))
    with pytest.raises(DatasetError, match=r"there is also photos.xlsx"):
        open_dataset(root)


def test_lines_are_counted_after_blank_ones_and_sep(root: Path, save: Save) -> None:
    save(root / "photos.csv", "sep=;\n\n" + text(ROWS, ";", "\n") + "photos/9.jpg;x;query\n")
    with pytest.raises(DatasetError, match=r"photos.csv:6: there is no file 'photos/9.jpg'"):
        open_dataset(root)


@pytest.mark.parametrize(
    "content", [b"\0" * 200_000, b"x" * 200_000, b'"' + b"a,b;c\n" * 60_000], ids=["zeros", "long", "quoted"]
)
def test_a_first_line_that_no_table_has_is_told_with_its_place(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match="is not valid CSV"):
        list(read_cells(path).rows)
