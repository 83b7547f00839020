"""Geometric verification: do the matches of two images agree on one motion of the object?

Every match of features with scale and orientation proposes a similarity by itself, so all hypotheses are
scored at once and nothing is drawn at random (fast spatial matching: Philbin et al., CVPR 2007). The best
ones are then refined by least squares on their inliers, from the similarity to the wanted model, with a
narrowing threshold (local optimisation: Chum et al., DAGM 2003). Features without scale and orientation
propose by pairs, drawn with a seed. A model maps query pixels to database pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError
from ilion.reranking.matching import Matches
from ilion.types import Bool, Float64, Int64, LocalFeatures, Value

Model = Literal["similarity", "affine", "homography"]
"""Rotation, uniform scale and shift (4 parameters); any linear map and shift (6); perspective (8)."""

FLOOR = 10
"""Inliers that unrelated images reach by chance; only inliers above it count as evidence."""
THRESHOLD_PX = 5.0
"""Largest distance of an inlier from where the model puts it, pixels of the database image."""
SLACK = 0.3
"""By how much of its distance from the proposing match another match may deviate from a proposed similarity:
keypoint scales and orientations are noisy, and a plane seen at 60 degrees deviates by a third."""
SEEDS = 8
"""How many of the best hypotheses are refined."""
NARROWING = (4.0, 2.0, 1.0, 1.0)
"""Threshold of each refinement, as a multiple of the wanted one."""
REWEIGHTINGS = 2
"""Least squares of a homography are solved so many times: each time the algebraic error comes closer to
pixels, because it is divided by the depth under the solution before."""
RIDGE = 1e-7
"""Added to the diagonal of normal equations of points of unit size: without effect on sound ones, it keeps
those of too few points solvable."""
MAX_TURN, MAX_RESIZE = math.radians(45), 2.5
"""By how much an inlier's own rotation and scale may differ from those of the model at its place."""
HORIZON = 0.01
"""Least depth, relative to that of the matches' centre: what lies deeper counts as on the horizon."""
MAX_SCALE = 16.0
"""An object is seen at most so much larger or smaller than in the query, anywhere on it."""
MAX_STRETCH = 6.0
"""Largest ratio of the scales in two directions: a plane seen at 80 degrees."""

Complexes = NDArray[np.complex128]


@dataclass(frozen=True)
class Verification(Value):
    """What the geometry says about the matches of two images.

    Args:
        model: (3, 3) float64 from query to database pixels, last element 1; None if no plausible model
            explains as many matches as the floor.
        inliers: (n,) which matches the model explains; all False without a model.
        score: See `inlier_score`.
    """

    model: Float64 | None
    inliers: Bool
    score: float


def inlier_score(inliers: int, floor: int = FLOOR) -> float:
    """Turn a number of inliers into evidence that adds to a global similarity.

    It grows like the logarithm, and starts above the floor that unrelated images reach.

    Args:
        inliers: Number of verified inliers.
        floor: Inliers that are no evidence.

    Returns:
        ``log(1 + max(inliers - floor, 0))``.

    >>> inlier_score(10), round(inlier_score(29), 3)
    (0.0, 2.996)
    """
    return math.log1p(max(inliers - floor, 0))


