"""Average precision and its relatives on all queries at once, from where the positives stand.

Only results that are positive or ignored matter, and they are few: they are found once (`find_hits`), and
every definition, cut-off and slice is then a sum over them. What a query says nothing about (`find_open`)
has no order: there, a metric is its expected value over all orders. Letters: Q queries, K results, H hits, T
pairs of query and positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ilion.types import Bool, Float32, Float64, Int64, Value

Definition = Literal["ilias", "trec", "revisited"]
Ties = Literal["rank", "step", "trec"]
Cut = int | Int64
"""A cut-off: one rank for all queries, or (Q,) one for each."""


@dataclass(frozen=True)
class Hits(Value):
    """The positives that were found, sorted by query and then by rank.

    Args:
        queries: Number of queries Q.
        query: (H,) number of the query.
        pair: (H,) which of the T positives it is, all queries' positives in one row.
        rank: (H,) 1-based rank, ignored images removed.
        end: (H,) rank at which precision is read: ``rank`` itself, or the last rank of the same similarity.
        first: (H,) number of the first hit of the same query.
        upto: (H,) number of hits in all that stand before or at ``end``, counted from the first query on.
        front: (Q,) results in front of a query's open tie, ignored images removed.
        open_size: (Q,) database images in the open tie, ignored images removed; 0 where there is none.
        open_pair: (O,) which of the T positives are in an open tie; they are no hits.
        open_query: (O,) their queries, ascending.
    """

    queries: int
    query: Int64
    pair: Int64
    rank: Int64
    end: Int64
    first: Int64
    upto: Int64
    front: Int64
    open_size: Int64
    open_pair: Int64
    open_query: Int64

    @property
    def has_open(self) -> bool:
        """Tell whether any query has an open tie."""
        return bool(self.open_size.any())


def find_open(similarities: Float32, counts: Int64) -> Int64:
    """Find where the results begin that a query says nothing about: its open tie.

    The last tie of a list is open if it has at least two members and is the whole list (equal descriptors, a
    photo without keypoints), or has the similarity 0, by which searches for words and keypoints say that
    nothing is shared. Its order is that of the database's rows, and where the list is full, the tie goes on
    beyond it.

    Args:
        similarities: (Q, K), descending.
        counts: (Q,) number of results of each query.

    Returns:
        (Q,) 0-based place in the list; -1 where no tie is open.

    >>> lists = np.array([[0.9, 0.9, 0.9], [0.9, 0, 0], [0.9, 0.5, 0.5]], np.float32)
    >>> find_open(lists, np.array([3, 3, 3])).tolist()
    [0, 1, -1]
    """
    if not similarities.size:
        return np.full(len(counts), -1, np.int64)
    last = similarities[np.arange(len(counts)), np.maximum(counts - 1, 0)]
    inside = np.arange(similarities.shape[1]) < counts[:, None]
    start = counts - np.count_nonzero((similarities == last[:, None]) & inside, axis=1)
    open_ = (counts - start >= 2) & ((start == 0) | (last == 0))
    result: Int64 = np.where(open_, start, -1)
    return result


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
    open_from: Int64 | None = None,
) -> Hits:
    """Find the positives in result lists and close the gaps that ignored images leave.

    Args:
        indices: (Q, K) database rows, best first; -1 beyond the end of a list.
        similarities: (Q, K), descending, if tied results shall form one step; else None.
        positives: Q sorted arrays of database rows.
        ignored: Q sorted arrays of database rows, disjoint from the positives.
        size: Number of database images N.
        open_from: (Q,) place where the open tie of each list begins, see `find_open`; None for no such ties.

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
    none = np.empty(0, np.int64)
    tie = (np.zeros(queries, np.int64), np.zeros(queries, np.int64), none, none)
    if open_from is not None and (open_from >= 0).any():
        inside = (open_from >= 0)[query] & (place - query * width >= open_from[query])
        tie = _open_tie(indices, positives, ignored, size, open_from, junk, pair[~inside], pair[inside])
        place, query, pair = place[~inside], query[~inside], pair[~inside]
    rank = closed(place, query)
    first = np.searchsorted(query, query)
    if similarities is None:
        return Hits(queries, query, pair, rank, rank, first, np.arange(1, len(rank) + 1), *tie)
    end_place = _last_of_tie(similarities, indices, place)
    upto = np.searchsorted(place, end_place, side="right")
    return Hits(queries, query, pair, rank, closed(end_place, query), first, upto, *tie)


