"""The default: aggregated RootSIFT and a small network side by side in one descriptor.

The parts are scaled by the square roots of their weights, so that the inner product is the weighted sum of
both similarities. Print and texture carry most of what tells one package from its neighbour; the network adds
what has no keypoints. Weights and sizes were chosen on real photos: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.descriptors.base import Extractor, ExtractorOptions, ExtractorSpec
from ilion.descriptors.efficientnet import build as build_network
from ilion.descriptors.registry import BACKENDS, ModelInfo, model_info
from ilion.descriptors.vlad import VladExtractor
from ilion.descriptors.vlad import build as build_vlad
from ilion.errors import ConfigError
from ilion.images import resize
from ilion.types import RGB, Float32

LOCAL_WEIGHT = 0.8
"""Share of the aggregated local descriptors in the similarity."""
NETWORK_SIDE = 1.0
"""Input side of the network as a share of the side for the local descriptors."""


@BACKENDS.register("default")
def build(info: ModelInfo, options: ExtractorOptions) -> Extractor:
    """Build the default extractor, which must be fitted before use.

    Raises:
        ConfigError: A setting that does not apply to it.
    """
    for name in ("weights", "pooling", "scales", "rotations", "resize"):
        if getattr(options, name):
            raise ConfigError(
                f"{info.name}: the setting '{name}' does not apply; choose another --model for it"
            )
    side = options.side or info.side
    local = build_vlad(model_info("rootsift-vlad"), replace(options, side=side))
    network = build_network(
        model_info("efficientnet-lite2"), replace(options, side=round(side * NETWORK_SIDE))
    )
    return DefaultExtractor(info.name, local, network)


class DefaultExtractor:
    """Two descriptors in one."""

    def __init__(self, name: str, local: VladExtractor, network: Extractor) -> None:
        self._name, self._local, self._network = name, local, network

    @property
    def spec(self) -> ExtractorSpec:
        """The spec; its revision holds the codebook's digest and the network's revision."""
        local, network = self._local.spec, self._network.spec
        return replace(
            network,
            name=self._name,
            revision=f"{local.revision}+{network.revision}",
            dim=local.dim + network.dim,
            side=local.side,
            pooling=f"{local.pooling}+{network.pooling}",
            options={"local_weight": LOCAL_WEIGHT, "network_side": network.side, "local": local.as_dict()},
        )

    def fit(self, images: Iterable[RGB], seed: int) -> None:
        """Learn the codebook; see `VladExtractor.fit`."""
        self._local.fit(images, seed)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learnt arrays."""
        return self._local.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take learnt arrays back."""
        self._local.load_state(state)

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe images; (B, D) float32, L2-normalised."""
        local = self._local.extract(images)
        network = self._network.extract([resize(i, "long", self._network.spec.side) for i in images])
        return np.concatenate([np.sqrt(LOCAL_WEIGHT) * local, np.sqrt(1 - LOCAL_WEIGHT) * network], axis=1)
