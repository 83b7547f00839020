"""CSV tables as people write them: with or without Excel, with comma, semicolon or tab."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ilion.datasets.listing import Listing, read_plain


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
            ValueError: It is not one.
        """
        text = self.values.get(column, "")
        return float(text.replace(",", ".") if self.comma == "," else text)


def read_table(
    listing: Listing, file: Path, required: tuple[str, ...], known: tuple[str, ...]
) -> Iterator[Row]:
    """Yield the rows of a table; what cannot be read is noted and passed over.

    Args:
        listing: Listing that takes the problems.
        file: Table in UTF-8, with or without the mark that Excel writes; the first line names the columns.
        required: Columns that must be there.
        known: Further columns that have a meaning; empty if any column has one.
    """
    try:
        text = read_plain(listing, file)
    except (OSError, UnicodeError) as error:
        remedy = "save it as 'CSV UTF-8' (Excel: Save as, CSV UTF-8)"
        listing.error("bad-table", file, f"cannot be read as text ({error})", remedy)
        return
    header = io.StringIO(text, newline="").readline()
    delimiter = max((",", ";", "\t"), key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    shown = file.relative_to(listing.root).as_posix()
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if not _columns_fit(listing, shown, columns, required, known):
            return
        start = reader.line_num + 1
        for cells in reader:
            place, start = f"{shown}:{start}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                remedy = f'put a text that contains "{delimiter}" in double quotes'
                listing.error("bad-row", place, f"has {len(cells)} values for {len(columns)} columns", remedy)
                continue
            values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
            yield Row(place, values, "," if delimiter == ";" else ".")
    except csv.Error as error:
        place = f"{shown}:{reader.line_num}"
        listing.error("bad-table", place, f"is not valid CSV ({error})", "check the quotes in this line")


def _columns_fit(
    listing: Listing, shown: str, columns: list[str], required: tuple[str, ...], known: tuple[str, ...]
) -> bool:
    place = f"{shown}:1"
    for name in required:
        if name not in columns:
            seen = ", ".join(repr(column) for column in columns) or "nothing"
            remedy = f"the first line must be: {','.join(required + known)}"
            listing.error("bad-table", place, f"has no column {name!r} (it has {seen})", remedy)
            return False
    if len(set(columns)) != len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        listing.error("bad-table", place, f"has two columns named {twice!r}", "rename or remove one")
        return False
    for name in columns:
        if known and name not in required + known:
            close = get_close_matches(name, known, n=1)
            remedy = (
                f"did you mean {close[0]!r}?" if close else f"known columns: {', '.join(required + known)}"
            )
            listing.warn("unknown-column", place, f"column {name!r} has no meaning here", remedy)
    return True