def verify(
    query: LocalFeatures,
    database: LocalFeatures,
    matches: Matches,
    *,
    model: Model = "homography",
    threshold_px: float = THRESHOLD_PX,
    floor: int = FLOOR,
    max_iterations: int = 1000,
    seed: int = 0,
) -> Verification:
    """Find the motion of the query's object that most matches agree with.

    An inlier lies where the model puts it and, if the features have scales and angles, turns and scales about
    as the model does there. A model is implausible, and never returned, if over the part of the query that
    its inliers cover it mirrors (a mirrored copy is not a match), reaches the horizon, or scales or stretches
    beyond `MAX_SCALE` and `MAX_STRETCH` (it collapses onto a point or a line).

    Args:
        query: Features of the query.
        database: Features of the database image.
        matches: Matches of both images.
        model: Family of the model. Simpler members of it (a homography without perspective) compete too.
        threshold_px: Largest distance of an inlier, pixels of the database image.
        floor: Fewest inliers of a match. With fewer matches nothing is computed.
        max_iterations: Most hypotheses: the most similar matches, or without scales and angles, drawn pairs.
        seed: Seed of the drawn pairs; without effect where both images have scales and angles.

    Returns:
        The plausible model with most inliers, the smaller error among equals.

    Raises:
        ConfigError: A setting is not positive.

    >>> rng = np.random.default_rng(0)
    >>> places = rng.uniform(0, 99, (30, 2)).astype("f")
    >>> a = LocalFeatures(places, np.eye(30), np.ones(30, "f"), (100, 100))
    >>> b = LocalFeatures(2 * places + 7, np.eye(30), np.ones(30, "f"), (300, 300))
    >>> found = verify(a, b, Matches(np.arange(30), np.arange(30), np.ones(30, "f")))
    >>> np.allclose(found.model, [[2, 0, 7], [0, 2, 7], [0, 0, 1]], atol=1e-3), found.inliers.sum()
    (True, np.int64(30))
    """
    if not (threshold_px > 0 and floor > 0 and max_iterations > 0):
        raise ConfigError(
            f"threshold_px {threshold_px}, floor {floor} and max_iterations {max_iterations} must be positive"
        )
    nothing = Verification(None, np.zeros(len(matches), np.bool_), 0.0)
    if len(matches) < max(floor, 2):
        return nothing
    x, from_x = _normalise(query.keypoints[matches.query_rows])
    y, from_y = _normalise(database.keypoints[matches.database_rows])
    zoom = from_y[0, 0] / from_x[0, 0]
    limit = threshold_px / from_y[0, 0]
    motions = _relative_motions(query, database, matches)
    if motions is None:
        anchors, factors = _draw_hypotheses(x, y, max_iterations, seed)
    else:
        anchors = np.argsort(-matches.similarities, kind="stable")[:max_iterations]
        factors = motions[anchors] / zoom
    supports = _find_supports(x, y, anchors, factors, limit)
    supports = supports[np.argsort(-supports.sum(axis=1), kind="stable")[:SEEDS]]
    pairs = _Pairs(x, y)
    fits = _refine(pairs, supports, limit, model)
    errors = _squared_errors(fits, pairs)
    counts = (errors <= limit**2).sum(axis=1)
    for best in np.lexsort((np.minimum(errors, limit**2).sum(axis=1), -counts)):
        if counts[best] < floor:
            break
        inliers = errors[best] <= limit**2
        if motions is not None:
            near = np.flatnonzero(inliers)
            local = _derivatives(fits[best], pairs.homogeneous[near])
            inliers[near] = _turn_alike(motions[near] / zoom, local)
        number = int(inliers.sum())
        if number >= floor and _is_plausible(fits[best], x[inliers], zoom):
            found = from_y @ fits[best] @ np.linalg.inv(from_x)
            return Verification(found / found[2, 2], inliers, inlier_score(number, floor))
    return nothing


@dataclass(frozen=True)
class _Pairs:
    """Matched places, normalised, and the products that least squares on any of their subsets need."""

    x: Float64
    y: Float64

    @cached_property
    def homogeneous(self) -> Float64:
        return np.concatenate([self.x, np.ones((len(self.x), 1))], axis=1)

    @cached_property
    def affine_products(self) -> tuple[Float64, Float64]:
        """Of each pair: (n, 9) left and (n, 6) right side of the normal equations."""
        p, n = self.homogeneous, len(self.x)
        return (p[:, :, None] * p[:, None, :]).reshape(n, 9), (p[:, :, None] * self.y[:, None, :]).reshape(
            n, 6
        )

    @cached_property
    def homography_products(self) -> tuple[Float64, Float64]:
        """Of each pair: (n, 64) left and (n, 8) right side; the unknowns are the elements but the last."""
        n = len(self.x)
        equations = np.zeros((n, 2, 8))
        equations[:, 0, :3] = equations[:, 1, 3:6] = self.homogeneous
        equations[:, :, 6:] = -self.y[:, :, None] * self.x[:, None, :]
        transposed = equations.transpose(0, 2, 1)
        return (transposed @ equations).reshape(n, 64), (transposed @ self.y[:, :, None])[:, :, 0]


