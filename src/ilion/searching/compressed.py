"""Search through short codes: a shortlist from memory, put in exact order from the descriptors on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ilion.errors import ArtifactError
from ilion.runtime.threads import in_order, single_threaded_products
from ilion.searching.candidates import Pool
from ilion.searching.codes import CodeSet
from ilion.searching.engines import ENGINES
from ilion.searching.exact import Database, Progress, check_queries
from ilion.searching.scoring import Dense, measure_norms, score_pairs
from ilion.types import Float32, Int64, Ranking
from ilion.wording import counted

GROUP_ROWS = 2**21
"""Codes in memory at once: 128 MiB at 64 bytes, and as much again while they are packed."""
ROWS_AT_ONCE = 2**22
"""Values of the database in memory at once while a shortlist is refined (16 MiB)."""


@ENGINES.register("compressed")
def search_compressed(
    query_ids: Sequence[str],
    queries: Float32,
    database: Database,
    codes: CodeSet,
    *,
    k: int = 1000,
    shortlist: int = 2000,
    threads: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the database for every query by inner product, looking only at the shortlist of the codes.

    What is in the shortlist has its exact similarity and order, see `ilion.searching.exact`; what is not
    cannot be found. How much that loses depends on the descriptors: measure it (`ilion tune`).

    Args:
        query_ids: Q unique ids.
        queries: (Q, D) float32, L2-normalised.
        database: N rows of the same D.
        codes: Codes of the same rows.
        k: Number of results to keep; all N where the database is smaller.
        shortlist: Number of rows that the codes propose for a query; at least k.
        threads: Number of worker threads; 0 means one per core.
        progress: Callback that receives the rows done and the rows in all.

    Raises:
        ArtifactError: Dimensions differ, a value is not finite, or codes and database differ in length.
    """
    check_queries(query_ids, queries, k)
    total = len(database.ids)
    if len(codes) != total:
        raise ArtifactError(f"{counted(len(codes), 'code')} for {counted(total, 'descriptor')}")
    if queries.shape[1] != len(codes.coder.mean):
        raise ArtifactError(
            f"queries have {queries.shape[1]} dimensions, the database {len(codes.coder.mean)}; "
            "extract both with the same model"
        )
    kept, workers = min(k, total), threads or os.cpu_count() or 1
    queries = np.ascontiguousarray(queries, np.float32)
    rows = _shortlist(queries, codes, min(max(shortlist, kept), total), workers, progress)
    pool = Pool(queries, kept, np.full(len(queries), -np.inf, np.float32), database, workers)
    with single_threaded_products():
        _refine(queries, rows, database, pool, workers)
        best = pool.finish()
    shape = (len(queries), kept)
    return Ranking(
        tuple(query_ids),
        database.ids,
        best.rows.reshape(shape),
        best.values.reshape(shape),
        np.full(len(queries), kept, np.int64),
    )


def _shortlist(queries: Float32, codes: CodeSet, size: int, threads: int, progress: Progress | None) -> Int64:
    """Return the rows (Q, size) that the codes rank first, in no order."""
    import faiss

    turned = codes.coder.turn(queries)
    rows = np.empty((len(queries), 0), np.int64)
    values = np.empty((len(queries), 0), np.float32)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        for start, group in codes.groups(GROUP_ROWS):
            found, places = codes.coder.open(group).search(turned, min(size, len(group)))
            rows = np.concatenate([rows, places + start], axis=1)
            values = np.concatenate([values, found], axis=1)
            if rows.shape[1] > size:
                best = np.argpartition(values, values.shape[1] - size, axis=1)[:, -size:]
                rows, values = np.take_along_axis(rows, best, 1), np.take_along_axis(values, best, 1)
            if progress:
                progress(start + len(group), len(codes))
    finally:
        faiss.omp_set_num_threads(before)
    return rows


def _refine(queries: Float32, shortlist: Int64, database: Database, pool: Pool, threads: int) -> None:
    """Score the shortlist in float32, every row read once and in order."""
    dense = Dense(queries)
    flat = shortlist.reshape(-1)
    order = np.argsort(flat, kind="stable")
    wanted, firsts = np.unique(flat[order], return_index=True)
    ends = np.append(firsts, len(flat))
    step = max(1, ROWS_AT_ONCE // max(1, queries.shape[1]))

    def score(start: int) -> None:
        block = wanted[start : start + step]
        rows = database.gather(block)
        norms = measure_norms(rows, int(block[0]))
        places = order[ends[start] : ends[min(start + step, len(wanted))]]
        row, query = np.searchsorted(block, flat[places]), places // max(1, shortlist.shape[1])
        values = score_pairs(queries, query, rows, row)
        pairs = dense.find_reaching(query, row, values, norms, 0, pool.thresholds)
        pool.add(pairs._replace(rows=block[pairs.rows]))

    for _, future in in_order(range(0, len(wanted), step), score, workers=threads, ahead=threads + 1):
        future.result()
