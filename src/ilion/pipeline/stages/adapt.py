"""A learnt layer between descriptors and search, for database, image and text queries alike."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from itertools import islice

import numpy as np

from ilion import storage
from ilion.adapt import StoredLayer, is_identity
from ilion.errors import ConfigError, DatasetError
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.results import Extraction
from ilion.runtime.machine import machine, peak_memory
from ilion.storage import DescriptorSet
from ilion.types import Descriptors, Float32, RetrievalDataset
from ilion.wording import counted

BLOCK = 65_536
"""Descriptors adapted and stored as one unit."""


def adapt(experiment: Experiment, extracted: Extraction, stored: StoredLayer) -> Extraction:
    """Apply a layer to all descriptors, as far as that is not done; the identity leaves them as they are.

    Args:
        experiment: Experiment with the artifacts and settings.
        extracted: Descriptors.
        stored: The layer.

    Raises:
        ConfigError: The layer takes descriptors of another model.
    """
    layer = stored.layer
    if layer.dim_in != extracted.database.dim:
        raise ConfigError(
            f"the adaptation layer takes {layer.dim_in} dimensions, {experiment.config.extraction.model} "
            f"gives {extracted.database.dim}; use the model that the layer was learnt with"
        )
    if is_identity(layer):
        return extracted
    # imported descriptors keep the precision that they came with
    dtype = np.promote_types(experiment.config.extraction.dtype, extracted.database.dtype).name
    # not the shards: one that did not change is not adapted again when the database grows
    shards = set(extracted.database.keys)
    source = [part for part in extracted.inputs["database"] if part not in shards]
    inputs = {"database": source, "layer": layer.digest, "dtype": dtype}
    artifact = storage.open_artifact(experiment.artifacts, "adapted", inputs)
    tell, start, keys, reused, seconds = experiment.tell("adaptation"), 0, [], True, 0.0
    with experiment.locked(artifact.folder):
        for shard, name in enumerate(extracted.database.keys):
            for number, first in enumerate(range(0, extracted.database.sizes[shard], BLOCK)):
                key = f"{name}.{number:04d}"
                keys.append(key)
                if not storage.has_descriptors(artifact, key):
                    reused, started = False, time.perf_counter()
                    [block] = islice(extracted.database.read_shard(shard, BLOCK), number, number + 1)
                    values = layer.apply(np.asarray(block.values, np.float32)).astype(dtype)
                    took = time.perf_counter() - started
                    stats = storage.ShardStats(len(block.ids), took, peak_memory(), machine())
                    storage.write_descriptors(artifact, key, Descriptors(block.ids, values), stats)
                seconds += storage.read_stats(artifact, key).seconds
                start += min(BLOCK, extracted.database.sizes[shard] - first)
                tell(start, len(extracted.database))
    queries = adapt_queries(extracted.queries, stored)
    return dataclasses.replace(
        extracted,
        queries=queries,
        database=DescriptorSet(artifact, keys),
        inputs={
            "database": [artifact.fingerprint, *keys],
            "queries": [*extracted.inputs["queries"], layer.digest],
        },
        seconds={**extracted.seconds, "adaptation": seconds},
        reused=(*extracted.reused, *(["adaptation"] if reused else [])),
    )


def adapt_queries(queries: Descriptors, stored: StoredLayer) -> Descriptors:
    """Return descriptors of queries after a layer; the identity leaves them as they are."""
    layer = stored.layer
    if is_identity(layer):
        return queries
    # photo and text stand beside each other where the product of their similarities is asked for
    parts = queries.values.reshape(-1, layer.dim_in) if queries.dim == 2 * layer.dim_in else queries.values
    return Descriptors(queries.ids, layer.apply(parts).reshape(len(queries.ids), -1))


def leave_out_seen(dataset: RetrievalDataset, stored: StoredLayer, seen: str) -> RetrievalDataset:
    """Guard an evaluation against objects that the layer was learnt from.

    Args:
        dataset: The data set.
        stored: The layer; a foreign file does not say what it was learnt from.
        seen: ``refuse`` them, ``leave-out`` their queries and count the photos that were learnt from
            neither way, or ``keep`` all.

    Raises:
        DatasetError: The layer has seen some of the objects, and ``seen`` is ``refuse``; or all of them.
    """
    learnt = set(stored.facts.get("objects", ()))
    known = sorted({q.instance for q in dataset.queries} & learnt)
    if not known or seen == "keep":
        return dataset
    if seen == "refuse":
        raise DatasetError(
            f"the adaptation layer was learnt from photos of {len(known)} of the objects that are searched "
            f"for, such as {known[0]!r}: the result would flatter it. Set adaptation.seen to 'leave-out' to "
            "judge by the others"
        )
    queries = tuple(q for q in dataset.queries if q.instance not in learnt)
    if not queries:
        raise DatasetError(
            f"{dataset.root}: the adaptation layer has seen all objects; none is left to judge by"
        )
    photos = set(stored.facts.get("learnt_from", ()))
    ignored = {
        q.id: tuple(sorted((photos | set(dataset.ignored.get(q.id, ()))) - set(dataset.positives[q.id])))
        for q in queries
    }
    left_out = len(dataset.queries) - len(queries)
    note = (
        f"left out: {counted(left_out, 'query', 'queries')} of objects that the adaptation layer knows "
        f"({len(known):,} in all)"
    )
    return dataclasses.replace(dataset, queries=queries, ignored=ignored, notes=(*dataset.notes, note))


def sample(database: DescriptorSet, without: Sequence[str], count: int, seed: int) -> Float32:
    """Draw descriptors of the database, to stand for what surrounds an object.

    Args:
        database: Adapted or not.
        without: Ids that are left out.
        count: Largest number of them.
        seed: The same seed draws the same.

    Returns:
        (M, D) float32.
    """
    left_out = set(without)
    rows = np.fromiter((i for i, name in enumerate(database.ids) if name not in left_out), np.int64)
    chosen = np.sort(np.random.default_rng((seed, 5)).permutation(rows)[:count])
    return database.gather(chosen)
