"""One pass over the postings: which features of a query are found where, and what each match is worth.

Letters: Q query features are M, P matches, N photos.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ilion.kernels import lookups
from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.model import LocalModel
from ilion.searching.local.segment import Segment
from ilion.types import Bool, Float32, Float64, Int64, Value

LIMIT = 0.18
"""Squared distance of a projected descriptor and a stored one at which their similarity is 0."""
FAINT = 0.15
"""Similarity up to which they do not match: such pairs are half of all, take as long as the others, and count
next to nothing."""
FAINT_STORED = 0.4
"""The same of features that are read from photos: of those under one word nearly all would match."""
BURST, RAREST = 0.7, 0.02
"""Exponent by which a feature counts less when much of the database matches it, and the least that does."""
KEPT = 2**25
"""Pairs that the threads of a first pass keep together, of 4 bytes each; segments beyond are read again."""
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


@dataclass(frozen=True, eq=False)
class Entries(Value):
    """Words in which the features of a query are looked up, by word: postings are read as they lie on disk.

    Args:
        pairs: (E, 2) int32 query feature and word.
        left: (E, D) float32, what is left of the feature beside the word.
        tables: (E, m, K) float32 squared distances of that and all centroids of a code; not filled for words
            of few postings.
        lengths: (W,) number of postings of each word in the whole database, which decides how they are
            compared.
        weights: (M,) int64, by which a match of each feature counts in a first pass, in 1 / 65,536.
        faint: Similarity up to which features do not match.
    """

    pairs: NDArray[np.int32]
    left: Float32
    tables: Float32
    lengths: Int64
    weights: Int64
    faint: float


def look_up_words(
    query: LocalQuery, model: LocalModel, lengths: Int64 | None = None, *, every: bool = False
) -> Entries:
    """Look the features of a query up in their words.

    Args:
        query: The query.
        model: Words and codes.
        lengths: (W,) number of postings of each word in the whole database: they change how postings are
            compared, and how much a feature counts in a first pass; None means many.
        every: Whether tables are filled for words of few postings, too, as a first pass needs them.
    """
    from ilion.searching.local.compiled import SHORT, compare

    count = query.words.shape[1]
    pairs = np.column_stack([np.repeat(np.arange(len(query), dtype=np.int32), count), query.words.ravel()])
    pairs = np.ascontiguousarray(pairs[np.argsort(pairs[:, 1], kind="stable")])
    lengths = np.full(model.words, SHORT + 1) if lengths is None else lengths
    short = -1 if every else SHORT
    left, tables = compare(pairs, query.vectors, model.fine_columns, model.book_columns, lengths, short)
    # a feature with long lists says little
    weights = np.rint(2.0**16 * np.maximum(lengths[query.words].sum(1), 1.0) ** -BURST).astype(np.int64)
    return Entries(pairs, left, tables, lengths, weights, FAINT_STORED if query.stored else FAINT)


class Kept(NamedTuple):
    """Pairs of a segment that may match.

    Args:
        pairs: (n,) uint32, see `ilion.searching.local.compiled.add_up`.
        ends: (E + 1,) int64, where those of each entry begin.
    """

    pairs: NDArray[np.uint32]
    ends: Int64


def find_matches(
    entries: Entries,
    segments: Iterable[Segment],
    model: LocalModel,
    *,
    chosen: Bool | None = None,
    kept: Mapping[int, Kept] | None = None,
) -> Matches:
    """Compare the features of a query with the postings of their words.

    Args:
        entries: The query, looked up.
        segments: Parts of the database.
        model: Words and codes of both.
        chosen: (N,) stored rows that are looked at; None means all.
        kept: Pairs that a first pass kept, by first row of the segment; other segments are read again, and
            the matches are the same.

    Returns:
        Segment by segment, and in each by word of the query.
    """
    from ilion.searching.local.compiled import collect
    from ilion.searching.local.compiled_sums import measure, pick

    held, filled = _room(ROOM), 0
    for segment in segments:
        known, entry = (kept or {}).get(segment.start), 0
        seen = np.ones(segment.size, np.uint8)
        if chosen is not None:
            seen = chosen[segment.start : segment.start + segment.size].view(np.uint8)
        if known is not None:
            picked = pick(entries.pairs, segment.offsets, segment.records, *known, seen)
            held = _grow(held, filled, filled + len(picked[0]))
            filled = measure(
                entries.pairs,
                entries.tables,
                *picked,
                segment.records,
                segment.start,
                LIMIT,
                entries.faint,
                filled,
                *vars(held).values(),
            )
            continue
        longest = int(np.diff(segment.offsets).max(initial=0))
        while True:
            entry, filled = collect(
                entries.pairs,
                entries.left,
                entries.tables,
                entries.lengths,
                entry,
                filled,
                model.book_columns,
                segment.offsets,
                segment.records,
                segment.start,
                seen,
                LIMIT,
                entries.faint,
                *vars(held).values(),
            )
            if entry == len(entries.pairs):
                break
            # a kernel cannot ask for memory; one list always fits, so every round gets further
            held = _grow(held, filled, 2 * len(held) + longest)
    return held.take(slice(0, filled))


@dataclass(frozen=True, eq=False)
class Sums(Value):
    """What a first pass found: how much photos and features match, and the pairs that may, if they are few.

    Args:
        photos: (N,) int64 sums of the photos, in a unit of their own.
        features: (M,) int64 sums of squared similarities of the features of the query, in 1 / `EXACT`. Whole
            numbers, so they are the same in any order.
        kept: Pairs that were kept, by first row of the segment.
    """

    photos: Int64
    features: Int64
    kept: Mapping[int, Kept]


def sum_up(entries: Entries, segments: Iterable[Segment], count: int, shown: Bool, room: int = KEPT) -> Sums:
    """Sum the matches of each photo and of each feature of a query.

    Args:
        entries: The query, looked up, tables of every word filled.
        segments: Parts of the database.
        count: Number M of features of the query.
        shown: (N,) stored photos that count.
        room: Number of pairs that may be kept.
    """
    from ilion.searching.local.compiled_sums import REACH, STEPS, WIDE, add_up, step_tables

    farthest = LIMIT * (1 - entries.faint)
    tables, worth = step_tables(entries.tables, farthest), np.zeros(REACH, np.int32)
    worth[:STEPS] = np.rint(EXACT * np.square(1 - np.arange(STEPS) * (farthest / LIMIT / STEPS)))
    sums, totals = np.zeros(len(shown), np.int64), np.zeros(count, np.int64)
    kept = {}
    for segment in segments:
        own = slice(segment.start, segment.start + segment.size)
        held = segment.offsets, segment.records, shown[own].view(np.uint8), sums[own]
        wide = WIDE and len(segment.records) >= lookups.LINE
        found = Kept(*add_up(entries.pairs, tables, worth, entries.weights, *held, totals, wide))
        if len(found.pairs) == found.ends[-1] and len(found.pairs) <= room:
            kept[segment.start] = found
            room -= len(found.pairs)
    return Sums(sums, totals, kept)


def _grow(held: Matches, filled: int, count: int) -> Matches:
    """Return room for as many matches, with those that there are."""
    if count <= len(held):
        return held
    larger = _room(max(count, 2 * len(held)))
    for name, values in vars(held).items():
        getattr(larger, name)[:filled] = values[:filled]
    return larger


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
