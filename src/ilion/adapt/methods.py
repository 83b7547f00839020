"""Learn a layer from labelled descriptors by any method, and say how it does on unseen classes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.base import METHODS, Learnt, Method, Photos, Progress
from ilion.adapt.classifier import Margin
from ilion.adapt.estimate import Gain, estimate_gain
from ilion.adapt.fewshot import cross_validate
from ilion.adapt.labels import Labels
from ilion.adapt.layer import Layer, identity
from ilion.adapt.sampling import Balance
from ilion.errors import ConfigError
from ilion.types import Bool, Float32, Int64
from ilion.wording import counted


@dataclass(frozen=True)
class MethodOptions:
    """How a layer is learnt; the settings that are not described here are those of the methods.

    Args:
        method: Name in `METHODS`.
        checkpoint_every: Batches between two checkpoints of a training; 0 keeps none.
        folds: Folds of classes for the estimate; 0 makes none (``few-shot`` always does).
        guard: Whether the identity is kept where the estimate shows no certain gain (``few-shot`` always
            does).
        seed: Seed of everything that is drawn at random.

    Raises:
        ConfigError: There is no such method, a number is out of range for it, or there is no estimate to
            guard by.
    """

    method: str = "few-shot"
    dim: int = 512
    shrinkage: float = 0.5
    alpha: float = 1.0
    epochs: int = 5
    held_out: float = 0.0
    patience: int = 3
    margin: float = 0.0
    margin_kind: Margin = "cosface"
    balance: Balance = "none"
    checkpoint_every: int = 2000
    folds: int = 5
    guard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        self.build()  # a number out of range is said before any photo is looked at
        if self.guard and self.folds < 2 and "folds" not in self.heeded:
            raise ConfigError(
                f"adaptation.guard goes by the held-out estimate, and adaptation.folds = {self.folds} makes "
                "none; take 2 or more"
            )

    @property
    def heeded(self) -> tuple[str, ...]:
        """Names of the settings that the method heeds."""
        kind: Any = METHODS.find(self.method).make
        return tuple(f.name for f in dataclasses.fields(kind) if hasattr(self, f.name))

    def build(self) -> Method:
        """Return the method with its settings.

        Raises:
            ConfigError: There is no such method, or a number is out of range.
        """
        part = METHODS.find(self.method)
        method: Method = METHODS.call(part, **{name: getattr(self, name) for name in self.heeded})
        return method

    def inputs(self) -> dict[str, Any]:
        """Return what a layer depends on: the settings, and the code of a method from outside."""
        part, plain = METHODS.find(self.method), dataclasses.asdict(self)
        del plain["checkpoint_every"]  # which changes no layer
        return {**plain, "method": part.name} | ({"code": part.digest} if part.digest else {})


def learn(
    values: NDArray[np.floating],
    labels: Labels,
    options: MethodOptions,
    *,
    background: Float32 | None = None,
    asking: Bool | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
) -> Learnt:
    """Learn a layer.

    Args:
        values: (N, D) descriptors.
        labels: Labels of the N photos.
        options: Method and settings.
        background: See `Photos`.
        asking: See `Photos`.
        checkpoints: Folder for the state of an unfinished training, from which learning the same goes on.
        progress: See `Progress`.

    Raises:
        ConfigError: A setting is out of range.
        DatasetError: The labels do not fit or are too few.
    """
    method = options.build()
    photos = Photos(values, labels, background, asking, progress=progress)
    facts: dict[str, Any] = {
        "method": METHODS.find(options.method).name,
        "photos": len(labels),
        "classes": len(labels.class_names),
    }

    def learn_layer(some: Photos, name: str) -> Layer:
        if checkpoints and options.checkpoint_every:
            some = replace(some, checkpoint=checkpoints / f"{name}.npz")
        layer = method.learn(some)
        return layer.layer if isinstance(layer, Learnt) else layer

    if "folds" in options.heeded:
        found = method.learn(photos)
        assert isinstance(found, Learnt)
        return replace(found, facts={**facts, **found.facts})
    numbers = itertools.count()

    def fit(some: NDArray[np.floating], classes: Int64, rows: Int64) -> Sequence[Layer]:
        return [learn_layer(Photos(some, labels.take(rows)), f"fold-{next(numbers)}")]

    estimate = None
    if options.folds:
        held = cross_validate(
            values,
            labels.classes,
            fit,
            folds=options.folds,
            background=background,
            asking=asking,
            seed=options.seed,
            progress=progress,
        )
        estimate = estimate_gain(held.before, held.after[0], held.photos, seed=options.seed)
    facts |= {
        name: getattr(options, name) for name in (*options.heeded, "guard") if name != "checkpoint_every"
    }
    if options.guard and estimate is not None and not estimate.certain:
        unchanged = f"{_verdict(estimate)}. The layer is the identity."
        return Learnt(identity(values.shape[1]), estimate, unchanged, facts)
    return Learnt(learn_layer(photos, "whole"), estimate, _verdict(estimate), facts)


def _verdict(estimate: Gain | None) -> str:
    if estimate is None:
        return "no held-out estimate was asked for"
    e = estimate
    word = "gain" if e.certain else "loss" if e.ci95.high < 0 else "no certain gain"
    return (
        f"{word}: mAP of unseen classes {e.before:.3f} -> {e.after:.3f}, difference {e.difference:+.3f} "
        f"[{e.ci95.low:+.3f}, {e.ci95.high:+.3f}] over {counted(e.classes, 'class', 'classes')}"
    )
