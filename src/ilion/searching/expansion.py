"""Query expansion, always on final descriptors (after adaptation).

Average query expansion: Chum et al., ICCV 2007. Alpha-weighted: Radenović et al., TPAMI 2019. Database-side
augmentation: Arandjelović and Zisserman, CVPR 2012.
"""

from __future__ import annotations

import numpy as np

from ilion.errors import ConfigError
from ilion.types import Float32, Float64


def expansion_weights(similarities: Float32, *, method: str, alpha: float = 3.0) -> Float64:
    """Return the weight of each neighbour.

    Args:
        similarities: (..., T) similarities of the neighbours.
        method: ``average`` gives 1 each; ``alpha`` gives max(similarity, 0) ** alpha.
        alpha: Exponent.

    Raises:
        ConfigError: Unknown method.

    >>> expansion_weights(np.array([0.5, -0.1], np.float32), method="alpha", alpha=2.0).tolist()
    [0.25, 0.0]
    """
    if method == "average":
        return np.ones(similarities.shape, np.float64)
    if method == "alpha":
        return np.asarray(np.maximum(similarities, 0.0).astype(np.float64) ** alpha)
    raise ConfigError(f"query expansion {method!r} is not known; use 'average' or 'alpha'")


def expand(own: Float32, neighbours: Float32, weights: Float64) -> Float32:
    """Add weighted neighbours to each descriptor and normalise.

    Args:
        own: (Q, D) descriptors, each of weight 1.
        neighbours: (Q, T, D) neighbours.
        weights: (Q, T).

    Returns:
        (Q, D) float32, L2-normalised; a descriptor that cancels out keeps its own value.

    >>> a, b = np.eye(2, dtype=np.float32)
    >>> expand(a[None], b[None, None], np.ones((1, 1))).round(4).tolist()
    [[0.707099974155426, 0.707099974155426]]
    """
    summed = own + np.einsum("qt,qtd->qd", weights, neighbours)
    norm = np.linalg.norm(summed, axis=1, keepdims=True)
    usable = norm > 1e-12
    return np.where(usable, summed / np.where(usable, norm, 1.0), own).astype(np.float32)
