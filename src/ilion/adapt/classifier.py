"""A cosine classifier over a linear layer: gradients by hand, and Adam, in blocks that stay in the cache.

The loss is softmax cross-entropy of ``scale * cos(w_c, Wx + b)``, the mean over the batch; the optimiser is
Adam with L2 weight decay (Kingma and Ba, ICLR 2015), as torch does both. Nothing is approximated. What
makes it fast:

- The classifier passes through the cache once forward and once backward, a block of classes at a time. The
  softmax is gathered on the way with a running maximum (Milakov and Gimelshein, arXiv 1805.02867, 2018).
- Class vectors are never normalised in memory: their inverse lengths scale columns, and the gradient's part
  along a vector is taken off where Adam reads it anyway.
- Gradient, both moments and the update of a block are one sequence of in-place passes; the classifier's
  gradient is never stored.
- Each thread takes a group of classes from the matrix product to the update, with the products in that very
  thread: threads of the linear algebra library and our own would wait for each other at every step.

Letters: B descriptors in a batch, D dimensions in, E dimensions out, C classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilion.runtime.threads import single_threaded_products
from ilion.types import Int64

Margin = Literal["cosface", "arcface"]
Array = NDArray[np.floating[Any]]

GROUPS = 16
"""Groups of classes that threads take, at most; they, and so the result, depend on no number of threads."""
GROUP_CLASSES = 512
"""Classes of a group at least: fewer are not worth handing over."""
BLOCK_VALUES = 2**20
"""Values of the classifier worked on at a time: 4 MB in float32, and as much of gradient and each moment."""
CACHE_VALUES = 2**17
"""Values of one in-place pass: with gradient, moments and scratch 2.5 MB in float32."""
_TINY = 1e-12
"""Smallest length that is divided by, as in torch's ``normalize``."""


@dataclass(frozen=True)
class Loss:
    """The loss that is minimised.

    Args:
        scale: Factor of the cosines before the softmax.
        margin: Margin of the right class; 0 is the plain softmax.
        kind: ``cosface`` takes the margin off the cosine (Wang et al., CVPR 2018), ``arcface`` adds it to the
            angle (Deng et al., CVPR 2019; beyond pi - margin the cosine falls on linearly, as in its code).
    """

    scale: float = 16.0
    margin: float = 0.0
    kind: Margin = "cosface"

    def of_target(self, cosines: Array) -> tuple[Array, Array]:
        """Return what replaces the cosines of the right classes, and its derivative by them.

        >>> Loss(margin=0.25).of_target(np.array([0.5]))
        (array([0.25]), array([1.]))
        """
        if self.margin == 0:
            return cosines, np.ones_like(cosines)
        if self.kind == "cosface":
            return cosines - self.margin, np.ones_like(cosines)
        m = self.margin
        sines = np.sqrt(np.maximum(1 - cosines**2, 1e-12))
        inside = cosines > np.cos(np.pi - m)
        moved = np.where(inside, cosines * np.cos(m) - sines * np.sin(m), cosines - m * np.sin(m))
        slope = np.where(inside, np.cos(m) + cosines * np.sin(m) / sines, 1.0)
        return moved.astype(cosines.dtype), slope.astype(cosines.dtype)


@dataclass(frozen=True)
class Adam:
    """Settings of Adam; those not named in the recipe are torch's own."""

    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class _Sums:
    """A softmax over some blocks of classes.

    Args:
        top: (B,) the largest logit.
        total: (B,) sum of the exponentials against it.
        towards: (B, E) class vectors, weighted by them.
        seen: (B,) largest logit for each block when it was its turn.
    """

    top: Array
    total: Array
    towards: Array
    seen: list[Array]

    def merge(self, other: _Sums) -> _Sums:
        """Return the softmax over the blocks of both."""
        top = np.maximum(self.top, other.top)
        mine, theirs = np.exp(self.top - top), np.exp(other.top - top)
        total = self.total * mine + other.total * theirs
        towards = self.towards * mine[:, None] + other.towards * theirs[:, None]
        return _Sums(top, total, towards, [])


@dataclass(frozen=True)
class _Forward:
    """What the way forward leaves for the way back; B descriptors, E dimensions, C classes.

    Args:
        values: (B, D) the batch.
        order: (B,) the batch sorted by class.
        labels: (B,) classes in that order.
        unit: (B, E) adapted descriptors.
        lengths: (B,) their lengths before normalisation.
        softmax: (C, B) exponentials over class lengths, each block of classes against its own maximum.
        shares: (B,) factors for each block of a group, which turn its exponentials into probabilities over B,
            times the scale.
        pull: (B,) weight of the right class's vector in the gradient.
        towards: (B, E) gradient by the adapted descriptors.
    """

    values: Array
    order: Int64
    labels: Int64
    unit: Array
    lengths: Array
    softmax: Array
    shares: list[list[Array]]
    pull: Array
    towards: Array


