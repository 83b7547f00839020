"""The compiled kernels of a store: words and codes of descriptors, one pass over postings.

All sums are taken in a fixed order (no fast math), so results do not depend on processors or threads. This
module imports numba, which takes half a second, so the others import it inside functions. What is compiled of
a large database's first pass is in `ilion.searching.local.compiled_sums`, what is of pairs of photos in
`compiled_pairs` and `compiled_motions`.

Letters: M features, D dimensions after projection, C coarse and F fine words (W = C * F words in all), m
parts of a code of K values each, P postings, E entries (pairs of a query feature and a word that is looked
up for it).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from ilion.searching.local.records import (
    ANGLE_AT,
    ANGLES,
    CENTROIDS,
    CODE_AT,
    LARGEST,
    PARTS,
    PLACE_AT,
    PLACES,
    ROWS,
    SIZE_AT,
    SIZES,
    SMALLEST,
)

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on first use; what is compiled is kept beside this file, or in the user's cache."""
    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


Array = NDArray[Any]


@compiled
def project(roots: Array, mean: Array, projection: Array) -> Array:
    """Take descriptors (M, d) to (M, D): ``(roots - mean) @ projection``, projection (d, D)."""
    count, dims = len(roots), projection.shape[1]
    out = np.zeros((count, dims), np.float32)
    for i in range(count):
        row = out[i]
        for k in range(len(mean)):
            value = roots[i, k] - mean[k]
            if value != 0:
                of = projection[k]
                for d in range(dims):
                    row[d] += value * of[d]
    return out


@compiled
def nearest_words(
    vectors: Array, coarse: Array, coarse_half: Array, fine: Array, fine_half: Array, probes: int, count: int
) -> Array:
    """Find the nearest words of each vector among the fine words of its nearest coarse ones.

    Args:
        vectors: (M, D).
        coarse: (D, C) centroids.
        coarse_half: (C,) halves of their squared lengths.
        fine: (C, D, F) centroids.
        fine_half: (C, F) halves of their squared lengths.
        probes: Number of coarse words whose fine ones are looked at.
        count: Number of words a vector.

    Returns:
        (M, count) int32, nearest first; word ``c * F + f``.
    """
    dims, many = coarse.shape
    each = fine.shape[2]
    out = np.empty((len(vectors), count), np.int32)
    near = np.empty(many, np.float32)
    chosen = np.empty(probes, np.int64)
    close = np.empty((probes, each), np.float32)
    top = np.empty(count, np.float32)
    for i in range(len(vectors)):
        vector = vectors[i]
        near[:] = -coarse_half
        for d in range(dims):
            value, of = vector[d], coarse[d]
            for c in range(many):
                near[c] += value * of[c]
        for p in range(probes):
            best = 0
            for c in range(1, many):
                if near[c] > near[best]:
                    best = c
            chosen[p], near[best] = best, -np.inf
            row, table = close[p], fine[best]
            row[:] = -fine_half[best]
            for d in range(dims):
                value, of = vector[d], table[d]
                for f in range(each):
                    row[f] += value * of[f]
        top[:], out[i] = -np.inf, chosen[0] * each
        for p in range(probes):
            for f in range(each):
                value = close[p, f]
                if value > top[-1]:  # few are, so most take one comparison
                    place = count - 1
                    while place > 0 and value > top[place - 1]:
                        top[place], out[i, place] = top[place - 1], out[i, place - 1]
                        place -= 1
                    top[place], out[i, place] = value, chosen[p] * each + f
    return out


