"""The compiled kernels of pairs of a query and a photo: votes and colours.

Verification is in `ilion.searching.local.compiled_motions`.

Letters: P matches or points, S photos; see `ilion.searching.local.compiled`.
"""

from __future__ import annotations

from math import cos, floor, hypot, log2, pi, sin, sqrt

import numpy as np

from ilion.searching.local.compiled import Array, compiled, frame_steps
from ilion.searching.local.records import ANGLE_AT, PLACE_AT, PLACES, SIZE_AT, SIZES
from ilion.searching.local.tones import CLOSE, FINE, LEAST, NOISE, SHIFT, UNKNOWN

TURNS, RATIO, OCTAVES, PLACE, FAR = 8, 1.0, 8.0, 0.15, 1.0
"""Cells of a turn; octaves of scale a cell, and by which a photo may be smaller than the query; side of a
cell as a share of the image; how far outside the image a centre may lie."""


@compiled
def vote(
    photos: Array,
    order: Array,
    starts: Array,
    features: Array,
    records: Array,
    weights: Array,
    frames: Array,
    centre_x: float,
    centre_y: float,
    least: float = 0.0,
) -> Array:
    """Sum the matches of photos in the best cell of rotation, scale and place of each.

    Each match says how the query would lie in the photo; a true pair agrees. The space is cut eight times, so
    that what straddles a border in one cut is whole in another.

    Args:
        photos: (n,) photos that are looked at.
        order: (P,) matches, one photo after the other.
        starts: (N + 1,) where the matches of each photo start in ``order``.
        features: (P,) query feature of each match.
        records: (P,) uint64, see `ilion.searching.local.records`.
        weights: (P,) what each match counts.
        frames: (M, 4) x, y, log2 of the size, and angle of the query features.
        centre_x: Centre of the query.
        centre_y: Centre of the query.
        least: Sum below which it need not be known.

    Returns:
        (n,) float64, what the matches of the best cell count; 0 where that is below ``least``.
    """
    out = np.zeros(len(photos))
    angles, sizes, places = frame_steps()
    cosines, sines = np.cos(angles.astype(np.float64)), np.sin(angles.astype(np.float64))
    scales = np.exp2(sizes.astype(np.float64))
    # where the centre lies from each feature, turned and scaled as if the photo's feature were upright and 1
    arms = np.empty((len(frames), 2))
    for m in range(len(frames)):
        dx, dy, scale = centre_x - frames[m, 0], centre_y - frames[m, 1], np.exp2(-float(frames[m, 2]))
        c, s = scale * cos(float(frames[m, 3])), scale * sin(float(frames[m, 3]))
        arms[m, 0], arms[m, 1] = c * dx + s * dy, c * dy - s * dx
    axes, loads = np.empty((4, 64), np.int32), np.empty(64)
    keys, slots, sums = np.empty(64, np.int32), np.empty(64, np.int32), np.zeros(256)
    for i in range(len(photos)):
        begin, end = starts[photos[i]], starts[photos[i] + 1]
        if len(loads) < end - begin:
            axes, loads = np.empty((4, 2 * (end - begin)), np.int32), np.empty(2 * (end - begin))
            keys, slots = np.empty(len(loads), np.int32), np.empty(len(loads), np.int32)
        near = 0
        for at in range(begin, end):
            p = order[at]
            feature, record = features[p], records[p]
            angle = np.int64(record >> np.uint64(ANGLE_AT))
            size = np.int64(record >> np.uint64(SIZE_AT) & np.uint64(SIZES - 1))
            place = np.int64(record >> np.uint64(PLACE_AT) & np.uint64(0x7FFF))
            c, s = scales[size] * cosines[angle], scales[size] * sines[angle]
            x = places[place % PLACES] + c * arms[feature, 0] - s * arms[feature, 1]
            y = places[place // PLACES] + s * arms[feature, 0] + c * arms[feature, 1]
            if -FAR < x < 1 + FAR and -FAR < y < 1 + FAR:
                turn = (angles[angle] - frames[feature, 3]) / (2 * pi)
                turn -= floor(turn)
                octaves = sizes[size] - frames[feature, 2]
                # in halves of a cell, so that a cut moves them by one or none
                axes[0, near], axes[1, near] = int(2 * TURNS * turn), int(2 * ((octaves + OCTAVES) / RATIO))
                axes[2, near], axes[3, near] = int(2 * ((x + FAR) / PLACE)), int(2 * ((y + FAR) / PLACE))
                loads[near] = weights[p]
                near += 1
        while len(sums) < 4 * near:
            sums = np.zeros(2 * len(sums))
        best = below = np.nextafter(least, 0.0) if least > 0 else 0.0
        for cut in range(8):
            _name_cells(axes, cut, near, len(sums), keys, slots)
            # cells that share a slot are told apart only where the slot could win: most do not
            top = 0.0
            for m in range(near):
                total = sums[slots[m]] + loads[m]
                sums[slots[m]] = total
                top = max(top, total)
            if top > best:
                for m in range(near):
                    if sums[slots[m]] > best:
                        best = max(best, _heaviest(keys, slots, loads, near, slots[m]))
                        sums[slots[m]] = 0.0
            for m in range(near):
                sums[slots[m]] = 0.0
        out[i] = best if best > below else 0.0
    return out


@compiled
def _name_cells(axes: Array, cut: int, count: int, room: int, keys: Array, slots: Array) -> None:
    """Number the cells of the first ``count`` matches in one of eight cuts, and spread them over slots.

    Args:
        axes: (4, n) int32 places in halves of a cell.
        cut: Number of the cut, 0 to 7: each bit moves an axis by half a cell, their parity the last one.
        count: Number of matches.
        room: Number of slots, a power of two.
        keys: (n,) int32, filled.
        slots: (n,) int32, filled.
    """
    a, b, c = np.int32(cut & 1), np.int32(cut >> 1 & 1), np.int32(cut >> 2 & 1)
    d, mask = a + b + c & np.int32(1), np.uint32(room - 1)
    one, wrap, turns = np.int32(1), np.int32(TURNS - 1), axes[0]
    octaves, across, down = axes[1], axes[2], axes[3]
    for m in range(count):
        key = np.int32(np.int32(turns[m] + a) >> one) & wrap
        # sizes of moved features may lie beyond all cells: they wrap, as turns do
        key = np.int32(key << np.int32(6)) | np.int32(np.int32(octaves[m] + b) >> one & np.int32(63))
        key = np.int32(key << np.int32(6)) | np.int32(np.int32(across[m] + c) >> one)
        key = np.int32(key << np.int32(6)) | np.int32(np.int32(down[m] + d) >> one)
        keys[m] = key
        slots[m] = np.uint32(np.uint32(key) * np.uint32(2654435761)) >> np.uint32(8) & mask


@compiled
def _heaviest(keys: Array, slots: Array, loads: Array, count: int, slot: int) -> float:
    """Return the largest sum of the loads of one key, among the first ``count`` items in a slot."""
    best, after = 0.0, -1
    while True:
        key, total = -1, 0.0  # the smallest key that was not summed yet
        for m in range(count):
            if slots[m] == slot and keys[m] > after and (key < 0 or keys[m] <= key):
                total = total + loads[m] if keys[m] == key else loads[m]
                key = keys[m]
        if key < 0:
            return best
        best, after = max(best, total), key


@compiled
def agree_in_tone(
    points: Array, colours: Array, quarters: Array, motions: Array, tones: Array, sizes: Array
) -> Array:
    """Hold the colours of photos against those of a query, see `ilion.searching.local.agreement`.

    Args:
        points: (P, 2) places in the query, as shares of its longer side.
        colours: (blurs, P, 2) float32 a and b of the query there, ever more blurred.
        quarters: (P,) quarter of the query, 0 to 3.
        motions: (S, 6) from query to photo.
        tones: (S, n, n, 2) float32 a and b of the photos, by row and column.
        sizes: (S, 2) width and height of the photos.

    Returns:
        (S, 7) float64.
    """
    out = np.empty((len(motions), len(UNKNOWN)))
    cells, most = tones.shape[1], len(points)
    asked, seen = np.empty((most, 2)), np.empty((most, 2))
    apart, part = np.empty(most), np.empty(most, np.int64)
    for i in range(len(motions)):
        a, b, x0, c, e, y0 = motions[i]
        area = a * e - b * c
        side = max(sizes[i, 0], sizes[i, 1])
        wide, tall = sizes[i, 0] / side, sizes[i, 1] / side
        count = 0
        if area > 0:
            blur = int(min(max(round(log2(0.5 * FINE / (cells * sqrt(area)))) + 1, 0), len(colours) - 1))
            for p in range(most):
                x = a * points[p, 0] + b * points[p, 1] + x0
                y = c * points[p, 0] + e * points[p, 1] + y0
                if not (0 < x < wide and 0 < y < tall):
                    continue
                column = min(max(x / wide * cells - 0.5, 0.0), cells - 1.0)
                row = min(max(y / tall * cells - 0.5, 0.0), cells - 1.0)
                left, up = min(int(column), cells - 2), min(int(row), cells - 2)
                right, down = column - left, row - up
                for axis in range(2):
                    upper = (1 - right) * tones[i, up, left, axis] + right * tones[i, up, left + 1, axis]
                    lower = (1 - right) * tones[i, up + 1, left, axis] + right * tones[
                        i, up + 1, left + 1, axis
                    ]
                    seen[count, axis] = (1 - down) * upper + down * lower
                    asked[count, axis] = colours[blur, p, axis]
                part[count] = quarters[p]
                count += 1
        if count < LEAST:
            for number in range(len(UNKNOWN)):
                out[i, number] = UNKNOWN[number]
            continue
        shift_a = np.median(seen[:count, 0] - asked[:count, 0])
        shift_b = np.median(seen[:count, 1] - asked[:count, 1])
        taken_a, taken_b = min(max(shift_a, -SHIFT), SHIFT), min(max(shift_b, -SHIFT), SHIFT)
        mean_a, mean_b = np.mean(asked[:count, 0]), np.mean(asked[:count, 1])
        seen_a, seen_b = np.mean(seen[:count, 0]), np.mean(seen[:count, 1])
        both, own, others, total, close = 0.0, 0.0, 0.0, 0.0, 0.0
        sums, counts = np.zeros(4), np.zeros(4)
        for k in range(count):
            qa, qb, fa, fb = asked[k, 0], asked[k, 1], seen[k, 0], seen[k, 1]
            apart[k] = hypot(fa - qa - taken_a, fb - qb - taken_b)
            total += apart[k]
            close += apart[k] < CLOSE
            sums[part[k]] += apart[k]
            counts[part[k]] += 1
            both += (qa - mean_a) * (fa - seen_a) + (qb - mean_b) * (fb - seen_b)
            own += (qa - mean_a) ** 2 + (qb - mean_b) ** 2
            others += (fa - seen_a) ** 2 + (fb - seen_b) ** 2
        worst = 0.0
        for quarter in range(4):
            if counts[quarter] > 2:
                worst = max(worst, sums[quarter] / counts[quarter])
        out[i, 0], out[i, 1], out[i, 2] = count / most, total / count, np.median(apart[:count])
        out[i, 3], out[i, 4] = worst, both / sqrt((own + NOISE * count) * (others + NOISE * count))
        out[i, 5], out[i, 6] = hypot(shift_a, shift_b), close / count
    return out
