"""The parts in which an index stores its photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ilion.serve.photos import known_source
from ilion.serve.tables import Tables
from ilion.types import ImageRecord


@dataclass(frozen=True)
class StoredShard:
    """A part of an index, described once; its fingerprint is that of the photos as they were then.

    Args:
        name: Unique among the living shards of the index.
        content: Fingerprint of its photos.
        tables: Tables that hold the photos.
        number: Number in the index.
        numbers: Numbers of its photos, for a shard that is not in the tables yet.
    """

    name: str
    content: str
    tables: Tables
    number: int
    numbers: tuple[int, ...] | None = None

    def records(self) -> Iterator[ImageRecord]:
        """Yield the photos in their fixed order."""
        what = "SELECT stored_as, path, member, start, size, digest FROM photos WHERE"
        ask = self.tables.connection.execute
        if self.numbers is None:
            rows = ask(f"{what} shard = ? ORDER BY place", (self.number,)).fetchall()
        else:
            rows = [ask(f"{what} number = ?", (number,)).fetchone() for number in self.numbers]
        for stored, *place in rows:
            yield ImageRecord(stored, known_source(*place))

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the photos."""
        return tuple(record.id for record in self.records())

    def fingerprint(self) -> str:
        """Return the fingerprint that it was given."""
        return self.content
