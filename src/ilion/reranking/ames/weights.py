"""Weights of AMES from and to files: the published checkpoints, and our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ilion.errors import ExtractionError
from ilion.reranking.ames.network import Ames, AmesConfig, Weights, parameter_shapes
from ilion.runtime.torch import extra_library, read_torch, write_torch


def save(model: Ames, path: Path) -> None:
    """Write sizes and weights as a torch file, which holds tensors and plain values only."""
    write_torch(path, {"config": asdict(model.config), "state": dict(model.weights)})


def load(path: Path, heads: int = 2) -> Ames:
    """Read a published checkpoint, a state dict, or a file of `save`; code in the file is never run.

    Args:
        path: The file.
        heads: Attention heads of a file that does not say them; 2 in all published models.

    Returns:
        The network on the CPU, float32.

    Raises:
        ConfigError: There is no such file.
        MissingExtraError: torch is not installed.
        ExtractionError: It holds more than tensors and plain values, or not an AMES network.
    """
    content = read_torch(path)
    state = content.get("state", content)
    torch = extra_library("torch", "AMES")
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ExtractionError(f"{path}: expected tensors by name, at the top or below 'state'")
    given = content.get("config")
    config = AmesConfig(**given) if isinstance(given, dict) else config_of(state, str(path), heads)
    check_shapes(state, config, str(path))
    return Ames(config, {name: state[name].float() for name in parameter_shapes(config)})


def config_of(state: Weights, what: str, heads: int) -> AmesConfig:
    """Read the sizes of a network off its weights.

    Args:
        state: Tensors by name.
        what: Name of their source, for messages.
        heads: Attention heads, which leave no trace in the shapes.

    Raises:
        ExtractionError: They are not those of an AMES network.
    """
    binary = "remap_local.0.W" in state
    layers = {int(m[1]) for name in state if (m := re.match(r"decoder\.layers\.(\d+)\.", name))}
    try:
        local_dim = state["remap_local.0.W"].shape[0] if binary else state["remap_local.0.weight"].shape[1]
        feedforward = state["decoder.layers.0.linear1.weight"].shape[0]
        dim = state["mtc_token"].shape[0]
    except (KeyError, IndexError):
        raise ExtractionError(
            f"{what}: not an AMES network; its tensors are {', '.join(list(state)[:5]) or '(none)'} ..."
        ) from None
    return AmesConfig(local_dim, dim, heads, len(layers), feedforward, binary)


def check_shapes(state: Weights, config: AmesConfig, what: str) -> None:
    """Refuse weights that are not exactly those of a network.

    Raises:
        ExtractionError: A name is missing or unknown, or a shape differs.
    """
    wanted = parameter_shapes(config)
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wrong = [
        f"{name} is {found.get(name, 'missing')}, not {wanted.get(name, 'known')}"
        for name in [*wanted, *(n for n in found if n not in wanted)]
        if found.get(name) != wanted.get(name)
    ]
    if wrong:
        raise ExtractionError(f"{what}: {len(wrong)} tensors do not fit {config}: {'; '.join(wrong[:3])}")
