"""How often intervals of few differences hold the truth: ours beside bootstraps and Student's, on 14 laws.

    python benchmarks/intervals.py [--objects 10 20 40 80] [--repetitions 3]

Each repetition draws 1,000 proofs of concept from every law of `tests/evaluation/test_cautious.py`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.evaluation.test_cautious import worlds

from ilion.evaluation.intervals import TAIL, cautious_interval, student_quantile
from ilion.types import Float64

Ends = tuple[Float64, Float64]
SAMPLES = 999


def student(values: Float64, pseudo: float = 0.0) -> Ends:
    """Return Student's interval, with so much of an object at either end of the largest difference."""
    n = values.shape[1] + 2 * pseudo
    reach = np.abs(values).max(axis=1)
    reach = np.where(reach > 1e-12, reach, 1.0)
    mean = values.sum(axis=1) / n
    variance = ((values**2).sum(axis=1) + 2 * pseudo * reach**2 - n * mean**2) / (n - 1)
    half = student_quantile(TAIL, values.shape[1] - 1) * np.sqrt(np.maximum(variance, 0) / n)
    return mean - half, mean + half


def bootstrap(values: Float64, smooth: float = 0.0) -> Ends:
    """Return percentiles of means of resampled values, moved by a normal kernel of so many widths."""
    n, means = values.shape[1], values @ _resampled(values.shape[1]).T
    kernel = smooth * 1.06 * values.std(axis=1, ddof=1, keepdims=True) * n**-0.2 / math.sqrt(n)
    means = means + kernel * np.random.default_rng(2).standard_normal((1, SAMPLES))
    return np.quantile(means, TAIL, axis=1), np.quantile(means, 1 - TAIL, axis=1)


def studentised(values: Float64) -> Ends:
    """Return the bootstrap-t interval, within [-1, 1]."""
    n, weights = values.shape[1], _resampled(values.shape[1])
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(n)
    moved = values @ weights.T - mean[:, None]
    spread = (values**2) @ weights.T - (values @ weights.T) ** 2
    errors = np.sqrt(np.maximum(spread, 0) / (n - 1))
    t = np.where(errors > 1e-6, moved / np.maximum(errors, 1e-6), np.sign(moved) * 50)
    low, high = np.quantile(t, [TAIL, 1 - TAIL], axis=1)
    return np.maximum(mean - high * error, -1), np.minimum(mean - low * error, 1)


def bayesian(values: Float64, end: float = 0.0) -> Ends:
    """Return the Bayesian bootstrap (Rubin 1981) with so much of an object at the end of the range."""
    rng, n = np.random.default_rng(1), values.shape[1]
    weights = rng.standard_exponential((SAMPLES, n))
    far = rng.gamma(end, size=(SAMPLES, 1)) if end else np.zeros((SAMPLES, 1))
    total = weights.sum(axis=1, keepdims=True) + far
    means, away = values @ (weights / total).T, (far / total).T
    return np.quantile(means - away, TAIL, axis=1), np.quantile(means + away, 1 - TAIL, axis=1)


def ours(values: Float64) -> Ends:
    """Return `cautious_interval` of every row."""
    ends = [cautious_interval(row) for row in values]
    return np.array([end.low for end in ends]), np.array([end.high for end in ends])


def _resampled(n: int) -> Float64:
    weights: Float64 = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), SAMPLES) / n
    return weights


METHODS: dict[str, Callable[[Float64], Ends]] = {
    "percentile bootstrap": bootstrap,
    "Bayesian bootstrap": bayesian,
    "smoothed bootstrap": lambda values: bootstrap(values, 1.0),
    "studentised bootstrap": studentised,
    "Student": student,
    "Student, half an object at either end": lambda values: student(values, 0.5),
    "Bayesian, half an object at the end": lambda values: bayesian(values, 0.5),
    "Bayesian, a whole one (Gaffke)": lambda values: bayesian(values, 1.0),
    "ours": ours,
}


def main() -> None:
    """Print the coverage of each method on average and of the least covered law, and its width."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 20, 40, 80])
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    for n in given.objects:
        draws = [
            list(worlds(np.random.default_rng(100 * n + r), n).items()) for r in range(given.repetitions)
        ]
        print(f"{n} objects")
        for name, method in METHODS.items():
            covered: dict[str, list[float]] = {}
            widths = []
            for law, (values, mean) in (each for draw in draws for each in draw):
                low, high = method(values)
                covered.setdefault(law, []).append(
                    float(((low - 1e-9 <= mean) & (mean <= high + 1e-9)).mean())
                )
                widths.append(float((high - low).mean()))
            by_law = {law: float(np.mean(each)) for law, each in covered.items()}
            least = min(by_law, key=lambda law: by_law[law])
            mean_of = 100 * float(np.mean(list(by_law.values())))
            print(
                f"  {name:<40} {mean_of:.1f} [{100 * by_law[least]:.1f}: {least}], {np.mean(widths):.2f} wide"
            )


if __name__ == "__main__":
    main()