def _open_tie(
    indices: Int64,
    positives: tuple[Int64, ...],
    ignored: tuple[Int64, ...],
    size: int,
    open_from: Int64,
    junk: Int64,
    in_front: Int64,
    in_tie: Int64,
) -> tuple[Int64, Int64, Int64, Int64]:
    """Return what `Hits` says of open ties: ``front``, ``open_size``, ``open_pair``, ``open_query``.

    Args:
        indices: See `find_hits`.
        positives: See `find_hits`.
        ignored: See `find_hits`.
        size: Number of database images N.
        open_from: (Q,) place where each tie begins; -1 for none.
        junk: Places of ignored results in all lists, one after the other.
        in_front: Positives found in front of a tie, or in lists without one.
        in_tie: Positives found in a tie.
    """
    queries, width = indices.shape
    is_open = open_from >= 0
    counts = np.count_nonzero(indices >= 0, axis=1)
    starts = np.arange(queries) * width
    junk_in_front = np.searchsorted(junk, starts + np.maximum(open_from, 0)) - np.searchsorted(junk, starts)
    junk_in_list = np.searchsorted(junk, starts + counts) - np.searchsorted(junk, starts)
    front = np.where(is_open, open_from - junk_in_front, 0)
    # a full list is cut somewhere in the tie; a shorter one holds all that was found
    whole = counts == width
    every = np.where(whole, size - np.array([len(rows) for rows in ignored]), counts - junk_in_list)
    of_query = np.repeat(np.arange(queries), [len(rows) for rows in positives])
    tied = np.zeros(len(of_query), np.bool_)
    tied[in_tie] = True
    tied |= (is_open & whole)[of_query]
    tied[in_front] = False
    pair = np.flatnonzero(tied)
    return front, np.where(is_open, every - front, 0), pair, of_query[pair]


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


def average_precision(
    hits: Hits, kept: Bool | None, positives: Int64, definition: Definition, k: Cut
) -> Float64:
    """Compute AP@k of each query.

    Args:
        hits: Positives found, by query and rank.
        kept: (T,) positives that count; the others are taken out of the ranking, and the cut-off comes after
            that. None for all.
        positives: (Q,) how many positives each query has, whether found or not.
        definition: ``ilias``: the precisions at the hits, over the smaller of k and the positives. ``trec``:
            over the positives (trec_eval's map_cut, C. Buckley). ``revisited``: the area under the
            precision-recall curve by trapezoids (Radenovic et al., "Revisiting Oxford and Paris", CVPR 2018),
            over the positives.
        k: Cut-off.

    Returns:
        (Q,) in [0, 1]; NaN for queries without positives.

    >>> hits = find_hits(np.array([[8, 5]]), None, (np.array([1, 2, 3, 5]),), (np.array([], int),), 9)
    >>> four = np.array([4])
    >>> [float(average_precision(hits, None, four, name, 2)[0]) for name in ("ilias", "trec", "revisited")]
    [0.25, 0.125, 0.0625]
    """
    counts = np.ones(len(hits.pair), np.bool_) if kept is None else kept[hits.pair]
    removed = _before(~counts)
    rank = hits.rank - (removed[:-1] - removed[hits.first])
    k = np.broadcast_to(k, hits.queries)
    counted = counts & (rank <= k[hits.query])
    found = _before(counted)
    at = np.flatnonzero(counted)
    rank, query, first, upto = rank[at], hits.query[at], hits.first[at], hits.upto[at]
    end = np.minimum(hits.end[at] - (removed[upto] - removed[first]), k[query])
    credit = (found[upto] - found[first]) / end
    if definition == "revisited":
        earlier = found[at] - found[first]
        credit = (credit + np.where(rank == 1, 1.0, earlier / np.maximum(rank - 1, 1))) / 2.0
    total: Float64 = np.bincount(query, weights=credit, minlength=hits.queries).astype(np.float64)
    if hits.has_open:
        total = total + _open_credit(hits, counts, kept, definition, k)
    most = np.minimum(positives, k) if definition == "ilias" else positives
    result: Float64 = np.divide(total, most, out=np.full(hits.queries, np.nan), where=most > 0)
    return result


