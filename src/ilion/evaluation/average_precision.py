"""Average precision and its relatives on all queries at once, from where the positives stand.

Only results that are positive or ignored matter, and they are few: they are found once (`find_hits`), and
every definition, cut-off and slice is then a sum over them. Letters: Q queries, K results, H hits, T pairs of
query and positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ilion.types import Bool, Float64, Int64

Definition = Literal["ilias", "trec", "revisited"]
Ties = Literal["rank", "step"]


@dataclass(frozen=True)
class Hits:
    """The positives that were found, sorted by query and then by rank.

    Args:
        queries: Number of queries Q.
        query: (H,) number of the query.
        pair: (H,) which of the T positives it is, all queries' positives in one row.
        rank: (H,) 1-based rank, ignored images removed.
        end: (H,) rank at which precision is read: ``rank`` itself, or the last rank of the same similarity.
        first: (H,) number of the first hit of the same query.
        upto: (H,) number of hits in all that stand before or at ``end``, counted from the first query on.
    """

    queries: int
    query: Int64
    pair: Int64
    rank: Int64
    end: Int64
    first: Int64
    upto: Int64


def _before(flags: Bool) -> Int64:
    """Return (H + 1,) how many flags are set before each place."""
    counts = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags, out=counts[1:])
    return counts


def _members(keys: Int64, wanted: Int64) -> tuple[Bool, Int64]:
    """Say which keys occur in the sorted ``wanted``, and where."""
    place = np.searchsorted(wanted, keys)
    inside = place < len(wanted)
    inside[inside] = wanted[place[inside]] == keys[inside]
    return inside, place


def find_hits(
    indices: Int64,
    similarities: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None,
    positives: tuple[Int64, ...],
    ignored: tuple[Int64, ...],
    size: int,
) -> Hits:
    """Find the positives in result lists and close the gaps that ignored images leave.

    Args:
        indices: (Q, K) database rows, best first; -1 beyond the end of a list.
        similarities: (Q, K), descending, if tied results shall form one step; else None.
        positives: Q sorted arrays of database rows.
        ignored: Q sorted arrays of database rows, disjoint from the positives.
        size: Number of database images N.

    >>> hits = find_hits(np.array([[4, 7, 2, -1]]), None, (np.array([2, 3]),), (np.array([4]),), 9)
    >>> hits.rank, hits.pair
    (array([2]), array([0]))
    """
    queries, width = indices.shape
    marked = np.zeros(size, dtype=np.bool_)
    for rows in (*positives, *ignored):
        marked[rows] = True
    place = np.flatnonzero(marked[indices] & (indices >= 0))
    query = place // max(width, 1)
    keys = query * size + indices.ravel()[place]
    is_positive, pair = _members(keys, _keys(positives, size))
    is_ignored, _ = _members(keys, _keys(ignored, size))
    junk = place[is_ignored]

    def closed(places: Int64, rows: Int64) -> Int64:
        """1-based ranks of places, ignored images at or before them not counted."""
        skipped = np.searchsorted(junk, places, side="right") - np.searchsorted(junk, rows * width)
        ranks: Int64 = places - rows * width + 1 - skipped
        return ranks

    place, query, pair = place[is_positive], query[is_positive], pair[is_positive]
    rank = closed(place, query)
    first = np.searchsorted(query, query)
    if similarities is None:
        return Hits(queries, query, pair, rank, rank, first, np.arange(1, len(rank) + 1))
    end_place = _last_of_tie(similarities, indices, place)
    upto = np.searchsorted(place, end_place, side="right")
    return Hits(queries, query, pair, rank, closed(end_place, query), first, upto)


def _last_of_tie(
    similarities: np.ndarray[tuple[int, int], np.dtype[np.float32]], indices: Int64, place: Int64
) -> Int64:
    """Return where the last result of the same similarity stands, by bisection of all lists at once."""
    width = indices.shape[1]
    query, low = np.divmod(place, width)
    high = np.count_nonzero(indices >= 0, axis=1)[query] - 1
    tied = similarities[query, low]
    while (low < high).any():
        middle = (low + high + 1) // 2
        same = similarities[query, middle] == tied
        low, high = np.where(same, middle, low), np.where(same, high, middle - 1)
    last: Int64 = query * width + low
    return last


def _keys(rows: tuple[Int64, ...], size: int) -> Int64:
    """Number all pairs of query and row, ascending."""
    keys: Int64 = np.concatenate([query * size + each for query, each in enumerate(rows)])
    return keys


def average_precision(hits: Hits, kept: Bool, positives: Int64, definition: Definition, k: int) -> Float64:
    """Compute AP@k of each query.

    Args:
        hits: Positives found, by query and rank.
        kept: (H,) hits that count; the others are taken out of the ranking, and the cut-off comes after that.
        positives: (Q,) how many positives each query has, whether found or not.
        definition: ``ilias``: the precisions at the hits, over the smaller of k and the positives. ``trec``:
            over the positives (trec_eval's map_cut, C. Buckley). ``revisited``: the area under the
            precision-recall curve by trapezoids (Radenovic et al., "Revisiting Oxford and Paris", CVPR 2018),
            over the positives.
        k: Cut-off.

    Returns:
        (Q,) in [0, 1]; NaN for queries without positives.

    >>> hits = find_hits(np.array([[8, 5]]), None, (np.array([1, 2, 3, 5]),), (np.array([], int),), 9)
    >>> every, four = np.array([True]), np.array([4])
    >>> [float(average_precision(hits, every, four, name, 2)[0]) for name in ("ilias", "trec", "revisited")]
    [0.25, 0.125, 0.0625]
    """
    removed = _before(~kept)
    rank = hits.rank - (removed[:-1] - removed[hits.first])
    kept = kept & (rank <= k)
    found = _before(kept)
    at = np.flatnonzero(kept)
    rank, query, first, upto = rank[at], hits.query[at], hits.first[at], hits.upto[at]
    end = np.minimum(hits.end[at] - (removed[upto] - removed[first]), k)
    credit = (found[upto] - found[first]) / end
    if definition == "revisited":
        earlier = found[at] - found[first]
        credit = (credit + np.where(rank == 1, 1.0, earlier / np.maximum(rank - 1, 1))) / 2.0
    total = np.bincount(query, weights=credit, minlength=hits.queries)
    most = np.minimum(positives, k) if definition == "ilias" else positives
    result: Float64 = np.divide(total, most, out=np.full(hits.queries, np.nan), where=most > 0)
    return result


def count_hits(hits: Hits, k: int) -> Int64:
    """Return (Q,) how many positives are among the first k results.

    >>> hits = find_hits(np.array([[8, 5]]), None, (np.array([1, 5]),), (np.array([], int),), 9)
    >>> count_hits(hits, 1), count_hits(hits, 2)
    (array([0]), array([1]))
    """
    return np.bincount(hits.query[hits.rank <= k], minlength=hits.queries)
