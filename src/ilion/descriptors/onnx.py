"""Any exported model by ONNX Runtime: ``onnx:FILE``, with an optional ``FILE.toml`` beside it.

The side file holds what an ONNX file cannot say; every key is optional:

    mean = [123.675, 116.28, 103.53]   # on the 0..255 scale
    std = [58.395, 57.12, 57.375]
    side = 384                         # pixels; models of a fixed input size need no side
    resize = "long"
    pooling = "gem"
    output = "last_hidden_state"       # when the model has several outputs
    prefix_tokens = 1                  # tokens before the patches: class token and registers
    licence = "Apache-2.0"
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from ilion.descriptors.base import ExtractorOptions, ExtractorSpec, resize_mode
from ilion.descriptors.batching import check_side, describe_by_shape
from ilion.descriptors.onnx_network import OnnxNetwork, model_digest
from ilion.descriptors.pooling import pool, token_grid
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.errors import ConfigError, ExtractionError
from ilion.opening import parse_toml, read_bytes
from ilion.types import RGB, Float32

log = logging.getLogger(__name__)

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet on the 0..255 scale; what most exported models expect."""
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Deviation of ImageNet on the 0..255 scale."""
DEFAULT_SIDE = 384
"""Longer side for models that take any size; the ILIAS recipe starts there."""

_DEFAULT_POOLING = {2: "head", 3: "cls"}
_SIDE_FILE_KEYS = ("mean", "std", "side", "resize", "pooling", "output", "prefix_tokens", "licence")


class OnnxExtractor:
    """A model file and ONNX Runtime.

    Images come in at the size that ``spec.resize`` and ``spec.side`` describe; a model of a fixed input size
    refuses any other. A channels-last model is taken to have channels-last maps.

    Args:
        model: Content of an ONNX file, its path, or a loaded network.
        spec: Spec of the descriptors; a ``dim`` of 0 is replaced by what the model returns.
        options: ``device``, ``threads`` and ``batch_size`` are used.
        pooling: A name in `ilion.descriptors.pooling.POOLINGS`.
        prefix_tokens: Tokens before the patches, for outputs of shape (B, T, C).

    Raises:
        ConfigError: A setting does not fit the model.
        ExtractionError: The model cannot be loaded, is not a model of RGB images, or the device is not there.
    """

    def __init__(
        self,
        model: bytes | Path | OnnxNetwork,
        spec: ExtractorSpec,
        options: ExtractorOptions,
        *,
        pooling: str,
        prefix_tokens: int = 1,
    ) -> None:
        if options.precision != "float32":
            raise ConfigError(
                f"precision {options.precision!r}: an ONNX model computes in the type it was exported with; "
                "leave precision at float32, or export the model again"
            )
        if not isinstance(model, OnnxNetwork):
            model = OnnxNetwork(model, spec.name, options.device, options.threads)
        _check_input(model, spec)
        self._network = model
        self._pooling = pooling
        self._prefix = prefix_tokens
        self._batch_size = model.batch or options.batch_size
        self._spec = spec
        if spec.dim == 0:
            blank = np.zeros((spec.side, spec.side, 3), np.uint8)
            self._spec = replace(spec, dim=self._describe([blank]).shape[1])

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        return self._spec

    @property
    def provider(self) -> str:
        """The ONNX Runtime execution provider in use."""
        return self._network.provider

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe images that have the size the spec describes; returns (B, D) float32, L2-normalised.

        Raises:
            ExtractionError: An image has another size than the model takes, or the model fails.
        """
        return describe_by_shape(images, self._batch_size, self._spec.dim, self._describe)

    def _describe(self, images: Sequence[RGB]) -> Float32:
        """Images of one shape to (B, D), not normalised."""
        values = self._network.run(images, self._spec.mean, self._spec.std)
        height, width = images[0].shape[:2]
        grid = token_grid(height, width, values.shape[1] - self._prefix) if values.ndim == 3 else None
        pooled: Float32 = pool(values, self._pooling, grid, self._prefix)
        return pooled


