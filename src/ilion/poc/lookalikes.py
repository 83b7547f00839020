"""Look-alikes: which objects are mistaken for which, how often, and what may tell them apart.

A search for one object mistakes another for it where a photo of the other stands before every photo of the
object that was asked for. Photos whose object nobody named are counted, and are nobody's look-alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ilion.types import Box, Float64, GroundTruth, Int64, Ranking, Value

EXAMPLES = 3
"""Examples that are kept of a pair of objects."""
REGIONS = 3
"""Regions that are shown of a query photo."""
OFTEN = 0.5
"""Share of the searches for an object from which on a confusion calls for more than another photo."""


@dataclass(frozen=True)
class Example:
    """One search in which an object was mistaken.

    Args:
        query: Id of the query.
        photo: Id of the best photo of the look-alike.
        rank: Rank of the wrong photo, from 1.
        positive: Id of the best photo of the object that was asked for; "" where none was found.
        positive_rank: Rank of the right photo; None where none was found.
        differs: Regions of the query photo, in pixels, where points agree with the positive and not with the
            look-alike; empty where points were not compared or nothing differs.
        words: Words read in the query and the positive, and not in the look-alike.
    """

    query: str
    photo: str
    rank: int
    positive: str
    positive_rank: int | None
    differs: tuple[Box, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class LookAlike:
    """One object that is taken for another.

    Args:
        asked: The object that was asked for.
        shown: The object that was found before it.
        searches: Queries of ``asked`` in which that happened.
        first: Number of those in which it is the very first answer: a wrong pick.
        of: All queries of ``asked``.
        share: Share of all wrong first answers of the run that this pair makes up, objects counting equally.
        cost: Price of its wrong picks, for as many searches as were stated; None without prices.
        examples: Some of the searches.
        advice: Possible remedy: ``merge`` (each is taken for the other nearly always: they may be one object
            under two names), ``label`` (tell them apart by a label or a filter), ``view`` (photos of the
            object that show what differs), ``reading`` (words differ), ``local`` (compare points).
    """

    asked: str
    shown: str
    searches: int
    first: int
    of: int
    share: float
    cost: float | None
    examples: tuple[Example, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class LookAlikes(Value):
    """All confusions of a run.

    Args:
        pairs: Confused pairs, those that cost most first: by wrong picks, then by searches.
        objects: Number of objects that were asked for.
        queries: Number of queries.
        wrong: Queries whose first answer is wrong.
        unnamed: Number of those whose first answer shows no object that anybody named.
        mutual: Pairs of objects of which each is taken for the other.
        currency: Currency of the costs; "" without prices.
    """

    pairs: tuple[LookAlike, ...]
    objects: int
    queries: int
    wrong: int
    unnamed: int
    mutual: tuple[tuple[str, str], ...] = ()
    currency: str = ""


def find_lookalikes(
    ranking: Ranking,
    truth: GroundTruth,
    instances: Sequence[str],
    shows: Mapping[int, str],
    *,
    searches: float = 0.0,
    wrong_pick: float = 0.0,
    currency: str = "",
) -> LookAlikes:
    """Find which objects stand before those that were asked for.

    Args:
        ranking: The results.
        truth: The ground truth, queries in the same order.
        instances: (Q,) object that each query asks for.
        shows: Database row -> name of the object that it shows, of rows whose object is known.
        searches: Number of searches that costs are said for, each object equally often; 0 says none.
        wrong_pick: Cost of a wrong pick; 0 says none.
        currency: Currency of the costs.
    """
    of: dict[str, int] = {}
    for name in instances:
        of[name] = of.get(name, 0) + 1
    found: dict[tuple[str, str], list[Example]] = {}
    wrong = unnamed = 0
    for q, asked in enumerate(instances):
        if not len(truth.positives[q]):
            continue
        rows = ranking.indices[q, : ranking.counts[q]]
        rows = rows[~np.isin(rows, truth.ignored[q])]
        hits = np.flatnonzero(np.isin(rows, truth.positives[q]))
        before = rows[: hits[0]] if len(hits) else rows
        if not len(before):
            continue
        wrong += 1
        unnamed += int(before[0]) not in shows
        positive = ranking.database_ids[int(rows[hits[0]])] if len(hits) else ""
        seen: set[str] = set()
        for place, row in enumerate(before.tolist(), start=1):
            other = shows.get(row, "")
            if other and other != asked and other not in seen:
                seen.add(other)
                rank = int(hits[0]) + 1 if len(hits) else None
                example = Example(ranking.query_ids[q], ranking.database_ids[row], place, positive, rank)
                found.setdefault((asked, other), []).append(example)
    objects = len(of)
    weights = {pair: sum(e.rank == 1 for e in each) / of[pair[0]] for pair, each in found.items()}
    total = sum(weights.values())
    pairs = []
    for (asked, shown), examples in found.items():
        first = sum(example.rank == 1 for example in examples)
        weight = weights[asked, shown]
        cost = searches / objects * weight * wrong_pick if searches and wrong_pick else None
        pair = LookAlike(
            asked=asked,
            shown=shown,
            searches=len(examples),
            first=first,
            of=of[asked],
            share=weight / total if total else 0.0,
            cost=cost,
            examples=tuple(sorted(examples, key=lambda e: (e.rank, e.query))[:EXAMPLES]),
            advice=(),
        )
        pairs.append(pair)
    pairs.sort(key=lambda p: (-p.first / p.of, -p.searches / p.of, p.asked, p.shown))
    often = {(p.asked, p.shown) for p in pairs if p.first >= OFTEN * p.of}
    advised = tuple(replace(p, advice=advise(p, (p.shown, p.asked) in often)) for p in pairs)
    mutual = tuple(sorted({(a, b) for a, b in found if a < b and (b, a) in found}))
    return LookAlikes(advised, objects, len(instances), wrong, unnamed, mutual, currency)


def find_differences(agrees: Float64, also: Float64, cells: int = 8, least: int = 3) -> tuple[Box, ...]:
    """Find where a query agrees with its positives and not with a look-alike.

    Args:
        agrees: (n, 2) points of the query, in pixels, that agree with positives in place and shape.
        also: (m, 2) those that agree with the look-alike.
        cells: Number of cells along the longer side of the part of the photo that has points.
        least: Smallest number of agreeing points of a cell that counts.

    Returns:
        Boxes around connected cells, those with most points first, at most three.

    >>> right = np.array([[5.0, 5], [6, 6], [7, 5], [90, 90], [91, 90], [92, 90]])
    >>> [box.x for box in find_differences(right, np.array([[91.0, 91]]))]
    [5.0]
    """
    import cv2

    if not len(agrees):
        return ()
    every = np.concatenate([agrees, also.reshape(-1, 2)])
    start = every.min(axis=0)
    side = max(float((every.max(axis=0) - start).max()), 1.0) / cells
    shape = tuple(int(each) for each in np.floor((every.max(axis=0) - start)[::-1] / side) + 1)

    def count(points: Float64) -> Int64:
        grid = np.zeros(shape, np.int64)
        at = ((points - start)[:, ::-1] // side).astype(np.int64)
        np.add.at(grid, (at[:, 0], at[:, 1]), 1)
        return grid

    mine = count(agrees)
    # beside a point that agrees with both, nothing is said to differ
    beside = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    near = cv2.dilate(count(also).astype(np.uint8), beside) if len(also) else 0 * mine
    different = (mine >= least) & (np.asarray(near) == 0)
    number, labels = cv2.connectedComponents(different.astype(np.uint8), connectivity=4)
    found = []
    for label in range(1, number):
        rows, columns = np.nonzero(labels == label)
        (left, top), (width, height) = (
            start + side * np.array([columns.min(), rows.min()]),
            side * np.array([np.ptp(columns) + 1, np.ptp(rows) + 1]),
        )
        box = Box(float(left), float(top), float(width), float(height))
        found.append((int(mine[labels == label].sum()), box))
    found.sort(key=lambda each: -each[0])
    return tuple(box for _, box in found[:REGIONS])


def advise(pair: LookAlike, mutual: bool = False, compares_points: bool = True) -> tuple[str, ...]:
    """Return what may help against a confusion, most promising first; keys as in `LookAlike`.

    Args:
        pair: The confusion, with what differs in its examples.
        mutual: Whether the other object is as often taken for this one.
        compares_points: Whether the design compares points.
    """
    often = pair.first >= OFTEN * pair.of
    advice = ["merge"] if mutual and often else []
    if any(example.words for example in pair.examples):
        advice.append("reading")
    if any(example.differs for example in pair.examples):
        advice.append("view")
    if not compares_points:
        advice.append("local")
    if often and "reading" not in advice:
        advice.append("label")
    return tuple(advice or ["view"])
