"""Short names of types that recur, and ranges of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
RGB = NDArray[np.uint8]
"""A decoded image: (H, W, 3), RGB, upright after EXIF."""
Resize = Literal["long", "short", "square", "center-crop", "pad", "none", "ilias"]
"""How an image is brought to the side that a model takes; see `ilion.images.resize`."""
Metric = Literal["cosine", "hamming"]
"""How local descriptors compare: as directions, or as bits packed in uint8."""
Where = str | Path
"""A file or folder, as public functions take it."""


@dataclass(frozen=True)
class Between:
    """Marks a number that lies in a range: ``Annotated[int, Between(1, 10)]``.

    Args:
        low: Smallest value.
        high: Largest value; finite, so that neither infinity nor NaN is inside.

    >>> Between(0, 1).holds(0.5), Between(0, 1).holds(float("nan"))
    (True, False)
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether a value lies in the range."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low:,} to {self.high:,}".replace(",", " ")


def freeze(array: NDArray[np.generic]) -> None:
    """Make an array read-only."""
    array.setflags(write=False)
