"""The page of boxes: every photo of an object, the table as it was, and what a browser hands back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import draw_photo

from ilion.datasets import new_dataset, open_dataset
from ilion.errors import DatasetError
from ilion.report.decision import write_boxes

CHROMIUM = shutil.which("chromium") or ""
TABLE = (
    "ファイル,物体,役割,x,y,幅,高さ,個数\n"
    "objects/バルブA/query/q.png,バルブA,query,,,,,\n"
    "objects/バルブA/positive/1.png,バルブA,positive,10,20,30,40,7\n"
    "objects/バルブA/positive/2.png,バルブA,positive,1,2,3,4,\n"
    "objects/バルブA/positive/2.png,バルブA,positive,5,6,7,8,\n"
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    home = tmp_path / "photos"
    new_dataset(home)
    shutil.rmtree(home / "objects" / "rename me")
    for role, names in (("query", ["q"]), ("positive", ["1", "2", "3 #%"])):
        folder = home / "objects" / "バルブA" / role
        folder.mkdir(parents=True)
        for number, name in enumerate(names):
            (folder / f"{name}.png").write_bytes(draw_photo(number, (64, 48), "PNG"))
    (home / "photos.csv").write_text("file,object,role,x,y,width,height,clutter,date\n", "utf-8")
    return home


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(
        r'(?s)<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8")
    )
    assert found
    data = json.loads(found[1])
    assert isinstance(data, dict)
    return data


def test_photos_without_a_row_come_first_and_other_rows_are_kept(photos: Path, tmp_path: Path) -> None:
    (photos / "photos.csv").write_text(TABLE, "utf-8")
    data = data_of(write_boxes(photos, tmp_path / "boxes.html", language="ja", name="<b>"))
    assert [row["file"].rpartition("/")[2] for row in data["rows"]] == ["3 #%.png", "1.png"]
    assert data["rows"][1] | {"x": "10", "height": "40", "clutter": "7"} == data["rows"][1]
    assert len(data["kept"]) == 3  # the query, and an object with two boxes
    assert data["base"] == "photos"
    assert data["name"] == "<b>"


def test_a_decimal_comma_does_not_split_the_new_table(photos: Path, tmp_path: Path) -> None:
    line = "objects/バルブA/positive/1.png;バルブA;positive;10,5;20;30;40;7"
    (photos / "photos.csv").write_text(f"file;object;role;x;y;width;height;clutter\n{line}\n", "utf-8")
    row = next(r for r in data_of(write_boxes(photos, tmp_path / "b.html"))["rows"] if r.get("x"))
    assert row["x"] == "10.5"


def test_a_workbook_is_refused(photos: Path, tmp_path: Path) -> None:
    (photos / "photos.csv").rename(photos / "photos.xlsx")
    with pytest.raises(DatasetError, match=r"photos.xlsx: is a workbook; save it as photos.csv"):
        write_boxes(photos, tmp_path / "boxes.html")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's package chromium")
def test_a_box_that_is_drawn_is_read_by_a_data_set(photos: Path, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    page_file = write_boxes(photos, tmp_path / "boxes.html")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_function("document.getElementById('photo').naturalWidth == 64")
        place = page.locator("#photo").bounding_box()
        x, y, width, height = (place[key] for key in ("x", "y", "width", "height"))
        page.mouse.move(x + width / 4, y + height / 4)
        page.mouse.down()
        page.mouse.move(x + width / 2, y + height * 3 / 4, steps=3)
        page.mouse.up()
        assert page.inner_text("#left") == "2 of 3 photos have no box yet"
        page.fill("#clutter", "9")
        page.locator("#clutter").blur()
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(photos / "photos.csv")
        browser.close()
    assert wrong == []
    dataset = open_dataset(photos)
    assert [round(share, 3) for share in dataset.attributes["scale"].values()] == [0.125]
    assert "positive,16,12,16,24,9," in (photos / "photos.csv").read_text("utf-8-sig")
