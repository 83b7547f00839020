"""Learn an ELViS network from instance labels.

As in the paper: as many matching as non-matching pairs, a random number of descriptors an image in each
batch, and binary cross-entropy of a function ``g`` of the score that is used in training only. Ours can only
rise, so that a high score comes to mean the same object. Pairs are drawn as for AMES
(`ilion.reranking.ames.training`); rate and decay of the defaults are those of the authors on landmarks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilion.errors import ArtifactError
from ilion.reranking.ames.scoring import pad
from ilion.reranking.ames.training import PairSampler, Progress, TrainingOptions, learning_rate
from ilion.reranking.elvis import Elvis, parameter_shapes
from ilion.reranking.transport import ITERATIONS, TEMPERATURE
from ilion.runtime.torch import extra_library, seeded, torch_device
from ilion.types import Int64, LocalFeatures

log = logging.getLogger(__name__)

Tensor = Any
"""A torch tensor."""
_PROJECTED = 64
"""Width of ``g``."""
_LOG_EVERY = 100


@dataclass(frozen=True)
class ElvisTraining(TrainingOptions):
    """Settings with the authors' defaults; ``distillation``, ``sigma`` and checkpoints are not used."""

    learning_rate: float = 5e-4
    weight_decay: float = 5e-4
    fewest: int = 100


def train(
    features: Sequence[LocalFeatures],
    labels: Sequence[str],
    options: TrainingOptions,
    *,
    neighbours: Int64 | None = None,
    dim: int = 128,
    progress: Progress | None = None,
) -> Elvis:
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
    sampler = PairSampler(labels, options, neighbours)
    [local] = _lengths(features)
    weights = {n: w.to(device).requires_grad_() for n, w in _initialise(local, dim, options.seed).items()}
    optimiser = torch.optim.AdamW(list(weights.values()), weight_decay=options.weight_decay)
    for step in range(options.steps):
        first, second, match = sampler.draw(step)
        m, n = sampler.lengths(step)
        sides = [
            _side([features[row].descriptors[:count] for row in rows], device)
            for rows, count in ((first, m), (second, n))
        ]
        logits = _project(weights, score(weights, *sides[0], *sides[1]))
        wanted = torch.from_numpy(match.astype(np.float32)).to(device)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimiser.param_groups[0]["lr"] = learning_rate(step, options)
        optimiser.step()
        if (step + 1) % _LOG_EVERY == 0:
            log.info("ELViS training: step %d of %d, loss %.4f", step + 1, options.steps, loss.item())
        if progress:
            progress(step + 1, options.steps)
    return Elvis({name: w.detach().cpu().numpy().astype(np.float64) for name, w in weights.items()})


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


def _lengths(features: Sequence[LocalFeatures]) -> set[int]:
    found = {image.descriptors.shape[1] for image in features}
    if len(found) != 1:
        raise ArtifactError(f"ELViS: descriptors of one length are needed, got {sorted(found)}")
    return found


def _initialise(local: int, dim: int, seed: int) -> dict[str, Tensor]:
    """Return random weights as the public code starts: Xavier-uniform matrices, a spare place of 1."""
    import torch

    shapes = parameter_shapes(local, dim) | {
        "g.0.weight": (_PROJECTED, 1),
        "g.0.bias": (_PROJECTED,),
        "g.2.weight": (1, _PROJECTED),
        "g.2.bias": (1,),
    }
    found = {}
    with seeded(seed):
        for name, shape in shapes.items():
            found[name] = torch.zeros(shape)
            if len(shape) == 2:
                torch.nn.init.xavier_uniform_(found[name])
                if name.startswith("g."):
                    found[name] /= 1 if name == "g.0.weight" else _PROJECTED
            elif name in ("remap_local.1.weight", "f.1.weight", "dust_bin"):
                found[name] += 1
    return found
