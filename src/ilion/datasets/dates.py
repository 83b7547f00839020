"""Days of photos and objects in a data set: ``dates.csv`` beside any layout, and columns of the plain form.

A row of ``dates.csv`` names an object and the day on which it was introduced, or a photo by its id (or many,
by the beginning of their ids and ``*``) and the day on which it was taken.
"""

from __future__ import annotations

from ilion.datasets.listing import Listing
from ilion.datasets.names import normal
from ilion.datasets.spans import Span, parse_span
from ilion.datasets.tables import Row, find_table, read_table
from ilion.wording import counted

DATES_TABLE = "dates.csv"
REMEDY = "write it as 2014-06-03, 2014-06 or 2014, or leave it empty"


def read_dates(listing: Listing) -> None:
    """Add what ``dates.csv`` says to a listing; what cannot be read is noted."""
    file = find_table(listing, DATES_TABLE)
    if file is None:
        return
    for row in read_table(listing, file, ("date",), ("file", "object")):
        image, instance = row.values.get("file", ""), row.values.get("object", "")
        if bool(image) == bool(instance):
            seen = "names both a photo and an object" if image else "names neither a photo nor an object"
            listing.error("bad-date", row.place, seen, "fill in one of the columns 'file' and 'object'")
        elif (span := read_span(listing, row, "date")) is None:
            continue
        elif instance:
            note_span(listing, row, listing.introduced, normal(instance), span)
        elif image.endswith("*"):
            note_span(listing, row, listing.dated_prefixes, normal(image[:-1]), span)
        else:
            note_span(listing, row, listing.dates, normal(image), span)
    unknown = sorted(listing.introduced.keys() - set(listing.instances))
    if unknown:
        seen = (
            f"dates {counted(len(unknown), 'object that is', 'objects that are')} not there, "
            f"such as {unknown[0]!r}"
        )
        listing.warn("unknown-date", file, seen, "correct the names, or remove the rows")


def read_span(listing: Listing, row: Row, column: str) -> Span | None:
    """Return the day in a column of a row; None where it is empty, or wrong, which is noted."""
    written = row.values.get(column, "")
    if not written:
        return None
    try:
        return parse_span(written)
    except ValueError:
        listing.error("bad-date", row.place, f"{column} {written!r} is no date", REMEDY)
        return None


def note_span(listing: Listing, row: Row, spans: dict[str, Span], name: str, span: Span) -> None:
    """Add a day; another one for the same name is an error."""
    if spans.setdefault(name, span) != span:
        seen = f"dates {name!r} {span}, and an earlier row {spans[name]}"
        listing.error("bad-date", row.place, seen, "keep the right one")
