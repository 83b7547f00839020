"""How long a search by local features takes among more photos than there are.

A search of a few hundred photos says little about one of a million: describing the query and verifying the
best photos take the same time for any number, and beyond `ilion.searching.local.search.WHOLE` photos the
search works in another way. So it is measured among photos that are made of stored features.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, IlionError
from ilion.pipeline.asking import Ready
from ilion.pipeline.experiment import Progress
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.photos import Photos, ask_one, rank_by_matches
from ilion.runtime.machine import machine
from ilion.searching.local import Postings, write_shard
from ilion.searching.local.made import FeaturePool, repeat_shard
from ilion.storage import ShardStats
from ilion.storage.runs import read_run
from ilion.types import Where

log = logging.getLogger(__name__)

SIZES = (10_000, 100_000)
"""Database photos among which a search is timed. A line through what they take ends above a million's."""
SHARD = 4096
"""Photos that are made: further ones are the same features under other names, as making takes longer."""
COPIES = 8
"""Files of them that lie apart, about 0.5 GB; with a single one for all names a search takes a tenth less, as
the processor's caches hold it."""
POOL, QUERIES = 500, 16
"""Stored photos that features are drawn from, and queries that are asked."""


def time_growth(run: Where, progress: Progress | None = None) -> dict[int, float]:
    """Time the searches of a finished run among more photos.

    Only where photos are found by local features alone, and its database is smaller than the smallest size.

    Args:
        run: Output folder of the run.
        progress: Callback that receives stage, done and total.

    Returns:
        Database photos, about `SIZES` -> milliseconds of a query, describing the query not included. Empty
        where the run is searched in another way, or too little is there.
    """
    folder = Path(run)
    try:
        config = from_dict(ExperimentConfig, read_run(folder)["provenance"]["config"])
        if config.rerank.features != "none" or config.reading.use != "none":
            return {}
        pipeline = Pipeline(config, sealed=True)
        photos = Ready(pipeline).stored().prepared
        if not isinstance(photos, Photos) or not isinstance(photos.database, Postings):
            return {}
        if not photos.queries or not photos.database.count or len(photos.database) >= SIZES[0]:
            return {}
        return _time(pipeline, photos, photos.database, progress)
    except (IlionError, OSError) as error:  # a cost that is not known ends no proof of concept
        log.warning("%s: how long a search takes among more photos was not measured: %s", folder, error)
        return {}


def _time(
    pipeline: Pipeline, photos: Photos, stored: Postings, progress: Progress | None
) -> dict[int, float]:
    rows = np.linspace(0, len(stored) - 1, min(POOL, len(stored))).astype(np.int64)
    pool, found, own = FeaturePool(stored.photos(np.unique(rows))), {}, [key for key, _ in stored.shards]
    if not len(pool.words):
        raise ArtifactError("no photo has a feature")
    with tempfile.TemporaryDirectory(prefix="ilion-growth-") as made:
        artifact = storage.open_artifact(Path(made), "postings", {"made": len(stored)})
        for key in own:
            for path in photos.folder.glob(f"{key}.*"):
                shutil.copyfile(path, artifact.folder / path.name)
        keys: list[str] = []
        for done, size in enumerate(SIZES):
            while len(stored) + SHARD * len(keys) < size:
                number = len(keys)
                names = [f"made/{number * SHARD + i:09d}.jpg" for i in range(SHARD)]
                keys.append(storage.shard_key(f"made_{number}", f"{number:012x}"))
                if number:
                    place = shutil.copyfile if number < COPIES else os.link
                    repeat_shard(artifact.folder, keys[number - min(number, COPIES)], keys[-1], names, place)
                else:
                    write_shard(
                        artifact,
                        keys[0],
                        pool.draw(names, np.random.default_rng(0)),
                        photos.words.words,
                        lambda count: ShardStats(count, 0.0, 0, machine()),
                    )
            larger = Postings(artifact, [*own, *keys], photos.words.words)
            few = photos.query_ids[:QUERIES], photos.queries[:QUERIES]
            part = replace(photos, database=larger, query_ids=few[0], queries=few[1])
            ask_one(pipeline.experiment, part)  # maps what is read
            started = time.perf_counter()
            rank_by_matches(pipeline.experiment, part, quiet=True)
            found[len(larger)] = 1e3 * (time.perf_counter() - started) / len(few[0])
            if progress:
                progress("larger databases", done + 1, len(SIZES))
    return found
