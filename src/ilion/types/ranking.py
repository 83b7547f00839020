"""Rankings, and how they come from and go to arrays, dicts and files of TREC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.types.basics import Float32, Int64, Where, freeze
from ilion.types.printing import Value
from ilion.types.trec import read_trec, write_trec
from ilion.wording import counted


@dataclass(frozen=True)
class Ranking(Value):
    """The results of Q queries over N database images, always batched.

    Args:
        query_ids: Q unique ids.
        database_ids: N unique ids; row r of the database is ``database_ids[r]``.
        indices: (Q, K) int64 database rows, best first; -1 beyond ``counts``.
        similarities: (Q, K) float32, descending; ties by lower row; -inf beyond ``counts``.
        counts: (Q,) int64, how many results each query really has, at most K.

    Raises:
        ArtifactError: A promise above does not hold. Order among ties is not checked here, because a
            re-ranked list may break them otherwise.
    """

    query_ids: tuple[str, ...]
    database_ids: Sequence[str]
    indices: Int64
    similarities: Float32
    counts: Int64

    def __post_init__(self) -> None:
        q, n = len(self.query_ids), len(self.database_ids)
        k = self.indices.shape[1] if self.indices.ndim == 2 else -1
        if self.indices.shape != (q, k) or self.similarities.shape != (q, k) or self.counts.shape != (q,):
            raise ArtifactError(
                f"ranking of {counted(q, 'query', 'queries')}: indices {self.indices.shape}, similarities "
                f"{self.similarities.shape}, counts {self.counts.shape} do not fit together"
            )
        if len(set(self.query_ids)) != q:
            raise ArtifactError("a query id occurs twice in the ranking")
        if q and (self.counts.min() < 0 or self.counts.max() > k):
            raise ArtifactError(f"counts must lie in [0, {k}]")
        kept = np.arange(k) < self.counts[:, None]
        rows = self.indices[kept]
        if rows.size and (rows.min() < 0 or rows.max() >= n):
            raise ArtifactError(f"a result points at row {int(rows.max())} of a database of {n}")
        if not (self.indices[~kept] == -1).all():
            raise ArtifactError("indices beyond counts must be -1")
        in_order = np.sort(np.where(kept, self.indices, -1 - np.arange(k)), axis=1)
        if k > 1 and (in_order[:, 1:] == in_order[:, :-1]).any():
            raise ArtifactError("a database row occurs twice in one result list")
        if np.isnan(self.similarities[kept]).any():
            raise ArtifactError("a similarity is NaN")
        if k > 1 and (self.similarities[:, 1:] > self.similarities[:, :-1]).any():
            raise ArtifactError("similarities must be descending")
        for array in (self.indices, self.similarities, self.counts):
            freeze(array)

    def take(self, query_ids: Sequence[str]) -> Self:
        """Return the results of some queries, in their order.

        >>> Ranking.from_dict({"q": {"a": 1.0}, "r": {"b": 1.0}}).take(["r"]).to_dict()
        {'r': {'b': 1.0}}
        """
        place = {query: row for row, query in enumerate(self.query_ids)}
        rows = [place[query] for query in query_ids]
        return replace(
            self,
            query_ids=tuple(query_ids),
            indices=self.indices[rows],
            similarities=self.similarities[rows],
            counts=self.counts[rows],
        )

    @classmethod
    def from_arrays(
        cls,
        indices: NDArray[np.integer],
        similarities: NDArray[np.floating] | None = None,
        query_ids: Sequence[str] | None = None,
        database_ids: Sequence[str] | None = None,
    ) -> Self:
        """Build a ranking from the arrays that nearest-neighbour libraries give.

        Args:
            indices: (Q, K) database rows, best first; -1 fills lists that are shorter.
            similarities: (Q, K), descending; None where only the order is known. Distances must be negated.
            query_ids: Q ids; None takes "0", "1", ...
            database_ids: N ids; None takes "0", "1", ... up to the largest row.

        Raises:
            ArtifactError: The arrays are not as described.

        >>> Ranking.from_arrays(np.array([[2, 0, -1]]), np.array([[0.9, 0.5, 0]])).to_dict()
        {'0': {'2': 0.8999999761581421, '0': 0.5}}
        """
        rows = np.array(indices, np.int64, ndmin=2)
        if similarities is None:
            similarities = np.broadcast_to(-np.arange(rows.shape[1], dtype=np.float32), rows.shape)
        filled = rows >= 0
        values = np.where(filled, np.array(similarities, np.float32, ndmin=2), -np.inf).astype(np.float32)
        names = range(int(rows.max(initial=-1)) + 1) if database_ids is None else database_ids
        return cls(
            tuple(map(str, range(len(rows)) if query_ids is None else query_ids)),
            tuple(map(str, names)) if isinstance(names, range | list) else names,
            np.where(filled, rows, -1),
            values,
            filled.sum(axis=1).astype(np.int64),
        )

    @classmethod
    def from_dict(
        cls, results: Mapping[str, Mapping[str, float]], database_ids: Sequence[str] | None = None
    ) -> Self:
        """Build a ranking from scores by id.

        Args:
            results: Query id -> database id -> similarity, higher is better; ties keep their order.
            database_ids: N ids of the whole database; None takes those that occur.

        Raises:
            ArtifactError: A similarity is NaN, or an id is not in the database.

        >>> Ranking.from_dict({"q": {"a": 0.1, "b": 0.7}}).to_dict()
        {'q': {'b': 0.699999988079071, 'a': 0.10000000149011612}}
        """
        wanted = dict.fromkeys(name for found in results.values() for name in found)
        names = tuple(wanted) if database_ids is None else database_ids
        rows = {name: row for row, name in enumerate(names) if name in wanted}
        if len(rows) < len(wanted):
            raise ArtifactError(f"result {next(n for n in wanted if n not in rows)!r} is not in the database")
        shape = len(results), max(map(len, results.values()), default=0)
        indices, similarities = np.full(shape, -1, np.int64), np.full(shape, -np.inf)
        for q, found in enumerate(results.values()):
            values = np.array(list(found.values()), np.float64)
            order = np.argsort(-values, kind="stable")
            indices[q, : len(found)] = np.array([rows[name] for name in found], np.int64)[order]
            similarities[q, : len(found)] = values[order]
        return cls.from_arrays(indices, similarities, tuple(results), names)

    @classmethod
    def from_trec(cls, path: Where, database_ids: Sequence[str] | None = None) -> Self:
        """Read a run file of TREC: ``query Q0 image rank similarity tag`` on each line.

        The similarity says the order. Ranks that most queries have in the opposite order contradict it.

        Args:
            path: The file, plain or gzip.
            database_ids: N ids of the whole database; None takes those that occur.

        Raises:
            ArtifactError: The file cannot be read, a line is not as described, or similarities ascend along
                the ranks, as distances do.
        """
        table, ranks = read_trec(path, 6, 4), read_trec(path, 6, 3)
        ordered = [sorted(found, key=ranks[query].__getitem__) for query, found in table.items()]
        steps = [
            [
                table[query][b] - table[query][a]
                for a, b in pairwise(names)
                if ranks[query][a] < ranks[query][b]
            ]
            for query, names in zip(table, ordered, strict=True)
        ]
        telling = [each for each in steps if any(each)]
        ascending = sum(min(each) >= 0 for each in telling)
        if 2 * ascending > len(telling):
            raise ArtifactError(
                f"{path}: similarities ascend along the ranks of {ascending} of "
                f"{counted(len(table), 'query', 'queries')}, as "
                "distances do; they must be higher for what is better: write negative distances"
            )
        return cls.from_dict(table, database_ids)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return query id -> database id -> similarity, best first."""
        return {
            query: {
                self.database_ids[r]: s for r, s in zip(rows[:n].tolist(), values[:n].tolist(), strict=True)
            }
            for query, rows, values, n in zip(
                self.query_ids, self.indices, self.similarities, self.counts.tolist(), strict=True
            )
        }

    def to_trec(self, path: Where, tag: str = "ilion") -> None:
        """Write a run file of TREC, packed if its name ends in ``.gz``; see `from_trec`.

        Raises:
            ArtifactError: An id has white space, which separates the fields.
        """
        write_trec(
            path,
            (
                (query, "Q0", name, str(rank), repr(value), tag)
                for query, found in self.to_dict().items()
                for rank, (name, value) in enumerate(found.items(), start=1)
            ),
        )
