"""Search by local features: matches, votes, a shortlist, verification, and one order of all photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.runtime.threads import in_order, in_parts
from ilion.searching.engines import ENGINES
from ilion.searching.local.database import Database, FirstPass
from ilion.searching.local.encode import LocalQuery
from ilion.searching.local.expand import SURE, ask_along, expand
from ilion.searching.local.matches import Matches, join, squares_of, weigh
from ilion.searching.local.model import LocalModel
from ilion.searching.local.score import score_photos
from ilion.searching.local.settings import LocalSettings
from ilion.searching.local.verified import Verified
from ilion.types import Float32, Float64, Int64, Ranking, Value

NEAR = 0.02
"""Tolerance of a verified match, as a share of the photo's longer side."""


REST = 1e-3
"""Similarity below which photos lie that were not verified, by votes."""
BEYOND_DOUBT, UNSURE = 0.1, 0.5
"""Probability from which on no expansion moves a result, and largest similarity of the other results. It lies
below `ilion.searching.local.expand.SURE`, so that what a look-alike brings along cannot pass a photo that the
query itself vouches for."""
WHOLE = 4096
"""Photos up to which a query is held against all of them."""
CLOSER = 2048
"""Photos of a larger database that it is held against."""
NEAREST, MANY = 2, 1000
"""Nearest words in which features of a query are looked up there, if photos have so many features: farther
ones take four times as long, and bring no more that is right than wrong. Of fewer features none may be
missed."""
NEW = (1, 2)
"""Sure results without which no expansion is made: the first time, and new ones for another."""
VOTE = 1.0
"""Further exponent of the similarity of a match that votes: wrong ones are many, but most are weak."""


@dataclass(frozen=True, eq=False)
class Evidence(Value):
    """What stood before verification, and what it found.

    Args:
        rows: (Q, K) int64 database rows, most votes first; the first S were verified.
        votes: (Q, K) float32 their votes.
        inliers: (Q, S) int64 number of verified matches.
        motions: (Q, S, 6) float32 from query to photo, see `ilion.searching.local.verified`; zero where
            nothing was verified.
    """

    rows: Int64
    votes: Float32
    inliers: Int64
    motions: Float32


@ENGINES.register("local", note="local features in one small store; the default")
def search_photos(
    query_ids: Sequence[str],
    queries: Sequence[LocalQuery],
    database: Database,
    model: LocalModel,
    settings: LocalSettings,
    *,
    k: int,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    allowed: Int64 | None = None,
) -> tuple[Ranking, Evidence]:
    """Rank the database for every query.

    Args:
        query_ids: (Q,) ids.
        queries: (Q,) described queries.
        database: Database to search.
        model: Words and codes of both.
        settings: Settings of the search.
        k: Number of results to keep; all N where the database is smaller.
        workers: Number of threads, one query each, or all for a single one; 0 means one per core.
        progress: Callback that receives the queries done and all.
        allowed: Ascending rows that may be found; None means all. How much of the database a feature matches
            is that of the whole database, and the shortlist holds allowed photos only.

    Returns:
        A ranking with K = min(k, N), ties in order of rows; and what is known of the shortlists. A photo that
        shares nothing with the query has similarity 0.

    Raises:
        ArtifactError: The stored features are damaged.
    """
    if k < 1:
        raise ArtifactError(f"k must be at least 1, got {k}")
    count, kept = len(queries), min(k, len(database) if allowed is None else len(allowed))
    hidden = None if allowed is None else np.delete(np.arange(len(database)), allowed)
    rows, values = np.empty((count, kept), np.int64), np.empty((count, kept), np.float32)
    evidence = Evidence(
        np.empty((count, kept), np.int64),
        np.empty((count, kept), np.float32),
        np.zeros((count, min(settings.shortlist, kept)), np.int64),
        np.zeros((count, min(settings.shortlist, kept), 6), np.float32),
    )

    threads = (workers or os.cpu_count() or 1) if count == 1 else 1

    def ask(query: LocalQuery) -> Answer:
        return rank_photos(query, database, model, settings, kept, hidden, threads)

    for number, (_, done) in enumerate(in_order(queries, ask, workers=workers, ahead=8)):
        found = done.result()
        rows[number], values[number] = found.rows, found.similarities
        evidence.rows[number], evidence.votes[number] = found.voted, found.votes
        evidence.inliers[number, : len(found.inliers)] = found.inliers[: evidence.inliers.shape[1]]
        evidence.motions[number, : len(found.motions)] = found.motions[: evidence.motions.shape[1]]
        if progress:
            progress(number + 1, count)
    ranking = Ranking(tuple(query_ids), database.ids, rows, values, np.full(count, kept, np.int64))
    return ranking, evidence


