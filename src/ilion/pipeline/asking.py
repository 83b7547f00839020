"""A design asked again and again: its database is prepared once, queries come in memory.

The stages are those of a run, in the same order and by the same code; only the keeping of every result on
disk, and the judging, are left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ilion.errors import ConfigError, ExtractionError
from ilion.pipeline.explain.reranking import explain_pairs
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.first import Ranked
from ilion.pipeline.stages.local_rows import Rows
from ilion.pipeline.stages.plan_rerank import LocalPlan, plan_local
from ilion.pipeline.stages.read import ReadingStage, read, read_asked
from ilion.pipeline.stages.rerank import LocalStage, describe_asked_locally, extract_local, rerank_asked
from ilion.pipeline.stages.results import Extraction, Prepared
from ilion.pipeline.stages.search import keep_rows
from ilion.reading.combine import combine
from ilion.reading.index import search_texts
from ilion.reranking.base import Explanation
from ilion.types import Box, Descriptors, Float64, Int64, LocalFeatures, Query, Ranking, Value

Explain = Callable[[int, int], Explanation]


@dataclass(frozen=True)
class Described(Value):
    """Queries as the stages of a design take them.

    Args:
        queries: The queries.
        prepared: Database and queries of the first stage; None where reading alone ranks.
        reading: Words read in the queries; None without reading.
        local: Local features of the queries; None where nothing is re-ranked.
    """

    queries: tuple[Query, ...]
    prepared: Any
    reading: ReadingStage | None
    local: tuple[LocalFeatures, ...] | None

    def take(self, numbers: Sequence[int]) -> Described:
        """Return some of the queries, by their numbers."""
        prepared, reading = self.prepared, self.reading
        if isinstance(prepared, Extraction):
            own = prepared.queries
            some = Descriptors(tuple(own.ids[n] for n in numbers), own.values[list(numbers)])
            prepared = replace(prepared, queries=some)
        elif prepared is not None:
            prepared = replace(
                prepared,
                queries=tuple(prepared.queries[n] for n in numbers),
                query_ids=tuple(prepared.query_ids[n] for n in numbers),
            )
        if reading is not None:
            reading = replace(reading, queries=tuple(reading.queries[n] for n in numbers))
        queries = tuple(self.queries[n] for n in numbers)
        # texts keep the results of the first stage
        pictures = self.local is not None and all(query.image is not None for query in queries)
        local = tuple(self.local[n] for n in numbers) if pictures and self.local is not None else None
        return Described(queries, prepared, reading, local)


@dataclass(frozen=True)
class Asked(Value):
    """What a design answers.

    Args:
        ranking: The final ranking.
        points: For each query database row -> number of verified matches, of those that were looked at
            closely; None where no points are compared.
        explain: Function from a query number and a database row to the features, matches and box behind it;
            None where the design looks at no pairs.
        read: Number of words that each query asks with; None without reading.
        locate: Function from a query number and a database row to the box alone; None where only ``explain``
            knows it.
    """

    ranking: Ranking
    points: tuple[Mapping[int, int], ...] | None = None
    explain: Explain | None = None
    read: tuple[int, ...] | None = None
    locate: Callable[[int, int], Box | None] | None = None


@dataclass
class Ready:
    """A design with its database, open and ready to be asked. Safe to share among threads.

    Args:
        pipeline: Stages of the design; the queries of its data set are asked only by `stored`.
    """

    pipeline: Pipeline
    _describing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        config = self.pipeline.config
        if "calibrated" in (config.rerank.fusion, config.reading.fusion):
            raise ConfigError(
                "fusion = 'calibrated' learns a share for each query from queries with known answers, which "
                "one that is asked now does not have; take the design of a finished run, or fusion = 'score'"
            )
        self.reading: ReadingStage | None = None
        self.prepared: Prepared | None = None
        self.plan: LocalPlan | None = None
        self.local: LocalStage | None = None
        if config.rerank.features != "none":
            self.plan = plan_local(config)
        if config.reading.use != "only":
            self.prepared = self.pipeline.prepare()
            if not self.pipeline.experiment.sealed:  # codes and the like are made when they are first needed
                self.pipeline.first.rank(self.pipeline.experiment, self.prepared)
        if config.reading.use != "none":
            self.reading = read(self.pipeline.experiment)
        if self.plan is not None:
            self.local = extract_local(self.pipeline.experiment, self.plan)

    @property
    def results_kept(self) -> int:
        """Number of results that a query gets."""
        return self.pipeline.experiment.results_kept

    @cached_property
    def understands_texts(self) -> bool:
        """Whether a query can be a text: one that the model describes, or the words on things."""
        return self.reading is not None or self.pipeline.first.understands_texts

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of the database, by row."""
        if self.prepared is not None:
            return self.prepared.ids
        return self.reading.texts.ids if self.reading is not None else ()

    @cached_property
    def _read_rows(self) -> Int64:
        assert self.reading is not None
        return self.reading.rows_in(self.ids)

    @cached_property
    def _local_rows(self) -> Int64:
        assert self.local is not None
        return self.local.database.rows_of(self.ids)

    def ask(
        self,
        queries: Sequence[Query],
        companions: Mapping[str, str] | None = None,
        allowed: Int64 | None = None,
        ranked_by: Callable[[Extraction, Int64 | None], Ranking] | None = None,
    ) -> Asked:
        """Rank the database for queries, by all stages of the design.

        Args:
            queries: Photos, or texts.
            companions: Query id -> text that is asked together with its photo.
            allowed: Ascending database rows that may be found; None means all.
            ranked_by: Function that ranks the database by global descriptors in place of the first stage; for
                search engines on other machines.

        Raises:
            ImageError: A photo is unreadable.
            ExtractionError: The design cannot be asked with a text.
        """
        return self.answer(self.describe(queries, companions or {}), allowed, ranked_by)

    def describe(self, queries: Sequence[Query], companions: Mapping[str, str]) -> Described:
        """Describe queries in memory; arguments as those of `ask`."""
        experiment = self.pipeline.experiment
        texts = [query.id for query in queries if query.image is None]
        if texts and len(texts) < len(queries):
            raise ExtractionError("ask with photos or with texts, not with both kinds at once")
        with self._describing:  # models use all cores by themselves, and not all are safe in threads
            prepared = None
            if self.prepared is not None:
                prepared = self.pipeline.first.ask(experiment, self.prepared, queries, companions)
            reading = None
            if self.reading is not None:
                reading = read_asked(experiment, self.reading, queries, companions)
            local = None
            if self.plan is not None and self.local is not None and not texts:
                local = describe_asked_locally(experiment, self.plan, self.local, queries).queries
        return Described(tuple(queries), prepared, reading, local)

    def stored(self) -> Described:
        """Return the queries of the data set, as they were described for its run."""
        local = None if self.local is None else self.local.queries
        return Described(self.pipeline.queries, self.prepared, self.reading, local)

    def answer(
        self,
        described: Described,
        allowed: Int64 | None = None,
        ranked_by: Callable[[Extraction, Int64 | None], Ranking] | None = None,
    ) -> Asked:
        """Rank the database for queries that were described; see `ask`."""
        experiment, queries = self.pipeline.experiment, described.queries
        ids = tuple(query.id for query in queries)
        reading = described.reading
        said = tuple(len(words) for words in reading.queries) if reading else None
        if described.prepared is None:
            assert reading is not None
            ranked = Ranked(self._rank_by_reading(ids, reading, allowed))
        else:
            prepared = described.prepared
            if ranked_by is not None and isinstance(prepared, Extraction):
                ranked = Ranked(ranked_by(prepared, allowed))
            else:
                ranked = self.pipeline.first.rank(experiment, prepared, allowed)
            if reading is not None:
                settings = experiment.config.reading
                shares = np.full(len(ids), settings.weight, np.float32)
                words = _among(reading.evidence_in(self._read_rows), allowed)
                fused = combine(ranked.ranking, words, None if settings.fusion == "rank" else shares)
                ranked = replace(ranked, ranking=fused)
        if self.plan is None or self.local is None or described.local is None:
            return Asked(ranked.ranking, ranked.points, ranked.explain, said, ranked.locate)
        nothing = described.local[0].take(np.empty(0, np.int64))
        rows = Rows(self.local.database, self._local_rows, nothing, self.local.original)
        ranking, evidence = rerank_asked(experiment, self.plan, described.local, rows, ranked.ranking)
        explain = explain_pairs(experiment.config, queries, self.plan, described.local, rows)
        points = tuple(
            {row: count for row, count in zip(*line, strict=True) if row >= 0}
            for line in zip(evidence.rows.tolist(), evidence.inliers.tolist(), strict=True)
        )
        return Asked(ranking, points, explain, said)

    def _rank_by_reading(self, ids: Sequence[str], reading: ReadingStage, allowed: Int64 | None) -> Ranking:
        kept = self.pipeline.experiment.results_kept
        k = kept if allowed is None else kept + len(self.ids) - len(allowed)
        found = search_texts(ids, reading.queries, self.ids, reading.index, k=k)
        return found if allowed is None else keep_rows(found, allowed, kept)


def _among(
    evidence: Sequence[tuple[Int64, Float64]], allowed: Int64 | None
) -> Sequence[tuple[Int64, Float64]]:
    """Keep what speaks for the allowed rows."""
    if allowed is None:
        return evidence
    kept = [np.isin(rows, allowed) for rows, _ in evidence]
    return [(rows[k], values[k]) for (rows, values), k in zip(evidence, kept, strict=True)]
