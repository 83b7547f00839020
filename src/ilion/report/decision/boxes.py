"""A page in which boxes are drawn around objects; they leave it as the table ``photos.csv`` of a data set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from ilion.datasets.layouts.folder import (
    BOX_COLUMNS,
    OBJECTS_FOLDER,
    PHOTOS_COLUMNS,
    PHOTOS_TABLE,
    ROLE_NAMES,
)
from ilion.datasets.listing import is_image_name
from ilion.datasets.tables import COLUMNS
from ilion.errors import DatasetError
from ilion.opening import full_path
from ilion.opening.tables import WORKBOOKS, TableError, column_name, read_cells
from ilion.report.decision.names import load, write_page

Row = dict[str, str]


def write_boxes(photos: Path, path: Path, *, language: str = "en", name: str = "") -> Path:
    """Write a page that shows every photo of an object and lets a person draw a box on it.

    The page works without a network and without Ilion. It reads the photos where they lie, and hands back the
    whole table: with the new boxes, and with every other row as it was.

    Args:
        photos: Data set in the plain form.
        path: The file, in a folder from which the photos can be reached.
        language: Language of the page.
        name: Name that the page shows; "" means that of the photos' folder.

    Raises:
        ConfigError: There is no such language.
        DatasetError: The table of photos cannot be read, or is a workbook.
        ArtifactError: The file cannot be written.
    """
    words = load(language)
    columns, rows = _read(photos)
    shown, kept = _sort(photos, rows)
    base = Path(os.path.relpath(full_path(photos), full_path(path).parent)).as_posix()
    said = ("left", "gone", "done", "share", "frame")
    data = {
        "columns": columns,
        "rows": shown,
        "kept": kept,
        "base": quote(base),
        "name": name or photos.name,
        "say": {key: words.entries[f"drawing.{key}"] for key in said},
    }
    # a closing tag inside a name must not end the element
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return write_page(
        path,
        "boxes.html.j2",
        words,
        "boxes.js",
        data=Markup(text),
        name=data["name"],
        shown=len(shown),
        kept=len(kept),
    )


def _read(photos: Path) -> tuple[list[str], list[Row]]:
    """Return the columns and rows of the table of photos, under the names that a data set knows."""
    known = ["file", "object", *PHOTOS_COLUMNS]
    stem = PHOTOS_TABLE.rpartition(".")[0]
    book = next((photos / (stem + e) for e in WORKBOOKS if (photos / (stem + e)).is_file()), None)
    if book is not None:
        raise DatasetError(
            f"{book}: is a workbook; save it as {PHOTOS_TABLE}, so that boxes can be put into it"
        )
    file = photos / PHOTOS_TABLE
    if not file.is_file():
        return known, []
    try:
        table = read_cells(file)
        cells = [row for _, row in table.rows]
    except (TableError, OSError) as error:
        raise DatasetError(
            f"{file}: cannot be read as a table ({error}); check it with 'ilion datasets check'"
        ) from error
    header = [COLUMNS.get(name, name) for name in map(column_name, cells[0])] if cells else []
    rows = [{c: v for c, v in zip(header, row, strict=False) if c} for row in cells[1:] if any(row)]
    if table.delimiter == ";":  # numbers have a decimal comma there, and the new table separates by commas
        numbers = (*BOX_COLUMNS, "clutter")
        rows = [{c: v.replace(",", ".") if c in numbers else v for c, v in row.items()} for row in rows]
    return [*known, *(c for c in header if c and c not in known)], rows


def _sort(photos: Path, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows that get a box on the page, photos without a row among them, and all others."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        file = row.get("file", "").replace("\\", "/")
        found.setdefault((file, row.get("object", "")), []).append(row | {"file": file})
    listed = {file for file, _ in found}
    shown: list[Row] = []
    kept: list[Row] = []
    for (file, _), same in found.items():
        role = column_name(same[0].get("role", ""))
        role = ROLE_NAMES.get(role, role) or (file.split("/")[2:3] or [""])[0]
        (shown if len(same) == 1 and role == "positive" else kept).extend(same)
    for file, name in _positives(photos):
        if file not in listed:
            shown.append({"file": file, "object": name, "role": "positive"})
    return sorted(shown, key=lambda row: (any(row.get(c) for c in BOX_COLUMNS), row["file"])), kept


def _positives(photos: Path) -> Iterator[tuple[str, str]]:
    """Yield the photos in folders of positives, and their objects."""
    home = photos / OBJECTS_FOLDER
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        positive = folder / "positive"
        for file in sorted(positive.iterdir()) if positive.is_dir() else ():
            if is_image_name(file.name) and not file.name.startswith("."):
                yield file.relative_to(photos).as_posix(), folder.name
