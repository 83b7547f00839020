"""A database whose photos are held by several holders, to the search the same as one that is here.

All sums are of whole numbers and matches come in order of rows, so answers are those of one machine, to the
bit: holders only look things up, and what is decided is decided here.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ilion.config.design import Design
from ilion.errors import ConfigError
from ilion.searching.local import Encoded, LocalModel, LocalQuery, Looks, Postings
from ilion.searching.local.database import FirstPass
from ilion.searching.local.matches import Matches, join
from ilion.serve.cluster.holder import Holders, Part, Question
from ilion.types import Int64


@dataclass(frozen=True)
class Held:
    """What one holder answers for.

    Args:
        holder: Number of the holder.
        part: The shards.
        start: First row.
        stop: Row after the last one.
    """

    holder: int
    part: Part
    start: int
    stop: int


class Spread:
    """A database that asks holders; `ilion.searching.local.database.Database`. Safe to share among threads.

    Args:
        whole: The same database, of which only the list of photos is read here.
        holders: Holders of its parts.
    """

    def __init__(self, whole: Postings, holders: Holders) -> None:
        self._whole, self._holders = whole, holders
        self.ids: Sequence[str] = whole.ids
        self.count = whole.count
        self.parts = cut(whole, holders.count)
        self._starts = np.array([held.start for held in self.parts], np.int64)
        self._lengths: Int64 | None = None
        self._counting = threading.Lock()

    def __len__(self) -> int:
        return len(self._whole)

    def stored_bytes(self) -> int:
        """Return the bytes of all that is stored of the photos on disk."""
        return self._whole.stored_bytes()

    def _ask(self, verb: str, *arguments: Any) -> list[Any]:
        """Ask all holders the same."""
        return self._holders.ask([(held.holder, Question(held.part, verb, arguments)) for held in self.parts])

    @property
    def lengths(self) -> Int64:
        """(W,) number of postings of each word."""
        with self._counting:
            if self._lengths is None:
                self._lengths = np.sum(self._ask("lengths"), axis=0, dtype=np.int64)
            return self._lengths

    def first_pass(self, query: LocalQuery, model: LocalModel) -> FirstPass:
        """Sum the matches of each photo, and of each feature of a query."""
        sums, totals = zip(*self._ask("sums", query, self.lengths), strict=True)
        found = partial(self.matches, query, model)
        return FirstPass(np.concatenate(sums), np.sum(totals, axis=0), found)

    def matches(self, query: LocalQuery, model: LocalModel, rows: Int64 | None = None) -> Matches:
        """Find the matches of a query in photos of ascending rows; None means all photos."""
        found: list[Matches] = self._holders.ask(
            [
                (held.holder, Question(held.part, "matches", (query, _within(rows, held))))
                for held in self.parts
            ]
        )
        shifted = [
            replace(matches, rows=matches.rows + np.int32(held.start))
            for held, matches in zip(self.parts, found, strict=True)
        ]
        return join(*shifted)

    def photo(self, row: int) -> Encoded:
        """Read all that is stored of one photo."""
        return self.photos(np.array([row]))[0]

    def photos(self, rows: Int64) -> list[Encoded]:
        """Read all that is stored of some photos."""
        photos: dict[int, Encoded] = {}
        for places, found in self._of_rows("photos", rows):
            photos |= zip(places.tolist(), found, strict=True)
        # arrays that came from another process cannot be written to
        return [
            Encoded(np.array(p.words), np.array(p.records), np.array(p.tones), p.size)
            for p in map(photos.__getitem__, range(len(rows)))
        ]

    def looks(self, rows: Int64) -> Looks:
        """Read the sizes and colours of photos (S,)."""
        found = self._of_rows("looks", rows)
        if not found:
            return Looks(np.zeros((0, 2), np.int64), np.empty((0, 0), np.uint8))
        order = np.argsort(np.concatenate([places for places, _ in found]))
        sizes, tones = ([getattr(looks, name) for _, looks in found] for name in ("sizes", "tones"))
        return Looks(np.concatenate(sizes)[order], np.concatenate(tones)[order])

    def _of_rows(self, verb: str, rows: Int64) -> list[tuple[Int64, Any]]:
        """Ask about rows, each its own holder; return which of them each answer is about, and the answer."""
        numbers = np.searchsorted(self._starts, rows, "right") - 1
        asked = [(self.parts[n], np.flatnonzero(numbers == n)) for n in np.unique(numbers).tolist()]
        found = self._holders.ask(
            [(held.holder, Question(held.part, verb, (rows[places] - held.start,))) for held, places in asked]
        )
        return [(places, answer) for (_, places), answer in zip(asked, found, strict=True)]


def check_spread(design: Design) -> None:
    """Refuse a design that holders cannot search.

    Raises:
        ConfigError: The design does not compare photos by local features.
    """
    for bad, why in (
        (design.search.method != "local", f"search.method = {design.search.method!r}"),
        (design.reading.use == "only", "reading.use = 'only'"),
    ):
        if bad:
            raise ConfigError(
                f"design {design.name!r} has {why}, and --on spreads the search by local features only "
                "(search.method = 'local'); global descriptors outgrow one machine with --engine milvus:..."
            )


def _within(rows: Int64 | None, held: Held) -> Int64 | None:
    """Return those of ascending rows that a holder has, counted from its first one; None for all."""
    if rows is None:
        return None
    first, last = np.searchsorted(rows, (held.start, held.stop))
    return rows[first:last] - held.start


def cut(whole: Postings, count: int) -> list[Held]:
    """Cut a database into parts of about the same size, one a holder; none for a holder without a shard."""
    keys, sizes = zip(*whole.shards, strict=True)
    stops = np.cumsum(sizes)
    owners = ((stops - np.array(sizes) / 2) * count / len(whole)).astype(np.int64)
    held = []
    for holder in np.unique(owners).tolist():
        first, last = np.flatnonzero(owners == holder)[[0, -1]].tolist()
        part = Part(str(whole.folder), keys[first : last + 1], whole.words)
        held.append(Held(holder, part, int(stops[first] - sizes[first]), int(stops[last])))
    return held
