"""One pass over the postings: which features of a query are found where, and what each match is worth.

Letters: Q query features are M, P matches, N photos.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.model import LocalModel
from ilion.searching.local.segment import Segment
from ilion.types import Bool, Float32, Float64, Int64, Value

LIMIT = 0.18
"""Squared distance of a projected descriptor and a stored one at which their similarity is 0."""
FAINT = 0.15
"""Similarity up to which they do not match: such pairs are half of all, take as long as the others, and count
next to nothing."""
BURST, RAREST = 0.7, 0.02
"""Exponent by which a feature counts less when much of the database matches it, and the least that does."""
ROOM = 2**21
"""Matches for which there is room at first; it is doubled as often as needed."""
EXACT = 2.0**20
"""Similarities are summed as whole multiples of 1 / EXACT, which have the same sum in any order."""


@dataclass(frozen=True, eq=False)
class Matches(Value):
    """Pairs of a feature of the query and a stored one.

    Args:
        features: (P,) int32 feature of the query.
        rows: (P,) int32 database row.
        places: (P,) int32 posting within its segment.
        similarities: (P,) float32, (`FAINT`, 1].
        records: (P,) uint64, see `ilion.searching.local.records`.
    """

    features: NDArray[np.int32]
    rows: NDArray[np.int32]
    places: NDArray[np.int32]
    similarities: Float32
    records: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, chosen: NDArray[np.generic] | slice) -> Matches:
        """Return some of the matches."""
        return Matches(*(value[chosen] for value in vars(self).values()))


def join(*parts: Matches) -> Matches:
    """Return all, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    return Matches(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def entries_of(query: LocalQuery) -> NDArray[np.int32]:
    """Return (E, 2) int32 query feature and word, by word: postings are read in their order on disk."""
    count = query.words.shape[1]
    pairs = np.column_stack([np.repeat(np.arange(len(query), dtype=np.int32), count), query.words.ravel()])
    return np.ascontiguousarray(pairs[np.argsort(pairs[:, 1], kind="stable")])


def find_matches(
    query: LocalQuery,
    segments: Iterable[Segment],
    model: LocalModel,
    limit: float = LIMIT,
    *,
    lengths: Int64 | None = None,
    chosen: Bool | None = None,
) -> Matches:
    """Compare the features of a query with the postings of their words.

    Args:
        query: The query.
        segments: Parts of the database.
        model: Words and codes of both.
        limit: Squared distance at which a similarity is 0.
        lengths: (W,) number of postings of each word in all segments, which decides how they are compared and
            changes nothing else; None means many.
        chosen: (N,) stored rows that are looked at; None means all.

    Returns:
        Segment by segment, and in each by word of the query.
    """
    from ilion.searching.local.compiled import SHORT, collect, compare

    entries = entries_of(query)
    lengths = np.full(model.words, SHORT + 1) if lengths is None else lengths
    left, tables = compare(entries, query.vectors, model.fine_columns, model.book_columns, lengths, SHORT)
    held, filled = _room(ROOM), 0
    for segment in segments:
        longest, entry = int(np.diff(segment.offsets).max(initial=0)), 0
        seen = np.ones(segment.size, np.uint8)
        if chosen is not None:
            seen = chosen[segment.start : segment.start + segment.size].view(np.uint8)
        while True:
            entry, filled = collect(
                entries,
                left,
                tables,
                lengths,
                entry,
                filled,
                model.book_columns,
                segment.offsets,
                segment.records,
                segment.start,
                seen,
                limit,
                FAINT,
                *vars(held).values(),
            )
            if entry == len(entries):
                break
            larger = _room(2 * len(held) + longest)
            for name, values in vars(held).items():
                getattr(larger, name)[:filled] = values[:filled]
            held = larger
    return held.take(slice(0, filled))


def sum_up(
    query: LocalQuery, segments: Iterable[Segment], model: LocalModel, lengths: Int64, shown: Bool
) -> tuple[Int64, Int64]:
    """Sum the matches of each photo and of each feature of a query, without keeping them.

    Args:
        query: The query.
        segments: Parts of the database.
        model: Words and codes of both.
        lengths: (W,) number of postings of each word in all segments: a feature with long lists says little.
        shown: (N,) stored photos that count.

    Returns:
        (N,) sums of the photos in a unit of their own, and (M,) sums of squared similarities of the features
        in 1 / `EXACT`: whole numbers, so they are the same in any order.
    """
    from ilion.searching.local.compiled import STEPS, add_up, compare

    entries, farthest = entries_of(query), LIMIT * (1 - FAINT)
    _, tables = compare(entries, query.vectors, model.fine_columns, model.book_columns, lengths, -1)
    tables = np.rint(np.minimum(tables, 2 * farthest) * (STEPS / farthest)).astype(np.int16)
    worth = np.rint(EXACT * np.square(1 - np.arange(STEPS) * (farthest / LIMIT / STEPS))).astype(np.int64)
    weights = np.rint(2.0**16 * np.maximum(lengths[query.words].sum(1), 1.0) ** -BURST).astype(np.int64)
    sums, totals = np.zeros(len(shown), np.int64), np.zeros(len(query), np.int64)
    for segment in segments:
        own = slice(segment.start, segment.start + segment.size)
        held = segment.offsets, segment.records, shown[own].view(np.uint8), sums[own]
        add_up(entries, tables, worth, weights, *held, totals)
    return sums, totals


def _room(count: int) -> Matches:
    """Return room for matches; memory that is not written to is not taken."""
    return Matches(
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.float32),
        np.empty(count, np.uint64),
    )


def squares_of(matches: Matches) -> Float64:
    """Return the squared similarities (P,) of matches, in 1 / `EXACT`."""
    return np.rint(np.square(matches.similarities.astype(np.float64)) * EXACT)


def weigh(matches: Matches, count: int, totals: Int64 | None = None) -> Float64:
    """Return what each match counts: its squared similarity, less where much of the database matches.

    A feature of the query that is found everywhere says little (inter-image burstiness: Jégou, Douze and
    Schmid, CVPR 2009).

    Args:
        matches: Matches of a query.
        count: Number M of features of the query.
        totals: (M,) sums over the whole database, from `sum_up`; None if these are all matches there.

    Returns:
        (P,) positive.
    """
    from ilion.searching.local.compiled import sum_squares, weigh_squares

    if totals is None:
        totals = np.zeros(count, np.int64)
        sum_squares(matches.features, matches.similarities, EXACT, totals)
    weights = np.maximum(totals / EXACT, RAREST) ** -BURST
    return np.asarray(weigh_squares(matches.features, matches.similarities, EXACT, weights), np.float64)
