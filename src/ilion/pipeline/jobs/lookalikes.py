"""Look-alikes of a finished run: which objects are mistaken, and what its stages know of the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.errors import ArtifactError
from ilion.outcome import RunResult
from ilion.pipeline.jobs.runs import load_run
from ilion.poc.lookalikes import Example, LookAlike, LookAlikes, advise, find_differences, find_lookalikes
from ilion.types import Float64, RetrievalDataset, Where

FILE = "lookalikes.json"
"""Look-alikes of a run, in its folder."""
LOOKED = 40
"""Pairs of objects whose examples are looked at closely."""
PHOTOS = 5
"""Photos of either object with which a query is compared."""


def lookalikes(
    run: Where | RunResult, *, searches: float = 0.0, wrong_pick: float = 0.0, currency: str = ""
) -> LookAlikes:
    """Find which objects of a finished run are mistaken for which, and write it into the run.

    Which object a photo of the database shows is what the ground truth says. Where points were compared,
    regions of the query are named that agree with the right photo and not with the look-alike; where words
    were read, the words.

    Args:
        run: Output folder of the run, or its result, of which nothing is written.
        searches: Number of searches, of a day for instance, that costs are said for; 0 says none.
        wrong_pick: Cost of a wrong pick; 0 says none.
        currency: Currency of the cost.

    Raises:
        ArtifactError: The run or its ranking is missing or damaged.
    """
    result = run if isinstance(run, RunResult) else load_run(run)
    rows = _shown(result.dataset, result)
    found = find_lookalikes(
        result.ranking,
        result.ground_truth,
        result.evaluation.instances,
        rows,
        searches=searches,
        wrong_pick=wrong_pick,
        currency=currency,
    )
    mutual = {*found.mutual, *((b, a) for a, b in found.mutual)}
    points = result.reranking is not None
    pairs = []
    for number, pair in enumerate(found.pairs):
        if number < LOOKED:
            pair = replace(pair, examples=tuple(_look(result, each, pair, rows) for each in pair.examples))
        pairs.append(replace(pair, advice=advise(pair, (pair.asked, pair.shown) in mutual, points)))
    found = replace(found, pairs=tuple(pairs))
    if not isinstance(run, RunResult):
        storage.write_json(Path(run) / FILE, {"format": 1, **asdict(found)})
    return found


def _shown(dataset: RetrievalDataset, result: RunResult) -> Mapping[int, str]:
    """Return database row -> object, of the photos that are positive for exactly one object."""
    of: dict[str, set[str]] = {}
    for query in dataset.queries:
        for image in dataset.positives.get(query.id, ()):
            of.setdefault(image, set()).add(query.instance)
    return {
        row: next(iter(of[image]))
        for row, image in enumerate(result.ranking.database_ids)
        if len(of.get(image, ())) == 1
    }


def _look(result: RunResult, example: Example, pair: LookAlike, shows: Mapping[int, str]) -> Example:
    """Say what differs between the right photos and the look-alike, as far as the run still knows.

    One photo agrees with the query where it happens to be sharp and in view. So the points of several photos
    of either object are put together: the first ones of the ranking.
    """
    if not example.positive:
        return example
    query = result.ranking.query_ids.index(example.query)
    ranked = result.ranking.indices[query, : result.ranking.counts[query]].tolist()
    right = [row for row in ranked if row in result.ground_truth.positives[query]][:PHOTOS]
    other = [row for row in ranked if shows.get(row) == pair.shown][:PHOTOS]
    differs, words = example.differs, example.words
    if result.reranking is not None:
        try:
            differs = find_differences(_agreeing(result, query, right), _agreeing(result, query, other))
        except ArtifactError:
            differs = ()
    if result.reading is not None and result.reading.explain is not None:
        try:
            here = dict(result.reading.explain(query, right[0]).asked)
            there = dict(result.reading.explain(query, other[0]).asked)
            words = tuple(word for word, known in here.items() if known and not there.get(word, False))
        except ArtifactError:
            words = ()
    return replace(example, differs=differs, words=words)


def _agreeing(result: RunResult, query: int, rows: Sequence[int]) -> Float64:
    """Return the (n, 2) points of a query that agree with any of some rows in place and shape."""
    assert result.reranking is not None
    found = []
    for row in rows:
        seen = result.reranking.explain(query, row)
        inside = seen.matches.query_rows[np.asarray(seen.verification.inliers, np.bool_)]
        found.append(np.asarray(seen.query.keypoints[inside], np.float64))
    points: Float64 = np.unique(np.concatenate(found), axis=0)
    return points
