"""One state of an index, opened: the design with its database, and which photos of it can be found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ilion.errors import ArtifactError
from ilion.pipeline.asking import Ready
from ilion.pipeline.stages.results import Extraction
from ilion.serve.engines.attached import Attached
from ilion.serve.engines.base import Engine
from ilion.serve.tables import LIVE
from ilion.serve.where import parse_where
from ilion.types import Bool, Int64, Ranking, Value


@dataclass(frozen=True, eq=False)
class Snapshot(Value):
    """What searches read until the layout changes.

    Args:
        layout: Counter of the tables.
        ready: The design, with its database.
        numbers: (N,) number of the photo of each database row.
        design: Name of the design.
        threshold: Score below which nothing is accepted; None without one.
        engine: Engine that holds the descriptors; None where the files of the index are searched.
    """

    layout: int
    ready: Ready
    numbers: Int64
    design: str
    threshold: float | None
    engine: Engine | None = None


@dataclass(frozen=True, eq=False)
class Living(Value):
    """Which photos of a snapshot can be found, in one state of the index.

    Args:
        revision: The state.
        snapshot: The database.
        shown: (N,) which rows are not removed.
        photos: Number of them.
        without_descriptor: Photos that are in the index and have no row.
        labels: Names of all labels.
        mark: Mark up to which the engine must know everything; 0 without an engine.
    """

    revision: int
    snapshot: Snapshot
    shown: Bool
    photos: int
    without_descriptor: int
    labels: frozenset[str]
    mark: int = 0

    def ranks(self, k: int) -> Callable[[Extraction, Int64 | None], Ranking] | None:
        """Return what ranks the database for the first stage; None where the design does that itself.

        Args:
            k: Number of results to keep.
        """
        engine, snapshot = self.snapshot.engine, self.snapshot
        if engine is None:
            return None
        removed = len(snapshot.numbers) - self.photos
        attached = Attached(engine, snapshot.numbers, self.mark, removed)
        return lambda extracted, allowed: attached.rank(extracted, k, allowed)


def numbers_of(connection: sqlite3.Connection, ids: Sequence[str]) -> Int64:
    """Return the number of the photo of each database row: both go by shard and place."""
    numbers = np.empty(len(ids), np.int64)
    stored = connection.execute(
        "SELECT stored_as, photos.number FROM photos JOIN shards ON shard = shards.number "
        "WHERE shards.status = ? ORDER BY shards.place, photos.place",
        (LIVE,),
    )
    for row, name in enumerate(ids):
        # photos without a descriptor have no row
        number = next((number for found, number in stored if found == name), None)
        if number is None:
            raise ArtifactError(f"the stored id {name!r} is not in the tables of the index; make it again")
        numbers[row] = number
    return numbers


def allowed_rows(connection: sqlite3.Connection, living: Living, where: str) -> Int64 | None:
    """Return the database rows that may be found; None means all."""
    shown = living.shown
    if where.strip():
        condition = parse_where(where, living.labels)
        found = connection.execute(
            f"SELECT number FROM photos WHERE status = 1 AND {condition.sql}", condition.values
        )
        kept = np.fromiter((number for (number,) in found), np.int64)
        shown = shown & np.isin(living.snapshot.numbers, kept)
    return None if shown.all() else np.flatnonzero(shown)
