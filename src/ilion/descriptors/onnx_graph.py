"""A network written out node by node, as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray


class OnnxGraph:
    """Collects the nodes of a network from images to maps; methods return the name of their output.

    Args:
        name: Name of the graph.
        weights: Arrays by their names in the checkpoint.
    """

    def __init__(self, name: str, weights: Mapping[str, NDArray[Any]]) -> None:
        import onnx  # a second of import time that only these networks need

        self.onnx, self.name, self.weights = onnx, name, weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **settings: Any) -> str:
        """Add a node of one output."""
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **settings))
        return name

    def constant(self, values: Any) -> str:
        """Add a constant of float32."""
        name = f"constant.{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def finish(self, output: str, channels: int) -> bytes:
        """Return the checked model, from (B, 3, H, W) to an output of so many channels."""
        helper, single = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("image", single, ["batch", 3, "height", "width"])],
            [helper.make_tensor_value_info(output, single, ["batch", channels, "rows", "columns"])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self.onnx.checker.check_model(model)
        return cast(bytes, model.SerializeToString())