@dataclass(frozen=True, eq=False)
class Answer(Value):
    """What is found for one query.

    Args:
        rows: (k,) database rows.
        similarities: (k,) float32, descending, ties by lower row.
        voted: (k,) database rows by votes alone.
        votes: (k,) float32 their votes.
        inliers: (S,) number of verified matches of the first S of ``voted``.
        motions: (S, 6) on which they agree.
    """

    rows: Int64
    similarities: Float32
    voted: Int64
    votes: Float32
    inliers: Int64
    motions: Float64


def rank_photos(
    query: LocalQuery,
    database: Database,
    model: LocalModel,
    settings: LocalSettings,
    k: int,
    hidden: Int64 | None = None,
    threads: int = 1,
) -> Answer:
    """Rank the database for one query.

    Args:
        query: The query.
        database: Database to search.
        model: Words and codes of both.
        settings: Settings of the search.
        k: Number of results, at most as many as may be found.
        hidden: Rows that must not be found.
        threads: Number of threads that hold photos against the query.
    """
    count, few = len(database), settings.shortlist
    view, matches = gather(query, database, model, k, hidden)
    totals = None if view is None else view.found.totals
    votes, found = look_closer(query, matches, count, few, k, hidden, totals, threads)
    similarities = (REST * votes / (1.0 + votes)).astype(np.float32)
    chances = score_photos(query, found, count, database.looks(found.rows))
    final, answers = np.zeros(count), 1
    final[found.rows] = chances
    latest, likely, asked = found, chances, np.empty(0, np.int64)
    for fewest in NEW:
        before, asked = asked, latest.rows[likely >= SURE]
        if len(np.setdiff1d(asked, before, assume_unique=True)) < fewest:
            break
        more = expand(query, latest, likely, database.photos, database.lengths, model)
        if more is None:
            break
        further, sources = more
        if view is None:
            added = database.matches(further, model)
        else:
            first = database.first_pass(further, model)
            rows = choose_photos(view.found.sums + first.sums, k, hidden)
            matches = join(matches, view.found.matches(np.setdiff1d(rows, view.rows, assume_unique=True)))
            view = replace(view, rows=np.union1d(view.rows, rows))
            added = first.matches(view.rows)
            # what a photo says of itself does not count
            own = added.take(added.rows == sources[added.features])
            itself = np.bincount(own.features, squares_of(own), len(further)).astype(np.int64)
            totals = np.concatenate([view.found.totals, first.totals - itself])
        whole, joined = ask_along(query, matches, further, added, sources)
        _, latest = look_closer(whole, joined, count, few, few, hidden, totals, threads)
        likely = score_photos(whole, latest, count, database.looks(latest.rows))
        final[latest.rows] += likely
        answers += 1
    final /= answers
    seen = np.flatnonzero(final)
    similarities[seen] = (REST + (1 - REST) * UNSURE * final[seen]).astype(np.float32)
    # what is beyond doubt stays where it is
    sure = chances >= BEYOND_DOUBT
    similarities[found.rows[sure]] = UNSURE + (1 - UNSURE) * chances[sure]
    if hidden is not None:
        similarities[hidden], votes[hidden] = -1, -1
    rows, voted = best_rows(similarities, k), best_rows(votes, k)
    inliers = np.diff(np.concatenate([[0], np.cumsum(found.supports)])[found.starts])
    return Answer(rows, similarities[rows], voted, votes[voted].astype(np.float32), inliers, found.motions)


@dataclass(frozen=True, eq=False)
class View(Value):
    """What a query is held against in a large database.

    Args:
        query: The query as it is looked up there.
        found: Sums of the first pass.
        rows: Ascending rows of the photos that it is held against.
    """

    query: LocalQuery
    found: FirstPass
    rows: Int64


def gather(
    query: LocalQuery, database: Database, model: LocalModel, k: int, hidden: Int64 | None = None
) -> tuple[View | None, Matches]:
    """Find the matches of a query: in all photos, or in a large database in those that can win.

    There a first pass sums what each photo has in common with the query, and how much of the database each
    feature matches. Pairs are compared in full of the photos of the largest sums that may be found. Where
    photos have `MANY` features, those of the query are looked up in their `NEAREST` words.

    Args:
        query: The query.
        database: Database to search.
        model: Words and codes of both.
        k: Number of photos whose votes must be known.
        hidden: Rows that must not be found.

    Returns:
        What the first pass found, None where there is none; and the matches.
    """
    if len(database) <= max(WHOLE, CLOSER, 2 * k):
        return None, database.matches(query, model)
    if database.lengths.sum() >= MANY * len(database):
        query = query.with_words(NEAREST)
    found = database.first_pass(query, model)
    rows = choose_photos(found.sums, k, hidden)
    return View(query, found, rows), found.matches(rows)


