"""What a verified photo is worth: numbers of a pair, and the probability that it shows the query's object.

A logistic model of few numbers, learnt by ``scripts/learn_local_model.py`` on composed photos with
look-alikes, none of which any evaluation uses. Boosted trees fitted those better and real photos worse
(docs/local-first.md).

Letters: S photos of a shortlist, P their matches, F numbers of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.searching.local.agreement import compare_tones
from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.tones import Looks
from ilion.searching.local.verified import Verified
from ilion.storage import read_json
from ilion.types import Float64, Value

SCORE = Path(__file__).parent / "score.json"
CELLS = 8
"""Parts of the query along either side, to say how much of it is seen."""
PHOTOS = 2500
"""Size of the databases the model was learnt on; weights of matches are brought to it."""
BEST = 0.25
"""Share of the largest sum from which on a photo takes part in saying which spots are common."""
SPARE = 0.01
"""Added before logarithms."""
LEAST = 2
"""Verified matches without which a photo is worth nothing."""


@dataclass(frozen=True, eq=False)
class ScoreModel(Value):
    """A logistic model of the numbers of a pair.

    Args:
        names: (F,) names of the numbers, see `pair_numbers`.
        weights: (F,) float64.
        bias: Added to the weighted sum.

    Raises:
        ArtifactError: Lengths differ or a value is not finite.
    """

    names: tuple[str, ...]
    weights: Float64
    bias: float

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.names),) or not np.isfinite([*self.weights, self.bias]).all():
            raise ArtifactError(
                "score of local matches: names and weights do not fit together; learn it again"
            )

    def probabilities(self, numbers: dict[str, Float64]) -> Float64:
        """Return (S,) probabilities in [0, 1] of photos with these numbers, (S,) each."""
        # in a fixed order, so that the sum is the same wherever it is computed
        total = np.full(len(next(iter(numbers.values()))), self.bias)
        for name, weight in zip(self.names, self.weights, strict=True):
            total += weight * numbers[name]
        return np.asarray(1 / (1 + np.exp(-np.clip(total, -50, 50))), np.float64)


@cache
def shipped_score() -> ScoreModel:
    """Return the model that comes with Ilion."""
    return read_score(SCORE)


def read_score(path: Path) -> ScoreModel:
    """Read a model.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        stored = read_json(path)
        weights: dict[str, float] = stored["weights"]
        return ScoreModel(tuple(weights), np.array(list(weights.values()), np.float64), float(stored["bias"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: is no score of local matches ({error}); learn it again") from error


def score_photos(
    query: LocalQuery, found: Verified, photos: int, looks: Looks, model: ScoreModel | None = None
) -> Float64:
    """Return the probability that each photo of a shortlist shows the query's object.

    Args:
        query: The query.
        found: Verified matches of the shortlist.
        photos: Number of photos in the database.
        looks: Sizes and colours of the shortlist.
        model: None for the one that comes with Ilion.

    Returns:
        (S,) float64 in [0, 1]; 0 for photos with fewer than two verified matches.
    """
    if not len(found.rows):
        return np.empty(0)
    chosen = (model or shipped_score()).probabilities(pair_numbers(query, found, photos, looks))
    owners = np.repeat(np.arange(len(found.rows)), np.diff(found.starts))
    counts = np.bincount(owners[found.supports], minlength=len(found.rows))
    return np.where(counts >= LEAST, chosen, 0.0)


def pair_numbers(query: LocalQuery, found: Verified, photos: int, looks: Looks) -> dict[str, Float64]:
    """Describe each photo of a shortlist by numbers that tell right from wrong.

    Args:
        query: The query.
        found: Verified matches of the shortlist, at least one photo.
        photos: Number of photos in the database.
        looks: Sizes and colours of the shortlist.

    Returns:
        Name -> (S,) float64. ``sum``, ``log sum``, ``sum/max``, ``sum/noise``: weight of the verified
        matches, alone, against the best photo, and against those that are surely wrong; ``log rank`` by it;
        ``inliers``; ``all/sum``: all matches against the verified; ``sim mean``, ``sim max``: similarities;
        ``covered``: share of the query's parts that are seen; ``spread``: extent of the matches in the query;
        ``stretch`` of the motion; ``turn ...``, ``oct ...``: mean and deviation of turns and sizes against
        the motion; ``density``: verified matches for each spot of the parts that are seen; ``largest`` share
        of a match; ``log freq``: how often the matched features are found in the shortlist;
        ``parts/inlier``; ``rare ...``: similarities, less for spots that are verified in many photos;
        ``common``: share of weight on such spots; ``votes/max``;
        ``tone ...``: see `ilion.searching.local.agreement.compare_tones`.
    """
    count = len(found.rows)
    scale = (photos / PHOTOS) ** 0.7
    owner = np.repeat(np.arange(count), np.diff(found.starts))
    kept = np.flatnonzero(found.supports)
    own, weights = owner[kept], found.weights[kept] * scale
    features = found.matches.features[kept]

    def total(values: NDArray[np.floating]) -> Float64:
        return np.asarray(np.bincount(own, values, count), np.float64)

    sums = found.sums * scale
    safe = np.maximum(sums, 1e-9)

    def mean(values: NDArray[np.floating]) -> Float64:
        return np.asarray(total(weights * values) / safe, np.float64)

    inliers = np.bincount(own, minlength=count).astype(np.float64)
    seen = np.maximum(inliers, 1)
    frames, image = found.query[kept].astype(np.float64), found.image[kept].astype(np.float64)
    motion = found.motions
    area = np.maximum(motion[:, 0] * motion[:, 4] - motion[:, 1] * motion[:, 3], 1e-9)
    angle = np.arctan2(motion[:, 3] - motion[:, 1], motion[:, 0] + motion[:, 4])
    energy = np.square(motion[:, [0, 1, 3, 4]]).sum(axis=1)
    turns = (image[:, 3] - frames[:, 3] - angle[own] + np.pi) % (2 * np.pi) - np.pi
    octaves = image[:, 2] - frames[:, 2] - 0.5 * np.log2(area)[own]
    x, y = frames[:, 0] - mean(frames[:, 0])[own], frames[:, 1] - mean(frames[:, 1])[own]
    xx, xy, yy = mean(x * x), mean(x * y), mean(y * y)

    places = np.clip((query.frames[:, :2] * CELLS).astype(np.int64), 0, CELLS - 1)
    part = places[:, 0] * CELLS + places[:, 1]
    first = np.unique(query.spots, return_index=True)[1]
    spots = np.bincount(part[first], minlength=CELLS**2)
    pairs = np.unique(own * CELLS**2 + part[features])
    parts = np.bincount(pairs // CELLS**2, minlength=count)
    there = np.bincount(pairs // CELLS**2, spots[pairs % CELLS**2], count)

    order = np.argsort(-sums, kind="stable")
    rank = np.empty(count)
    rank[order] = np.arange(count)
    ranked = sums[order]
    top = max(float(ranked[0]), 1e-9)
    noise = max(float(np.median(ranked[50:150] if count > 60 else ranked)), 1e-3)
    often = np.bincount(found.matches.features, minlength=len(query))[features] * (PHOTOS / photos)
    similarities = found.matches.similarities[kept].astype(np.float64)
    largest, most = np.zeros(count), np.zeros(count)
    np.maximum.at(largest, own, weights)
    np.maximum.at(most, own, similarities)
    good = sums >= BEST * top
    spot = query.spots[features]
    shared = np.bincount(spot[good[own]], minlength=int(query.spots.max(initial=0)) + 1)[spot].astype(
        np.float64
    )
    rare = total(similarities**2 / np.maximum(shared, 1))
    log = np.log
    return {
        "sum": log(sums + SPARE),
        "log sum": log(sums + 0.1 * SPARE),
        "sum/max": sums / top,
        "sum/noise": log(sums / noise + SPARE),
        "log rank": np.log1p(rank),
        "inliers": log(inliers + SPARE),
        "all/sum": log(np.bincount(owner, found.weights, count) * scale / np.maximum(sums, 0.01) + SPARE),
        "sim mean": mean(similarities),
        "sim max": most,
        "covered": parts / max(int((spots > 0).sum()), 1),
        "spread": 0.5 * log(np.maximum(xx * yy - xy * xy, 1e-12)),
        "stretch": np.arccosh(np.maximum(energy / (2 * area), 1)),
        "turn mean": abs(mean(turns)),
        "turn dev": np.sqrt(mean(turns**2)),
        "oct mean": abs(mean(octaves)),
        "oct dev": np.sqrt(mean(octaves**2)),
        "density": log(inliers / np.maximum(there, 1) + SPARE),
        "largest": largest / safe,
        "log freq": mean(log(often + 0.1 * SPARE)),
        "parts/inlier": parts / seen,
        "rare": log(rare + SPARE),
        "rare/max": rare / max(float(rare.max()), 1e-9),
        "common": mean(shared) / max(int(good.sum()), 1),
        "votes/max": found.votes / max(float(found.votes.max()), 1e-9),
    } | compare_tones(query, motion, looks)
