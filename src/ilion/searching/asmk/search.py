"""Search through the inverted file: only images that share a word with the query are looked at.

The file passes once, or twice where `burst` needs to know first how much of the whole database each word of a
query matches and the file has several segments. Scores are summed in float64 in the order of words, so
they do not depend on how the database is cut into shards.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.runtime.threads import in_order
from ilion.searching.asmk.aggregate import Aggregates, aggregate, self_similarity
from ilion.searching.asmk.codebook import Codebook
from ilion.searching.asmk.inverted import InvertedFile, Segment
from ilion.searching.asmk.settings import AsmkSettings, selectivity
from ilion.searching.asmk.votes import best_votes
from ilion.searching.engines import ENGINES
from ilion.types import Bool, Float32, Float64, Int64, LocalFeatures, Ranking
from ilion.wording import counted

EXACT = 2.0**36
"""Number of steps into which the largest possible value of a match is divided."""

Progress = Callable[[int, int], None]


@ENGINES.register("asmk")
def search_postings(
    query_ids: Sequence[str],
    queries: Sequence[LocalFeatures],
    database: InvertedFile,
    settings: AsmkSettings | None = None,
    *,
    k: int = 1000,
    allowed: Int64 | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the database for every query.

    Args:
        query_ids: Q unique ids.
        queries: Local features of the queries; one without any gets all similarities 0, in order of rows.
        database: The inverted file.
        settings: Settings of the kernel; None takes the defaults.
        k: Number of results to keep; all N where the database is smaller.
        allowed: Ascending rows that may be found; None means all. How much of the database a word matches is
            still that of the whole.
        workers: Threads; 0 takes one a core.
        progress: Callback that receives the segments done and the segments in all.

    Returns:
        A ranking with K = min(k, N); ties are in order of rows. An image that shares nothing with the query
        has similarity 0.

    Raises:
        ArtifactError: The features do not fit the codebook, or the inverted file is damaged.
    """
    if k < 1:
        raise ArtifactError(f"k must be at least 1, got {k}")
    if len(query_ids) != len(queries):
        raise ArtifactError(
            f"{counted(len(query_ids), 'query id')} for the features of "
            f"{counted(len(queries), 'query', 'queries')}"
        )
    settings = settings or AsmkSettings()
    shown = None
    if allowed is not None:
        shown = np.zeros(len(database), np.bool_)
        shown[allowed] = True
    described = in_order(
        queries, lambda features: _Query(features, database.codebook, settings, k, shown), workers=workers
    )
    lists = [done.result() for _, done in described]
    separate = settings.burst > 0 and database.segment_count > 1
    passes = database.segment_count * (2 if separate else 1)
    done = 0

    def look(*, count: bool, score: bool) -> None:
        nonlocal done
        for segment in database.segments():
            task = partial(_Query.look, segment=segment, count=count, score=score)
            for _, future in in_order(lists, task, workers=workers):
                future.result()
            done += 1
            if progress:
                progress(done, passes)

    if separate:
        look(count=True, score=False)
    look(count=settings.burst > 0 and not separate, score=True)
    shape = (len(queries), min(k, len(database) if allowed is None else len(allowed)))
    return Ranking(
        tuple(query_ids),
        database.ids,
        np.array([query.rows for query in lists], np.int64).reshape(shape),
        np.array([query.values for query in lists], np.float32).reshape(shape),
        np.full(len(queries), shape[1], np.int64),
    )


