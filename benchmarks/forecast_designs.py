"""Is the forecast of a finished run's design right? Random parts of its photos forecast all of them.

    python benchmarks/forecast_designs.py RUN CACHE [--start 150] [--size 1500] [--repetitions 20]

Each repetition searches a random part of the distractors anew, by all stages of the design, and forecasts the
whole database, which is searched once. Nothing is described again: CACHE is a folder that holds what the run
stored (a copy or links), and receives the rankings. A pair of photos that was compared in one repetition is
not compared again in the next: its score depends on nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilion.config import ExperimentConfig, from_dict
from ilion.forecast import forecast, forecast_hold_outs
from ilion.forecast.hold_outs import estimate_imperfection
from ilion.pipeline import Pipeline
from ilion.pipeline.jobs.forecast import measure_parts
from ilion.pipeline.stages.plan_rerank import plan_local
from ilion.pipeline.stages.rerank import extract_local
from ilion.reranking.base import Findings, Scorer
from ilion.storage.runs import read_run
from ilion.types import LocalFeatures


class Remembering(Scorer):
    """A scorer that compares each pair once.

    Args:
        scorer: The scorer that compares.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.known: dict[tuple[bytes, bytes], tuple[float, int]] = {}

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Compare a query with the images that it was not compared with yet."""
        keys = [(_digest(query), _digest(image)) for image in images]
        new = [place for place, key in enumerate(keys) if key not in self.known]
        if new:
            found = self.scorer.score(query, [images[place] for place in new])
            for place, score, inliers in zip(new, found.scores, found.inliers, strict=True):
                self.known[keys[place]] = float(score), int(inliers)
        both = [self.known[key] for key in keys]
        return Findings(
            np.array([score for score, _ in both], np.float32), np.array([n for _, n in both], np.int64)
        )


def _digest(features: LocalFeatures) -> bytes:
    parts = (features.keypoints, features.descriptors)
    return hashlib.blake2b(b"".join(np.ascontiguousarray(each).tobytes() for each in parts)).digest()


def main() -> None:
    """Print in how many repetitions the measured mAP was inside its interval, and the errors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("cache")
    parser.add_argument("--start", type=int, default=150)
    parser.add_argument("--size", type=int, default=1500)
    parser.add_argument("--repetitions", type=int, default=20)
    given = parser.parse_args()
    config = from_dict(ExperimentConfig, read_run(given.run)["provenance"]["config"])
    inside, errors, widths, parts = 0, [], [], []
    with tempfile.TemporaryDirectory() as output:
        pipeline = Pipeline(dataclasses.replace(config, cache=given.cache, output=output))
        settings, prepared = pipeline.config.evaluation, pipeline.prepare()
        local = None
        if config.rerank.features != "none":
            plan = plan_local(pipeline.config)
            local = (
                dataclasses.replace(plan, scorer=Remembering(plan.scorer)),
                extract_local(pipeline.experiment, plan),
            )
        kind: dict[str, Any] = {"definition": settings.definition, "k": settings.k}
        [whole] = measure_parts(pipeline.experiment, prepared, (given.size,), 0, local)
        for seed in range(given.repetitions):
            [part] = measure_parts(pipeline.experiment, prepared, (given.start,), seed, local)
            error = estimate_imperfection(forecast_hold_outs(part.counts, seed=seed, **kind))
            [point] = forecast(part.counts, [given.size], imperfection=error, seed=seed, **kind).points
            inside += point.interval.low <= whole.mean <= point.interval.high
            errors.append(point.mean - whole.mean)
            widths.append(point.interval.high - point.interval.low)
            parts.append(part.mean)
    print(
        f"{given.run}: {given.start} -> {given.size} distractors, measured {np.mean(parts):.4f} -> "
        f"{whole.mean:.4f}; {inside} of {given.repetitions} inside; error {np.abs(errors).mean():.4f} (bias "
        f"{np.mean(errors):+.4f}), interval {np.mean(widths):.4f} wide"
    )


if __name__ == "__main__":
    main()
