"""The methods by name: learn a layer from labelled descriptors, and say how it does on unseen classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.closed import lda, pca_whitening, ridge, wccn
from ilion.adapt.estimate import Gain, gain
from ilion.adapt.fewshot import Progress, cross_validate, learn_few_shot
from ilion.adapt.labels import Labels, make_labels
from ilion.adapt.layer import Layer
from ilion.adapt.training import LinearOptions, train_linear
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
        held_out: For ``linear``; see `LinearOptions`.
        folds: Of classes, for the estimate; 0 makes none (``few-shot`` always does).
        seed: Of everything that is drawn at random.
    """

    method: Method = "few-shot"
    dim: int = 512
    shrinkage: float = 0.5
    alpha: float = 1.0
    epochs: int = 5
    held_out: float = 0.0
    folds: int = 5
    seed: int = 0


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
    progress: Progress | None = None,
) -> Learnt:
    """Learn a layer.

    Args:
        values: (N, D) descriptors.
        labels: Of the N photos.
        options: See `MethodOptions`.
        background: (M, D) descriptors of photos that show none of the classes, for the estimate.
        asking: (N,) which photos are searched with, for the estimate; None lets all.
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

    def fit(some: NDArray[np.floating], classes: Int64) -> Sequence[Layer]:
        return [_fit(some, classes, options, None)]

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
    return Learnt(_fit(values, labels, options, progress), estimate, _verdict(estimate), facts)


def _fit(
    values: NDArray[np.floating],
    labels: Labels | Int64,
    options: MethodOptions,
    progress: Progress | None,
) -> Layer:
    classes = labels.classes if isinstance(labels, Labels) else labels
    if options.method == "pca":
        return pca_whitening(values, dim=options.dim, shrinkage=options.shrinkage)
    if options.method == "lda":
        return lda(values, classes, dim=options.dim, shrinkage=options.shrinkage)
    if options.method == "wccn":
        return wccn(values, classes, shrinkage=options.shrinkage)
    if options.method == "ridge":
        return ridge(values, classes, alpha=options.alpha)
    if not isinstance(labels, Labels):
        labels = make_labels([str(i) for i in range(len(classes))], [str(c) for c in classes])
    linear = LinearOptions(
        dim=options.dim, epochs=options.epochs, held_out=options.held_out, seed=options.seed
    )
    return train_linear(values, labels, linear, progress=progress).layer


def _settings(options: MethodOptions) -> dict[str, Any]:
    """Return the settings that the method heeds."""
    heeded = {
        "pca": ("dim", "shrinkage"),
        "lda": ("dim", "shrinkage"),
        "wccn": ("shrinkage",),
        "ridge": ("alpha",),
        "linear": ("dim", "epochs", "held_out", "seed"),
    }[options.method]
    return {name: getattr(options, name) for name in heeded}


def _verdict(estimate: Gain | None) -> str:
    if estimate is None:
        return "no held-out estimate was asked for"
    e = estimate
    word = "gain" if e.certain else "loss" if e.ci95.high < 0 else "no certain gain"
    return (
        f"{word}: mAP of unseen classes {e.before:.3f} -> {e.after:.3f}, difference {e.difference:+.3f} "
        f"[{e.ci95.low:+.3f}, {e.ci95.high:+.3f}] over {e.classes} classes"
    )
