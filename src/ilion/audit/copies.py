"""Photos that are one photo: the same file, saved anew, resized, mirrored, cropped, or taken a moment later.

Hashes find versions of whole photos among millions. Crops are found by verified local matches, whose motion
says where one photo lies in the other; then their pixels are laid over each other and decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, islice, product

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.audit.hashes import thumb_distances
from ilion.audit.near import NearPairs, near_pairs
from ilion.audit.suspects import Relation
from ilion.types import RGB, Float64, Int64, Value

MOST_BITS = 36
"""Differing bits of 192 up to which thumbnails are compared."""
EQUALS, BLOCK = 8, 4096
"""Photos of one hash that are compared with each other and those of a near one; pairs compared at a time."""
SAME, CLOSE = 0.98, 0.85
"""Correlation of thumbnails from which two photos may be one, and from which they are laid on each other."""
THUMB_PEAK, PEAK = 30.0, 22.0
"""Largest difference of the thumbnails of one photo, and of photos laid over each other, in levels: of the
latter, versions of a photo differ by up to 16, with another thing in it by 25 and more (docs/audit.md)."""
DARK, BRIGHT = 4.0, 251.0
"""Levels beyond which a photo shows less than there was."""
STEEPEST = 2.0
"""Largest ratio of the contrasts of two versions of a photo."""
OVERLAP_SIDE, LEAST_SIDE = 224, 48
"""Longer side, in pixels, at which two photos are laid over each other, and that of the smallest part."""
LEAST_SPREAD = 12.0
"""Deviation, in levels, that a photo is taken to have at least: what varies less is mostly noise."""
PART = 11
"""Side in pixels of the parts in which overlapping photos are compared."""
ONE, MOMENT = 0.965, 0.72
"""Correlation of what overlaps from which on the pixels are the same, and from which on the scene is."""
LEAST_SHARE = 0.2
"""Share of the smaller photo that a crop must have in common with the larger one."""
TURN, STRETCH = 0.06, 1.1
"""Largest turn (radians) and ratio of scales of a crop; a photo taken anew has more."""


@dataclass(frozen=True)
class Pair(Value):
    """Two photos that are one.

    Args:
        first: Number of a photo.
        second: Number of another one.
        relation: Way in which one came from the other.
        confidence: Probability in [0, 1] that they are one photo (of a burst: one moment).
        bits: Differing bits of the hashes, -1 where they were not compared.
        likeness: Correlation of the pixels.
    """

    first: int
    second: int
    relation: Relation
    confidence: float
    bits: int
    likeness: float


def find_copies(
    digests: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    mirrored: NDArray[np.uint8],
    thumbs: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    look: Callable[[int, int], Overlap | None] | None = None,
) -> tuple[list[Pair], int]:
    """Find photos that are one as wholes.

    Args:
        digests: (N, 16) uint8 digests of the files.
        codes: (N, 24) uint8 hashes.
        mirrored: (N, 24) uint8 hashes of the mirrored photos.
        thumbs: (N, 16, 16, 3) uint8, perhaps memory-mapped.
        sizes: (N, 2) width and height in pixels.
        look: Lays two photos over each other; None believes the thumbnails, and leaves out what they leave
            open.

    Returns:
        Pairs, where of many equal photos the first is paired with each other one; and the number of photos
        with more near ones than were compared, see `ilion.audit.near.NearPairs`.
    """
    count = len(codes)
    found: dict[tuple[int, int], Pair] = {}
    equal = near_pairs(digests, 0)
    for a, b in zip(equal.first.tolist(), equal.second.tolist(), strict=True):
        found[a, b] = Pair(a, b, "exact", 1.0, 0, 1.0)
    near = near_pairs(np.concatenate([codes, mirrored]), MOST_BITS)
    again = np.isin(np.arange(2 * count) % max(count, 1), equal.second)
    groups, cut = _group_equals(near, again, count)
    for first, second, bits in _with_equals(near, groups):
        # a pair of two mirrored photos is that of the photos; one that is its own mirror image is no pair
        keep = (first < count) & (first != second - count)
        a, b, mirror = first[keep], second[keep] % count, second[keep] >= count
        own, other = thumbs[a], thumbs[b].copy()
        other[mirror] = other[mirror][:, :, ::-1]
        peaks, likeness = thumb_distances(own, other)
        for i, j, m, d, s, peak in zip(
            a.tolist(), b.tolist(), mirror.tolist(), bits[keep].tolist(), likeness, peaks, strict=True
        ):
            pair = (min(i, j), max(i, j))
            if pair in found or s < CLOSE:
                continue
            relation: Relation = "mirrored" if m else "resaved" if (sizes[i] == sizes[j]).all() else "resized"
            whole = s >= SAME and peak <= THUMB_PEAK
            seen = look(*pair) if look is not None and not m else None
            better = judge_overlap(*pair, seen, d) if seen is not None else None
            # small things in one of two photos of a place are too small for a thumbnail
            alike = better is not None and better.relation == "resized"
            if whole and (seen is None or alike):
                found[pair] = Pair(*pair, relation, _sure(float(s)), d, float(s))
            elif better is not None:
                found[pair] = replace(better, relation=relation) if alike else better
    return list(found.values()), near.crowded + cut


def _group_equals(
    near: NearPairs, left_out: NDArray[np.bool_], count: int
) -> tuple[dict[int, list[int]], int]:
    """Return code -> equal codes, the first `EQUALS` of them, and the number of photos in none.

    Args:
        near: Pairs of the codes of N photos, and of their mirror images behind these.
        left_out: (2 N,) codes of photos whose file equals an earlier one.
        count: Number N of photos.
    """
    groups: dict[int, list[int]] = {}
    equal, beyond = near.bits == 0, set[int]()
    for a, b in zip(near.first[equal].tolist(), near.second[equal].tolist(), strict=True):
        group = groups.setdefault(a, [a])
        if left_out[b]:
            continue
        if len(group) < EQUALS:
            group.append(b)
        else:
            beyond.add(b % count)
    return groups, len(beyond.difference(code % count for group in groups.values() for code in group))


def _with_equals(near: NearPairs, groups: dict[int, list[int]]) -> Iterator[tuple[Int64, Int64, Int64]]:
    """Yield first, second and bits of pairs, part by part, also of codes for which an equal one stands.

    Different photos may have one code, and then a version of one is none of the other.
    """

    def further() -> Iterator[tuple[int, int, int]]:
        for own in groups.values():
            yield from ((a, b, 0) for a, b in combinations(own[1:], 2))
        grouped = np.isin(near.first, list(groups)) | np.isin(near.second, list(groups))
        for n in np.flatnonzero(grouped & (near.bits > 0)).tolist():
            a, b, bits = int(near.first[n]), int(near.second[n]), int(near.bits[n])
            several = list(product(groups.get(a, (a,)), groups.get(b, (b,))))
            yield from ((min(pair), max(pair), bits) for pair in several[1:])

    for start in range(0, len(near.first), BLOCK):
        part = slice(start, start + BLOCK)
        yield near.first[part], near.second[part], near.bits[part]
    rest = further()
    while some := list(islice(rest, BLOCK)):
        first, second, bits = np.array(some, np.int64).T
        yield first, second, bits


def _sure(likeness: float) -> float:
    return float(np.clip(0.9 + 0.1 * (likeness - SAME) / (1 - SAME), 0, 0.999))


@dataclass(frozen=True)
class Overlap(Value):
    """Two photos laid over each other.

    Args:
        likeness: Correlation of the brightness where they overlap.
        peak: Largest mean difference of a part of them in brightness or colour, beyond a change of exposure,
            in levels where the deviation of the brightness is 50.
        first: Share of the first photo that overlaps.
        second: Share of the second.
        upright: Whether one is only shifted and scaled against the other.
    """

    likeness: float
    peak: float
    first: float
    second: float
    upright: bool


def overlay(first: RGB, second: RGB, motion: Float64 | None = None) -> Overlap | None:
    """Lay a photo over another one.

    Args:
        first: (H, W, 3) RGB uint8, of any size.
        second: (H', W', 3) RGB uint8.
        motion: (2, 3) from the first to the second, both in shares of the longer side; None lays one whole
            over the other.

    Returns:
        None where they have nothing in common.
    """
    start = np.eye(2, 3) if motion is None else np.array(motion, np.float64).reshape(2, 3).copy()
    determinant = float(np.linalg.det(start[:, :2]))
    if not 1e-3 < determinant < 1e3:
        return None
    # both at one resolution: what was cut out has more pixels, which are no difference
    closer = np.sqrt(determinant)
    first_small = _smaller(first, OVERLAP_SIDE * min(closer, 1))
    second_small = _smaller(second, OVERLAP_SIDE / max(closer, 1))
    a, b = (
        np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)
        for small in (first_small, second_small)
    )
    height, width = b.shape
    if motion is None:
        start[0, 0], start[1, 1] = width / a.shape[1], height / a.shape[0]
    else:
        start[:, :2] *= max(b.shape) / max(a.shape)
        start[:, 2] *= max(b.shape)
    determinant = float(np.linalg.det(start[:, :2]))
    warp = _refine(a, b, start.astype(np.float32))
    moved = cv2.warpAffine(a, warp, (width, height), flags=cv2.INTER_LINEAR)
    there = cv2.warpAffine(np.ones_like(a), warp, (width, height), flags=cv2.INTER_LINEAR) > 0.99
    if there.sum() < 64:
        return None
    x, y = moved[there], b[there]
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    likeness = float((x * y).sum() / spread) if spread > 4.0 * len(x) else 0.0
    placed = cv2.warpAffine(first_small, warp, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
    peak = _largest_gap(_exposed_as(placed, second_small, there), second_small, there)
    area = float(there.sum())
    across, down = np.hypot(*warp[:, 0]), np.hypot(*warp[:, 1])
    turn = abs(float(np.arctan2(warp[1, 0] - warp[0, 1], warp[0, 0] + warp[1, 1])))
    upright = turn < TURN and max(across, down) / max(min(across, down), 1e-6) < STRETCH
    share = min(area / (determinant * a.size), 1.0)
    return Overlap(likeness, peak, share, area / b.size, upright)


def _exposed_as(
    photo: NDArray[np.float32], other: NDArray[np.float32], there: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return a photo with the exposure of another one, which may end at black and white earlier."""
    result = np.empty_like(photo)
    for channel in range(3):
        u, v = photo[..., channel][there], other[..., channel][there]
        inside = (u > DARK) & (u < BRIGHT) & (v > DARK) & (v < BRIGHT)
        if inside.sum() >= 64:
            u, v = u[inside], v[inside]
        gain = 1.0
        if u.std() >= LEAST_SPREAD:
            gain = float(((u - u.mean()) * (v - v.mean())).mean() / u.var())
        gain = float(np.clip(gain, 1 / STEEPEST, STEEPEST))
        result[..., channel] = np.clip(gain * (photo[..., channel] - u.mean()) + v.mean(), 0, 255)
    return result