Update = Callable[[str, slice, Array], None]


class Classifier:
    """A layer and a classifier that learn together.

    Args:
        weight: (E, D) of the layer; float32, or float64 for tests. All arrays are changed in place.
        bias: (E,).
        classes: (C, E) class vectors.
        loss: The loss.
        adam: The optimiser.
        threads: Number of threads; 0 means one per core. It does not change the result.
    """

    def __init__(
        self, weight: Array, bias: Array, classes: Array, loss: Loss, adam: Adam, threads: int = 0
    ) -> None:
        self.parameters = {"weight": weight, "bias": bias, "classes": classes}
        # moments are kept divided by (1 - beta), which saves a pass over each
        self.first = {name: np.zeros_like(p) for name, p in self.parameters.items()}
        self.second = {name: np.zeros_like(p) for name, p in self.parameters.items()}
        self.steps = 0
        self.loss, self.adam = loss, adam
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)
        most = max(1, BLOCK_VALUES // classes.shape[1])
        groups = min(GROUPS, max(2, len(classes) // GROUP_CLASSES))
        edges = np.unique(np.linspace(0, len(classes), groups + 1).astype(int)).tolist()
        self._groups = [
            [slice(start, min(start + most, last)) for start in range(first, last, most)]
            for first, last in pairwise(edges)
        ]
        self._inverse = np.empty(len(classes), classes.dtype)
        self._held: dict[str, Array] = {}
        self.remeasure()

    def remeasure(self) -> None:
        """Take note that the class vectors were changed from outside."""
        for block in (block for group in self._groups for block in group):
            self._inverse[block] = _inverse_lengths(self.parameters["classes"][block])

    def step(self, values: Array, labels: Int64) -> float:
        """Learn from one batch.

        Args:
            values: (B, D) of the parameters' type.
            labels: (B,) classes.

        Returns:
            The mean loss before the update.
        """
        with single_threaded_products():
            loss, passed = self._forward(values, labels)
            self.steps += 1
            self._backward(passed, self._update)
        return loss

    def gradients(self, values: Array, labels: Int64) -> tuple[float, dict[str, Array]]:
        """Return the mean loss and its gradients by parameter, without weight decay; nothing is changed."""
        found = {name: np.zeros_like(p) for name, p in self.parameters.items()}

        def keep(name: str, rows: slice, gradient: Array) -> None:
            found[name][rows] = gradient
            if name == "classes":
                own = self.parameters[name][rows]
                found[name][rows] -= self._along(gradient, own, rows)[:, None] * own

        loss, passed = self._forward(values, labels)
        self._backward(passed, keep)
        return loss, found

    def _forward(self, values: Array, labels: Int64) -> tuple[float, _Forward]:
        weight, bias, classes = (self.parameters[name] for name in ("weight", "bias", "classes"))
        batch, scale, dtype = len(values), self.loss.scale, values.dtype
        order = np.argsort(labels, kind="stable")
        ordered = labels[order]
        unit = self._array("unit", batch, len(weight))

        def adapt(rows: slice) -> None:
            np.matmul(values[rows], weight.T, out=unit[rows])

        for _ in self._pool.map(adapt, _parts(batch)):
            pass
        unit += bias
        lengths = np.maximum(np.sqrt(np.einsum("be,be->b", unit, unit)), _TINY)
        unit /= lengths[:, None]
        own, own_inverse = classes[labels], self._inverse[labels]
        cosines, slope = self.loss.of_target(np.einsum("be,be->b", unit, own) * own_inverse)
        targets = scale * cosines

        softmax = self._array("softmax", len(classes), batch)

        def gather(group: list[slice]) -> _Sums:
            top, total = np.full(batch, -np.inf, dtype), np.zeros(batch, dtype)
            towards, seen = np.zeros_like(unit), []
            for block in group:
                # one row a class, so that what belongs to a class scales a row
                part, inverse = softmax[block], self._inverse[block]
                first, last = np.searchsorted(ordered, (block.start, block.stop))
                here = order[first:last]
                np.matmul(classes[block], unit.T, out=part)
                part *= (inverse * scale)[:, None]
                part[ordered[first:last] - block.start, here] = targets[here]
                higher = np.maximum(top, part.max(axis=0))
                fade, top = np.exp(top - higher), higher
                part -= top
                np.exp(part, out=part)
                total = total * fade + part.sum(axis=0)
                part[ordered[first:last] - block.start, here] *= slope[here]
                part *= inverse[:, None]
                towards *= fade[:, None]
                towards += part.T @ classes[block]
                seen.append(top)
            return _Sums(top, total, towards, seen)

        groups = list(self._pool.map(gather, self._groups))
        whole = reduce(_Sums.merge, groups)
        pull = scale / batch * slope * own_inverse
        towards = whole.towards * (scale / batch / whole.total)[:, None]
        towards -= pull[:, None] * own
        shares = [[scale / batch / whole.total * np.exp(s - whole.top) for s in g.seen] for g in groups]
        loss = float(np.mean(np.log(whole.total) + whole.top - targets))
        return loss, _Forward(values, order, ordered, unit, lengths, softmax, shares, pull, towards)

    def _backward(self, passed: _Forward, update: Update) -> None:
        """Hand the gradients to ``update``; those of class vectors still hold their part along the vector."""
        weight, classes = self.parameters["weight"], self.parameters["classes"]
        unit, pulled = passed.unit, (passed.unit * passed.pull[:, None])[passed.order]

        def learn(number: int) -> None:
            for block, share in zip(self._groups[number], passed.shares[number], strict=True):
                gradient = self._array(f"gradient {number}", len(classes[block]), classes.shape[1])
                np.matmul(passed.softmax[block], unit * share[:, None], out=gradient)
                first, last = np.searchsorted(passed.labels, (block.start, block.stop))
                if first < last:
                    of = passed.labels[first:last] - block.start
                    starts = np.flatnonzero(np.diff(of, prepend=-1))
                    gradient[of[starts]] -= np.add.reduceat(pulled[first:last], starts, axis=0)
                update("classes", block, gradient)

        slide = passed.towards - unit * np.einsum("be,be->b", passed.towards, unit)[:, None]
        slide /= passed.lengths[:, None]
        turned = np.ascontiguousarray(slide.T)

        def adapt(rows: slice) -> None:
            update("weight", rows, np.matmul(turned[rows], passed.values))

        for _ in self._pool.map(learn, range(len(self._groups))):
            pass
        for _ in self._pool.map(adapt, _parts(len(weight))):
            pass
        update("bias", slice(0, len(weight)), slide.sum(axis=0))

    def _along(self, gradient: Array, own: Array, rows: slice) -> Array:
        """Return how much of a class vector is in its gradient; lengths are divided out, so it goes."""
        return np.asarray(np.einsum("ce,ce->c", gradient, own) * self._inverse[rows] ** 2)

    def _update(self, name: str, rows: slice, gradient: Array) -> None:
        """Take one step of Adam; ``gradient`` is used up."""
        adam, count = self.adam, self.steps
        root = np.sqrt((1 - adam.beta2**count) / (1 - adam.beta2))
        rate = adam.learning_rate * (1 - adam.beta1) / (1 - adam.beta1**count) * root
        wide = [
            a[rows].reshape(len(gradient), -1)
            for a in (self.parameters[name], self.first[name], self.second[name])
        ]
        gradients = gradient.reshape(len(gradient), -1)

        step = max(1, CACHE_VALUES // gradients.shape[1])
        for start in range(0, len(gradients), step):
            few = slice(start, start + step)
            g, (w, m, v) = gradients[few], (array[few] for array in wide)
            decay: Any = adam.weight_decay
            absolute = slice(rows.start + start, rows.start + start + len(g))
            if name == "classes":
                decay = (adam.weight_decay - self._along(g, w, absolute))[:, None]
            scratch = w * decay
            g += scratch
            m *= adam.beta1
            m += g
            g *= g
            v *= adam.beta2
            v += g
            np.sqrt(v, out=scratch)
            scratch += adam.epsilon * root
            np.divide(m, scratch, out=scratch)
            scratch *= rate
            w -= scratch
            if name == "classes":
                self._inverse[absolute] = _inverse_lengths(w)

    def _array(self, name: str, rows: int, columns: int) -> Array:
        """Return a kept array of the given shape; its content is old."""
        held = self._held.get(name)
        if held is None or len(held) < rows * columns:
            held = self._held[name] = np.empty(rows * columns, self._inverse.dtype)
        return held[: rows * columns].reshape(rows, columns)


def _parts(count: int) -> list[slice]:
    """Cut rows in parts that do not depend on the number of threads."""
    edges = np.unique(np.linspace(0, count, 3).astype(int)).tolist()
    return [slice(first, last) for first, last in pairwise(edges)]


def _inverse_lengths(rows: Array) -> Array:
    return np.asarray(1 / np.maximum(np.sqrt(np.einsum("ce,ce->c", rows, rows)), _TINY), rows.dtype)
