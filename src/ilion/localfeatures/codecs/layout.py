"""Where a feature is, how large, how turned and how strong: numbers of few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.types import Float32, LocalFeatures

Bytes = NDArray[np.uint8]
"""Rows or columns of stored bytes."""

HEADER = 6
"""Bytes before the first feature: width and height of the image, 24 bits each."""
SIDES = 1 << 24
"""Longer sides do not fit the header."""
PLACE = 3
"""Bytes of position, scale and angle with 8 and 4 bits each."""
OVERHEAD = HEADER + 12
"""Bytes of an image beside its features: header, and entry in the index of its shard."""


def count_fitting(budget: int, size: int) -> int:
    """Return how many features of ``size`` bytes a descriptor fit a budget in bytes an image."""
    return (budget - OVERHEAD) // (size + PLACE)


@dataclass(frozen=True)
class Layout:
    """How everything but the descriptors is stored.

    A record holds width and height of the image, then one column after the other: x, y, scale and angle,
    score, and last the descriptors. The number of features follows from its length.

    Args:
        position: Bits of x and of y, as a share of the image's width and height. 8 bits place a feature to
            within 1/512 of that, which is 1.25 pixels of 640.
        shape: Bits of the logarithm of the scale and of the angle: 0, 4 (both in one byte), 8 or 16.
        score: Bits of the score: 0 (only the order is kept) or 16.
        scales: Least and largest base-2 logarithm of scale / longer side; scales beyond are clipped.
    """

    position: Literal[8, 16] = 8
    shape: Literal[0, 4, 8, 16] = 0
    score: Literal[0, 16] = 0
    scales: tuple[float, float] = (-12.0, 0.0)

    @property
    def bytes_per_feature(self) -> int:
        """Bytes of one feature without its descriptor."""
        return (2 * self.position + 2 * self.shape + self.score) // 8

    def encode(self, features: LocalFeatures) -> bytes:
        """Return header and columns.

        Raises:
            ArtifactError: Scales and angles are to be stored, but the features have none; or the size of the
                image does not fit.
        """
        width, height = features.image_size
        if not (0 < width < SIDES and 0 < height < SIDES):
            raise ArtifactError(f"features of an image of {width} x {height} pixels cannot be stored")
        # the centre of the first pixel is half a pixel from the edge
        place = (features.keypoints.astype(np.float64) + 0.5) / (width, height)
        columns: list[NDArray[np.generic]] = [_steps(place[:, axis], self.position) for axis in (0, 1)]
        if self.shape:
            if features.scales is None or features.angles is None:
                raise ArtifactError("these features have no scale and angle, which the codec stores (shape)")
            low, high = self.scales
            logs = np.log2(np.maximum(features.scales.astype(np.float64), 1e-9) / max(width, height))
            scale = _steps((logs - low) / (high - low), self.shape)
            turn = _steps(np.mod(features.angles.astype(np.float64) / (2 * np.pi), 1), self.shape)
            columns += [_join_nibbles(scale, turn)] if self.shape == 4 else [scale, turn]
        if self.score:
            columns.append(features.scores.astype("<f2"))
        header = width.to_bytes(3, "little") + height.to_bytes(3, "little")
        return header + b"".join(column.tobytes() for column in columns)

    def decode(self, record: Bytes, number: int, descriptors: NDArray[np.generic]) -> LocalFeatures:
        """Read what `encode` wrote.

        Args:
            record: (bytes,) of at least header and columns.
            number: Number of features.
            descriptors: (number, d), decoded.
        """
        size = (_int24(record[:3]), _int24(record[3:6]))
        at = HEADER

        def column(dtype: str) -> NDArray[np.generic]:
            nonlocal at
            width = np.dtype(dtype).itemsize * number
            at += width
            return record[at - width : at].view(dtype)

        places = np.dtype(f"<u{self.position // 8}").str
        x, y = column(places), column(places)
        keypoints = np.stack([_shares(x, self.position), _shares(y, self.position)], axis=1) * size - 0.5
        scales = angles = None
        if self.shape:
            if self.shape == 4:
                scale, turn = _split_nibbles(column("u1"))
            else:
                shapes = np.dtype(f"<u{self.shape // 8}").str
                scale, turn = column(shapes), column(shapes)
            low, high = self.scales
            logs = low + _shares(scale, self.shape) * (high - low)
            scales = (np.exp2(logs) * max(size)).astype(np.float32)
            angles = (_shares(turn, self.shape) * (2 * np.pi)).astype(np.float32)
        scores: Float32 = (1 - np.arange(number) / max(number, 1)).astype(np.float32)
        if self.score:
            scores = column("<f2").astype(np.float32)
        return LocalFeatures(keypoints.astype(np.float32), descriptors, scores, size, scales, angles)


def _steps(shares: NDArray[np.float64], bits: int) -> NDArray[np.unsignedinteger]:
    """Number the interval that each share of 0..1 falls into."""
    steps = np.clip(np.floor(shares * (1 << bits)), 0, (1 << bits) - 1)
    return steps.astype("<u2" if bits == 16 else np.uint8)


def _shares(steps: NDArray[np.generic], bits: int) -> NDArray[np.float64]:
    """Return the middle of each interval."""
    return np.asarray((steps.astype(np.float64) + 0.5) / (1 << bits), np.float64)


def _join_nibbles(high: NDArray[np.generic], low: NDArray[np.generic]) -> Bytes:
    return np.asarray(high.astype(np.uint8) << 4 | low.astype(np.uint8), np.uint8)


def _split_nibbles(both: NDArray[np.generic]) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    return both.astype(np.uint8) >> 4, both.astype(np.uint8) & 15


def _int24(three: Bytes) -> int:
    return int.from_bytes(three.tobytes(), "little")
