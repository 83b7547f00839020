"""Measured sizes for a forecast: nested random parts of one database, or finished runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ilion.errors import ConfigError
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_from_ids
from ilion.forecast import Measured, Run, count_distractors
from ilion.outcome import RunResult
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.search import find
from ilion.pipeline.stages.values import Extraction
from ilion.storage import fingerprint_of_ids
from ilion.types import Bool, Ranking, RetrievalDataset


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
    experiment: Experiment, extracted: Extraction, sizes: Sequence[int], seed: int
) -> list[Run]:
    """Search nested random parts of the database; nothing is described again.

    Args:
        experiment: What is measured; re-ranking takes no part.
        extracted: Descriptors of queries and the whole database.
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
        database = extracted.database.take(rows)
        part = dataclasses.replace(
            extracted,
            database=database,
            inputs={**extracted.inputs, "part": fingerprint_of_ids(database.ids)},
        )
        found = find(experiment, part)
        runs.append(
            _run(
                f"{size} distractors",
                experiment,
                found.ranking,
                Measured(
                    images=len(database),
                    queries=len(experiment.queries),
                    describe_seconds=extracted.seconds["descriptors"] / max(1, extracted.images),
                    search_seconds=found.seconds,
                    bytes_per_image=extracted.database.dim * _itemsize(experiment),
                    id_bytes=mean_bytes(database.ids),
                    peak_memory=max(found.peak_memory, extracted.peak_memory),
                ),
            )
        )
        if experiment.progress:
            experiment.progress("sizes", number + 1, len(wanted))
    return runs


def _itemsize(experiment: Experiment) -> int:
    return int(np.dtype(experiment.config.extraction.dtype).itemsize)


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


def measured_runs(results: Sequence[RunResult]) -> list[Run]:
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
