"""Stored local features by the rows of a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilion.localfeatures.codecs import Codec
from ilion.localfeatures.store import LocalSet
from ilion.types import Int64, LocalFeatures, Value


@dataclass(frozen=True)
class Rows(Value):
    """Database rows of a ranking, as features; an image without stored features shows none.

    Args:
        features: Stored features.
        rows: (N,) row in ``features`` of each row of the ranking, -1 where there is none.
        nothing: Features that show nothing.
        original: Bring decoded features back to what the extractor gives.
    """

    features: LocalSet
    rows: Int64
    nothing: LocalFeatures
    original: bool = False

    def many(self, rows: Sequence[int]) -> list[LocalFeatures]:
        """Return the features of database rows."""
        wanted = self.rows[np.asarray(rows, np.int64)]
        there = wanted >= 0
        decoded = self.features.many(wanted[there])
        found = iter([self.features.codec.original(f) for f in decoded] if self.original else decoded)
        return [next(found) if ok else self.nothing for ok in there]

    def count_missing(self, rows: Int64) -> int:
        """Count the different database rows among ``rows`` that have no stored features; -1 is no row."""
        shown = np.unique(rows[rows >= 0])
        return int((self.rows[shown] < 0).sum())


def prepare_queries(
    stored: LocalSet, query_ids: Sequence[str], codec: Codec, original: bool
) -> tuple[LocalFeatures, ...]:
    """Return (Q,) features of queries such that they compare with stored ones; a text shows none.

    Args:
        stored: Stored features of the image queries.
        query_ids: Ids of all queries, in order.
        codec: Codec of the database.
        original: Stored features are brought back to what the extractor gives, so queries are left alone.
    """
    rows = stored.rows_of(query_ids)
    described = dict(zip(rows[rows >= 0].tolist(), stored.many(rows[rows >= 0]), strict=True))
    return make_comparable([described.get(row) for row in rows.tolist()], codec, original)


def make_comparable(
    found: Sequence[LocalFeatures | None], codec: Codec, original: bool
) -> tuple[LocalFeatures, ...]:
    """Return (Q,) features such that they compare with stored ones; None, a text, shows none.

    Args:
        found: Features of the queries at full precision.
        codec: Codec of the database.
        original: Stored features are brought back to what the extractor gives, so queries are left alone.
    """
    ready = [f if f is None or original else codec.query(f) for f in found]
    nothing = next((f.take(np.empty(0, np.int64)) for f in ready if f is not None), None)
    return tuple(f for f in (nothing if f is None else f for f in ready) if f is not None)
