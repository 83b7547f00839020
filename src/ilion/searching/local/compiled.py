"""The compiled kernels of a store: words and codes of descriptors, one pass over postings.

All sums are taken in a fixed order (no fast math), so results do not depend on processors or threads. This
module imports numba, which takes half a second, so the others import it inside functions. What is compiled of
pairs of photos is in `ilion.searching.local.compiled_pairs`.

Letters: M features, D dimensions after projection, C coarse and F fine words (W = C * F words in all), m
bytes of a code, P postings, E entries (pairs of a query feature and a word that is looked up for it).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from ilion.searching.local.records import ANGLES, OCTAVES, PLACES, SIZES

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
        for place in range(count):
            top, at, best = -np.inf, 0, 0
            for p in range(probes):
                for f in range(each):
                    if close[p, f] > top:
                        top, at, best = close[p, f], p, f
            close[at, best] = -np.inf
            out[i, place] = chosen[at] * each + best
    return out


@compiled
def code_residuals(vectors: Array, words: Array, fine: Array, books: Array) -> Array:
    """Code what is left of vectors (M, D) beside their words (M,): the nearest centroid of each part.

    Args:
        vectors: (M, D).
        words: (M,).
        fine: (C, D, F).
        books: (m, D / m, 256).

    Returns:
        (M, m) uint8.
    """
    each, parts = fine.shape[2], len(books)
    out = np.empty((len(vectors), parts), np.uint8)
    residual = np.empty(fine.shape[1], np.float32)
    table = np.empty((parts, 256), np.float32)
    for i in range(len(vectors)):
        for d in range(len(residual)):
            residual[d] = vectors[i, d] - fine[words[i] // each, d, words[i] % each]
        _distances(residual, books, table)
        for part in range(parts):
            best = 0
            for code in range(1, 256):
                if table[part, code] < table[part, best]:
                    best = code
            out[i, part] = best
    return out


@compiled
def _distances(residual: Array, books: Array, table: Array) -> None:
    """Fill (m, 256) squared distances of the parts of a residual and the centroids of a code."""
    parts, size, _ = books.shape
    for part in range(parts):
        row = table[part]
        row[:] = 0
        for d in range(size):
            value, of = residual[part * size + d], books[part, d]
            for code in range(256):
                difference = value - of[code]
                row[code] += difference * difference


SHORT = 24
"""Postings up to which they are compared with directly: a table of all distances would take longer."""


@compiled
def collect(
    entries: Array,
    first: int,
    filled: int,
    vectors: Array,
    fine: Array,
    books: Array,
    offsets: Array,
    rows: Array,
    records: Array,
    row: int,
    limit: float,
    features: Array,
    found: Array,
    places: Array,
    similarities: Array,
    geometry: Array,
) -> tuple[int, int]:
    """Look through the postings of entries, until all are done or the output is full.

    Args:
        entries: (E, 2) int32, query feature and word.
        first: Entry to begin with.
        filled: Matches that the output holds already.
        vectors: (M, D) query features.
        fine: (C, D, F).
        books: (m, D / m, 256).
        offsets: (W + 1,) where the postings of each word start.
        rows: (P,) uint16.
        records: (P, m + 5) uint8.
        row: Row of the segment's first photo.
        limit: Squared distance from which on nothing matches; the similarity is 1 - distance² / limit.
        features: (n,) int32, filled with the query feature of each match.
        found: (n,) int32, the row.
        places: (n,) int32, the posting.
        similarities: (n,) float32, above 0.
        geometry: (n, 5) uint8, the end of the record.

    Returns:
        The entry to go on with (E when all are done) and the number of matches.
    """
    each, (parts, size, _) = fine.shape[2], books.shape
    residual = np.empty(fine.shape[1], np.float32)
    table = np.empty((parts, 256), np.float32)
    sums = table.reshape(-1)
    top, scale = np.float32(limit), np.float32(1 / limit)
    for entry in range(first, len(entries)):
        feature, word = entries[entry, 0], entries[entry, 1]
        start, end = offsets[word], offsets[word + 1]
        if start == end:
            continue
        if filled + end - start > len(features):
            return entry, filled
        for d in range(len(residual)):
            residual[d] = vectors[feature, d] - fine[word // each, d, word % each]
        if end - start > SHORT:
            _distances(residual, books, table)
            for place in range(start, end):
                distance = _look_up(sums, records, place, 0)
                if parts == 8:
                    distance += _look_up(sums, records, place, 4)
                if distance < top:
                    features[filled], found[filled], places[filled] = feature, row + rows[place], place
                    similarities[filled] = np.float32(1) - distance * scale
                    for byte in range(geometry.shape[1]):
                        geometry[filled, byte] = records[place, parts + byte]
                    filled += 1
            continue
        for place in range(start, end):
            distance = np.float32(0)
            for part in range(0, parts, 4):
                at = size * part
                low = _apart(residual, at, books[part], records[place, part])
                low += _apart(residual, at + size, books[part + 1], records[place, part + 1])
                high = _apart(residual, at + 2 * size, books[part + 2], records[place, part + 2])
                high += _apart(residual, at + 3 * size, books[part + 3], records[place, part + 3])
                distance += low + high
                if distance >= top:
                    break
            if distance < top:
                features[filled], found[filled], places[filled] = feature, row + rows[place], place
                similarities[filled] = np.float32(1) - distance * scale
                for byte in range(geometry.shape[1]):
                    geometry[filled, byte] = records[place, parts + byte]
                filled += 1
    return len(entries), filled


@compiled
def _look_up(sums: Array, records: Array, place: int, part: int) -> np.float32:
    """Add up four parts of a distance."""
    at = 256 * part
    low = sums[at + records[place, part]] + sums[at + 256 + records[place, part + 1]]
    high = sums[at + 512 + records[place, part + 2]] + sums[at + 768 + records[place, part + 3]]
    total: np.float32 = low + high
    return total


@compiled
def _apart(residual: Array, at: int, book: Array, code: int) -> np.float32:
    """Return the squared distance of a part of a residual and a centroid, summed as in `_distances`."""
    total = np.float32(0)
    for d in range(len(book)):
        difference = residual[at + d] - book[d, code]
        total += difference * difference
    return total


@compiled
def read_row(row: int, offsets: Array, rows: Array) -> Array:
    """Find all postings of one row of a segment: (n, 2) int64, posting and word, by word."""
    out = np.empty((256, 2), np.int64)
    count = 0
    for word in range(len(offsets) - 1):
        low, high = offsets[word], offsets[word + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if rows[middle] < row:
                low = middle + 1
            else:
                high = middle
        while low < end and rows[low] == row:
            if count == len(out):
                longer = np.empty((2 * count, 2), np.int64)
                longer[:count] = out
                out = longer
            out[count, 0], out[count, 1] = low, word
            low += 1
            count += 1
    return out[:count]


@compiled
def unpack(records: Array, start: int) -> Array:
    """Return (n, 4) float32 x, y, log2 of the size, and angle of packed records, from byte ``start`` on."""
    out = np.empty((len(records), 4), np.float32)
    for i in range(len(records)):
        packed = np.uint64(0)
        for byte in range(4):
            packed |= np.uint64(records[i, start + byte]) << np.uint64(8 * byte)
        out[i, 0] = (np.float32(packed & np.uint64(511)) + np.float32(0.5)) / PLACES
        out[i, 1] = (np.float32(packed >> np.uint64(9) & np.uint64(511)) + np.float32(0.5)) / PLACES
        out[i, 2] = (
            np.float32(packed >> np.uint64(18) & np.uint64(63)) * np.float32(OCTAVES / (SIZES - 1)) - OCTAVES
        )
        out[i, 3] = np.float32(packed >> np.uint64(24) & np.uint64(63)) * np.float32(2 * pi / ANGLES)
    return out


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
