"""Codes that keep every number, with fewer bits: float16, uint8, and packed bits as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ilion.localfeatures.codecs.base import CODECS, Code, CodecSettings
from ilion.localfeatures.codecs.layout import Bytes
from ilion.types import Float32, Metric


@CODECS.register("raw")
@dataclass(frozen=True)
class RawCode(Code):
    """Nothing is learnt: two bytes a number, or packed bits as they are.

    Args:
        dim: Length of a descriptor: numbers for ``cosine``, bytes for ``hamming``.
        metric: ``cosine`` or ``hamming``.
    """

    dim: int
    metric: Metric = "cosine"
    takes_bits = True

    @classmethod
    def fit(cls, sample: NDArray[Any], settings: CodecSettings, seed: int) -> Self:
        """Take the length of the descriptors (S, d) from the sample."""
        return cls(sample.shape[1], "hamming" if sample.dtype == np.uint8 else "cosine")

    @classmethod
    def rebuild(cls, state: Mapping[str, NDArray[Any]], dim: int) -> Self:
        """Return the code of a stored `state`."""
        return cls(dim, "hamming" if state["hamming"] else "cosine")

    @classmethod
    def choose_size(cls, dim: int, metric: Metric, budget: int, features: int) -> int:
        """Return two bytes a number, or the bytes of packed bits."""
        return cls(dim, metric).size

    @cached_property
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


@CODECS.register("uint8")
@dataclass(frozen=True, eq=False)
class Uint8Code(Code):
    """One byte a number, between the least and the largest number of the sample.

    Args:
        low: (d,) or (1,) float32, what byte 0 stands for.
        step: The same shape: the difference of two bytes.
        dim: d.
    """

    low: Float32
    step: Float32
    dim: int

    @classmethod
    def fit(cls, sample: NDArray[Any], settings: CodecSettings, seed: int) -> Self:
        """Learn the range of all numbers (S, d) together.

        >>> sample = np.array([[0, 0.2], [0.1, 0.51]], np.float32)
        >>> code = Uint8Code.fit(sample, CodecSettings("uint8"), 0)
        >>> code.decode(code.encode(np.array([[0.2, 0.4]]))).round(3).tolist()
        [[0.20000000298023224, 0.4000000059604645]]
        """
        low, high = np.float32(sample.min()), np.float32(sample.max())
        return cls(np.array([low]), _step(np.array([low]), np.array([high])), sample.shape[1])

    @classmethod
    def fit_columns(cls, sample: Float32, outside: float = 0.001) -> Self:
        """Learn the range of each column by itself.

        Args:
            sample: (S, d).
            outside: Share of the numbers that may lie beyond either end and are clipped.
        """
        low, high = np.quantile(sample, (outside, 1 - outside), axis=0).astype(np.float32)
        return cls(low, _step(low, high), sample.shape[1])

    def encode(self, descriptors: NDArray[np.generic]) -> Bytes:
        """Encode (M, d) to (M, d); a number within the sample's range is off by half a step at most."""
        steps = np.rint((descriptors.astype(np.float32) - self.low) / self.step)
        return np.asarray(np.clip(steps, 0, 255), np.uint8)

    def decode(self, codes: Bytes) -> Float32:
        """Decode to (M, d) float32."""
        return np.asarray(codes * self.step + self.low, np.float32)


def _step(low: Float32, high: Float32) -> Float32:
    # equal numbers give no range: a tiny step keeps the division finite and decodes to the number itself
    return np.asarray(np.maximum(high - low, 1e-12) / 255, np.float32)
