"""Geometry inside the inverted file: matches of a true pair agree on one rotation, scale and place.

Each match of a query keypoint and a database keypoint alone says how the query image would lie in the
database image: turned by the difference of the angles, scaled by the ratio of the sizes, its centre where the
keypoints put it. Matches vote for cells of this four-dimensional space (Hough transform as in Lowe, IJCV
2004, section 7.3), and an image counts only the matches of its best cell. Weak geometric consistency (Jégou,
Douze and Schmid, ECCV 2008), which looks at rotation and scale alone, gained nothing (docs/asmk.md).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ilion.searching.asmk.aggregate import OCTAVES
from ilion.types import Float64, Int64

TURNS = 4
"""Cells of a full turn."""
RATIO = 2.0
"""Octaves of scale a cell."""
PLACE = 0.3
"""Side of a cell in the database image, as a fraction of its longer side."""
SHIFTS = tuple(s for s in itertools.product((0.0, 0.5), repeat=4) if sum(s) % 1 == 0)
"""The space is cut several times, each time moved by half a cell along some axes, and the best cell of all
counts: a true pair whose matches straddle a border in one cut is whole in another. Half of the 16 possible
cuts (those that move an even number of axes) find as much as all."""
FAR = 1.0
"""A centre further outside the database image than so many times its longer side is no plausible match."""


def best_votes(
    rows: NDArray[np.integer],
    values: NDArray[np.floating],
    query: NDArray[np.uint8],
    database: NDArray[np.uint8],
    centre: tuple[float, float],
    count: int,
) -> Float64:
    """Sum the matches of each image's best cell.

    Args:
        rows: (P,) image of each match.
        values: (P,) what each match counts, not negative.
        query: (P, 4) frames of the query keypoints, see `ilion.searching.asmk.aggregate.frames`.
        database: (P, 4) frames of the database keypoints.
        centre: x, y of the query's centre, fractions of its longer side.
        count: Number of images N.

    Returns:
        (N,) at most the sum of the image's values.

    >>> query = np.array([[0, 0, 200, 0], [128, 0, 200, 0], [0, 128, 200, 0]], np.uint8)
    >>> moved = query + np.array([20, 20, 0, 0], np.uint8)
    >>> moved[2] = [200, 90, 120, 100]
    >>> best_votes(np.zeros(3, int), np.ones(3), query, moved, (0.5, 0.5), 2).tolist()
    [2.0, 0.0]
    """
    best = np.zeros(count)
    turn, octaves, x, y = _transform(query, database, centre)
    near = (x > -FAR) & (x < 1 + FAR) & (y > -FAR) & (y < 1 + FAR)
    if not near.any():
        return best
    rows, values = rows[near].astype(np.int64), values[near]
    axes = (
        turn[near] * TURNS,
        (octaves[near] + OCTAVES) / RATIO,
        (x[near] + FAR) / PLACE,
        (y[near] + FAR) / PLACE,
    )
    scales, places = int(2 * OCTAVES / RATIO) + 2, int((1 + 2 * FAR) / PLACE) + 2
    for shift in SHIFTS:
        a, s, u, v = ((axis + by).astype(np.int64) for axis, by in zip(axes, shift, strict=True))
        cells = (((rows * TURNS + a % TURNS) * scales + s) * places + u) * places + v
        order = np.argsort(cells)
        starts = _starts(cells[order])
        sums = np.add.reduceat(values[order], starts)
        images = rows[order[starts]]
        first = _starts(images)
        images = images[first]
        best[images] = np.maximum(best[images], np.maximum.reduceat(sums, first))
    return best


def _starts(ordered: NDArray[np.integer]) -> Int64:
    """Where each run of equal values starts."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _transform(
    query: NDArray[np.uint8], database: NDArray[np.uint8], centre: tuple[float, float]
) -> tuple[Float64, Float64, Float64, Float64]:
    """Rotation in turns, log2 of the scale, and where the query's centre lies in the database image."""
    turn = (database[:, 3] - query[:, 3]) / 256.0  # bytes wrap around, as angles do
    octaves = (database[:, 2].astype(np.float64) - query[:, 2]) * (OCTAVES / 255.0)
    scale = np.exp2(octaves)
    dx, dy = centre[0] - query[:, 0] / 255.0, centre[1] - query[:, 1] / 255.0
    cosine, sine = scale * np.cos(2 * np.pi * turn), scale * np.sin(2 * np.pi * turn)
    x = database[:, 0] / 255.0 + cosine * dx - sine * dy
    y = database[:, 1] / 255.0 + sine * dx + cosine * dy
    return turn, octaves, x, y
