"""Shortlist -> match -> verify -> fuse: local features put the first results in a better order.

Only the first ``shortlist`` results of a query change places; the rest stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from ilion.errors import ArtifactError
from ilion.fuse import by_rank, by_score
from ilion.geometry import Model, Verification, localise, verify
from ilion.matching import Matches, Metric, match_many
from ilion.threads import in_order
from ilion.types import Box, Float32, Int64, LocalFeatures, Ranking

Fusion = Literal["score", "rank"]
Progress = Callable[[int, int], None]

CHUNK = 64
"""Database images whose features are held at once for a query."""


class LocalDatabase(Protocol):
    """Local features of database images, read as needed."""

    def many(self, rows: Sequence[int]) -> list[LocalFeatures]:
        """Return the features of database rows."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What the local features say about the shortlists.

    Args:
        rows: (Q, S) int64 database rows, in the order of the ranking before; -1 beyond a short list.
        inliers: (Q, S) int64 verified matches.
        scores: (Q, S) float32 local scores, 0 without evidence.
    """

    rows: Int64
    inliers: Int64
    scores: Float32


@dataclass(frozen=True)
class Explanation:
    """Why an image was found: for pictures of the matches.

    Args:
        query: Features of the query.
        image: Features of the database image.
        matches: Their matches.
        verification: Which of them agree on one motion.
        box: The query's outline in the database image, pixels; None without a plausible motion.
    """

    query: LocalFeatures
    image: LocalFeatures
    matches: Matches
    verification: Verification
    box: Box | None


@dataclass(frozen=True)
class Matcher:
    """How two images are compared.

    Args:
        metric: How descriptors compare.
        ratio: Of the ratio test.
        mutual: Whether matches must be each other's nearest.
        model: Family of motions.
        threshold: Largest distance of an inlier, as a share of the database image's longer side.
        floor: Inliers that are no evidence.
    """

    metric: Metric = "cosine"
    ratio: float = 0.9
    mutual: bool = True
    model: Model = "homography"
    threshold: float = 1 / 128
    floor: int = 4

    def compare(
        self, query: LocalFeatures, images: Sequence[LocalFeatures]
    ) -> list[tuple[Matches, Verification]]:
        """Match and verify a query against images."""
        found = match_many(query, images, ratio=self.ratio, mutual=self.mutual, metric=self.metric)
        return [
            (matches, self._verify(query, image, matches))
            for image, matches in zip(images, found, strict=True)
        ]

    def _verify(self, query: LocalFeatures, image: LocalFeatures, matches: Matches) -> Verification:
        threshold_px = self.threshold * max(image.image_size)
        return verify(query, image, matches, model=self.model, threshold_px=threshold_px, floor=self.floor)

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Say why an image matches a query.

        Args:
            query: Features of the query.
            image: Features of the database image.
            outline: The object in the query, pixels; None for the whole image.
        """
        [(matches, verification)] = self.compare(query, [image])
        box = None
        if verification.model is not None:
            whole = outline or Box(0, 0, *query.image_size)
            box = localise(verification.model, whole, image.image_size)
        return Explanation(query, image, matches, verification, box)


def gather(
    ranking: Ranking,
    queries: Sequence[LocalFeatures],
    database: LocalDatabase,
    matcher: Matcher,
    *,
    shortlist: int = 400,
    workers: int = 0,
    progress: Progress | None = None,
) -> Evidence:
    """Compare every query with its shortlist.

    Args:
        ranking: Of the stage before.
        queries: (Q,) features, in the order of the ranking's queries.
        database: Features of the ranking's rows.
        matcher: How two images are compared.
        shortlist: How many first results are looked at.
        workers: Threads; 0 takes one a core.
        progress: Called with queries done and in all.

    Raises:
        ArtifactError: There are not as many query features as queries, or an image has no stored features.
    """
    if len(queries) != len(ranking.query_ids):
        raise ArtifactError(f"local features of {len(queries)} queries for {len(ranking.query_ids)} rankings")
    size = min(shortlist, ranking.indices.shape[1])
    rows = ranking.indices[:, :size].copy()
    inliers = np.zeros(rows.shape, np.int64)
    scores = np.zeros(rows.shape, np.float32)

    def look(q: int) -> int:
        wanted = rows[q][rows[q] >= 0]
        for start in range(0, len(wanted), CHUNK):
            images = database.many(wanted[start : start + CHUNK].tolist())
            for i, (_, found) in enumerate(matcher.compare(queries[q], images), start):
                inliers[q, i], scores[q, i] = found.inliers.sum(), found.score
        return q

    for done, (_, future) in enumerate(in_order(range(len(queries)), look, workers=workers)):
        future.result()
        if progress:
            progress(done + 1, len(queries))
    return Evidence(rows, inliers, scores)


def rerank(
    ranking: Ranking, evidence: Evidence, *, fusion: Fusion = "score", weight: float | Float32 = 0.08
) -> Ranking:
    """Order each shortlist by global and local evidence together.

    Args:
        ranking: Of the stage before.
        evidence: About its shortlists.
        fusion: ``score`` adds weighted local scores to the similarities; ``rank`` fuses both orders.
        weight: Of the local score; one for all queries or (Q,).

    Returns:
        A ranking whose first results are permuted; ties keep their order. The similarities of a shortlist are
        the fused scores; with ``rank`` they stand above the largest global similarity, so that all descend.
    """
    size = evidence.rows.shape[1]
    indices, similarities = ranking.indices.copy(), ranking.similarities.copy()
    first = similarities[:, :size]
    if fusion == "rank":
        top = first.max(axis=1, keepdims=True, initial=-np.inf) if size else first
        fused = np.where(evidence.rows >= 0, top + by_rank(first, evidence.scores), -np.inf).astype(
            np.float32
        )
    else:
        per_query = np.broadcast_to(np.asarray(weight, np.float32), (len(indices),))
        fused = by_score(first, evidence.scores * per_query[:, None], 1.0)
    order = np.argsort(-fused, axis=1, kind="stable")
    indices[:, :size] = np.take_along_axis(indices[:, :size], order, axis=1)
    similarities[:, :size] = np.take_along_axis(fused, order, axis=1)
    return replace(ranking, indices=indices, similarities=similarities)
