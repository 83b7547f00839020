"""The compiled kernels of verification: the motion on which the matches of a query and a photo agree.

Letters: P matches, S photos; see `ilion.searching.local.compiled`.
"""

from __future__ import annotations

from math import cos, log2, sin

import numpy as np

from ilion.searching.local.compiled import Array, compiled

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
        scale = np.float32(np.exp2(octaves))
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
        lever: Growth of the tolerance for a distance of 1 from the match at ``at``.
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
    scale, turn = np.exp2(d[2] - q[2]), d[3] - q[3]
    c, s = scale * cos(turn), scale * sin(turn)
    motion[0], motion[1], motion[2] = c, -s, d[0] - c * q[0] + s * q[1]
    motion[3], motion[4], motion[5] = s, c, d[1] - s * q[0] - c * q[1]
