"""Similarity of two sets of local descriptors by optimal transport between them, without parameters to learn.

Where Chamfer similarity lets many features of a query point at the same feature of an image, a transport plan
shares each feature out once: repeated patterns and large plain areas stop counting many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.kernels.hamming import hamming
from ilion.reranking.base import (
    SCORERS,
    Explanation,
    Findings,
    Scorer,
    ScorerOptions,
    explain_pairs,
    mark_unknown,
)
from ilion.reranking.matching import nearest_tokens, unit_rows
from ilion.types import Box, Float32, Float64, LocalFeatures, Metric

TEMPERATURE = 0.1
"""Temperature of the plan, as in ELViS (Suma et al., ICLR 2026, arXiv 2603.28603)."""
ITERATIONS = 10
"""Rounds of scaling, as there."""
TRANSPORT_SHARE = 4.0
"""Factor beside the global similarity, as for Chamfer similarities; not tuned on photos."""
TOP_PAIRS = 30


def transport(
    similarities: Float64 | Float32,
    *,
    temperature: float = TEMPERATURE,
    iterations: int = ITERATIONS,
    spare: tuple[Float64, Float64, float] | None = None,
) -> Float64:
    """Share the features of two images out among each other, by Sinkhorn scaling of exp(similarity / t).

    Rows and columns are scaled in turn, columns last. Without ``spare``, a column sums to 1 and a row, once
    it has converged, to N / M. With it, every feature may also go to a spare place (Sarlin et al., SuperGlue,
    CVPR 2020), so that rows and columns sum to at most about 1.

    Args:
        similarities: (M, N).
        temperature: Positive; a small one gives plans of few pairs.
        iterations: Number of rounds.
        spare: Similarity of each row (M,), each column (N,) and of the spare places; None for none.

    Returns:
        (M, N) shares, not negative.

    >>> transport(np.array([[1.0, 0.0], [0.0, 1.0]])).round(3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    m, n = similarities.shape
    rows, columns = np.ones(m), np.ones(n)
    values = np.asarray(similarities, np.float64)
    if spare is not None:
        of_rows, of_columns, both = spare
        values = np.block([[values, of_rows[:, None]], [of_columns[None], np.full((1, 1), both)]])
        rows, columns = np.append(rows, n), np.append(columns, m)
    values = values / temperature
    # scaled row by row, so that no row vanishes however small its similarities are
    kernel = np.exp(values - values.max(axis=1, keepdims=True))
    right = np.ones(len(columns))
    left = rows
    for _ in range(iterations):
        left = rows / np.maximum(kernel @ right, 1e-300)
        right = columns / np.maximum(kernel.T @ left, 1e-300)
    plan: Float64 = left[:, None] * kernel * right
    return plan[:m, :n]


def transported(query: NDArray[Any], image: NDArray[Any], metric: Metric = "cosine") -> float:
    """Compare two sets of descriptors: the mean best share of the features of both, in [0, 1].

    Args:
        query: (M, d), or packed bits for ``hamming``; at least one row.
        image: (N, d) likewise.
        metric: ``cosine`` or ``hamming``.
    """
    if metric == "hamming":  # the angle that a share of differing signs stands for, as in `chamfer_bits`
        similarities = np.cos(np.pi / (8 * query.shape[1]) * hamming(query, image))
    else:
        similarities = unit_rows(query) @ unit_rows(image).T
    plan = transport(similarities)
    # a row of a shorter side can be shared out to several columns, but shares above 1 are no better than 1
    best = np.minimum(plan.max(axis=1), 1.0).mean() + np.minimum(plan.max(axis=0), 1.0).mean()
    return float(best / 2)


@SCORERS.register("transport", note="how well features are shared out between query and image, each once")
@dataclass(frozen=True)
class TransportScorer(Scorer):
    """Chamfer similarity over an optimal transport plan; no weights.

    Args:
        metric: ``cosine``: a query at full precision against what the database decodes to;
            ``hamming``: packed bits on both sides.
    """

    metric: Metric = "cosine"
    share = TRANSPORT_SHARE

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Build it for some features."""
        return cls(options.metric), {
            "metric": options.metric,
            "temperature": TEMPERATURE,
            "rounds": ITERATIONS,
        }

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by the shares of a transport plan."""
        scores = np.zeros(len(images))
        for number, image in enumerate(images):
            if len(query.keypoints) and len(image.keypoints):
                scores[number] = transported(query.descriptors, image.descriptors, self.metric)
        return mark_unknown(query, images, scores)

    def explain(self, query: LocalFeatures, image: LocalFeatures, outline: Box | None = None) -> Explanation:
        """Return the most similar pairs of features; nothing is verified."""
        pairs = nearest_tokens(query.descriptors, image.descriptors, metric=self.metric, top=TOP_PAIRS)
        return explain_pairs(query, image, pairs)
