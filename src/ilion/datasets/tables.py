"""Tables of a data set as people write them: with or without Excel, in any language's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ilion.datasets.listing import Listing, note_code_page
from ilion.datasets.names import bad_characters
from ilion.opening.tables import WORKBOOKS, TableError, column_name, read_cells
from ilion.wording import counted

COLUMNS = {
    column_name(written): name
    for name, others in {
        "file": ("ファイル", "ファイル名", "画像", "画像ファイル", "写真", "filename", "image", "path"),
        "object": ("物体", "対象", "対象物", "オブジェクト", "物体名", "商品", "商品名", "品名", "instance"),
        "role": ("役割", "区分", "種別"),
        "x": ("左", "左端"),
        "y": ("上", "上端"),
        "width": ("幅", "横幅"),
        "height": ("高さ", "縦幅"),
        "clutter": ("個数", "物の数"),
        "description": ("説明", "説明文", "記述"),
        "category": ("カテゴリ", "カテゴリー", "分類"),
        "date": ("日付", "撮影日", "撮影日時", "taken"),
        "introduced": ("発売日", "導入日", "登場日", "launched"),
    }.items()
    for written in others
}
"""Other names of columns, above all Japanese ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Args:
        place: File and line, for messages.
        values: Column (lower case) -> value without surrounding space.
        comma: Decimal sign: "," where the columns are separated by semicolons, as Excel does in Europe.
    """

    place: str
    values: Mapping[str, str]
    comma: str

    def number(self, column: str) -> float:
        """Return a value as a number.

        Raises:
            ValueError: The value is not a number.
        """
        text = self.values.get(column, "")
        return float(text.replace(",", ".") if self.comma == "," else text)


def find_table(listing: Listing, name: str) -> Path | None:
    """Return the table of a name such as ``photos.csv``, a text or a workbook; both at once are an error."""
    stem = name.rpartition(".")[0]
    there = [p for n in (name, *(stem + ending for ending in WORKBOOKS)) if (p := listing.root / n).is_file()]
    if len(there) > 1:
        seen = f"there is also {there[1].name}, and only one of the two can be right"
        listing.error("bad-table", there[0], seen, "remove one")
    return there[0] if there else None


def read_table(
    listing: Listing, file: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> Iterator[Row]:
    """Yield the rows of a table; what cannot be read is noted and passed over.

    Args:
        listing: Listing that takes the problems.
        file: Table or workbook as `ilion.opening.tables` reads them; the first row names the columns.
        required: Columns that must be there.
        known: Further columns that have a meaning; empty if any column has one.
    """
    shown = file.relative_to(listing.root).as_posix()
    try:
        table = read_cells(file, listing.encoding)
        if table.guessed:
            note_code_page(listing, file, table.encoding)
        if table.sheet:
            remedy = "keep one sheet, or move the right one to the front"
            listing.warn(
                "several-sheets", file, f"has several sheets, of which {table.sheet!r} is read", remedy
            )
        number, cells = next(table.rows, (1, []))
        columns = [COLUMNS.get(name, name) for name in map(column_name, cells)]
        if not _columns_fit(listing, f"{shown}:{number}", columns, required, known):
            return
        for number, cells in table.rows:
            place = f"{shown}:{number}"
            if len(cells) > len(columns):
                remedy = f'put a text that contains "{table.delimiter}" in double quotes'
                listing.error(
                    "bad-row",
                    place,
                    f"has {counted(len(cells), 'value')} for {counted(len(columns), 'column')}",
                    remedy,
                )
                continue
            bad = next((bad for cell in cells if (bad := _not_text(cell))), "")
            if bad:
                listing.error("bad-row", place, f"holds {bad}", "write the text anew")
                continue
            values = dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))
            yield Row(place, values, "," if table.delimiter == ";" else ".")
    except TableError as error:
        listing.error("bad-table", f"{shown}:{error.line}" if error.line else file, error.seen, error.remedy)
    except OSError as error:
        listing.error("bad-table", file, f"cannot be read ({error})", "check the file and its permissions")


def _not_text(cell: str) -> str:
    """Return what is no text in a cell; a description may have line breaks and tabs."""
    return "" if cell.isprintable() else bad_characters(" ".join(cell.split()))


def _columns_fit(
    listing: Listing, place: str, columns: list[str], required: tuple[str, ...], known: tuple[str, ...]
) -> bool:
    for name in required:
        if name not in columns:
            seen = ", ".join(repr(column) for column in columns) or "nothing"
            remedy = f"the first line must be: {','.join(required + known)}"
            listing.error("bad-table", place, f"has no column {name!r} (it has {seen})", remedy)
            return False
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        listing.error("bad-table", place, f"has two columns named {twice!r}", "rename or remove one")
        return False
    for name in filter(None, columns):
        if known and name not in required + known:
            close = get_close_matches(name, known, n=1)
            remedy = (
                f"did you mean {close[0]!r}?" if close else f"known columns: {', '.join(required + known)}"
            )
            listing.warn("unknown-column", place, f"column {name!r} has no meaning here", remedy)
    return True
