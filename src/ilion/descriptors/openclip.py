"""Image and text models of the open_clip library: ``openclip:ARCH/TAG``."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.descriptors.timm import accepts_any_size, patch_side, trunk_tokens
from ilion.descriptors.torch_common import (
    NO_WEIGHTS,
    OTHER_ARCHITECTURE,
    TextTower,
    TorchTextExtractor,
    Tower,
    announce_download,
    describe_tower,
    library,
    loading,
    seeded,
)
from ilion.errors import ConfigError


@BACKENDS.register("openclip", extra="torch")
def build(info: ModelInfo, options: ExtractorOptions) -> TorchTextExtractor:
    """Build both towers of an open_clip model; the descriptor is the model's own embedding (``head``).

    Image towers that come from timm take any image size where timm can interpolate their position embedding.
    The others take one square size; another ``side`` resamples their position embedding once.

    Raises:
        ConfigError: open_clip does not know the model or its weights, or the pooling is not ``head``.
        MissingExtraError: open_clip is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    library(info, "torch")
    open_clip = library(info, "open_clip")
    architecture, _, tag = info.source.partition("/")
    _check_name(open_clip, info, options)
    if options.pooling not in (None, "head"):
        raise ConfigError(
            f"{info.name}: open_clip models only have pooling 'head'; for {options.pooling!r} use the same "
            "image tower by timm:NAME"
        )
    timm_name = open_clip.get_model_config(architecture)["vision_cfg"].get("timm_model_name")
    flexible = timm_name is not None and accepts_any_size(library(info, "timm"), timm_name)
    arguments: dict[str, Any] = {"force_image_size": None if flexible else options.side}
    with seeded(options.seed):
        if options.weights == NO_WEIGHTS:
            model = open_clip.create_model(architecture, **arguments)
        elif options.weights is not None:
            if not Path(options.weights).is_file():
                raise ConfigError(f"{info.name}: there is no file {options.weights}")
            with loading(info, options.weights, OTHER_ARCHITECTURE):
                model = open_clip.create_model(architecture, options.weights, **arguments)
        else:
            announce_download(info)
            with loading(info, f"{tag} from its hub", _remedy(architecture, tag)):
                model = open_clip.create_model(architecture, tag, **arguments)
    if flexible:
        _accept_any_size(model.visual, timm_name)
    own = open_clip.get_model_preprocess_cfg(model)
    if options.weights is not None and tag:
        # A file does not say how its images were prepared; the entry that it stands in for does.
        own |= open_clip.get_pretrained_cfg(architecture, tag)
    own_side = own["size"] if isinstance(own["size"], int) else own["size"][0]
    tower = Tower(
        module=model,
        forward=lambda pixels, pooling: model.encode_image(pixels),
        tokens=lambda pixels: _tokens(model.visual, pixels),
        mean=own["mean"],
        std=own["std"],
        multiple=_patch_side(model.visual),
        side=None if flexible else own_side,
    )
    squash = own.get("resize_mode") == "squash"
    spec = describe_tower(
        info,
        options,
        tower,
        side=own_side,
        # CLIP's own centre crop would cut off objects near the border.
        resize="long" if flexible else "square" if squash else "pad",
        pooling="head",
        text=True,
    )
    return TorchTextExtractor(tower, _text_tower(open_clip, info, architecture, model), spec, options)


def _patch_side(visual: Any) -> int:
    """Return the side of a patch in pixels, or 1 for a model without patches."""
    if hasattr(visual, "trunk"):
        return patch_side(visual.trunk)
    return int(getattr(visual, "patch_size", (1,))[0])


def _tokens(visual: Any, pixels: Any) -> Any:
    """Return the tokens of an image tower; see `Tower.tokens`."""
    if hasattr(visual, "trunk"):
        return trunk_tokens(visual.trunk, pixels)
    if not hasattr(visual, "output_tokens"):
        raise ValueError("this image tower has no tokens")
    usual, visual.output_tokens = visual.output_tokens, True
    try:
        return visual(pixels)[1]
    finally:
        visual.output_tokens = usual


def _accept_any_size(visual: Any, timm_name: str) -> None:
    """Rebuild the timm trunk so that it interpolates its position embedding, with the same weights."""
    import timm

    old = visual.trunk
    trunk = timm.create_model(
        timm_name, num_classes=old.num_classes, global_pool=old.global_pool, dynamic_img_size=True
    )
    trunk.load_state_dict(old.state_dict())
    visual.trunk = trunk


def _text_tower(open_clip: Any, info: ModelInfo, architecture: str, model: Any) -> TextTower:
    @cache
    def tokenizer() -> Any:
        # Some tokenizers are fetched from a hub; runs without text queries need not have them.
        with loading(info, "the tokenizer from its hub", "Run once with a network, or use images only."):
            return open_clip.get_tokenizer(architecture)

    def tokenize(texts: Sequence[str]) -> tuple[Any, Sequence[int]]:
        return tokenizer()(list(texts)), [_token_count(tokenizer(), text) for text in texts]

    return TextTower(tokenize, model.encode_text, model.context_length)


def _token_count(tokenizer: Any, text: str) -> int:
    """Length in tokens with the start and end marks, before anything is cut."""
    if hasattr(tokenizer, "encode"):
        return len(tokenizer.encode(text)) + 2
    return len(tokenizer.tokenizer(text)["input_ids"])


def _check_name(open_clip: Any, info: ModelInfo, options: ExtractorOptions) -> None:
    architecture, _, tag = info.source.partition("/")
    if architecture not in open_clip.list_models():
        close = get_close_matches(architecture, open_clip.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(
            f"{info.name}: open_clip {open_clip.__version__} has no model {architecture!r}{hint}"
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if options.weights is None and tag not in tags:
        raise ConfigError(
            f"{info.name}: open_clip {open_clip.__version__} has no weights {tag!r} for {architecture}; "
            f"write openclip:{architecture}/TAG with one of {', '.join(tags) or '(none)'}, or set weights to "
            "a file"
        )


def _remedy(architecture: str, tag: str) -> str:
    return (
        f"Without a network: fetch the weights {tag} of {architecture} that open_clip names "
        f"(open_clip.get_pretrained_url) on another machine and set weights to that file."
    )