@BACKENDS.register("onnx")
def build(info: ModelInfo, options: ExtractorOptions) -> OnnxExtractor:
    """Build the extractor of ``onnx:FILE``: the options come first, then ``FILE.toml``, then defaults.

    Raises:
        ConfigError: The file does not exist, or a setting is unknown or does not fit the model.
        ExtractionError: The model cannot be loaded.
    """
    path = Path(os.path.expanduser(options.weights or info.source))
    if not path.is_file():
        raise ConfigError(f"{info.name}: there is no file {path}")
    revision = "sha256:" + model_digest(path)
    extra = _read_side_file(path)
    network = OnnxNetwork(path, info.name, options.device, options.threads, extra.get("output"))
    raw = network.dtype is np.uint8
    fixed = network.height is not None
    spec = ExtractorSpec(
        name=info.name,
        weights=path.name,
        revision=revision,
        dim=info.dim,
        resize=resize_mode(options.resize or extra.get("resize") or ("square" if fixed else "long")),
        side=options.side or extra.get("side") or network.height or DEFAULT_SIDE,
        mean=extra.get("mean") or ((0.0, 0.0, 0.0) if raw else IMAGENET_MEAN),
        std=extra.get("std") or ((1.0, 1.0, 1.0) if raw else IMAGENET_STD),
        pooling=options.pooling or extra.get("pooling") or _DEFAULT_POOLING.get(network.output_rank, "gem"),
        licence=extra.get("licence") or info.licence,
        options={"output": network.output, "prefix_tokens": extra.get("prefix_tokens", 1)},
    )
    if "mean" not in extra and not raw:
        log.warning(
            "%s: no %s says how to normalise, so the mean and deviation of ImageNet are assumed; "
            "say mean and std there if the model was trained otherwise",
            info.name,
            _side_file(path).name,
        )
    return OnnxExtractor(
        network, spec, options, pooling=spec.pooling, prefix_tokens=extra.get("prefix_tokens", 1)
    )


def _check_input(network: OnnxNetwork, spec: ExtractorSpec) -> None:
    """Refuse a spec that the model's input contradicts."""
    if network.dtype is np.uint8 and (set(spec.mean), set(spec.std)) != ({0.0}, {1.0}):
        raise ConfigError(
            f"{spec.name} takes uint8 pixels and normalises them itself; mean must be 0 and std 1"
        )
    if network.height != network.width:
        raise ExtractionError(
            f"{spec.name} takes {network.width} x {network.height} pixels; only square or free input sizes "
            "are supported; export the model with dynamic axes"
        )
    check_side(spec, network.height)


def _side_file(path: Path) -> Path:
    return path.with_name(path.name + ".toml")


def _read_side_file(path: Path) -> dict[str, Any]:
    """Read and check ``FILE.toml``; an absent one is empty."""
    file = _side_file(path)
    if not file.is_file():
        return {}
    try:
        values = parse_toml(read_bytes(file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    for key in values:
        if key not in _SIDE_FILE_KEYS:
            close = get_close_matches(key, _SIDE_FILE_KEYS, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(_SIDE_FILE_KEYS)}"
            raise ConfigError(f"{file}: unknown key {key!r}{hint}")
    for key, kind in (
        ("side", int),
        ("prefix_tokens", int),
        ("pooling", str),
        ("output", str),
        ("licence", str),
    ):
        if key in values and (type(values[key]) is not kind or (kind is int and values[key] < 0)):
            raise ConfigError(f"{file}: {key} must be {'a count' if kind is int else 'a text'}")
    if ("mean" in values) != ("std" in values):
        raise ConfigError(f"{file}: give mean and std together")
    for key in ("mean", "std"):
        if key in values:
            values[key] = _three_numbers(file, key, values[key])
    return values


def _three_numbers(file: Path, key: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) in (int, float) for v in value):
        raise ConfigError(f"{file}: {key} must be three numbers on the 0..255 scale, got {value!r}")
    numbers = tuple(float(v) for v in value)
    if key == "std" and min(numbers) < 1:
        raise ConfigError(f"{file}: std {value!r} looks like the 0..1 scale; multiply mean and std by 255")
    return numbers
