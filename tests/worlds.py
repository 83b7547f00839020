"""Generated descriptors for tests and benchmarks of forecasts: a falling spectrum, uneven clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_from_ids
from ilion.forecast import count_distractors
from ilion.forecast.distractors import DistractorCounts
from ilion.outcome import Evaluation
from ilion.searching import search
from ilion.types import Float32, Int64


@dataclass
class Rows:
    """Descriptors in memory as a database."""

    ids: tuple[str, ...]
    values: Float32

    def blocks(self, size: int):  # type: ignore[no-untyped-def]
        for start in range(0, len(self.values), size):
            yield self.values[start : start + size]

    def gather(self, rows: Int64) -> Float32:
        return self.values[rows]


class World:
    """Objects, their photos, and any number of distractors.

    The variance of the i-th of 64 dimensions falls like i^-2d; distractors come in 400 clusters whose sizes
    have a heavy tail; photos of an object lie around it at distances from close to hopeless.

    Args:
        seed: Of everything.
        decay: d.
        objects: How many, with one query and ``photos`` positives each.
        photos: Positives of an object.
    """

    def __init__(self, seed: int, decay: float = 0.7, objects: int = 100, photos: int = 5) -> None:
        self.rng = np.random.default_rng(seed)
        rng = self.rng
        scale = np.arange(1, 65.0) ** -decay
        self._scale = scale / np.sqrt((scale**2).sum())
        self._centres = rng.standard_normal((400, 64)) * self._scale
        share = rng.pareto(1.2, 400) + 0.05
        self._share = share / share.sum()
        things = self.distractors(objects)
        self.queries = _unit(things + rng.standard_normal((objects, 64)) * self._scale * 0.15)
        far = rng.gamma(2.0, 0.5, (objects, 1, 1)) * rng.gamma(4, 0.25, (objects, photos, 1))
        noise = rng.standard_normal((objects, photos, 64)) * self._scale
        self.photos = _unit((things[:, None] + 0.75 * noise * far).reshape(-1, 64))
        self.query_ids = tuple(f"q{i}" for i in range(objects))
        self.photo_ids = tuple(f"p{i}" for i in range(objects * photos))
        self.positives = {f"q{i}": self.photo_ids[i * photos : (i + 1) * photos] for i in range(objects)}

    def distractors(self, number: int) -> Float32:
        rng = self.rng
        cluster = rng.choice(400, number, p=self._share)
        width = np.sqrt(rng.gamma(3, 1 / 3, (number, 1)))
        noise = rng.standard_normal((number, 64)) * self._scale
        return _unit(0.75 * self._centres[cluster] + 0.9 * noise * width)

    def measure(self, distractors: Float32, k: int = 1000) -> tuple[DistractorCounts, Evaluation]:
        """Search and evaluate with these distractors."""
        ids = (*self.photo_ids, *(f"d{i}" for i in range(len(distractors))))
        rows = Rows(ids, np.concatenate([self.photos, distractors]))
        ranking = search(self.query_ids, self.queries, rows, k=k)
        truth = truth_from_ids(self.query_ids, ids, self.positives)
        is_distractor = np.arange(len(ids)) >= len(self.photo_ids)
        return count_distractors(ranking, truth, self.query_ids, is_distractor), evaluate(
            ranking, truth, k=k, bootstrap=1
        )


def _unit(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Float32:
    unit: Float32 = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit
