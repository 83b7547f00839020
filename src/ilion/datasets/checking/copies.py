"""Photos that stand in a data set twice, found in memory that grows with the photos of objects only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ilion.datasets.checking.inspect import HASH_BITS, Inspection
from ilion.datasets.listing import Photo, Severity
from ilion.types import RGB

MAX_BITS = 10
MAX_MEAN = 4.0
MAX_PEAK = 64
"""Two pictures are one if their hashes differ in at most ``MAX_BITS`` of 128 bits and their thumbnails of
32 x 32 pixels by at most ``MAX_MEAN`` on average and ``MAX_PEAK`` anywhere (0 to 255).

Measured on the grocery photos: saved anew (JPEG quality 30 and 60, PNG, WebP) or at half the size, 200 photos
differed by at most 7 bits, 3.4 and 44. Of the 3.1 million pairs of different photos, 316 differ by up to 26
bits; the closest of them, two product pictures of one brand, differ by 5.7 on average; the
lowest peak is 108.
"""


_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Copy:
    """Two images that are one photo.

    Args:
        first: The photo that came first.
        exact: Whether they are equal byte for byte; if not, one was saved anew or resized.
    """

    first: Photo
    exact: bool


class CopyFinder:
    """Compares photos of objects with each other, and distractors with them.

    Distractors are not compared with each other: a distractor that is there twice does no harm.
    """

    def __init__(self) -> None:
        self._photos: list[Photo] = []
        self._by_digest: dict[bytes, list[int]] = {}
        self._thumbs: list[RGB] = []
        self._hashed: list[int] = []
        self._hashes = np.empty((1024, HASH_BITS // 8), np.uint8)

    def find(self, seen: Inspection) -> Iterator[Copy]:
        """Yield the photos added before that show the same picture."""
        exact = self._by_digest.get(seen.digest, []) if seen.digest else []
        for number in exact:
            yield Copy(self._photos[number], True)
        if seen.hash is None or seen.thumb is None:
            return
        bits = _BITS_SET[self._hashes[: len(self._hashed)] ^ seen.hash].sum(axis=1)
        for row in np.flatnonzero(bits <= MAX_BITS).tolist():
            difference = np.abs(self._thumbs[row].astype(np.int16) - seen.thumb)
            alike = difference.mean() <= MAX_MEAN and difference.max() <= MAX_PEAK
            if alike and self._hashed[row] not in exact:
                yield Copy(self._photos[self._hashed[row]], False)

    def add(self, photo: Photo, seen: Inspection) -> None:
        """Remember a photo of an object."""
        number = len(self._photos)
        self._photos.append(photo)
        if seen.digest:
            self._by_digest.setdefault(seen.digest, []).append(number)
        if seen.hash is not None and seen.thumb is not None:
            if len(self._hashed) == len(self._hashes):
                self._hashes = np.concatenate((self._hashes, np.empty_like(self._hashes)))
            self._hashes[len(self._hashed)] = seen.hash
            self._hashed.append(number)
            self._thumbs.append(seen.thumb)


def judge(first: Photo, second: Photo | None) -> tuple[Severity, str, str, str]:
    """Say what it means that two images are one photo.

    Args:
        first: Photo of an object.
        second: Another one, or None for a distractor.

    Returns:
        Severity, kind, a clause about ``second`` (to follow "is the photo ...,"), and the remedy.
    """
    if first.is_query != (second is not None and second.is_query):
        return _QUERY
    roles = f"which is {_roles(first)}"
    if second is None:
        remedy = "remove it from the distractors: finding it would count as an error"
        return "error", "positive-as-distractor", f"{roles}, and a distractor at the same time", remedy
    if {view.instance for view in first.views} & {view.instance for view in second.views}:
        return "warning", "same-photo", f"{roles} already", "remove one of the two: it counts twice"
    if first.is_query:
        remedy = "use another photo, or mark by boxes which object each query means"
        return "warning", "same-photo-two-objects", roles, remedy
    remedy = "keep one file; if it shows both objects, list it once for each in photos.csv (the plain form)"
    return "error", "same-photo-two-objects", roles, remedy


_QUERY: tuple[Severity, str, str, str] = (
    "error",
    "query-in-database",
    "so that a query is in the database",
    "remove one of the two: a query that finds itself says nothing",
)


def _roles(photo: Photo) -> str:
    return " and ".join(f"{view.role} of {view.instance!r}" for view in photo.views)
