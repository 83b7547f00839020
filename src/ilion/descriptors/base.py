"""The protocol of all global descriptors, their spec, and the registry.

A backend module registers a builder by name; nothing heavy is imported before a builder is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, cast, get_args, runtime_checkable

from ilion.errors import ConfigError
from ilion.types import RGB, Float32
from ilion.types import Resize as Resize


def resize_mode(name: str) -> Resize:
    """Check the name of a resize mode.

    Raises:
        ConfigError: There is no such mode.

    >>> resize_mode("long")
    'long'
    """
    if name not in get_args(Resize):
        raise ConfigError(f"resize {name!r} is not one of {', '.join(get_args(Resize))}")
    return cast(Resize, name)


@dataclass(frozen=True)
class ExtractorSpec:
    """What makes two descriptors comparable: all of it must be equal, or they must not be mixed.

    Args:
        name: The model's registered name.
        weights: Source of the weights (package, file, hub id), or ``none``.
        revision: Version or digest of the weights.
        dim: Dimensions D of the descriptor.
        resize: Way in which an image is brought to ``side``; ``none`` leaves it to the extractor, and
            ``side`` then only says which longer side the decoder must at least deliver.
        side: Side in pixels; ``resize`` says which.
        mean: Per-channel mean of the input, on the 0..255 scale.
        std: Per-channel deviation of the input, on the 0..255 scale.
        pooling: Pooling of the map of local responses to one vector.
        licence: Licence of the weights.
        scales: Image scales whose descriptors are averaged.
        rotations: Degrees (multiples of 90) whose descriptors are averaged.
        text: Whether the model has a text tower in the same space.
        options: Any further setting that changes the numbers.
    """

    name: str
    weights: str
    revision: str
    dim: int
    resize: Resize
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pooling: str
    licence: str
    scales: tuple[float, ...] = (1.0,)
    rotations: tuple[int, ...] = (0,)
    text: bool = False
    options: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return asdict(self)


@runtime_checkable
class Extractor(Protocol):
    """Images to global descriptors."""

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        ...

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe upright RGB uint8 images of any size; returns (B, D) float32, each row L2-normalised."""
        ...


@runtime_checkable
class TextExtractor(Protocol):
    """Extractors with a text tower."""

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        ...

    def extract_text(self, texts: Sequence[str]) -> Float32:
        """Describe texts; returns (B, D) float32 in the space of the images, each row L2-normalised."""
        ...


class TextDescriber(Protocol):
    """A text tower alone, which any model of the same space can use."""

    @property
    def revision(self) -> str:
        """Version or digest of the weights, or "" where the code says all."""
        ...

    def extract_text(self, texts: Sequence[str]) -> Float32:
        """Describe texts; returns (B, D) float32 in the space of the images."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """Extractors that learn something (a codebook, say) from a sample of the database before they extract."""

    def fit(self, images: Iterable[RGB], seed: int) -> None:
        """Learn from a sample; the same images and seed give the same state."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the learnt arrays by name."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the learnt arrays back."""
        ...


@dataclass(frozen=True)
class ExtractorOptions:
    """Settings that a user may change for any model; None keeps the model's own value.

    Args:
        weights: File or hub id in place of the model's own.
        resize: See `ilion.images.resize`.
        side: Side in pixels.
        pooling: One of the names in `ilion.descriptors.pooling`.
        scales: Image scales whose descriptors are averaged.
        rotations: Degrees whose descriptors are averaged.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        threads: Number of compute threads; 0 means what the machine has.
        batch_size: Number of images of one shape that are computed together.
        precision: ``float32``, ``float16`` or ``bfloat16`` (the latter two on accelerators).
        seed: Seed of weights that are not loaded, and of fitting.
        prompts: Templates around texts; see `ilion.descriptors.texts`.
        long_texts: Treatment of texts beyond the limit of the model: ``cut`` or ``average``.
    """

    weights: str | None = None
    resize: str | None = None
    side: int | None = None
    pooling: str | None = None
    scales: tuple[float, ...] | None = None
    rotations: tuple[int, ...] | None = None
    device: str = "auto"
    threads: int = 0
    batch_size: int = 8
    precision: str = "float32"
    seed: int = 0
    prompts: tuple[str, ...] = ("{}",)
    long_texts: Literal["cut", "average"] = "cut"
