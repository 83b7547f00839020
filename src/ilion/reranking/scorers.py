"""What local features say about a query and an image: one class for each way of telling.

- `Matcher`: which features match, and whether the matches agree on one motion of the object. The matches come
  from nearest neighbours, or from a learned matcher such as LightGlue.
- `TokenScorer`: how well, on average, the query's tokens are found in the image (Chamfer similarity).
- `SetScorer`: what a network says that has learnt to compare sets of local descriptors (AMES).

All give scores that are not negative, so that they can be added to a global similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ilion.reranking.geometry import Model, Verification, localise, verify
from ilion.reranking.localisation import mapped_outline, settled
from ilion.reranking.matching import Matches, Metric, chamfer_bits, chamfer_many, match_many, nearest_tokens
from ilion.types import Box, Float32, Float64, Int64, LocalFeatures

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


def ratio_for(codec: str) -> float:
    """Choose the ratio of the ratio test: few bytes blur distances, and a strict test loses true matches.

    Args:
        codec: Kind of the codec of the stored features.

    >>> ratio_for("raw"), ratio_for("pq")
    (0.9, 0.95)
    """
    return 0.95 if codec in ("pca", "pq") else 0.9


@dataclass(frozen=True)
class Findings:
    """What a scorer says about one query and some images.

    Args:
        inliers: (n,) int64 verified matches; 0 where nothing is verified.
        scores: (n,) float32, not negative; NaN where an image or the query has no features to tell by.
    """

    inliers: Int64
    scores: Float32


@dataclass(frozen=True)
class Explanation:
    """Why an image was found: for pictures of the matches.

    Args:
        query: Features of the query.
        image: Features of the database image.
        matches: Pairs of features that belong together; none for a scorer that does not look at pairs.
        verification: Which of them agree on one motion.
        box: The query's outline in the database image, pixels; None without a plausible motion.
        corners: (4, 2) the outline itself, not clipped to the image.
    """

    query: LocalFeatures
    image: LocalFeatures
    matches: Matches
    verification: Verification
    box: Box | None
    corners: Float64 | None = None


class Scorer(Protocol):
    """Compares a query with images by their local features."""

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Compare a query with images that have any numbers of features, none included."""
        ...

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Say why an image matches a query, whose object lies within ``outline`` (None: all of it)."""
        ...


class PairMatcher(Protocol):
    """Says which features belong together, such as LightGlue."""

    def match_many(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Matches]:
        """Match a query with each database image."""
        ...


@dataclass(frozen=True)
class Matcher:
    """Match, then verify by geometry. An image without features has no matches: score 0.

    Args:
        metric: How descriptors compare.
        ratio: Of the ratio test.
        mutual: Whether matches must be each other's nearest.
        model: Family of motions.
        threshold: Largest distance of an inlier, as a share of the database image's longer side.
        floor: Inliers that are no evidence.
        learned: What matches in place of nearest neighbours; metric, ratio and mutual then do not apply.
    """

    metric: Metric = "cosine"
    ratio: float = 0.9
    mutual: bool = True
    model: Model = "homography"
    threshold: float = 1 / 128
    floor: int = 4
    learned: PairMatcher | None = None

    def compare(
        self, query: LocalFeatures, images: Sequence[LocalFeatures]
    ) -> list[tuple[Matches, Verification]]:
        """Match and verify a query against images."""
        if self.learned is not None:
            found = self.learned.match_many(query, images)
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
        return Findings(inliers, np.array([v.score for v in found], np.float32))

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Return the matches, which of them are verified, and where that puts the object."""
        [(matches, verification)] = self.compare(query, [image])
        model = settled(query, image, matches, verification)
        if model is None:
            return Explanation(query, image, matches, verification, None)
        whole = outline or Box(0, 0, *query.image_size)
        box, corners = localise(model, whole, image.image_size), mapped_outline(model, whole)
        return Explanation(query, image, matches, verification, box, corners)


@dataclass(frozen=True)
class TokenScorer:
    """Chamfer similarity, brought from [-1, 1] to [0, 1].

    Args:
        metric: ``cosine``: a query at full precision against what the database decodes to;
            ``hamming``: packed bits on both sides.
        symmetric: Average both directions, so that clutter in the image costs something.
    """

    metric: Metric = "cosine"
    symmetric: bool = False

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by how well the query's tokens are found in each image."""
        tokens = [image.descriptors for image in images]
        if self.metric == "hamming":
            bits = np.asarray(query.descriptors, np.uint8)
            packed = [np.asarray(t, np.uint8) for t in tokens]
            found = chamfer_bits(bits, packed, dims=8 * bits.shape[1], symmetric=self.symmetric)
        else:
            found = chamfer_many(query.descriptors, tokens, symmetric=self.symmetric)
        return Findings(np.zeros(len(images), np.int64), _told(query, images, (1 + found) / 2))

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Return the most similar pairs of tokens; nothing is verified."""
        pairs = nearest_tokens(query.descriptors, image.descriptors, metric=self.metric, top=TOP_PAIRS)
        return Explanation(query, image, pairs, _unverified(pairs), None)


class SetNetwork(Protocol):
    """Compares sets of local descriptors, such as `ilion.reranking.ames.AmesScorer`."""

    def score(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> Float32:
        """Return (n,) logits: positive where both show the same object."""
        ...


@dataclass(frozen=True)
class SetScorer:
    """A learned similarity of sets, brought from logits to (0, 1) by a sigmoid.

    Args:
        network: The network.
        steepness: Factor of the logits inside the sigmoid.
    """

    network: SetNetwork
    steepness: float

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by the network."""
        logits = self.network.score(query, images).astype(np.float64)
        # tanh in place of exp, which overflows for very negative logits
        found = 0.5 + 0.5 * np.tanh(0.5 * self.steepness * logits)
        return Findings(np.zeros(len(images), np.int64), _told(query, images, found))

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Return both images without matches: the network does not look at pairs of features."""
        nothing = np.empty(0, np.int64)
        pairs = Matches(nothing, nothing, np.empty(0, np.float32))
        return Explanation(query, image, pairs, _unverified(pairs), None)


def _told(query: LocalFeatures, images: Sequence[LocalFeatures], scores: NDArray[np.floating]) -> Float32:
    """Put NaN where one side has no features."""
    there = np.array([len(query.keypoints) > 0 and len(image.keypoints) > 0 for image in images], bool)
    return np.where(there, scores, np.nan).astype(np.float32)


def _unverified(pairs: Matches) -> Verification:
    return Verification(None, np.zeros(len(pairs), bool), 0.0)
