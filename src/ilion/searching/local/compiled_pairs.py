"""The compiled kernels of pairs of a query and a photo: votes, verification, colours.

Letters: P matches or points, S photos; see `ilion.searching.local.compiled`.
"""

from __future__ import annotations

from math import cos, exp2, floor, hypot, log2, pi, sin, sqrt

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
        dx, dy, scale = centre_x - frames[m, 0], centre_y - frames[m, 1], exp2(-float(frames[m, 2]))
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


HYPOTHESES, MATCHES = 64, 384
"""Strongest matches of an image that say a motion each, and those that are held against it."""
TURN, OCTAVE = 0.6, 0.8
"""Largest difference of the rotation (radians) and scale (octaves) of a match and the motion it supports."""
STRAIGHT = cos(TURN)
REFINED = 3
"""Best motions that are refined."""
ROUNDS = 4
WHOLE = 2.0**30
"""What the weights of all matches of an image come to in whole numbers."""
LEVER = 0.2
"""Share of the distance from a match by which the motion that it alone says may be off."""


@compiled
def _strongest(weights: Array, begin: int, end: int, keys: Array, order: Array) -> int:
    """Choose the strongest of the matches of an image, those of one weight in their order.

    Args:
        weights: (P,) what each match counts, not negative.
        begin: First match of the image.
        end: First match after it.
        keys: (n,) int64, room for its matches.
        order: (MATCHES,) int64, filled, the strongest first.

    Returns:
        Number of matches chosen, at most `MATCHES`.
    """
    many = end - begin
    held = keys[:many]
    for k in range(many):
        # floats from 0 on are in the order of their bits; with the place below them no two are equal
        held[k] = np.int64(np.float32(weights[begin + k]).view(np.int32)) << np.int64(32) | np.int64(many - k)
    if many > MATCHES:
        held = np.partition(held, many - MATCHES)[many - MATCHES :]
    held = np.sort(held)
    for k in range(len(held)):
        order[k] = end - (held[len(held) - 1 - k] & np.int64(0xFFFFFFFF))
    return len(held)


@compiled
def _line_up(order: Array, query: Array, image: Array, weights: Array, points: Array, loads: Array) -> float:
    """Lay matches out as they are held against motions: column by column, so several are compared at once.

    Args:
        order: (n,) matches.
        query: (P, 4) features of the query.
        image: (P, 4) features of the image.
        weights: (P,) what each match counts.
        points: (9, `MATCHES`) float32, filled: x and y in the query and in the image, difference of sizes,
            cosine and sine of the angle in the query and of the turn from there to the image.
        loads: (`MATCHES`,) int32, filled: weights in whole numbers, which have the same sum in any order.

    Returns:
        What a weight of 1 is in ``loads``.
    """
    total = 0.0
    for p in order:
        total += weights[p]
    unit = WHOLE / total if total > 0 else 0.0
    for k in range(len(order)):
        p = order[k]
        points[0, k], points[1, k] = query[p, 0], query[p, 1]
        points[2, k], points[3, k] = image[p, 0], image[p, 1]
        points[4, k] = image[p, 2] - query[p, 2]
        points[5, k], points[6, k] = cos(query[p, 3]), sin(query[p, 3])
        turn = image[p, 3] - query[p, 3]
        points[7, k], points[8, k] = cos(turn), sin(turn)
        loads[k] = np.int32(weights[p] * unit)
    return unit


@compiled
def _support(points: Array, loads: Array, count: int, near: np.float32, support: Array) -> None:
    """Sum, for each of the first matches, those that agree with the motion that it alone says.

    Every pair is looked at in full: without branches, several are compared at once. That motion turns and
    scales only, so directions differ by the difference of two turns.

    Args:
        points: See `_line_up`.
        loads: See `_line_up`.
        count: Number of matches.
        near: Tolerance.
        support: (h,) int32, filled.
    """
    qx, qy, ix, iy, size, rc, rs = points[0], points[1], points[2], points[3], points[4], points[7], points[8]
    lever, octave, straight = np.float32(LEVER), np.float32(OCTAVE), np.float32(STRAIGHT)
    for h in range(len(support)):
        octaves, turn_c, turn_s, at_x, at_y = size[h], rc[h], rs[h], ix[h], iy[h]
        scale = np.float32(exp2(octaves))
        c, s = scale * turn_c, scale * turn_s
        x0, y0 = at_x - c * qx[h] + s * qy[h], at_y - s * qx[h] - c * qy[h]
        total = np.int32(0)
        for p in range(count):
            x, y = c * qx[p] - s * qy[p] + x0 - ix[p], s * qx[p] + c * qy[p] + y0 - iy[p]
            away_x, away_y = ix[p] - at_x, iy[p] - at_y
            reach = near + lever * np.sqrt(away_x * away_x + away_y * away_y)
            agrees = (
                (x * x + y * y <= reach * reach)
                & (abs(size[p] - octaves) <= octave)
                & (rc[p] * turn_c + rs[p] * turn_s > straight)
            )
            total += loads[p] if agrees else np.int32(0)
        support[h] = total


