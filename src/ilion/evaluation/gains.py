"""What each stage of a re-ranked search gained and lost, in positives and in mAP, as pure functions.

The shares of mAP are exact: they come from re-orderings of the same lists, each judged by the definition of
the run, and they add up. Letters: Q queries, S images of a shortlist.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.evaluation.average_precision import Definition, average_precision, find_hits, find_open
from ilion.outcome import Ledger
from ilion.types import Bool, Float64, GroundTruth, Int64, Ranking

T = TypeVar("T", bound=np.generic)


def explain_gains(
    before: Ranking,
    after: Ranking,
    truth: GroundTruth,
    verified: Bool,
    *,
    definition: Definition = "ilias",
    k: int = 1000,
    verifies: bool = True,
    asked: Bool | None = None,
) -> Ledger:
    """Account for every positive and for all of mAP.

    Args:
        before: The ranking before.
        after: The ranking after: its first S results are those of ``before`` in another order.
        truth: Positives and ignored images, queries in the order of the rankings.
        verified: (Q, S) whether an image of the shortlist has a verified match, in the order of ``before``.
        definition: Definition of AP.
        k: Cut-off of AP.
        verifies: See `Ledger`.
        asked: (Q,) which queries were re-ranked at all; None for all. Of the others (texts) nothing was
            shortlisted, so their positives are ``beyond`` and what they miss is ``out_of_reach``.

    Raises:
        ArtifactError: The rankings are not of the same queries, or their shortlists hold other images.

    >>> from ilion.evaluation.truth import truth_from_ids
    >>> def ranking(rows):
    ...     falling = np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)
    ...     return Ranking(("q",), tuple("abcd"), np.array([rows]), falling, np.array([4]))
    >>> truth = truth_from_ids(("q",), tuple("abcd"), {"q": ("b", "d")})
    >>> verified = np.array([[False, True, False]])
    >>> found = explain_gains(ranking([0, 1, 2, 3]), ranking([1, 0, 2, 3]), truth, verified)
    >>> found.lifted, found.beyond, found.before, found.after, found.oracle
    (1, 1, 0.5, 0.75, 0.75)
    """
    size = verified.shape[1]
    if not before.query_ids == after.query_ids == truth.query_ids:
        raise ArtifactError("the rankings before and after re-ranking and the ground truth differ in queries")
    first, second = before.indices[:, :size], after.indices[:, :size]
    if not np.array_equal(np.sort(first, axis=1), np.sort(second, axis=1)):
        raise ArtifactError("re-ranking may only change the order of a shortlist, but it holds other images")
    positive = _positive(second, truth)
    if asked is not None:
        positive &= asked[:, None]
    seen = _reorder(verified, first, second) & positive
    judged = [
        _precisions(order, truth, definition, k, chosen)
        for order, chosen in ((before, None), (after, None), (after, seen), (after, positive))
    ]
    start, end, verified_first, oracle = (float(values.mean()) for values in judged)
    change = judged[1] - judged[0]
    change[np.abs(change) < 1e-12] = 0.0
    old, new = (wrong_in_front(each, truth)[:, :size] for each in (before, after))
    moved = new - _reorder(old, first, second)
    known = positive & seen
    pairs = sum(len(rows) for rows in truth.positives)
    return Ledger(
        lifted=int((known & (moved < 0)).sum()),
        kept=int((known & (moved == 0)).sum()),
        lowered=int((known & (moved > 0)).sum()),
        unverified=int((positive & ~seen).sum()),
        unverified_lowered=int((positive & ~seen & (moved > 0)).sum()),
        beyond=pairs - int(positive.sum()),
        unreachable=int(truth.unreachable.sum()),
        before=start,
        gained=float(np.maximum(change, 0).mean()),
        lost=float(np.maximum(-change, 0).mean()),
        gained_queries=int((change > 0).sum()),
        lost_queries=int((change < 0).sum()),
        outranked=verified_first - end,
        unmatched=oracle - verified_first,
        out_of_reach=1 - oracle,
        verifies=verifies,
    )


def places(ranking: Ranking, truth: GroundTruth) -> Int64:
    """Return (Q, K) the 1-based rank of each result; 0 for an ignored one, which takes no rank.

    >>> from ilion.evaluation.truth import truth_from_ids
    >>> three = Ranking(("q",), tuple("abc"), np.array([[2, 0, 1]]), np.zeros((1, 3), "f"), np.array([3]))
    >>> places(three, truth_from_ids(("q",), tuple("abc"), {"q": ("a",)}, {"q": ("c",)})).tolist()
    [[0, 1, 2]]
    """
    counted = np.stack(
        [
            (rows >= 0) & ~np.isin(rows, ignored)
            for rows, ignored in zip(ranking.indices, truth.ignored, strict=True)
        ]
    )
    return np.where(counted, np.cumsum(counted, axis=1), 0)


def wrong_in_front(ranking: Ranking, truth: GroundTruth) -> Int64:
    """Return (Q, K) how many results that are neither positive nor ignored stand before each result.

    >>> from ilion.evaluation.truth import truth_from_ids
    >>> three = Ranking(("q",), tuple("abc"), np.array([[2, 0, 1]]), np.zeros((1, 3), "f"), np.array([3]))
    >>> wrong_in_front(three, truth_from_ids(("q",), tuple("abc"), {"q": ("a",)})).tolist()
    [[0, 1, 1]]
    """
    wrong = (places(ranking, truth) > 0) & ~_positive(ranking.indices, truth)
    return np.asarray(np.cumsum(wrong, axis=1) - wrong, np.int64)


def _positive(rows: Int64, truth: GroundTruth) -> Bool:
    return np.stack([np.isin(each, wanted) for each, wanted in zip(rows, truth.positives, strict=True)])


def _reorder(values: NDArray[T], first: Int64, second: Int64) -> NDArray[T]:
    """Bring (Q, S) values of one order of the same rows into another order."""
    there = np.argsort(first, axis=1, kind="stable")
    back = np.argsort(np.argsort(second, axis=1, kind="stable"), axis=1, kind="stable")
    return np.take_along_axis(np.take_along_axis(values, there, axis=1), back, axis=1)


def _precisions(
    ranking: Ranking, truth: GroundTruth, definition: Definition, k: int, chosen: Bool | None
) -> Float64:
    """Compute AP@k, the chosen images (Q, S) of each shortlist put in front; the others keep their order."""
    indices, open_from = ranking.indices, find_open(ranking.similarities, ranking.counts)
    if chosen is not None:
        size = chosen.shape[1]
        order = np.argsort(~chosen, axis=1, kind="stable")
        indices = indices.copy()
        indices[:, :size] = np.take_along_axis(indices[:, :size], order, axis=1)
        # what is chosen of a tie that has no order leaves it
        leaving = chosen & (np.arange(size) >= open_from[:, None])
        open_from = np.where(open_from >= 0, open_from + np.count_nonzero(leaving, axis=1), -1)
    hits = find_hits(indices, None, truth.positives, truth.ignored, len(ranking.database_ids), open_from)
    positives = np.array([len(rows) for rows in truth.positives], np.int64) + truth.unreachable
    return average_precision(hits, None, positives, definition, k)
