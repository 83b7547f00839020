"""The compiled kernels of a first pass over a large database: what each photo has in common with a query.

Letters: M features of a query, E entries (pairs of one and a word that is looked up for it), P postings of a
segment, W words, m parts of a code of K values each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.kernels import lookups
from ilion.searching.local.compiled import LAST, compiled, distance_of
from ilion.searching.local.records import CENTROIDS, CODE_AT, PARTS, ROWS

Array = NDArray[Any]

STEPS = 1024
"""Steps of squared distance up to the largest one at which features match, where matches are only summed."""
MARGIN = 3
"""Steps beyond it within which no match lies: four roundings to half a step, and those of the processor."""
REACH = STEPS + MARGIN
ROW_BITS = CODE_AT
"""Bits of a row; what is kept of a match is its row and above it its place in the list of its word."""
LONGEST = 2 ** (32 - ROW_BITS)
"""Postings of a word in a segment that can be kept so."""
AHEAD = 3
"""Entries whose lists are asked for before they are read."""


@compiled
def step_tables(tables: Array, farthest: float) -> Array:
    """Return distances (E, m, K) in `STEPS` up to the farthest at which features match.

    Returns:
        (E * 2 * m * K,) uint8: of each entry the upper bits, then the lower ones, see
        `ilion.kernels.lookups`. The largest value is too far for any sum.
    """
    size = PARTS * CENTROIDS
    out = np.empty(2 * tables.size, np.uint8)
    most, scale = np.float32(2 * farthest), np.float32(STEPS / farthest)
    for entry in range(len(tables)):
        at, of = 2 * size * entry, tables[entry].ravel()
        for value in range(size):
            step = np.int32(min(np.rint(min(of[value], most) * scale), 2 * STEPS - 1))
            out[at + value], out[at + size + value] = step >> lookups.LOW, step & (1 << lookups.LOW) - 1
    return out


@compiled
def scan_codes(
    tables: Array,
    tables_at: int,
    records: Array,
    start: int,
    stop: int,
    pairs: Array,
    filled: int,
    sums: Array,
) -> int:
    """Find the records whose codes are near enough, as `ilion.kernels.lookups.near_codes` does."""
    steps = np.empty((PARTS, CENTROIDS), np.int32)
    for part in range(PARTS):
        upper = tables[tables_at + part * CENTROIDS :]
        lower = upper[PARTS * CENTROIDS :]
        for code in range(CENTROIDS):
            steps[part, code] = (np.int32(upper[code]) << lookups.LOW) + lower[code]
    first, second, third, fourth = steps[0], steps[1], steps[2], steps[3]
    count = np.uint64(0)  # without a sign, so that no place is held against 0 first
    for place in range(stop - start):
        record = records[start + place]
        code = record >> np.uint64(CODE_AT)
        total = first[code & np.uint64(LAST)] + second[code >> np.uint64(7) & np.uint64(LAST)]
        total += third[code >> np.uint64(14) & np.uint64(LAST)]
        total += fourth[code >> np.uint64(21) & np.uint64(LAST)]
        row = np.uint32(record & np.uint64(ROWS - 1))
        pairs[np.uint64(filled) + count] = row | np.uint32(place << ROW_BITS)
        sums[count] = total
        count += np.uint64(total < REACH)  # those that are too far leave their room to the next
    return filled + int(count)


WIDE = lookups.can_compile()
"""Whether codes are looked up in registers of the processor; without, results are the same."""
near_codes = lookups.near_codes(CODE_AT, REACH) if WIDE else scan_codes


@compiled
def _fetch_nothing(values: Array, at: int) -> None:
    """Stand in for `ilion.kernels.lookups.fetch_ahead`."""


fetch = lookups.fetch_ahead() if WIDE else _fetch_nothing


@compiled
def add_up(
    entries: Array,
    tables: Array,
    worth: Array,
    weights: Array,
    offsets: Array,
    records: Array,
    shown: Array,
    sums: Array,
    totals: Array,
    wide: bool,
) -> tuple[Array, Array]:
    """Add what the postings of entries count to the sums of their photos, and to those of query features.

    Args:
        entries: (E, 2) int32, query feature and word.
        tables: Distances of their features, see `step_tables`.
        worth: (REACH,) int32, squared similarity at each distance; 0 from `STEPS` on.
        weights: (M,) int64, by which a match of each feature counts for its photo, in 1 / 65,536.
        offsets: (W + 1,).
        records: (P,) uint64.
        shown: (n,) uint8, 1 for photos of the segment that count.
        sums: (n,) int64 of the photos of the segment, added to.
        totals: (M,) int64, squared similarities, added to.
        wide: Whether codes are looked up in registers; without, the result is the same.

    Returns:
        Pairs that may match, (n,) uint32 row and place (`ROW_BITS`), and (E + 1,) int64 where those of each
        entry begin; none where a list is longer than `LONGEST`.
    """
    size, rows, room, longest = 2 * CENTROIDS * PARTS, np.uint32(ROWS - 1), 0, 0
    for entry in range(len(entries)):
        length = offsets[entries[entry, 1] + 1] - offsets[entries[entry, 1]]
        room, longest = room + length, max(longest, length)
    kept, near = np.empty(room + lookups.LINE, np.uint32), np.empty(longest + lookups.LINE, np.uint32)
    ends, filled = np.zeros(len(entries) + 1, np.int64), 0
    for entry in range(len(entries)):
        feature, word = entries[entry, 0], entries[entry, 1]
        start, stop = offsets[word], offsets[word + 1]
        if wide:
            then = min(entry + AHEAD, len(entries) - 1)
            if entries[then, 1] != entries[then - 1, 1]:
                for at in range(offsets[entries[then, 1]], offsets[entries[then, 1] + 1], 8):
                    fetch(records, at)
            end = near_codes(tables, entry * size, records, start, stop, kept, filled, near)
        else:
            end = scan_codes(tables, entry * size, records, start, stop, kept, filled, near)
        weight, total = weights[feature], 0
        for at in range(end - filled):
            row = np.uint64(kept[filled + at] & rows)
            square = np.int64(worth[np.uint64(near[at])]) * np.int64(shown[row])
            total += int(square)
            sums[row] += square * weight >> np.int64(16)
        totals[feature] += total
        filled = end
        ends[entry + 1] = filled
    return kept[: 0 if longest > LONGEST else filled].copy(), ends


@compiled
def pick(
    entries: Array, offsets: Array, records: Array, kept: Array, ends: Array, chosen: Array
) -> tuple[Array, Array]:
    """Find the postings of chosen photos among what `add_up` kept of a segment.

    Args:
        entries: (E, 2) int32.
        offsets: (W + 1,).
        records: (P,) uint64, which are asked for: they lie far apart, and are read next.
        kept: (n,) uint32.
        ends: (E + 1,).
        chosen: (n,) uint8, 1 for photos of the segment that are looked at.

    Returns:
        (p,) int64 places of postings, and (E + 1,) where those of each entry begin.
    """
    places, begins, count = np.empty(len(kept) + 1, np.int64), np.zeros(len(entries) + 1, np.int64), 0
    for entry in range(len(entries)):
        start, before = offsets[entries[entry, 1]], count
        # a place is kept if the next one does not take its room
        for value in kept[ends[entry] : ends[entry + 1]]:
            places[count] = start + (value >> np.uint32(ROW_BITS))
            count += chosen[value & np.uint32(ROWS - 1)]
        for at in range(before, count):
            fetch(records, places[at])
        begins[entry + 1] = count
    return places[:count], begins


@compiled
def measure(
    entries: Array,
    tables: Array,
    picked: Array,
    begins: Array,
    records: Array,
    row: int,
    limit: float,
    faint: float,
    filled: int,
    features: Array,
    found: Array,
    places: Array,
    similarities: Array,
    held: Array,
) -> int:
    """Compare what was picked of a segment in full; arguments and output as of `collect`.

    Returns:
        The number of matches.
    """
    top, scale = np.float32(limit * (1 - faint)), np.float32(1 / limit)
    for entry in range(len(entries)):
        table = tables[entry]
        for place in picked[begins[entry] : begins[entry + 1]]:
            record = records[place]
            distance = distance_of(table, record)
            if distance < top:
                features[filled], places[filled], held[filled] = entries[entry, 0], place, record
                found[filled] = row + np.int64(record & np.uint64(ROWS - 1))
                similarities[filled] = np.float32(1) - distance * scale
                filled += 1
    return filled
