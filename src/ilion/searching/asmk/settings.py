"""Settings of a search with ASMK, and the selectivity function."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError
from ilion.types import Float32


@dataclass(frozen=True)
class AsmkSettings:
    """How two images are compared. None of this changes what is stored.

    The kernel of the paper is ``AsmkSettings(alpha=3.0, tau=0.0, assignments=1, burst=0.0, votes=False)``.
    The defaults were chosen on real photos (docs/asmk.md).

    Args:
        alpha: Exponent of the selectivity function; higher lets only very similar residuals count.
        tau: Threshold of the selectivity function, [0, 1).
        assignments: Nearest words that a query descriptor goes to; a database descriptor goes to one.
        burst: Exponent, [0, 1], by which a query's word counts less when much of the database matches it
            (inter-image burstiness: Jégou, Douze and Schmid, CVPR 2009).
        votes: Count, of all matches of an image pair, those that agree on one rotation, scale and place
            (see `ilion.searching.asmk.votes`).

    Raises:
        ConfigError: A value is out of range.
    """

    alpha: float = 2.0
    tau: float = 0.2
    assignments: int = 2
    burst: float = 1.0
    votes: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"asmk alpha must be a positive number, got {self.alpha}")
        if not 0 <= self.tau < 1:
            raise ConfigError(f"asmk tau must lie in [0, 1), got {self.tau}")
        if self.assignments < 1:
            raise ConfigError(f"asmk assignments must be at least 1, got {self.assignments}")
        if not 0 <= self.burst <= 1:
            raise ConfigError(f"asmk burst must lie in [0, 1], got {self.burst}")


def selectivity(similarities: NDArray[np.floating], alpha: float, tau: float) -> Float32:
    """Apply sigma: u^alpha where u > tau, else 0 (IJCV 2016, equation 14, whose threshold is not negative).

    Args:
        similarities: Similarities of aggregated residuals, [-1, 1], any shape.
        alpha: Exponent.
        tau: Threshold, at least 0.

    >>> selectivity(np.array([1.0, 0.5, 0.1, -1.0]), 3.0, 0.2).tolist()
    [1.0, 0.125, 0.0, 0.0]
    """
    kept = np.where(similarities > tau, similarities, 0.0)
    return np.asarray(kept**alpha, np.float32)