def _open_credit(hits: Hits, counts: Bool, kept: Bool | None, definition: Definition, k: Int64) -> Float64:
    """Return (Q,) the expected sum of precisions in the open ties, over all orders of each.

    Each of the m places of a tie holds one of its p positives with probability p / m, and then the others are
    spread evenly over the other places; so the mean of the precision at each place is known, as in McSherry
    and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
    scores", ECIR 2008.

    Args:
        hits: Positives found, and the open ties.
        counts: (H,) hits that count.
        kept: (T,) positives that count; None for all.
        definition: See `average_precision`.
        k: (Q,) cut-offs.
    """
    tied = np.ones(len(hits.open_pair), np.bool_) if kept is None else kept[hits.open_pair]
    p = np.bincount(hits.open_query[tied], minlength=hits.queries)
    m = hits.open_size - np.bincount(hits.open_query[~tied], minlength=hits.queries)
    before = np.bincount(hits.query[counts], minlength=hits.queries)
    f = hits.front - np.bincount(hits.query[~counts], minlength=hits.queries)
    part = (p > 0) & (f < k)
    p, m, before, f, k = p[part], m[part], before[part], f[part], k[part]
    total = np.zeros(hits.queries)
    if not len(p):
        return total
    last = np.minimum(k, f + m)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, last.max() + 1))])
    slope = (p - 1) / np.maximum(m - 1, 1)
    # at rank r, if it holds a positive: before + 1 + slope (r - f - 1) positives are expected up to it
    credit = (before + 1 - slope * (f + 1)) * (harmonic[last] - harmonic[f]) + slope * (last - f)
    if definition == "revisited":
        # before rank r: one positive and one place less; the first rank counts fully
        start = np.maximum(f, 1)
        earlier = (before - slope * f) * (harmonic[last - 1] - harmonic[start - 1]) + slope * (last - start)
        credit = (credit + earlier + (f == 0)) / 2.0
    total[part] = p / m * credit
    return total


def count_hits(hits: Hits, k: Cut) -> Float64:
    """Return (Q,) how many positives are among the first k results; of open ties as many as are expected.

    >>> hits = find_hits(np.array([[8, 5]]), None, (np.array([1, 5]),), (np.array([], int),), 9)
    >>> count_hits(hits, 1), count_hits(hits, 2)
    (array([0.]), array([1.]))
    """
    inside = hits.rank <= np.broadcast_to(k, hits.queries)[hits.query]
    found = np.bincount(hits.query[inside], minlength=hits.queries).astype(np.float64)
    if hits.has_open:
        tied, places = open_places(hits, k)
        found += np.divide(tied * places, hits.open_size, out=np.zeros(hits.queries), where=tied > 0)
    return found


def open_places(hits: Hits, k: Cut) -> tuple[Int64, Int64]:
    """Return (Q,) the positives in each open tie, and (Q,) how many of its places are among the first k."""
    tied = np.bincount(hits.open_query, minlength=hits.queries)
    return tied, np.clip(k - hits.front, 0, hits.open_size)
