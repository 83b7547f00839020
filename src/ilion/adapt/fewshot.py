"""A layer from a handful of labelled photos, with shrinkage so that it does no harm.

A path of layers leads from the identity to the full within-class normalisation (`ilion.adapt.closed.wccn`).
Folds of whole objects say how each point of the path does on objects that it was not learnt from; the
shrinkage that an object is judged with is chosen on the other objects, mild ones first, so the estimate is
not that of the luckiest point. If its interval does not lie above zero, the layer is the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.adapt.base import METHODS, Learnt, Photos, Progress
from ilion.adapt.closed import wccn_of, within
from ilion.adapt.estimate import Gain, class_precisions, estimate_gain
from ilion.adapt.labels import Labels
from ilion.adapt.layer import Layer, identity
from ilion.errors import ConfigError, DatasetError
from ilion.types import Bool, Float32, Float64, Int64, Value
from ilion.wording import counted

SHRINKAGES = (0.99, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2)
"""Points of the path, from near the identity on."""

Learn = Callable[[NDArray[np.floating], Int64, Int64], Sequence[Layer]]
"""Function of (N, D) descriptors, (N,) classes 0 to C - 1 and (N,) rows among all labelled photos that
returns one layer, or one for each point of a path."""


@dataclass(frozen=True)
class HeldOut(Value):
    """Accuracy of layers on classes that they were not learnt from.

    Args:
        before: (C,) mean AP of each class without a layer.
        after: (P, C) mean AP with each of P layers.
        photos: Number of photos that were queries.
    """

    before: Float64
    after: Float64
    photos: int

    def choose(self) -> Float64:
        """Return (C,) the AP of each class with the layer that is picked on the other classes."""
        count = self.after.shape[1]
        picked = [pick_mildest(np.delete(self.after, c, axis=1)) for c in range(count)]
        return np.asarray(self.after[picked, np.arange(count)])


def pick_mildest(after: Float64) -> int:
    """Pick the first of P layers that is no worse than the best one by more than a standard error.

    The one-standard-error rule (Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees",
    1984, section 3.4.3), with the error of the paired difference over classes.

    Args:
        after: (P, C) mean AP of each class, the pick_mildest layer first.

    >>> pick_mildest(np.array([[0.5, 0.5, 0.5], [0.8, 0.9, 0.7], [0.9, 0.8, 0.75]]))
    1
    """
    behind = after[after.mean(axis=1).argmax()] - after
    count = after.shape[1]
    error = behind.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(len(after))
    return int(np.flatnonzero(behind.mean(axis=1) <= error)[0])


def cross_validate(
    values: NDArray[np.floating],
    classes: Int64,
    learn: Learn,
    *,
    folds: int = 5,
    background: Float32 | None = None,
    asking: Bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> HeldOut:
    """Learn on all but a fold of classes, judge on the photos of that fold, for every fold.

    A held-out photo looks for its like among the held-out photos and the background. Without a background the
    photos that were learnt from stand in for it.

    Args:
        values: (N, D) descriptors.
        classes: (N,) classes 0 to C - 1.
        learn: See `Learn`.
        folds: Number of folds, at most C.
        background: (M, D) descriptors of photos that show none of the classes.
        asking: (N,) whether a photo is searched with, where that is known (clean pictures, say); None means
            all are.
        seed: Seed of the folds.
        progress: Callback that receives the folds done and in all.

    Raises:
        DatasetError: There are fewer than four classes, or none with two photos is held out.
    """
    counts = np.bincount(classes)
    if len(counts) < 4:
        raise DatasetError(
            f"{counted(len(counts), 'class is', 'classes are')} too few to "
            "hold some out; label at least 4 objects"
        )
    asks = np.ones(len(classes), np.bool_) if asking is None else asking
    usable = np.flatnonzero((counts > 1) & (np.bincount(classes[asks], minlength=len(counts)) > 0))
    if len(usable) < 2:
        raise DatasetError("fewer than two classes have two photos or more to find each other")
    folds = min(folds, len(counts))
    fold_of = np.random.default_rng((seed, 3)).permutation(len(counts)) % folds
    single = np.asarray(values, np.float32)
    before = np.full(len(counts), np.nan)
    after: list[Float64] = []
    for fold in range(folds):
        held = fold_of[classes] == fold
        _, compact = np.unique(classes[~held], return_inverse=True)
        layers = learn(single[~held], compact.reshape(-1), np.flatnonzero(~held))
        around = single[~held] if background is None else background
        everything = np.concatenate([single[held], around])
        of = np.concatenate([classes[held], np.full(len(around), -1)])
        asked = np.concatenate([asks[held], np.zeros(len(around), np.bool_)])
        present = np.intersect1d(np.flatnonzero(fold_of == fold), usable)
        if not after:
            after = [np.full(len(counts), np.nan) for _ in layers]
        if len(present):
            before[present] = class_precisions(everything, of, asked)
            for result, layer in zip(after, layers, strict=True):
                result[present] = class_precisions(layer.apply(everything), of, asked)
        if progress:
            progress(fold + 1, folds)
    return HeldOut(before[usable], np.stack(after)[:, usable], int(asks[np.isin(classes, usable)].sum()))


@dataclass(frozen=True)
class FewShot(Value):
    """What was learnt from a few photos.

    Args:
        layer: The layer; the identity where no gain is certain.
        estimate: Gain of learning in this way on unseen objects.
        shrinkage: Chosen shrinkage; 1 for the identity.
        path: Shrinkage -> mean AP of unseen objects.
    """

    layer: Layer
    estimate: Gain
    shrinkage: float
    path: Mapping[float, float]

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        e = self.estimate
        seen = (
            f"mAP of unseen objects {e.before:.3f} -> {e.after:.3f}, difference {e.difference:+.3f} "
            f"[{e.ci95.low:+.3f}, {e.ci95.high:+.3f}] over {counted(e.classes, 'object')}"
        )
        if self.shrinkage == 1:
            return f"no certain gain: {seen}. The layer is the identity."
        return f"gain: {seen}. Shrinkage {self.shrinkage}."


def learn_few_shot(
    values: NDArray[np.floating],
    labels: Labels,
    *,
    shrinkages: Sequence[float] = SHRINKAGES,
    folds: int = 5,
    background: Float32 | None = None,
    asking: Bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FewShot:
    """Learn a layer from a few labelled photos of some objects.

    Args:
        values: (N, D) descriptors.
        labels: Labels of the N photos; each class is an object.
        shrinkages: The path, each in (0, 1).
        folds: See `cross_validate`.
        background: See `cross_validate`.
        asking: See `cross_validate`.
        seed: Seed of folds and interval.
        progress: Callback that receives the folds done and in all.

    Raises:
        ConfigError: A shrinkage is out of range.
        DatasetError: See `cross_validate`.
    """
    if not shrinkages or not all(0 < s < 1 for s in shrinkages):
        raise ConfigError(f"few-shot: shrinkages must lie between 0 and 1, got {list(shrinkages)}")

    shrinkages = sorted(shrinkages, reverse=True)

    def learn(some: NDArray[np.floating], classes: Int64, _rows: Int64) -> Sequence[Layer]:
        scatter = within(some, classes)
        return [wccn_of(scatter, s) for s in shrinkages]

    found = cross_validate(
        values,
        labels.classes,
        learn,
        folds=folds,
        background=background,
        asking=asking,
        seed=seed,
        progress=progress,
    )
    estimate = estimate_gain(found.before, found.choose(), found.photos, seed=seed)
    path = dict(zip(shrinkages, found.after.mean(axis=1).tolist(), strict=True))
    if not estimate.certain:
        return FewShot(identity(values.shape[1]), estimate, 1.0, path)
    best = shrinkages[pick_mildest(found.after)]
    return FewShot(wccn_of(within(values, labels.classes), best), estimate, best, path)


@METHODS.register("few-shot")
@dataclass(frozen=True)
class FewShotMethod:
    """The method ``few-shot``; see `learn_few_shot`."""

    folds: int
    seed: int

    def learn(self, photos: Photos) -> Learnt:
        """Learn a layer with its estimate."""
        found = learn_few_shot(
            photos.values,
            photos.labels,
            folds=max(2, self.folds),
            background=photos.background,
            asking=photos.asking,
            seed=self.seed,
            progress=photos.progress,
        )
        facts = {"shrinkage": found.shrinkage, "path": {str(s): ap for s, ap in found.path.items()}}
        return Learnt(found.layer, found.estimate, found.verdict, facts)


@dataclass(frozen=True)
class Split(Value):
    """A split of a data set into objects to learn from and objects to judge by.

    Args:
        photos: Image ids to learn from.
        objects: Instances of those photos, in the same order.
        queries: Query ids of all other instances.
    """

    photos: tuple[str, ...]
    objects: tuple[str, ...]
    queries: tuple[str, ...]


def split_objects(
    queries: Mapping[str, str],
    positives: Mapping[str, Sequence[str]],
    *,
    objects: int,
    shots: int,
    seed: int = 0,
) -> Split:
    """Choose some instances and a few photos of each; no instance and no photo is on both sides.

    Args:
        queries: Query id -> instance.
        positives: Query id -> image ids that show the instance.
        objects: Number of instances to learn from.
        shots: Largest number of photos of each.
        seed: The same seed chooses the same.

    Raises:
        DatasetError: There are not enough instances, or a photo shows instances of both sides.

    >>> split = split_objects({"q": "mug", "r": "cap"}, {"q": ["a", "b"], "r": ["c"]}, objects=1, shots=1)
    >>> len(split.photos), len(split.queries), split.objects[0] in "mug cap"
    (1, 1, True)
    """
    names = sorted(set(queries.values()))
    if not 0 < objects < len(names):
        raise DatasetError(
            f"{objects} of {counted(len(names), 'object')} cannot be learnt from; leave some to judge by"
        )
    if shots < 1:
        raise DatasetError(f"shots must be at least 1, got {shots}")
    rng = np.random.default_rng((seed, 4))
    chosen = {names[i] for i in rng.permutation(len(names))[:objects]}
    photos_of: dict[str, set[str]] = {name: set() for name in names}
    for query, name in queries.items():
        photos_of[name].update(positives[query])
    others = set().union(*(photos_of[name] for name in names if name not in chosen))
    shared = sorted(photo for name in chosen for photo in photos_of[name] & others)
    if shared:
        raise DatasetError(
            f"{counted(len(shared), 'photo shows', 'photos show')} objects of both sides of the split, such "
            f"as {shared[0]!r}; take one of the objects out, or choose another seed"
        )
    photos, instances = [], []
    for name in sorted(chosen):
        some = sorted(photos_of[name])
        for i in sorted(rng.permutation(len(some))[:shots].tolist()):
            photos.append(some[i])
            instances.append(name)
    left = tuple(query for query, name in queries.items() if name not in chosen)
    return Split(tuple(photos), tuple(instances), left)
