"""Search and re-ranking cut into parts that other processes or machines do, put together again exactly.

The parts of a search are runs of database shards, those of a re-ranking blocks of queries. Parts are kept, so
what was broken off goes on where it stopped, and a part whose shards did not change is not searched again
when the database grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from ilion import storage
from ilion.localfeatures.store import LocalSet
from ilion.pipeline.distributed.compute import do_tasks, is_distributed, worker_config
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.local_rows import Rows
from ilion.pipeline.stages.plan_rerank import LocalPlan
from ilion.reranking.shortlist import Evidence, gather
from ilion.searching import search
from ilion.storage import Artifact, DescriptorSet, fingerprint
from ilion.tasks import Task
from ilion.types import Float32, Int64, LocalFeatures, Ranking


def search_parts(
    experiment: Experiment,
    stage: str,
    query_ids: Sequence[str],
    queries: Float32,
    database: DescriptorSet,
    k: int,
) -> Ranking:
    """Rank the database for every query, in this process or in parts elsewhere; the result is the same.

    Args:
        experiment: Says where and how.
        stage: Name of the stage, for people.
        query_ids: Q ids.
        queries: (Q, D) descriptors.
        database: N stored descriptors.
        k: Results kept.
    """
    settings, compute = experiment.config.search, experiment.config.compute
    if not is_distributed(compute):
        return search(
            query_ids,
            queries,
            database,
            k=k,
            block_size=settings.block_size,
            threads=settings.threads,
            memory=settings.memory_mb * 2**20,
            device=settings.device,
            progress=experiment.tell(stage),
        )
    digest = hashlib.blake2b(np.ascontiguousarray(queries).tobytes(), digest_size=16).hexdigest()
    inputs = {"database": database.artifact.fingerprint, "queries": digest, "k": k}
    artifact = storage.open_artifact(experiment.artifacts, "ranking-parts", inputs)
    with storage.locked(artifact.folder):
        storage.write_array(artifact.folder / "queries.npy", queries)
        parts = [
            (artifact.folder / f"part-{fingerprint(keys)[:16]}.npz", keys, size)
            for keys, size in cut(database.keys, database.sizes, compute.search_rows)
        ]
        tasks = [
            Task(
                path.stem,
                "search",
                {
                    "database": str(database.artifact.folder),
                    "keys": list(keys),
                    "k": k,
                    "block_size": settings.block_size,
                    "part": str(path),
                },
                size,
            )
            for path, keys, size in parts
            if not path.exists()
        ]
        do_tasks(experiment, stage, tasks, reused=[size for path, _, size in parts if path.exists()])
        found = (storage.read_arrays(path) for path, _, _ in parts)
        rows, similarities = merge_parts(
            ((part["rows"], part["similarities"]) for part in found), [size for _, _, size in parts], k
        )
    counts = np.full(len(rows), rows.shape[1], np.int64)
    return Ranking(tuple(query_ids), database.ids, rows, similarities, counts)


def cut(keys: Sequence[str], sizes: Sequence[int], least: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Group shards into runs of at least so many rows; only the last one may have fewer.

    Args:
        keys: Shards in order.
        sizes: Rows in each.
        least: Rows that a run should have.

    >>> list(cut(["a", "b", "c"], [3, 2, 4], 4))
    [(('a', 'b'), 5), (('c',), 4)]
    """
    run: list[str] = []
    size = 0
    for key, rows in zip(keys, sizes, strict=True):
        run.append(key)
        size += rows
        if size >= least:
            yield tuple(run), size
            run, size = [], 0
    if run:
        yield tuple(run), size


def merge_parts(
    parts: Iterator[tuple[Int64, Float32]], sizes: Sequence[int], k: int
) -> tuple[Int64, Float32]:
    """Put the best results of consecutive parts of a database together: exactly those of the whole.

    Args:
        parts: (Q, K) rows, counted from the beginning of the part, and similarities; best first, ties by row.
        sizes: Rows in each part.
        k: Results kept.

    Returns:
        Rows of the whole database and similarities; best first, ties by lower row.

    >>> one = (np.array([[0, 1]]), np.array([[0.9, 0.5]], "f"))
    >>> two = (np.array([[1, 0]]), np.array([[0.9, 0.7]], "f"))
    >>> rows, similarities = merge_parts(iter([one, two]), [2, 2], 3)
    >>> rows.tolist(), similarities.round(1).tolist()
    ([[0, 3, 2]], [[0.8999999761581421, 0.8999999761581421, 0.699999988079071]])
    """
    rows, similarities = next(parts)
    start = sizes[0]
    for size, (more_rows, more) in zip(sizes[1:], parts, strict=True):
        # the earlier rows stand first, so a stable order leaves ties to the lower row
        both = np.concatenate([similarities, more], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(np.concatenate([rows, more_rows + start], axis=1), order, axis=1)
        similarities = np.take_along_axis(both, order, axis=1)
        start += size
    return rows, similarities


def compare_shortlists(
    experiment: Experiment,
    plan: LocalPlan,
    database: LocalSet,
    stored: LocalSet,
    queries: Sequence[LocalFeatures],
    rows: Rows,
    ranking: Ranking,
    artifact: Artifact,
) -> Evidence:
    """Compare every query with its shortlist, in this process or by blocks of queries elsewhere.

    Args:
        experiment: Says where and how.
        plan: Plan of how two images are compared.
        database: Stored features of the database.
        stored: Stored features of the queries.
        queries: The same, ready to compare.
        rows: Features by rows of the ranking.
        ranking: Ranking of the stage before.
        artifact: Artifact of the evidence; this process holds its lock.
    """
    settings, compute = experiment.config.rerank, experiment.config.compute
    if not is_distributed(compute):
        return gather(
            ranking,
            queries,
            rows,
            plan.scorer,
            shortlist=settings.shortlist,
            workers=plan.workers or experiment.config.extraction.workers,
            progress=experiment.tell("re-ranking"),
        )
    shortlists = ranking.indices[:, : settings.shortlist]
    blocks = [
        (artifact.folder / f"block-{start:06d}.npz", slice(start, start + compute.rerank_queries))
        for start in range(0, len(shortlists), compute.rerank_queries)
    ]
    common = {
        "config": worker_config(experiment.config),
        "local": str(database.artifact.folder),
        "keys": list(database.keys),
        "queries": str(stored.artifact.folder),
        "query_key": stored.keys[0],
    }
    tasks = []
    for path, block in blocks:
        if not path.exists():
            images, places = np.unique(shortlists[block], return_inverse=True)
            places = places.reshape(shortlists[block].shape)
            if images[0] < 0:
                images, places = images[1:], places - 1
            values = {
                **common,
                "query_ids": list(ranking.query_ids[block]),
                "images": [ranking.database_ids[row] for row in images],
                "rows": places.tolist(),
                "part": str(path),
            }
            tasks.append(Task(path.stem, "rerank", values, len(places)))
    lengths = [len(shortlists[block]) for path, block in blocks if path.exists()]
    do_tasks(experiment, "re-ranking", tasks, reused=lengths)
    found = [storage.read_arrays(path) for path, _ in blocks]
    clock = np.concatenate([part["clock"] * part["seconds"] for part in found])
    return Evidence(
        shortlists.copy(),
        np.concatenate([part["inliers"] for part in found]),
        np.concatenate([part["scores"] for part in found]),
        (clock / max(float(clock.sum(dtype=np.float64)), 1e-12)).astype(np.float32),
    )
