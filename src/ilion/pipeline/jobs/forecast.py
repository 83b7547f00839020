"""A forecast from measured sizes: nested random parts of one database, or finished runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilion.config import ExperimentConfig, from_dict, settle
from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_from_ids
from ilion.forecast import (
    SIZES,
    ForecastResult,
    Measured,
    Run,
    StagePlan,
    count_distractors,
    forecast_runs,
    plan_stages,
)
from ilion.forecast.distractors import DistractorCounts
from ilion.forecast.shortlists import ShortlistCounts, count_shortlists
from ilion.outcome import RunResult
from ilion.pipeline.experiment import Experiment, Progress
from ilion.pipeline.jobs.run import Settings, pipeline_of
from ilion.pipeline.jobs.runs import load_run
from ilion.pipeline.stages.inverted_file import Index
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.plan_rerank import LocalPlan, plan_local
from ilion.pipeline.stages.rerank import LocalStage, extract_local, rerank_stage
from ilion.pipeline.stages.results import Extraction
from ilion.pipeline.stages.search import find
from ilion.storage import fingerprint_of_ids
from ilion.storage.runs import read_run
from ilion.types import Bool, GroundTruth, Ranking, RetrievalDataset, Where
from ilion.wording import counted


def forecast(
    source: Settings | Sequence[Where],
    at: Sequence[int] = (1_000_000, 5_000_000, 100_000_000),
    sizes: Sequence[int] = (),
    *,
    stages: Sequence[int] = (),
    per_hour: float | None = None,
    per_gigabyte_month: float | None = None,
    months: float | None = None,
    currency: str | None = None,
    output: Where | None = None,
    progress: Progress | None = None,
) -> tuple[ForecastResult, Path]:
    """Forecast mAP, time, memory, disk and price at larger databases.

    Args:
        source: An experiment, which is measured at several sizes on the fly, or a list of the output
            folders of finished runs of one experiment.
        at: Numbers of distractors to forecast for.
        sizes: Numbers of distractors to measure, for an experiment; empty takes a tenth, a third and all.
        stages: Further sizes to forecast for, as numbers of all database images.
        per_hour: Price of an hour of the machine; None takes that of the experiment.
        per_gigabyte_month: Price of a gigabyte of disk for a month; None takes that of the experiment.
        months: Months that the database is kept; None takes that of the experiment.
        currency: Currency of the prices; None takes that of the experiment.
        output: The page to write; by default ``forecast.html`` in the output folder.
        progress: Callback that receives a stage, steps done and steps in all.

    Returns:
        The forecast and the path of its page.

    Raises:
        ConfigError: The runs do not belong together, or no size is above the measured ones.
        ArtifactError: There are too few distractors.
    """
    from ilion.report.forecast import write_forecast

    if isinstance(source, ExperimentConfig | str | Path):
        pipeline = pipeline_of(source, progress)
        config = pipeline.config
        check_parts_can_be_measured(config)
        plan = plan_local(config) if config.rerank.features != "none" else None
        extracted = pipeline.prepare()
        assert not isinstance(extracted, Index)  # refused above
        local = None if plan is None else (plan, extract_local(pipeline.experiment, plan))
        runs = measure_parts(pipeline.experiment, extracted, sizes, config.seed, local)
        name, design, dataset = config.name, pipeline.design, pipeline.dataset.name
        machine, folder = extracted.machine, Path(config.output)
    else:
        if not source:
            raise ConfigError("name an experiment, or at least one run folder")
        if sizes:
            raise ConfigError("--sizes is for an experiment; finished runs have the sizes that they have")
        results = [load_run(path) for path in source]
        runs = measure_runs(results)
        name, design, dataset = results[0].name, results[0].design, results[0].dataset.name
        machine, folder = results[0].cost.machine, Path(source[0])
        config = from_dict(ExperimentConfig, read_run(folder)["provenance"]["config"])
    given: dict[str, Any] = {
        "hour": per_hour,
        "gigabyte_month": per_gigabyte_month,
        "months": months,
        "currency": currency,
    }
    prices = dataclasses.replace(
        config.price, **{name: value for name, value in given.items() if value is not None}
    )
    if (prices.hour or prices.gigabyte_month) and not prices.currency:
        raise ConfigError(
            "a price needs a currency: give --currency EUR, or price.currency in the experiment"
        )
    result = forecast_runs(
        runs,
        at,
        name=name,
        dataset=dataset,
        design=design,
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        prices=prices,
        machine=f"{machine.cpu}, {machine.cores} cores",
        stages=stages,
        seed=config.seed,
    )
    path = Path(output or folder / "forecast.html")
    return result, write_forecast(result, path, language=config.report.language)


def stages_of(
    result: RunResult, sizes: Sequence[int] = SIZES, growth: Mapping[int, float] | None = None
) -> StagePlan:
    """Plan the growth of a finished run's database in stages, at the prices of its experiment.

    Args:
        result: The run.
        sizes: Database images of the stages.
        growth: Database images -> milliseconds of a query, if that was timed
            (`ilion.pipeline.jobs.growth.time_growth`).

    Raises:
        ConfigError: The run cannot be forecast, or no stage is larger than what was measured.
        ArtifactError: There are too few distractors.
    """
    config = settle(from_dict(ExperimentConfig, result.provenance["config"]))  # type: ignore[arg-type]
    machine = result.cost.machine
    [run] = measure_runs([result])
    timed = tuple((images, ms / 1e3) for images, ms in (growth or {}).items())
    run = dataclasses.replace(run, measured=dataclasses.replace(run.measured, growth=timed))
    found = forecast_runs(
        [run],
        (),
        name=result.name,
        dataset=result.dataset.name,
        design=result.design,
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        prices=config.price,
        machine=f"{machine.cpu}, {machine.cores} cores",
        stages=sizes,
        replicates=100,
        seed=config.seed,
    )
    return plan_stages(found, sizes)


def distractor_rows(dataset: RetrievalDataset, database_ids: Sequence[str]) -> Bool:
    """Return (N,) which images are positive or ignored for no query, of whatever kind."""
    shown = {image for ids in (*dataset.positives.values(), *dataset.ignored.values()) for image in ids}
    return np.fromiter((image not in shown for image in database_ids), np.bool_, len(database_ids))


def check_parts_can_be_measured(config: ExperimentConfig) -> None:
    """Check that parts of the database of an experiment can be searched by themselves.

    Raises:
        ConfigError: The design reads words, or searches by ASMK.
    """
    for setting, value, plain in (
        ("reading.use", config.reading.use, "none"),
        ("search.method", "asmk" if config.search.method == "asmk" else "auto", "auto"),
    ):
        if value != plain:
            raise ConfigError(
                f"'ilion forecast' of an experiment searches parts of its database, which {setting} = "
                f"{value} cannot; run the experiment and forecast the finished run: ilion forecast RUN"
            )


def mean_bytes(ids: Sequence[str]) -> float:
    """Return the mean length of ids in UTF-8.

    >>> mean_bytes(["a", "ü", "abc"])
    2.0
    """
    return sum(len(name.encode()) for name in ids) / max(len(ids), 1)


def default_sizes(available: int) -> tuple[int, ...]:
    """Return a tenth, a third and all, as far as that is enough.

    >>> default_sizes(1500)
    (150, 500, 1500)
    >>> default_sizes(250)
    (250,)
    """
    return (*(size for size in (available // 10, available // 3) if size >= 100), available)


def measure_parts(
    experiment: Experiment,
    extracted: Extraction | Photos,
    sizes: Sequence[int],
    seed: int,
    local: tuple[LocalPlan, LocalStage] | None = None,
) -> list[Run]:
    """Search nested random parts of the database; nothing is described again.

    Args:
        experiment: Experiment to measure.
        extracted: Input of the first stage: queries and the whole database.
        sizes: Distractors of each part; empty takes `default_sizes`.
        seed: Draws the order in which distractors join.
        local: Local features to re-rank by; None leaves re-ranking out.

    Raises:
        ConfigError: A size is larger than the database.
    """
    is_distractor = distractor_rows(experiment.dataset, extracted.database.ids)
    joining = np.random.default_rng(seed).permutation(np.flatnonzero(is_distractor))
    wanted = sorted(set(sizes)) or default_sizes(len(joining))
    if wanted[-1] > len(joining):
        raise ConfigError(
            f"--sizes asks for {counted(wanted[-1], 'distractor')}; the database has {len(joining)} (images "
            "that are positive or ignored for no query)"
        )
    whole: Any = extracted.database
    runs = []
    for number, size in enumerate(wanted):
        rows = np.sort(np.concatenate([np.flatnonzero(~is_distractor), joining[:size]]))
        database = whole.take(rows)
        part = dataclasses.replace(
            extracted,
            database=database,
            inputs={**extracted.inputs, "part": fingerprint_of_ids(database.ids)},
        )
        found = find(experiment, part)
        # the local search counts its ids among what it stores of a photo
        own_ids = mean_bytes(database.ids) if isinstance(extracted, Photos) else 0.0
        measured = Measured(
            images=len(database),
            queries=len(experiment.queries),
            describe_seconds=extracted.image_seconds / max(1, extracted.images),
            search_seconds=found.seconds,
            bytes_per_image=extracted.bytes_per_image - own_ids,
            id_bytes=mean_bytes(database.ids),
            peak_memory=max(found.peak_memory, extracted.peak_memory),
        )
        after = None
        if local is not None:
            plan, stage = local
            truth = _truth(experiment, found.ranking)
            instances = [query.instance for query in experiment.queries]
            after = rerank_stage(experiment, plan, stage, found.ranking, found.fingerprint, truth, instances)
            per_image = stage.seconds["local features"] / max(1, stage.images)
            measured = dataclasses.replace(
                measured,
                describe_seconds=measured.describe_seconds + per_image,
                search_seconds=measured.search_seconds + after.seconds,
                bytes_per_image=measured.bytes_per_image + stage.database.bytes_per_image,
                peak_memory=max(measured.peak_memory, stage.peak_memory, after.peak_memory),
            )
        reranked = None if after is None else after.ranking
        runs.append(_run(counted(size, "distractor"), experiment, found.ranking, reranked, measured))
        if experiment.progress:
            experiment.progress("sizes", number + 1, len(wanted))
    return runs


def _truth(experiment: Experiment, ranking: Ranking) -> GroundTruth:
    dataset, queries = experiment.dataset, [query.id for query in experiment.queries]
    return truth_from_ids(
        queries,
        ranking.database_ids,
        {q: dataset.positives[q] for q in queries},
        {q: dataset.ignored[q] for q in queries if q in dataset.ignored},
    )


def _run(
    name: str, experiment: Experiment, ranking: Ranking, reranked: Ranking | None, measured: Measured
) -> Run:
    config = settle(experiment.config)
    instances = [q.instance for q in experiment.queries]
    truth = _truth(experiment, ranking)
    result = evaluate(
        reranked or ranking,
        truth,
        definition=config.evaluation.definition,
        k=config.evaluation.k,
        bootstrap=1,
    )
    mask = distractor_rows(experiment.dataset, ranking.database_ids)
    counts = _counts(config, ranking, reranked, truth, instances, mask)
    return Run(name, counts, result.mean, measured)


def _counts(
    config: ExperimentConfig,
    ranking: Ranking,
    reranked: Ranking | None,
    truth: GroundTruth,
    instances: Sequence[str],
    mask: Bool,
) -> DistractorCounts | ShortlistCounts:
    """Count distractors above positives, in both stages of a re-ranked design.

    Raises:
        ConfigError: Scores are places among others, or answers about the first results.
    """
    if config.ask.asks:
        raise ConfigError(
            "a model was asked about the first results (section ask), which are others in a larger database; "
            "forecast the design without it"
        )
    cosines = config.reading.use == "none" and config.search.method not in ("local", "asmk")
    cosines &= not config.search.projection
    if reranked is None:
        return count_distractors(ranking, truth, instances, mask, cosines=cosines)
    if config.rerank.fusion == "rank":
        raise ConfigError(
            "rerank.fusion = rank scores a photo by its place among the others, so that its score in a "
            "larger database is another one; a forecast needs rerank.fusion = score or calibrated"
        )
    return count_shortlists(
        ranking, reranked, config.rerank.shortlist, truth, instances, mask, cosines=cosines
    )


def measure_runs(results: Sequence[RunResult]) -> list[Run]:
    """Turn finished runs of one experiment at several sizes into measured sizes.

    Raises:
        ConfigError: The runs differ in queries, cut-off, definition or method, or were re-ranked by ranks.
        ArtifactError: The ranking before re-ranking is gone.
    """
    method = _method(results[0])
    runs = []
    for result in results:
        evaluation = result.evaluation
        if _method(result) != method:
            raise ConfigError(
                f"the runs {results[0].name!r} and {result.name!r} differ in queries, definition, cut-off or "
                "method; a forecast needs one experiment at several sizes"
            )
        config = settle(from_dict(ExperimentConfig, result.provenance["config"]))  # type: ignore[arg-type]
        first, reranked = result.ranking, None
        if config.rerank.features != "none" and result.reranking is not None:
            if result.reranking.ranking is None:
                raise ArtifactError(
                    f"the run {result.name!r} was re-ranked, and its ranking before is gone; run it again"
                )
            first, reranked = result.reranking.ranking, result.ranking
        ids, cost = result.ranking.database_ids, result.cost
        mask = distractor_rows(result.dataset, ids)
        runs.append(
            Run(
                result.name,
                _counts(config, first, reranked, result.ground_truth, evaluation.instances, mask),
                evaluation.mean,
                Measured(
                    images=len(ids),
                    queries=len(evaluation.query_ids),
                    describe_seconds=cost.extraction_ms_per_image / 1e3,
                    search_seconds=cost.search_ms_per_query * len(evaluation.query_ids) / 1e3,
                    bytes_per_image=cost.bytes_per_image,
                    id_bytes=mean_bytes(ids),
                    peak_memory=cost.peak_memory_bytes,
                ),
            )
        )
    return runs


def _method(result: RunResult) -> tuple[object, ...]:
    """What runs must share to be one experiment at several sizes."""
    evaluation = result.evaluation
    return (evaluation.query_ids, evaluation.k, evaluation.definition, result.design)
