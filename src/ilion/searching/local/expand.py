"""Verified query expansion: what is likely to show the object is asked along.

The features of results that surely show the object, seen from where the query sees it, become further
features of the query: real photos of it find other real photos (Chum et al., ICCV 2007). Only features near a
keypoint of the query are taken, or the surroundings would be asked for too; a photo never votes for itself.

Letters: M features of a query, S photos of a shortlist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilion.searching.local.encode import Encoded, LocalQuery, name_spots
from ilion.searching.local.matches import Matches
from ilion.searching.local.model import LocalModel
from ilion.searching.local.records import unpack_codes
from ilion.searching.local.verified import Verified
from ilion.types import Bool, Float32, Float64, Int64

SURE = 0.3
"""Probability from which on a result is asked along."""
MOST = 20
"""Results that are asked along."""
FEATURES = 2500
"""Features that are added to a query, those of the rarest words: common ones take most of the time, and say
least."""
GRID = 48
"""Parts of the query along either side; a feature is taken if its part or one beside it has a keypoint."""


def expand(
    query: LocalQuery,
    found: Verified,
    probabilities: Float64,
    photos: Callable[[Int64], Sequence[Encoded]],
    lengths: Int64,
    model: LocalModel,
) -> tuple[LocalQuery, Int64] | None:
    """Make further features of a query from its sure results.

    Args:
        query: The query.
        found: Verified matches of its shortlist.
        probabilities: (S,) that a photo shows the object.
        photos: Function that returns what is stored of rows.
        lengths: (W,) number of stored features of each word.
        model: Words and codes.

    Returns:
        The further features as a query of their own in the frame of the query, each with the word under which
        it is stored, and the row that each is from; None if no result is sure.
    """
    from ilion.searching.local.compiled import unpack

    order = np.argsort(-probabilities, kind="stable")[:MOST]
    near = _parts_near(query.frames)
    vectors, frames, words, sources = [], [], [], []
    places = order[probabilities[order] >= SURE]
    for place, stored in zip(places, photos(found.rows[places]), strict=True):
        a, b, x, c, d, y = found.motions[place]
        area = a * d - b * c
        if area <= 0:
            continue
        moved = unpack(stored.records).astype(np.float64)
        moved[:, :2] = (moved[:, :2] - [x, y]) @ np.array([[d, -c], [-b, a]]) / area
        moved[:, 2] -= 0.5 * np.log2(area)
        moved[:, 3] = (moved[:, 3] - np.arctan2(c - b, a + d)) % (2 * np.pi)
        taken = np.flatnonzero(_is_near(near, moved[:, :2]))
        vectors.append(model.decode(stored.words[taken], unpack_codes(stored.records[taken])))
        frames.append(moved[taken].astype(np.float32))
        words.append(stored.words[taken].astype(np.int32))
        sources.append(np.full(len(taken), found.rows[place], np.int64))
    if not sum(map(len, sources)):
        return None
    rare = np.argsort(lengths[np.concatenate(words)], kind="stable")
    kept = np.sort(rare[:FEATURES])
    further = replace(
        query,
        vectors=np.concatenate(vectors)[kept],
        frames=np.concatenate(frames)[kept],
        levels=np.full(len(kept), int(query.levels.max(initial=0)) + 1),
        spots=np.zeros(len(kept), np.int64),
        words=np.concatenate(words)[kept, None],
        stored=True,
    )
    return further, np.concatenate(sources)[kept]


def ask_along(
    query: LocalQuery, matches: Matches, further: LocalQuery, found: Matches, sources: Int64
) -> tuple[LocalQuery, Matches]:
    """Join a query with its further features, and their matches.

    Args:
        query: The query, M features.
        matches: Matches of the query in the whole database.
        further: From `expand`.
        found: Matches of the further features.
        sources: (M',) row that each further feature is from; its matches there are dropped.
    """
    from ilion.searching.local.compiled import find_others

    frames = np.concatenate([query.frames, further.frames])
    columns = min(query.words.shape[1], further.words.shape[1])
    whole = replace(
        query,
        vectors=np.concatenate([query.vectors, further.vectors]),
        frames=frames,
        levels=np.concatenate([query.levels, further.levels]),
        spots=name_spots(frames),
        words=np.concatenate([query.words[:, :columns], further.words[:, :columns]]),
    )
    others = find_others(found.features, found.rows, sources)
    first, count = len(matches), len(matches) + len(others)
    joined = Matches(*(np.empty(count, value.dtype) for value in vars(matches).values()))
    for name, values in vars(joined).items():
        values[:first] = getattr(matches, name)
        np.take(getattr(found, name), others, out=values[first:], mode="clip")  # in place only so
    joined.features[first:] += len(query)
    return whole, joined


def _parts_near(frames: Float32) -> Bool:
    """Mark the parts of the query with a keypoint in them or beside them, with a border of three parts."""
    near = np.zeros((GRID + 6, GRID + 6), np.bool_)
    x, y = np.clip(np.floor(frames[:, :2] * GRID).astype(np.int64), 0, GRID - 1).T + 3
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):
            near[x + right, y + down] = True
    return near


def _is_near(near: Bool, places: NDArray[np.floating]) -> Bool:
    """Tell which places (n, 2), shares of the query's longer side, lie in a marked part."""
    x, y = np.clip(np.floor(places * GRID) + 3, 0, GRID + 5).astype(np.int64).T
    return np.asarray(near[x, y], np.bool_)
