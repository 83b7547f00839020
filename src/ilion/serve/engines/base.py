"""What an engine does for an index: it keeps vectors by number and finds those of largest inner product.

Without an engine an index searches its own files, exactly (`ilion.searching.exact`). An engine is a copy of
them that other machines hold: the index stays the truth, and can fill a new one at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ilion.errors import ConfigError
from ilion.registry import Registry
from ilion.types import Float32, Int64


class Engine(Protocol):
    """The vectors of one design. Safe to share among threads.

    Every method raises ArtifactError where the server does not answer; nothing is lost by that.
    """

    def upsert(self, numbers: Int64, vectors: Float32) -> None:
        """Keep vectors (N, D) under their numbers (N,), in place of earlier ones."""

    def delete(self, numbers: Int64) -> None:
        """Drop vectors; those that are not there are nothing to complain about."""

    def flush(self) -> int:
        """Wait until all that was written is found, and return the mark with which every server finds it."""

    def search(
        self,
        queries: Float32,
        k: int,
        *,
        only: Int64 | None = None,
        without: Int64 | None = None,
        mark: int = 0,
    ) -> tuple[Int64, Float32]:
        """Find the vectors of largest inner product.

        Args:
            queries: (Q, D).
            k: Number of results, at most `MOST`.
            only: Numbers among which is searched; None means all.
            without: Numbers that are left out.
            mark: Mark that a `flush` returned; what was written before it is found.

        Returns:
            (Q, K) numbers, K at most k, -1 where there are fewer; and their inner products, descending.
        """

    def count(self) -> int:
        """Return the number of vectors, the latest ones included."""

    def drop(self) -> None:
        """Delete all vectors."""


MOST = 16_384
"""Results that one search of an engine returns at most."""
INDEX_ENGINES: Registry[Callable[[str, str, int], Engine]] = Registry(
    "index engine", __package__, takes="(place, name, dim)"
)
"""Engines by name; each is made of its place, the name of the vectors there, and D."""


def open_engine(uri: str, name: str, dim: int = 0) -> Engine:
    """Open the vectors of one design.

    Args:
        uri: Name of the engine, a colon, and where it is, such as ``milvus:http://127.0.0.1:19530``.
        name: Name of the vectors there.
        dim: Components D of a vector; 0 only deletes, and makes nothing.

    Raises:
        ConfigError: There is no such engine, or it has no place.
        MissingExtraError: The engine's client is not installed.
        ArtifactError: The engine does not answer.
    """
    kind, _, place = uri.partition(":")
    part = INDEX_ENGINES.find(kind)
    if not place:
        raise ConfigError(f"engine {uri!r}: say where it is, such as {kind}:http://127.0.0.1:19530")
    engine: Engine = INDEX_ENGINES.call(part, place, name, dim)
    return engine
