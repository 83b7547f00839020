"""Learn an ELViS network from instance labels.

As in the paper: as many matching as non-matching pairs, a random number of descriptors an image in each
batch, and binary cross-entropy of a function ``g`` of the score that is used in training only. Ours can only
rise, so that a high score comes to mean the same object. Pairs are drawn as for AMES
(`ilion.reranking.ames.training`); rate and decay of the defaults are those of the authors on landmarks.

Two things are ours, for sets of a few dozen objects: the network starts as optimal transport between whitened
descriptors instead of at random (in the public start the score hardly depends on its input), and some objects
are held out and watched: the weights that do best on them are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilion.errors import ArtifactError, ConfigError
from ilion.reranking.ames.scoring import pad
from ilion.reranking.ames.training import PairSampler, TrainingOptions
from ilion.reranking.descent import Progress, Tensor, descend, start_optimiser
from ilion.reranking.elvis import Elvis, gelu, parameter_shapes
from ilion.reranking.matching import chamfer_many
from ilion.reranking.transport import ITERATIONS, TEMPERATURE
from ilion.reranking.watching import hold_out, photo_precisions
from ilion.runtime.torch import extra_library, seeded, torch_device
from ilion.types import Float32, Float64, Int64, LocalFeatures

log = logging.getLogger(__name__)

_PROJECTED = 64
"""Width of ``g``."""
_SAMPLE = 20_000
"""Descriptors from which the start is made."""
_FLOOR = 0.1
"""Smallest variance of a direction that is brought to one, as a share of the mean variance."""


@dataclass(frozen=True)
class ElvisTraining(TrainingOptions):
    """Settings with the authors' defaults; ``distillation``, ``sigma`` and checkpoints are not used.

    Args:
        held_out: Share of the objects that is not learnt but watched; 0 learns all and keeps the last step.
        watch_every: Steps between two looks at them.

    Raises:
        ConfigError: A number is out of range.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 5e-4
    fewest: int = 100
    held_out: float = 0.2
    watch_every: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.held_out < 1 or self.watch_every < 1:
            raise ConfigError(f"ELViS training: held_out is a share below 1, watch_every at least 1: {self}")


@dataclass(frozen=True)
class Trained:
    """A network, and what it was seen to do on objects that it did not learn from.

    Args:
        network: The network of the best look.
        step: Steps after which that was; 0 is the start.
        watched: Mean AP among the held-out photos by number of steps; empty without held-out objects.
        chamfer: Mean AP of plain Chamfer similarity there; NaN without.
    """

    network: Elvis
    step: int
    watched: Mapping[int, float]
    chamfer: float


def train(
    features: Sequence[LocalFeatures],
    labels: Sequence[str],
    options: ElvisTraining,
    *,
    neighbours: Int64 | None = None,
    dim: int = 128,
    progress: Progress | None = None,
) -> Trained:
    """Learn a network; the same input and seed give the same network on the same machine.

    Args:
        features: N images with descriptors of real numbers; an image without any is drawn as well.
        labels: N instances; pairs of one instance match.
        options: Settings of the training.
        neighbours: (N, K) rows of the images nearest to each by global similarity: the look-alikes that a
            re-ranker must tell apart. None draws all non-matching pairs at random.
        dim: Numbers of a descriptor after projection; public networks have 128.
        progress: See `Progress`.

    Raises:
        DatasetError: No instance has two images, or there is only one instance.
        ArtifactError: Descriptors differ in length.
        MissingExtraError: torch is not installed.
    """
    torch = extra_library("torch", "ELViS")
    device = torch_device(options.device)
    lengths = {image.descriptors.shape[1] for image in features}
    if len(lengths) != 1:
        raise ArtifactError(f"ELViS: descriptors of one length are needed, got {sorted(lengths)}")
    learnt, held = hold_out(labels, options.held_out, options.seed)
    sampler = PairSampler([labels[row] for row in learnt], options, _among(learnt, neighbours))
    images = [features[row].descriptors for row in learnt]
    started = _start(images, dim, options.seed)
    weights = {name: torch.from_numpy(w).to(device).requires_grad_() for name, w in started.items()}
    watched: dict[int, float] = {}
    best = 0, _numbers(weights)

    def loss_of(step: int) -> Tensor:
        first, second, match = sampler.draw(step)
        m, n = sampler.lengths(step)
        sides = [
            _side([images[row][:count] for row in rows], device) for rows, count in ((first, m), (second, n))
        ]
        logits = _project(weights, score(weights, *sides[0], *sides[1]))
        wanted = torch.from_numpy(match.astype(np.float32)).to(device)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)

    def look(done: int) -> None:
        nonlocal best
        if not len(held):
            best = done, best[1]
        elif done % options.watch_every == 0 or done == options.steps:
            sets = [features[row].descriptors[: options.most] for row in held]
            with torch.no_grad():
                everything = _side(sets, device)
                rows = [score(weights, *_side([one] * len(held), device), *everything) for one in sets]
            scores = torch.stack(rows).cpu().numpy().astype(np.float64)
            watched[done] = float(photo_precisions(scores, [labels[row] for row in held]).mean())
            log.info("ELViS training: step %d, mean AP of held-out photos %.4f", done, watched[done])
            if watched[done] >= max(watched.values()):
                best = done, _numbers(weights)

    look(0)
    optimiser = start_optimiser(weights, options)
    descend("ELViS", weights, optimiser, loss_of, options, after=look, progress=progress)
    kept = best[1] if len(held) else _numbers(weights)
    plain = float("nan")
    if len(held):
        sets = [np.asarray(features[row].descriptors[: options.most], np.float32) for row in held]
        scores = np.array([chamfer_many(one, sets) for one in sets], np.float64)
        plain = float(photo_precisions(scores, [labels[row] for row in held]).mean())
    return Trained(Elvis(kept), best[0], watched, plain)