def _largest_gap(photo: NDArray[np.float32], other: NDArray[np.float32], there: NDArray[np.bool_]) -> float:
    """Return the largest mean difference of a part, see `Overlap.peak`.

    In colour: a red thing on green may be as bright as what it covers. Brightness and colours are those of
    JPEG, which stores colours coarsely: where blue hardly varies, blue alone is mostly noise.
    """
    a, b = (cv2.cvtColor(each / 255, cv2.COLOR_RGB2YCrCb) * 255 for each in (photo, other))
    weight = cv2.blur(there.astype(np.float32), (PART, PART))
    gaps = cv2.blur(np.where(there[..., None], a - b, 0).astype(np.float32), (PART, PART))
    inside = weight > 0.5
    largest = np.abs(gaps[inside] / weight[inside][:, None]).max(initial=0)
    return 50 * float(largest / max(float(b[..., 0][there].std()), LEAST_SPREAD))


def _smaller(image: RGB, side: float) -> NDArray[np.float32]:
    scale = max(side, LEAST_SIDE) / max(image.shape[:2])
    size = max(round(image.shape[1] * scale), 8), max(round(image.shape[0] * scale), 8)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), np.float32)


def _refine(
    a: NDArray[np.float32], b: NDArray[np.float32], start: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Improve a motion by the pixels themselves (Evangelidis and Psarakis, PAMI 2008); else leave it."""
    back = cv2.invertAffineTransform(start)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        # it looks for the motion from the template to the image
        _, found = cv2.findTransformECC(b, a, back.copy(), cv2.MOTION_AFFINE, criteria)
    except cv2.error:
        return start
    moved = cv2.invertAffineTransform(found)
    far = np.abs(moved - start).max(axis=0) > (0.2, 0.2, 0.1 * OVERLAP_SIDE)
    return start if far.any() or not np.isfinite(moved).all() else np.asarray(moved, np.float32)


def judge_overlap(first: int, second: int, seen: Overlap, bits: int = -1) -> Pair | None:
    """Say what two photos are to each other by what they have in common; None for nothing.

    Args:
        first: Number of a photo.
        second: Number of another one.
        seen: Overlap of the two photos.
        bits: Differing bits of their hashes.
    """
    if seen.likeness < MOMENT or max(seen.first, seen.second) < LEAST_SHARE:
        return None
    whole = min(seen.first, seen.second)
    if seen.likeness >= ONE and seen.peak <= PEAK and seen.upright:
        relation: Relation = "resized" if whole > 0.97 else "cropped"
        inside = max(seen.first, seen.second)
        sure = 0.8 + 0.19 * (seen.likeness - ONE) / (1 - ONE)
        # what was cut out of a photo lies in it as a whole
        return Pair(first, second, relation, float(sure if inside > 0.9 else 0.5 * sure), bits, seen.likeness)
    if whole > 0.6:
        sure = (seen.likeness - MOMENT) / (1 - MOMENT)
        return Pair(first, second, "burst", float(np.clip(sure, 0.05, 0.95)), bits, seen.likeness)
    return None


def crop_candidates(inliers: NDArray[np.integer], motions: NDArray[np.floating], most: int = 5) -> list[int]:
    """Return which results of a photo may be cut out of it, or it out of them: the strongest, not turned.

    Args:
        inliers: (S,) verified matches.
        motions: (S, 6) see `ilion.searching.local.verified.Verified`.
        most: Largest number of results.
    """
    a, b, _, c, d, _ = motions.T
    across, down = np.hypot(a, c), np.hypot(b, d)
    small = np.maximum(np.minimum(across, down), 1e-6)
    straight = np.abs(np.arctan2(c - b, a + d)) < 2 * TURN
    fits = (inliers >= 8) & straight & (np.maximum(across, down) / small < STRETCH**2) & (a > 0) & (d > 0)
    rows = np.flatnonzero(fits)
    return [int(row) for row in rows[np.argsort(-inliers[rows], kind="stable")][:most]]
