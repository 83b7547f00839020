"""A network small enough for tests: a 1 x 1 convolution and a 3 x 3 one, exported as ONNX; a text tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ilion.config import ExtractionConfig
from ilion.descriptors.base import Extractor
from ilion.pipeline.stages.model import extractor_of
from ilion.types import RGB, Float32


def tiny_network(path: Path, *, channels: int = 24, seed: int = 0) -> Path:
    """Write an ONNX file (B, 3, H, W) -> (B, channels, H / 4, W / 4) with the side file that Ilion reads."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((channels, 3, 3, 3)).astype(np.float32)
    second = (rng.standard_normal((channels, channels, 3, 3)) / channels).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], strides=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["map"], strides=[2, 2], auto_pad="SAME_UPPER"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["b", channels, "r", "c"])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    settings = 'side = 64\nresize = "long"\npooling = "gem"\nmean = [127, 127, 127]\nstd = [64, 64, 64]\n'
    path.with_name(f"{path.name}.toml").write_text(settings, encoding="utf-8")
    return path


class WithTexts:
    """Any extractor, with a text tower that counts letters.

    Args:
        inner: Describes images.
        longest: Words that the tower reads.
    """

    def __init__(self, inner: Extractor, longest: int = 1000) -> None:
        self.inner, self.longest = inner, longest
        self.spec = replace(inner.spec, text=True)

    def extract(self, images: Sequence[RGB]) -> Float32:
        return self.inner.extract(images)

    def extract_text(self, texts: Sequence[str]) -> Float32:
        dim = self.spec.dim
        counts = [np.bincount([ord(c) % dim for c in text], minlength=dim) for text in texts]
        values = np.array(counts, np.float32) + 0.1
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    def count_long(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) > self.longest for text in texts)


def read_texts(monkeypatch: pytest.MonkeyPatch, longest: int = 1000) -> None:
    """Give every model of an experiment a text tower."""

    def build(settings: ExtractionConfig, seed: int) -> WithTexts:
        return WithTexts(extractor_of(settings, seed), longest)

    monkeypatch.setattr("ilion.pipeline.order.extractor_of", build)
