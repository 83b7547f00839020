"""A network written out node by node, as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ilion.errors import WeightsError

IMAGES = {"image": ("batch", 3, "height", "width")}
"""Inputs of a network that looks at images."""


class OnnxGraph:
    """Collects the nodes of an ONNX graph; methods that add some return the name of the output.

    Args:
        name: Name of the network, for messages.
        weights: Arrays by their names in the checkpoint.
        opset: Version of the operators.
    """

    def __init__(self, name: str, weights: Mapping[str, NDArray[Any]], opset: int = 17) -> None:
        import onnx  # a second of import time that only these networks need

        self.name, self.onnx, self.weights, self._opset = name, onnx, weights, opset
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **settings: Any) -> str:
        """Add a node of one output."""
        return self.split(kind, 1, *inputs, **settings)[0]

    def split(self, kind: str, count: int, *inputs: str, **settings: Any) -> list[str]:
        """Add a node of several outputs."""
        names = [f"{kind}.{len(self._nodes)}.{number}" for number in range(count)]
        self._nodes.append(self.onnx.helper.make_node(kind, inputs, names, **settings))
        return names

    def rename(self, given: str, name: str) -> None:
        """Give what a node returns another name, for an output."""
        self._nodes.append(self.onnx.helper.make_node("Identity", [given], [name]))

    def constant(self, values: Any, dtype: type[np.generic] = np.float32) -> str:
        """Add a constant."""
        name = f"constant.{len(self._constants)}"
        self._constants.append(self.onnx.numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def convolve(self, x: str, kernel: NDArray[Any], bias: NDArray[Any] | None, stride: int = 1) -> str:
        """Add a convolution that keeps the size but for its stride."""
        given = [self.constant(values) for values in (kernel, bias) if values is not None]
        pads = [kernel.shape[2] // 2] * 4
        return self.add("Conv", x, *given, strides=[stride, stride], pads=pads)

    def weight(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Return an array of the checkpoint.

        Raises:
            WeightsError: The array is missing, has another shape or is not finite.
        """
        return checked_weight(self.weights, self.name, name, shape).astype(np.float64)

    def finish(self, inputs: Mapping[str, tuple[Any, ...]], outputs: Mapping[str, tuple[Any, ...]]) -> bytes:
        """Return the checked model.

        Args:
            inputs: Shape of each input; a text is an axis of any length.
            outputs: Shape of each output.
        """
        helper, single = self.onnx.helper, self.onnx.TensorProto.FLOAT

        def described(values: Mapping[str, tuple[Any, ...]]) -> list[Any]:
            return [helper.make_tensor_value_info(name, single, shape) for name, shape in values.items()]

        graph = helper.make_graph(
            self._nodes, self.name, described(inputs), described(outputs), self._constants
        )
        opsets = [helper.make_opsetid("", self._opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if self._opset < 19 else 9)
        self.onnx.checker.check_model(model)
        return cast(bytes, model.SerializeToString())


def checked_weight(
    weights: Mapping[str, NDArray[Any]], network: str, name: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return an array of a checkpoint.

    Raises:
        WeightsError: The array is missing, has another shape or is not finite.
    """
    found = weights.get(name)
    if found is None or found.shape != shape or not np.isfinite(found).all():
        seen = "are missing" if found is None else f"have shape {found.shape}"
        if found is not None and found.shape == shape:
            seen = "are not all finite"
        raise WeightsError(f"{network}: not the weights of this network: {name} {seen}, expected {shape}")
    return found
