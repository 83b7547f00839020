"""Is the forecast right? Twenty seeded worlds, the largest size held out; then parts of real photos.

Each repetition draws a world of descriptors (a falling spectrum, clusters of uneven size), measures it at
small sizes, forecasts the largest, and only then measures that. Printed for each setting: in how many of 20
repetitions the measured mAP lies in the forecast's own 95% interval for these queries, the mean error, and
that of a straight line over log size through three smaller sizes. The photos are described once; random parts
of their distractors forecast all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from photos import grocery as photos_folder
from tests.worlds import World

from ilion.config import DatasetConfig, ExperimentConfig, ExtractionConfig
from ilion.forecast import forecast, forecast_hold_outs
from ilion.forecast.hold_outs import estimate_imperfection

SETTINGS = ((0.7, 1_000, 10_000), (0.7, 3_000, 30_000), (0.4, 3_000, 30_000))
"""Decay of the spectrum, distractors measured, distractors forecast."""


def worlds(decay: float, start: int, size: int, repetitions: int) -> None:
    inside, errors, widths, lines, seconds = 0, [], [], [], []
    for seed in range(repetitions):
        world = World(seed, decay)
        distractors = world.distractors(size)
        measured = [world.measure(distractors[:n]) for n in (start // 10, start // 3, start)]
        known = measured[-1][0]
        began = time.perf_counter()
        error = estimate_imperfection(forecast_hold_outs(known, seed=seed))
        point = forecast(known, [size], imperfection=error, seed=seed).points[0]
        seconds.append(time.perf_counter() - began)
        truth = world.measure(distractors)[1].mean
        inside += point.interval.low <= truth <= point.interval.high
        errors.append(point.mean - truth)
        widths.append(point.interval.high - point.interval.low)
        line = np.polyfit(np.log([start // 10, start // 3, start]), [e.mean for _, e in measured], 1)
        lines.append(float(np.polyval(line, np.log(size))) - truth)
    print(
        f"decay {decay}, {start:>6} -> {size:>6}: {inside} of {repetitions} inside; "
        f"error {np.abs(errors).mean():.4f} "
        f"(bias {np.mean(errors):+.4f}), interval {np.mean(widths):.4f} wide; "
        f"log-linear error {np.abs(lines).mean():.4f}; {np.median(seconds):.1f} s",
        flush=True,
    )


def photos(repetitions: int, start: int) -> None:
    from ilion.pipeline import Pipeline
    from ilion.pipeline.jobs.forecast import measure_parts

    folder = photos_folder()
    with tempfile.TemporaryDirectory() as name:
        config = ExperimentConfig(
            output=name,
            dataset=DatasetConfig(path=str(folder)),
            extraction=ExtractionConfig(model="efficientnet-lite2"),
        )
        pipeline = Pipeline(config)
        extracted = pipeline.extract()
        inside, errors = 0, []
        for seed in range(repetitions):
            small, whole = measure_parts(pipeline.experiment, extracted, (start, 1500), seed)
            error = estimate_imperfection(forecast_hold_outs(small.counts, seed=seed))
            point = forecast(small.counts, [1500], imperfection=error, seed=seed).points[0]
            inside += point.interval.low <= whole.mean <= point.interval.high
            errors.append(point.mean - whole.mean)
        print(
            f"grocery, {start} -> 1500 distractors: {inside} of {repetitions} inside; "
            f"measured {whole.mean:.4f}, error {np.abs(errors).mean():.4f} (bias {np.mean(errors):+.4f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--no-photos", action="store_true")
    options = parser.parse_args()
    for setting in SETTINGS:
        worlds(*setting, options.repetitions)
    if not options.no_photos:
        photos(options.repetitions, 150)


if __name__ == "__main__":
    main()
