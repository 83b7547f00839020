"""The only module that knows the order of the stages.

    dataset -> descriptors -> (adaptation) -> search -> (reading) -> re-ranking -> evaluation -> report

Every stage keeps its result as an artifact named by a fingerprint of all it depends on: a stage whose inputs
are unchanged is not computed again, and nothing that changed is reused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from ilion import storage
from ilion.adapt import StoredLayer, load_layer
from ilion.config import AdaptationConfig, ExperimentConfig, check_parts, dump_toml, settle, to_dict
from ilion.datasets import open_dataset
from ilion.descriptors.base import Extractor
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.evaluation.evaluate import evaluate as evaluate_ranking
from ilion.evaluation.protocols import judge_protocols
from ilion.evaluation.truth import truth_of
from ilion.interop.imported import from_elsewhere
from ilion.interop.results import Results, tie_groups
from ilion.opening import check_folder, parse_json
from ilion.outcome import Evaluation, MissingShard, RunResult, Skipped
from ilion.pipeline.experiment import Experiment, Progress
from ilion.pipeline.explain import cost
from ilion.pipeline.explain.own_photos import note_own_photos
from ilion.pipeline.explain.photos import explain_verification
from ilion.pipeline.explain.reading import explain_reading
from ilion.pipeline.explain.reranking import explain_changes, explainer, measure_full_precision
from ilion.pipeline.jobs.learn import open_layer
from ilion.pipeline.stages.adapt import leave_out_seen
from ilion.pipeline.stages.ask import add_cost, ask, judge_of, report_on
from ilion.pipeline.stages.first import FIRST, DescriptorStage, FirstStage
from ilion.pipeline.stages.imported import take_results, unknown_cost, unknown_model
from ilion.pipeline.stages.inverted_file import Index
from ilion.pipeline.stages.model import extractor_of
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.plan_rerank import plan_local
from ilion.pipeline.stages.read import Fused, ReadingStage, find_by_reading, fuse_reading, read
from ilion.pipeline.stages.rerank import extract_local, rerank_stage
from ilion.pipeline.stages.results import Extraction, Search
from ilion.pipeline.stages.search import find, open_ranking
from ilion.registry import answering_for_code
from ilion.report import write_report
from ilion.storage.runs import FILE as RUN_FILE
from ilion.storage.runs import read_run, write_run
from ilion.tasks import RunRecord
from ilion.types import Axes, GroundTruth, Query, Ranking, RetrievalDataset
from ilion.wording import counted

log = logging.getLogger(__name__)

PAGES = ("report.html", "forecast.html")
"""Pages in the folder of a run that show its numbers."""


@dataclass(frozen=True)
class Found:
    """The first stage of a search.

    Args:
        extracted: Global descriptors, or an inverted file; None where reading alone ranks.
        first: The ranking by sight, or by reading alone.
        stage: Texts of queries and database, ready to be searched; None without reading.
        fused: Sight and reading together; None where only one of them ranks.
    """

    extracted: Extraction | Index | Photos | None
    first: Search
    stage: ReadingStage | None
    fused: Fused | None

    @property
    def final(self) -> Search:
        """The ranking that goes on to re-ranking and evaluation."""
        return self.fused.search if self.fused else self.first

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Database images that could not be used."""
        if self.extracted:
            return self.extracted.skipped
        return self.stage.skipped if self.stage else ()

    @property
    def missing(self) -> tuple[MissingShard, ...]:
        """Parts of the database that could not be described."""
        found = self.extracted or self.stage
        return found.missing if found else ()


P = ParamSpec("P")
T = TypeVar("T")


def _recorded(method: Callable[Concatenate[Pipeline, P], T]) -> Callable[Concatenate[Pipeline, P], T]:
    """Leave no stage open in the record of the run, however the method ends."""

    @wraps(method)
    def recorded(self: Pipeline, /, *args: P.args, **kwargs: P.kwargs) -> T:
        whole = False
        try:
            with answering_for_code():
                found = method(self, *args, **kwargs)
            whole = True
            return found
        finally:
            if "experiment" in vars(self):
                self.experiment.record.close(whole=whole)

    return recorded


