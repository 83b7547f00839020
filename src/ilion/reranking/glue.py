"""LightGlue without torch: a layer is an ONNX graph whose weights are inputs; NumPy goes from layer to layer.

Written out from the paper (Lindenberger and others, ICCV 2023) and the names and shapes in the checkpoints.
After each layer keypoints that have no match are left out, and once nearly all are sure, the other layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.onnx_graph import OnnxGraph, checked_weight
from ilion.descriptors.onnx_network import open_session
from ilion.errors import ExtractionError
from ilion.types import Float32, Int64, Value

THRESHOLD = 0.1
"""Least confidence of a match."""
EPSILON = 1e-5
"""What layer normalisation adds to a variance."""
_OLD = re.compile(r"^(self_attn|cross_attn)\.(\d+)\.")
Linear = tuple[Float32, Float32]
"""Weight (out, in) and bias (out,)."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network and when it stops.

    Args:
        given: Dimensions of a descriptor.
        dim: Dimensions inside.
        heads: Number of parts of an attention.
        layers: Number of layers.
        oriented: Whether keypoints come with scales and angles.
        sure: Share of sure keypoints above which no further layer is computed; 0 computes all.
        kept: Certainty that a keypoint has no match, above which it is left out.
    """

    given: int
    dim: int = 256
    heads: int = 4
    layers: int = 9
    oriented: bool = False
    sure: float = 0.95
    kept: float = 0.99


@dataclass(frozen=True, eq=False)
class Points(Value):
    """Keypoints of an image as the layers see them.

    Args:
        rows: (M,) rows that are still looked at.
        values: (M, D) what is known of each.
        cosines: (M, D / heads / 2) cosines of its place.
        sines: (M, D / heads / 2) sines of its place.
    """

    rows: Int64
    values: Float32
    cosines: Float32
    sines: Float32

    def take(self, kept: NDArray[np.bool_]) -> Points:
        """Return some of them."""
        return Points(self.rows[kept], self.values[kept], self.cosines[kept], self.sines[kept])


class Glue:
    """The network.

    Args:
        weights: Arrays by their names in the checkpoint, at will below ``matcher.``.
        sizes: Sizes of the network.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        ConfigError: There is no such device.
        ExtractionError: The weights are not those of this network.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]], sizes: Sizes, device: str = "auto") -> None:
        # the authors' older files have other names, and XFeat's holds the keypoints' network too
        named = {_OLD.sub(r"transformers.\2.\1.", n.removeprefix("matcher.")): v for n, v in weights.items()}
        read = _Reader(named, sizes)
        dim, numbers = sizes.dim, range(sizes.layers)
        self.sizes = sizes
        self._enter = read.linear("input_proj", dim, sizes.given) if sizes.given != dim else None
        self._places = read.get("posenc.Wr.weight", dim // sizes.heads // 2, 4 if sizes.oriented else 2)
        self._matchable = [read.linear(f"log_assignment.{n}.matchability", 1, dim) for n in numbers]
        self._final = [read.linear(f"log_assignment.{n}.final_proj", dim, dim) for n in numbers]
        self._sure = [read.linear(f"token_confidence.{n}.token.0", 1, dim) for n in numbers[:-1]]
        self._layers = [read.layer(f"transformers.{n}") for n in numbers]
        self._session = open_session(layer_graph(sizes), "lightglue", device, 0)

    def enter(self, places: Float32, descriptors: Float32) -> Points:
        """Bring the keypoints of an image in.

        Args:
            places: (M, 2) x, y from the middle of the image, as shares of half its longer side; (M, 4) with
                scales and angles.
            descriptors: (M, d).
        """
        turns = places @ self._places.T
        values = descriptors if self._enter is None else _apply(self._enter, descriptors)
        return Points(np.arange(len(places)), values, np.cos(turns), np.sin(turns))

    def match(self, first: Points, second: Points) -> tuple[Int64, Int64, Float32]:
        """Match the keypoints of two images.

        Returns:
            Rows of the first and of the second, ascending by the first, and confidences in [0, 1].

        Raises:
            ExtractionError: ONNX Runtime fails.
        """
        total, last = len(first.rows) + len(second.rows), self.sizes.layers - 1
        for number in range(self.sizes.layers):
            if not len(first.rows) or not len(second.rows):
                none = np.zeros(0, np.int64)
                return none, none, np.zeros(0, np.float32)
            first, second = self._run(number, first, second)
            if number == last:
                break
            least = np.float32(min(1.0, 0.8 + 0.1 * np.exp(-4 * number / self.sizes.layers)))
            is_sure = [_sigmoid(_apply(self._sure[number], p.values)[:, 0]) >= least for p in (first, second)]
            if self.sizes.sure and 1 - sum((~s).sum() for s in is_sure) / total > self.sizes.sure:
                break
            first, second = (
                p.take(self._matchable_rows(number, p) | (~s if self.sizes.sure else False))
                for p, s in zip((first, second), is_sure, strict=True)
            )
        return self._assign(number, first, second)

    def _matchable_rows(self, number: int, points: Points) -> NDArray[np.bool_]:
        return _sigmoid(_apply(self._matchable[number], points.values)[:, 0]) > 1 - self.sizes.kept

    def _run(self, number: int, first: Points, second: Points) -> tuple[Points, Points]:
        """Compute a layer."""
        given = {
            f"{name}{side}": values
            for side, p in enumerate((first, second))
            for name, values in (("x", p.values), ("cosines", p.cosines), ("sines", p.sines))
        }
        try:
            found = self._session.run(["y0", "y1"], given | self._layers[number])
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ExtractionError(
                f"lightglue failed on {len(first.rows)} and {len(second.rows)} keypoints: {error}"
            ) from error
        return replace(first, values=found[0]), replace(second, values=found[1])

    def _assign(self, number: int, first: Points, second: Points) -> tuple[Int64, Int64, Float32]:
        """Return pairs that are each other's most probable."""
        scale = np.float32(self.sizes.dim**-0.25)
        one, other = (_apply(self._final[number], p.values) * scale for p in (first, second))
        chances = one @ other.T
        certain = [_log_sigmoid(_apply(self._matchable[number], p.values)) for p in (first, second)]
        scores = _log_softmax(chances, 1) + _log_softmax(chances, 0) + certain[0] + certain[1].T
        forward, backward = scores.argmax(axis=1), scores.argmax(axis=0)
        rows = np.arange(len(scores))
        confidences = np.exp(scores[rows, forward])
        kept = (backward[forward] == rows) & (confidences > THRESHOLD)
        return first.rows[kept], second.rows[forward[kept]], confidences[kept].astype(np.float32)


class _Reader:
    """Reads weights by name and shape.

    Args:
        weights: Arrays by name.
        sizes: Sizes of the network.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]], sizes: Sizes) -> None:
        self._weights, self._sizes = weights, sizes

    def get(self, name: str, *shape: int) -> Float32:
        """Return an array of the checkpoint."""
        return checked_weight(self._weights, "lightglue", name, shape).astype(np.float32)

    def linear(self, name: str, high: int, wide: int) -> Linear:
        """Return weight and bias of a linear layer."""
        return self.get(f"{name}.weight", high, wide), self.get(f"{name}.bias", high)

    def layer(self, name: str) -> dict[str, Float32]:
        """Return what the graph of a layer takes; the scales of attention are multiplied in."""
        dim, heads = self._sizes.dim, self._sizes.heads
        side = dim // heads
        found: dict[str, Linear] = {}
        for block, leave in (("self_attn", "out_proj"), ("cross_attn", "to_out")):
            at = f"{name}.{block}"
            found[f"{block}.leave"] = self.linear(f"{at}.{leave}", dim, dim)
            found[f"{block}.widen"] = self.linear(f"{at}.ffn.0", 2 * dim, 2 * dim)
            norm = self.get(f"{at}.ffn.1.weight", 2 * dim), self.get(f"{at}.ffn.1.bias", 2 * dim)
            found[f"{block}.norm"] = norm
            found[f"{block}.narrow"] = self.linear(f"{at}.ffn.3", dim, 2 * dim)
        # Neighbours turn in pairs; here the first of all pairs stand before the second: same products.
        order = np.concatenate([np.arange(0, side, 2), np.arange(1, side, 2)])
        entering = []
        for values in self.linear(f"{name}.self_attn.Wqkv", 3 * dim, dim):
            split = values.reshape(heads, side, 3, -1).transpose(2, 0, 1, 3).copy()
            split[:2] = split[:2, :, order]
            split[0] *= np.float32(side**-0.5)
            entering.append(split.reshape(values.shape))
        found["self_attn.enter"] = (entering[0], entering[1])
        (key, key_bias), (value, value_bias) = (
            self.linear(f"{name}.cross_attn.{part}", dim, dim) for part in ("to_qk", "to_v")
        )
        scale = np.float32(side**-0.25)
        kernel, bias = np.concatenate([key * scale, value]), np.concatenate([key_bias * scale, value_bias])
        found["cross_attn.enter"] = (kernel, bias)
        return {
            f"{part}.{kind}": array
            for part, pair in found.items()
            for kind, array in zip(("weight", "bias"), pair, strict=True)
        }


def layer_graph(sizes: Sizes) -> bytes:
    """Write a layer as an ONNX model, whose weights are inputs.

    Two images go in, ``x0`` (m, D) and ``x1`` (n, D) with the cosines and sines of their places, and come out
    as ``y0`` and ``y1``: each looks at itself, then both at each other.
    """
    graph = _Graph("lightglue", {}, 20)
    dim, half = sizes.dim, sizes.dim // sizes.heads // 2
    inputs: dict[str, tuple[Any, ...]] = {}
    for block, parts in (("self_attn", 3), ("cross_attn", 2)):
        for part, high, wide in (
            ("enter", parts * dim, dim),
            ("leave", dim, dim),
            ("widen", 2 * dim, 2 * dim),
            ("norm", 2 * dim, 0),
            ("narrow", dim, 2 * dim),
        ):
            inputs[f"{block}.{part}.weight"] = (high, wide) if wide else (high,)
            inputs[f"{block}.{part}.bias"] = (high,)
    seen = []
    for side, count in enumerate("mn"):
        shapes = {"x": (count, dim), "cosines": (count, half), "sines": (count, half)}
        inputs |= {f"{name}{side}": shape for name, shape in shapes.items()}
        both, values = graph.enter("self_attn", f"x{side}", sizes.heads, (2, 1))
        one, two = graph.split("Split", 2, both, axis=3, num_outputs=2)
        turned = [
            graph.add(kind, graph.add("Mul", a, f"cosines{side}"), graph.add("Mul", b, f"sines{side}"))
            for kind, a, b in (("Sub", one, two), ("Add", two, one))
        ]
        query, key = graph.split("Split", 2, graph.add("Concat", *turned, axis=3), axis=0, num_outputs=2)
        message = graph.attend(graph.product(query, key), values)
        seen.append(graph.leave("self_attn", f"x{side}", message, dim))
    (keys, values), (other_keys, other_values) = (
        graph.enter("cross_attn", x, sizes.heads, (1, 1)) for x in seen
    )
    forward = graph.product(keys, other_keys)
    backward = graph.add("Transpose", forward, perm=[0, 1, 3, 2])
    messages = graph.attend(forward, other_values), graph.attend(backward, values)
    for side, (x, message) in enumerate(zip(seen, messages, strict=True)):
        graph.rename(graph.leave("cross_attn", x, message, dim), f"y{side}")
    return graph.finish(inputs, {"y0": ("m", dim), "y1": ("n", dim)})


class _Graph(OnnxGraph):
    """Adds the parts of an attention; (P, heads, M, side) each."""

    def linear(self, x: str, name: str) -> str:
        """Add a linear layer."""
        return self.add("Gemm", x, f"{name}.weight", f"{name}.bias", transB=1)

    def enter(self, block: str, x: str, heads: int, counts: tuple[int, int]) -> list[str]:
        """Add what enters an attention, in two parts of so many (heads, M, side)."""
        shape = self.constant([0, sum(counts), heads, -1], np.int64)
        x = self.add("Reshape", self.linear(x, f"{block}.enter"), shape)
        x = self.add("Transpose", x, perm=[1, 2, 0, 3])
        return self.split("Split", 2, x, self.constant(counts, np.int64), axis=0)

    def product(self, x: str, y: str) -> str:
        """Add the products of all pairs."""
        return self.add("MatMul", x, self.add("Transpose", y, perm=[0, 1, 3, 2]))

    def attend(self, products: str, values: str) -> str:
        """Add the means of values, weighted by products."""
        return self.add("MatMul", self.add("Softmax", products, axis=3), values)

    def leave(self, block: str, x: str, message: str, dim: int) -> str:
        """Add what an attention changes."""
        message = self.add("Transpose", message, perm=[0, 2, 1, 3])
        message = self.add("Reshape", message, self.constant([-1, dim], np.int64))
        both = self.add("Concat", x, self.linear(message, f"{block}.leave"), axis=1)
        wide = self.linear(both, f"{block}.widen")
        wide = self.add(
            "LayerNormalization", wide, f"{block}.norm.weight", f"{block}.norm.bias", epsilon=EPSILON
        )
        return self.add("Add", x, self.linear(self.add("Gelu", wide), f"{block}.narrow"))


def _apply(linear: Linear, values: Float32) -> Float32:
    return values @ linear[0].T + linear[1]


def _sigmoid(values: Float32) -> Float32:
    return np.exp(_log_sigmoid(values))


def _log_sigmoid(values: Float32) -> Float32:
    return -np.logaddexp(np.float32(0), -values)


def _log_softmax(values: Float32, axis: int) -> Float32:
    shifted = values - values.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))
