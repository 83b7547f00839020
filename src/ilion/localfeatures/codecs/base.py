"""A codec turns the local features of an image into few bytes, and back into what compares alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.localfeatures.codecs.layout import HEADER, Bytes, Layout
from ilion.types import LocalFeatures, Metric


class Code(Protocol):
    """How descriptors alone become bytes. Frozen; learnt arrays are given at construction."""

    @property
    def kind(self) -> str:
        """Its name among the settings."""
        ...

    @property
    def dim(self) -> int:
        """Length of the descriptors that it takes."""
        ...

    @property
    def size(self) -> int:
        """Bytes of one descriptor."""
        ...

    @property
    def metric(self) -> Metric:
        """How what `decode` and `query` give compares."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the bytes depend on, by name."""
        ...

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, dim) to (M, size)."""
        ...

    def decode(self, codes: Bytes) -> NDArray[np.generic]:
        """Decode (M, size) to (M, d'), in the space of `query`."""
        ...

    def query(self, descriptors: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring full-precision descriptors (M, dim) to (M, d'), where decoded ones compare with them."""
        ...

    def original(self, decoded: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring what `decode` gives back to descriptors (M, dim) of the extractor, as closely as possible.

        Raises:
            ConfigError: Nothing like the original can be had from these bytes.
        """
        ...


@dataclass(frozen=True)
class Codec:
    """How the local features of one kind are stored.

    Args:
        code: For the descriptors.
        layout: For everything else.
        features: At most so many features of an image are kept, the first ones; None keeps all.
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
        return {"kind": self.code.kind, "dim": self.code.dim, "layout": layout, "features": self.features}

    def encode(self, features: LocalFeatures) -> bytes:
        """Encode the features of one image.

        Raises:
            ArtifactError: They are of another kind than those the codec was learnt on.
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


def restored(settings: Mapping[str, Any], code: Code) -> Codec:
    """Return the codec of stored `Codec.settings`.

    Raises:
        ArtifactError: The settings are not those of a codec.
    """
    try:
        layout = settings["layout"]
        scales = (float(layout["scales"][0]), float(layout["scales"][1]))
        return Codec(code, Layout(**{**layout, "scales": scales}), settings["features"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ArtifactError(f"these are no settings of a codec ({error}): {settings}") from None
