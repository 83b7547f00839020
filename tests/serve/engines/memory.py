"""An engine of a few lines, in memory: what an index must get right whatever the engine is."""

from __future__ import annotations

import numpy as np

from ilion.errors import ArtifactError
from ilion.serve.engines.base import INDEX_ENGINES
from ilion.types import Float32, Int64

HELD: dict[str, dict[int, Float32]] = {}
DOWN: set[str] = set()
ASKED: list[tuple[int, bool, bool]] = []


@INDEX_ENGINES.register("memory")
class Memory:
    def __init__(self, place: str, name: str, dim: int) -> None:
        self.place, self.key = place, f"{place}/{name}"
        self._look()
        if dim:
            HELD.setdefault(self.key, {})

    def _look(self) -> None:
        if self.place in DOWN:
            raise ArtifactError("memory does not answer")

    def upsert(self, numbers: Int64, vectors: Float32) -> None:
        self._look()
        HELD[self.key].update(zip(numbers.tolist(), vectors, strict=True))

    def delete(self, numbers: Int64) -> None:
        self._look()
        for number in numbers.tolist():
            HELD[self.key].pop(number, None)

    def flush(self) -> int:
        self._look()
        return len(HELD[self.key])

    def count(self) -> int:
        return len(HELD[self.key])

    def search(
        self,
        queries: Float32,
        k: int,
        *,
        only: Int64 | None = None,
        without: Int64 | None = None,
        mark: int = 0,
    ) -> tuple[Int64, Float32]:
        self._look()
        ASKED.append((k, only is not None, without is not None))
        numbers = np.array(list(HELD[self.key]), np.int64)
        if only is not None:
            numbers = np.intersect1d(numbers, only)
        if without is not None:
            numbers = np.setdiff1d(numbers, without)
        values = queries @ np.stack([HELD[self.key][number] for number in numbers.tolist()]).T
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        return numbers[order], np.take_along_axis(values, order, 1)

    def drop(self) -> None:
        self._look()
        HELD.pop(self.key, None)
