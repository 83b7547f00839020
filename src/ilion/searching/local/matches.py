"""One pass over the postings: which features of a query are found where, and what each match is worth.

Letters: Q query features are M, P matches, N photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.model import LocalModel
from ilion.searching.local.postings import Segment
from ilion.searching.local.records import GEOMETRY
from ilion.types import Float32, Float64, Int64, Value

LIMIT = 0.6
"""Squared distance of a projected descriptor and a stored one from which on they do not match."""
BUFFER = 2**18
"""Matches that a pass over postings holds before they are copied."""
EXACT = 2.0**20
"""Similarities are summed as whole multiples of 1 / EXACT, which have the same sum in any order."""


@dataclass(frozen=True, eq=False)
class Matches(Value):
    """Pairs of a feature of the query and a stored one.

    Args:
        features: (P,) int32 feature of the query.
        rows: (P,) int64 database row.
        places: (P,) int64 posting within its segment.
        similarities: (P,) float32, (0, 1].
        records: (P, GEOMETRY) uint8 place, size, angle and colour of the stored feature.
    """

    features: NDArray[np.int32]
    rows: Int64
    places: Int64
    similarities: Float32
    records: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, chosen: NDArray[np.generic]) -> Matches:
        """Return some of the matches."""
        return Matches(*(value[chosen] for value in vars(self).values()))


def join(parts: list[Matches]) -> Matches:
    """Return the matches of all parts, one after the other."""
    if not parts:
        none = np.empty(0, np.int64)
        return Matches(none.astype(np.int32), none, none, none.astype("f"), np.empty((0, GEOMETRY), np.uint8))
    return Matches(
        *(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts), strict=True))
    )


def entries_of(query: LocalQuery) -> NDArray[np.int32]:
    """Return (E, 2) int32 query feature and word, by word: postings are read in their order on disk."""
    count = query.words.shape[1]
    pairs = np.column_stack([np.repeat(np.arange(len(query), dtype=np.int32), count), query.words.ravel()])
    return np.ascontiguousarray(pairs[np.argsort(pairs[:, 1], kind="stable")])


def find_matches(
    query: LocalQuery, entries: NDArray[np.int32], segment: Segment, model: LocalModel, limit: float = LIMIT
) -> Matches:
    """Compare the features of a query with the postings of their words in a segment.

    Args:
        query: The query.
        entries: From `entries_of`.
        segment: Part of the database.
        model: Words and codes of both.
        limit: Squared distance from which on nothing matches.
    """
    from ilion.searching.local.compiled import collect

    longest = int(np.diff(segment.offsets).max(initial=0))
    size = min(max(BUFFER, longest), max(int(np.diff(segment.offsets)[entries[:, 1]].sum()), 1))
    features, rows = np.empty(size, np.int32), np.empty(size, np.int32)
    places, similarities = np.empty(size, np.int64), np.empty(size, np.float32)
    code = segment.records.shape[1] - GEOMETRY
    parts, entry = [], 0
    while entry < len(entries):
        entry, filled = collect(
            entries,
            entry,
            query.vectors,
            model.fine_columns,
            model.book_columns[code],
            segment.offsets,
            segment.rows,
            segment.records,
            limit,
            features,
            rows,
            places,
            similarities,
        )
        found = places[:filled].copy()
        parts.append(
            Matches(
                features[:filled].copy(),
                rows[:filled] + np.int64(segment.start),
                found,
                similarities[:filled].copy(),
                segment.records[found, code:],
            )
        )
    return join(parts)


def weigh(matches: Matches, count: int) -> Float64:
    """Return what each match counts: its squared similarity, less where much of the database matches.

    A feature of the query that is found everywhere says little (inter-image burstiness: Jégou, Douze and
    Schmid, CVPR 2009).

    Args:
        matches: All matches of a query in the whole database.
        count: Number of features of the query.

    Returns:
        (P,) in (0, 1].
    """
    squares = np.rint(np.square(matches.similarities.astype(np.float64)) * EXACT)
    totals = np.bincount(matches.features, squares, count)
    return np.asarray(squares / np.sqrt(np.maximum(totals, 1.0)[matches.features] * EXACT), np.float64)
