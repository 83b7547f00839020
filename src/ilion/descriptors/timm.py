"""Image models of the timm library: ``timm:NAME`` or ``timm:NAME.TAG``."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.descriptors.torch_common import (
    NO_WEIGHTS,
    OTHER_ARCHITECTURE,
    TorchExtractor,
    Tower,
    announce_download,
    describe_tower,
    library,
    loading,
    read_state_dict,
    require_all,
    seeded,
)
from ilion.errors import ConfigError


@BACKENDS.register("timm", extra="torch")
def build(info: ModelInfo, options: ExtractorOptions) -> TorchExtractor:
    """Build a timm model without its classifier; ``head`` is what timm pools for the classifier.

    Vision transformers take any image size where timm can interpolate their position embedding.

    Raises:
        ConfigError: timm does not know the model or has no weights for it.
        MissingExtraError: timm is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    library(info, "torch")
    timm = library(info, "timm")
    name = info.source
    _check_name(timm, info, options)
    arguments: dict[str, Any] = {"num_classes": 0}
    if accepts_any_size(timm, name):
        arguments["dynamic_img_size"] = True
    with seeded(options.seed):
        if options.weights is None:
            announce_download(info)
            with loading(info, f"timm/{name} from its hub", _remedy(name)):
                model = timm.create_model(name, pretrained=True, **arguments)
        else:
            model = timm.create_model(name, **arguments)
    if options.weights not in (None, NO_WEIGHTS):
        _load_file(model, Path(str(options.weights)), info)
    own = timm.data.resolve_model_data_config(model)
    own_side = int(own["input_size"][-1])
    fixed = bool(model.pretrained_cfg.get("fixed_input_size")) and "dynamic_img_size" not in arguments

    def forward(pixels: Any, pooling: str) -> Any:
        features = model.forward_features(pixels)
        if pooling == "head":
            return model.forward_head(features)
        channels_last = features.ndim == 4 and getattr(model, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2) if channels_last else features

    tower = Tower(
        module=model,
        forward=forward,
        tokens=lambda pixels: trunk_tokens(model, pixels),
        mean=own["mean"],
        std=own["std"],
        multiple=patch_side(model),
        side=own_side if fixed else None,
        prefix=getattr(model, "num_prefix_tokens", 0),
    )
    spec = describe_tower(
        info,
        options,
        tower,
        side=own_side,
        resize="square" if fixed else "long",
        pooling="head",
        licence=model.pretrained_cfg.get("license") or "unknown",
    )
    return TorchExtractor(tower, spec, options)


def _load_file(model: Any, path: Path, info: ModelInfo) -> None:
    """Load a weights file in any of the formats that timm converts; only a classifier may be left over."""
    state = read_state_dict(path)
    # timm keeps the converter of a family's published checkpoints under this name beside the family.
    convert = getattr(inspect.getmodule(type(model)), "checkpoint_filter_fn", None)
    with loading(info, str(path), OTHER_ARCHITECTURE):
        missing, unexpected = model.load_state_dict(convert(state, model) if convert else state, strict=False)
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    surplus = [key for key in unexpected if not key.startswith(tuple(f"{head}." for head in heads))]
    require_all(info, str(path), missing, surplus)


def trunk_tokens(model: Any, pixels: Any) -> Any:
    """Return the tokens of a timm model; see `Tower.tokens`."""
    features = model.forward_features(pixels)
    model.forward_head(features)
    return features


def accepts_any_size(timm: Any, name: str) -> bool:
    """Tell whether timm can interpolate the position embedding of a model, without allocating its weights."""
    import torch

    with torch.device("meta"):
        kind = type(timm.create_model(name, num_classes=0))
    return "dynamic_img_size" in inspect.signature(kind.__init__).parameters


def patch_side(model: Any) -> int:
    """Return the side of a patch of a timm model in pixels, or 1 for a model without patches."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    return int(patch[0] if isinstance(patch, tuple) else patch)


def _check_name(timm: Any, info: ModelInfo, options: ExtractorOptions) -> None:
    architecture, _, tag = info.source.partition(".")
    if not timm.is_model(architecture):
        close = get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(f"{info.name}: timm {timm.__version__} has no model {architecture!r}{hint}")
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if (tag and tag not in tags) or (not tags and options.weights is None):
        raise ConfigError(
            f"{info.name}: timm {timm.__version__} has no weights {tag!r} for {architecture}; "
            f"it has {', '.join(tags) or 'none'}; or set weights to a file"
        )


def _remedy(name: str) -> str:
    return (
        f"Without a network: fetch model.safetensors of timm/{name} from the Hugging Face hub on another "
        "machine and set weights to that file."
    )
