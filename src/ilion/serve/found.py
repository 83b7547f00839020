"""From the ranking of one search to objects and photos, and what explains them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ilion.errors import DatasetError
from ilion.pipeline.asking import Asked
from ilion.serve.answers import FoundObject, FoundPhoto
from ilion.types import Box, Int64

if TYPE_CHECKING:
    from ilion.reranking.base import Explanation

SEEN = 20
"""Results that are looked at for one object, to count how many of its photos there are."""
PARTS = 500
"""Rows that one statement asks about."""


@dataclass(frozen=True)
class Matches:
    """What explains the results of one search.

    Args:
        asked: Answer of the design; None where nothing could be found.
        rows: Id of a photo -> its database row.
    """

    asked: Asked | None
    rows: dict[str, int] = field(default_factory=dict)

    def explain(self, photo: str) -> Explanation | None:
        """Return features and matches of the query and a photo; None where the design compares no points.

        Raises:
            DatasetError: The photo is not among the results.
        """
        if photo not in self.rows:
            raise DatasetError(f"{photo!r} is not among the results of this search")
        if self.asked is None or self.asked.explain is None:
            return None
        return self.asked.explain(0, self.rows[photo])

    def region(self, photo: str) -> Box | None:
        """Return where the query was found in a photo, in its pixels; None where that is not known."""
        if self.asked is not None and self.asked.locate is not None and photo in self.rows:
            return self.asked.locate(0, self.rows[photo])
        found = self.explain(photo)
        return found.box if found is not None else None


def group(
    connection: sqlite3.Connection, matches: Matches, numbers: Int64, k: int, *, explain: bool
) -> tuple[tuple[FoundObject, ...], tuple[FoundPhoto, ...]]:
    """Return the first k objects and the first k photos of a ranking.

    Args:
        connection: Connection with the state that was searched.
        matches: Answer of the design; rows of the photos are noted in it.
        numbers: (N,) number of the photo of each database row.
        k: Number of objects, and of photos.
        explain: Whether to look for the region in which each photo shows what was asked for.
    """
    asked = matches.asked
    if asked is None:
        return (), ()
    count = int(asked.ranking.counts[0])
    rows = asked.ranking.indices[0, :count]
    scores = asked.ranking.similarities[0, :count].tolist()
    points = asked.points[0] if asked.points is not None else None
    photos: list[FoundPhoto] = []
    objects: dict[str, FoundObject] = {}
    facts = facts_of(connection, numbers[rows].tolist())
    for rank, (row, score, known) in enumerate(zip(rows.tolist(), scores, facts, strict=True), 1):
        here = FoundPhoto(
            rank=rank, score=score, points=None if points is None else points.get(row, 0), **known
        )
        matches.rows[here.id] = row
        if len(photos) < k:
            photos.append(here)
        for name in here.objects or ("",):
            key = name or f"\0{here.id}"  # photos of nobody knows what stand for themselves
            if key in objects:
                objects[key] = replace(objects[key], photos=objects[key].photos + 1)
            elif len(objects) < k:
                objects[key] = FoundObject(name, here, 1)
        if len(objects) == k and rank > SEEN * k:
            break
    if explain:
        shown = [*(found.photo for found in objects.values()), *photos]
        regions = {photo: matches.region(photo) for photo in {found.id for found in shown if found.points}}
        objects = {
            key: replace(o, photo=replace(o.photo, region=regions.get(o.photo.id)))
            for key, o in objects.items()
        }
        photos = [replace(found, region=regions.get(found.id)) for found in photos]
    return tuple(objects.values()), tuple(photos)


def facts_of(connection: sqlite3.Connection, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield what is known about photos, in the order of their numbers, read some at a time."""
    remaining = iter(numbers)
    while part := list(islice(remaining, PARTS)):
        marks = ",".join("?" * len(part))
        facts = {
            number: {"id": name, "source": f"{path}!{member}" if member else path, "size": (w, h)}
            for number, name, path, member, w, h in connection.execute(
                f"SELECT number, id, path, member, width, height FROM photos WHERE number IN ({marks})", part
            )
        }
        shown: dict[int, dict[str, None]] = {}
        for number, name in connection.execute(
            f"SELECT photo, object FROM views WHERE photo IN ({marks}) ORDER BY rowid", part
        ):
            if name:
                shown.setdefault(number, {})[name] = None
        labels: dict[int, dict[str, str]] = {}
        for number, name, value in connection.execute(
            f"SELECT photo, name, value FROM labels WHERE photo IN ({marks})", part
        ):
            labels.setdefault(number, {})[name] = value
        for number in part:
            objects, own = tuple(shown.get(number, ())), labels.get(number, {})
            yield {**facts[number], "objects": objects, "labels": own}
