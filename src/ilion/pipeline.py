"""The only module that knows the order of the stages.

    dataset -> descriptors -> search -> evaluation -> report

Every stage keeps its result as an artifact named by a fingerprint of all it depends on: a stage whose inputs
are unchanged is not computed again, and nothing that changed is reused.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ilion import extraction, store
from ilion._version import __version__
from ilion.config import ExperimentConfig, dump_toml, to_dict
from ilion.datasets import open_dataset
from ilion.errors import ConfigError, DatasetError
from ilion.evaluate import evaluate as evaluate_ranking
from ilion.expand import expand, expansion_weights
from ilion.extractors.base import Extractor, ExtractorOptions, Fittable, build
from ilion.machine import machine, peak_memory
from ilion.outcome import Cost, Evaluation, Machine, Reranking, RunResult, Skipped
from ilion.pipeline_local import LocalStage, Reranked, explainer, extract_local, rerank_stage
from ilion.report import write_report
from ilion.results import write_run
from ilion.search import Database, search
from ilion.store import Artifact, DescriptorSet, fingerprint
from ilion.truth import axes_from_ids, truth_from_ids
from ilion.types import Axes, Descriptors, Float32, GroundTruth, Query, Ranking, RetrievalDataset

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, what is done and what there is in all."""


@dataclass(frozen=True)
class Extraction:
    """What `Pipeline.extract` gives.

    Args:
        queries: Descriptors of the queries, in the order of the data set.
        database: Descriptors of the database.
        inputs: What both depend on, for the next stage's fingerprint.
        skipped: Database images that could not be used.
        seconds: Stage -> seconds when it was really computed.
        reused: Stages that were not computed this time.
        images: Number of database images described.
        peak_memory: Largest resident memory of the processes that computed, bytes.
        machine: Where the database was described.
    """

    queries: Descriptors
    database: DescriptorSet
    inputs: Mapping[str, Any]
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int
    machine: Machine


@dataclass(frozen=True)
class Search:
    """What `Pipeline.search` gives: the ranking, and what it cost when it was computed."""

    ranking: Ranking
    folder: Path
    fingerprint: str
    seconds: float
    reused: bool
    peak_memory: int


