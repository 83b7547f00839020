"""Set the threshold of a run: ask its queries again without their objects, and find what may be promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ilion.config import ExperimentConfig, from_dict
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError, UnwritableError
from ilion.evaluation.truth import truth_from_ids
from ilion.pipeline.asking import Described, Ready
from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.search import keep_rows
from ilion.poc.threshold import Promise, Searches, Tradeoff, promise, trade_off
from ilion.storage.runs import FORMAT, read_run, write_threshold
from ilion.types import Int64, Ranking, Where


def measure_searches(run: Where, progress: Progress | None = None) -> Searches:
    """Ask the queries of a finished run again, with their objects in the database and without.

    The design is the one that is served (`Design.of_run`). Nothing is described again. Without its object
    means without all photos that are positive or ignored for a query of the object; the search is repeated
    among the other photos by all stages, since scores may depend on them (query expansion, shortlists, places
    among those verified). What was learnt from the whole database before the first search (a codebook, how
    common a visual word is) stays.

    Args:
        run: Output folder of the run.
        progress: Callback that receives stage, done and total.

    Raises:
        ConfigError: The search of the run cannot be repeated without some photos.
        ArtifactError: The folder holds no finished run, or its artifacts are gone.
    """
    folder = Path(run)
    config = from_dict(ExperimentConfig, read_run(folder)["provenance"]["config"])
    design = Design.without_threshold(folder)
    config = replace(config, rerank=design.rerank, reading=design.reading)
    if config.search.database_expansion_top:
        raise ConfigError(
            f"{folder}: search.database_expansion_top mixes each photo with its neighbours, photos of the "
            "asked object among them, so the object cannot be kept out; run without it to set a threshold"
        )
    pipeline = Pipeline(config, progress, sealed=True)
    if pipeline.dataset.among:
        raise ConfigError(
            f"{folder}: each query is searched among the photos of its own object only, so there is no "
            "search without it"
        )
    try:
        ready = Ready(pipeline)
    except UnwritableError:
        raise
    except ArtifactError as error:
        raise ArtifactError(
            f"{folder}: not all of it is described as it is now ({error}); run it again"
        ) from error
    described, data = ready.stored(), pipeline.dataset
    queries = described.queries
    truth = truth_from_ids(
        [query.id for query in queries],
        ready.ids,
        {query.id: data.positives[query.id] for query in queries},
        {query.id: data.ignored.get(query.id, ()) for query in queries},
    )
    everything = np.arange(len(ready.ids))
    present, absent = np.full((2, len(queries)), -np.inf, np.float32)
    right = np.zeros(len(queries), np.bool_)
    hidden: dict[str, Int64] = {}
    objects: dict[str, list[int]] = {}
    for number, query in enumerate(queries):
        objects.setdefault(query.instance, []).append(number)
    for name, numbers in objects.items():
        hidden[name] = np.unique(
            np.concatenate([rows[n] for n in numbers for rows in (truth.positives, truth.ignored)])
        )
    # inner products of other photos are the same with and without the object's
    alone = config.search.method == "exact" and config.search.expansion == "none"
    alone &= not config.search.projection
    alone &= config.reading.use == "none" and config.rerank.features == "none"
    for numbers in _by_kind(described, range(len(queries))):
        ranking = ready.answer(described.take(numbers)).ranking
        for line, number in enumerate(numbers):
            one = ranking.take([ranking.query_ids[line]])
            row, present[number] = _first(one, np.delete(everything, truth.ignored[number]))
            right[number] = row in truth.positives[number]
            if alone:
                _, absent[number] = _first(one, np.delete(everything, hidden[queries[number].instance]))
    tell = pipeline.experiment.tell("without the object")
    for done, (name, numbers) in enumerate(objects.items(), start=1):
        allowed = np.delete(everything, hidden[name])
        for some in _by_kind(described, [n for n in numbers if absent[n] == -np.inf]):
            ranking = ready.answer(described.take(some), allowed).ranking
            for line, number in enumerate(some):
                _, absent[number] = _first(ranking.take([ranking.query_ids[line]]), allowed)
        tell(done, len(objects))
    reachable = np.flatnonzero([len(rows) > 0 for rows in truth.positives])
    searches = Searches(
        tuple(query.instance for query in queries),
        tuple(query.id for query in queries),
        present,
        right,
        absent,
        len(queries) - len(reachable),
    )
    return searches.take(reachable)


def set_threshold(
    run: Where,
    risk: float = 0.05,
    confidence: float = 0.9,
    absent_share: float | None = None,
    progress: Progress | None = None,
    searches: Searches | None = None,
) -> Promise:
    """Find the threshold of a run that keeps a promise about wrong answers, and write it into the run.

    Where nothing can be promised, the run has no threshold afterwards.

    Args:
        run: Output folder of the run.
        risk: Largest share of searches that may end in an accepted wrong answer.
        confidence: Probability with which this is to hold.
        absent_share: Share of the searches whose object is absent; None promises for absent and for present
            objects each, and so for any share.
        progress: Callback that receives stage, done and total.
        searches: Searches of the run by `measure_searches`; None measures them.

    Raises:
        ConfigError: A number is out of its range, or the search cannot be repeated without some photos.
        ArtifactError: The folder holds no finished run, or its artifacts are gone.
    """
    for name, value in (("risk", risk), ("confidence", confidence)):  # before anything is searched
        if not 0.0 < value < 1.0:
            raise ConfigError(f"{name} must lie between 0 and 1, such as 0.05; got {value}")
    found = promise(searches or measure_searches(run, progress), risk, confidence, absent_share)
    _write(Path(run), found.threshold, found)
    return found


def set_by_hand(run: Where, threshold: float, progress: Progress | None = None) -> Tradeoff:
    """Write a threshold that a person chose into a run, and return what it does; nothing is promised of it.

    Args:
        run: Output folder of the run.
        threshold: Smallest score that is accepted.
        progress: Callback that receives stage, done and total.

    Raises:
        ConfigError: The threshold is no number, or the search cannot be repeated without some photos.
        ArtifactError: The folder holds no finished run, or its artifacts are gone.
    """
    if not np.isfinite(threshold):
        raise ConfigError(f"a threshold must be a number, got {threshold}")
    found = trade_off(measure_searches(run, progress), [threshold])[0]
    _write(Path(run), threshold, None)
    return found


def _write(folder: Path, threshold: float | None, found: Promise | None) -> None:
    write_threshold(
        folder,
        {
            "format": FORMAT,
            "design": Design.without_threshold(folder).digest,
            "fingerprints": read_run(folder)["provenance"]["fingerprints"],
            "threshold": threshold,
            "promise": None if found is None else asdict(found),
        },
    )


def _by_kind(described: Described, numbers: Sequence[int]) -> list[list[int]]:
    """Part queries into photos and texts, which are asked apart."""
    kinds = [[n for n in numbers if (described.queries[n].image is None) == text] for text in (False, True)]
    return [kind for kind in kinds if kind]


def _first(ranking: Ranking, allowed: Int64) -> tuple[int, float]:
    """Return row and score of the first result of one query among some rows; -1 and -inf without any."""
    kept = keep_rows(ranking, allowed, 1)
    return (int(kept.indices[0, 0]), float(kept.similarities[0, 0])) if kept.counts[0] else (-1, -np.inf)
