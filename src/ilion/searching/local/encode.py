"""From a photo to its stored features, and from a query's photo to what is looked up.

Letters: M features, D dimensions after projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.rootsift import CONTRAST
from ilion.images import resize
from ilion.searching.local.model import LocalModel
from ilion.searching.local.records import pack
from ilion.searching.local.settings import LocalSettings
from ilion.searching.local.tones import describe_query_tones, describe_tones
from ilion.types import RGB, Box, Float32, Int64, Value

CELLS = 12
"""Parts of a photo along its longer side, from each of which something is kept; as in
`ilion.localfeatures.select`."""
QUERY_FEATURES = 1000
"""Largest number of features of a query at one size."""


@dataclass(frozen=True, eq=False)
class Spots(Value):
    """Features found in a photo, the most worth keeping first.

    Args:
        frames: (M, 4) float32 x and y as shares of the longer side, log2 of the size as a share of it, angle
            in radians.
        descriptors: (M, 128) float32 RootSIFT.
        scores: (M,) float32 strength.
    """

    frames: Float32
    descriptors: Float32
    scores: Float32

    def take(self, rows: Int64 | slice) -> Spots:
        """Return some of the features."""
        return Spots(self.frames[rows], self.descriptors[rows], self.scores[rows])


@dataclass(frozen=True, eq=False)
class Encoded(Value):
    """What is stored of a photo.

    Args:
        words: (M,) uint16, ascending.
        records: (M,) uint64, see `ilion.searching.local.records`.
        tones: (n * n,) uint8 colours in a coarse grid, see `ilion.searching.local.tones`.
        size: (width, height) of the photo in pixels.
    """

    words: NDArray[np.uint16]
    records: NDArray[np.uint64]
    tones: NDArray[np.uint8]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.words)


def find_spots(image: RGB, count: int) -> Spots:
    """Detect and describe the features of an image.

    Args:
        image: (H, W, 3) RGB uint8.
        count: Largest number of features.
    """
    sift = cv2.SIFT.create(nfeatures=count, contrastThreshold=CONTRAST)
    found, raw = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    found = found[:count]  # ties in strength can make OpenCV return more
    values = np.array([(*k.pt, k.size, k.angle, k.response) for k in found], np.float32).reshape(-1, 5)
    raw = np.zeros((0, 128), np.float32) if raw is None else raw[: len(found)]
    side = np.float32(max(image.shape[:2]))
    frames = np.empty((len(found), 4), np.float32)
    # the centre of the first pixel lies half a pixel from the edge
    frames[:, :2] = (values[:, :2] + 0.5) / side
    frames[:, 2] = np.log2(np.maximum(values[:, 2], 1e-3) / side)
    frames[:, 3] = np.radians(values[:, 3])
    roots = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
    order = np.argsort(-values[:, 4], kind="stable")
    spots = Spots(frames, roots.astype(np.float32), values[:, 4].copy())
    return spots.take(order)


def choose_spots(spots: Spots, count: int) -> Spots:
    """Choose what is kept of a photo: half of it the strongest features, half the strongest of each part.

    The strongest alone crowd on whatever has the strongest print; one of every part leaves little of a small
    object. Of features of one place and size, which differ in their angle only, the others come last: a query
    asks with all of them, so one of a photo is enough to be found.

    Args:
        spots: Features, the strongest first.
        count: Largest number to keep.

    Returns:
        At most ``count`` features, all if there are not more.
    """
    if len(spots.scores) <= count:
        return spots
    once = np.sort(np.unique(spots.frames[:, :3], axis=0, return_index=True)[1])
    if len(once) <= count:
        twins = np.setdiff1d(np.arange(len(spots.scores)), once)
        return spots.take(np.concatenate([once, twins[: count - len(once)]]))
    spots = spots.take(once)
    first = count // 2
    column, row = np.clip(np.floor(spots.frames[:, :2] * CELLS), 0, CELLS - 1).astype(np.int64).T
    cell = column * CELLS + row
    # features of one part, the strongest first, take their turns: first all parts' best, then all second ...
    by_part = np.argsort(cell, kind="stable")
    sizes = np.bincount(cell, minlength=CELLS**2)
    turn = np.empty(len(cell), np.int64)
    turn[by_part] = np.arange(len(cell)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    spread = np.argsort(turn, kind="stable")
    return spots.take(np.concatenate([np.arange(first), spread[spread >= first][: count - first]]))


def encode(image: RGB, size: tuple[int, int], model: LocalModel, settings: LocalSettings) -> Encoded:
    """Describe a photo by what is stored of it.

    Args:
        image: (H, W, 3) RGB uint8, upright; brought to the size of the settings.
        size: (width, height) of the photo in pixels, before it was perhaps shrunk.
        model: Words and codes.
        settings: The budget.
    """
    image = fit(image, settings.side)
    spots = choose_spots(find_spots(image, settings.pool), settings.features)
    vectors = model.project(spots.descriptors)
    words = model.assign(vectors)[:, 0]
    records = pack(model.code(vectors, words), spots.frames)
    order = np.argsort(words, kind="stable")
    tones = describe_tones(image, settings.cells)
    return Encoded(words[order].astype(np.uint16), records[order], tones, size)


def fit(image: RGB, side: int) -> RGB:
    """Bring the longer side of an image to ``side`` pixels, small ones too."""
    return image if max(image.shape[:2]) == side else resize(image, "long", side)


@dataclass(frozen=True, eq=False)
class LocalQuery(Value):
    """A query as it is looked up.

    Args:
        vectors: (M, D) float32 projected descriptors.
        frames: (M, 4) float32, see `Spots`; of the query's own photo, whatever size it was looked at.
        levels: (M,) int64, number of the size at which a feature was found; 0 is the largest.
        spots: (M,) int64, features of one place, size and angle at several sizes share the number.
        words: (M, w) int32 nearest words.
        tones: (T, T, 2) uint8 colours of the part, see `ilion.searching.local.tones`.
        part: Part of the photo that was looked at, in pixels of the full photo; ``frames`` are shares of its
            longer side.
        photo_size: (width, height) of the full photo in pixels.
        stored: Whether the features are read from photos of the database: rounded to codes, they lie nearer
            to other stored ones than features of a query do.
    """

    vectors: Float32
    frames: Float32
    levels: Int64
    spots: Int64
    words: NDArray[np.int32]
    tones: NDArray[np.uint8]
    part: Box
    photo_size: tuple[int, int]
    stored: bool = False

    def __len__(self) -> int:
        return len(self.vectors)

    def with_words(self, count: int) -> LocalQuery:
        """Return the query looked up in the ``count`` nearest words, or in those that it has."""
        return replace(self, words=np.ascontiguousarray(self.words[:, :count]))


@dataclass(frozen=True, eq=False)
class QuerySpots(Value):
    """Features of a query at all sizes, as they are stored; `look_up` makes a `LocalQuery` of them.

    Args:
        vectors: (M, D) float32.
        frames: (M, 4) float32.
        levels: (M,) int64.
        tones: (T, T, 2) uint8.
        part: See `LocalQuery`.
        photo_size: See `LocalQuery`.
    """

    vectors: Float32
    frames: Float32
    levels: Int64
    tones: NDArray[np.uint8]
    part: Box
    photo_size: tuple[int, int]


def describe_query(
    image: RGB,
    model: LocalModel,
    settings: LocalSettings,
    *,
    part: Box | None = None,
    photo_size: tuple[int, int] | None = None,
    shown: Sequence[Box] = (),
) -> QuerySpots:
    """Describe a query at all sizes.

    Args:
        image: (H, W, 3) RGB uint8: the query's object, cut out where that is wanted.
        model: Words and codes.
        settings: The sizes.
        part: See `LocalQuery`; None for the whole image at its own size.
        photo_size: See `LocalQuery`; None for the size of the image.
        shown: Boxes in pixels of the full photo; features outside are left out. Empty keeps all.
    """
    height, width = image.shape[:2]
    part = part or Box(0, 0, width, height)
    largest = min(max(height, width), settings.side)
    sides = [largest, *(size for size in settings.sizes if size < 0.9 * largest)]
    found = [find_spots(fit(image, side), QUERY_FEATURES) for side in sides]
    frames = np.concatenate([spots.frames for spots in found])
    inside = np.ones(len(frames), bool)
    if shown:
        x, y = (frames[:, :2] * max(part.width, part.height) + (part.x, part.y)).T
        inside = np.any(
            [(b.x <= x) & (x < b.x + b.width) & (b.y <= y) & (y < b.y + b.height) for b in shown], 0
        )
    return QuerySpots(
        vectors=model.project(np.concatenate([spots.descriptors for spots in found])[inside]),
        frames=frames[inside],
        levels=np.repeat(np.arange(len(found)), [len(spots.frames) for spots in found])[inside],
        tones=describe_query_tones(image),
        part=part,
        photo_size=photo_size or (width, height),
    )


def look_up(spots: QuerySpots, model: LocalModel, settings: LocalSettings) -> LocalQuery:
    """Find the words in which a query is looked up."""
    words = model.assign(spots.vectors, settings.lookups)
    return LocalQuery(**vars(spots), spots=name_spots(spots.frames), words=words)


def name_spots(frames: Float32) -> Int64:
    """Number features such that those of one place, size and angle share the number.

    Args:
        frames: (M, 4), see `Spots`.
    """
    cells = np.empty(frames.shape, np.int64)
    cells[:, :2] = np.floor(frames[:, :2] * 48)
    cells[:, 2] = np.floor(frames[:, 2] * 1.5)
    cells[:, 3] = np.floor(frames[:, 3] * (6 / (2 * np.pi)))
    # one number each: numbers are sorted many times faster than rows
    cells -= cells.min(axis=0, initial=0)
    one = np.zeros(len(cells), np.int64)
    for column, size in zip(cells.T, cells.max(axis=0, initial=0) + 1, strict=True):
        one = one * size + column
    return np.unique(one, return_inverse=True)[1].astype(np.int64)
