"""Learn a QuARI network from labelled descriptors.

As in the paper: each query of a batch projects the targets of all queries, and a symmetric contrastive loss
wants its own target in front and itself in front for its target. Neighbours of a target count as right by a
small share ("semi-positives"). Queries are disturbed by noise of random strength, as in the authors' code.

Some objects are held out and watched, which is ours: the weights that do best on them are kept, and where
none is surely better than the descriptors alone, a network that changes nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError, DatasetError
from ilion.reranking.descent import Progress, descend, start_optimiser
from ilion.reranking.quari import (
    Array,
    Functions,
    Quari,
    QuariConfig,
    fixed_arrays,
    forward,
    parameter_shapes,
)
from ilion.reranking.watching import hold_out, is_surely_better, photo_precisions
from ilion.runtime.torch import extra_library, seeded, torch_device
from ilion.types import Bool, Float32, Float64, Int64
from ilion.wording import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuariTraining:
    """Settings of the training of a network; rate, decay, temperature and neighbours are the authors'.

    Args:
        steps: Batches.
        batch: Objects a batch, one query and one target each; fewer where there are fewer.
        learning_rate: Peak of the rate, which rises over the first hundredth and falls as a cosine.
        weight_decay: Weight decay of AdamW.
        temperature: Temperature of the loss.
        semi_positives: Number of neighbours of a target that count as partly right; 0 for none.
        neighbours: Number of neighbours among which their shares are dealt out.
        noise: Largest length of the noise on a query, as a share of the query's. The authors' code draws up
            to 1 for each number of a descriptor, which drowns it.
        held_out: Share of the objects that is not learnt but watched; 0 learns all and keeps the last step.
        watch_every: Steps between two looks at them.
        seed: Seed of weights, batches, noise, and of which objects are held out.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.

    Raises:
        ConfigError: A number is out of range.
    """

    steps: int = 2000
    batch: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    temperature: float = 0.07
    semi_positives: int = 2
    neighbours: int = 100
    noise: float = 0.3
    held_out: float = 0.2
    watch_every: int = 20
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if (
            min(self.steps, self.neighbours, self.watch_every) < 1
            or not 0 <= self.held_out < 1
            or self.batch < 2
            or min(self.learning_rate, self.temperature) <= 0
            or min(self.weight_decay, self.semi_positives, self.noise) < 0
        ):
            raise ConfigError(f"QuARI training: a number is out of range: {self}")


@dataclass(frozen=True)
class Trained:
    """A network, and what it was seen to do on objects that it did not learn from.

    Args:
        network: The network of the best look, if it is surely better than the descriptors alone there; else
            one that changes nothing. The last one without held-out objects.
        step: Steps after which that was; 0 for a network that changes nothing.
        watched: Mean AP among the held-out photos by number of steps; empty without.
        plain: Mean AP of the descriptors alone there; NaN without.
    """

    network: Quari
    step: int
    watched: Mapping[int, float]
    plain: float


def train(
    values: NDArray[np.floating],
    labels: Sequence[str],
    config: QuariConfig,
    options: QuariTraining,
    *,
    asking: Bool | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Learn a network; the same input and seed give the same network on the same machine.

    Args:
        values: (N, D) descriptors of length one.
        labels: (N,) objects; "" for a photo that shows none of them, which can be a neighbour only.
        config: Sizes of the network.
        options: Settings of the training.
        asking: (N,) which photos are queries; None for all.
        progress: See `Progress`.

    Raises:
        DatasetError: Fewer than two of the objects that are learnt have a query and another photo.
        MissingExtraError: torch is not installed.
    """
    torch = extra_library("torch", "QuARI")
    device = torch_device(options.device)
    rows = np.asarray(values, np.float32)
    learnt, held = hold_out(labels, options.held_out, options.seed)
    some = None if asking is None else asking[learnt]
    sampler = _Sampler(rows[learnt], [labels[row] for row in learnt], some, options)
    names = [labels[row] for row in held]
    watched: dict[int, Float64] = {}
    best: dict[int, Quari] = {}
    weights = {name: w.to(device).requires_grad_() for name, w in _initialise(config, options.seed).items()}
    fixed = {name: torch.from_numpy(array).to(device) for name, array in fixed_arrays(config).items()}
    functions = Functions(
        torch.nn.functional.gelu, lambda x: x.softmax(-1), lambda parts: torch.cat(list(parts), 1)
    )

    def loss_of(step: int) -> Array:
        queries, targets, near, shares = (torch.from_numpy(x).to(device) for x in sampler.draw(step))
        better, left, right = forward(config, weights, fixed, functions, queries)
        return _loss(config, options, better, left, right, targets, near, shares)

    def network() -> Quari:
        return Quari(config, {name: w.detach().cpu().numpy().copy() for name, w in weights.items()})

    def look(done: int) -> None:
        if not len(held) or (done % options.watch_every and done != options.steps):
            return
        now = network()
        scores = np.array([one.compare(rows[held]) for one in now.project(rows[held])], np.float64)
        watched[done] = photo_precisions(scores, names)
        log.info("QuARI training: step %d, mean AP of held-out photos %.4f", done, watched[done].mean())
        if watched[done].mean() >= max(found.mean() for found in watched.values()):
            best.clear()
            best[done] = now

    optimiser = start_optimiser(weights, options)
    descend("QuARI", weights, optimiser, loss_of, options, rise=100, after=look, progress=progress)
    if not len(held):
        return Trained(network(), options.steps, {}, float("nan"))
    [(step, kept)] = best.items()
    plain = photo_precisions((rows[held] @ rows[held].T).astype(np.float64), names)
    if not is_surely_better(watched[step], plain, names):
        step, kept = 0, kept.without_effect()
    means = {done: float(found.mean()) for done, found in watched.items()}
    return Trained(kept, step, means, float(plain.mean()))


