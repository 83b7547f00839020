"""Search with a photo and a text at once: by the product of both similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ilion.storage import DescriptorSet
from ilion.types import Descriptors, Float32, Ranking

BLOCK = 16384


def search_products(
    query_ids: Sequence[str],
    queries: Float32,
    database: Descriptors | DescriptorSet,
    *,
    k: int,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Rank a database by the product of two cosines, of which negative ones count as 0.

    This is the "text x image" of i-CIR (Psomas et al., NeurIPS 2025). All of the database is compared, in
    double precision, so that a result depends neither on blocks nor on shards; ties go to the lower row.

    Args:
        query_ids: Q ids.
        queries: (Q, 2 D) descriptors of the photo and of the text beside each other.
        database: N descriptors of D numbers.
        k: Largest number of results.
        progress: Callback that receives rows done and rows in all.
    """
    photos, texts = (half.astype(np.float64) for half in np.split(queries, 2, axis=1))
    rows, values = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    start = 0
    for block in database.blocks(BLOCK):
        images = np.asarray(block, np.float64).T
        found = np.maximum(photos @ images, 0) * np.maximum(texts @ images, 0)
        own = np.broadcast_to(np.arange(start, start + len(block)), found.shape)
        rows, values = np.hstack([rows, own]), np.hstack([values, found.astype(np.float32)])
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        rows, values = np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
        start += len(block)
        if progress:
            progress(start, len(database.ids))
    counts = np.full(len(queries), rows.shape[1], np.int64)
    return Ranking(tuple(query_ids), database.ids, rows, values, counts)