class _Query:
    """One query: its aggregates, how much of the database they match, and its best rows so far."""

    def __init__(
        self,
        features: LocalFeatures,
        codebook: Codebook,
        settings: AsmkSettings,
        k: int,
        shown: Bool | None = None,
    ) -> None:
        self.codebook, self.settings, self.k, self.shown = codebook, settings, k, shown
        self.aggregates = aggregate(features, codebook, settings.assignments)
        width, height = features.image_size
        self.centre = (0.5 * width / max(width, height), 0.5 * height / max(width, height))
        self.totals: Float64 = np.zeros(len(self.aggregates))
        self.rows: Int64 = np.empty(0, np.int64)
        self.values: Float32 = np.empty(0, np.float32)
        self.threshold = 0.0

    def look(self, segment: Segment, *, count: bool, score: bool) -> None:
        """Add up how much of a segment each aggregate matches, and rank its images among the best so far."""
        owners, postings, values = find_matches(self.aggregates, segment, self.codebook, self.settings)
        if count:
            self.totals += np.bincount(owners, values, len(self.totals))
        if score:
            self._score(owners, postings, values, segment)

    def _weights(self) -> Float64:
        """What a match of each aggregate counts: the word's weight, less where much of the database matches.

        They are scaled so that an image which matches all of the query perfectly gets the kernel's value.
        """
        weights = self.codebook.weights[self.aggregates.words].astype(np.float64)
        # summed per segment, so the last bits may depend on the segments: they are cut off
        totals = self.totals.astype(np.float32).astype(np.float64)
        matched = totals > 0
        if self.settings.burst == 0 or not matched.any():
            return weights
        rare = np.where(matched, weights * np.where(matched, totals, 1.0) ** -self.settings.burst, 0.0)
        return np.asarray(rare * (weights[matched].sum() / rare.sum()), np.float64)

    def _score(self, owners: Int64, postings: Int64, values: Float32, segment: Segment) -> None:
        count = len(segment.norms)
        rows = segment.rows[postings]
        weights = self._weights()
        # whole numbers below 2^53 have the same sum in any order, so equal images really tie
        unit = EXACT / max(float(weights.max(initial=0.0)), 1e-300)
        weighted = np.rint(weights[owners] * values * unit)
        sums = np.bincount(rows, weighted, count)
        own = self_similarity(self.aggregates.words, self.codebook)
        scale = segment.norms / (np.sqrt(own or 1.0) * unit)
        if self.settings.votes:
            # votes can only lower a similarity, so what is too low already is not looked at
            able = (sums * scale).astype(np.float32) >= self.threshold
            kept = able[rows]
            votes = best_votes(
                rows[kept],
                weighted[kept],
                self.aggregates.frames[owners[kept]],
                segment.frames[postings[kept]],
                self.centre,
                count,
            )
            sums = np.sqrt(sums * votes)
        found, values = np.arange(segment.start, segment.start + count), (sums * scale).astype(np.float32)
        if self.shown is not None:
            mine = self.shown[found]
            found, values = found[mine], values[mine]
        self._keep(found, values)

    def _keep(self, rows: Int64, values: Float32) -> None:
        """Keep the best k, ties by lower row."""
        rows, values = np.concatenate([self.rows, rows]), np.concatenate([self.values, values])
        if len(values) > self.k:
            near = values >= np.partition(values, -self.k)[-self.k]
            rows, values = rows[near], values[near]
        best = np.lexsort((rows, -values))[: self.k]
        self.rows, self.values = rows[best], values[best]
        if len(self.values) == self.k:
            self.threshold = float(self.values[-1])


def find_matches(
    query: Aggregates, segment: Segment, codebook: Codebook, settings: AsmkSettings
) -> tuple[Int64, Int64, Float32]:
    """Compare a query's aggregates with the postings of their words.

    Returns:
        Of the matches above the threshold: the query's aggregate (P,), the posting (P,), the selective
        similarity (P,) float32.
    """
    starts, ends = segment.offsets[query.words], segment.offsets[query.words + 1]
    lengths = ends - starts
    if codebook.binary:
        differing = _hamming(query.codes, segment.codes, starts, lengths)
        shares = 1 - 2 * np.arange(codebook.components + 1) / codebook.components
        values = selectivity(shares, settings.alpha, settings.tau)[differing]
    else:
        products = [
            segment.codes[start:end].astype(np.float32) @ code
            for start, end, code in zip(starts, ends, query.codes.astype(np.float32), strict=True)
        ]
        cosines = np.concatenate(products) if products else np.empty(0, np.float32)
        values = selectivity(cosines, settings.alpha, settings.tau)
    kept = np.flatnonzero(values)
    owners = np.repeat(np.arange(len(query)), lengths)
    firsts = np.cumsum(lengths) - lengths
    owners = owners[kept]
    return owners, kept + (starts - firsts)[owners], values[kept]


def _hamming(
    queries: NDArray[np.generic], codes: NDArray[np.generic], starts: Int64, lengths: Int64
) -> NDArray[np.int32]:
    """Count the differing bits of each query code and the ``lengths`` codes from its ``starts`` on.

    A call of faiss a word takes an eighth of the time of one vectorised numpy expression over all words.
    """
    # the type stubs of faiss lack its raw interface
    library: Any = importlib.import_module("faiss")
    address = library.swig_ptr
    counts = np.empty(int(lengths.sum()), np.int32)
    size, place = queries.shape[1], 0
    for query, start, length in zip(queries, starts.tolist(), lengths.tolist(), strict=True):
        if length:
            library.hammings(address(query), address(codes[start:]), 1, length, size, address(counts[place:]))
            place += length
    return counts
