"""What a scorer is: how a query and an image are compared by their local features, and the registry of them.

A scorer registers itself in `SCORERS` where it is defined, in this package or outside. A class with a method
``score`` is enough; as a subclass of `Scorer` it can also take settings, refuse what it cannot compare, and
explain itself.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError
from ilion.localfeatures.base import LocalSpec
from ilion.localfeatures.codecs import CodecSettings
from ilion.opening import open_regular
from ilion.registry import Registry
from ilion.reranking.geometry import Model, Verification
from ilion.reranking.matching import Matches
from ilion.types import Box, Float32, Float64, Int64, LocalFeatures, Metric, Value
from ilion.wording import counted


@dataclass(frozen=True)
class Findings(Value):
    """What a scorer says about one query and n images.

    Args:
        scores: (n,) float32, not negative; NaN where an image or the query has no features to tell by.
        inliers: (n,) int64 verified matches; 0 where nothing is verified.
    """

    scores: Float32
    inliers: Int64 = field(default_factory=lambda: np.zeros(1, np.int64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "inliers", np.broadcast_to(self.inliers, np.shape(self.scores)))


@dataclass(frozen=True)
class Explanation(Value):
    """Why an image was found, for pictures of the matches.

    Args:
        query: Features of the query.
        image: Features of the database image.
        matches: Pairs of features that belong together; none for a scorer that does not look at pairs.
        verification: Motion on which matches agree, and which of them do.
        box: The query's outline in the database image, pixels; None without a plausible motion.
        corners: (4, 2) the outline itself, not clipped to the image.
    """

    query: LocalFeatures
    image: LocalFeatures
    matches: Matches
    verification: Verification
    box: Box | None = None
    corners: Float64 | None = None


@dataclass(frozen=True)
class ScorerOptions:
    """What a scorer is built for; 0 and "" leave a setting to the scorer.

    Args:
        features: Name of the local features.
        spec: Spec of the local features.
        codec: Storage of the features of the database.
        weights: File with the weights of a network.
        activation: Activation of a network whose file does not say it.
        ratio: Ratio of the ratio test, (0, 1].
        model: Family of motions that matches must agree on.
        threshold: Largest distance of an inlier, as a share of the database image's longer side.
        floor: Number of inliers that are no evidence yet.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        seed: Seed of everything random.
    """

    features: str
    spec: LocalSpec
    codec: CodecSettings
    weights: str = ""
    activation: str = ""
    ratio: float = 0.0
    model: Model = "homography"
    threshold: float = 1 / 128
    floor: int = 0
    device: str = "auto"
    seed: int = 0

    @property
    def metric(self) -> Metric:
        """How the descriptors of a query compare with stored ones."""
        return self.codec.make.metric_for(self.spec.metric)

    def check_dim(self, takes: int) -> None:
        """Check that a network takes descriptors as long as these features have them.

        Raises:
            ConfigError: The network takes others.
        """
        if takes != self.spec.dim:
            place = self.weights if self.weights not in ("", "none") else "rerank.scorer"
            raise ConfigError(
                f"{place}: this network takes descriptors of {counted(takes, 'number')}; "
                f"rerank.features = {self.features!r} gives {self.spec.dim}"
            )

    @property
    def stored(self) -> int:
        """Largest number of features stored of an image."""
        return min(self.codec.features or self.spec.features, self.spec.features)


class Scorer(ABC):
    """Base of all scorers: compares a query with images by their local features; thread-safe."""

    verifies: ClassVar[bool] = False
    """Whether a score above 0 says that matches agree on one motion."""
    original: ClassVar[bool] = False
    """Whether it takes descriptors as the extractor gives them; stored ones are then brought back to that."""
    takes_weights: ClassVar[bool] = False
    takes_activation: ClassVar[bool] = False
    """Whether it has the setting ``weights``, a file of which the scores depend on every byte."""
    workers: ClassVar[int] = 0
    """Number of threads that may score at once; 0 means as many as the settings say."""
    share: float = 1.0
    """Factor of the score beside the global similarity, where neither a setting nor a calibration says it."""

    @classmethod  # noqa: B027 - a scorer may refuse nothing
    def check(cls, features: str, weights: str) -> None:
        """Raise a `ConfigError` on local features (by name) or weights ("" for none) that it cannot use.

        This is asked before anything is built.
        """

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Build the scorer for some features; may load weights.

        Returns:
            The scorer, and what its scores depend on, beside the features, the file of weights and the source
            of a scorer from outside, whose scores count as depending on all settings in any case.

        Raises:
            ConfigError: The settings do not go together.
        """
        return cls(), {}

    @abstractmethod
    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Compare a query with images that have any numbers of features, none included."""

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Say why an image matches a query, whose object lies within ``outline`` (None: all of it).

        Here: both images without matches, for a scorer that does not look at pairs of features.
        """
        return explain_pairs(query, image, Matches.none())


SCORERS: Registry[type[Scorer]] = Registry("scorer", __package__)
"""The ways to compare a query with the images of its shortlist."""


def scorer_class(name: str) -> type[Scorer]:
    """Return the scorer of a name; a class that only has ``score`` gets everything else from `Scorer`.

    Raises:
        ConfigError: There is none, or what has that name is no class with a method ``score``.
    """
    part = SCORERS.find(name)
    make = part.make
    if name.startswith(f"{part.name}:"):
        raise ConfigError(f"scorer {name!r}: nothing may follow the name; write {part.name!r}")
    if not isinstance(make, type) or not callable(getattr(make, "score", None)):
        raise ConfigError(f"scorer {name!r} must be a class with a method score(query, images)")
    return make if issubclass(make, Scorer) else type(make.__name__, (make, Scorer), {})


def explain_pairs(query: LocalFeatures, image: LocalFeatures, pairs: Matches) -> Explanation:
    """Show pairs of features of which nothing is verified."""
    return Explanation(query, image, pairs, Verification(None, np.zeros(len(pairs), bool), 0.0))


def mark_unknown(
    query: LocalFeatures, images: Sequence[LocalFeatures], scores: NDArray[np.floating]
) -> Findings:
    """Return the findings of a scorer that verifies nothing; NaN where one side has no features."""
    there = np.array([len(query.keypoints) > 0 and len(image.keypoints) > 0 for image in images], bool)
    return Findings(np.where(there, scores, np.nan).astype(np.float32))


def weights_identity(weights: str) -> str:
    """Return the digest of a file of weights: reuse compares what it holds, never its name."""
    if weights == "none":
        return "none"
    with open_regular(weights) as file:
        return "sha256:" + hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
