"""A forecast from measured sizes: nested random parts of one database, or finished runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilion.config import ExperimentConfig, check_first_stage, from_dict
from ilion.errors import ConfigError
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_from_ids
from ilion.forecast import ForecastResult, Measured, Run, count_distractors, forecast_runs
from ilion.outcome import RunResult
from ilion.pipeline.experiment import Experiment, Progress
from ilion.pipeline.jobs.run import Settings, pipeline_of
from ilion.pipeline.jobs.runs import load_run
from ilion.pipeline.stages.inverted_file import Index
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.results import Extraction
from ilion.pipeline.stages.search import find
from ilion.storage import fingerprint_of_ids
from ilion.storage.runs import read_run
from ilion.types import Bool, Ranking, RetrievalDataset, Where


def forecast(
    source: Settings | Sequence[Where],
    at: Sequence[int] = (1_000_000, 5_000_000, 100_000_000),
    sizes: Sequence[int] = (),
    *,
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
        check_first_stage("forecast", config)
        extracted = pipeline.prepare()
        assert not isinstance(extracted, Index)  # refused above
        runs = measure_parts(pipeline.experiment, extracted, sizes, config.seed)
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
        seed=config.seed,
    )
    path = Path(output or folder / "forecast.html")
    return result, write_forecast(result, path, language=config.report.language)


def distractor_rows(dataset: RetrievalDataset, database_ids: Sequence[str]) -> Bool:
    """Return (N,) which images are positive or ignored for no query, of whatever kind."""
    shown = {image for ids in (*dataset.positives.values(), *dataset.ignored.values()) for image in ids}
    return np.fromiter((image not in shown for image in database_ids), np.bool_, len(database_ids))


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
    experiment: Experiment, extracted: Extraction | Photos, sizes: Sequence[int], seed: int
) -> list[Run]:
    """Search nested random parts of the database; nothing is described again.

    Args:
        experiment: What is measured; re-ranking takes no part.
        extracted: What the first stage searches: queries and the whole database.
        sizes: Distractors of each part; empty takes `default_sizes`.
        seed: Draws the order in which distractors join.

    Raises:
        ConfigError: A size is larger than the database.
    """
    is_distractor = distractor_rows(experiment.dataset, extracted.database.ids)
    joining = np.random.default_rng(seed).permutation(np.flatnonzero(is_distractor))
    wanted = sorted(set(sizes)) or default_sizes(len(joining))
    if wanted[-1] > len(joining):
        raise ConfigError(
            f"--sizes asks for {wanted[-1]} distractors; the database has {len(joining)} (images that are "
            "positive or ignored for no query)"
        )
    runs = []
    for number, size in enumerate(wanted):
        rows = np.sort(np.concatenate([np.flatnonzero(~is_distractor), joining[:size]]))
        database: Any = extracted.database.take(rows)
        part = dataclasses.replace(
            extracted,
            database=database,
            inputs={**extracted.inputs, "part": fingerprint_of_ids(database.ids)},
        )
        found = find(experiment, part)
        # the local search counts its ids among what it stores of a photo
        own_ids = mean_bytes(database.ids) if isinstance(extracted, Photos) else 0.0
        runs.append(
            _run(
                f"{size} distractors",
                experiment,
                found.ranking,
                Measured(
                    images=len(database),
                    queries=len(experiment.queries),
                    describe_seconds=extracted.image_seconds / max(1, extracted.images),
                    search_seconds=found.seconds,
                    bytes_per_image=extracted.bytes_per_image - own_ids,
                    id_bytes=mean_bytes(database.ids),
                    peak_memory=max(found.peak_memory, extracted.peak_memory),
                ),
            )
        )
        if experiment.progress:
            experiment.progress("sizes", number + 1, len(wanted))
    return runs


def _run(name: str, experiment: Experiment, ranking: Ranking, measured: Measured) -> Run:
    dataset, settings = experiment.dataset, experiment.config.evaluation
    queries = [q.id for q in experiment.queries]
    instances = [q.instance for q in experiment.queries]
    truth = truth_from_ids(
        queries,
        ranking.database_ids,
        {q: dataset.positives[q] for q in queries},
        {q: dataset.ignored[q] for q in queries if q in dataset.ignored},
    )
    result = evaluate(ranking, truth, definition=settings.definition, k=settings.k, bootstrap=1)
    mask = distractor_rows(dataset, ranking.database_ids)
    return Run(name, count_distractors(ranking, truth, instances, mask), result.mean, measured)


def measure_runs(results: Sequence[RunResult]) -> list[Run]:
    """Turn finished runs of one experiment at several sizes into measured sizes.

    Raises:
        ConfigError: The runs differ in queries, cut-off, definition or method, or were re-ranked.
    """
    first = _method(results[0])
    runs = []
    for result in results:
        evaluation = result.evaluation
        if _method(result) != first:
            raise ConfigError(
                f"the runs {results[0].name!r} and {result.name!r} differ in queries, definition, cut-off or "
                "method; a forecast needs one experiment at several sizes"
            )
        if result.reranking is not None:
            raise ConfigError(
                f"the run {result.name!r} was re-ranked; a forecast is made of the first stage: run it with "
                "--set rerank.features=none"
            )
        ids = result.ranking.database_ids
        cost = result.cost
        mask = distractor_rows(result.dataset, ids)
        runs.append(
            Run(
                result.name,
                count_distractors(result.ranking, result.ground_truth, evaluation.instances, mask),
                evaluation.mean,
                Measured(
                    images=len(ids),
                    queries=len(evaluation.query_ids),
                    describe_seconds=cost.extraction_ms_per_image / 1e3,
                    search_seconds=cost.stage_seconds["search"],
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