def score(w: Mapping[str, Tensor], rows: Tensor, there: Tensor, columns: Tensor, also: Tensor) -> Tensor:
    """Return the scores (P,) of P pairs, as `Elvis.compare` does, with gradients.

    Args:
        w: Weights by name.
        rows: (P, M, local) descriptors of the first images.
        there: (P, M) which of them are descriptors, and which fill up.
        columns: (P, N, local) descriptors of the second images.
        also: (P, N) which of them are descriptors.
    """
    import torch

    (a, spare_a), (b, spare_b) = (_describe(w, x) for x in (rows, columns))
    pairs, m, n = len(a), a.shape[1], b.shape[1]
    values = torch.cat([a @ b.mT, spare_a[:, :, None]], 2)
    both = w["dust_bin"].expand(pairs, 1)
    values = torch.cat([values, torch.cat([spare_b, both], 1)[:, None]], 1) / TEMPERATURE
    yes = there.new_ones(pairs, 1)
    known, beside = torch.cat([there, yes], 1), torch.cat([also, yes], 1)
    used = known[:, :, None] & beside[:, None]
    values = values.masked_fill(~used, -1e4)
    kernel = (values - values.amax(2, keepdim=True).detach()).exp() * used
    shares_a, shares_b = known.float(), beside.float()
    shares_a[:, -1], shares_b[:, -1] = also.sum(1), there.sum(1)
    right = torch.ones_like(shares_b)
    left = shares_a
    for _ in range(ITERATIONS):
        left = shares_a / (kernel @ right[:, :, None])[..., 0].clamp_min(1e-30)
        right = shares_b / (kernel.mT @ left[:, :, None])[..., 0].clamp_min(1e-30)
    plan = (left[:, :, None] * kernel * right[:, None])[:, :m, :n]
    best = torch.cat([plan.amax(2), plan.amax(1)], 1)[:, :, None]
    weighed = _linear(w, _norm(w, _linear(w, best, "f.0"), "f.1", 1e-6, gelu=True), "f.3")[..., 0]
    return (weighed.sigmoid() * torch.cat([there, also], 1)).sum(1)


def _describe(w: Mapping[str, Tensor], values: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    unit = torch.nn.functional.normalize(
        _norm(w, _linear(w, values, "remap_local.0"), "remap_local.1", 1e-5), dim=-1
    )
    hidden = torch.nn.functional.gelu(_linear(w, unit, "dust_bin_mlp.0"))
    return unit, _linear(w, hidden, "dust_bin_mlp.2")[..., 0].tanh()


def _linear(w: Mapping[str, Tensor], values: Tensor, name: str) -> Tensor:
    return values @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w: Mapping[str, Tensor], values: Tensor, name: str, epsilon: float, gelu: bool = False) -> Tensor:
    import torch

    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    found = torch.nn.functional.layer_norm(values, weight.shape, weight, bias, epsilon)
    return torch.nn.functional.gelu(found) if gelu else found


