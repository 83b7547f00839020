"""Whether the colours of a photo agree with those of a query that is laid over it by a motion.

Letters: S photos of a shortlist, P points of the query, n cells of a photo along either side, T of a query.
"""

from __future__ import annotations

import cv2
import numpy as np

from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.tones import FINE, Looks, unpack_tones
from ilion.types import Float64

GRID = 24
"""Parts of the query's longer side; the middle of each that has a keypoint, or is beside one, is a point."""
BLURS = 5
"""Blurs of a query, each twice the one before, so that it is seen as coarsely as the photo is."""
NAMES = ("tone seen", "tone mean", "tone median", "tone worst", "tone match", "tone shift", "tone close")


def compare_tones(query: LocalQuery, motions: Float64, looks: Looks) -> dict[str, Float64]:
    """Compare the colours of photos with those of a query.

    Args:
        query: The query.
        motions: (S, 6) from query to photo, see `ilion.searching.local.verified`.
        looks: Sizes and colours of the photos.

    Returns:
        Name -> (S,): ``tone seen``, share of the points that lie inside the photo; ``tone mean``, ``tone
        median``: difference of colours, less a common shift (at most
        `ilion.searching.local.tones.SHIFT`); ``tone worst``: the mean one in the worst quarter of the query;
        ``tone match``: correlation of colours; ``tone shift``: the
        common shift; ``tone close``: share of points of about the same colour.
    """
    from ilion.searching.local.compiled_pairs import agree_in_tone

    near = np.zeros((GRID + 2, GRID + 2), np.bool_)
    columns, rows = np.clip(np.floor(query.frames[:, :2] * GRID).astype(np.int64), 0, GRID - 1).T + 1
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):
            near[columns + right, rows + down] = True
    points = (np.argwhere(near[1:-1, 1:-1]) + 0.5) / GRID
    width, height = query.part.width, query.part.height
    within = points * max(width, height) / (width, height)
    inside = (within < 1).all(axis=1)
    points, within = points[inside], within[inside]
    colours = np.empty((BLURS, len(points), 2), np.float32)
    picture = query.tones.astype(np.float32)
    places = np.clip(within * FINE - 0.5, 0, FINE - 1).astype(np.float32)
    none = np.empty((0, 0), np.float32)
    for blur in range(BLURS):
        seen = cv2.GaussianBlur(picture, (0, 0), 2.0 ** (blur - 1)) if blur else picture
        if len(points):
            colours[blur] = cv2.remap(seen, places[:, None], none, cv2.INTER_LINEAR)[:, 0]
    middle = np.median(points, axis=0) if len(points) else np.zeros(2)
    quarters = (points > middle) @ np.array([2, 1])
    numbers = agree_in_tone(
        points, colours, quarters, motions, unpack_tones(looks.tones), looks.sizes.astype(np.float64)
    )
    return dict(zip(NAMES, numbers.T, strict=True))
