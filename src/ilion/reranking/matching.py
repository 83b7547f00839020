"""Which local features of two images belong together: nearest neighbours, ratio test, Chamfer similarity.

Pure functions on arrays. A query is matched against many database images at once: one product for a chunk
of images, then best and second best within each image. Which matches agree on a motion of the object is
decided in `ilion.reranking.geometry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError
from ilion.kernels.hamming import Packed, hamming, least_hamming
from ilion.types import Float32, Int64, LocalFeatures, Value
from ilion.wording import counted

Metric = Literal["cosine", "hamming"]
"""How descriptors compare: as directions, or as packed bits."""

CHUNK = 2_000_000
"""Similarities held at once (8 MB): more no longer makes the product faster, and leaves the cache."""
ROUNDING = 1e-6
"""A squared distance of unit vectors up to this may be zero, rounded in a float32 product."""


@dataclass(frozen=True)
class Matches(Value):
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

    @classmethod
    def none(cls) -> Matches:
        """Return no matches at all."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


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
        metric: ``cosine`` or ``hamming``.

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
        _check_dimensions(query.descriptors, image.descriptors, number)
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
    """Match one image by its costs (M, N): differing bits, or negated cosines if ``bits`` is None."""
    if 0 in costs.shape:
        return Matches.none()
    rows = np.arange(len(costs))
    nearest = costs.argmin(axis=1)
    least = costs[rows, nearest]
    if mutual:
        rows = np.flatnonzero(least == costs.min(axis=0)[nearest])
    if ratio < 1:
        if costs.shape[1] == 1:
            rows = rows[:0]
        rest = costs[rows]
        # the nearest gets a cost that no other has: squared distances of unit vectors end at 4
        rest[np.arange(len(rows)), nearest[rows]] = 4 if bits is None else 1 + bits
        second = rest.min(axis=1, initial=4 if bits is None else 1 + bits)
        rows = rows[_is_clearly_nearer(least[rows], second, ratio, bits)]
    if mutual:  # of several rows that are equally near, only the first
        rows = rows[costs[:, nearest[rows]].argmin(axis=0) == rows]
    similarities = 1 - least[rows] * np.float32(2 / bits) if bits else -least[rows]
    rows, similarities = rows[similarities > 0], similarities[similarities > 0]
    return Matches(rows, nearest[rows], similarities.astype(np.float32))


def _is_clearly_nearer(
    first: NDArray[Any], second: NDArray[Any], ratio: float, bits: int | None
) -> NDArray[np.bool_]:
    if bits:
        return np.asarray(first < ratio * second)
    near, far = 2 + 2 * first.astype(np.float64), 2 + 2 * second.astype(np.float64)
    return np.asarray((near < ratio**2 * far) & (far > ROUNDING))


def chamfer(query: NDArray[Any], database: NDArray[Any], *, symmetric: bool = False) -> float:
    """Compare two sets of tokens; `chamfer_many` with one database image.

    >>> tokens = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> chamfer(tokens, tokens[:1]), chamfer(tokens[:1], tokens), chamfer(tokens, tokens[:1], symmetric=True)
    (0.5, 1.0, 0.75)
    """
    return float(chamfer_many(query, [database], symmetric=symmetric)[0])


def chamfer_many(
    query: NDArray[Any], database: Sequence[NDArray[Any]], *, symmetric: bool = False
) -> Float32:
    """Chamfer similarity: how well, on average, the query's tokens are found in a database image.

    Each token of the query takes its largest cosine in the database image, and these are averaged over the
    query's tokens (late interaction: Khattab and Zaharia, SIGIR 2020, who sum; the mean ranks the same and
    does not depend on how many tokens a query has). Clutter in the database image costs nothing.

    Args:
        query: (M, d) of any real type and length; full precision also against a compressed database, whose
            tokens are given decoded (`ilion.kernels.hamming.unpack_signs`, or a quantiser's reconstruction).
        database: (N, d) of each image; N may differ.
        symmetric: Average the two directions, so that clutter in the database image costs something.

    Returns:
        (B,) float32 in [-1, 1]; 0 where either side has no token.

    Raises:
        ArtifactError: An image's tokens have other dimensions than the query's.

    >>> chamfer_many(np.eye(2), [np.eye(2), -np.eye(2), np.empty((0, 2))]).tolist()
    [1.0, 0.0, 0.0]
    """
    rows = unit_rows(query)
    scores = np.zeros(len(database), np.float32)
    for number, tokens in enumerate(database):
        _check_dimensions(query, tokens, number)
        if len(rows) and len(tokens):
            similarities = rows @ unit_rows(tokens).T
            scores[number] = similarities.max(axis=1).mean()
            if symmetric:
                scores[number] = (scores[number] + similarities.max(axis=0).mean()) / 2
    return scores