@compiled
def code_residuals(vectors: Array, words: Array, fine: Array, book: Array) -> Array:
    """Code what is left of vectors (M, D) beside their words (M,): the nearest centroid of each part.

    Args:
        vectors: (M, D).
        words: (M,).
        fine: (C, D, F).
        book: (m, D / m, K).

    Returns:
        (M, m) uint8.
    """
    each = fine.shape[2]
    out = np.empty((len(vectors), PARTS), np.uint8)
    residual = np.empty(fine.shape[1], np.float32)
    table = np.empty((PARTS, CENTROIDS), np.float32)
    for i in range(len(vectors)):
        for d in range(len(residual)):
            residual[d] = vectors[i, d] - fine[words[i] // each, d, words[i] % each]
        _distances(residual, book, table)
        for part in range(PARTS):
            best = 0
            for code in range(1, CENTROIDS):
                if table[part, code] < table[part, best]:
                    best = code
            out[i, part] = best
    return out


@compiled
def _distances(residual: Array, book: Array, table: Array) -> None:
    """Fill (m, K) squared distances of the parts of a residual and the centroids of a code."""
    size = book.shape[1]
    for part in range(PARTS):
        row = table[part]
        row[:] = 0
        for d in range(size):
            value, of = residual[part * size + d], book[part, d]
            for code in range(CENTROIDS):
                difference = value - of[code]
                row[code] += difference * difference


SHORT = 16
"""Postings of a word in the whole database up to which they are compared with directly: a table of all
distances would take longer."""
LAST = CENTROIDS - 1


@compiled
def compare(
    entries: Array, vectors: Array, fine: Array, book: Array, lengths: Array, short: int
) -> tuple[Array, Array]:
    """Return what is left of the features of entries beside their words, and its distances to all centroids.

    Args:
        entries: (E, 2) int32, query feature and word.
        vectors: (M, D) query features.
        fine: (C, D, F).
        book: (m, D / m, K).
        lengths: (W,) postings of each word in the whole database.
        short: Number of postings up to which a word needs no distances.

    Returns:
        (E, D) float32, and (E, m, K) float32 squared distances, not filled where they are not needed.
    """
    each = fine.shape[2]
    left = np.empty((len(entries), fine.shape[1]), np.float32)
    tables = np.empty((len(entries), PARTS, CENTROIDS), np.float32)
    for entry in range(len(entries)):
        feature, word = entries[entry, 0], entries[entry, 1]
        for d in range(fine.shape[1]):
            left[entry, d] = vectors[feature, d] - fine[word // each, d, word % each]
        if lengths[word] > short:
            _distances(left[entry], book, tables[entry])
    return left, tables


@compiled
def collect(
    entries: Array,
    left: Array,
    tables: Array,
    lengths: Array,
    first: int,
    filled: int,
    book: Array,
    offsets: Array,
    records: Array,
    row: int,
    chosen: Array,
    limit: float,
    faint: float,
    features: Array,
    found: Array,
    places: Array,
    similarities: Array,
    held: Array,
) -> tuple[int, int]:
    """Look through the postings of entries, until all are done or the output is full.

    Args:
        entries: (E, 2) int32, query feature and word, by word.
        left: (E, D), see `compare`.
        tables: (E, m, K), see `compare`.
        lengths: (W,), see `compare`.
        first: Entry to begin with.
        filled: Matches that the output holds already.
        book: (m, D / m, K).
        offsets: (W + 1,) where the postings of each word start.
        records: (P,) uint64, see `ilion.searching.local.records`.
        row: Row of the segment's first photo.
        chosen: (n,) uint8, 1 for photos of the segment that are looked at.
        limit: Squared distance at which the similarity, 1 - distance² / limit, is 0.
        faint: Similarity up to which nothing matches, at least 0.
        features: (n,) int32, filled with the query feature of each match.
        found: (n,) int32, the row.
        places: (n,) int32, the posting.
        similarities: (n,) float32, above ``faint``.
        held: (n,) uint64, the record.

    Returns:
        The entry to go on with (E when all are done) and the number of matches.
    """
    size, rows = book.shape[1], np.uint64(ROWS - 1)
    top, scale = np.float32(limit * (1 - faint)), np.float32(1 / limit)
    listed, count, last = np.empty(256, np.int64), 0, -1
    for entry in range(first, len(entries)):
        feature, word = entries[entry, 0], entries[entry, 1]
        start, end = offsets[word], offsets[word + 1]
        if start == end:
            continue
        if word != last:  # several features look into one list
            last, count = word, 0
            if len(listed) < end - start:
                listed = np.empty(2 * (end - start), np.int64)
            for place in range(start, end):
                listed[count] = place  # kept if the next one does not take its room
                count += chosen[records[place] & rows]
        if filled + count > len(features):
            return entry, filled
        many, residual, table = lengths[word] > SHORT, left[entry], tables[entry]
        for at in range(count):
            place = listed[at]
            record = records[place]
            if many:
                distance = distance_of(table, record)
            else:
                code = record >> np.uint64(CODE_AT)
                one, two = code & np.uint64(LAST), code >> np.uint64(7) & np.uint64(LAST)
                three, four = code >> np.uint64(14) & np.uint64(LAST), code >> np.uint64(21) & np.uint64(LAST)
                low = _apart(residual, 0, book[0], one) + _apart(residual, size, book[1], two)
                if low >= top:
                    continue
                high = _apart(residual, 2 * size, book[2], three)
                high += _apart(residual, 3 * size, book[3], four)
                distance = low + high
            if distance < top:
                features[filled], found[filled] = feature, row + np.int64(record & rows)
                places[filled], held[filled] = place, record
                similarities[filled] = np.float32(1) - distance * scale
                filled += 1
    return len(entries), filled


@compiled
def distance_of(table: Array, record: Any) -> Any:
    """Return the squared distance of a feature, by its table (m, K), and a record, summed in pairs."""
    code = record >> np.uint64(CODE_AT)
    low = table[0, code & np.uint64(LAST)] + table[1, code >> np.uint64(7) & np.uint64(LAST)]
    high = table[2, code >> np.uint64(14) & np.uint64(LAST)]
    return low + (high + table[3, code >> np.uint64(21) & np.uint64(LAST)])


@compiled
def _apart(residual: Array, at: int, book: Array, code: int) -> np.float32:
    """Return the squared distance of a part of a residual and a centroid, summed as in `_distances`."""
    total = np.float32(0)
    for d in range(len(book)):
        difference = residual[at + d] - book[d, code]
        total += difference * difference
    return total


@compiled
def read_row(row: int, offsets: Array, records: Array) -> Array:
    """Find all postings of one row of a segment: (n, 2) int64, posting and word, by word."""
    out = np.empty((256, 2), np.int64)
    count = 0
    own, rows = np.uint64(row), np.uint64(ROWS - 1)
    for word in range(len(offsets) - 1):
        low, high = offsets[word], offsets[word + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if records[middle] & rows < own:
                low = middle + 1
            else:
                high = middle
        while low < end and records[low] & rows == own:
            if count == len(out):
                longer = np.empty((2 * count, 2), np.int64)
                longer[:count] = out
                out = longer
            out[count, 0], out[count, 1] = low, word
            low += 1
            count += 1
    return out[:count]


@compiled
def frame_steps() -> tuple[Array, Array, Array]:
    """Return what the steps of a record stand for: float32 angles, log2 of sizes, places along a side."""
    angles = np.arange(ANGLES).astype(np.float32) * np.float32(2 * pi / ANGLES)
    step = np.float32((LARGEST - SMALLEST) / (SIZES - 1))
    sizes = np.arange(SIZES).astype(np.float32) * step + np.float32(SMALLEST)
    places = (np.arange(PLACES).astype(np.float32) + np.float32(0.5)) / np.float32(PLACES)
    return angles, sizes, places


@compiled
def unpack(records: Array) -> Array:
    """Return (n, 4) float32 x, y, log2 of the size, and angle of packed records (n,)."""
    out = np.empty((len(records), 4), np.float32)
    angles, sizes, places = frame_steps()
    for i in range(len(records)):
        place = np.int64(records[i] >> np.uint64(PLACE_AT) & np.uint64(0x7FFF))
        out[i, 0], out[i, 1] = places[place % PLACES], places[place // PLACES]
        out[i, 2] = sizes[records[i] >> np.uint64(SIZE_AT) & np.uint64(SIZES - 1)]
        out[i, 3] = angles[records[i] >> np.uint64(ANGLE_AT)]
    return out


@compiled
def sum_squares(features: Array, similarities: Array, exact: float, totals: Array) -> None:
    """Add squared similarities of matches (P,), in 1 / ``exact``, to those of their features (M,) int64."""
    for p in range(len(features)):
        value = float(similarities[p])
        totals[features[p]] += np.int64(np.rint(value * value * exact))


@compiled
def weigh_squares(features: Array, similarities: Array, exact: float, weights: Array) -> Array:
    """Return (P,) float64: the squared similarity of each match times the weight (M,) of its feature."""
    out = np.empty(len(features))
    for p in range(len(features)):
        value = float(similarities[p])
        out[p] = np.rint(value * value * exact) / exact * weights[features[p]]
    return out


@compiled
def find_others(features: Array, rows: Array, sources: Array) -> Array:
    """Return the matches of further features (P,) in another photo than the one (M,) that each is from."""
    out, count = np.empty(len(features), np.int64), 0
    for p in range(len(features)):
        out[count] = p
        count += rows[p] != sources[features[p]]
    return out[:count]


@compiled
def group(rows: Array, count: int) -> tuple[Array, Array]:
    """Order items (P,) by row below ``count``, equal rows in their order: (P,) order, (count + 1,) starts."""
    starts = np.zeros(count + 1, np.int64)
    for row in rows:
        starts[row + 1] += 1
    for row in range(count):
        starts[row + 1] += starts[row]
    order, place = np.empty(len(rows), np.int64), starts[:-1].copy()
    for item in range(len(rows)):
        order[place[rows[item]]] = item
        place[rows[item]] += 1
    return order, starts