def choose_photos(sums: Int64, k: int, hidden: Int64 | None) -> Int64:
    """Return the ascending rows of the largest sums (N,), of `CLOSER` photos or twice ``k``, none hidden."""
    if hidden is not None:
        sums = sums + 1  # so that where few may be found, all of them are chosen
        sums[hidden] = 0
    return np.sort(best_rows(sums, max(CLOSER, 2 * k))[: np.count_nonzero(sums)])


def look_closer(
    query: LocalQuery,
    matches: Matches,
    count: int,
    shortlist: int,
    k: int,
    hidden: Int64 | None = None,
    totals: Int64 | None = None,
    threads: int = 1,
) -> tuple[Float64, Verified]:
    """Let matches vote, and verify those of the photos with most votes.

    Args:
        query: The query.
        matches: Matches of the query.
        count: Number N of photos.
        shortlist: Number of photos to verify.
        k: Number of photos whose votes must be known.
        hidden: Photos that must not be found.
        totals: (M,) what each feature matches in the whole database, see `weigh`.
        threads: Number of threads, a part of the photos each.

    Returns:
        (N,) votes of the photos with most of them, 0 for the others; and what is known of the shortlist.
    """
    from ilion.searching.local.compiled import group, unpack
    from ilion.searching.local.compiled_motions import verify
    from ilion.searching.local.compiled_pairs import vote

    weights = weigh(matches, len(query), totals)
    ballots = weights * matches.similarities.astype(np.float64) ** VOTE
    order, starts = group(matches.rows, count)
    part, side = query.part, max(query.part.width, query.part.height)
    centre = 0.5 * part.width / side, 0.5 * part.height / side

    def votes_of(rows: Int64, least: float = 0.0) -> Float64:
        def vote_for(part: range) -> Float64:
            own = rows[part.start : part.stop]
            return vote(
                own, order, starts, matches.features, matches.records, ballots, query.frames, *centre, least
            )

        return np.concatenate(in_parts(len(rows), vote_for, threads))

    # votes are at most the sum of the weights, so photos of a small sum cannot be among the first
    most = np.bincount(matches.rows, ballots, count).astype(np.float64)
    if hidden is not None:
        most[hidden] = 0
    votes, wanted = np.zeros(count), max(k, shortlist)
    first = best_rows(most, 2 * wanted)
    votes[first] = votes_of(first)
    least = float(votes[best_rows(votes, wanted)[-1]])
    rest = np.setdiff1d(np.flatnonzero((most >= least) & (most > 0)), first, assume_unique=True)
    votes[rest] = votes_of(rest, least)
    if hidden is not None:
        votes[hidden] = 0
    rows = best_rows(votes, shortlist)
    rows = rows[votes[rows] > 0]
    lengths = starts[rows + 1] - starts[rows]
    own = np.concatenate([[0], np.cumsum(lengths)])
    chosen = order[np.repeat(starts[rows] - own[:-1], lengths) + np.arange(own[-1])]
    kept, heavy = matches.take(chosen), weights[chosen]
    frames, image, spots = query.frames[kept.features], unpack(kept.records), query.spots[kept.features]

    def verify_some(part: range) -> tuple[NDArray[Any], ...]:
        of = slice(own[part.start], own[part.stop])
        begins = own[part.start : part.stop + 1] - own[part.start]
        return verify(begins, frames[of], image[of], heavy[of], spots[of], kept.places[of], NEAR)

    parts = in_parts(len(rows), verify_some, threads)
    sums, motions, supports = (np.concatenate(values) for values in zip(*parts, strict=True))
    return votes, Verified(rows, votes[rows], kept, own, heavy, frames, image, sums, motions, supports)


def best_rows(values: NDArray[np.number], k: int) -> Int64:
    """Return the k rows of highest value, descending, ties by lower row; negative ones are none."""
    # most photos share nothing with a query, and equal values are slow to part
    rows = np.flatnonzero(values > 0)
    if len(rows) <= k:
        none = np.flatnonzero(values == 0)
        return np.concatenate([rows[np.lexsort((rows, -values[rows]))], none])[:k]
    some = values[rows]
    rows = rows[some >= np.partition(some, -k)[-k]]
    return np.asarray(rows[np.lexsort((rows, -values[rows]))][:k], np.int64)
