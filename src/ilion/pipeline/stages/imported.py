"""Descriptors and results of others in place of the first stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilion.datasets.ids import IdSet, matches_nothing, read_ids
from ilion.datasets.names import NameIndex
from ilion.datasets.shards import IdShard
from ilion.descriptors.base import ExtractorSpec
from ilion.errors import ConfigError, DatasetError
from ilion.interop.features import Partition, write_features
from ilion.interop.imported import DATABASE, Imported, open_imported
from ilion.interop.results import Results, align_ids, check_ids, to_ranking
from ilion.outcome import Cost
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.results import Extraction, Search
from ilion.runtime.machine import machine, peak_memory
from ilion.storage import DescriptorSet, fingerprint, fingerprint_of_ids
from ilion.types import Descriptors, Int64
from ilion.wording import agree, counted

SHARDS_A_FILE = 10
"""Of distractors, in one feature file, like the benchmark's own."""
_ASKED: tuple[Partition, ...] = ("image_queries", "text_queries")
UNKNOWN = float("nan")
"""A cost that nobody measured here."""


def describe_imported(experiment: Experiment, folder: Path, model: Mapping[str, Any]) -> Extraction:
    """Take queries and database from imported descriptors, matched by id.

    Args:
        experiment: Experiment whose data set names queries and ground truth. The database is all that was
            imported (positives and distractors), or, with a subset, the positives and what it lists.
        folder: Folder that ``ilion import features`` made.
        model: Name and spec of the model, as far as they are known.

    Raises:
        DatasetError: A query has no descriptor, or the database is empty.
        ConfigError: The folder holds no imported descriptors, or a photo is asked together with its text.
    """
    found = open_imported(folder)
    experiment.note(*found.notes)
    stored = found.descriptors(*DATABASE)
    database = _as_named(experiment, stored, folder)
    subset = experiment.config.dataset.subset
    if subset:
        database = database.take(_subset(experiment, database, Path(subset)))
    else:
        _note_lacking(experiment, found)
    if not len(database):
        raise DatasetError(f"{folder}: no positives or distractors were imported; there is nothing to search")
    queries, keys = _queries(experiment, found)
    whole = not subset and database is stored
    chosen = "all" if whole else fingerprint_of_ids(database.ids)
    database_keys = [key for partition in DATABASE for key in found.partitions.get(partition, ())]
    return Extraction(
        queries=queries,
        database=database,
        inputs={
            "database": [found.artifact.fingerprint, *database_keys, chosen],
            "queries": [found.artifact.fingerprint, *keys, fingerprint(queries.ids)],
        },
        skipped=(),
        seconds={"descriptors": UNKNOWN, "queries": UNKNOWN},
        reused=(),
        images=len(database),
        peak_memory=peak_memory(),
        machine=machine(),
        model=model,
    )


def take_results(experiment: Experiment, results: Results, k: int) -> Search:
    """Return the results of others as if a search had given them.

    Args:
        experiment: Experiment; its ground truth says what belongs to the database although no query found it.
        results: Content of the file.
        k: Results kept for a query.
    """
    dataset = experiment.dataset
    named = {i for ids in (*dataset.positives.values(), *dataset.ignored.values()) for i in ids}
    queries = [query.id for query in dataset.queries]
    results = align_ids(results, named, queries)
    experiment.note(*results.notes, *check_ids(results, named, queries))
    ranking = to_ranking(results, named, k)
    digest = fingerprint(ranking.query_ids, ranking.database_ids, ranking.indices.tolist())
    return Search(ranking, Path(experiment.config.output) / "ranking", digest, UNKNOWN, False, peak_memory())


def unknown_model(name: str) -> ExtractorSpec:
    """Return the spec of a model of which nothing is known but a name."""
    return ExtractorSpec(
        name, "imported", "", 0, "none", 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "unknown", "unknown"
    )


def unknown_cost() -> Cost:
    """Return the cost of a run whose results were made elsewhere."""
    return Cost(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, peak_memory(), {}, (), machine())


def export_features(
    experiment: Experiment, extracted: Extraction, folder: Path, dtype: str | None
) -> list[Path]:
    """Write descriptors as feature files of the benchmark.

    Args:
        experiment: Experiment whose ground truth tells positives (and ignored images) from distractors.
        extracted: The descriptors.
        folder: Folder that the files are written to.
        dtype: Stored type; None keeps it.

    Returns:
        The files: image queries, text queries (each if there are any), positives, distractors of ten shards
        each.
    """
    dataset, written = experiment.dataset, []
    texts = {query.id for query in experiment.queries if query.image is None}
    for kind, wanted in (("image", False), ("text", True)):
        rows = [row for row, query in enumerate(extracted.queries.ids) if (query in texts) == wanted]
        if rows:
            ids = tuple(extracted.queries.ids[row] for row in rows)
            path = folder / f"features_{kind}_queries.hdf5"
            write_features(path, [Descriptors(ids, extracted.queries.values[rows])], dtype)
            written.append(path)
    named = {i for ids in (*dataset.positives.values(), *dataset.ignored.values()) for i in ids}

    def part(shards: range, wanted: bool) -> Iterator[Descriptors]:
        for shard in shards:
            for block in extracted.database.read_shard(shard):
                rows = [row for row, i in enumerate(block.ids) if (i in named) == wanted]
                if rows:
                    yield Descriptors(tuple(block.ids[row] for row in rows), block.values[rows])

    count = extracted.database.shards
    steps = [(range(count), True, "features_positives.hdf5")]
    for number, start in enumerate(range(0, count, SHARDS_A_FILE)):
        some = range(start, min(start + SHARDS_A_FILE, count))
        steps.append((some, False, f"features_distractors_{number:05d}.hdf5"))
    for shards, wanted, name in steps:
        if next(part(shards, wanted), None) is not None:
            write_features(folder / name, part(shards, wanted), dtype)
            written.append(folder / name)
    return written