def _project(w: Mapping[str, Tensor], scores: Tensor) -> Tensor:
    import torch

    hidden = scores[:, None] * w["g.0.weight"][:, 0].abs() + w["g.0.bias"]
    return torch.nn.functional.softplus(hidden) @ w["g.2.weight"][0].abs() + w["g.2.bias"]


def _side(parts: Sequence[Any], device: Any) -> tuple[Tensor, Tensor]:
    """Return descriptors (P, M, local) of images, filled up with zeros, and which of them are there."""
    import torch

    lengths = torch.tensor([len(part) for part in parts], device=device)
    padded = torch.from_numpy(pad([np.asarray(part, np.float32) for part in parts])).to(device)
    return padded, torch.arange(padded.shape[1], device=device) < lengths[:, None]


def _numbers(weights: Mapping[str, Tensor]) -> dict[str, Float64]:
    return {name: w.detach().cpu().numpy().astype(np.float64) for name, w in weights.items()}


def _among(rows: Int64, neighbours: Int64 | None) -> Int64 | None:
    """Return the neighbours of some rows, as numbers of these rows; the row itself stands for others."""
    if neighbours is None:
        return None
    place = np.full(len(neighbours), -1, np.int64)
    place[rows] = np.arange(len(rows))
    found = place[neighbours[rows]]
    return np.where(found < 0, np.arange(len(rows))[:, None], found)


def _start(images: Sequence[Float32], dim: int, seed: int) -> dict[str, Float32]:
    """Return weights with which the score is the sum of the best shares of a plan of whitened descriptors."""
    import torch

    local = images[0].shape[1]
    found: dict[str, Float32] = {}
    with seeded(seed):
        for name, shape in (parameter_shapes(local, dim) | _of_training()).items():
            weight = torch.zeros(shape)
            if len(shape) == 2:
                torch.nn.init.xavier_uniform_(weight)
            found[name] = weight.numpy()
    for name in ("remap_local.1.weight", "f.1.weight", "dust_bin"):
        found[name] = np.ones_like(found[name])
    found["g.2.weight"] /= _PROJECTED
    rng = np.random.default_rng((seed, 3))
    sample = np.concatenate([images[row] for row in rng.permutation(len(images)).tolist()])[:_SAMPLE]
    weight, bias = _whiten(sample.astype(np.float64), dim, rng)
    found |= {
        "remap_local.0.weight": weight.astype(np.float32),
        "remap_local.0.bias": bias.astype(np.float32),
    }
    # f's random first layer stays; its last one is solved so that sigmoid(f(x)) is x
    shares = np.linspace(0, 1, 101)[:, None]
    found["f.0.bias"] = rng.uniform(-1, 1, len(found["f.0.bias"])).astype(np.float32)
    hidden = shares * found["f.0.weight"].T + found["f.0.bias"]
    centred = hidden - hidden.mean(axis=1, keepdims=True)
    known = gelu(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6))
    known = np.concatenate([known, np.ones_like(shares)], axis=1)
    wanted = np.log((shares + 0.02) / (1.02 - shares))
    solved = np.linalg.solve(known.T @ known + 1e-2 * np.eye(known.shape[1]), known.T @ wanted)[:, 0]
    last = solved.astype(np.float32)
    return found | {"f.3.weight": last[None, :-1], "f.3.bias": last[-1:]}


def _whiten(sample: Float64, dim: int, rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Return (dim, local) and (dim,): main directions with a variance of one, spread over all numbers."""
    mean = sample.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(sample, rowvar=False) + 1e-12 * np.eye(len(mean)))
    kept = min(dim, len(mean))
    variances, directions = variances[-kept:], directions[:, -kept:]
    scaled = directions / np.sqrt(np.maximum(variances, _FLOOR * variances.mean()))
    frame = np.linalg.qr(rng.standard_normal((dim, dim)))[0][:, :kept]
    layer = frame @ scaled.T
    return layer, -layer @ mean


def _of_training() -> dict[str, tuple[int, ...]]:
    return {
        "g.0.weight": (_PROJECTED, 1),
        "g.0.bias": (_PROJECTED,),
        "g.2.weight": (1, _PROJECTED),
        "g.2.bias": (1,),
    }
