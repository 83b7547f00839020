"""The network of AMES: how similar two images are, from their sets of local descriptors.

Suma, Kordopatis-Zilos, Iscen, Tolias: Asymmetric and memory-efficient similarity estimation for
instance-level retrieval, ECCV 2024 (arXiv 2408.03282). A learnt matching token and the tokens of both images
go through layers of self-attention (within an image), cross-attention (between the images) and a feed-forward
network; the matching token takes part in everything, and a linear classifier reads the similarity off it.

The weights are plain tensors by name, with the names and shapes of the published checkpoints, and the network
is a function of them. Torch is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ilion.errors import ConfigError
from ilion.runtime.torch import extra_library, seeded

Tensor = Any
"""A torch tensor."""
Weights = Mapping[str, Tensor]

ACTIVATIONS = ("relu", "gelu")
"""Activations by the names of torch's functions."""
_INITIAL_STD = 0.02
"""Deviation of the initial matching token, as in the published model."""


@dataclass(frozen=True)
class AmesConfig:
    """Sizes of the network; the defaults are those of the published DINOv2 model.

    Args:
        local_dim: Dimensions of a local descriptor.
        dim: Width of the network; for the binary variant also the bits of a stored descriptor.
        heads: Attention heads.
        layers: Layers.
        feedforward: Width inside the feed-forward networks.
        binary: Whether descriptors are projected and reduced to their signs first.
        activation: Function inside the feed-forward networks; ``relu`` in all published models.

    Raises:
        ConfigError: The activation is not known, a size is not positive, ``dim`` is no multiple of ``heads``,
            or the bits fill no bytes.
    """

    local_dim: int = 768
    dim: int = 128
    heads: int = 2
    layers: int = 5
    feedforward: int = 1024
    binary: bool = False
    activation: str = "relu"

    def __post_init__(self) -> None:
        sizes = (self.local_dim, self.dim, self.heads, self.layers, self.feedforward)
        if min(sizes) < 1 or self.dim % self.heads:
            raise ConfigError(f"AMES sizes must be positive and dim a multiple of heads, got {self}")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"AMES activation {self.activation!r} is not one of {', '.join(ACTIVATIONS)}")
        if self.binary and self.dim % 8:
            raise ConfigError(f"dim {self.dim} of a binary AMES must be a multiple of 8, to fill whole bytes")


@dataclass(frozen=True)
class Ames:
    """A network and its weights.

    Args:
        config: Sizes.
        weights: Tensors by the names of `parameter_shapes`.
    """

    config: AmesConfig
    weights: Weights


