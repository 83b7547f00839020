"""The methods by name: learn a layer from labelled descriptors, and say how it does on unseen classes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.classifier import Margin
from ilion.adapt.closed import lda, pca_whitening, ridge, wccn
from ilion.adapt.estimate import Gain, gain
from ilion.adapt.fewshot import Progress, cross_validate, learn_few_shot
from ilion.adapt.labels import Labels
from ilion.adapt.layer import Layer, identity
from ilion.adapt.sampling import Balance
from ilion.adapt.training import LinearOptions, train_linear
from ilion.errors import ConfigError
from ilion.types import Bool, Float32, Int64

Method = Literal["pca", "lda", "wccn", "ridge", "linear", "few-shot"]


@dataclass(frozen=True)
class MethodOptions:
    """How a layer is learnt.

    Args:
        method: Which.
        dim: Dimensions of the result, at most, for ``pca``, ``lda`` and ``linear``.
        shrinkage: For ``pca``, ``lda`` and ``wccn``; see `ilion.adapt.closed`.
        alpha: For ``ridge``.
        epochs: For ``linear``, at most.
        held_out: For ``linear``; see `LinearOptions`, also for those that follow.
        patience: For ``linear``.
        margin: For ``linear``.
        margin_kind: For ``linear``.
        balance: For ``linear``.
        checkpoint_every: For ``linear``: batches between two checkpoints; 0 keeps none.
        folds: Of classes, for the estimate; 0 makes none (``few-shot`` always does).
        guard: Keep the identity where the estimate shows no certain gain (``few-shot`` always does).
        seed: Of everything that is drawn at random.

    Raises:
        ConfigError: A number for ``linear`` is out of range, or there is no estimate to guard by.
    """

    method: Method = "few-shot"
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
        if self.guard and self.folds < 2 and self.method != "few-shot":
            raise ConfigError(
                f"adaptation.guard goes by the held-out estimate, and adaptation.folds = {self.folds} makes "
                "none; take 2 or more"
            )
        if self.method == "linear":
            self.linear()  # a number out of range is told before any photo is looked at

    def linear(self) -> LinearOptions:
        """Return the options of training.

        Raises:
            ConfigError: A number is out of range.
        """
        return LinearOptions(
            dim=self.dim,
            margin=self.margin,
            margin_kind=self.margin_kind,
            epochs=self.epochs,
            balance=self.balance,
            held_out=self.held_out,
            patience=self.patience,
            seed=self.seed,
            checkpoint_every=self.checkpoint_every or LinearOptions.checkpoint_every,
        )


@dataclass(frozen=True)
class Learnt:
    """A layer and how it does on unseen classes.

    Args:
        layer: The layer.
        estimate: Of learning in this way; None where it was not asked for.
        verdict: One sentence for people.
        facts: Printable facts of the method.
    """

    layer: Layer
    estimate: Gain | None
    verdict: str
    facts: dict[str, Any]


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
        labels: Of the N photos.
        options: See `MethodOptions`.
        background: (M, D) descriptors of photos that show none of the classes, for the estimate.
        asking: (N,) which photos are searched with, for the estimate; None lets all.
        checkpoints: Folder where ``linear`` keeps how far it is, so that learning the same again goes on.
        progress: Called with what is done and what there is in all, of the current step.

    Raises:
        ConfigError: A setting is out of range.
        DatasetError: The labels do not fit or are too few.
    """
    facts: dict[str, Any] = {
        "method": options.method,
        "photos": len(labels),
        "classes": len(labels.class_names),
    }
    if options.method == "few-shot":
        found = learn_few_shot(
            values,
            labels,
            folds=max(2, options.folds),
            background=background,
            asking=asking,
            seed=options.seed,
            progress=progress,
        )
        facts |= {"shrinkage": found.shrinkage, "path": {str(s): ap for s, ap in found.path.items()}}
        return Learnt(found.layer, found.estimate, found.verdict, facts)

    def train(some: NDArray[np.floating], of: Labels, name: str, told: Progress | None) -> Layer:
        kept = checkpoints / f"{name}.npz" if checkpoints and options.checkpoint_every else None
        return train_linear(some, of, options.linear(), checkpoint=kept, progress=told).layer

    numbers = itertools.count()

    def fit(some: NDArray[np.floating], classes: Int64, rows: Int64) -> Sequence[Layer]:
        if options.method == "linear":
            return [train(some, labels.take(rows), f"fold-{next(numbers)}", None)]
        return [_closed(some, classes, options)]

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
        estimate = gain(held.before, held.after[0], held.photos, seed=options.seed)
    facts |= _settings(options)
    if options.guard and estimate is not None and not estimate.certain:
        unchanged = f"{_verdict(estimate)}. The layer is the identity."
        return Learnt(identity(values.shape[1]), estimate, unchanged, facts)
    if options.method == "linear":
        layer = train(values, labels, "whole", progress)
    else:
        layer = _closed(values, labels.classes, options)
    return Learnt(layer, estimate, _verdict(estimate), facts)


def _closed(values: NDArray[np.floating], classes: Int64, options: MethodOptions) -> Layer:
    """Learn by one of the methods that have a closed form."""
    if options.method == "pca":
        return pca_whitening(values, dim=options.dim, shrinkage=options.shrinkage)
    if options.method == "lda":
        return lda(values, classes, dim=options.dim, shrinkage=options.shrinkage)
    if options.method == "wccn":
        return wccn(values, classes, shrinkage=options.shrinkage)
    return ridge(values, classes, alpha=options.alpha)


def _settings(options: MethodOptions) -> dict[str, Any]:
    """Return the settings that the method heeds."""
    heeded = {
        "pca": ("dim", "shrinkage"),
        "lda": ("dim", "shrinkage"),
        "wccn": ("shrinkage",),
        "ridge": ("alpha",),
        "linear": ("dim", "epochs", "held_out", "patience", "margin", "margin_kind", "balance", "seed"),
    }[options.method]
    return {name: getattr(options, name) for name in (*heeded, "guard")}


def _verdict(estimate: Gain | None) -> str:
    if estimate is None:
        return "no held-out estimate was asked for"
    e = estimate
    word = "gain" if e.certain else "loss" if e.ci95.high < 0 else "no certain gain"
    return (
        f"{word}: mAP of unseen classes {e.before:.3f} -> {e.after:.3f}, difference {e.difference:+.3f} "
        f"[{e.ci95.low:+.3f}, {e.ci95.high:+.3f}] over {e.classes} classes"
    )
