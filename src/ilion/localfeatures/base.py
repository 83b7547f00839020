"""The protocol of all local extractors, their spec, and the registry; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from ilion.errors import ConfigError
from ilion.registry import Registry, check_made
from ilion.types import RGB, LocalFeatures, Metric


@dataclass(frozen=True)
class LocalSpec:
    """What makes the local features of two images comparable: all of it must be equal.

    How many features are kept and by which order does not change what a feature means, but it changes what
    is stored, so it belongs to the spec as well.

    Args:
        name: Registered name.
        weights: Source of the weights, or ``none``.
        revision: Version or digest of weights or library.
        dim: Length of a descriptor: numbers for ``cosine``, bytes for ``hamming``.
        metric: ``cosine`` or ``hamming``.
        side: Largest longer side in pixels; larger images are shrunk to it, smaller ones stay as they are.
        features: Largest number of features an image.
        selection: Order in which features are kept; see the backend.
        licence: Licence of the weights.
        options: Further settings that change the numbers.
    """

    name: str
    weights: str
    revision: str
    dim: int
    metric: Metric
    side: int
    features: int
    selection: str
    licence: str
    options: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return asdict(self)


@runtime_checkable
class LocalExtractor(Protocol):
    """Images to local features."""

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        ...

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe upright RGB uint8 images of any size.

        Keypoints, scales and `image_size` are in pixels of the given image. Features come in the order in
        which they are worth keeping, so the first m of them are what a smaller setting of ``features``
        would give. An image that shows nothing gives none.
        """
        ...


@dataclass(frozen=True)
class LocalOptions:
    """Settings that a user may change for any local extractor; None keeps the extractor's own value.

    Args:
        features: Largest number of features an image.
        side: Longer side in pixels.
        selection: Order in which features are kept; see the backend.
        weights: File or hub id in place of the extractor's own.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        threads: Number of compute threads; 0 means one per core.
        batch_size: Number of images of one shape computed together.
        precision: ``float32``, ``float16`` or ``bfloat16`` (the latter two on accelerators).
        seed: Seed of weights that are not loaded.
    """

    features: int | None = None
    side: int | None = None
    selection: str | None = None
    weights: str | None = None
    device: str = "auto"
    threads: int = 0
    batch_size: int = 8
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("features", "side"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"local features: {name} must be at least 1, not {value}")


EXTRACTORS: Registry[Callable[[str, LocalOptions], LocalExtractor]] = Registry(
    "local features", __package__, takes="(name, options)"
)
"""What builds local features from their whole name and the user's settings."""


@dataclass(frozen=True)
class Signed:
    """Local features whose code is not Ilion's own: their spec holds its digest.

    Args:
        extractor: Extractor from outside.
        code: Digest of its source.
    """

    extractor: LocalExtractor
    code: str

    @property
    def spec(self) -> LocalSpec:
        """What the numbers depend on."""
        spec = self.extractor.spec
        return replace(spec, options={**spec.options, "code": self.code})

    def extract(self, images: Sequence[RGB]) -> list[LocalFeatures]:
        """Describe images; see `LocalExtractor`."""
        return self.extractor.extract(images)


def build(name: str, options: LocalOptions | None = None) -> LocalExtractor:
    """Build a local extractor; this may download weights, if the backend's documentation says so.

    Args:
        name: One of `EXTRACTORS`, for some followed by ``:`` and what they take.
        options: Settings.

    Raises:
        ConfigError: Unknown name or setting.
        MissingExtraError: The backend's extra is not installed.
        ExtractionError: The weights cannot be loaded.

    >>> build("rootsift").spec.dim
    128
    >>> build("rotsift")
    Traceback (most recent call last):
    ilion.errors.ConfigError: no local features are named 'rotsift'; did you mean 'rootsift'?
    """
    part = EXTRACTORS.find(name)
    extractor: LocalExtractor = EXTRACTORS.call(part, name, options or LocalOptions())
    if not part.digest:
        return extractor
    check_made(f"local features {part.name!r}", extractor, LocalSpec)
    return Signed(extractor, part.digest)