def chamfer_bits(query: Packed, database: Sequence[Packed], *, dims: int, symmetric: bool = False) -> Float32:
    """Chamfer similarity of tokens of one bit a dimension on both sides; see `chamfer_many`.

    The cosine of two tokens is estimated from their share of differing signs as ``cos(pi * share)``: under
    random projections that share is the angle over pi (Charikar, STOC 2002).

    Args:
        query: (M, bytes) from `ilion.kernels.hamming.pack_signs`.
        database: (N, bytes) of each image.
        dims: Dimensions before packing.
        symmetric: Average the two directions; takes twice as long.

    Returns:
        (B,) float32 in [-1, 1]; 0 where either side has no token.

    Raises:
        ArtifactError: The tokens are not of ``dims`` bits.

    >>> a = np.array([[0b11110000]], np.uint8)
    >>> chamfer_bits(a, [a, ~a, np.array([[0b11001100]], np.uint8)], dims=8).round(6).tolist()
    [1.0, -1.0, 0.0]
    """
    if query.shape[1:] != (-(-dims // 8),):
        raise ArtifactError(
            f"{counted(dims, 'dimension is', 'dimensions are')} {-(-dims // 8)} "
            f"bytes; the query's tokens are {query.shape}"
        )
    cosines = np.cos(np.pi / dims * np.arange(dims + 1))
    for number, tokens in enumerate(database):
        _check_dimensions(query, tokens, number)
    scores = np.zeros(len(database), np.float32)
    present = [n for n, tokens in enumerate(database) if len(query) and len(tokens)]
    images = [database[n] for n in present]
    if present:
        scores[present] = cosines[least_hamming(query, images)].mean(axis=1)
    if symmetric:
        for number, image in zip(present, images, strict=True):
            scores[number] = (scores[number] + cosines[least_hamming(image, [query])].mean()) / 2
    return scores


def nearest_tokens(
    query: NDArray[Any], database: NDArray[Any], *, metric: Metric = "cosine", top: int = 30
) -> Matches:
    """Find the pairs that a Chamfer similarity owes most to: query tokens and their nearest database tokens.

    Args:
        query: (M, d), or packed bits for ``hamming``.
        database: (N, d) likewise.
        metric: ``cosine`` or ``hamming``.
        top: Largest number of pairs, the most similar ones.

    Returns:
        Pairs in the order of the query's rows; none where either side has no token.

    Raises:
        ArtifactError: The dimensions differ.

    >>> pairs = nearest_tokens(np.eye(3), np.array([[0.0, 1.0, 0.0], [0.0, 3.0, 4.0]]), top=2)
    >>> pairs.query_rows.tolist(), pairs.database_rows.tolist(), pairs.similarities.round(2).tolist()
    ([1, 2], [0, 1], [1.0, 0.800000011920929])
    """
    _check_dimensions(query, database, 0)
    if not len(query) or not len(database):
        return Matches.none()
    if metric == "hamming":
        similarities = 1 - hamming(query, database) * np.float32(2 / (8 * query.shape[1]))
    else:
        similarities = unit_rows(query) @ unit_rows(database).T
    nearest = similarities.argmax(axis=1)
    best = similarities[np.arange(len(query)), nearest].astype(np.float32)
    rows = np.sort(np.argsort(-best, kind="stable")[:top])
    return Matches(rows, nearest[rows], best[rows])


def _check_dimensions(query: NDArray[Any], tokens: NDArray[Any], number: int) -> None:
    if query.ndim != 2 or tokens.ndim != 2 or query.shape[1] != tokens.shape[1]:
        raise ArtifactError(
            f"the query's descriptors are {query.shape}, those of database image {number} are "
            f"{tokens.shape}: extract both with the same settings"
        )


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
