"""Learn how sure an audit is of labels (``src/ilion/audit/score.json``) from drawn sets with planted errors.

    python -m scripts.learn_audit --set FOLDER [--set FOLDER ...] --cache FOLDER --output FILE [--keep FILE]

The sets are made by ``ilion datasets synth``; their objects must not be those of a set that judges an audit.
One label in twenty is swapped and one positive in twenty loses its label, many times anew; the models are
logistic, with a small penalty, and by their plantings calibrated for data of which one label in twenty is
wrong. Words are learnt as what they add to the models that do not read; ``--keep`` takes these from a file,
because what words say depends less on the set that is learnt from than what matches say.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.audit.labels import Asked, Shown, kinds_of, weigh_labels
from ilion.audit.words import Terms, Words
from ilion.config import DatasetConfig, ExperimentConfig, ReadingConfig
from ilion.pipeline.jobs.audit_evidence import Look
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.photos import build_photos
from ilion.types import Float32, Float64

SHARE = 0.05
PLANTINGS = 24
PENALTY = 1.0
LOCAL = ("query", "photos", "second", "several", "both", "rest", "queries rest", "several rest")
WORDS = ("words", "strange words", "words rest")
NAMES = {
    "labelled": (*LOCAL, "descriptor"),
    "labelled, blind": LOCAL,
    "unlabelled": (*LOCAL, "descriptor", "elsewhere"),
    "unlabelled, blind": (*LOCAL, "elsewhere"),
}
NAMES |= {f"{kind}, read": WORDS for kind in NAMES}
"""Numbers of each model; those of pairs that were read are added to what is known of them without words."""


def open_set(folder: Path, cache: Path, *, reading: bool) -> Look:
    """Return what looks at a set, and reads the words in it if it is told to."""
    config = ExperimentConfig(
        output=str(cache / "out"),
        cache=str(cache),
        dataset=DatasetConfig(path=str(folder)),
        reading=ReadingConfig(use="fused" if reading else "none"),
    )
    pipeline = Pipeline(config)
    return Look(pipeline.experiment, build_photos(pipeline.experiment), descriptors=True)


@dataclass(frozen=True)
class Evidence:
    """What is known of the photos of objects, with boxes and without.

    Args:
        parts: Row -> descriptor of the part that others find in a photo of an object.
        words: What was read, within boxes where there are some; None where nothing was.
        found: Row -> words of the part that others find.
    """

    parts: Mapping[int, Float32]
    words: Words | None = None
    found: Mapping[int, Terms] = field(default_factory=dict)

    @property
    def loose(self) -> Evidence:
        """The same of data without boxes, whose words are those of the part that others find."""
        assert self.words is not None
        return replace(self, words=replace(self.words, photos={**self.words.photos, **self.found}))


def gather(look: Look) -> Evidence:
    """Gather what `plant` needs."""
    regions = look.regions(look.shown.__contains__) if look.boxes else {}
    parts = {**look.described[0], **look.describe_regions(regions)}
    if look.words is None:
        return Evidence(parts)
    places = look.word_parts(look.shown.__contains__)
    found = look.read_regions({row: places.get(row, ()) for row in look.shown})
    return Evidence(parts, look.words, found)


def plant(
    look: Look, given: Evidence, rng: np.random.Generator, blind: bool
) -> tuple[Shown, NDArray[np.bool_]]:
    """Plant errors, and return the evidence with which pairs are right.

    Args:
        look: What looks at the set.
        given: What is known of the photos.
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
    # what lost its label has no box any more
    lost = {row for row in look.shown if row not in shown}
    if not blind:
        kept = {row: values for row, values in described.items() if row not in lost}
        described = kept | {row: values for row, values in given.parts.items() if row in lost}
    words = given.words
    if words is not None:
        left = {row: terms for row, terms in given.found.items() if row in lost}
        words = replace(words, photos={**words.photos, **left})
    found = weigh_labels(asked, look.names, shown, described, queries, words=words)
    right = [
        name in true.get(row, set())
        for row, name in zip(found.rows.tolist(), found.objects.tolist(), strict=True)
    ]
    return found, np.array(right)


def fit(
    table: Mapping[str, Float64],
    right: NDArray[np.bool_],
    names: Sequence[str],
    known: Float64 | float = 0.0,
) -> tuple[dict[str, float], float]:
    """Fit a logistic model by Newton's method, beside log odds that are known; return weights and bias."""
    x = np.column_stack([*(table[name] for name in names), np.ones(len(right))])
    scale = np.maximum(np.abs(x).max(axis=0), 1e-9)
    x, y, w = x / scale, right.astype(float), np.zeros(x.shape[1])
    penalty = np.full(x.shape[1], PENALTY)
    penalty[-1] = 1e-6

    def loss(weights: NDArray[np.float64]) -> float:
        odds = x @ weights + known
        return float((np.logaddexp(0, odds) - y * odds).sum() + (penalty * weights**2).sum() / 2)

    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(x @ w + known, -40, 40)))
        gradient = x.T @ (p - y) + penalty * w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty), gradient)
        while loss(w - step) > loss(w) and np.abs(step).max() > 1e-8:
            step = step / 2  # far from the best, a whole step goes too far
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
    parser.add_argument("--keep", type=Path, help="score whose models without words are kept")
    given = parser.parse_args()
    parts: dict[str, list[tuple[Mapping[str, Float64], NDArray[np.bool_]]]] = {name: [] for name in NAMES}
    for folder in given.set:
        look = open_set(folder, given.cache / folder.name, reading=True)
        known = gather(look)
        silent = replace(known, words=None)
        for seed in range(4 * PLANTINGS):
            # with descriptors and without, read and not, in boxes and without
            evidence = (silent, known, known.loose)[(0, 1, 0, 2)[seed // 2 % 4]]
            found, right = plant(look, evidence, np.random.default_rng(seed), blind=seed % 2 == 1)
            for kind, some in kinds_of(found).items():
                parts[kind].append(({k: v[some] for k, v in found.numbers.items()}, right[some]))
    kept = json.loads(given.keep.read_text("utf-8")) if given.keep else {}
    models: dict[str, Any] = {}
    for kind, names in NAMES.items():
        right = np.concatenate([each for _, each in parts[kind]])
        base = models.get(kind.removesuffix(", read"), {"bias": 0.0, "weights": {}})
        table = {
            name: np.concatenate([numbers[name] for numbers, _ in parts[kind]])
            for name in (*base["weights"], *names)
        }
        before = base["bias"] + sum(weight * table[name] for name, weight in base["weights"].items())
        if kind in kept and base["bias"] == 0:
            weights, bias = kept[kind]["weights"], kept[kind]["bias"]
        else:
            weights, bias = fit(table, right, names, before)
        weights, bias = {**base["weights"], **weights}, round(base["bias"] + bias, 5)
        models[kind] = {"bias": bias, "weights": weights}
        total = bias + sum(weights[name] * table[name] for name in weights)
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