def parameter_shapes(config: AmesConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor, in the order of the published checkpoints.

    >>> shapes = parameter_shapes(AmesConfig(binary=True))
    >>> shapes["mtc_token"], shapes["remap_local.0.W"], shapes["decoder.layers.4.self_attn.in_proj_weight"]
    ((128,), (768, 128), (384, 128))
    """
    d = config.dim
    shapes: dict[str, tuple[int, ...]] = {"mtc_token": (d,)}

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def norm(name: str) -> None:
        shapes.update({f"{name}.weight": (d,), f"{name}.bias": (d,)})

    if config.binary:
        shapes["remap_local.0.W"] = (config.local_dim, d)
        linear("remap_local.1", d, d)
        norm("remap_local.2")
    else:
        linear("remap_local.0", config.local_dim, d)
        norm("remap_local.1")
    for layer in range(config.layers):
        name = f"decoder.layers.{layer}"
        for attention in ("self_attn", "cross_attn"):
            shapes[f"{name}.{attention}.in_proj_weight"] = (3 * d, d)
            shapes[f"{name}.{attention}.in_proj_bias"] = (3 * d,)
            linear(f"{name}.{attention}.out_proj", d, d)
        linear(f"{name}.linear1", d, config.feedforward)
        linear(f"{name}.linear2", config.feedforward, d)
        for number in (1, 2, 3):
            norm(f"{name}.norm{number}")
    linear("classifier", d, 1)
    return shapes


def initialise(config: AmesConfig, seed: int = 0) -> Ames:
    """Return a network with random weights.

    Matrices are Xavier-uniform throughout. The published model starts most of them at a deviation of 0.02,
    with which small networks learn much more slowly.

    Raises:
        MissingExtraError: torch is not installed.
    """
    torch = extra_library("torch", "AMES")
    norms = {f"norm{number}" for number in (1, 2, 3)} | {
        "remap_local.2" if config.binary else "remap_local.1"
    }
    weights = {}
    with seeded(seed):
        for name, shape in parameter_shapes(config).items():
            owner, _, kind = name.rpartition(".")
            if kind in ("bias", "in_proj_bias"):
                weights[name] = torch.zeros(shape)
            elif owner in norms or owner.rpartition(".")[2] in norms:
                weights[name] = torch.ones(shape)
            elif kind == "mtc_token":
                weights[name] = torch.nn.init.trunc_normal_(torch.empty(shape), std=_INITIAL_STD)
            else:
                weights[name] = torch.nn.init.xavier_uniform_(torch.empty(shape))
    return Ames(config, weights)


def signs(weights: Weights, descriptors: Tensor, sigma: float | None = None) -> Tensor:
    """Project descriptors and keep the signs: the first step of the binary variant, and all that is stored.

    Args:
        weights: Weights of a binary network.
        descriptors: (..., local_dim).
        sigma: None for signs; a variance for their smooth form erf(x / sqrt(2 sigma)), which has a gradient.

    Returns:
        (..., dim) of -1 and 1. A projection of exactly 0, which the published model maps to 0, counts as 1:
        one bit has no third value.
    """
    import torch

    projected = torch.nn.functional.normalize(descriptors, dim=-1) @ weights["remap_local.0.W"]
    if sigma is not None:
        return torch.erf(projected / (2 * sigma) ** 0.5)
    return torch.where(projected >= 0, 1.0, -1.0)


def tokens(model: Ames, descriptors: Tensor, sigma: float | None = None) -> Tensor:
    """Turn local descriptors (..., local_dim) into input tokens (..., dim); for ``sigma`` see `signs`."""
    import torch

    if model.config.binary:
        return tokens_of_signs(model, signs(model.weights, descriptors, sigma))
    unit = torch.nn.functional.normalize(descriptors, dim=-1)
    return _norm(model.weights, "remap_local.1", _linear(model.weights, "remap_local.0", unit))


def tokens_of_signs(model: Ames, stored: Tensor) -> Tensor:
    """Turn stored `signs` (..., dim) into input tokens (..., dim) of a binary network."""
    return _norm(model.weights, "remap_local.2", _linear(model.weights, "remap_local.1", stored))


def compare(
    model: Ames, query: Tensor, query_there: Tensor, database: Tensor, database_there: Tensor
) -> Tensor:
    """Return the similarity of B pairs of images.

    Args:
        model: The network.
        query: (B, Q, dim) tokens.
        query_there: (B, Q) booleans, False for padding.
        database: (B, T, dim) tokens.
        database_there: (B, T) booleans, False for padding.

    Returns:
        (B,) similarities: logits, positive where the network takes the images for the same object.
    """
    import torch

    weights, count = model.weights, query.shape[1]
    activate = getattr(torch.nn.functional, model.config.activation)
    # With the matching token between the images, "own image and matching token" and "other image and matching
    # token" are slices. The order means nothing to the network, which knows no positions.
    matching = weights["mtc_token"].expand(len(query), 1, -1)
    values = torch.cat([query, matching, database], 1)
    there = torch.cat([query_there, torch.ones_like(query_there[:, :1]), database_there], 1)
    first, second = slice(0, count + 1), slice(count, None)
    for number in range(model.config.layers):
        name = f"decoder.layers.{number}"
        for attention, norm, keys in (
            ("self_attn", "norm1", (first, second)),
            ("cross_attn", "norm2", (second, first)),
        ):
            update = _attend(model, f"{name}.{attention}", values, there, count, keys)
            values = _norm(weights, f"{name}.{norm}", values + update)
        inner = activate(_linear(weights, f"{name}.linear1", values))
        values = _norm(weights, f"{name}.norm3", values + _linear(weights, f"{name}.linear2", inner))
    return _linear(weights, "classifier", values[:, count])[:, 0]


def _attend(
    model: Ames, name: str, values: Tensor, there: Tensor, count: int, keys: tuple[slice, slice]
) -> Tensor:
    """Multi-head attention: each image sees the tokens of one slice, the matching token sees all."""
    import torch

    weights, heads = model.weights, model.config.heads
    projected = torch.nn.functional.linear(
        values, weights[f"{name}.in_proj_weight"], weights[f"{name}.in_proj_bias"]
    )
    # (B, L, 3 dim) -> 3 x (B, heads, L, dim / heads)
    q, k, v = projected.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)

    def attend(rows: slice, seen: slice) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(
            q[:, :, rows], k[:, :, seen], v[:, :, seen], attn_mask=there[:, None, None, seen]
        )

    parts = (
        attend(slice(0, count), keys[0]),
        attend(slice(count, count + 1), slice(None)),
        attend(slice(count + 1, None), keys[1]),
    )
    mixed = torch.cat(parts, 2).transpose(1, 2).flatten(2)
    return _linear(weights, f"{name}.out_proj", mixed)


def _linear(weights: Weights, name: str, values: Tensor) -> Tensor:
    import torch

    return torch.nn.functional.linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, values: Tensor) -> Tensor:
    import torch

    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return torch.nn.functional.layer_norm(values, weight.shape, weight, bias)
