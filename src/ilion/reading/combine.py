"""What was seen and what was read, in one ranking, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ilion.errors import ArtifactError
from ilion.searching.fusion import RANK_CONSTANT
from ilion.types import Float32, Float64, Int64, Ranking
from ilion.wording import counted


def combine(visual: Ranking, read: Sequence[tuple[Int64, Float64]], weights: Float32 | None) -> Ranking:
    """Fuse the visual ranking with what was read.

    The images of a query's visual list and those with evidence in their text are ranked together. An image
    that the visual list does not hold counts as similar as the last of the list, which is the most that it
    can be; so text can bring up what the visual list has lost.

    Args:
        visual: Q queries, K results.
        read: Rows with evidence, and similarities in (0, 1], of each query; in any order.
        weights: (Q,) weight of the similarity of the text, added to the visual one. None fuses the ranks in
            both lists instead (reciprocal rank fusion, Cormack et al., SIGIR 2009).

    Returns:
        K results a query. Ties keep the order of the visual list, then that of the database.

    Raises:
        ArtifactError: There is not one list of evidence for each query.

    >>> visual = Ranking(("q",), ("a", "b", "c", "d"), np.array([[0, 1]]), np.array([[0.9, 0.5]], np.float32),
    ...                  np.array([2]))
    >>> found = combine(visual, [(np.array([3]), np.array([1.0]))], np.array([0.6], np.float32))
    >>> found.indices.tolist(), found.similarities.round(2).tolist()
    ([[3, 0]], [[1.100000023841858, 0.8999999761581421]])
    """
    if len(read) != len(visual.query_ids):
        raise ArtifactError(
            f"{counted(len(read), 'list')} of evidence for "
            f"{counted(len(visual.query_ids), 'query', 'queries')}"
        )
    size = visual.indices.shape[1]
    indices = np.full(visual.indices.shape, -1, np.int64)
    similarities = np.full(visual.indices.shape, -np.inf, np.float32)
    counts = np.zeros(len(read), np.int64)
    for q, (rows, values) in enumerate(read):
        seen = visual.indices[q, : visual.counts[q]]
        own = visual.similarities[q, : visual.counts[q]].astype(np.float64)
        order = np.argsort(rows, kind="stable")
        rows, values = rows[order], values[order]
        new = np.setdiff1d(rows, seen)
        everything = np.concatenate([seen, new])
        floor = own[-1] if len(own) else 0.0
        evidence = np.zeros(len(everything))
        at = np.searchsorted(rows, everything)
        inside = at < len(rows)
        inside[inside] = rows[at[inside]] == everything[inside]
        evidence[inside] = values[at[inside]]
        if weights is None:
            fused = _reciprocal(own, evidence)
        else:
            fused = np.concatenate([own, np.full(len(new), floor)]) + float(weights[q]) * evidence
        best = np.argsort(-fused.astype(np.float32), kind="stable")[:size]
        counts[q] = len(best)
        indices[q, : len(best)] = everything[best]
        similarities[q, : len(best)] = fused[best]
    return Ranking(visual.query_ids, visual.database_ids, indices, similarities, counts)


def _reciprocal(own: Float64, evidence: Float64) -> Float64:
    """Sum the reciprocal ranks; a list that does not hold an image adds nothing.

    Where all of the visual list is equally similar, its order is that of the rows: all share the last rank.
    """
    ranks = np.arange(1, len(evidence) + 1)
    seen = len(own)
    places = np.full(len(ranks), seen) if seen > 1 and own[0] == own[-1] else ranks
    first = np.where(ranks <= seen, 1 / (RANK_CONSTANT + places), 0.0)
    second = np.empty(len(evidence))
    second[np.argsort(-evidence, kind="stable")] = 1 / (RANK_CONSTANT + ranks)
    return np.asarray(first + np.where(evidence > 0, second, 0.0), np.float64)
