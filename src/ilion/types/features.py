"""What is known of images: global descriptors, local features, lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.types.basics import Float32, Int64, freeze
from ilion.types.printing import Value
from ilion.wording import counted


@dataclass(frozen=True)
class Descriptors(Value):
    """Global descriptors, one row an image.

    Args:
        ids: N ids.
        values: (N, D) float16 or float32, each row L2-normalised. A memory-mapped file is not looked through
            when it is opened (it was before it was written); search checks the rows that it reads.

    Raises:
        ArtifactError: Lengths differ, a value is not finite, or the type is another one.
    """

    ids: tuple[str, ...]
    values: NDArray[np.floating]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype not in (np.float16, np.float32):
            raise ArtifactError(
                f"descriptors must be (N, D) float16 or float32, got {self.values.shape} {self.values.dtype}"
            )
        if len(self.ids) != len(self.values):
            raise ArtifactError(
                f"{counted(len(self.ids), 'id')} for {counted(len(self.values), 'descriptor')}"
            )
        if not isinstance(self.values, np.memmap) and not np.isfinite(self.values).all():
            rows = np.flatnonzero(~np.isfinite(self.values).all(axis=1))
            raise ArtifactError(
                f"the descriptor of {self.ids[rows[0]]!r} (and {len(rows) - 1} more) has NaN or infinity"
            )

    @property
    def dim(self) -> int:
        """Number of dimensions D."""
        return int(self.values.shape[1])

    def blocks(self, size: int) -> Iterator[Float32]:
        """Yield (B, D) float32 blocks, B at most ``size``, in order of rows."""
        for start in range(0, len(self.values), size):
            yield np.asarray(self.values[start : start + size], np.float32)

    def gather(self, rows: Int64) -> Float32:
        """Return the descriptors (len(rows), D) of rows in any order, float32."""
        return np.asarray(self.values[rows], np.float32)


@dataclass(frozen=True)
class LocalFeatures(Value):
    """Local features of one image.

    Args:
        keypoints: (M, 2) float32 x, y in pixels of the upright image.
        descriptors: (M, d).
        scores: (M,) float32, higher is stronger.
        image_size: (width, height) in pixels that the keypoints refer to.
        scales: (M,) float32, positive size of each keypoint in pixels; None where the detector gives none.
        angles: (M,) float32, orientation in radians from the x axis towards the y axis (clockwise on a
            screen); None where the detector gives none.

    Raises:
        ArtifactError: The lengths differ.
    """

    keypoints: Float32
    descriptors: NDArray[np.generic]
    scores: Float32
    image_size: tuple[int, int]
    scales: Float32 | None = None
    angles: Float32 | None = None

    def __post_init__(self) -> None:
        m = len(self.keypoints)
        if self.keypoints.shape != (m, 2) or len(self.descriptors) != m or self.scores.shape != (m,):
            raise ArtifactError(
                f"local features disagree: keypoints {self.keypoints.shape}, "
                f"descriptors {self.descriptors.shape}, scores {self.scores.shape}"
            )
        for name, values in (("scales", self.scales), ("angles", self.angles)):
            if values is not None and values.shape != (m,):
                raise ArtifactError(f"local features disagree: {m} keypoints, {name} {values.shape}")

    def take(self, rows: Int64 | slice) -> LocalFeatures:
        """Return some of the features, in the order of ``rows``."""
        return LocalFeatures(
            keypoints=self.keypoints[rows],
            descriptors=self.descriptors[rows],
            scores=self.scores[rows],
            image_size=self.image_size,
            scales=None if self.scales is None else self.scales[rows],
            angles=None if self.angles is None else self.angles[rows],
        )


@dataclass(frozen=True, eq=False)
class TextLine(Value):
    """One line of text that was read in an image.

    Args:
        text: Words of the line, never empty.
        confidence: Confidence of the reader, [0, 1].
        quad: (4, 2) float32 corners x, y in pixels of the upright image: top left, top right, bottom right,
            bottom left of the line as it is read.

    Raises:
        ArtifactError: A value is out of range.
    """

    text: str
    confidence: float
    quad: Float32

    def __post_init__(self) -> None:
        if not self.text or not 0 <= self.confidence <= 1 or self.quad.shape != (4, 2):
            raise ArtifactError(
                f"a line needs text, a confidence in [0, 1] and four corners, got {self.text!r}, "
                f"{self.confidence} and {self.quad.shape}"
            )
        freeze(self.quad)

    @property
    def height(self) -> float:
        """Height of the line in pixels: the shorter side of its quad."""
        along, down = self.quad[1] - self.quad[0], self.quad[3] - self.quad[0]
        return float(min(np.hypot(*along), np.hypot(*down)))
