"""Ground truth, and the axes by which results are sliced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ilion.errors import ArtifactError
from ilion.types.basics import Int64, Where
from ilion.types.printing import Value
from ilion.types.trec import read_trec, write_trec


@dataclass(frozen=True)
class GroundTruth(Value):
    """What each of Q queries should find, as rows of one database.

    Args:
        query_ids: Q ids.
        positives: Q sorted, unique int64 arrays of database rows.
        ignored: Q sorted int64 arrays, disjoint from the positives.
        unreachable: (Q,) int64, positives that are not in the database of this run (a skipped image, say);
            they count as missed.
        database_ids: Ids of the rows; None where they are those of the ranking that is judged.

    Raises:
        ArtifactError: Rows are unsorted, repeated, or both positive and ignored.
    """

    query_ids: tuple[str, ...]
    positives: tuple[Int64, ...]
    ignored: tuple[Int64, ...]
    unreachable: Int64
    database_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        q = len(self.query_ids)
        if len(self.positives) != q or len(self.ignored) != q or self.unreachable.shape != (q,):
            raise ArtifactError("ground truth: every query needs positives, ignored and an unreachable count")
        for query, positives, ignored in zip(self.query_ids, self.positives, self.ignored, strict=True):
            for rows in (positives, ignored):
                if rows.ndim != 1 or (np.diff(rows) <= 0).any() or (rows.size and rows[0] < 0):
                    raise ArtifactError(
                        f"ground truth of {query!r}: rows must be sorted, unique, not negative"
                    )
            if np.intersect1d(positives, ignored).size:
                raise ArtifactError(f"ground truth of {query!r}: a row is both positive and ignored")

    def __len__(self) -> int:
        return len(self.query_ids)

    @classmethod
    def from_dict(cls, positives: Mapping[str, Mapping[str, float] | Iterable[str]]) -> Self:
        """Build a ground truth by id, for a ranking of any database.

        Args:
            positives: Query id -> ids of its positives; or query id -> id -> relevance: above 0 for a
                positive, 0 for a negative, below 0 for an image that counts neither way.

        >>> GroundTruth.from_dict({"q": ["a", "b"], "r": {"a": 1, "c": -1}}).to_dict()
        {'q': {'a': 1, 'b': 1}, 'r': {'a': 1, 'c': -1}}
        """
        tables = {
            query: dict(found) if isinstance(found, Mapping) else dict.fromkeys(found, 1)
            for query, found in positives.items()
        }
        names = sorted({name for table in tables.values() for name in table})
        row = {name: number for number, name in enumerate(names)}

        def rows(sign: int) -> tuple[Int64, ...]:
            return tuple(
                np.array(sorted(row[name] for name, value in table.items() if sign * value > 0), np.int64)
                for table in tables.values()
            )

        return cls(tuple(tables), rows(1), rows(-1), np.zeros(len(tables), np.int64), tuple(names))

    @classmethod
    def from_trec(cls, path: Where) -> Self:
        """Read a relevance file of TREC (qrels): ``query 0 image relevance`` on each line; see `from_dict`.

        A gzip file will do. Every relevance above 0 counts alike.

        Raises:
            ArtifactError: The file cannot be read, or a line is not as described.
        """
        return cls.from_dict(read_trec(path, 4, 3))

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return query id -> image id -> 1 for a positive, -1 for an ignored image.

        Raises:
            ArtifactError: The ids of the rows or of unreachable positives are not known.
        """
        if self.database_ids is None or self.unreachable.any():
            raise ArtifactError(
                "this ground truth lacks the ids of its rows, or of positives outside the database: take "
                "those of the data set (RetrievalDataset.positives)"
            )
        ids = self.database_ids
        return {
            query: {ids[r]: 1 for r in positives.tolist()} | {ids[r]: -1 for r in ignored.tolist()}
            for query, positives, ignored in zip(self.query_ids, self.positives, self.ignored, strict=True)
        }

    def to_trec(self, path: Where) -> None:
        """Write a relevance file of TREC, packed if its name ends in ``.gz``; see `from_trec`."""
        table = self.to_dict()
        write_trec(path, ((q, "0", i, str(v)) for q, found in table.items() for i, v in found.items()))


@dataclass(frozen=True)
class Axes(Value):
    """The axes by which results are sliced.

    Args:
        instances: (Q,) the instance of each query; bootstrap and label averages go over these.
        query_labels: Axis -> (Q,) label of each query, such as its category ("" where unknown).
        row_values: Axis (``scale``, ``clutter``) -> database row of a positive -> value.
        unreachable_values: Axis -> (Q,) values of each query's unreachable positives, where they are known.
    """

    instances: tuple[str, ...]
    query_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_values: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    unreachable_values: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
