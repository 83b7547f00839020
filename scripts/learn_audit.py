"""Learn how sure an audit is of labels (``src/ilion/audit/score.json``) from drawn sets with planted errors.

    python -m scripts.learn_audit --set FOLDER [--set FOLDER ...] --cache FOLDER --output FILE

The sets are made by ``ilion datasets synth``; their objects must not be those of a set that judges an audit.
One label in twenty is swapped and one positive in twenty loses its label, many times anew; the models are
logistic, with a small penalty, and by their plantings calibrated for data of which one label in twenty is
wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ilion.audit.labels import Asked, Shown, kinds_of, weigh_labels
from ilion.config import DatasetConfig, ExperimentConfig
from ilion.pipeline.jobs.audit_evidence import Look
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.photos import build_photos
from ilion.types import Float32, Float64

SHARE = 0.05
PLANTINGS = 40
PENALTY = 1.0
LOCAL = ("query", "photos", "second", "several", "both", "rest", "queries rest", "several rest")
NAMES = {
    "labelled": (*LOCAL, "descriptor"),
    "labelled, blind": LOCAL,
    "unlabelled": (*LOCAL, "descriptor", "elsewhere"),
    "unlabelled, blind": (*LOCAL, "elsewhere"),
}


def open_set(folder: Path, cache: Path) -> Look:
    """Return what looks at a set."""
    config = ExperimentConfig(
        output=str(cache / "out"), cache=str(cache), dataset=DatasetConfig(path=str(folder))
    )
    pipeline = Pipeline(config)
    return Look(pipeline.experiment, build_photos(pipeline.experiment), descriptors=True)


def plant(
    look: Look, parts: Mapping[int, Float32], rng: np.random.Generator, blind: bool
) -> tuple[Shown, NDArray[np.bool_]]:
    """Plant errors, and return the evidence with which pairs are right.

    Args:
        look: What looks at the set.
        parts: Row -> descriptor of the part that others find in a photo of an object.
        rng: Says which.
        blind: Whether descriptors are left out.
    """
    true = {row: set(several) for row, several in look.shown.items()}
    rows = list(true)
    count = max(round(SHARE * len(rows)), 1)
    chosen = rng.choice(len(rows), 2 * count, replace=False)
    shown: dict[int, tuple[int, ...]] = dict(look.shown)
    for number in chosen[:count]:
        others = [n for n in range(len(look.names)) if n not in true[rows[number]]]
        shown[rows[number]] = (int(rng.choice(others)),)
    for number in chosen[count:]:
        del shown[rows[number]]
    asked: list[Asked] = []
    for one in look.asked:
        if one.row < 0:
            asked.append(one)
        elif one.row in shown:
            asked.append(replace(one, objects=tuple(look.names[n] for n in shown[one.row])))
    described, queries = ({}, {}) if blind else look.described
    if not blind:  # what lost its label has no box any more
        lost = {row for row in look.shown if row not in shown}
        kept = {row: values for row, values in described.items() if row not in lost}
        described = kept | {row: values for row, values in parts.items() if row in lost}
    found = weigh_labels(asked, look.names, shown, described, queries)
    right = [
        name in true.get(row, set())
        for row, name in zip(found.rows.tolist(), found.objects.tolist(), strict=True)
    ]
    return found, np.array(right)


def fit(
    table: Mapping[str, Float64], right: NDArray[np.bool_], names: Sequence[str]
) -> tuple[dict[str, float], float]:
    """Fit a logistic model by Newton's method; return weights and bias."""
    x = np.column_stack([*(table[name] for name in names), np.ones(len(right))])
    scale = np.maximum(np.abs(x).max(axis=0), 1e-9)
    x, y, w = x / scale, right.astype(float), np.zeros(x.shape[1])
    penalty = np.full(x.shape[1], PENALTY)
    penalty[-1] = 1e-6
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -40, 40)))
        gradient = x.T @ (p - y) + penalty * w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty), gradient)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    w = w / scale
    return {name: round(float(v), 5) for name, v in zip(names, w, strict=False)}, round(float(w[-1]), 5)


def main() -> None:
    """Learn, and write the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", type=Path, action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    parts: dict[str, list[tuple[Mapping[str, Float64], NDArray[np.bool_]]]] = {name: [] for name in NAMES}
    for folder in given.set:
        look = open_set(folder, given.cache)
        regions = (
            look.describe_regions(look.regions(look.shown.__contains__)) if look.boxes else look.described[0]
        )
        for seed in range(2 * PLANTINGS):
            found, right = plant(look, regions, np.random.default_rng(seed), blind=seed % 2 == 1)
            for kind, some in kinds_of(found.labelled, found.numbers["described"] == 0).items():
                parts[kind].append(({k: v[some] for k, v in found.numbers.items()}, right[some]))
    models = {}
    for kind, names in NAMES.items():
        table = {name: np.concatenate([numbers[name] for numbers, _ in parts[kind]]) for name in names}
        right = np.concatenate([each for _, each in parts[kind]])
        weights, bias = fit(table, right, names)
        models[kind] = {"bias": bias, "weights": weights}
        total = bias + sum(weights[name] * table[name] for name in names)
        chance = 1 / (1 + np.exp(-np.clip(total, -50, 50)))
        print(kind, len(right), "pairs,", f"{right.mean():.4f} right; by tenths of the chance:")
        for low in np.arange(0, 1, 0.1):
            inside = (chance >= low) & (chance < low + 0.1 + 1e-9)
            if inside.any():
                print(
                    f"  {low:.1f}: {inside.sum():>7} {chance[inside].mean():.3f} {right[inside].mean():.3f}"
                )
    given.output.write_text(json.dumps(models, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
