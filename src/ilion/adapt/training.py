"""Train a linear layer from labelled descriptors, by default with the recipe of the ILIAS benchmark.

The recipe (Kordopatis-Zilos et al., CVPR 2025): one linear layer to 512 dimensions under a cosine
classifier over all (class, domain) pairs, softmax scale 16, no margin, Adam with rate 1e-3 and weight decay
1e-6, batches of 128, 2 to 5 epochs. Weights start as torch starts linear layers, those of the classifier
too.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.base import METHODS, Photos, Progress
from ilion.adapt.classifier import Adam, Array, Classifier, Loss, Margin
from ilion.adapt.estimate import class_precisions
from ilion.adapt.labels import Labels
from ilion.adapt.layer import Adapter
from ilion.adapt.sampling import Balance, draw_chances, plan_epoch, read_batches
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.storage import fingerprint, read_arrays, write_arrays
from ilion.types import Float32, Int64
from ilion.wording import counted

log = logging.getLogger(__name__)

HELD_PHOTOS = 4000
"""Photos of held-out classes that are looked at after an epoch: 16 million similarities."""


@METHODS.register("linear")
@dataclass(frozen=True)
class LinearOptions:
    """The method ``linear`` and its settings; the defaults are the published recipe.

    Args:
        dim: Dimensions of the result.
        scale: Factor of the cosines before the softmax.
        margin: Margin of the right class.
        margin_kind: ``cosface`` or ``arcface``.
        learning_rate: Learning rate of Adam.
        weight_decay: Weight decay of Adam, added to the gradient.
        batch: Number of descriptors in a batch.
        epochs: Largest number of passes over the photos.
        balance: See `ilion.adapt.sampling.draw_chances`; ``none`` is the recipe.
        held_out: Share of the classes that is not learnt but watched after every epoch: the layer of the best
            epoch is kept. 0 learns from all classes and keeps the last epoch.
        patience: Number of epochs without a better one after which training ends; only with ``held_out``.
        seed: Seed of the start, the order and the held-out classes.
        threads: Number of threads of the in-place passes; 0 means one per core.
        memory: Bytes of descriptors that may be held at once; see `ilion.adapt.sampling.plan_epoch`.
        checkpoint_every: Number of batches between two checkpoints; 0 keeps none.

    Raises:
        ConfigError: A number is out of range.
    """

    dim: int = 512
    epochs: int = 5
    held_out: float = 0.0
    patience: int = 3
    margin: float = 0.0
    margin_kind: Margin = "cosface"
    balance: Balance = "none"
    seed: int = 0
    checkpoint_every: int = 2000
    scale: float = 16.0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    batch: int = 128
    threads: int = 0
    memory: int = 2**30

    def __post_init__(self) -> None:
        if min(self.dim, self.batch, self.epochs, self.patience) < 1 or self.checkpoint_every < 0:
            raise ConfigError(f"training a layer: a number of dimensions or photos is below 1: {self}")
        if min(self.scale, self.learning_rate) <= 0 or min(self.weight_decay, self.margin) < 0:
            raise ConfigError(
                "training a layer: scale and learning_rate must be positive, weight_decay and margin "
                "not negative"
            )
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"training a layer: held_out is a share below 1, got {self.held_out}")

    def learn(self, photos: Photos) -> Adapter:
        """Train a layer; see `train_linear`."""
        kept, told = photos.checkpoint, photos.progress
        return train_linear(photos.values, photos.labels, self, checkpoint=kept, progress=told).layer


@dataclass(frozen=True)
class Trained:
    """A trained layer.

    Args:
        layer: The layer.
        losses: Mean loss of each epoch.
        held_out: Mean AP on the held-out classes after each epoch, the first before training; empty without.
        epoch: Number of the epoch that gave the layer, from 1.
    """

    layer: Adapter
    losses: tuple[float, ...]
    held_out: tuple[float, ...]
    epoch: int


def train_linear(
    values: NDArray[np.floating],
    labels: Labels,
    options: LinearOptions | None = None,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a layer; the same input, options and machine give the same layer, interrupted or not.

    Args:
        values: (N, D) float16 or float32 descriptors, memory-mapped perhaps: they are never held whole.
        labels: Labels of the N descriptors.
        options: See `LinearOptions`.
        checkpoint: A ``.npz`` file that is written now and then, and from which an interrupted training
            goes on.
        progress: See `Progress`.

    Raises:
        DatasetError: Labels do not fit, or fewer than two classes are left to learn from.
        ArtifactError: The checkpoint belongs to another training, or the loss is not finite.
    """
    options = options or LinearOptions()
    if values.ndim != 2 or len(values) != len(labels):
        raise DatasetError(
            f"{counted(len(labels), 'label does', 'labels do')} not fit descriptors of shape {values.shape}"
        )
    return _Training(values, labels, options, checkpoint, progress).run()


