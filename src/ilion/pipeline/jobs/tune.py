"""The choice of a short code by measuring: what each costs and loses beside exact search."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.errors import ArtifactError, ConfigError
from ilion.evaluation.compare import compare
from ilion.evaluation.protocols import results_needed
from ilion.outcome import Evaluation, Interval
from ilion.pipeline.experiment import Experiment, Progress
from ilion.pipeline.jobs.run import Settings, pipeline_of
from ilion.pipeline.stages.codes import make_codes
from ilion.pipeline.stages.results import Extraction
from ilion.searching import Code, search, search_compressed
from ilion.types import Float32, Ranking, Value
from ilion.wording import counted

CODES = ("pq32", "pq64", "pq128", "rabitq", "sq4", "sq8")
"""Codes that are tried where none is named."""


LOSS = 0.005
"""mAP that the recommended code may lose, at the lower end of the interval."""


@dataclass(frozen=True)
class Trial:
    """One code with one shortlist, beside exact search.

    Args:
        code: Name of the code.
        shortlist: Rows that are refined.
        bytes_per_image: In memory while searching.
        build_seconds: Time to learn the code and code the database, in seconds; 0 where it was there.
        ms_per_query: Shortlist and refinement.
        recall: Share of the exact results that are found.
        mean: mAP.
        difference: mAP minus that of exact search.
        ci95: Paired bootstrap interval of that difference over instances.
    """

    code: str
    shortlist: int
    bytes_per_image: float
    build_seconds: float
    ms_per_query: float
    recall: float
    mean: float
    difference: float
    ci95: Interval


@dataclass(frozen=True)
class Tuning(Value):
    """What `try_codes` measured.

    Args:
        images: Rows of the database.
        k: Results a query.
        exact_bytes: Bytes of a stored descriptor.
        exact_ms: Milliseconds a query of exact search.
        exact_mean: mAP of exact search.
        trials: Codes and shortlists, in the order tried.
        loss: mAP that may be lost.
        recommended: The fastest trial whose loss is surely no greater, if it is faster than exact search.
    """

    images: int
    k: int
    exact_bytes: float
    exact_ms: float
    exact_mean: float
    trials: tuple[Trial, ...]
    loss: float
    recommended: Trial | None


def tune(
    experiment: Settings,
    codes: Sequence[str] = (),
    shortlists: Sequence[int] = (),
    loss: float = LOSS,
    progress: Progress | None = None,
) -> Tuning:
    """Measure recall, mAP, bytes and time of search through short codes, beside exact search.

    Args:
        experiment: The experiment.
        codes: Codes to try; none tries the usual ones.
        shortlists: Numbers of rows put in exact order; none tries one, two and four times the results.
        loss: mAP that the recommended code may lose, at the lower end of the interval.
        progress: Callback that receives stage, done and total.

    Raises:
        ConfigError: The queries of the data set are searched among the images of their own instance.
    """
    pipeline = pipeline_of(experiment, progress, descriptors=True)
    if pipeline.experiment.dataset.among:
        raise ConfigError(
            f"{pipeline.experiment.dataset.name}: each query is searched among the images of its own "
            "instance, always exactly, so there is no code to choose"
        )
    extracted = pipeline.extract()
    return try_codes(
        pipeline.experiment, extracted, pipeline.judge, codes=codes or CODES, shortlists=shortlists, loss=loss
    )


def try_codes(
    experiment: Experiment,
    extracted: Extraction,
    judge: Callable[[Ranking], Evaluation],
    *,
    codes: Sequence[str] = CODES,
    shortlists: Sequence[int] = (),
    loss: float = LOSS,
) -> Tuning:
    """Search exactly and through each code, and compare.

    Args:
        experiment: Settings and place.
        extracted: Descriptors of queries and database.
        judge: Evaluates a ranking.
        codes: Names of codes; those that do not fit the descriptors are left out.
        shortlists: Rows refined; by default the number of results, twice and four times as many.
        loss: mAP that the recommended code may lose.

    Raises:
        ArtifactError: The database is so small that every row is a result.
    """
    database, settings = extracted.database, experiment.config.search
    k, ids = experiment.results_kept, extracted.queries.ids
    if k >= len(database):
        # what a protocol looks at is kept whatever search.k says
        fixed = results_needed(experiment.dataset) >= len(database)
        remedy = "its benchmark looks at so many:" if fixed else "lower search.k or"
        raise ArtifactError(
            f"every one of the {counted(len(database), 'image')} is among the {counted(k, 'result')} of a "
            f"query, so there is nothing to tune; {remedy} use a larger database"
        )
    queries: Float32 = np.asarray(extracted.queries.values, np.float32)
    names = [name for name in codes if 2 * Code.parse(name).size <= database.dim or not name.startswith("pq")]
    lists = [size for size in shortlists or (k, 2 * k, 4 * k) if size <= len(database)]
    started = time.perf_counter()
    exact = search(ids, queries, database, k=k, block_size=settings.block_size, threads=settings.threads)
    exact_ms = 1e3 * (time.perf_counter() - started) / len(ids)
    baseline = judge(exact)
    trials = []
    for done, name in enumerate(names):
        started = time.perf_counter()
        made = make_codes(experiment, database, [extracted.inputs["database"]], name)
        build = time.perf_counter() - started
        for size in lists:
            started = time.perf_counter()
            found = search_compressed(
                ids, queries, database, made, k=k, shortlist=size, threads=settings.threads
            )
            ms = 1e3 * (time.perf_counter() - started) / len(ids)
            evaluation = judge(found)
            change = compare(baseline, evaluation, seed=experiment.config.seed)
            trials.append(
                Trial(
                    code=name,
                    shortlist=size,
                    bytes_per_image=made.bytes_per_row,
                    build_seconds=build,
                    ms_per_query=ms,
                    recall=_recall(exact, found),
                    mean=evaluation.mean,
                    difference=change.difference,
                    ci95=change.ci95,
                )
            )
        experiment.tell("tuning")(done + 1, len(names))
    sound = [t for t in trials if t.ci95.low >= -loss and t.ms_per_query < exact_ms]
    return Tuning(
        images=len(database),
        k=k,
        exact_bytes=float(database.dim * np.dtype(experiment.config.extraction.dtype).itemsize),
        exact_ms=exact_ms,
        exact_mean=baseline.mean,
        trials=tuple(trials),
        loss=loss,
        recommended=min(sound, key=lambda t: t.ms_per_query, default=None),
    )


def _recall(exact: Ranking, found: Ranking) -> float:
    """Return the share of exact results that were found."""
    pairs = zip(exact.indices, found.indices, strict=True)
    return float(np.mean([np.isin(a, b).mean() for a, b in pairs]))