@compiled
def _agreeing(
    motion: Array,
    order: Array,
    points: Array,
    near: np.float32,
    lever: np.float32,
    at: int,
    marks: Array,
    kept: Array,
) -> int:
    """Choose the matches that agree with a motion (6,): a b x; c e y, which does not mirror.

    Args:
        motion: The motion.
        order: (n,) matches to look at.
        points: See `_line_up`.
        near: Tolerance.
        lever: What is added to it for a distance of 1 from the match at ``at``.
        at: Place in ``order`` of the match where the motion is known best.
        marks: (`MATCHES`,) bool, room.
        kept: Filled with the matches, in their order.

    Returns:
        Number of matches.
    """
    a, b, x0 = np.float32(motion[0]), np.float32(motion[1]), np.float32(motion[2])
    c, e, y0 = np.float32(motion[3]), np.float32(motion[4]), np.float32(motion[5])
    octaves = np.float32(0.5 * log2(motion[0] * motion[4] - motion[1] * motion[3]))
    qx, qy, ix, iy, size = points[0], points[1], points[2], points[3], points[4]
    qc, qs, rc, rs, at_x, at_y = points[5], points[6], points[7], points[8], points[2, at], points[3, at]
    octave, straight = np.float32(OCTAVE), np.float32(STRAIGHT * STRAIGHT)
    for p in range(len(order)):
        x, y = a * qx[p] + b * qy[p] + x0 - ix[p], c * qx[p] + e * qy[p] + y0 - iy[p]
        away_x, away_y = ix[p] - at_x, iy[p] - at_y
        reach = near + lever * np.sqrt(away_x * away_x + away_y * away_y)
        # where the motion takes the direction of the query's keypoint, along that of the image's
        turned_x, turned_y = a * qc[p] + b * qs[p], c * qc[p] + e * qs[p]
        towards = turned_x * (qc[p] * rc[p] - qs[p] * rs[p]) + turned_y * (qs[p] * rc[p] + qc[p] * rs[p])
        marks[p] = (
            (x * x + y * y <= reach * reach)
            & (abs(size[p] - octaves) <= octave)
            & (towards > np.float32(0))
            & (towards * towards > straight * (turned_x * turned_x + turned_y * turned_y))
        )
    count = 0
    for p in range(len(order)):
        kept[count] = order[p]
        count += marks[p]
    return count


@compiled
def _once(kept: Array, found: int, weights: Array, spots: Array, places: Array) -> tuple[int, float]:
    """Keep, of the first ``found`` matches, each spot of the query and each feature of the image once."""
    count, total = 0, 0.0
    for k in range(found):
        p, used = kept[k], False
        for other in range(count):
            if spots[kept[other]] == spots[p] or places[kept[other]] == places[p]:
                used = True
                break
        if not used:
            kept[count] = p
            count += 1
            total += weights[p]
    return count, total


@compiled
def _fit(query: Array, image: Array, weights: Array, kept: Array, count: int, motion: Array) -> bool:
    """Fit a motion to matches by least squares, affine from four on, else a similarity; False: it cannot."""
    total, mx, my, nx, ny = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(count):
        p = kept[k]
        w = weights[p]
        total += w
        mx += w * query[p, 0]
        my += w * query[p, 1]
        nx += w * image[p, 0]
        ny += w * image[p, 1]
    if total <= 0 or count < 2:
        return False
    mx, my, nx, ny = mx / total, my / total, nx / total, ny / total
    xx, xy, yy, ux, uy, vx, vy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(count):
        p = kept[k]
        w, x, y = weights[p] / total, query[p, 0] - mx, query[p, 1] - my
        u, v = image[p, 0] - nx, image[p, 1] - ny
        xx += w * x * x
        xy += w * x * y
        yy += w * y * y
        ux += w * u * x
        uy += w * u * y
        vx += w * v * x
        vy += w * v * y
    spread = xx + yy
    if spread < 1e-8:
        return False
    a, b = (ux + vy) / spread, (vx - uy) / spread
    m0, m1, m3, m4 = a, -b, b, a
    determinant = xx * yy - xy * xy
    if count >= 4 and determinant > 0.01 * spread * spread:
        s0, s1 = (ux * yy - uy * xy) / determinant, (uy * xx - ux * xy) / determinant
        s3, s4 = (vx * yy - vy * xy) / determinant, (vy * xx - vx * xy) / determinant
        area, energy = s0 * s4 - s1 * s3, s0 * s0 + s1 * s1 + s3 * s3 + s4 * s4
        # the ratio r of the singular values is at most 3 where r + 1 / r = energy / area is at most 10/3
        if area > 0 and 3 * energy <= 10 * area:
            m0, m1, m3, m4 = s0, s1, s3, s4
    if m0 * m4 - m1 * m3 < 1e-6:
        return False
    motion[0], motion[1], motion[2] = m0, m1, nx - m0 * mx - m1 * my
    motion[3], motion[4], motion[5] = m3, m4, ny - m3 * mx - m4 * my
    return True


