"""When a photo was taken, as its EXIF block states it."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta

from PIL import Image

EARLIEST = date(1990, 1, 1)
"""No digital photo is older; cameras without a clock count from 1970 or 1980."""
_SUB_BLOCK, _ORIGINAL, _DIGITISED, _CHANGED = 0x8769, 0x9003, 0x9004, 0x0132
_RESET = frozenset((date(2000, 1, 1), date(2001, 1, 1)))
"""Days at which clocks begin whose battery was empty."""


def read_taken(data: bytes) -> tuple[date | None, date | None]:
    """Read when a photo was taken, or the last day on which it can have been taken.

    A day in the future, before `EARLIEST`, or on which the clocks of cameras begin, says nothing.

    Returns:
        The day on which it was taken, by ``DateTimeOriginal``; and, where only that is there, the earlier of
        the days on which it was digitised and changed. None for what is not stated.

    >>> read_taken(b"no photo")
    (None, None)
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            block = image.getexif()
            inner = block.get_ifd(_SUB_BLOCK)
    except Exception:  # whatever a damaged block does to its reader, it states no day
        return None, None
    if (taken := _day(inner.get(_ORIGINAL))) is not None:
        return taken, None
    others = [day for day in (_day(inner.get(_DIGITISED)), _day(block.get(_CHANGED))) if day is not None]
    return None, min(others, default=None)


def _day(written: object) -> date | None:
    try:
        day = datetime.strptime(str(written).strip("\0 ")[:10], "%Y:%m:%d").date()
    except ValueError:
        return None
    # a camera may stand in a zone where it is tomorrow already
    sound = EARLIEST <= day <= datetime.now(UTC).date() + timedelta(days=1) and day not in _RESET
    return day if sound else None