class Pipeline:
    """One experiment. Each method runs the stages before it as far as they are not done.

    Args:
        config: All settings; paths must be absolute or relative to the working directory.
        progress: Told of what is going on.
    """

    def __init__(self, config: ExperimentConfig, progress: Progress | None = None) -> None:
        if not config.dataset.path:
            raise ConfigError("no data set is given: set dataset.path to its folder")
        self.config = config
        self.output = Path(config.output)
        self.artifacts = Path(config.cache) if config.cache else self.output / "artifacts"
        self._progress = progress

    def _tell(self, stage: str) -> Callable[[int, int], None] | None:
        progress = self._progress
        return (lambda done, total: progress(stage, done, total)) if progress else None

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The data set."""
        settings = self.config.dataset
        return open_dataset(
            Path(settings.path),
            layout=settings.layout,
            subset=Path(settings.subset) if settings.subset else None,
            distractors=Path(settings.distractors) if settings.distractors else None,
            shard_size=settings.shard_size,
        )

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """The queries of the wanted kind."""
        wanted = self.config.dataset.queries
        queries = tuple(q for q in self.dataset.queries if (q.image is not None) == (wanted == "image"))
        if not queries:
            raise DatasetError(f"{self.dataset.root}: the data set has no {wanted} queries")
        return queries

    @cached_property
    def extractor(self) -> Extractor:
        """The model, built and, where it learns something, fitted."""
        settings = self.config.extraction
        return build(
            settings.model,
            ExtractorOptions(
                weights=settings.weights or None,
                resize=settings.resize or None,
                side=settings.side or None,
                pooling=settings.pooling or None,
                scales=settings.scales or None,
                rotations=settings.rotations or None,
                device=settings.device,
                threads=settings.threads,
                batch_size=settings.batch_size,
                precision=settings.precision,
                seed=self.config.seed,
            ),
        )

    def extract(self) -> Extraction:
        """Describe queries and database."""
        settings = self.config.extraction
        extractor, shards = self.extractor, self.dataset.database
        seconds: dict[str, float] = {}
        reused: list[str] = []
        with ExitStack() as locks:
            if isinstance(extractor, Fittable):
                started = time.perf_counter()
                if self._fit(extractor, locks):
                    reused.append("fit")
                seconds["fit"] = time.perf_counter() - started
            common = {"spec": extractor.spec.as_dict(), "precision": settings.precision}
            artifact = store.open_artifact(self.artifacts, "descriptors", {**common, "dtype": settings.dtype})
            locks.enter_context(store.locked(artifact.folder))
            keys, whole = extraction.extract_shards(
                shards,
                extractor,
                artifact,
                on_bad_image=settings.on_bad_image,
                dtype=settings.dtype,
                workers=settings.workers,
                progress=self._tell("descriptors"),
            )
            queries, query_key, query_reused = self._extract_queries(extractor, common, locks)
        stats = [store.read_stats(artifact, key) for key in keys]
        query_stats = store.read_stats(queries, query_key)
        seconds["descriptors"] = sum(s.seconds for s in stats)
        seconds["queries"] = query_stats.seconds
        reused += ["descriptors"] * whole + ["queries"] * query_reused
        database = DescriptorSet(artifact, keys)
        if not len(database):
            raise DatasetError(f"{self.dataset.root}: the database holds no readable image")
        return Extraction(
            queries=store.read_descriptors(queries, query_key, mapped=False),
            database=database,
            inputs={"database": [artifact.fingerprint, *keys], "queries": [queries.fingerprint, query_key]},
            skipped=tuple(s for stat in stats for s in stat.skipped),
            seconds=seconds,
            reused=tuple(reused),
            images=sum(s.images for s in stats),
            peak_memory=max(s.peak_memory for s in [*stats, query_stats]),
            machine=stats[0].machine,
        )

    def _fit(self, extractor: Fittable, locks: ExitStack) -> bool:
        settings, shards = self.config.extraction, self.dataset.database
        spec = self.extractor.spec
        sample = {
            "shards": [shard.fingerprint() for shard in shards],
            "images": settings.fit_images,
            "seed": self.config.seed,
        }
        artifact = store.open_artifact(self.artifacts, "fit", {"spec": spec.as_dict(), "sample": sample})
        locks.enter_context(store.locked(artifact.folder))
        return extraction.fit(
            lambda: extraction.sample_records(shards, settings.fit_images, self.config.seed),
            extractor,
            spec,
            artifact,
            seed=self.config.seed,
            on_bad_image=settings.on_bad_image,
            workers=settings.workers,
            progress=self._tell("fit"),
        )

    def _extract_queries(
        self, extractor: Extractor, common: Mapping[str, Any], locks: ExitStack
    ) -> tuple[Artifact, str, bool]:
        settings = self.config.extraction
        artifact = store.open_artifact(self.artifacts, "queries", {**common, "box": settings.query_box})
        locks.enter_context(store.locked(artifact.folder))
        key, reused = extraction.extract_queries(
            self.queries, extractor, artifact, box_use=settings.query_box, workers=settings.workers
        )
        return artifact, key, reused

    def search(self, extracted: Extraction | None = None) -> Search:
        """Rank the database for every query."""
        extracted = extracted or self.extract()
        settings = self.config.search
        # how the work is cut does not change the result, so it does not belong to the fingerprint
        method = {k: v for k, v in to_dict(settings).items() if k != "block_size"}
        method["k"] = self._results_kept()
        artifact = store.open_artifact(self.artifacts, "ranking", {**extracted.inputs, "search": method})
        with store.locked(artifact.folder):
            done = (artifact.folder / "ranking.json").exists()
            if not done:
                started = time.perf_counter()
                ranking = self._rank(extracted)
                stats = {"seconds": time.perf_counter() - started, "peak_memory": peak_memory()}
                store.write_json(artifact.folder / "stats.json", stats)
                store.write_ranking(artifact.folder, ranking)
            stats = store.read_json(artifact.folder / "stats.json")
            return Search(
                store.read_ranking(artifact.folder),
                artifact.folder,
                artifact.fingerprint,
                stats["seconds"],
                done,
                stats["peak_memory"],
            )

    def _rank(self, extracted: Extraction) -> Ranking:
        settings = self.config.search
        database: Database = extracted.database
        if settings.database_expansion_top:
            database = self._expand_database(extracted)
        queries: Float32 = np.asarray(extracted.queries.values, np.float32)
        if settings.expansion != "none":
            first = search(
                extracted.queries.ids,
                queries,
                database,
                k=settings.expansion_top,
                block_size=settings.block_size,
                progress=self._tell("query expansion"),
            )
            queries = _expanded(queries, database, first, settings.expansion, settings.expansion_alpha)
        return search(
            extracted.queries.ids,
            queries,
            database,
            k=self._results_kept(),
            block_size=settings.block_size,
            progress=self._tell("search"),
        )

    def _results_kept(self) -> int:
        """Results a query: enough that k are left once ignored images are taken out."""
        return self.config.search.k + max((len(ids) for ids in self.dataset.ignored.values()), default=0)

    def _expand_database(self, extracted: Extraction) -> DescriptorSet:
        """Average every database descriptor with its neighbours; quadratic in the size of the database."""
        settings, database = self.config.search, extracted.database
        inputs = {
            "database": extracted.inputs["database"],
            "top": settings.database_expansion_top,
            "alpha": settings.expansion_alpha,
        }
        artifact = store.open_artifact(self.artifacts, "expanded", inputs)
        keys = []
        tell = self._tell("database expansion")
        start = 0
        for block in database.blocks(1024):
            rows = np.arange(start, start + len(block))
            key = f"block-{start:012d}"
            keys.append(key)
            if not store.has_descriptors(artifact, key):
                ids = database.ids[start : start + len(block)]
                top = settings.database_expansion_top + 1
                found = search(ids, block, database, k=top, block_size=settings.block_size)
                ranking = _without_self(found, rows)
                values = _expanded(block, database, ranking, "alpha", settings.expansion_alpha)
                stats = store.ShardStats(len(ids), 0.0, peak_memory(), machine())
                store.write_descriptors(artifact, key, Descriptors(ids, values), stats)
            start += len(block)
            if tell:
                tell(start, len(database))
        return DescriptorSet(artifact, keys)

    def evaluate(self) -> RunResult:
        """Judge the ranking, and store the result in the output folder."""
        extracted = self.extract()
        searched = self.search(extracted)
        truth, axes = self._truth(searched.ranking)
        ranking, evaluation = searched.ranking, self._judge(searched.ranking, truth, axes)
        local, reranked, reranking = None, None, None
        if self.config.rerank.features != "none":
            local = extract_local(self.config, self.dataset, self.queries, self.artifacts, self._tell)
            reranked = rerank_stage(
                self.config,
                local,
                searched.ranking,
                searched.fingerprint,
                truth,
                axes.instances,
                self.artifacts,
                self._tell,
            )
            ranking = reranked.ranking
            before, evaluation = evaluation, self._judge(ranking, truth, axes)
            reranking = Reranking(
                before,
                searched.ranking,
                reranked.evidence.rows.shape[1],
                reranked.evidence.inliers,
                reranked.weights,
                self.config.rerank.fusion,
                reranked.missing,
                explainer(self.config, local, ranking),
            )
        result = RunResult(
            name=self.config.name,
            design=self.design,
            dataset=self.dataset,
            ranking=ranking,
            ground_truth=truth,
            evaluation=evaluation,
            cost=self._cost(extracted, searched, local, reranked),
            skipped=extracted.skipped,
            provenance=self._provenance(searched),
            reranking=reranking,
        )
        store.write_bytes(self.output / "experiment.toml", dump_toml(self.config).encode())
        store.write_ranking(self.output / "ranking", ranking)
        write_run(self.output, result)
        return result

    def _truth(self, ranking: Ranking) -> tuple[GroundTruth, Axes]:
        dataset = self.dataset
        ids = [q.id for q in self.queries]
        instances = [q.instance for q in self.queries]
        positives = {q: dataset.positives[q] for q in ids}
        ignored = {q: dataset.ignored[q] for q in ids if q in dataset.ignored}
        truth = truth_from_ids(ids, ranking.database_ids, positives, ignored)
        axes = axes_from_ids(
            ids, instances, ranking.database_ids, positives, dataset.labels, dataset.attributes
        )
        return truth, axes

    def _judge(self, ranking: Ranking, truth: GroundTruth, axes: Axes) -> Evaluation:
        settings = self.config.evaluation
        return evaluate_ranking(
            ranking,
            truth,
            axes,
            definition=settings.definition,
            k=settings.k,
            bootstrap=settings.bootstrap,
            seed=self.config.seed,
        )

    def _cost(
        self, extracted: Extraction, searched: Search, local: LocalStage | None, reranked: Reranked | None
    ) -> Cost:
        queries = len(self.queries)
        seconds = {**extracted.seconds, "search": searched.seconds}
        per_image = seconds["descriptors"] / max(1, extracted.images)
        per_query, per_search = seconds["queries"] / queries, searched.seconds / queries
        stored = float(extracted.database.dim * np.dtype(self.config.extraction.dtype).itemsize)
        peaks = [extracted.peak_memory, searched.peak_memory]
        reused = [*extracted.reused, *(["search"] if searched.reused else [])]
        if local and reranked:
            seconds |= {**local.seconds, "re-ranking": reranked.seconds}
            per_image += local.seconds["local features"] / max(1, local.images)
            per_query += local.seconds["local queries"] / queries
            per_search += reranked.seconds / queries
            stored += local.database.bytes_per_image
            peaks += [local.peak_memory, reranked.peak_memory]
            reused += [*local.reused, *(["re-ranking"] if reranked.reused else [])]
        return Cost(
            extraction_ms_per_image=1e3 * per_image,
            query_ms_per_query=1e3 * per_query,
            bytes_per_image=stored,
            search_ms_per_query=1e3 * per_search,
            peak_memory_bytes=max(peaks),
            stage_seconds=seconds,
            reused=tuple(reused),
            machine=extracted.machine,
        )

    def _provenance(self, searched: Search) -> dict[str, object]:
        return {
            "ilion": __version__,
            "date": time.strftime("%Y-%m-%d"),
            "config": to_dict(self.config),
            "model": self.extractor.spec.as_dict(),
            "fingerprints": {
                "dataset": fingerprint([s.fingerprint() for s in self.dataset.database]),
                "ranking": searched.fingerprint,
            },
            "data set": {
                "queries": len(self.queries),
                "instances": len({q.instance for q in self.queries}),
                "database images": len(searched.ranking.database_ids),
                "notes": list(self.dataset.notes),
            },
        }

    @property
    def design(self) -> str:
        """A short name of the method."""
        settings = self.config.search
        parts = [self.config.extraction.model]
        if settings.expansion != "none":
            parts.append(f"{settings.expansion} QE {settings.expansion_top}")
        if settings.database_expansion_top:
            parts.append(f"DBA {settings.database_expansion_top}")
        local = self.config.rerank
        if local.features != "none":
            size = f" in {local.budget} B" if local.budget else ""
            parts.append(f"{local.features}{size}, top {local.shortlist}")
        return " + ".join(parts)

    def write_report(self, *results: RunResult, path: Path | None = None) -> Path:
        """Write the report of this experiment's result, with other runs beside it."""
        settings = self.config.report
        return write_report(
            results,
            path or self.output / "report.html",
            language=settings.language,
            gallery=settings.gallery,
            progress=self._tell("report"),
        )


def _expanded(own: Float32, database: Database, found: Ranking, method: str, alpha: float) -> Float32:
    neighbours = database.gather(found.indices.ravel()).reshape(*found.indices.shape, -1)
    return expand(own, neighbours, expansion_weights(found.similarities, method=method, alpha=alpha))


def _without_self(found: Ranking, rows: Any) -> Ranking:
    """Drop each row from its own neighbours, or the last neighbour where equal images hide it."""
    own = found.indices == rows[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(rows), found.indices.shape[1] - 1)
    return dataclasses.replace(
        found,
        indices=found.indices[~own].reshape(shape),
        similarities=found.similarities[~own].reshape(shape),
        counts=np.full(len(rows), shape[1], np.int64),
    )
