"""A codec turns the local features of an image into few bytes, and back into what compares alike.

How descriptors are stored is a `Code`; each registers itself in `CODECS` where it is defined, in this package
or outside. Positions, scales and scores are stored by a `Layout`, which all codes share.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError
from ilion.localfeatures.codecs.layout import HEADER, Bytes, Layout
from ilion.registry import Part, Registry
from ilion.types import LocalFeatures, Metric, Value


class Code(Value, ABC):
    """Base of all ways to store descriptors: a frozen dataclass whose fields are what was learnt.

    A subclass has a field or property ``dim``, the length of the descriptors that it takes, and overrides
    `fit`, `encode` and `decode`; everything else has a default that suits one byte a number.
    """

    if TYPE_CHECKING:  # at run time these would become the defaults of a subclass's fields of that name

        @property
        def dim(self) -> int:
            """Length of the descriptors that it takes."""

        @property
        def metric(self) -> Metric:
            """How what `decode` and `query` give compares."""
    else:
        metric = "cosine"
    sized: ClassVar[bool] = False
    """Whether the setting ``size`` says how many bytes a descriptor takes."""
    most_bits: ClassVar[int] = 8
    """Most bits that a dimension may take, where ``size`` says how many bytes a descriptor takes."""
    least_sample: ClassVar[int] = 1
    """Fewest descriptors from which it can be learnt."""
    takes_bits: ClassVar[bool] = False
    """Whether the descriptors may be packed bits, which compare by ``hamming``."""
    reversible: ClassVar[bool] = True
    """Whether `original` gives descriptors that a network for those of the extractor understands."""
    ratio: ClassVar[float] = 0.9
    """Ratio of the ratio test that suits decoded descriptors, (0, 1]."""

    @classmethod
    @abstractmethod
    def fit(cls, sample: NDArray[Any], settings: CodecSettings, seed: int) -> Self:
        """Learn from descriptors of the database.

        Args:
            sample: (S, d) float32; for `takes_bits` also packed uint8.
            settings: Settings, of which ``size`` and ``whitening`` matter here.
            seed: Seed of everything random.
        """

    @classmethod
    def rebuild(cls, state: Mapping[str, NDArray[Any]], dim: int) -> Self:
        """Return the code of a stored `state`.

        Raises:
            KeyError: An array is missing.
        """
        values = {**state, "dim": dim}
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.default is MISSING})  # type: ignore[arg-type]

    @classmethod
    def choose_size(cls, dim: int, metric: Metric, budget: int, features: int) -> int:
        """Choose the bytes of a descriptor.

        Args:
            dim: Length of a descriptor as it is extracted.
            metric: Comparison of extracted descriptors.
            budget: Bytes an image; 0 for no limit.
            features: Largest number of features of an image.
        """
        return dim

    @classmethod
    def metric_for(cls, metric: Metric) -> Metric:
        """Return how stored descriptors compare, given how the extracted ones do."""
        return metric

    @cached_property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return self.dim

    @property
    def part(self) -> Part[type[Code]]:
        """The entry in the registry.

        Raises:
            ConfigError: The class is not registered.
        """
        for part in CODECS.parts():
            if part.make is type(self):
                return part
        raise ConfigError(f"{type(self).__qualname__}: write @CODECS.register(NAME) above the class")

    @property
    def kind(self) -> str:
        """Its name among the settings."""
        return self.part.name

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the bytes depend on beside ``dim``, by name: all fields that are arrays."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @abstractmethod
    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, dim) to (M, size) uint8."""

    @abstractmethod
    def decode(self, codes: Bytes) -> NDArray[np.generic]:
        """Decode (M, size) to (M, d'), in the space of `query`."""

    def query(self, descriptors: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring full-precision descriptors (M, dim) to (M, d'), where decoded ones compare with them."""
        return descriptors

    def original(self, decoded: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring what `decode` gives back to descriptors (M, dim) of the extractor, as closely as possible.

        Raises:
            ConfigError: The codec is not `reversible`.
        """
        if not self.reversible:
            raise ConfigError(f"codec {self.kind!r} cannot bring descriptors back to numbers; use codec 'pq'")
        return decoded


def _no_code(make: object) -> str:
    whole = isinstance(make, type) and issubclass(make, Code)
    return "" if whole else "a subclass of ilion.localfeatures.codecs.Code"


CODECS: Registry[type[Code]] = Registry("codec", __package__, check=_no_code)
"""The ways to store descriptors."""


def find_code(kind: str, digest: str | None = None) -> Part[type[Code]]:
    """Return a way to store descriptors.

    Args:
        kind: Name of the part, or what a setting calls it.
        digest: Digest of its source as it was stored, "" for built-in ones; None takes any.

    Raises:
        ConfigError: There is none, or something follows the name.
    """
    for part in CODECS.parts():
        if part.name == kind and digest in (None, part.digest):
            return part
    part = CODECS.find(kind)
    if kind.startswith(f"{part.name}:"):
        raise ConfigError(f"codec {kind!r}: nothing may follow the name; write {part.name!r}")
    return part


@dataclass(frozen=True)
class CodecSettings:
    """Which codec, and what it keeps.

    Args:
        kind: Name in `CODECS`. ``raw``: float16, or packed bits as they are. ``uint8``: one byte a number.
            ``pca``: principal components, one byte each. ``pq``: product quantisation. ``binary``: signs
            after a learnt rotation.
        size: Bytes of a descriptor, for ``pca``, ``pq`` and ``binary``.
        features: Largest number of features kept of an image; 0 keeps all.
        position: Bits of x and of y.
        shape: Bits of scale and of angle; not stored for features that have none.
        score: Bits of the score.
        whitening: Whitening of ``pca``, from 0 (none) to 1 (all components get the same variance).

    Raises:
        ConfigError: The kind is unknown, the size does not go with it, or a number is out of range.
    """

    kind: str = "raw"
    size: int = 0
    features: int = 0
    position: Literal[8, 16] = 16
    shape: Literal[0, 4, 8, 16] = 16
    score: Literal[0, 16] = 16
    whitening: float = 0.0
    code: str | None = field(init=False, default=None)
    """Digest of the source of a codec from outside; None for built-in ones."""

    @property
    def make(self) -> type[Code]:
        """The way to store descriptors."""
        return find_code(self.kind, self.code or "").make

    def __post_init__(self) -> None:
        part = find_code(self.kind)
        object.__setattr__(self, "kind", part.name)
        object.__setattr__(self, "code", part.digest or None)
        if part.make.sized != (self.size > 0) or self.size < 0:
            needs = "needs the size of a descriptor in bytes" if part.make.sized else "has its own size"
            raise ConfigError(f"codec {self.kind!r} {needs}; size is {self.size}")
        if self.features < 0 or not 0 <= self.whitening <= 1:
            raise ConfigError(
                f"codec: features ({self.features}) must not be negative, and whitening ({self.whitening}) "
                "lies in 0..1"
            )


@dataclass(frozen=True)
class Codec:
    """How the local features of one kind are stored.

    Args:
        code: Storage of the descriptors.
        layout: Storage of everything else.
        features: Largest number of features kept of an image, the first ones; None keeps all.
    """

    code: Code
    layout: Layout
    features: int | None = None

    @property
    def metric(self) -> Metric:
        """How decoded descriptors and those of `query` compare."""
        return self.code.metric

    @property
    def bytes_per_feature(self) -> int:
        """Stored bytes of one feature."""
        return self.layout.bytes_per_feature + self.code.size

    @cached_property
    def digest(self) -> str:
        """Digest of everything that the bytes depend on; features of different digests never mix."""
        hasher = hashlib.blake2b(repr(self.settings()).encode(), digest_size=8)
        for name, array in sorted(self.code.state().items()):
            hasher.update(f"{name}{array.dtype.str}{array.shape}".encode())
            hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()

    def settings(self) -> dict[str, Any]:
        """Return plain values for a manifest: everything but the learnt arrays."""
        layout = {**asdict(self.layout), "scales": list(self.layout.scales)}
        part = self.code.part
        plain = {"kind": part.name, "dim": self.code.dim, "layout": layout, "features": self.features}
        return {**plain, "code": part.digest} if part.digest else plain

    def encode(self, features: LocalFeatures) -> bytes:
        """Encode the features of one image.

        Raises:
            ArtifactError: The features are of another kind than those the codec was learnt on.
        """
        if self.features is not None:
            features = features.take(slice(self.features))
        if features.descriptors.shape[1:] != (self.code.dim,):
            raise ArtifactError(
                f"the codec takes descriptors of {self.code.dim}, not {features.descriptors.shape}; "
                "learn it on the same kind of features"
            )
        return self.layout.encode(features) + self.code.encode(features.descriptors).tobytes()

    def decode(self, record: bytes) -> LocalFeatures:
        """Decode the features of one image.

        Returns:
            Features whose positions are approximate, and whose descriptors compare with those of `query`.
            Where scores are not stored, they fall from 1 in the order of the features.

        Raises:
            ArtifactError: The record does not have the length of any number of features.
        """
        # the number of features is not stored: all have one size, so the length of the record says it
        number, rest = divmod(len(record) - HEADER, self.bytes_per_feature)
        if len(record) < HEADER or rest:
            raise ArtifactError(
                f"{len(record)} bytes are no {HEADER} and a multiple of {self.bytes_per_feature}"
            )
        data = np.frombuffer(record, np.uint8)
        codes = data[len(data) - number * self.code.size :].reshape(number, self.code.size)
        return self.layout.decode(data, number, self.code.decode(codes))

    def query(self, features: LocalFeatures) -> LocalFeatures:
        """Return a query's full-precision features such that they compare with decoded ones."""
        return replace(features, descriptors=self.code.query(features.descriptors))

    def original(self, features: LocalFeatures) -> LocalFeatures:
        """Return decoded features as their extractor would give them, for networks that know only those.

        Raises:
            ConfigError: Nothing like the original can be had from these bytes.
        """
        return replace(features, descriptors=self.code.original(features.descriptors))
