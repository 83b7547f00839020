"""LightGlue as a matcher, served by kornia: which keypoints of two images belong together, learned.

Lindenberger, Sarlin, Pollefeys: LightGlue: Local feature matching at light speed, ICCV 2023. Each kind of
features has its own weights; those for RootSIFT make it usable without any learned keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilion.errors import ArtifactError, ConfigError
from ilion.localfeatures.kornia import fetch_network, load_weights
from ilion.reranking.base import SCORERS, Scorer, ScorerOptions
from ilion.reranking.matching import Matches, unit_rows
from ilion.reranking.scorers import Matcher
from ilion.runtime.torch import extra_library, seeded, torch_device
from ilion.types import Float32, LocalFeatures
from ilion.wording import counted

Tensor = Any

LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class _Kind:
    """Kornia's name for the features, megabytes of the weights, whether descriptors have unit length."""

    features: str
    download_mb: int
    unit: bool = True


KINDS = {
    "rootsift": _Kind("sift", 48),
    "disk": _Kind("disk", 48),
    "aliked": _Kind("aliked", 48),
    "dedode": _Kind("dedodeb", 48, unit=False),
    "xfeat": _Kind("xfeat", 5),
}
"""Kind of local features -> what LightGlue needs to know of it."""


class LightGlue:
    """Match the features of a query with those of database images, one pair at a time.

    Args:
        features: One of `KINDS`, the name of the local features without variant.
        weights: A file with the state dict of kornia's module, ``none`` for random weights, or None for
            kornia's own, which it fetches on first use (Apache-2.0, about 48 MB; 5 MB for XFeat).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        seed: Seed of random weights.

    Raises:
        ConfigError: No weights exist for these features, or there is no such device or file.
        MissingExtraError: The extra ``torch`` is not installed.
        ExtractionError: The weights cannot be loaded.
    """

    def __init__(
        self, features: str, *, weights: str | None = None, device: str = "auto", seed: int = 0
    ) -> None:
        if features not in KINDS:
            raise ConfigError(f"lightglue: {features!r} is not one of {', '.join(KINDS)}")
        extra_library("torch", "lightglue")
        library = extra_library("kornia.feature", "lightglue").LightGlue
        kind = KINDS[features]
        if weights is None:
            network = fetch_network("lightglue", LICENCE, kind.download_mb, lambda: library(kind.features))
        else:
            sizes = {k: v for k, v in library.features[kind.features].items() if k != "weights"}
            with seeded(seed):
                network = library(None, **sizes)
            if weights != "none":
                load_weights(network, Path(weights), "lightglue")
        self._kind = kind
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
        import torch

        matches = []
        with torch.inference_mode():
            first = self._input(query, "the query")
            for number, image in enumerate(database):
                second = self._input(image, f"database image {number}")
                found = self.network({"image0": first, "image1": second})
                pairs = found["matches"][0].cpu().numpy().astype(np.int64)
                confidences = found["scores"][0].float().cpu().numpy()
                order = np.argsort(pairs[:, 0], kind="stable")
                matches.append(Matches(pairs[order, 0], pairs[order, 1], confidences[order]))
        return matches

    def _input(self, features: LocalFeatures, what: str) -> dict[str, Tensor]:
        """Return what kornia's module takes for an image, as a batch of one."""
        dim = self.network.conf.input_dim
        if features.descriptors.shape[1:] != (dim,):
            raise ArtifactError(
                f"lightglue: the descriptors of {what} have shape {features.descriptors.shape}, but it takes "
                f"{counted(dim, 'dimension')}; use features that are not compressed"
            )
        values = unit_rows(features.descriptors) if self._kind.unit else features.descriptors
        given = {
            "keypoints": features.keypoints,
            "descriptors": values,
            "image_size": np.array(features.image_size, np.float32),
        }
        if self.network.conf.add_scale_ori:
            if features.scales is None or features.angles is None:
                raise ArtifactError(f"lightglue: the features of {what} have no scales and angles")
            # It was trained with the deviation of the detecting blur, half the diameter that OpenCV gives,
            # and with angles in (-pi, pi].
            given["scales"] = features.scales / 2
            given["oris"] = wrap_angles(features.angles)
        return {name: self._tensor(value) for name, value in given.items()}

    def _tensor(self, value: Any) -> Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(value, np.float32)).to(self.device)[None]


@SCORERS.register("lightglue", extra="torch", note="matches by a network, verified by one motion")
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
        glue = LightGlue(name, weights=weights, device=options.device, seed=options.seed)
        geometry, random = cls.geometry(options), weights == "none"
        inputs = {"weights": weights or "kornia", "seed": options.seed if random else 0, **geometry}
        return cls(learned=glue.match_many, **geometry), inputs


def wrap_angles(angles: Float32) -> Float32:
    """Bring angles in radians to (-pi, pi].

    >>> wrap_angles(np.float32([0, 3, 3.5, 6])).round(2).tolist()
    [0.0, 3.0, -2.7799999713897705, -0.2800000011920929]
    """
    return np.asarray(np.pi - np.mod(np.pi - angles.astype(np.float64), 2 * np.pi), np.float32)
