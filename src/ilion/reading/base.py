"""The protocol of a reader, and its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from ilion.errors import ConfigError
from ilion.types import RGB, TextLine


@dataclass(frozen=True)
class ReaderSpec:
    """What stored texts depend on.

    Args:
        name: Name of the reader.
        weights: Package and files of the weights.
        revision: Digest of the weights.
        side: The longer side, in pixels, at which text is looked for.
        licence: Licence of the weights.
        options: Any further setting that changes what is read.
    """

    name: str
    weights: str
    revision: str
    side: int
    licence: str
    options: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return asdict(self)


@dataclass(frozen=True)
class ReaderOptions:
    """Settings of a reader.

    Args:
        side: The longer side, in pixels, to which an image is brought before text is looked for in it.
        smallest: Lines of less height are not read, as a fraction of the longer side of the image.
        threads: Compute threads of one image. Images are read side by side in any case, so 1 is best.

    Raises:
        ConfigError: A number is out of range.
    """

    side: int = 640
    smallest: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        if not 32 <= self.side <= 4096:
            raise ConfigError(f"reading: side must lie in [32, 4096] pixels, not {self.side}")
        if not 0 <= self.smallest < 1:
            raise ConfigError(f"reading: smallest is a fraction of the longer side, not {self.smallest}")
        if self.threads < 0:
            raise ConfigError(f"reading: threads must not be negative, not {self.threads}")


@runtime_checkable
class Reader(Protocol):
    """Images to lines of text."""

    @property
    def spec(self) -> ReaderSpec:
        """What the texts depend on."""
        ...

    def read(self, image: RGB) -> Sequence[TextLine]:
        """Read one upright image; thread-safe.

        Quads are in pixels of the given image. Lines come from top to bottom, those of about one height from
        left to right. What is read of an image depends on nothing but the image.
        """
        ...
