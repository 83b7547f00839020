"""QuARI (Xing et al., NeurIPS 2025, arXiv 2505.21647): a projection of its own for each query.

A transformer reads the descriptor of a query and gives a better one, and a matrix: the identity plus a sum of
rank-one terms. The matrix is applied to the descriptors of the first results, which are then compared with
the better descriptor of the query. No torch is needed to apply it.

Weights are those of the authors' public checkpoints by name (``weights.pt``), sizes those of the file
``config.yml`` beside them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.opening import read_text
from ilion.storage import write_bytes
from ilion.storage.statedict import read_state_dict, write_state_dict
from ilion.types import Float32, Value
from ilion.wording import counted

Array = Any
"""A NumPy array or a torch tensor: the forward pass is the same for both."""
WEIGHTS, SIZES = "weights.pt", "config.yml"
_NAMES = {
    "rank": "low_rank_dim",
    "width": "hidden_dim",
    "steps": "num_steps",
    "heads": "nhead",
    "layers": "num_layers",
    "residual": "query_residual_weight",
    "scaled": "use_fro_norm",
    "anchor": "anchor_scale",
}
"""Our names of the sizes -> those of the authors' file."""


@dataclass(frozen=True)
class QuariConfig:
    """Sizes of the network; the defaults are the authors'.

    Args:
        dim: Dimensions D of a descriptor.
        rank: Number R of rank-one terms.
        width: Width of the transformer.
        steps: Number of passes through the transformer.
        heads: Attention heads.
        layers: Layers of the transformer.
        residual: Share of the query's own descriptor in the better one, [0, 1].
        scaled: Whether both factors of the matrix are brought to length one.
        anchor: Factor of the sum of rank-one terms beside the identity.

    Raises:
        ConfigError: A size is out of range.
    """

    dim: int
    rank: int = 64
    width: int = 512
    steps: int = 4
    heads: int = 8
    layers: int = 4
    residual: float = 0.5
    scaled: bool = True
    anchor: float = 0.8

    def __post_init__(self) -> None:
        sizes = (self.dim, self.rank, self.width, self.steps, self.heads, self.layers)
        if min(sizes) < 1 or self.width % self.heads or self.width % 2 or not 0 <= self.residual <= 1:
            raise ConfigError(f"QuARI sizes must be positive and width an even multiple of heads, got {self}")


