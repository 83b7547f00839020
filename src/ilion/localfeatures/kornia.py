"""Learned keypoints that kornia serves: DISK, ALIKED and DeDoDe.

DISK: Tyszkiewicz et al., NeurIPS 2020. ALIKED: Zhao et al., IEEE TIM 2023. DeDoDe: Edstedt et al., 3DV 2024.
Weights are fetched by kornia on first use; licence and size are said before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilion.errors import ConfigError, ExtractionError
from ilion.images import batches_by_shape
from ilion.localfeatures.base import EXTRACTORS, LocalOptions, LocalSpec
from ilion.localfeatures.placing import Size, fit_size, place_keypoints, stretch
from ilion.runtime.torch import extra_library, read_torch, seeded, torch_device, weights_digest
from ilion.types import RGB, LocalFeatures
from ilion.wording import counted

log = logging.getLogger(__name__)

FEATURES = 500
"""Features an image, as with the classical ones."""
SIDE = 1024
"""Longer side in pixels: about the size of the images that these networks were trained and evaluated on."""
LEAST_SIDE = 32
"""Shorter side, in pixels, from which on the networks look: below it their coarsest maps are empty."""

Tensor = Any
Module = Any
Found = tuple[Tensor, Tensor, Tensor]
"""Keypoints (M, 2), descriptors (M, d) and scores (M,) of one image."""


@dataclass(frozen=True)
class Kind:
    """One of the networks.

    Args:
        variants: Names after the colon; the first is the default.
        dim: Dimensions of a descriptor.
        licence: Licence of the weights.
        download_mb: Megabytes of the weights.
        make: From kornia.feature, a variant and the number of features to a network with random weights.
        fetch: The same with kornia's pretrained weights.
        find: From the network, pixels (B, 3, H, W) in [0, 1] and the number of features to B results.
        shift: Coordinate that the network gives to the centre of the first pixel.
    """

    variants: tuple[str, ...]
    dim: int
    licence: str
    download_mb: int
    make: Callable[[Any, str, int], Module]
    fetch: Callable[[Any, str, int], Module]
    find: Callable[[Module, Tensor, int], list[Found]]
    shift: float = 0.0


def _find_disk(network: Module, pixels: Tensor, count: int) -> list[Found]:
    found = network(pixels, n=count, pad_if_not_divisible=True)
    return [(f.keypoints, f.descriptors, f.detection_scores) for f in found]


def _find_aliked(network: Module, pixels: Tensor, count: int) -> list[Found]:
    return [(f.keypoints, f.descriptors, f.keypoint_scores) for f in network(pixels)]


def _find_dedode(network: Module, pixels: Tensor, count: int) -> list[Found]:
    keypoints, scores, descriptors = network(pixels, n=count)
    return list(zip(keypoints, descriptors, scores, strict=True))


KINDS: Mapping[str, Kind] = {
    "disk": Kind(
        variants=("depth", "epipolar"),
        dim=128,
        licence="Apache-2.0",
        download_mb=4,
        make=lambda k, variant, count: k.DISK(),
        fetch=lambda k, variant, count: k.DISK.from_pretrained(variant),
        find=_find_disk,
    ),
    "aliked": Kind(
        variants=("n16", "n16rot", "n32"),
        dim=128,
        licence="BSD-3-Clause",
        download_mb=4,
        make=lambda k, variant, count: k.ALIKED(f"aliked-{variant}", max_num_keypoints=count),
        fetch=lambda k, variant, count: k.ALIKED.from_pretrained(
            f"aliked-{variant}", max_num_keypoints=count
        ),
        find=_find_aliked,
    ),
    "dedode": Kind(
        variants=("upright", "C4", "SO2"),
        dim=256,
        licence="MIT",
        download_mb=113,
        make=lambda k, variant, count: k.DeDoDe("L", "B"),
        fetch=lambda k, variant, count: k.DeDoDe.from_pretrained(
            "L-C4-v2" if variant == "upright" else f"L-{variant}", f"B-{variant}"
        ),
        find=_find_dedode,
        shift=0.5,
    ),
}


@EXTRACTORS.register("dedode", extra="torch")
@EXTRACTORS.register("disk", extra="torch")
def build(name: str, options: LocalOptions) -> KorniaExtractor:
    """Build one of the extractors; without the setting ``weights`` this may download.

    Args:
        name: ``disk``, ``aliked`` or ``dedode``, for some followed by ``:`` and a variant.
        options: ``weights`` is a file that holds the state dict of kornia's module, or ``none`` for random
            weights.

    Raises:
        ConfigError: Unknown variant or setting.
        MissingExtraError: The extra ``torch`` is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    base, _, variant = name.partition(":")
    kind = KINDS[base]
    variant = variant or kind.variants[0]
    if variant not in kind.variants:
        raise ConfigError(f"{name}: {variant!r} is not one of {', '.join(kind.variants)}")
    if options.selection not in (None, "response"):
        raise ConfigError(f"{name}: selection {options.selection!r} is not possible; it keeps the strongest")
    if options.precision != "float32":
        raise ConfigError(f"{name}: precision {options.precision!r} is not possible; leave it at float32")
    torch = extra_library("torch", name)
    library = extra_library("kornia.feature", name)
    count = options.features or FEATURES
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.weights is None:
        network = fetch_network(
            name, kind.licence, kind.download_mb, lambda: kind.fetch(library, variant, count)
        )
    else:
        with seeded(options.seed):
            network = kind.make(library, variant, count)
        if options.weights != "none":
            load_weights(network, Path(options.weights), name)
    network.eval().requires_grad_(False)
    spec = LocalSpec(
        name=name,
        weights=f"kornia {variant}" if options.weights is None else Path(options.weights).name,
        revision=weights_digest(network),
        dim=kind.dim,
        metric="cosine",
        side=options.side or SIDE,
        features=count,
        selection="response",
        licence=kind.licence if options.weights is None else "unknown",
        options={"kornia": extra_library("kornia", name).__version__},
    )
    return KorniaExtractor(spec, kind, network.to(torch_device(options.device)), options.batch_size)