def _loss(
    config: QuariConfig,
    options: QuariTraining,
    better: Array,
    left: Array,
    right: Array,
    targets: Array,
    near: Array,
    shares: Array,
) -> Array:
    """Return the loss of B queries with their targets (B, D) and neighbours (B, S, D) of those."""
    import torch

    def compare(images: Array) -> Array:
        moved = images + config.anchor * (images @ left.mT) @ right
        cosines = torch.nn.functional.normalize(moved, dim=-1) @ queries[:, :, None]
        return cosines[..., 0] / options.temperature

    queries = torch.nn.functional.normalize(better, dim=-1)
    logits = compare(targets.expand(len(queries), -1, -1))
    own = torch.arange(len(queries), device=logits.device)
    wanted = torch.cat([torch.eye(len(queries), device=logits.device), shares], 1)
    of_queries = -(wanted * torch.cat([logits, compare(near)], 1).log_softmax(1)).sum(1).mean()
    return (of_queries + torch.nn.functional.cross_entropy(logits.T, own)) / 2


def _initialise(config: QuariConfig, seed: int) -> dict[str, Array]:
    """Return random weights, so small that the projection starts near the identity."""
    import torch

    found = {}
    with seeded(seed):
        for name, shape in parameter_shapes(config).items():
            norm = ".norm" in name or name.startswith(("query_encoder.1", "query_encoder.5"))
            if norm:
                found[name] = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
            elif len(shape) == 1:
                found[name] = torch.zeros(shape)
            else:
                found[name] = torch.empty(shape).uniform_(-1, 1) / math.sqrt(shape[1])
    return found


class _Sampler:
    """Draws queries and targets of different objects, the same ones for the same step."""

    def __init__(
        self, values: Float32, labels: Sequence[str], asking: Bool | None, options: QuariTraining
    ) -> None:
        names = np.array(labels, dtype=str)
        asks = np.ones(len(names), np.bool_) if asking is None else asking
        members = [np.flatnonzero(names == name) for name in np.unique(names) if name]
        self._objects = [m for m in members if len(m) > 1 and asks[m].any()]
        if len(self._objects) < 2:
            raise DatasetError(
                "QuARI training needs two objects with a query and another photo each; "
                f"got {len(self._objects)} among {counted(len(names), 'photo')}"
            )
        self._values, self._asks, self._options = values, asks, options
        self._near: dict[int, tuple[Int64, Float32]] = {}

    def draw(self, step: int) -> tuple[Float32, Float32, Float32, Float32]:
        """Return B queries and targets (B, D), neighbours of these (B, S, D), and their shares (B, S)."""
        rng = np.random.default_rng((self._options.seed, step))
        chosen = rng.permutation(len(self._objects))[: self._options.batch]
        pairs = [self._pair(self._objects[number], rng) for number in chosen]
        asked, targets = np.array(pairs, np.int64).T
        queries = self._values[asked]
        noise = rng.standard_normal(queries.shape).astype(np.float32)
        noise *= (self._options.noise * rng.random((len(queries), 1)) / math.sqrt(queries.shape[1])).astype(
            np.float32
        )
        near = [self._neighbours(int(target)) for target in targets]
        rows, shares = np.stack([r for r, _ in near]), np.stack([s for _, s in near])
        return queries + noise, self._values[targets], self._values[rows], shares

    def _pair(self, members: Int64, rng: np.random.Generator) -> tuple[int, int]:
        query = rng.choice(members[self._asks[members]])
        return int(query), int(rng.choice(members[members != query]))

    def _neighbours(self, target: int) -> tuple[Int64, Float32]:
        """Return the nearest photos of a target, and their shares among more of them."""
        if target not in self._near:
            options = self._options
            cosines = self._values @ self._values[target]
            cosines[target] = -np.inf
            order = np.argsort(-cosines, kind="stable")[: min(options.neighbours, len(cosines) - 1)]
            shares = np.exp((cosines[order] - cosines[order[0]]) / options.temperature)
            count = min(options.semi_positives, len(order))
            self._near[target] = order[:count], (shares / shares.sum())[:count].astype(np.float32)
        return self._near[target]