class Pipeline:
    """One experiment. Each method runs the stages before it as far as they are not done.

    Args:
        config: All settings; paths must be absolute or relative to the working directory.
        progress: Callback that receives the stage, what is done and how much there is.
        layer: An adaptation layer in place of the one in the settings.
        finished: Whether its run is only looked at, so that no code from outside is imported for it.
        dataset: Data set in place of the one in the settings, such as the photos of an index, which may have
            no queries.
        sealed: Whether everything is there and is only opened; see `Experiment`.
        unlabelled: Whether objects without positives are asked for, too; nothing can be judged then.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        progress: Progress | None = None,
        layer: StoredLayer | None = None,
        finished: bool = False,
        dataset: RetrievalDataset | None = None,
        sealed: bool = False,
        unlabelled: bool = False,
    ) -> None:
        config = settle(config)
        if not finished:
            check_parts(config)
        if not config.dataset.path:
            raise ConfigError("no data set is given: set dataset.path to its folder")
        self.config = config
        self.output = Path(config.output)
        for folder in (self.output, Path(config.cache or config.output)):
            check_folder(folder)
        self.artifacts = Path(config.cache) if config.cache else self.output / "artifacts"
        self._progress, self._layer, self._dataset, self._sealed = progress, layer, dataset, sealed
        self._unlabelled = unlabelled

    @cached_property
    def dataset(self) -> RetrievalDataset:
        """The data set."""
        if self._dataset is not None:
            return self._dataset
        settings = self.config.dataset
        dataset = open_dataset(
            Path(settings.path),
            layout=settings.layout,
            subset=Path(settings.subset) if settings.subset else None,
            distractors=Path(settings.distractors) if settings.distractors else None,
            shard_size=settings.shard_size,
            encoding=settings.encoding,
            trust=self.config.trust,
            unlabelled=self._unlabelled,
        )
        if from_elsewhere(self.config.extraction.model):
            dataset = replace(dataset, complete=False)
        return leave_out_seen(dataset, self.layer, self.config.adaptation.seen) if self.layer else dataset

    @cached_property
    def layer(self) -> StoredLayer | None:
        """The adaptation layer, read or learnt; None without one."""
        settings = self.config.adaptation
        if self._layer or settings.layer:
            return self._layer or load_layer(Path(settings.layer))
        if settings.method == "none":
            return None
        return open_layer(self)

    def variant(self, adaptation: AdaptationConfig, layer: StoredLayer | None = None) -> Pipeline:
        """Return the same experiment with other settings of adaptation, or with a given layer."""
        return Pipeline(replace(self.config, adaptation=adaptation), self._progress, layer)

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """The queries of the wanted kind."""
        wanted = self.config.dataset.queries
        if self._dataset is not None and not self._dataset.queries:
            return ()
        kinds = {"image": (True,), "text": (False,), "both": (True, False), "image+text": (True,)}[wanted]
        queries = tuple(q for q in self.dataset.queries if (q.image is not None) in kinds)
        missing = [kind for kind in kinds if not any((q.image is not None) == kind for q in queries)]
        if missing:
            name, other = ("image", "text") if missing[0] else ("text", "image")
            hint = f"; ask with its {other}s: set dataset.queries to {other}" if self.dataset.queries else ""
            raise DatasetError(f"{self.dataset.root}: the data set has no {name} queries{hint}")
        return queries

    @cached_property
    def companions(self) -> dict[str, str]:
        """Texts that are asked together with images: query id -> text of the same object."""
        if self.config.dataset.queries != "image+text":
            return {}
        if self.dataset.companions:
            return {q.id: text for q in self.queries if (text := self.dataset.companions.get(q.id))}
        texts: dict[str, str] = {}
        for query in self.dataset.queries:
            if query.text is not None:
                texts.setdefault(query.instance, query.text)
        without = [q.id for q in self.queries if q.instance not in texts]
        if without:
            raise DatasetError(
                f"{self.dataset.root}: {counted(len(without), 'query has', 'queries have')} no text to be "
                f"asked with, such as {without[0]!r}; add the texts, or ask with dataset.queries = image"
            )
        return {q.id: texts[q.instance] for q in self.queries}

    @cached_property
    def experiment(self) -> Experiment:
        """What the stages work from."""
        record = RunRecord(self.output)
        return Experiment(
            self.config,
            self.dataset,
            self.queries,
            self.artifacts,
            record,
            self._progress,
            self.companions,
            sealed=self._sealed,
        )

    @cached_property
    def extractor(self) -> Extractor:
        """The model, built and, where it learns something, fitted."""
        return extractor_of(self.config.extraction, self.config.seed)

    @cached_property
    def first(self) -> FirstStage:
        """The first stage, by the method of the settings."""
        if make := FIRST.get(self.config.search.method):
            return make(self.config)
        return self._descriptors

    @cached_property
    def _descriptors(self) -> DescriptorStage:
        extractor = self.extractor  # first: a misspelt model is said before any folder is read
        return DescriptorStage(self.config, extractor, self.layer)

    @_recorded
    def prepare(self) -> Any:
        """Do whatever the first stage searches in: global descriptors, an inverted file ..."""
        first = self.first
        return first.prepare(self.experiment)

    @_recorded
    def extract(self) -> Extraction:
        """Describe queries and database, adapted where there is a layer."""
        stage = self._descriptors
        return stage.prepare(self.experiment)

    @_recorded
    def rank(self) -> Search:
        """Rank the database for every query by all stages of the experiment, and store the ranking."""
        if self.config.rerank.features == "none":
            return self.search()
        plan = plan_local(self.config)
        searched = self.search()
        truth, axes = self._truth(searched.ranking)
        local = extract_local(self.experiment, plan)
        reranked = rerank_stage(
            self.experiment, plan, local, searched.ranking, searched.fingerprint, truth, axes.instances
        )
        inputs = {
            "evidence": reranked.folder.name,
            "fusion": self.config.rerank.fusion,
            "weights": [None if np.isnan(weight) else float(weight) for weight in reranked.weights],
        }
        return open_ranking(self.experiment, "reranked-ranking", inputs, lambda _: reranked.ranking)

    @_recorded
    def search(self, extracted: Extraction | Index | Photos | None = None) -> Search:
        """Rank the database for every query by the first stage."""
        return self._found(extracted).final

    def _found(self, extracted: Extraction | Index | Photos | None = None) -> Found:
        """Search by sight, by reading, or by both."""
        use = self.config.reading.use
        if use == "only":
            stage = read(self.experiment)
            return Found(None, find_by_reading(self.experiment, stage), stage, None)
        extracted = extracted or self.prepare()  # first, as it looks at the settings before any folder
        seen = find(self.experiment, extracted)
        if use == "none":
            return Found(extracted, seen, None, None)
        stage = read(self.experiment)
        truth, axes = self._truth(seen.ranking)
        fused = fuse_reading(self.experiment, stage, seen, truth, axes.instances)
        return Found(extracted, seen, stage, fused)

    def measure(self) -> Evaluation:
        """Judge the first stage alone, and store no result."""
        return self.judge(self.search().ranking)

    def judge(self, ranking: Ranking) -> Evaluation:
        """Judge a ranking of the queries by the data set."""
        return self._judge(ranking, *self._truth(ranking))

    @_recorded
    def evaluate(self) -> RunResult:
        """Judge the ranking, and store the result in the output folder."""
        plan = plan_local(self.config) if self.config.rerank.features != "none" else None
        judge = judge_of(self.experiment) if self.config.ask.asks else None
        found = self._found()
        searched = found.final
        truth, axes = self._truth(searched.ranking)
        ranking, evaluation = searched.ranking, self._judge(searched.ranking, truth, axes)
        self.experiment.note(note_own_photos(self.experiment, ranking, truth))
        reading = None
        if found.stage is not None:
            before = self._judge(found.first.ranking, truth, axes) if found.fused else None
            reading = explain_reading(self.experiment, found.stage, found.fused, ranking, before, evaluation)
        local, reranked, reranking = None, None, None
        if plan is not None:
            local = extract_local(self.experiment, plan)
            reranked = rerank_stage(
                self.experiment, plan, local, searched.ranking, searched.fingerprint, truth, axes.instances
            )
            ranking = reranked.ranking
            before, evaluation = evaluation, self._judge(ranking, truth, axes)
            full = measure_full_precision(self.experiment, local, searched, reranked, evaluation, truth, axes)
            reranking = explain_changes(
                self.config,
                searched,
                reranked,
                before,
                evaluation,
                truth,
                explainer(self.experiment, plan, local, ranking),
                full,
            )
        elif isinstance(found.extracted, Photos) and not found.fused:
            reranking = explain_verification(
                self.experiment, found.extracted, searched, lambda r: self._judge(r, truth, axes), truth
            )
        taken = cost.cost(
            self.experiment, found.extracted, found.first, found.stage, found.fused, local, reranked
        )
        provenance = cost.provenance(
            self.experiment,
            found.extracted.model if found.extracted else None,
            searched,
            self.layer if found.extracted else None,
            found.stage,
            found.extracted.long_texts if isinstance(found.extracted, Extraction) else 0,
        )
        if judge is not None:
            asked = ask(self.experiment, judge, ranking)
            provenance["asked"] = report_on(asked, self.config.ask.model, evaluation.mean)
            if reranking is not None:
                reranking = replace(reranking, after=evaluation)
            ranking, taken = asked.ranking, add_cost(taken, asked)
            evaluation = self._judge(ranking, truth, axes)
        result = RunResult(
            name=self.config.name,
            design=self.design,
            dataset=self.dataset,
            ranking=ranking,
            ground_truth=truth,
            evaluation=evaluation,
            cost=taken,
            skipped=found.skipped,
            provenance=provenance,
            reranking=reranking,
            reading=reading,
            missing=found.missing,
            protocols=self._protocols(ranking),
        )
        self._keep(result)
        return result

    @_recorded
    def evaluate_results(self, results: Results) -> RunResult:
        """Judge the results of others as if a search had given them, and store the run in the output folder.

        Ties are those of the file, which may be of higher precision than a ranking.
        """
        settings = self.config
        k = self.experiment.results_kept + max(0, settings.evaluation.k - settings.search.k)
        searched = take_results(self.experiment, results, k)
        ranking = searched.ranking
        truth, axes = self._truth(ranking)
        self.experiment.note(note_own_photos(self.experiment, ranking, truth))
        exact = replace(ranking, similarities=tie_groups(results, k))
        result = RunResult(
            name=settings.name,
            design=self.design,
            dataset=self.dataset,
            ranking=ranking,
            ground_truth=truth,
            evaluation=self._judge(exact, truth, axes),
            cost=unknown_cost(),
            skipped=(),
            provenance=cost.provenance(self.experiment, unknown_model(settings.name).as_dict(), searched),
            protocols=self._protocols(exact),
        )
        self._keep(result)
        return result

    def _keep(self, result: RunResult) -> None:
        self._drop_pages()
        storage.write_bytes(self.output / "experiment.toml", dump_toml(self.config).encode())
        storage.write_ranking(self.output / "ranking", result.ranking)
        write_run(self.output, result)

    def _drop_pages(self) -> None:
        """Delete the pages of an earlier run with other settings, which would not be those of this result."""
        pages = [self.output / name for name in PAGES if (self.output / name).exists()]
        if not pages or not (self.output / RUN_FILE).exists():
            return
        try:
            before = read_run(self.output)["provenance"]["config"]
        except (ArtifactError, KeyError, TypeError):
            before = None
        if before != parse_json(json.dumps(to_dict(self.config))):
            for page in pages:
                page.unlink()
            names = " and ".join(page.name for page in pages)
            log.warning("%s: deleted %s, which showed other settings; write anew", self.output, names)

    def _truth(self, ranking: Ranking) -> tuple[GroundTruth, Axes]:
        return truth_of(self.dataset, [q.id for q in self.queries], ranking.database_ids)

    def _judge(self, ranking: Ranking, truth: GroundTruth, axes: Axes) -> Evaluation:
        settings = self.config.evaluation
        return evaluate_ranking(
            ranking,
            truth,
            axes,
            definition=settings.definition,
            k=settings.k,
            ties=settings.ties,
            metrics=settings.metrics,
            bootstrap=settings.bootstrap,
            seed=self.config.seed,
        )

    def _protocols(self, ranking: Ranking) -> dict[str, Evaluation]:
        """Judge a ranking as the authors of the benchmark do."""
        bootstrap = self.config.evaluation.bootstrap
        return judge_protocols(self.dataset, ranking, bootstrap=bootstrap, seed=self.config.seed)

    @property
    def design(self) -> str:
        """A short name of the method."""
        return cost.design(self.config)

    @_recorded
    def write_report(self, *results: RunResult, path: Path | None = None) -> Path:
        """Write the report of this experiment's result, with other runs beside it."""
        settings = self.config.report
        return write_report(
            results,
            path or self.output / "report.html",
            language=settings.language,
            gallery=settings.gallery,
            progress=self.experiment.tell("report"),
        )