class KorniaExtractor:
    """Keypoints of a network.

    Args:
        spec: Spec of the features.
        kind: The network's own way of use.
        network: On its device.
        batch_size: Images of one shape computed together.
    """

    def __init__(self, spec: LocalSpec, kind: Kind, network: Module, batch_size: int) -> None:
        self._spec, self._kind, self.network, self._batch_size = spec, kind, network, batch_size

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        return self._spec

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe images; see `ilion.localfeatures.base.LocalExtractor`.

        Images whose shorter side has less than `LEAST_SIDE` pixels have no features.

        Raises:
            ExtractionError: The network fails.
        """
        sizes: list[Size] = [(image.shape[1], image.shape[0]) for image in images]
        features = {row: self._empty(size) for row, size in enumerate(sizes)}
        fitted = [fit_size(size, self._spec.side) for size in sizes]
        large = [i for i, size in enumerate(fitted) if min(size) >= LEAST_SIDE]
        ready = ((i, stretch(images[i], fitted[i])) for i in large)
        for batch in batches_by_shape(ready, self._batch_size, max(1, len(images))):
            found = self._find([image for _, image in batch])
            for (row, _), one in zip(batch, found, strict=True):
                features[row] = self._features(one, fitted[row], sizes[row])
        return [features[row] for row in range(len(images))]

    def _find(self, images: Sequence[RGB]) -> list[Found]:
        import torch

        device = next(self.network.parameters()).device
        pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255
        try:
            with torch.inference_mode():
                return self._kind.find(self.network, pixels, self._spec.features)
        except (RuntimeError, ValueError) as error:
            height, width = images[0].shape[:2]
            raise ExtractionError(
                f"{self._spec.name} failed on {device} with {counted(len(images), 'image')} of {width} x "
                f"{height}: {error}; if memory ran out, lower batch_size (now {self._batch_size}) or side"
            ) from error

    def _features(self, found: Found, found_in: Size, image_size: Size) -> LocalFeatures:
        keypoints, descriptors, scores = (value.float().cpu().numpy() for value in found)
        order = np.argsort(-scores, kind="stable")[: self._spec.features]
        return LocalFeatures(
            keypoints=place_keypoints(keypoints[order] - np.float32(self._kind.shift), found_in, image_size),
            descriptors=descriptors[order],
            scores=scores[order],
            image_size=image_size,
        )

    def _empty(self, image_size: Size) -> LocalFeatures:
        none = np.zeros((0,), np.float32)
        return LocalFeatures(none.reshape(0, 2), np.zeros((0, self._spec.dim), np.float32), none, image_size)


def fetch_network(name: str, licence: str, download_mb: int, fetch: Callable[[], Module]) -> Module:
    """Get a network with kornia's pretrained weights; say licence and size first.

    Raises:
        ExtractionError: The weights cannot be fetched.
    """
    log.warning(
        "%s: fetching weights unless they are cached: about %d MB, licence: %s", name, download_mb, licence
    )
    try:
        return fetch()
    except Exception as error:  # hubs, HTTP clients and torch raise errors without a common base
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExtractionError(
            f"{name}: cannot fetch the weights: {first}. Without a network: save the state dict of kornia's "
            "module on another machine and set weights to that file"
        ) from error


def load_weights(network: Module, path: Path, name: str) -> None:
    """Put a state dict into a network, all of it.

    Raises:
        ConfigError: There is no such file.
        ExtractionError: The state dict does not fit.
    """
    content = read_torch(path)
    try:
        # DISK's own checkpoints keep the state dict below this name.
        network.load_state_dict(content.get("extractor", content))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ExtractionError(
            f"{name}: {path} does not hold the state dict of kornia's module: {str(error).splitlines()[0]}"
        ) from error