def parameter_shapes(config: QuariConfig) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every weight.

    >>> sum(math.prod(shape) for shape in parameter_shapes(QuariConfig(512)).values())
    15238144
    """
    d, h = config.dim, config.width
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def norm(name: str) -> None:
        shapes.update({f"{name}.weight": (h,), f"{name}.bias": (h,)})

    for number, inputs in ((0, d), (4, h)):
        linear(f"query_encoder.{number}", inputs, h)
        norm(f"query_encoder.{number + 1}")
    for number in (0, 2):
        linear(f"step_proj.{number}", h, h)
    for layer in range(config.layers):
        name = f"transformer.layers.{layer}"
        shapes |= {f"{name}.self_attn.in_proj_weight": (3 * h, h), f"{name}.self_attn.in_proj_bias": (3 * h,)}
        linear(f"{name}.self_attn.out_proj", h, h)
        linear(f"{name}.linear1", h, 4 * h)
        linear(f"{name}.linear2", 4 * h, h)
        norm(f"{name}.norm1")
        norm(f"{name}.norm2")
    for name in ("query_decoder", "dec_u_img", "dec_v_img"):
        linear(f"{name}.0", h, h)
        linear(f"{name}.3", h, d)
    return shapes


def waves(places: NDArray[Any], width: int) -> tuple[Float32, Float32]:
    """Return sines and cosines (N, width / 2) of places at wavelengths from 2 pi to 20,000 pi."""
    angles = places[:, None] * np.exp(-math.log(10000.0) / (width // 2) * np.arange(width // 2))
    return np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)


def fixed_arrays(config: QuariConfig) -> dict[str, Float32]:
    """Return what the forward pass needs beside the weights.

    ``positions`` (R, width) of the tokens, ``clock`` (steps, width), and ``twins`` (1 + R,) the logarithm of
    how many tokens one stands for.
    """
    sines, cosines = waves(np.arange(config.rank), config.width)
    by_step = waves(np.arange(config.steps), config.width)
    twins = np.full(1 + config.rank, math.log(2), np.float32)
    twins[0] = 0
    return {
        "positions": np.stack([sines, cosines], axis=2).reshape(config.rank, config.width),
        "clock": np.concatenate(by_step[::-1], axis=1),
        "twins": twins,
    }


@dataclass(frozen=True)
class Functions:
    """What NumPy and torch name differently: GELU, softmax over the last axis, joining along the second."""

    gelu: Callable[[Array], Array]
    softmax: Callable[[Array], Array]
    join: Callable[[Sequence[Array]], Array]


def forward(
    config: QuariConfig, w: Mapping[str, Array], fixed: Mapping[str, Array], f: Functions, queries: Array
) -> tuple[Array, Array, Array]:
    """Map queries (Q, D) to better ones (Q, D), and to both factors (Q, R, D) of the rank-one terms."""

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        x = x - x.mean(-1, keepdims=True)
        x = x / ((x * x).mean(-1, keepdims=True) + 1e-5) ** 0.5
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attend(x: Array, name: str) -> Array:
        many, n, width = x.shape
        each = width // config.heads
        mixed = x @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"]
        q, k, v = (mixed.reshape(many, n, 3, config.heads, each)[:, :, i].swapaxes(1, 2) for i in range(3))
        shares = f.softmax(q @ k.swapaxes(2, 3) / each**0.5 + fixed["twins"])
        return linear((shares @ v).swapaxes(1, 2).reshape(many, n, width), f"{name}.out_proj")

    def decode(x: Array, name: str) -> Array:
        return linear(f.gelu(linear(x, f"{name}.0")), f"{name}.3")

    context = norm(linear(queries, "query_encoder.0"), "query_encoder.1")
    context = norm(linear(f.gelu(context), "query_encoder.4"), "query_encoder.5")
    clock = linear(f.gelu(linear(fixed["clock"], "step_proj.0")), "step_proj.2")
    tokens = 0 * context[:, None] + 0 * fixed["positions"]
    for step in range(config.steps):
        # the tokens of both factors start equal and have equal positions, so that they stay equal: one set
        # of them, counted twice wherever tokens are looked at, gives the same at half the price
        x = f.join([(context + clock[step])[:, None], tokens + fixed["positions"]])
        for layer in range(config.layers):
            name = f"transformer.layers.{layer}"
            x = x + attend(norm(x, f"{name}.norm1"), f"{name}.self_attn")
            x = x + linear(f.gelu(linear(norm(x, f"{name}.norm2"), f"{name}.linear1")), f"{name}.linear2")
        context, tokens = context + x[:, 0], tokens + x[:, 1:]
    better = (1 - config.residual) * decode(context, "query_decoder") + config.residual * queries
    left, right = decode(tokens, "dec_u_img"), decode(tokens, "dec_v_img")
    if config.scaled:
        left, right = (
            x / (((x * x).sum(-1, keepdims=True).sum(-2, keepdims=True)) ** 0.5 + 1e-8) for x in (left, right)
        )
    return better, left, right


def _softmax(x: Float32) -> Float32:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(x / x.sum(axis=-1, keepdims=True))


def _gelu(x: Float32) -> Float32:
    """Return x times the normal distribution function of x, to 2e-7 of x.

    The error function is formula 7.1.26 of Abramowitz and Stegun, "Handbook of Mathematical Functions".
    """
    size: Float32 = np.abs(x) * np.float32(math.sqrt(0.5))
    t = np.reciprocal(1 + np.float32(0.3275911) * size)
    total = np.full_like(x, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        total = total * t + np.float32(factor)
    tail = total * t * np.exp(-size * size) / 2
    return np.asarray(np.where(x < 0, x * tail, x * (1 - tail)), np.float32)


NUMPY = Functions(_gelu, _softmax, lambda parts: np.concatenate(list(parts), axis=1))


@dataclass(frozen=True)
class Projection(Value):
    """What the network says about one query.

    Args:
        query: (D,) float32, the better descriptor of the query, of length one.
        left: (R, D) float32, scaled by the factor of the sum.
        right: (R, D) float32.
    """

    query: Float32
    left: Float32
    right: Float32

    def apply(self, images: NDArray[np.floating]) -> Float32:
        """Project descriptors (N, D) of images: (N, D) rows of length one, or of zeros."""
        values = np.asarray(images, np.float32)
        moved = values + (values @ self.left.T) @ self.right
        return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12))

    def compare(self, images: NDArray[np.floating]) -> Float32:
        """Return the cosine (N,) of the query and each of the images (N, D) after the projection."""
        return self.apply(images) @ self.query


@dataclass(frozen=True)
class Quari(Value):
    """The network.

    Args:
        config: Sizes.
        weights: Name -> array, float32; see `parameter_shapes`.
    """

    config: QuariConfig
    weights: Mapping[str, Float32]

    @property
    def digest(self) -> str:
        """Digest of all that its results depend on."""
        found = hashlib.sha256(repr(self.config).encode())
        for name in sorted(self.weights):
            found.update(name.encode() + np.ascontiguousarray(self.weights[name]).tobytes())
        return found.hexdigest()

    def without_effect(self) -> Quari:
        """Return a network of the same sizes that leaves queries and images as they are."""
        last = ("dec_v_img.3.weight", "dec_v_img.3.bias")
        zeros = {name: np.zeros_like(self.weights[name]) for name in last}
        return Quari(replace(self.config, residual=1.0), {**self.weights, **zeros})

    def project(self, queries: NDArray[np.floating]) -> list[Projection]:
        """Return the projection of each query.

        Args:
            queries: (Q, D) descriptors of length one.

        Raises:
            ArtifactError: The descriptors have another length.
        """
        if queries.ndim != 2 or queries.shape[1] != self.config.dim:
            raise ArtifactError(
                f"descriptors have shape {queries.shape}, but the query-adaptive projection takes "
                f"{counted(self.config.dim, 'number')} each; use the model and layer that it was trained with"
            )
        fixed, found = fixed_arrays(self.config), []
        for row in queries:  # one by one, so that a query's results do not depend on the others
            values = np.asarray(row[None], np.float32)
            [query], [left], [right] = forward(self.config, self.weights, fixed, NUMPY, values)
            query /= max(float(np.linalg.norm(query)), 1e-12)
            found.append(Projection(query, np.float32(self.config.anchor) * left, right))
        return found


def save(network: Quari, folder: Path) -> None:
    """Write a network into a folder, as the authors' code reads it."""
    config = network.config
    state = dict(network.weights) | _buffers(config)
    named = {other: getattr(config, name) for name, other in _NAMES.items()}
    lines = [
        f"  {name}: {str(value).lower()}" for name, value in {"embedding_dim": config.dim, **named}.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_state_dict(folder / WEIGHTS, state)
    write_bytes(folder / SIZES, ("hparams:\n" + "\n".join(lines) + "\n").encode())


def load(path: Path) -> Quari:
    """Read a network: ``weights.pt``, or the folder with it; nothing in it is executed.

    Sizes that the tensors do not show (steps, heads, ``residual`` ...) are those of ``config.yml`` beside the
    weights, or else the authors' usual ones.

    Raises:
        ArtifactError: There is no such file, or it is damaged.
        ExtractionError: The file is no QuARI network.
    """
    path = path / WEIGHTS if path.is_dir() else path
    found = read_state_dict(path)
    state = {re.sub(r"^(hypernetwork\.|module\.|_orig_mod\.)+", "", name): a for name, a in found.items()}
    try:
        width, dim = state["query_encoder.0.weight"].shape
        sizes: dict[str, Any] = {"dim": dim, "width": width, "rank": (len(state["pos_emb"]) - 1) // 2}
    except (KeyError, ValueError) as error:
        seen = ", ".join(list(state)[:5]) or "(none)"
        raise ExtractionError(f"{path}: not a QuARI network; its tensors are {seen} ...") from error
    sizes["layers"] = len({m[1] for name in state if (m := re.match(r"transformer\.layers\.(\d+)\.", name))})
    config = QuariConfig(**{**_read_sizes(path.parent / SIZES), **sizes})
    wanted = parameter_shapes(config)
    buffers = {name: array for name, array in _buffers(config).items() if name in state}
    shapes = wanted | {name: array.shape for name, array in buffers.items()}
    wrong = [
        f"{name} is {state[name].shape if name in state else 'missing'}, not {shape}"
        for name, shape in shapes.items()
        if name not in state or state[name].shape != shape
    ]
    wrong += [f"{name} is not known" for name in state if name not in shapes]
    wrong = wrong or [
        f"{name} is not that of the public code"
        for name, array in buffers.items()
        if not np.allclose(array, state[name], atol=1e-4)
    ]
    if wrong:
        raise ExtractionError(
            f"{path}: {counted(len(wrong), 'tensor does', 'tensors do')} not fit: {'; '.join(wrong[:3])}"
        )
    return Quari(config, {name: np.asarray(state[name], np.float32) for name in wanted})


def _buffers(config: QuariConfig) -> dict[str, Float32]:
    longer = replace(config, rank=2 * config.rank + 1)
    return {"pos_emb": fixed_arrays(longer)["positions"], "pos_scale": np.ones(1, np.float32)}


def _read_sizes(path: Path) -> dict[str, Any]:
    """Read the sizes of a network from lines ``name: value``; what else the file says is left out."""
    if not path.is_file():
        return {}
    usual, text = QuariConfig(dim=1), read_text(path).text
    found: dict[str, Any] = {}
    for name, other in _NAMES.items():
        if line := re.search(rf"^\s*{other}\s*:\s*(\S+)\s*$", text, re.MULTILINE):
            value = line[1].strip("'\"").lower()
            try:
                kind = type(getattr(usual, name))
                found[name] = {"true": True, "false": False}[value] if kind is bool else kind(value)
            except (KeyError, ValueError) as error:
                raise ExtractionError(f"{path}: {other} = {line[1]!r} is no such number") from error
    return found
