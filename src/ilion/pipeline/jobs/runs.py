"""Look at runs: load them, report and compare finished ones, and say how far one is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ilion import storage
from ilion.audit.suspects import noted_audit
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, ConfigError, DatasetError, IlionError
from ilion.evaluation.compare import Comparison
from ilion.evaluation.compare import compare as compare_evaluations
from ilion.evaluation.truth import truth_of
from ilion.outcome import Cost, Evaluation, MissingShard, Reading, Reranking, RunResult, Skipped
from ilion.pipeline.experiment import Progress
from ilion.pipeline.explain import photos
from ilion.pipeline.explain.reading import reread_reading
from ilion.pipeline.explain.reranking import reread_reranking
from ilion.pipeline.order import Pipeline
from ilion.runtime import machine
from ilion.storage.runs import from_plain, read_asked, read_evaluation, read_run
from ilion.tasks import StageStatus, read_status
from ilion.types import RetrievalDataset, Where
from ilion.wording import languages

log = logging.getLogger(__name__)


def load_run(folder: Where) -> RunResult:
    """Load a finished run with its data set and ranking, for a report.

    Queries and ground truth are those of the run, whatever became of its data set since; photos that are no
    longer there have no source.

    Args:
        folder: Output folder of the run.

    Raises:
        ArtifactError: The run or its ranking is missing or damaged.
        DatasetError: The run is of an earlier version, and its data set is not where it was.
    """
    folder = Path(folder)
    plain = read_run(folder)
    try:
        config = from_dict(ExperimentConfig, plain["provenance"]["config"])
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ArtifactError(
            f"{folder}: its settings are not those of this version ({error}); run the experiment again"
        ) from error
    pipeline = Pipeline(config, finished=True)
    ranking = storage.read_ranking(folder / "ranking")
    evaluation = from_plain(Evaluation, plain["evaluation"])
    asked = read_asked(folder, Path(config.dataset.path))
    try:
        dataset = pipeline.dataset
    except IlionError as error:
        if asked is None:
            raise DatasetError(
                f"{error}; the report of {folder} reads queries and ground truth from the run's data set: "
                "put it back where it was, or run again (photos of the database may be gone, they become "
                "grey fields)"
            ) from error
        log.warning("%s; its photos are shown as grey fields", error)
        dataset = asked
    if asked is not None:
        dataset = _as_it_was(dataset, asked)
        pipeline = Pipeline(config, finished=True, dataset=dataset)
    truth, _ = truth_of(dataset, evaluation.query_ids, ranking.database_ids)
    noted = noted_audit(folder, evaluation.mean)
    reranking = None
    if "reranking" in plain:
        stored = from_plain(Reranking, plain["reranking"])
        reread = photos.reread_verified if stored.fusion == photos.VERIFIED else reread_reranking
        reranking = reread(pipeline.experiment, stored)
    reading = None
    if "reading" in plain:
        reading = reread_reading(pipeline.experiment, from_plain(Reading, plain["reading"]), ranking)
    return RunResult(
        name=plain["name"],
        design=plain["design"],
        dataset=dataset,
        ranking=ranking,
        ground_truth=truth,
        evaluation=evaluation,
        cost=from_plain(Cost, plain["cost"]),
        skipped=tuple(from_plain(Skipped, each) for each in plain["skipped"]),
        provenance=plain["provenance"] | ({"audit": noted} if noted else {}),
        reranking=reranking,
        reading=reading,
        missing=tuple(from_plain(MissingShard, each) for each in plain.get("missing", [])),
        protocols={name: from_plain(Evaluation, each) for name, each in plain.get("protocols", {}).items()},
    )


def _as_it_was(now: RetrievalDataset, asked: RetrievalDataset) -> RetrievalDataset:
    """Return a data set with the queries and the ground truth that a run asked, and the photos of today."""
    photos = {query.id: query.image for query in now.queries if query.image is not None}
    queries = tuple(
        replace(query, image=photos.get(query.id, query.image)) if query.image else query
        for query in asked.queries
    )
    return replace(
        now, queries=queries, positives=asked.positives, ignored=asked.ignored, labels=asked.labels
    )


def report(
    runs: Sequence[Where], output: Where | None = None, progress: Progress | None = None, language: str = ""
) -> Path:
    """Write a report of finished runs; the best is shown in full, the others beside it.

    Args:
        runs: Output folders of runs on the same queries.
        output: The file to write; by default ``report.html`` in the first run's folder.
        progress: Callback that receives stage, done and total.
        language: Language of the text, such as ``ja``; "" means that of the first run's settings.

    Raises:
        ConfigError: No run is named, or there is no such language.
    """
    if not runs:
        raise ConfigError("name at least one run folder")
    if language and language not in languages("report"):
        raise ConfigError(
            f"the report has no language {language!r}; choose of {', '.join(languages('report'))}"
        )
    results = [load_run(folder) for folder in runs]
    config = from_dict(ExperimentConfig, results[0].provenance["config"])  # type: ignore[arg-type]
    if language:
        config = replace(config, report=replace(config.report, language=language))  # type: ignore[arg-type]
    path = Path(output or Path(runs[0]) / "report.html")
    pipeline = Pipeline(config, progress, finished=True, dataset=results[0].dataset)
    return pipeline.write_report(*results, path=path)


def compare(
    a: Evaluation | RunResult | Where, b: Evaluation | RunResult | Where, seed: int = 0, metric: str = ""
) -> Comparison:
    """Compare two evaluations or finished runs query by query.

    Args:
        a: The baseline: an evaluation, a result, or the output folder of a run.
        b: The same of what may be better.
        seed: Seed of the interval and the test.
        metric: Metric to compare, such as ``P@10``; "" compares AP@k.

    Raises:
        ArtifactError: Queries, objects, definition or cut-off differ.
    """
    return compare_evaluations(_evaluation(a), _evaluation(b), metric=metric, seed=seed)


def compare_environments(a: Where, b: Where) -> tuple[str, ...]:
    """Say in which libraries, processor and instructions two finished runs differ.

    What one of them does not tell, such as a run of an earlier version, is left out.

    Args:
        a: Output folder of a run.
        b: Output folder of another run.
    """
    one, two = (read_run(Path(folder))["provenance"].get("environment", {}) for folder in (a, b))
    return machine.compare_environments(one, two)


def _evaluation(judged: Evaluation | RunResult | Where) -> Evaluation:
    if isinstance(judged, str | Path):
        return read_evaluation(Path(judged))
    return judged.evaluation if isinstance(judged, RunResult) else judged


def status(run: Where) -> tuple[StageStatus, ...]:
    """Say how far a run is, stage by stage, from its files alone: going on elsewhere, ended or dead.

    Args:
        run: Output folder of the run.

    Raises:
        ArtifactError: No run was started there.
    """
    return read_status(Path(run))