@compiled
def verify(
    starts: Array, query: Array, image: Array, weights: Array, spots: Array, places: Array, near: float
) -> tuple[Array, Array, Array]:
    """Find the motion on which the matches of each image agree.

    The strongest matches each say a similarity; the best of these are refined by weighted least squares to an
    affine map, and of its supporters every spot of the query and every feature of the image counts once.

    Args:
        starts: (n + 1,) where the matches of each image start.
        query: (P, 4) x, y, log2 of the size, angle of the query feature of each match.
        image: (P, 4) the same of the database feature.
        weights: (P,) what each match counts.
        spots: (P,) query spot of each match; features of one spot at several sizes share it.
        places: (P,) database feature of each match.
        near: Tolerance, as a share of the image's longer side.

    Returns:
        (n,) weight of the supporters; (n, 6) motion, all zero where there is none; (P,) bool supporters.
    """
    sums = np.zeros(len(starts) - 1)
    motions = np.zeros((len(sums), 6))
    supports = np.zeros(len(weights), np.bool_)
    motion, trial = np.empty(6), np.empty(6)
    points, loads, marks = (
        np.empty((9, MATCHES), np.float32),
        np.empty(MATCHES, np.int32),
        np.empty(MATCHES, np.bool_),
    )
    keys, chosen = np.empty(MATCHES, np.int64), np.empty(MATCHES, np.int64)
    # one more than there may be: what is not kept leaves its room to the next
    kept, before = np.empty(MATCHES + 1, np.int64), np.empty(MATCHES + 1, np.int64)
    best = np.empty(MATCHES + 1, np.int64)
    close, lever, none = np.float32(near), np.float32(LEVER), np.float32(0)
    for i in range(len(sums)):
        begin, end = starts[i], starts[i + 1]
        if len(keys) < end - begin:
            keys = np.empty(2 * (end - begin), np.int64)
        order = chosen[: _strongest(weights, begin, end, keys, chosen)]
        unit = _line_up(order, query, image, weights, points, loads)
        support = np.zeros(min(len(order), HYPOTHESES), np.int32)
        _support(points, loads, len(order), close, support)
        most = 0
        for _ in range(min(REFINED, len(support))):
            h = int(np.argmax(support))
            if support[h] <= sums[i] * unit:
                break
            support[h] = 0
            _similarity(query[order[h]], image[order[h]], motion)
            count = _agreeing(motion, order, points, close, lever, h, marks, kept)
            fitted = -1
            for _round in range(ROUNDS):
                # matches that were fitted to already lead to the same motion
                if count == fitted and np.array_equal(kept[:count], before[:count]):
                    break
                if not _fit(query, image, weights, kept, count, trial):
                    break
                fitted, motion[:] = count, trial
                before[:count] = kept[:count]
                count = _agreeing(motion, order, points, close, none, 0, marks, kept)
                count, total = _once(kept, count, weights, spots, places)
                if count > 1 and total > sums[i]:
                    sums[i], most = total, count
                    motions[i] = motion
                    best[:count] = kept[:count]
        for k in range(most):
            supports[best[k]] = True
    return sums, motions, supports


@compiled
def _similarity(q: Array, d: Array, motion: Array) -> None:
    """Fill the motion that a match alone says."""
    scale, turn = exp2(d[2] - q[2]), d[3] - q[3]
    c, s = scale * cos(turn), scale * sin(turn)
    motion[0], motion[1], motion[2] = c, -s, d[0] - c * q[0] + s * q[1]
    motion[3], motion[4], motion[5] = s, c, d[1] - s * q[0] - c * q[1]


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
