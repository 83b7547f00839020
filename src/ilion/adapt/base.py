"""What a method of adaptation is, and the registry of all methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.estimate import Gain
from ilion.adapt.labels import Labels
from ilion.adapt.layer import Layer
from ilion.registry import Registry
from ilion.types import Bool, Float32, Value

Progress = Callable[[int, int], None]
"""Callback that receives what is done and what there is in all, of the current step."""


@dataclass(frozen=True)
class Photos(Value):
    """Labelled photos to learn from.

    Args:
        values: (N, D) descriptors.
        labels: Labels of the N photos.
        background: (M, D) descriptors of photos that show none of the classes, for an estimate.
        asking: (N,) which photos are searched with in an estimate; None for all.
        checkpoint: File for the state of an unfinished training; None keeps none.
        progress: Callback of the current step.
    """

    values: NDArray[np.floating]
    labels: Labels
    background: Float32 | None = None
    asking: Bool | None = None
    checkpoint: Path | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Learnt(Value):
    """A layer and how it does on unseen classes.

    Args:
        layer: The layer.
        estimate: Gain of learning in this way on unseen classes; None where it was not asked for.
        verdict: The estimate in one sentence.
        facts: Printable facts of the method.
    """

    layer: Layer
    estimate: Gain | None
    verdict: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """A way to learn a layer: a dataclass whose fields are the settings that it heeds, named as in the
    experiment's section ``adaptation``, or ``seed``.

    Fields of other names keep their defaults. A method with the field ``folds`` makes its own estimate.
    """

    def learn(self, photos: Photos) -> Layer | Learnt:
        """Learn a layer; of a method with ``folds`` the layer comes with its estimate.

        Raises:
            DatasetError: The labels do not fit or are too few.
        """
        ...


def _no_method(make: object) -> str:
    whole = isinstance(make, type) and is_dataclass(make) and callable(getattr(make, "learn", None))
    return "" if whole else "a dataclass with a method learn(photos)"


METHODS: Registry[Callable[..., Method]] = Registry("adaptation method", __package__, check=_no_method)
"""The methods of ``adaptation.method``: classes of `Method`."""
