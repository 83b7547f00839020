"""Tables as spreadsheets write them: any code page, comma, semicolon or tab, ``sep=`` lines; workbooks."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any

from ilion.errors import DatasetError, MissingExtraError
from ilion.opening.regular import check_regular, read_bytes
from ilion.opening.text import read_text

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
"""Endings of workbooks, of which the first sheet that is not empty is read."""

MOST_WORKBOOK = 1 << 28
"""Most bytes of a workbook after decompression."""

_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*', re.IGNORECASE)
_DELIMITERS = (",", ";", "\t")


class TableError(DatasetError):
    """A table that cannot be read.

    Args:
        line: Number of the line; 0 for the whole table.
        seen: Fault of the table.
        remedy: Advice on what to do.
    """

    def __init__(self, line: int, seen: str, remedy: str) -> None:
        super().__init__(f"{seen}; {remedy}")
        self.line, self.seen, self.remedy = line, seen, remedy


@dataclass(frozen=True)
class Table:
    """Cells of a table, without what spreadsheets add.

    Args:
        rows: Number of the line (from 1) and cells without surrounding space, for every row that is not
            blank; empty cells at the end are left out.
        delimiter: Character between cells, "" for a workbook.
        encoding: Encoding of a text, "" for a workbook.
        guessed: Whether the encoding is a guess.
        sheet: Name of the sheet of a workbook, where it has several that are not empty.
    """

    rows: Iterator[tuple[int, list[str]]]
    delimiter: str = ""
    encoding: str = ""
    guessed: bool = False
    sheet: str = ""


def read_cells(path: Path, encoding: str = "") -> Table:
    """Open a table of text, or a workbook by its ending.

    Args:
        path: The file.
        encoding: Name of the encoding of a text; "" finds it.

    Raises:
        TableError: The file is no table; iterating over the rows raises it for a line that is none.
        MissingExtraError: The file is a workbook, and the extra ``excel`` is not installed.
        ConfigError: No encoding has that name.
        OSError: The file cannot be read.
    """
    if path.suffix.lower() in WORKBOOKS:
        return _workbook(path)
    try:
        found = read_text(path, encoding)
    except UnicodeError as error:
        remedy = "save it as 'CSV UTF-8' (Excel: Save as, CSV UTF-8)"
        if read_bytes(path)[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
            raise TableError(0, "is a workbook named as a text", "rename it to .xlsx, or " + remedy) from None
        raise TableError(0, f"cannot be read as text ({error})", remedy) from error
    if found.text.startswith("PK\x03\x04"):
        raise TableError(0, "is a workbook named as a text", "rename it to .xlsx")
    lines = io.StringIO(found.text, newline="")
    skipped, delimiter = 0, ""
    start = lines.tell()
    while line := lines.readline():
        if (stated := _SEPARATOR.fullmatch(line.strip("\r\n "))) and not delimiter:
            delimiter = stated[1]
        elif line.strip(' \t\r\n,;"'):
            break
        skipped, start = skipped + 1, lines.tell()
    delimiter = delimiter or max(_DELIMITERS, key=lambda sign: _count_cells(line, sign))
    lines.seek(start)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    return Table(_rows(reader, skipped), delimiter, found.encoding, found.guessed)


def _count_cells(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:  # it is said with its line when the rows are read
        return 0


def _rows(reader: Any, skipped: int) -> Iterator[tuple[int, list[str]]]:
    start = skipped + 1
    try:
        for cells in reader:
            kept = _trimmed(cells)
            if kept:
                yield start, kept
            start = skipped + reader.line_num + 1
    except csv.Error as error:
        line = skipped + reader.line_num
        raise TableError(line, f"is not valid CSV ({error})", "check the quotes in this line") from error


def _trimmed(cells: list[str]) -> list[str]:
    kept = [cell.strip() for cell in cells]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _workbook(path: Path) -> Table:
    check_regular(path)
    try:
        import python_calamine as calamine
    except ImportError as error:
        raise MissingExtraError(f"{path}: a workbook", "excel") from error
    remedy = "save it anew, or as 'CSV UTF-8'"
    data = read_bytes(path, MOST_WORKBOOK)
    try:
        if data.startswith(b"PK"):
            size = sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(data)).infolist())
            if size > MOST_WORKBOOK:
                raise TableError(0, f"unpacks to {size:,} bytes, more than {MOST_WORKBOOK:,}", remedy)
        book = calamine.load_workbook(io.BytesIO(data))
        sheets = {
            name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names
        }
    except (calamine.CalamineError, zipfile.BadZipFile, ValueError, OSError) as error:
        raise TableError(0, f"is no workbook that can be read ({error})", remedy) from error
    filled = [
        name for name, rows in sheets.items() if any(_trimmed([_shown(c) for c in row]) for row in rows)
    ]
    first = sheets[filled[0]] if filled else []
    numbered = ((n, _trimmed([_shown(c) for c in row])) for n, row in enumerate(first, 1))
    return Table(((n, row) for n, row in numbered if row), sheet=filled[0] if len(filled) > 1 else "")


def _shown(cell: object) -> str:
    """Return a cell as a person sees it: whole numbers without a fraction, dates without a time of 0:00."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        return str(cell.date())
    return str(cell)


def column_name(written: str) -> str:
    """Return the name of a column as names are compared: full-width letters and capitals do not matter.

    >>> column_name(" Ｆile ")
    'file'
    """
    return unicodedata.normalize("NFKC", written).strip().casefold()
