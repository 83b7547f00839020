"""Projection, visual words and residual codes, learnt from descriptors; the same bytes for the same seed."""

from __future__ import annotations

import numpy as np

from ilion.runtime.clusters import find_nearest, learn_centroids
from ilion.types import Float32, Int64

DIMS = 64
_BLOCK = 2**16
ROUNDS = 12
TURNS = 10
"""Times that a rotation is improved."""


def learn_projection(descriptors: Float32, dims: int = DIMS) -> tuple[Float32, Float32]:
    """Learn the mean (128,) and the leading principal directions (dims, 128) of RootSIFT descriptors."""
    mean = descriptors.mean(axis=0, dtype=np.float64)
    spread = np.zeros((len(mean), len(mean)))
    for start in range(0, len(descriptors), _BLOCK):
        centred = descriptors[start : start + _BLOCK] - mean
        spread += centred.T @ centred
    values, vectors = np.linalg.eigh(spread / len(descriptors))
    leading = vectors[:, np.argsort(-values)[:dims]].T
    leading *= np.sign(leading[np.arange(dims), abs(leading).argmax(axis=1)])[:, None]
    return mean.astype(np.float32), leading.astype(np.float32)


def learn_words(points: Float32, coarse: int, fine: int, seed: int) -> tuple[Float32, Float32]:
    """Learn two levels of words.

    Args:
        points: (N, d).
        coarse: Number C of cells.
        fine: Number F of words of each cell.
        seed: Of the points to begin with.

    Returns:
        (C, d) cells and (C, F, d) words.
    """
    cells = learn_centroids(points, coarse, seed=seed, rounds=ROUNDS, most=2048, workers=1)
    nearest = find_nearest(points, cells, workers=1)
    words = np.empty((coarse, fine, points.shape[1]), np.float32)
    for cell in range(coarse):
        inside = points[nearest == cell]
        if len(inside) < fine:  # too few: the nearest of all others help
            order = np.argsort(((points - cells[cell]) ** 2).sum(axis=1), kind="stable")
            inside = points[np.sort(order[: 4 * fine])]
        words[cell] = learn_centroids(inside, fine, seed=seed + 1 + cell, rounds=ROUNDS, workers=1)
    return cells, words


def assign_words(points: Float32, cells: Float32, words: Float32) -> Int64:
    """Find the word of each point: the nearest of its nearest cell, as (N,) cell x F + place."""
    nearest = find_nearest(points, cells, workers=1)
    out = np.empty(len(points), np.int64)
    for cell in range(len(cells)):
        rows = np.flatnonzero(nearest == cell)
        out[rows] = cell * words.shape[1] + find_nearest(points[rows], words[cell], workers=1)
    return out


def learn_codes(residuals: Float32, parts: int, centroids: int, seed: int) -> tuple[Float32, Float32]:
    """Learn a rotation and a product quantiser of what it makes of residuals (N, d).

    The rotation lets every part have its share of what there is to tell: first directions are dealt out such
    that the products of their variances are about equal, then rotation and centroids are improved in turn
    (optimised product quantisation: Ge, He, Ke and Sun, CVPR 2013).

    Returns:
        (d, d) rotation R, applied as ``R @ residual``, and (parts, centroids, d / parts).
    """
    dims = residuals.shape[1]
    width = dims // parts
    values, vectors = np.linalg.eigh(residuals.T.astype(np.float64) @ residuals / len(residuals))
    dealt: list[list[int]] = [[] for _ in range(parts)]
    total = np.zeros(parts)
    for direction in np.argsort(-values).tolist():
        part = min((p for p in range(parts) if len(dealt[p]) < width), key=lambda p: float(total[p]))
        dealt[part].append(direction)
        total[part] += np.log(max(values[direction], 1e-12))
    rotation = vectors[:, np.concatenate(dealt).astype(np.int64)].T
    for turn in range(TURNS + 1):
        turned = (residuals @ rotation.T).astype(np.float32)
        rounds = ROUNDS if turn == TURNS else 4
        split = [np.ascontiguousarray(turned[:, i * width : (i + 1) * width]) for i in range(parts)]
        books = [
            learn_centroids(part, centroids, seed=seed + i, rounds=rounds, workers=1)
            for i, part in enumerate(split)
        ]
        if turn < TURNS:
            coded = [
                book[find_nearest(part, book, workers=1)] for part, book in zip(split, books, strict=True)
            ]
            left, _, right = np.linalg.svd(np.concatenate(coded, axis=1).T.astype(np.float64) @ residuals)
            rotation = left @ right
    return rotation.astype(np.float32), np.stack(books)
