"""Why a photo was found: the matches of a query and one photo, and the motion on which they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.searching.local.encode import Encoded, LocalQuery, QuerySpots
from ilion.searching.local.matches import find_matches, look_up_words
from ilion.searching.local.model import LocalModel
from ilion.searching.local.search import NEAR
from ilion.searching.local.segment import Segment
from ilion.types import Bool, Box, Float32, Float64, Int64, Value


@dataclass(frozen=True, eq=False)
class Compared(Value):
    """A query beside a photo, in pixels of the full photos.

    Args:
        query: (M, 2) places of the features of the query.
        photo: (n, 2) places of the features of the photo.
        features: (P,) ascending feature of the query of each match; the best match of each.
        places: (P,) feature of the photo.
        similarities: (P,) float32.
        supports: (P,) which matches are verified.
        motion: (3, 3) from query to photo; None without a verified match.
    """

    query: Float32
    photo: Float32
    features: Int64
    places: Int64
    similarities: Float32
    supports: Bool
    motion: Float64 | None


def compare(query: LocalQuery, photo: Encoded, model: LocalModel) -> Compared:
    """Compare a query with what is stored of a photo.

    Args:
        query: The query.
        photo: The photo, as `ilion.searching.local.Postings.photo` reads it.
        model: Words and codes of both.
    """
    from ilion.searching.local.compiled import unpack
    from ilion.searching.local.compiled_motions import verify

    counts = np.bincount(photo.words, minlength=model.words)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    one = Segment(0, 1, offsets, photo.records)
    found = find_matches(look_up_words(query, model, counts), [one], model)
    image = unpack(photo.records)
    _, motions, supports = verify(
        np.array([0, len(found)]),
        query.frames[found.features],
        image[found.places],
        np.square(found.similarities, dtype=np.float64),
        query.spots[found.features],
        found.places,
        NEAR,
    )
    # of each feature of the query the verified match, or else the best one
    order = np.lexsort((-found.similarities, ~supports, found.features))
    order = order[np.unique(found.features[order], return_index=True)[1]]
    return Compared(
        query=places_in(query),
        photo=(image[:, :2] * max(photo.size) - 0.5).astype(np.float32),
        features=found.features[order].astype(np.int64),
        places=found.places[order].astype(np.int64),
        similarities=found.similarities[order],
        supports=supports[order],
        motion=motion_in_pixels(motions[0], query.part, photo.size) if motions.any() else None,
    )


def places_in(query: LocalQuery | QuerySpots) -> Float32:
    """Return (M, 2) places of the features of a query in pixels of its full photo."""
    part = query.part
    length = max(part.width, part.height)
    return (query.frames[:, :2] * length + (part.x - 0.5, part.y - 0.5)).astype(np.float32)


def motion_in_pixels(motion: NDArray[np.floating], part: Box, size: tuple[int, int]) -> Float64:
    """Return the (3, 3) motion between pixels of full photos.

    Args:
        motion: (6,) between shares of the longer sides, see `ilion.searching.local.verified`.
        part: Part of the query's photo that was looked at, in pixels.
        size: (width, height) of the photo that was found, in pixels.
    """
    x, y, length, side = part.x - 0.5, part.y - 0.5, max(part.width, part.height), max(size)
    to_shares = np.array([[1, 0, -x], [0, 1, -y], [0, 0, length]]) / length
    to_pixels = np.array([[side, 0, -0.5], [0, side, -0.5], [0, 0, 1.0]])
    return np.asarray(to_pixels @ np.vstack([motion.reshape(2, 3), [0, 0, 1]]) @ to_shares, np.float64)