def _subset(experiment: Experiment, database: DescriptorSet, path: Path) -> Int64:
    """Return the rows of what the ground truth names or a file lists.

    Raises:
        DatasetError: None of the listed ids has a descriptor.
    """
    dataset = experiment.dataset
    listed = IdSet(read_ids(path))
    always = {i for ids in (*dataset.positives.values(), *dataset.ignored.values()) for i in ids}
    taken = np.fromiter(
        (listed.take(i, i.partition("/")[2]) or i in always for i in database.ids), np.bool_, len(database)
    )
    if not listed.found:
        raise matches_nothing(path, listed, next(read_ids(path)))
    if listed.found < len(listed):
        missing = len(listed) - listed.found
        experiment.note(
            f"{path}: {missing:,} of {counted(len(listed), 'id')} {agree(missing, 'has', 'have')} "
            f"no descriptor, such as {next(listed.missing(read_ids(path)))!r}"
        )
    return np.flatnonzero(taken)


def _note_lacking(experiment: Experiment, found: Imported) -> None:
    """Note that fewer distractors were imported than the data set lists: it would look easier than it is."""
    shards = experiment.dataset.database
    lists = (shard.ids for shard in shards if isinstance(shard, IdShard) and isinstance(shard.ids, Path))
    listed, there = sum(1 for path in lists for _ in read_ids(path)), found.rows.get("distractors", 0)
    if there < listed:
        experiment.note(
            f"{found.folder}: not searched, as it has no descriptors: {listed - there:,} of "
            f"{counted(listed, 'distractor')} that the data set lists, so the figures are those of a smaller "
            "database"
        )


def _as_named(experiment: Experiment, database: DescriptorSet, folder: Path) -> DescriptorSet:
    """Return a database with ids as the data set has them, where only the form of accents differs.

    A Mac stores them in another way (NFD) than most others (NFC); these images would count as missed.
    """
    dataset = experiment.dataset
    every = {i for ids in (*dataset.positives.values(), *dataset.ignored.values()) for i in ids}
    named = NameIndex(i for i in every if not i.isascii())
    if not len(named):
        return database
    others = (i for i in database.ids if not i.isascii() and i not in every)
    forms = {name: i for i in others if (name := named.find(i))}
    # what is there under its own name is another image
    for i in database.ids:
        forms.pop(i, None)
    if not forms:
        return database
    name, other = next(iter(forms.items()))
    experiment.note(
        f"{folder}: of {counted(len(forms), 'imported id')}, such as {other!a}, only the way of storing "
        f"accents (NFC and NFD) differs from the data set's ({name!a}); they are taken for the same"
    )
    return database.rename({other: name for name, other in forms.items()})


def _queries(experiment: Experiment, found: Imported) -> tuple[Descriptors, tuple[str, ...]]:
    asked = experiment.config.dataset.queries
    if experiment.companions:
        raise ConfigError(
            f"dataset.queries = {asked!r} describes a photo and its text together, which needs a model; ask "
            f"{found.folder} with 'image', 'text' or 'both'"
        )
    partitions = [name for name in _ASKED if asked in ("both", name.partition("_")[0])]
    stored = found.descriptors(*partitions)
    place = {query: row for row, query in enumerate(stored.ids)}
    wanted = tuple(query.id for query in experiment.queries)
    index = NameIndex(place)
    found_as = {query: index.find(query) for query in wanted}
    missing = [query for query in experiment.queries if found_as[query.id] is None]
    if missing:
        kind = "text" if missing[0].image is None else "image"
        raise DatasetError(
            f"{found.folder}: {len(missing)} of {counted(len(wanted), 'query', 'queries')} "
            f"{agree(len(missing), 'has', 'have')} no descriptor, such as "
            f"{missing[0].id!r}; import the file features_{kind}_queries.hdf5 of the same data set"
        )
    rows = np.array([place[name] for name in found_as.values() if name is not None], np.int64)
    keys = tuple(key for name in partitions for key in found.partitions.get(name, ()))
    return Descriptors(wanted, stored.gather(rows)), keys
