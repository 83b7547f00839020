"""Shortlist -> match -> verify -> fuse: local features put the first results in a better order.

Only the first ``shortlist`` results of a query change places; the rest stays as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from ilion.errors import ArtifactError, ConfigError
from ilion.reranking.base import Scorer
from ilion.runtime.threads import in_order
from ilion.searching.fusion import by_rank, by_score
from ilion.types import Bool, Float32, Int64, LocalFeatures, Ranking, Value
from ilion.wording import counted

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
class Evidence(Value):
    """What the local features say about the shortlists.

    Args:
        rows: (Q, S) int64 database rows, in the order of the ranking before; -1 beyond a short list.
        inliers: (Q, S) int64 verified matches; 0 where the scorer verifies nothing.
        scores: (Q, S) float32 local scores, not negative; NaN where there is nothing to tell by.
        clock: (Q, S) float32 share of the time that each image took.
    """

    rows: Int64
    inliers: Int64
    scores: Float32
    clock: Float32

    def first(self, shortlist: int) -> Evidence:
        """Return the evidence about shorter shortlists, the beginnings of these."""
        cut = (slice(None), slice(shortlist))
        return Evidence(self.rows[cut], self.inliers[cut], self.scores[cut], self.clock[cut])

    def spread(self, asked: Bool) -> Evidence:
        """Return the evidence about more queries, of which only some were asked; the others have none.

        Args:
            asked: (Q',) as many true as there are queries here.

        >>> one = Evidence(*(np.ones((1, 2), t) for t in (np.int64, np.int64, np.float32, np.float32)))
        >>> one.spread(np.array([False, True])).rows.tolist()
        [[-1, -1], [1, 1]]
        """
        found = []
        for values, nothing in ((self.rows, -1), (self.inliers, 0), (self.scores, np.nan), (self.clock, 0)):
            whole = np.full((len(asked), values.shape[1]), nothing, values.dtype)
            whole[asked] = values
            found.append(whole)
        return Evidence(*found)


def gather(
    ranking: Ranking,
    queries: Sequence[LocalFeatures],
    database: LocalDatabase,
    scorer: Scorer,
    *,
    shortlist: int = 400,
    workers: int = 0,
    progress: Progress | None = None,
) -> Evidence:
    """Compare every query with its shortlist.

    Args:
        ranking: Ranking of the stage before.
        queries: (Q,) features, in the order of the ranking's queries.
        database: Features of the ranking's rows.
        scorer: Compares two images.
        shortlist: Number of first results compared.
        workers: Number of threads; 0 means one per core.
        progress: Callback that receives the number of queries done and of all queries.

    Raises:
        ConfigError: The scorer does not give one score an image.
        ArtifactError: There are not as many query features as queries, or an image has no stored features.
    """
    if len(queries) != len(ranking.query_ids):
        raise ArtifactError(
            f"local features of {counted(len(queries), 'query', 'queries')} "
            f"for {len(ranking.query_ids)} rankings"
        )
    size = min(shortlist, ranking.indices.shape[1])
    rows = ranking.indices[:, :size].copy()
    inliers = np.zeros(rows.shape, np.int64)
    scores = np.zeros(rows.shape, np.float32)
    clock = np.zeros(rows.shape, np.float32)

    def look(q: int) -> int:
        wanted = rows[q][rows[q] >= 0]
        for start in range(0, len(wanted), CHUNK):
            started = time.perf_counter()
            images = database.many(wanted[start : start + CHUNK].tolist())
            found = scorer.score(queries[q], images)
            given = np.asarray(found.scores)
            if given.shape != (len(images),) or given.dtype.kind not in "fiu" or np.isinf(given).any():
                raise ConfigError(
                    f"{type(scorer).__name__}.score gave {given.dtype} scores of shape {given.shape} for "
                    f"{counted(len(images), 'image')}; it gives a number for "
                    "each, or NaN where nothing can be said"
                )
            here = (q, slice(start, start + len(images)))
            inliers[here], scores[here] = found.inliers, found.scores
            clock[here] = (time.perf_counter() - started) / len(images)
        return q

    for done, (_, future) in enumerate(in_order(range(len(queries)), look, workers=workers)):
        future.result()
        if progress:
            progress(done + 1, len(queries))
    return Evidence(rows, inliers, scores, clock / max(float(clock.sum(dtype=np.float64)), 1e-12))


def fill_unknown(scores: Float32) -> Float32:
    """Give images of unknown score what is usual for the query: they neither rise nor fall.

    Args:
        scores: (Q, S), NaN where the score is unknown.

    Returns:
        The same with the median of a query's other scores in place of NaN; 0 if there is none.

    >>> fill_unknown(np.array([[0.5, np.nan, 0.7, 0.8], [np.nan] * 4], np.float32))[:, 1].round(2).tolist()
    [0.699999988079071, 0.0]
    """
    filled = scores.copy()
    for row in filled:
        unknown = np.isnan(row)
        if unknown.any():
            row[unknown] = 0 if unknown.all() else np.median(row[~unknown])
    return filled


def rerank(
    ranking: Ranking, evidence: Evidence, *, fusion: Fusion = "score", weight: float | Float32 = 0.08
) -> Ranking:
    """Order each shortlist by global and local evidence together.

    Args:
        ranking: Ranking of the stage before.
        evidence: Evidence about its shortlists.
        fusion: ``score`` adds weighted local scores to the similarities; ``rank`` fuses both orders.
        weight: Factor of the local score; one for all queries or (Q,).

    Returns:
        A ranking whose first results are permuted; ties keep their order. The similarities of a shortlist are
        the fused scores; with ``rank`` they stand above the largest global similarity, so that all descend.
        A query whose shortlist is empty (a text) keeps its results as they were.
    """
    size = evidence.rows.shape[1]
    indices, similarities = ranking.indices.copy(), ranking.similarities.copy()
    first, local = similarities[:, :size], fill_unknown(evidence.scores)
    if fusion == "rank":
        top = first.max(axis=1, keepdims=True, initial=-np.inf) if size else first
        fused = np.where(evidence.rows >= 0, top + by_rank(first, local), -np.inf).astype(np.float32)
    else:
        per_query = np.broadcast_to(np.asarray(weight, np.float32), (len(indices),))
        fused = by_score(first, local * per_query[:, None], 1.0)
    asked = (evidence.rows >= 0).any(axis=1, keepdims=True)
    fused = np.where(asked, fused, first)
    order = np.argsort(-fused, axis=1, kind="stable")
    indices[:, :size] = np.take_along_axis(indices[:, :size], order, axis=1)
    similarities[:, :size] = np.take_along_axis(fused, order, axis=1)
    return replace(ranking, indices=indices, similarities=similarities)