def _normalise(points: NDArray[np.float32]) -> tuple[Float64, Float64]:
    """Centre points and bring them to unit mean square; returns them and the way back (3, 3)."""
    values = points.astype(np.float64)
    centre = values.mean(axis=0)
    values -= centre
    size = max(float(np.sqrt((values**2).mean())), 1e-9)
    return values / size, np.array([[size, 0, centre[0]], [0, size, centre[1]], [0, 0, 1]])


def _complex(points: Float64) -> Complexes:
    """Planes as numbers: a similarity is a product with one complex number and a shift."""
    return np.ascontiguousarray(points).view(np.complex128)[:, 0]


def _relative_motions(query: LocalFeatures, database: LocalFeatures, matches: Matches) -> Complexes | None:
    """Scale and rotation (n,) from the query's to the database image's feature, if the features have both."""
    if query.scales is None or query.angles is None or database.scales is None or database.angles is None:
        return None
    a, b = matches.query_rows, matches.database_rows
    return np.asarray(
        database.scales[b] / query.scales[a] * np.exp(1j * (database.angles[b] - query.angles[a]))
    )


def _draw_hypotheses(x: Float64, y: Float64, number: int, seed: int) -> tuple[Int64, Complexes]:
    """Propose similarities by drawn pairs of matches: the row of one, and scale and rotation."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(x), number)
    second = (first + rng.integers(1, len(x), number)) % len(x)
    u, v = _complex(x[second] - x[first]), _complex(y[second] - y[first])
    apart = abs(u) > RIDGE
    return first[apart], v[apart] / u[apart]


def _find_supports(x: Float64, y: Float64, anchors: Int64, factors: Complexes, limit: float) -> Bool:
    """Which matches agree with each proposed similarity through its anchor, (H, n)."""
    u, v = _complex(x), _complex(y)
    offsets = v - v[anchors, None]
    errors = offsets - factors[:, None] * (u - u[anchors, None])
    return np.asarray(abs(errors) <= limit + SLACK * abs(offsets))


def _refine(pairs: _Pairs, supports: Bool, limit: float, model: Model) -> Float64:
    """Fit the model to the supporters of each hypothesis, and again to the inliers of each fit."""
    fit = _fit_similarity if model == "similarity" else _fit_affine
    fits = fit(pairs, supports)
    collected = []
    for factor in NARROWING:
        fits = fit(pairs, _squared_errors(fits, pairs) <= (factor * limit) ** 2)
        collected.append(fits)
        if model == "homography":
            projective = fits
            for _ in range(REWEIGHTINGS):
                inliers = _squared_errors(projective, pairs) <= (factor * limit) ** 2
                projective = _fit_homography(pairs, inliers, projective)
            collected.append(projective)
    return np.concatenate(collected)


def _squared_errors(fits: Float64, pairs: _Pairs) -> Float64:
    """Squared distance of each pair under each fit (K, n); infinite at or behind the horizon."""
    mapped = pairs.homogeneous @ fits.transpose(0, 2, 1)
    depth = mapped[:, :, 2]
    visible = depth > HORIZON
    errors = mapped[:, :, :2] / np.where(visible, depth, 1)[:, :, None] - pairs.y
    return np.where(visible, np.einsum("knd,knd->kn", errors, errors), np.inf)


def _fit_similarity(pairs: _Pairs, inliers: Bool) -> Float64:
    """Least squares over similarities, (K, 3, 3); Umeyama, PAMI 1991, in complex numbers."""
    weights = inliers.astype(np.float64)
    u, v = _complex(pairs.x), _complex(pairs.y)
    total = weights.sum(axis=1) + RIDGE
    du, dv = u - (weights @ u / total)[:, None], v - (weights @ v / total)[:, None]
    factors = (weights * du.conj() * dv).sum(axis=1) / ((weights * abs(du) ** 2).sum(axis=1) + RIDGE)
    shifts = weights @ v / total - factors * (weights @ u / total)
    fits = np.zeros((len(weights), 3, 3))
    fits[:, 0, 0] = fits[:, 1, 1] = factors.real
    fits[:, 1, 0], fits[:, 0, 1] = factors.imag, -factors.imag
    fits[:, 0, 2], fits[:, 1, 2], fits[:, 2, 2] = shifts.real, shifts.imag, 1
    return fits


def _fit_affine(pairs: _Pairs, inliers: Bool) -> Float64:
    """Least squares over affine maps, (K, 3, 3)."""
    weights = inliers.astype(np.float64)
    left, right = pairs.affine_products
    normal = (weights @ left).reshape(-1, 3, 3) + RIDGE * np.eye(3)
    fits = np.zeros((len(weights), 3, 3))
    fits[:, :2] = np.linalg.solve(normal, (weights @ right).reshape(-1, 3, 2)).transpose(0, 2, 1)
    fits[:, 2, 2] = 1
    return fits


def _fit_homography(pairs: _Pairs, inliers: Bool, previous: Float64) -> Float64:
    """Least squares over homographies, (K, 3, 3), weighted by the depth under a previous fit."""
    depth = (pairs.homogeneous @ previous[:, 2].T).T
    weights = np.where(inliers & (depth > HORIZON), 1 / np.maximum(depth, HORIZON) ** 2, 0)
    left, right = pairs.homography_products
    normal = (weights @ left).reshape(-1, 8, 8) + RIDGE * np.eye(8)
    solved = np.linalg.solve(normal, (weights @ right)[:, :, None])[:, :, 0]
    return np.concatenate([solved, np.ones((len(weights), 1))], axis=1).reshape(-1, 3, 3)


def _derivatives(fit: Float64, homogeneous: Float64) -> Float64:
    """What the map does around points (n, 3): (n, 2, 2), pixels moved there by a pixel moved here."""
    mapped = homogeneous @ fit.T
    places, depth = mapped[:, :2] / mapped[:, 2:], mapped[:, 2]
    return np.asarray((fit[:2, :2] - places[:, :, None] * fit[2, :2]) / depth[:, None, None])


def _turn_alike(motions: Complexes, derivatives: Float64) -> Bool:
    """Whether features turn and scale about as the map does around them."""
    (xx, xy), (yx, yy) = derivatives.transpose(1, 2, 0)
    around = (xx + yy + 1j * (yx - xy)) / 2  # the nearest similarity
    same_turn = abs(np.angle(motions * around.conj())) <= MAX_TURN
    given, wanted = abs(motions), abs(around)
    return np.asarray(same_turn & (given <= MAX_RESIZE * wanted) & (wanted <= MAX_RESIZE * given))


def _is_plausible(fit: Float64, inliers: Float64, zoom: float) -> bool:
    """Whether the map (between normalised points) is one that a camera makes; see `verify`."""
    (left, top), (right, bottom) = inliers.min(axis=0), inliers.max(axis=0)
    corners = np.array([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]])
    depth = corners @ fit[2]
    if depth.min() <= HORIZON or np.linalg.det(fit) <= 0:
        return False
    scales = np.linalg.svd(_derivatives(fit, corners), compute_uv=False)
    within = (scales * zoom <= MAX_SCALE) & (scales * zoom >= 1 / MAX_SCALE)
    return bool(within.all() and (scales[:, 0] <= MAX_STRETCH * scales[:, 1]).all())
