"""A small model and drawn features, for tests of the local search."""

from __future__ import annotations

from functools import cache

import numpy as np

from ilion.searching.local import Encoded, LocalModel, LocalQuery
from ilion.searching.local.encode import name_spots
from ilion.searching.local.records import pack
from ilion.types import Box, Float32

DIMS = 16


@cache
def small_model() -> LocalModel:
    """8 x 8 words over 16 dimensions, projected from 128."""
    rng = np.random.default_rng(7)
    coarse = rng.normal(size=(8, DIMS))
    basis = np.linalg.qr(rng.normal(size=(128, DIMS)))[0].T
    book = rng.normal(scale=0.06, size=(4, 128, DIMS // 4)).astype(np.float32)
    return LocalModel(
        mean=np.full(128, 0.07, np.float32),
        projection=(3 * basis).astype(np.float32),
        coarse=(0.3 * coarse).astype(np.float32),
        fine=(0.3 * coarse[:, None] + rng.normal(scale=0.15, size=(8, 8, DIMS))).astype(np.float32),
        book=book,
    )


def draw_vectors(seed: int, count: int) -> Float32:
    """Projected descriptors near the words."""
    rng = np.random.default_rng(seed)
    words = small_model().fine.reshape(-1, DIMS)
    chosen = words[rng.integers(len(words), size=count)]
    return (chosen + rng.normal(scale=0.06, size=(count, DIMS))).astype(np.float32)


def draw_frames(seed: int, count: int) -> Float32:
    """Places, sizes and angles."""
    rng = np.random.default_rng(seed)
    frames = np.empty((count, 4), np.float32)
    frames[:, :2] = rng.uniform(0.02, 0.98, (count, 2))
    frames[:, 2] = rng.uniform(-6, -3, count)
    frames[:, 3] = rng.uniform(0, 2 * np.pi, count)
    return frames


def photo_of(vectors: Float32, frames: Float32) -> Encoded:
    """What is stored of given features."""
    model = small_model()
    words = model.assign(vectors)[:, 0]
    records = pack(model.code(vectors, words), frames)
    order = np.argsort(words, kind="stable")
    tones = np.random.default_rng(int(words.sum())).integers(0, 256, 64, np.uint8)
    return Encoded(words[order].astype(np.uint16), records[order], tones, (640, 480))


def query_of(vectors: Float32, frames: Float32, assignments: int = 2) -> LocalQuery:
    """A query of given features."""
    return LocalQuery(
        vectors=vectors,
        frames=frames,
        levels=np.zeros(len(frames), np.int64),
        spots=name_spots(frames),
        words=small_model().assign(vectors, assignments),
        tones=np.full((64, 64, 2), 130, np.uint8),
        part=Box(0, 0, 400, 300),
        photo_size=(400, 300),
    )


def move(frames: Float32, motion: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Float32:
    """Where a similarity (6,) takes features."""
    a, b, x, c, d, y = motion
    moved = frames.copy()
    moved[:, 0] = a * frames[:, 0] + b * frames[:, 1] + x
    moved[:, 1] = c * frames[:, 0] + d * frames[:, 1] + y
    moved[:, 2] += 0.5 * np.log2(a * d - b * c)
    moved[:, 3] = (frames[:, 3] + np.arctan2(c, a)) % (2 * np.pi)
    return moved
