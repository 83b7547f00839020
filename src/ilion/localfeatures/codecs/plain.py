"""Codes that keep every number, with fewer bits: float16, uint8, and packed bits as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.localfeatures.codecs.layout import Bytes
from ilion.types import Float32, Metric


@dataclass(frozen=True)
class RawCode:
    """Nothing is learnt: two bytes a number, or packed bits as they are.

    Args:
        dim: Length of a descriptor: numbers for ``cosine``, bytes for ``hamming``.
        metric: How the descriptors compare.
    """

    dim: int
    metric: Metric = "cosine"
    kind: str = "raw"

    @property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return 2 * self.dim if self.metric == "cosine" else self.dim

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the metric only: nothing is learnt."""
        return {"hamming": np.array(self.metric == "hamming")}

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, dim) to (M, size)."""
        stored = descriptors.astype("<f2" if self.metric == "cosine" else np.uint8)
        return stored.view(np.uint8).reshape(len(descriptors), self.size)

    def decode(self, codes: Bytes) -> NDArray[np.generic]:
        """Decode to (M, dim) float32, or uint8 for packed bits."""
        if self.metric == "hamming":
            return codes
        return np.ascontiguousarray(codes).view("<f2").astype(np.float32)

    def query(self, descriptors: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the descriptors as they are."""
        return descriptors

    def original(self, decoded: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the descriptors as they are."""
        return decoded


@dataclass(frozen=True, eq=False)
class Uint8Code:
    """One byte a number, between the least and the largest number of the sample.

    Args:
        low: (d,) or (1,) float32, what byte 0 stands for.
        step: The same shape: the difference of two bytes.
        dim: d.
    """

    low: Float32
    step: Float32
    dim: int
    kind: str = "uint8"
    metric: Metric = "cosine"

    @property
    def size(self) -> int:
        """Bytes of one descriptor."""
        return self.dim

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learnt arrays."""
        return {"low": self.low, "step": self.step}

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, d) to (M, d); a number within the sample's range is off by half a step at most."""
        steps = np.rint((descriptors.astype(np.float32) - self.low) / self.step)
        return np.asarray(np.clip(steps, 0, 255), np.uint8)

    def decode(self, codes: Bytes) -> Float32:
        """Decode to (M, d) float32."""
        return np.asarray(codes * self.step + self.low, np.float32)

    def query(self, descriptors: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the descriptors as they are."""
        return descriptors

    def original(self, decoded: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the descriptors as they are."""
        return decoded


def fit_uint8(sample: Float32) -> Uint8Code:
    """Learn the range of all numbers together.

    Args:
        sample: (S, d) descriptors.

    >>> code = fit_uint8(np.array([[0, 0.2], [0.1, 0.51]], np.float32))
    >>> code.decode(code.encode(np.array([[0.2, 0.4]]))).round(3).tolist()
    [[0.20000000298023224, 0.4000000059604645]]
    """
    low, high = np.float32(sample.min()), np.float32(sample.max())
    return Uint8Code(np.array([low]), _step(np.array([low]), np.array([high])), sample.shape[1])


def fit_uint8_columns(sample: Float32, outside: float = 0.001) -> Uint8Code:
    """Learn the range of each column by itself.

    Args:
        sample: (S, d).
        outside: Share of the numbers that may lie beyond either end and are clipped.
    """
    low, high = np.quantile(sample, (outside, 1 - outside), axis=0).astype(np.float32)
    return Uint8Code(low, _step(low, high), sample.shape[1])


def _step(low: Float32, high: Float32) -> Float32:
    return np.asarray(np.maximum(high - low, 1e-12) / 255, np.float32)
