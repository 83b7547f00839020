"""Days as people write them: exact ones, months and years, each as its first and last day."""

from __future__ import annotations

import calendar
import re
import unicodedata
from dataclasses import dataclass
from datetime import date

_FORM = re.compile(r"(\d{4})(?:[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?)?月?)?年?(?:[T ]\d.*)?")


@dataclass(frozen=True, slots=True)
class Span:
    """A day of which only the first and the last possible one are known.

    Args:
        first: First possible day; `date.min` where nothing bounds it.
        last: Last possible day, not before ``first``.
    """

    first: date
    last: date

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        return f"until {self.last}" if self.first == date.min else f"{self.first} to {self.last}"


def parse_span(written: str) -> Span:
    """Read a day, a month or a year.

    Args:
        written: ``2014``, ``2014-06``, ``2014-06-03``, with ``/`` or ``.`` instead, a time of the day behind
            it, or ``2014年6月3日``.

    Raises:
        ValueError: The text is no date, or a day that the calendar does not have.

    >>> str(parse_span("2014")), str(parse_span("2016/2")), str(parse_span("2014年6月3日"))
    ('2014-01-01 to 2014-12-31', '2016-02-01 to 2016-02-29', '2014-06-03')
    """
    match = _FORM.fullmatch(unicodedata.normalize("NFKC", written).strip())
    if not match:
        raise ValueError(f"{written!r} is no day, month or year")
    year, month, day = (int(part) if part else None for part in match.groups())
    assert year is not None
    if month is None:
        return Span(date(year, 1, 1), date(year, 12, 31))
    if day is None:
        return Span(date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1]))
    return Span(date(year, month, day), date(year, month, day))