class _Training:
    """The state of one training."""

    def __init__(
        self,
        values: NDArray[np.floating],
        labels: Labels,
        options: LinearOptions,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> None:
        self.values, self.options, self.checkpoint, self.progress = values, options, checkpoint, progress
        learnt, self.held, self.held_classes = split_classes(labels, options.held_out, options.seed)
        self.rows = learnt
        names, compact = np.unique(labels.classes[learnt], return_inverse=True)
        if len(names) < 2:
            raise DatasetError(f"a classifier needs at least two classes to learn from, got {len(names)}")
        self.classes = np.full(len(labels), -1, np.int64)
        self.classes[learnt] = compact.reshape(-1)
        self.chances = draw_chances(self.classes[learnt], labels.domains[learnt], options.balance)
        self.pool = max(options.batch, options.memory // (2 * values.shape[1] * values.dtype.itemsize))
        self.model = start_classifier(values.shape[1], len(names), options)
        self.losses: list[float] = []
        self.precisions: list[float] = []
        self.best: dict[str, Array] = {}
        self.best_epoch = 0
        self.running = 0.0
        self.done = 0
        self.identity = fingerprint(
            {k: v for k, v in asdict(options).items() if k not in ("threads", "checkpoint_every")},
            list(values.shape),
            str(values.dtype),
            _glimpse(values),
            labels.classes.tolist(),
            labels.domains.tolist(),
        )

    def run(self) -> Trained:
        options = self.options
        steps = -(-len(self.rows) // options.batch)
        if self.checkpoint and self.checkpoint.exists():
            self._resume(self.checkpoint)
            log.info("training goes on at batch %d of %d", self.done, steps * options.epochs)
        if self.held.size and not self.precisions:
            self._watch()
        for epoch in range(self.done // steps, options.epochs):
            if self._ended():
                break
            order = plan_epoch(self.rows, epoch, options.seed, pool=self.pool, chances=self.chances)
            first = self.done - epoch * steps
            for rows, block in read_batches(
                self.values, order, size=options.batch, pool=self.pool, first=first
            ):
                loss = self.model.step(block, self.classes[rows])
                if not np.isfinite(loss):
                    raise ArtifactError(
                        f"training a layer: the loss is {loss} at batch {self.done}; check the "
                        "descriptors, or lower learning_rate"
                    )
                self.running += loss * len(rows) / len(order)
                self.done += 1
                if self.done % steps == 0:
                    self._end_epoch()
                every = options.checkpoint_every
                if self.checkpoint and every and (self.done % every == 0 or self.done % steps == 0):
                    self._store(self.checkpoint)
                if self.progress:
                    self.progress(self.done, steps * options.epochs)
        found = self.best or self.model.parameters
        layer = Adapter(found["weight"].copy(), found["bias"].copy())
        return Trained(layer, tuple(self.losses), tuple(self.precisions), self.best_epoch or len(self.losses))

    def _ended(self) -> bool:
        return bool(self.best) and len(self.losses) - self.best_epoch >= self.options.patience

    def _end_epoch(self) -> None:
        self.losses.append(self.running)
        self.running = 0.0
        if self.held.size:
            self._watch()
        watched = f", held-out mAP {self.precisions[-1]:.4f}" if self.precisions else ""
        log.info("training: epoch %d, loss %.4f%s", len(self.losses), self.losses[-1], watched)

    def _watch(self) -> None:
        """Judge the layer on the held-out classes, and keep it if none was better."""
        layer = Adapter(self.model.parameters["weight"].copy(), self.model.parameters["bias"].copy())
        adapted = layer.apply(self.values[self.held])
        precision = float(class_precisions(adapted, self.held_classes).mean())
        if self.losses and precision > max(self.precisions[1:], default=-1.0):
            self.best = {"weight": layer.weight, "bias": layer.bias}
            self.best_epoch = len(self.losses)
        self.precisions.append(precision)

    def _store(self, path: Path) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "identity": np.array([self.identity]),
            "counts": np.array([self.done, self.best_epoch], np.int64),
            "losses": np.array([*self.losses, self.running]),
            "precisions": np.array(self.precisions),
        }
        model = self.model
        for kind, group in (
            ("p", model.parameters),
            ("m", model.first),
            ("v", model.second),
            ("b", self.best),
        ):
            arrays |= {f"{kind}.{name}": array for name, array in group.items()}
        write_arrays(path, arrays)

    def _resume(self, path: Path) -> None:
        arrays = read_arrays(path)
        if "identity" not in arrays or arrays["identity"].tolist() != [self.identity]:
            raise ArtifactError(f"{path}: belongs to another training; delete it or name another file")
        model = self.model
        for kind, group in (("p", model.parameters), ("m", model.first), ("v", model.second)):
            for name, array in group.items():
                array[...] = arrays[f"{kind}.{name}"]
        self.best = {name: arrays[f"b.{name}"] for name in ("weight", "bias") if f"b.{name}" in arrays}
        self.done, self.best_epoch = arrays["counts"].tolist()
        *self.losses, self.running = arrays["losses"].tolist()
        self.precisions = arrays["precisions"].tolist()
        model.steps = self.done
        model.remeasure()


def start_classifier(dim: int, classes: int, options: LinearOptions) -> Classifier:
    """Return an untrained layer and classifier: uniform in 1 / sqrt(inputs), as torch starts linear layers.

    Args:
        dim: D of the descriptors.
        classes: Number C of classes.
        options: See `LinearOptions`.
    """
    rng = np.random.default_rng((options.seed, 1))

    def uniform(rows: int, columns: int, inputs: int) -> Float32:
        array = rng.random((rows, columns), np.float32)
        array -= 0.5
        array *= 2 / np.sqrt(inputs, dtype=np.float32)
        return array

    return Classifier(
        uniform(options.dim, dim, dim),
        uniform(options.dim, 1, dim)[:, 0].copy(),
        uniform(classes, options.dim, options.dim),
        Loss(options.scale, options.margin, options.margin_kind),
        Adam(options.learning_rate, options.weight_decay),
        options.threads,
    )


def split_classes(labels: Labels, share: float, seed: int) -> tuple[Int64, Int64, Int64]:
    """Split photos by class: no class is on both sides.

    Args:
        labels: Labels of N photos.
        share: Share of the classes to hold out.
        seed: The same seed holds out the same classes.

    Returns:
        Sorted rows to learn from, sorted rows held out (at most `HELD_PHOTOS`), and the classes of the
        latter.
    """
    rng = np.random.default_rng((seed, 2))
    count = len(labels.class_names)
    held = rng.permutation(count)[: round(share * count)]
    outside = np.isin(labels.classes, held)
    rows = np.flatnonzero(outside)
    if len(rows) > HELD_PHOTOS:
        rows = np.sort(rng.permutation(rows)[:HELD_PHOTOS])
    return np.flatnonzero(~outside), rows, labels.classes[rows]


def _glimpse(values: NDArray[np.floating]) -> str:
    """Return a digest of some of the descriptors: reading all would take as long as an epoch."""
    some = np.linspace(0, len(values) - 1, min(len(values), 256)).astype(np.int64)
    return fingerprint(np.asarray(values[some], np.float64).sum(axis=1).tolist())
