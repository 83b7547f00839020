"""What a worker does: describe a shard, search a part of the database, re-rank a block of queries.

A worker builds what it needs (data, model, learnt state) from the plain values of the task, checks that it is
the same as the driver's, and keeps it for the next task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ilion import storage
from ilion._version import __version__
from ilion.config import ExperimentConfig, check_parts, from_dict
from ilion.datasets.shards import shard_from
from ilion.descriptors.base import Fittable
from ilion.errors import ConfigError, DatasetError
from ilion.extraction.describe import StoredDescription, describe_shard
from ilion.extraction.images import STATE, GlobalDescription
from ilion.extraction.local import EncodedDescription, LocalDescription
from ilion.extraction.shards import Progress, shard_keys
from ilion.extraction.texts import TextDescription
from ilion.localfeatures.store import LocalSet, read_codec
from ilion.pipeline.stages.local_models import asmk_extractor, postings_of, reader_of
from ilion.pipeline.stages.local_rows import Rows
from ilion.pipeline.stages.model import extractor_of
from ilion.pipeline.stages.photo_models import photos_of
from ilion.pipeline.stages.plan_rerank import LocalPlan, plan_local
from ilion.reranking.shortlist import gather
from ilion.searching import search
from ilion.searching.asmk import read_codebook
from ilion.storage import DescriptorSet, fingerprint
from ilion.tasks.base import Advance, Task
from ilion.types import Ranking


def perform(task: Task, advance: Advance) -> None:
    """Do a task.

    Args:
        task: Task whose ``work`` is one of `WORKS`.
        advance: Callback that receives the number of images or queries just done.

    Raises:
        ConfigError: Driver and worker are of different versions, or build different models.
        DatasetError: The data changed meanwhile.
    """
    said = task.values.get("ilion", __version__)
    if said != __version__:
        raise ConfigError(f"this worker has ilion {__version__}, its driver {said}; install the same on all")
    WORKS[task.work](task.values, advance)


def _settings(values: Mapping[str, Any]) -> ExperimentConfig:
    config = from_dict(ExperimentConfig, values["config"])
    check_parts(config)
    return config


@lru_cache(maxsize=1)
def _plan(config: ExperimentConfig) -> LocalPlan:
    return plan_local(config)


def _deltas(advance: Advance) -> Progress:
    """Turn what is done in all into what was just done."""
    seen = 0

    def passed(done: int, total: int) -> None:
        nonlocal seen
        advance(done - seen)
        seen = done

    return passed


@lru_cache(maxsize=1)
def _description(kind: str, config: ExperimentConfig, learnt: str) -> StoredDescription[Any, Any]:
    """Build what is made of images, from the settings and from the folder of what was learnt for it."""
    settings = config.extraction
    match kind:
        case "descriptors":
            extractor = extractor_of(settings, config.seed)
            if isinstance(extractor, Fittable):
                extractor.load_state(storage.read_arrays(Path(learnt) / STATE))
            return GlobalDescription(extractor, settings.dtype)
        case "local":
            return EncodedDescription(LocalDescription(_plan(config).extractor), read_codec(Path(learnt)))
        case "postings":
            return photos_of(config)
        case "asmk":
            return postings_of(config, asmk_extractor(config), read_codebook(Path(learnt)))
        case _:
            return TextDescription(reader_of(config))


def _describe(values: Mapping[str, Any], advance: Advance) -> None:
    config, shard = _settings(values), shard_from(values["shard"])
    description = _description(values["kind"], config, values["learnt"])
    if fingerprint(description.spec) != values["spec"]:
        raise ConfigError(
            f"this worker builds another {description.spec['name']} than its driver; install the same "
            "packages and weights on both"
        )
    if shard_keys([shard]) != [values["key"]]:
        raise DatasetError(
            f"{shard.name}: its files are not what the driver saw; they changed meanwhile (run it again), or "
            "this machine has others under the same path"
        )
    describe_shard(
        shard,
        values["key"],
        description,
        storage.load_artifact(Path(values["artifact"]), description.kind),
        on_bad_image=config.extraction.on_bad_image,
        workers=config.extraction.workers,
        earlier=values["earlier"],
        progress=_deltas(advance),
    )


def _search(values: Mapping[str, Any], advance: Advance) -> None:
    # the driver has checked the ids of the whole, and nobody asks for those of a part
    database = DescriptorSet(storage.load_artifact(Path(values["database"])), values["keys"], listed=False)
    part = Path(values["part"])
    queries = storage.read_array(part.parent / "queries.npy", ("f", 2))
    found = search(
        [str(number) for number in range(len(queries))],
        queries,
        database,
        k=values["k"],
        block_size=values["block_size"],
        progress=_deltas(advance),
    )
    storage.write_arrays(part, {"rows": found.indices, "similarities": found.similarities})


def _rerank(values: Mapping[str, Any], advance: Advance) -> None:
    started = time.perf_counter()
    plan = _plan(_settings(values))
    database = LocalSet(storage.load_artifact(Path(values["local"]), "local"), values["keys"])
    own = LocalSet(storage.load_artifact(Path(values["queries"]), "local-queries"), [values["query_key"]])
    described = own.many(own.rows_of(values["query_ids"]))
    queries = described if plan.original else [database.codec.query(features) for features in described]
    images, rows = values["images"], np.array(values["rows"], np.int64)
    kept = rows >= 0
    nothing = queries[0].take(np.empty(0, np.int64))
    found = gather(
        Ranking(
            tuple(values["query_ids"]),
            images,
            rows,
            np.where(kept, 0, -np.inf).astype(np.float32),
            kept.sum(axis=1),
        ),
        queries,
        Rows(database, database.rows_of(images), nothing, plan.original),
        plan.scorer,
        shortlist=rows.shape[1],
        workers=plan.workers or values["config"]["extraction"]["workers"],
        progress=_deltas(advance),
    )
    seconds = np.array(time.perf_counter() - started)
    storage.write_arrays(Path(values["part"]), {**vars(found), "seconds": seconds})


WORKS: Mapping[str, Callable[[Mapping[str, Any], Advance], None]] = {
    "describe": _describe,
    "search": _search,
    "rerank": _rerank,
}
"""Kind of task -> what does it."""
