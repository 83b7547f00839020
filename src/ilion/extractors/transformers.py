"""Image and image-text models of the transformers library: ``transformers:ID`` or a local model folder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ilion.errors import ConfigError
from ilion.extractors.base import ExtractorOptions, ModelInfo
from ilion.extractors.torch_common import (
    NO_WEIGHTS,
    TextTower,
    TorchExtractor,
    TorchTextExtractor,
    Tower,
    announce_download,
    describe_tower,
    library,
    load_state_dict,
    loading,
    seeded,
)

_REMEDY = (
    "Without a network: fetch the whole model folder (config.json, preprocessor_config.json, "
    "model.safetensors, tokenizer files) on another machine and write transformers:FOLDER."
)


def build(info: ModelInfo, options: ExtractorOptions) -> TorchExtractor:
    """Build a model that `AutoModel` knows: SigLIP, SigLIP2, CLIP, DINOv2, DINOv3, ConvNeXt and the like.

    ``head`` is the model's image embedding (image-text models) or its pooled output; the other poolings use
    the last hidden state. Code from the hub is never run.

    Raises:
        ConfigError: The model needs inputs that Ilion does not make, or has no such output.
        MissingExtraError: transformers is not installed.
        ExtractionError: The model or its weights cannot be loaded.
    """
    library(info, "torch")
    transformers = library(info, "transformers")
    source = info.source
    if options.weights is None and not Path(source).is_dir():
        announce_download(info)
    with loading(info, source, _REMEDY), seeded(options.seed):
        processor = transformers.AutoImageProcessor.from_pretrained(source)
        if options.weights is None:
            model = transformers.AutoModel.from_pretrained(source)
        else:
            model = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(source))
    if options.weights not in (None, NO_WEIGHTS):
        load_state_dict(model, Path(str(options.weights)), info.name)
    model.float()
    config = model.config
    if config.model_type == "siglip2":
        raise ConfigError(f"{info.name}: NaFlex models are not supported; take a model of fixed resolution")
    vision_config = getattr(config, "vision_config", config)
    vision = getattr(model, "vision_model", model)
    patch = getattr(vision_config, "patch_size", 1)
    registers = getattr(vision_config, "num_register_tokens", 0)
    tower = Tower(
        module=model,
        forward=_forward(info, model, vision),
        mean=processor.image_mean,
        std=processor.image_std,
        multiple=patch,
        prefix=0 if "siglip" in config.model_type else 1 + registers,
    )
    has_text = hasattr(model, "get_text_features")
    spec = describe_tower(
        info,
        options,
        tower,
        side=getattr(vision_config, "image_size", 224),
        resize="long",
        pooling="head",
        text=has_text,
    )
    if not has_text:
        return TorchExtractor(tower, spec, options)
    return TorchTextExtractor(tower, _text_tower(transformers, info, model), spec, options)


def _forward(info: ModelInfo, model: Any, vision: Any) -> Any:
    def forward(pixels: Any, pooling: str) -> Any:
        call = vision if pooling != "head" else getattr(model, "get_image_features", model)
        flexible = "interpolate_pos_encoding" in inspect.signature(getattr(call, "forward", call)).parameters
        output = call(pixel_values=pixels, **({"interpolate_pos_encoding": True} if flexible else {}))
        if pooling != "head":
            return output.last_hidden_state
        pooled = _embedding(output)
        if pooled is None:
            raise ConfigError(f"{info.name} has no pooled output; set pooling to cls, gap or gem")
        return pooled

    return forward


def _embedding(output: Any) -> Any:
    # Before version 5, get_image_features and get_text_features returned the tensor itself.
    return getattr(output, "pooler_output", None) if hasattr(output, "last_hidden_state") else output


def _text_tower(transformers: Any, info: ModelInfo, model: Any) -> TextTower:
    context = model.config.text_config.max_position_embeddings
    # SigLIP was trained on texts padded to the full length (its model card); CLIP masks the padding.
    padding = "max_length" if "siglip" in model.config.model_type else True

    @cache
    def tokenizer() -> Any:
        with loading(info, f"the tokenizer of {info.source}", _REMEDY):
            return transformers.AutoTokenizer.from_pretrained(info.source)

    def tokenize(texts: Sequence[str]) -> tuple[Any, Sequence[int]]:
        lengths = [len(ids) for ids in tokenizer()(list(texts))["input_ids"]]
        cut = {"padding": padding, "truncation": True, "max_length": context, "return_tensors": "pt"}
        return tokenizer()(list(texts), **cut), lengths

    def encode(tokens: Any) -> Any:
        return _embedding(model.get_text_features(**tokens))

    return TextTower(tokenize, encode, context)
