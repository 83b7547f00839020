"""Classifiers of the torchvision library: ``torchvision:NAME`` or ``torchvision:NAME/WEIGHTS``."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.descriptors.torch_common import (
    NO_WEIGHTS,
    TorchExtractor,
    Tower,
    announce_download,
    describe_tower,
    library,
    load_state_dict,
    loading,
    seeded,
)
from ilion.errors import ConfigError

_REMEDY = "Without a network: fetch the .pth file on another machine and set weights to it."


@BACKENDS.register("torchvision", extra="torch")
def build(info: ModelInfo, options: ExtractorOptions) -> TorchExtractor:
    """Build a torchvision classifier without its last layer.

    ``head`` is what the last layer would classify; the other poolings take the map before ``avgpool``.

    Raises:
        ConfigError: torchvision does not know the model or its weights, or the pooling does not fit.
        MissingExtraError: torchvision is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    library(info, "torch")
    models = library(info, "torchvision.models")
    name, _, tag = info.source.partition("/")
    if name not in models.list_models(module=models):
        close = get_close_matches(name, models.list_models(module=models), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(f"{info.name}: torchvision has no classifier {name!r}{hint}")
    known = models.get_model_weights(name)
    if tag and tag not in known.__members__:
        raise ConfigError(f"{info.name}: no weights {tag!r}; torchvision has {', '.join(known.__members__)}")
    entry = known[tag] if tag else known.DEFAULT
    with seeded(options.seed):
        if options.weights is None:
            announce_download(info)
            with loading(info, entry.url, _REMEDY):
                model = models.get_model(name, weights=entry)
        else:
            model = models.get_model(name, weights=None)
    if options.weights not in (None, NO_WEIGHTS):
        load_state_dict(model, Path(str(options.weights)), info)
    _drop_classifier(model)
    preset = entry.transforms()
    tower = Tower(
        module=model,
        forward=_forward(info, model),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        side=preset.crop_size[0] if hasattr(model, "image_size") else None,
    )
    spec = describe_tower(
        info,
        options,
        tower,
        side=preset.crop_size[0],
        resize="square" if tower.side else "long",
        pooling="head",
        settings={"entry": entry.name},
    )
    return TorchExtractor(tower, spec, options)


def _drop_classifier(model: Any) -> None:
    """Replace the last linear layer by the identity, under whichever name the family gives it."""
    import torch

    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    parent, _, last = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), last, torch.nn.Identity())


def _forward(info: ModelInfo, model: Any) -> Any:
    def forward(pixels: Any, pooling: str) -> Any:
        if pooling == "head":
            return model(pixels)
        if not hasattr(model, "avgpool"):
            raise ConfigError(f"{info.name} has no map before its pooling; use pooling head, or timm:NAME")
        maps: list[Any] = []
        hook = model.avgpool.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
        try:
            model(pixels)
        finally:
            hook.remove()
        return maps[0]

    return forward
