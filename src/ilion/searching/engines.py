"""First stages by name: what ranks the database for every query, before anything looks closer.

Ilion's own have settings and stages of their own; one from outside is a function

    def engine(query_ids, queries, database, *, k, threads):
        return Ranking(...)

of Q ids, their descriptors (Q, D) float32, the stored `DescriptorSet` of the database, how many results to
keep and how many threads to work with (0 means one per core). It can read the database as a stream of blocks
(``database.blocks(rows)``) or by rows (``database.gather(rows)``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ilion.errors import ConfigError
from ilion.registry import Part, Registry, said_by
from ilion.storage import DescriptorSet
from ilion.types import Float32, Ranking
from ilion.wording import counted

Engine = Callable[..., Ranking]
ENGINES: Registry[Engine] = Registry("search method", __package__)
"""Built-in first stages, each with arguments of its own, and those from outside."""


def rank_with(
    part: Part[Engine],
    query_ids: Sequence[str],
    queries: Float32,
    database: DescriptorSet,
    *,
    k: int,
    threads: int,
) -> Ranking:
    """Rank by a first stage from outside, and check what it returns.

    Args:
        part: The first stage.
        query_ids: Q ids.
        queries: (Q, D) float32.
        database: N stored descriptors.
        k: Number of results to keep.
        threads: Number of worker threads; 0 means one per core.

    Raises:
        ConfigError: The part fails, or returns no ranking of these queries over this database.
    """
    name = f"search.method = {part.name!r}"
    try:
        ranking = part.make(tuple(query_ids), queries, database, k=k, threads=threads)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{name} failed: {said_by(error)}") from error
    if not isinstance(ranking, Ranking):
        raise ConfigError(f"{name} returned {type(ranking).__name__}, not a Ranking")
    ids = ranking.database_ids
    if ranking.query_ids != tuple(query_ids) or not (ids is database.ids or list(ids) == list(database.ids)):
        raise ConfigError(f"{name} returned a ranking of other queries, or over another database")
    if ranking.indices.shape[1] > k:
        raise ConfigError(
            f"{name} returned {counted(ranking.indices.shape[1], 'result')} a query, asked for {k}"
        )
    return ranking
