"""A projection of its own for each query, by which the first results are compared again."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ilion.config.search import SearchConfig
from ilion.errors import ConfigError
from ilion.reranking.quari import SIZES, WEIGHTS, Quari, load
from ilion.storage import DescriptorSet
from ilion.types import Float32, Ranking


def network_of(settings: SearchConfig) -> Quari:
    """Return the network of the settings; read once as long as its files are the same.

    Raises:
        ConfigError: There is no such file.
        ExtractionError: The file is no QuARI network.
    """
    path = Path(settings.projection)
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"search.projection = {settings.projection!r}: there is no file {path}")
    files = (path, path.parent / SIZES)
    states = (file.stat() for file in files if file.is_file())
    return _load(path, tuple((s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino) for s in states))


def check_projection(settings: SearchConfig, dim: int) -> None:
    """Check that the network of the settings takes descriptors of ``dim`` numbers.

    Raises:
        ConfigError: The network takes others, or there is no such file.
        ExtractionError: The file is no QuARI network.
    """
    takes = network_of(settings).config.dim
    if takes != dim:
        raise ConfigError(
            f"search.projection = {settings.projection!r}: takes descriptors of {takes} numbers, those of "
            f"this experiment have {dim}; use the model and layer that it was trained with"
        )


@lru_cache(maxsize=2)
def _load(path: Path, state: tuple[tuple[int, ...], ...]) -> Quari:
    return load(path)


def project(settings: SearchConfig, queries: Float32, database: DescriptorSet, ranking: Ranking) -> Ranking:
    """Compare the first results of each query by the query's own projection.

    Their similarities become cosines after the projection. The other results keep their order and distances,
    and move down as far as they must so as not to stand before them.

    Args:
        settings: ``projection`` and ``projection_first`` are used.
        queries: (Q, D) descriptors of the queries, in the order of the ranking.
        database: Descriptors of the database.
        ranking: The ranking by cosines.

    Raises:
        ArtifactError: The network takes descriptors of another length.
    """
    network = network_of(settings)
    indices, values = ranking.indices.copy(), ranking.similarities.copy()
    for number, count in enumerate(ranking.counts.tolist()):
        n = min(settings.projection_first, count)
        if n:
            [projection] = network.project(queries[number : number + 1])
            rows = indices[number, :n]
            scores = projection.compare(database.gather(rows))
            order = np.lexsort((rows, -scores))
            indices[number, :n], values[number, :n] = rows[order], scores[order]
            rest = values[number, n:count]
            if len(rest):
                rest -= max(0, rest[0] - scores.min())
                np.minimum(rest, scores.min(), out=rest)  # against rounding
    return replace(ranking, indices=indices, similarities=values)
