"""One pass over the postings: which features of a query are found where, and what each match is worth.

Letters: Q query features are M, P matches, N photos.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
        seen = (
            np.empty(0, np.bool_) if chosen is None else chosen[segment.start : segment.start + segment.size]
        )
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
    query: LocalQuery,
    segments: Iterable[Segment],
    model: LocalModel,
    lengths: Int64,
    count: int,
    nearest: int,
) -> Int64:
    """Sum cheaply what each photo has in common with a query: fewer words, and no pairs are kept.

    Args:
        query: The query.
        segments: Parts of the database.
        model: Words and codes of both.
        lengths: (W,) number of postings of each word in all segments: a feature with long lists says little.
        count: Number N of stored photos.
        nearest: Number of words in which a feature is looked up.

    Returns:
        (N,) sums in a unit of their own, whole numbers, so that they are the same in any order.
    """
    from ilion.searching.local.compiled import add_up, compare

    short = replace(query, words=np.ascontiguousarray(query.words[:, :nearest]))
    entries = entries_of(short)
    _, tables = compare(entries, query.vectors, model.fine_columns, model.book_columns, lengths, -1)
    seen = lengths[short.words].sum(1)
    weights = (EXACT * np.maximum(seen, 1.0) ** -BURST).astype(np.float32)[entries[:, 0]]
    sums = np.zeros(count, np.int64)
    for segment in segments:
        own = sums[segment.start : segment.start + segment.size]
        add_up(entries, tables, weights, segment.offsets, segment.records, LIMIT, FAINT, own)
    return sums


def _room(count: int) -> Matches:
    """Return room for matches; memory that is not written to is not taken."""
    return Matches(
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.float32),
        np.empty(count, np.uint64),
    )


@dataclass(frozen=True, eq=False)
class LookedAt(Value):
    """Photos of a large database that a query is held against.

    Args:
        rows: (C,) ascending rows of those that may be found.
        sample: (S,) ascending rows of others, which stand for all others.
        share: How many others each of them stands for.
    """

    rows: Int64
    sample: Int64
    share: float

    @property
    def all_rows(self) -> Int64:
        """Both, ascending."""
        return np.sort(np.concatenate([self.rows, self.sample]))


def weigh(matches: Matches, count: int, looked_at: LookedAt | None = None) -> Float64:
    """Return what each match counts: its squared similarity, less where much of the database matches.

    A feature of the query that is found everywhere says little (inter-image burstiness: Jégou, Douze and
    Schmid, CVPR 2009).

    Args:
        matches: All matches of a query in the photos that were looked at.
        count: Number of features of the query.
        looked_at: Which these are; None for the whole database.

    Returns:
        (P,) positive.
    """
    squares = np.rint(np.square(matches.similarities.astype(np.float64)) * EXACT)
    totals = np.bincount(matches.features, squares, count).astype(np.float64)
    if looked_at is not None and len(looked_at.sample):
        others = np.isin(matches.rows, looked_at.sample)
        of_others = np.bincount(matches.features[others], squares[others], count)
        totals += (looked_at.share - 1) * of_others
    totals = np.maximum(totals / EXACT, RAREST)
    return np.asarray(squares / EXACT * (totals**-BURST)[matches.features], np.float64)
