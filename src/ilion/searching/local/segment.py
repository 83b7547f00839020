"""A part of the store: the postings of consecutive photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.types import Int64, Value


@dataclass(frozen=True, eq=False)
class Segment(Value):
    """Postings of consecutive database rows, memory-mapped.

    Args:
        start: Database row of its first photo.
        size: Number of photos n.
        offsets: (W + 1,) int64, where the postings of each word start.
        records: (P,) uint64; rows count from ``start`` and ascend within a word.
    """

    start: int
    size: int
    offsets: Int64
    records: NDArray[np.uint64]
