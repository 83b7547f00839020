"""Reading: texts of queries and database, the ranking by them alone, and their share in the visual one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ilion import storage
from ilion.errors import DatasetError
from ilion.evaluation.evaluate import evaluate
from ilion.extraction.describe import describe as describe_images
from ilion.extraction.texts import TextDescription, read_queries
from ilion.outcome import Machine, MissingShard, Skipped
from ilion.pipeline.distributed.compute import do_shards
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.local_models import reader_of
from ilion.pipeline.stages.results import Search
from ilion.pipeline.stages.search import open_ranking
from ilion.reading.base import Reader
from ilion.reading.combine import combine
from ilion.reading.index import VERSION, TextIndex, search_texts
from ilion.reading.store import ReadImage, TextSet, stored_as
from ilion.reading.words import merge_terms, photo_terms, query_terms
from ilion.searching.fusion import calibrate
from ilion.types import Float32, Float64, GroundTruth, Int64, Query, Ranking, Value

USUAL_WEIGHT = 0.5
"""Around which a calibration looks."""


@dataclass(frozen=True)
class ReadingStage:
    """The texts of one experiment, ready to be searched.

    Args:
        texts: Texts read in the database.
        index: Over them.
        queries: (Q,) terms and weights of each query.
        photos: Query id -> what was read in its photo.
        inputs: Inputs of the texts.
        skipped: Database images that could not be used.
        missing: Parts of the database that could not be read, where that was allowed.
        seconds: Stage -> seconds when it was computed.
        reused: Stages that were not computed this time.
        images: Database images read.
        peak_memory: Largest resident memory of the processes that computed, bytes.
        machine: Machine that read the database.
        spec: Spec of the reader, for the provenance.
        sources: Folders of stored texts and their keys, for reading them again: ``texts``, ``query-texts``.
    """

    texts: TextSet
    index: TextIndex
    queries: tuple[Mapping[str, float], ...]
    photos: Mapping[str, ReadImage]
    inputs: dict[str, Any]
    skipped: tuple[Skipped, ...]
    missing: tuple[MissingShard, ...]
    seconds: dict[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int
    machine: Machine
    spec: dict[str, Any]
    sources: dict[str, tuple[str, ...]]

    def evidence(self, database_ids: Sequence[str]) -> list[tuple[Int64, Float64]]:
        """Return what speaks for images, for each query, as rows of a database and similarities."""
        return self.evidence_in(self.rows_in(database_ids))

    def rows_in(self, database_ids: Sequence[str]) -> Int64:
        """Return the row of each image that was read in a database; -1 for those that it does not hold."""
        there = self.texts.rows_of(database_ids)
        row_of = np.full(len(self.texts), -1)
        row_of[there[there >= 0]] = np.flatnonzero(there >= 0)
        return row_of

    def evidence_in(self, row_of: Int64) -> list[tuple[Int64, Float64]]:
        """Return what speaks for images, for each query; see `rows_in`."""
        found = []
        for query in self.queries:
            evidence = self.index.score(query)
            rows = row_of[evidence.rows]
            found.append((rows[rows >= 0], evidence.similarities[rows >= 0]))
        return found


def read(experiment: Experiment) -> ReadingStage:
    """Read queries and database, and index the database, as far as that is not done.

    Raises:
        DatasetError: The database holds no readable image.
    """
    config = experiment.config
    reader = reader_of(config)
    spec = {"spec": reader.spec.as_dict()}
    seconds: dict[str, float] = {}
    reused: list[str] = []
    with ExitStack() as locks:
        artifact = experiment.open("texts", spec, locks)
        keys, whole, missing = do_shards(experiment, "reading", artifact, TextDescription(reader))
        photos, query_seconds, seen, own, asked = _read_photos(experiment, reader, locks)
        texts = TextSet(artifact, keys)
        if not len(texts):
            raise DatasetError(f"{experiment.dataset.root}: the database holds no readable image")
        inputs = {"texts": [artifact.fingerprint, *keys], "confidence": config.reading.confidence}
        started = time.perf_counter()
        index, indexed = _index(experiment, texts, inputs, locks)
        seconds["text index"] = time.perf_counter() - started
    stats = [storage.read_stats(artifact, key) for key in keys]
    seconds |= {"reading": sum(s.seconds for s in stats), "query reading": query_seconds}
    reused += ["reading"] * whole + ["query reading"] * seen + ["text index"] * indexed
    return ReadingStage(
        texts=texts,
        index=index,
        queries=tuple(
            _terms(query, photos, experiment.companions, config.reading.confidence)
            for query in experiment.queries
        ),
        photos=photos,
        inputs={**inputs, "read queries": own, "companions": experiment.companions, "version": VERSION},
        skipped=tuple(s for stat in stats for s in stat.skipped),
        missing=missing,
        seconds=seconds,
        reused=tuple(reused),
        images=sum(s.images for s in stats),
        peak_memory=max(s.peak_memory for s in stats),
        machine=stats[0].machine,
        spec=reader.spec.as_dict(),
        sources={"texts": (artifact.folder.name, *keys)} | ({"query-texts": asked} if asked else {}),
    )


def _read_photos(
    experiment: Experiment, reader: Reader, locks: ExitStack
) -> tuple[dict[str, ReadImage], float, bool, list[Any], tuple[str, ...]]:
    """Return what was read, seconds, whether it was there, what it depends on, and where it is stored."""
    general = experiment.config.extraction
    queries = [query for query in experiment.queries if query.image is not None]
    asked = [[query.id, query.text] for query in experiment.queries if query.text is not None]
    if not queries:
        return {}, 0.0, False, asked, ()
    inputs = {"spec": reader.spec.as_dict(), "box": general.query_box}
    artifact = experiment.open("query-texts", inputs, locks)
    key, seen = read_queries(queries, reader, artifact, box_use=general.query_box, workers=general.workers)
    stored = TextSet(artifact, [key])
    photos = {query.id: stored.read(row) for row, query in enumerate(queries)}
    seconds = storage.read_stats(artifact, key).seconds
    return photos, seconds, seen, [artifact.fingerprint, key, asked], (artifact.folder.name, key)


def _index(
    experiment: Experiment, texts: TextSet, inputs: Mapping[str, Any], locks: ExitStack
) -> tuple[TextIndex, bool]:
    artifact = experiment.open("text-index", {**inputs, "version": VERSION}, locks)
    known = storage.is_finished(artifact.folder / "index.json")
    if not known:
        lines = (texts.read(row).lines for row in range(len(texts)))
        TextIndex.build(lines, confidence=experiment.config.reading.confidence).save(artifact.folder)
    return TextIndex.load(artifact.folder), known


def _terms(
    query: Query, photos: Mapping[str, ReadImage], companions: Mapping[str, str], confidence: float
) -> Mapping[str, float]:
    text = query.text if query.text is not None else companions.get(query.id)
    asked = query_terms(text) if text is not None else {}
    seen = photos.get(query.id)
    return merge_terms(asked, photo_terms(seen.lines, confidence)) if seen is not None else asked


def find_by_reading(experiment: Experiment, stage: ReadingStage) -> Search:
    """Rank the database for every query by what was read alone, as far as that is not done."""
    inputs = {**stage.inputs, "k": experiment.results_kept}
    return open_ranking(
        experiment,
        "read-ranking",
        inputs,
        lambda _: search_texts(
            [query.id for query in experiment.queries],
            stage.queries,
            stage.texts.ids,
            stage.index,
            k=experiment.results_kept,
            progress=experiment.tell("search by reading"),
        ),
    )


@dataclass(frozen=True)
class Fused(Value):
    """What reading adds to the visual ranking.

    Args:
        search: The fused ranking, and what it cost beside the visual search.
        weights: (Q,) weight of the text of each query; NaN for rank fusion.
        folds: (Q,) part of each query, whose weight was learnt on the others; all 0 where nothing was learnt.
    """

    search: Search
    weights: Float32
    folds: Int64


def fuse_reading(
    experiment: Experiment, stage: ReadingStage, visual: Search, truth: GroundTruth, instances: Sequence[str]
) -> Fused:
    """Fuse the visual ranking with what was read."""
    settings = experiment.config.reading
    evidence = stage.evidence(visual.ranking.database_ids)
    weights, folds = _weights(experiment, visual.ranking, evidence, truth, instances)
    used = [] if settings.fusion == "rank" else weights.tolist()
    inputs = {**stage.inputs, "visual": visual.fingerprint, "weights": used}
    search = open_ranking(
        experiment,
        "fused-ranking",
        inputs,
        lambda _: combine(visual.ranking, evidence, weights if used else None),
    )
    return Fused(search, weights, folds)


def _weights(
    experiment: Experiment,
    visual: Ranking,
    evidence: Sequence[tuple[Int64, Float64]],
    truth: GroundTruth,
    instances: Sequence[str],
) -> tuple[Float32, Int64]:
    """Return the weight of the text of each query, and the part of the queries that it belongs to."""
    config = experiment.config
    settings = config.reading
    together = np.zeros(len(instances), np.int64)
    if settings.fusion == "rank":
        return np.full(len(instances), np.nan, np.float32), together
    fixed = np.full(len(instances), settings.weight, np.float32)
    if settings.fusion == "score":
        return fixed, together
    judged: dict[float, Float64] = {}

    def accuracy(weight: float, queries: Sequence[int]) -> float:
        if weight not in judged:
            fused = combine(visual, evidence, np.full(len(instances), weight, np.float32))
            judged[weight] = evaluate(
                fused, truth, definition=config.evaluation.definition, k=config.evaluation.k, bootstrap=1
            ).per_query
        return float(judged[weight][list(queries)].mean())

    learnt = calibrate(accuracy, instances, usual=USUAL_WEIGHT, seed=config.seed)
    weights = np.where(np.isnan(learnt.weights), fixed, learnt.weights).astype(np.float32)
    return weights, learnt.fold


def read_asked(
    experiment: Experiment, stage: ReadingStage, queries: Sequence[Query], companions: Mapping[str, str]
) -> ReadingStage:
    """Return the same texts asked with further queries, which are read in memory."""
    general = experiment.config.extraction
    reader = TextDescription(reader_of(experiment.config))
    pictures = [replace(query.image, id=query.id) for query in queries if query.image is not None]
    found = describe_images(pictures, reader, [], box_use=general.query_box, workers=general.workers)
    photos = {record.id: stored_as(read) for record, read in found}
    confidence = experiment.config.reading.confidence
    return replace(
        stage, queries=tuple(_terms(q, photos, companions, confidence) for q in queries), photos=photos
    )
