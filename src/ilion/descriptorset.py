"""Many shards of descriptors as one database, read as needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.artifacts import Artifact, read_descriptors
from ilion.errors import ArtifactError
from ilion.files import forget
from ilion.types import Descriptors, Float32, Int64


class DescriptorSet:
    """Finished shards as one database, read as needed.

    Args:
        artifact: Where the shards are.
        keys: Shards in database order.
        ids: Only these ids take part; None takes all. The order of the database is kept.

    Raises:
        ArtifactError: A shard is missing or damaged, an id occurs twice, or a wanted id is in no shard.
    """

    def __init__(self, artifact: Artifact, keys: Sequence[str], ids: Sequence[str] | None = None) -> None:
        self.artifact = artifact
        self.keys = tuple(keys)
        self._shards = [read_descriptors(artifact, key) for key in keys]
        wanted = None if ids is None else set(ids)
        self._rows: list[Int64] = []
        kept: list[str] = []
        for shard in self._shards:
            if wanted is None:
                rows = np.arange(len(shard.ids))
            else:
                rows = np.array([i for i, name in enumerate(shard.ids) if name in wanted], dtype=np.int64)
            self._rows.append(rows)
            kept.extend(shard.ids[i] for i in rows)
        self.ids = tuple(kept)
        if len(set(self.ids)) != len(self.ids):
            repeated = next(i for i in self.ids if self.ids.count(i) > 1)
            raise ArtifactError(f"{artifact.folder}: id {repeated!r} occurs twice; ids must be unique")
        if wanted is not None and len(wanted) != len(self.ids):
            missing = sorted(wanted.difference(self.ids))
            raise ArtifactError(
                f"{len(missing)} ids of the subset have no descriptor, such as {missing[0]!r}"
            )
        dims = {shard.dim for shard in self._shards if len(shard.ids)}
        if len(dims) > 1:
            raise ArtifactError(f"{artifact.folder}: shards of different dimensions {sorted(dims)}")
        self.dim = dims.pop() if dims else 0
        self.sizes = tuple(len(rows) for rows in self._rows)
        self._starts = np.cumsum([0, *self.sizes])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the values."""
        return self._shards[0].values.dtype if self._shards else np.dtype(np.float16)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self._shards)

    def stored(self, shard: int, size: int = 65_536) -> Iterator[Descriptors]:
        """Yield the descriptors of one shard in order, at most ``size`` at once, as they are stored."""
        rows, whole = self._rows[shard], self._shards[shard]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield Descriptors(tuple(whole.ids[i] for i in part), np.asarray(whole.values[part]))

    def blocks(self, size: int) -> Iterator[Float32]:
        """Yield all descriptors in order as float32 blocks of at most ``size`` rows."""
        for block in self.stored_blocks(size):
            yield np.asarray(block, np.float32)

    def stored_blocks(self, size: int) -> Iterator[NDArray[np.floating]]:
        """Yield all descriptors in order as they are stored, in copies of at most ``size`` rows."""
        for shard, rows in zip(self._shards, self._rows, strict=True):
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                whole = len(rows) == len(shard.ids)
                block = np.array(shard.values[part[0] : part[-1] + 1] if whole else shard.values[part])
                forget(shard.values)
                yield block

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors (len(rows), D) of database rows in any order, float32."""
        values = np.empty((len(rows), self.dim), np.float32)
        of_shard = np.searchsorted(self._starts, rows, side="right") - 1
        for s in np.unique(of_shard):
            here = of_shard == s
            stored = self._shards[s].values
            values[here] = stored[self._rows[s][rows[here] - self._starts[s]]]
            forget(stored)
        return values
