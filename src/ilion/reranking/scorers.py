"""Scorers without learnt weights: verified matches, and Chamfer similarity.

All scores are not negative, so that they can be added to a global similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilion.reranking.base import (
    SCORERS,
    Explanation,
    Findings,
    Scorer,
    ScorerOptions,
    explain_pairs,
    mark_unknown,
)
from ilion.reranking.geometry import Model, Verification, verify
from ilion.reranking.localisation import choose_motion, localise, map_outline
from ilion.reranking.matching import Matches, chamfer_bits, chamfer_many, match_many, nearest_tokens
from ilion.types import Box, LocalFeatures, Metric

GEOMETRY_SHARE = 0.08
"""Factor of the score of verified matches; it fits every budget (docs/local.md)."""
CHAMFER_SHARE = 4.0
"""Factor of Chamfer similarities, which differ little from image to image; not tuned on photos."""
TOP_PAIRS = 30
"""Pairs of tokens shown for a similarity that is made of all of them."""
FEATURES_PER_CHANCE = 110
"""Stored features for each inlier that unrelated photos reach by chance, as measured (docs/local.md)."""


def floor_for(features: int) -> int:
    """Choose how many inliers are no evidence yet: more features give more matches by chance.

    Args:
        features: Stored features an image.

    Returns:
        From 3, for the smallest budgets, to the 10 of thousands of features.

    >>> [floor_for(features) for features in (111, 225, 370, 500, 1000, 5000)]
    [3, 3, 3, 4, 9, 10]
    """
    return min(max(features // FEATURES_PER_CHANCE, 3), 10)


@SCORERS.register("geometry", note="nearest neighbours, verified by one motion")
@dataclass(frozen=True)
class Matcher(Scorer):
    """Match, then verify by geometry. An image without features has no matches: score 0.

    Args:
        metric: ``cosine`` or ``hamming``.
        ratio: Ratio of the ratio test, (0, 1].
        mutual: Whether matches must be each other's nearest.
        model: Family of motions.
        threshold: Largest distance of an inlier, as a share of the database image's longer side.
        floor: Number of inliers that are no evidence.
        learned: Function in place of nearest neighbours; metric, ratio and mutual then do not apply.
    """

    metric: Metric = "cosine"
    ratio: float = 0.9
    mutual: bool = True
    model: Model = "homography"
    threshold: float = 1 / 128
    floor: int = 4
    learned: Callable[[LocalFeatures, Sequence[LocalFeatures]], list[Matches]] | None = None
    verifies = True
    share = GEOMETRY_SHARE

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Build it for some features: ratio and floor follow from how they are stored."""
        ratio, geometry = options.ratio or options.codec.make.ratio, cls.geometry(options)
        inputs = {"metric": options.metric, "ratio": ratio, **geometry}
        return cls(metric=options.metric, ratio=ratio, **geometry), inputs

    @staticmethod
    def geometry(options: ScorerOptions) -> dict[str, Any]:
        """Return the settings of the verification."""
        floor = options.floor or floor_for(options.stored)
        return {"model": options.model, "threshold": options.threshold, "floor": floor}

    def compare(
        self, query: LocalFeatures, images: Sequence[LocalFeatures]
    ) -> list[tuple[Matches, Verification]]:
        """Match and verify a query against images."""
        if self.learned is not None:
            found = self.learned(query, images)
        else:
            found = match_many(query, images, ratio=self.ratio, mutual=self.mutual, metric=self.metric)
        return [
            (matches, self._verify(query, image, matches))
            for image, matches in zip(images, found, strict=True)
        ]

    def _verify(self, query: LocalFeatures, image: LocalFeatures, matches: Matches) -> Verification:
        threshold_px = self.threshold * max(image.image_size)
        return verify(query, image, matches, model=self.model, threshold_px=threshold_px, floor=self.floor)

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by the number of verified matches; see `ilion.reranking.geometry.inlier_score`."""
        found = [verification for _, verification in self.compare(query, images)]
        inliers = np.array([v.inliers.sum() for v in found], np.int64)
        return Findings(np.array([v.score for v in found], np.float32), inliers)

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Return the matches, which of them are verified, and where that puts the object."""
        [(matches, verification)] = self.compare(query, [image])
        model = choose_motion(query, image, matches, verification)
        if model is None:
            return Explanation(query, image, matches, verification)
        whole = outline or Box(0, 0, *query.image_size)
        box, corners = localise(model, whole, image.image_size), map_outline(model, whole)
        return Explanation(query, image, matches, verification, box, corners)


@SCORERS.register("chamfer", note="how well, on average, the query's features are found in the image")
@dataclass(frozen=True)
class TokenScorer(Scorer):
    """Chamfer similarity, brought from [-1, 1] to [0, 1].

    Args:
        metric: ``cosine``: a query at full precision against what the database decodes to;
            ``hamming``: packed bits on both sides.
        symmetric: Average both directions, so that clutter in the image costs something.
    """

    metric: Metric = "cosine"
    symmetric: bool = False
    share = CHAMFER_SHARE

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Build it for some features."""
        return cls(options.metric), {"metric": options.metric}

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by how well the query's tokens are found in each image."""
        tokens = [image.descriptors for image in images]
        if self.metric == "hamming":
            bits = np.asarray(query.descriptors, np.uint8)
            packed = [np.asarray(t, np.uint8) for t in tokens]
            found = chamfer_bits(bits, packed, dims=8 * bits.shape[1], symmetric=self.symmetric)
        else:
            found = chamfer_many(query.descriptors, tokens, symmetric=self.symmetric)
        return mark_unknown(query, images, (1 + found) / 2)

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Return the most similar pairs of tokens; nothing is verified."""
        pairs = nearest_tokens(query.descriptors, image.descriptors, metric=self.metric, top=TOP_PAIRS)
        return explain_pairs(query, image, pairs)
