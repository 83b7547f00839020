"""Weights of AMES from and to files: the published checkpoints, and our own."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ilion.errors import ConfigError, ExtractionError
from ilion.reranking.ames.network import Ames, AmesConfig, Weights, parameter_shapes
from ilion.runtime.torch import extra_library, read_torch, write_torch
from ilion.wording import counted

log = logging.getLogger(__name__)


def save(model: Ames, path: Path) -> None:
    """Write sizes and weights as a torch file, which holds tensors and plain values only."""
    write_torch(path, {"config": asdict(model.config), "state": dict(model.weights)})


def load(path: Path, heads: int = 2, activation: str = "") -> Ames:
    """Read a published checkpoint, a state dict, or a file of `save`; code in the file is never run.

    Args:
        path: The file.
        heads: Attention heads of a file that does not say them; 2 in all published models.
        activation: ``relu`` or ``gelu``; "" means what the file says, or ``relu`` with a warning.

    Returns:
        The network on the CPU, float32.

    Raises:
        ConfigError: There is no such file, or it says another activation.
        MissingExtraError: torch is not installed.
        ExtractionError: The file holds more than tensors and plain values, or not an AMES network.
    """
    content = read_torch(path)
    torch = extra_library("torch", "AMES")
    state, config = parse(content, torch.Tensor, str(path), heads, activation)
    return Ames(config, {name: state[name].float() for name in parameter_shapes(config)})


def parse(
    content: Mapping[str, Any], tensor: type, what: str, heads: int = 2, activation: str = ""
) -> tuple[Weights, AmesConfig]:
    """Find weights and sizes in the content of a file.

    Args:
        content: State dict, at the top or below ``state``, ``state_dict`` or ``model``; names may begin with
            ``module.`` or ``_orig_mod.``, as torch's wrappers write them.
        tensor: Type of a tensor.
        what: Name of the file, for messages.
        heads: See `load`.
        activation: See `load`.

    Raises:
        ConfigError: The file says another activation, or it is not known.
        ExtractionError: The content is not an AMES network.
    """
    below = next((name for name in ("state", "state_dict", "model") if name in content), "")
    found = content[below] if below else content
    if not isinstance(found, Mapping) or not all(isinstance(v, tensor) for v in found.values()):
        raise ExtractionError(f"{what}: expected tensors by name, at the top or below 'state'")
    state = {re.sub(r"^((module|_orig_mod)\.)+", "", str(name)): value for name, value in found.items()}
    if len(state) < len(found):
        raise ExtractionError(f"{what}: some tensors are there twice, with and without 'module.'")
    given = content.get("config")
    if isinstance(given, dict):
        config = _own_config(given, what)
        if activation not in ("", config.activation):
            raise ConfigError(
                f"{what}: this network was trained with {config.activation}; rerank.activation = "
                f"{activation!r} would give other scores, leave it out"
            )
    else:
        config = replace(config_of(state, what, heads), activation=activation or "relu")
        if not activation:
            log.warning(
                "%s does not say its activation; relu is assumed, as in the published models. With gelu the "
                "scores differ: say rerank.activation = 'relu' or 'gelu' (activation= from Python)",
                what,
            )
    check_shapes(state, config, what)
    return state, config


def _own_config(given: Mapping[str, Any], what: str) -> AmesConfig:
    try:
        return AmesConfig(**given)
    except TypeError:
        raise ExtractionError(
            f"{what}: its 'config' has {', '.join(map(str, given))}; expected "
            f"{', '.join(field.name for field in fields(AmesConfig))}"
        ) from None


def config_of(state: Weights, what: str, heads: int) -> AmesConfig:
    """Read the sizes of a network off its weights.

    Args:
        state: Tensors by name.
        what: Name of their source, for messages.
        heads: Attention heads, which leave no trace in the shapes.

    Raises:
        ExtractionError: The weights are not those of an AMES network.
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
        raise ExtractionError(
            f"{what}: {counted(len(wrong), 'tensor does', 'tensors do')} not "
            f"fit {config}: {'; '.join(wrong[:3])}"
        )
