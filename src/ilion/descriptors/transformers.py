"""Image and image-text models of the transformers library: ``transformers:ID`` or a local model folder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.descriptors.torch_common import (
    NO_WEIGHTS,
    TextTower,
    TorchExtractor,
    TorchTextExtractor,
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

_REMEDY = (
    "Without a network: fetch the whole model folder (config.json, preprocessor_config.json, "
    "model.safetensors, tokenizer files) on another machine and write transformers:FOLDER."
)


@BACKENDS.register("transformers", extra="torch")
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
    state = read_state_dict(Path(options.weights)) if options.weights not in (None, NO_WEIGHTS) else None
    with loading(info, source, _REMEDY), seeded(options.seed):
        processor = transformers.AutoImageProcessor.from_pretrained(source)
        config = transformers.AutoConfig.from_pretrained(source)
        found: dict[str, Any] = {"missing_keys": ()}
        if options.weights is None:
            model, found = transformers.AutoModel.from_pretrained(source, output_loading_info=True)
        elif state is None:
            model = transformers.AutoModel.from_config(config)
        else:
            model, found = transformers.MODEL_MAPPING[type(config)].from_pretrained(
                None, config=config, state_dict=state, output_loading_info=True
            )
    # Many published checkpoints have no pooler; it is only needed for the model's own pooling.
    optional = ("pooler.",) if options.pooling not in (None, "head") else ()
    missing = [key for key in sorted(found["missing_keys"]) if not key.startswith(optional)]
    require_all(info, options.weights or source, missing)
    model.float()
    if config.model_type == "siglip2":
        raise ConfigError(f"{info.name}: NaFlex models are not supported; take a model of fixed resolution")
    vision_config = getattr(config, "vision_config", config)
    vision = getattr(model, "vision_model", model)
    patch = getattr(vision_config, "patch_size", 1)
    registers = getattr(vision_config, "num_register_tokens", 0)
    forward = _forward(info, model, vision)
    tower = Tower(
        module=model,
        forward=forward,
        tokens=lambda pixels: forward(pixels, "gap"),
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
    # SigLIP was trained on lower-case texts, padded to the full length and not masked (its model card).
    siglip = "siglip" in model.config.model_type

    @cache
    def tokenizer() -> Any:
        with loading(info, f"the tokenizer of {info.source}", _REMEDY):
            return transformers.AutoTokenizer.from_pretrained(info.source)

    def tokenize(texts: Sequence[str]) -> tuple[Any, Sequence[int]]:
        words = [text.lower() for text in texts] if siglip else list(texts)
        lengths = [len(ids) for ids in tokenizer()(words)["input_ids"]]
        tokens = tokenizer()(
            words,
            padding="max_length" if siglip else True,
            truncation=True,
            max_length=context,
            return_tensors="pt",
        )
        if siglip:
            tokens.pop("attention_mask", None)
        return tokens, lengths

    def encode(tokens: Any) -> Any:
        return _embedding(model.get_text_features(**tokens))

    return TextTower(tokenize, encode, context)
