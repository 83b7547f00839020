"""Which local features of two images belong together: nearest neighbours, ratio test, Chamfer similarity.

Pure functions on arrays. A query is matched against many database images at once: one product for a chunk
of images, then best and second best within each image. Which matches agree on a motion of the object is
decided in `ilion.geometry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilion.bits import hamming
from ilion.errors import ArtifactError, ConfigError
from ilion.types import Float32, Int64, LocalFeatures

Metric = Literal["cosine", "hamming"]
"""How descriptors compare: as directions, or as packed bits."""

CHUNK = 2_000_000
"""Similarities held at once (8 MB): more no longer makes the product faster, and leaves the cache."""
ROUNDING = 1e-6
"""A squared distance of unit vectors up to this may be zero, rounded in a float32 product."""


@dataclass(frozen=True)
class Matches:
    """Pairs of features of a query and of one database image, in the order of the query's rows.

    Args:
        query_rows: (n,) int64, ascending, each at most once.
        database_rows: (n,) int64, each at most once if the matches are mutual.
        similarities: (n,) float32: cosine, or for packed bits 1 - 2 * (share of differing bits).
    """

    query_rows: Int64
    database_rows: Int64
    similarities: Float32

    def __len__(self) -> int:
        return len(self.query_rows)


def match_many(
    query: LocalFeatures,
    database: Sequence[LocalFeatures],
    *,
    ratio: float = 0.9,
    mutual: bool = True,
    metric: Metric = "cosine",
) -> list[Matches]:
    """Match the features of a query with those of each database image.

    A feature of the query is matched to the nearest one of the database image, if

    - the second nearest one is clearly farther (Lowe, IJCV 2004): ``d1 < ratio * d2``. For ``cosine``,
      ``d = sqrt(2 - 2 * similarity)`` is the Euclidean distance of the descriptors brought to unit length;
      for ``hamming`` it is the number of differing bits. An image with a single feature has no second one,
      so nothing there can be called distinctive: no match;
    - with ``mutual``, it is also the nearest one to that database feature. The lower row wins a tie, as far
      as float32 tells equal descriptors.

    These are the decisions of a brute-force matcher with k = 2 and cross-check on the same descriptors.
    Opposite and orthogonal descriptors never match; so a descriptor of zeros, which has no direction, matches
    nothing.

    Args:
        query: Descriptors (M, d): float32, float16 or uint8 for ``cosine``, packed uint8 for ``hamming``.
        database: Images with any numbers of features, none included.
        ratio: In (0, 1]; 1 switches the ratio test off.
        mutual: Whether to demand that both are each other's nearest.
        metric: How descriptors compare.

    Returns:
        The matches of each database image.

    Raises:
        ConfigError: The ratio is outside (0, 1].
        ArtifactError: The descriptors of an image differ in length or kind from the query's.

    >>> def features(rows):
    ...     m = len(rows)
    ...     return LocalFeatures(np.zeros((m, 2), "f"), np.array(rows, "f"), np.ones(m, "f"), (8, 8))
    >>> [found] = match_many(features([[1, 0], [0, 1]]), [features([[0, 2], [3, 3], [0.9, -0.1]])])
    >>> found.query_rows.tolist(), found.database_rows.tolist()
    ([0, 1], [2, 0])
    """
    if not 0 < ratio <= 1:
        raise ConfigError(f"ratio {ratio} of the ratio test must lie in (0, 1]; 1 switches it off")
    for number, image in enumerate(database):
        _check_comparable(query, image, number)
    rows = query.descriptors if metric == "hamming" else -unit_rows(query.descriptors)
    bits = 8 * rows.shape[1]
    matches = []
    for first, last in _chunks([len(image.keypoints) for image in database], len(rows)):
        images = database[first:last]
        # distances up to a constant: both metrics then share the search for the least and second least
        if metric == "hamming":
            costs = hamming(rows, np.concatenate([image.descriptors for image in images]))
        else:
            costs = rows @ np.concatenate([unit_rows(image.descriptors) for image in images]).T
        stop = 0
        for image in images:
            start, stop = stop, stop + len(image.keypoints)
            matches.append(_match(costs[:, start:stop], ratio, mutual, bits if metric == "hamming" else None))
    return matches


def _check_comparable(query: LocalFeatures, image: LocalFeatures, number: int) -> None:
    a, b = query.descriptors, image.descriptors
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ArtifactError(
            f"the query's descriptors are {a.shape}, those of database image {number} are {b.shape}: "
            "extract both with the same settings"
        )


def _chunks(lengths: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of images whose similarities to the query fit into `CHUNK`, at least one image each."""
    first, held = 0, 0
    for number, length in enumerate(lengths):
        if held and (held + length) * rows > CHUNK:
            yield first, number
            first, held = number, 0
        held += length
    if first < len(lengths):
        yield first, len(lengths)


def _match(costs: NDArray[Any], ratio: float, mutual: bool, bits: int | None) -> Matches:
    """Match one image; ``costs`` are changed. ``bits`` is None for negated cosines (M, N)."""
    if 0 in costs.shape:
        nothing = np.empty(0, np.int64)
        return Matches(nothing, nothing, np.empty(0, np.float32))
    rows = np.arange(len(costs))
    nearest = costs.argmin(axis=1)
    least = costs[rows, nearest]
    if mutual:
        rows = np.flatnonzero(least == costs.min(axis=0)[nearest])
        rows = rows[np.sort(np.unique(nearest[rows], return_index=True)[1])]
    if ratio < 1:
        if costs.shape[1] == 1:
            rows = rows[:0]
        rest = costs if len(rows) == len(costs) else costs[rows]
        rest[np.arange(len(rows)), nearest[rows]] = 4 if bits is None else 1 + bits
        second = rest.min(axis=1, initial=4 if bits is None else 1 + bits)
        rows = rows[_clearly_nearer(least[rows], second, ratio, bits)]
    similarities = 1 - least[rows] * np.float32(2 / bits) if bits else -least[rows]
    rows, similarities = rows[similarities > 0], similarities[similarities > 0]
    return Matches(rows, nearest[rows], similarities.astype(np.float32))


def _clearly_nearer(
    first: NDArray[Any], second: NDArray[Any], ratio: float, bits: int | None
) -> NDArray[np.bool_]:
    if bits:
        return np.asarray(first < ratio * second)
    near, far = 2 + 2 * first.astype(np.float64), 2 + 2 * second.astype(np.float64)
    return np.asarray((near < ratio**2 * far) & (far > ROUNDING))


def unit_rows(values: NDArray[np.generic]) -> Float32:
    """Bring rows to unit length; rows of zeros stay zeros.

    Args:
        values: (M, d) of any real type.

    >>> unit_rows(np.array([[3, 4], [0, 0]], np.uint8)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    floats = values.astype(np.float32)
    lengths = np.sqrt(np.einsum("md,md->m", floats, floats))
    floats /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return floats
