"""Score a query against database images with AMES, many pairs at once in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError
from ilion.reranking.ames.network import Ames, Tensor, compare, signs, tokens, tokens_of_signs
from ilion.reranking.ames.weights import load
from ilion.reranking.base import SCORERS, Findings, Scorer, ScorerOptions, mark_unknown
from ilion.runtime.torch import extra_library, torch_device
from ilion.types import Float32, Float64, LocalFeatures
from ilion.wording import counted

NO_EVIDENCE = -100.0
"""Score of a pair in which one image has no features: no match, yet finite, for whoever calibrates scores."""

BATCH_TOKENS = 8192
"""Tokens computed together. With the published sizes, memory grows by about 30 KB a token: 240 MB."""


@dataclass(frozen=True)
class Fusion:
    """How global and AMES similarity were combined for a published model.

    Args:
        weight: Lambda, the share of the global similarity.
        steepness: Gamma, the factor of the AMES score inside the sigmoid.
    """

    weight: float
    steepness: float


PUBLISHED_FUSION = {
    "dinov2": Fusion(0.55, 0.30),
    "dinov2-binary": Fusion(0.35, 0.10),
    "cvnet": Fusion(0.85, 0.80),
    "cvnet-binary": Fusion(0.65, 0.20),
}
"""Tuned by the authors on the public GLDv2 test split, for their weights and their global descriptors."""


def fuse(global_similarities: Float32, scores: Float32, fusion: Fusion) -> Float64:
    """Combine global similarities and AMES scores as the paper does.

    Args:
        global_similarities: (N,) cosines.
        scores: (N,) from `AmesScorer`.
        fusion: Weight and steepness.

    Returns:
        (N,) lambda * global + (1 - lambda) / (1 + exp(-gamma * score)).

    >>> fuse(np.float32([0.5, 0.5]), np.float32([0.0, 100.0]), Fusion(0.5, 1.0)).round(3).tolist()
    [0.5, 0.75]
    """
    local = squash(scores, fusion.steepness)
    return np.asarray(fusion.weight * global_similarities + (1 - fusion.weight) * local)


def squash(logits: NDArray[np.floating], steepness: float = 1.0) -> Float64:
    """Bring logits to (0, 1) by the sigmoid 1 / (1 + exp(-steepness * logit))."""
    # tanh instead of exp, which overflows for very negative logits
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * steepness * logits.astype(np.float64)))


@SCORERS.register("ames", extra="torch", note="a network that compares sets of features")
@dataclass(frozen=True)
class SetScorer(Scorer):
    """A learned similarity of sets, brought from logits to (0, 1) by a sigmoid.

    Args:
        network: Function that gives (n,) logits, positive where query and image show the same object.
        steepness: Factor of the logits inside the sigmoid.
        share: Factor of the score beside the global similarity.
    """

    network: Callable[[LocalFeatures, Sequence[LocalFeatures]], Float32]
    steepness: float
    share: float = 1.0
    original = takes_weights = takes_activation = True
    workers = 1

    @classmethod
    def check(cls, features: str, weights: str) -> None:
        """Refuse to run without weights."""
        if not weights:
            raise ConfigError(
                "rerank.scorer = 'ames' needs rerank.weights: a published file, or one of your own "
                "(docs/ames.md)"
            )

    @classmethod
    def plan(cls, options: ScorerOptions) -> tuple[Scorer, dict[str, object]]:
        """Load AMES for some features, with the fusion of the published model of its kind."""
        model = load(Path(options.weights), activation=options.activation)
        options.check_dim(model.config.local_dim)
        published = PUBLISHED_FUSION["dinov2-binary" if model.config.binary else "dinov2"]
        count = options.spec.features
        network = AmesScorer(model, device=options.device, query_features=count, database_features=count)
        # lambda * global + (1 - lambda) * local ranks as global + (1 - lambda) / lambda * local
        share = (1 - published.weight) / published.weight
        inputs: dict[str, object] = {"steepness": published.steepness}
        if model.config.activation != "relu":
            inputs["activation"] = model.config.activation
        return cls(network.score, published.steepness, share), inputs

    def score(self, query: LocalFeatures, images: Sequence[LocalFeatures]) -> Findings:
        """Score by the network."""
        return mark_unknown(query, images, squash(self.network(query, images), self.steepness))


class AmesScorer:
    """Similarities of a query to database images.

    Args:
        model: The network.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        query_features: Largest number of features of a query, the first ones: features come in the order in
            which they are worth keeping.
        database_features: Likewise of a database image. Fewer cost less and lose little while the query keeps
            many: the asymmetry that the paper is named after.
        batch_tokens: Tokens computed together; memory grows with it.

    Raises:
        ConfigError: A number is not positive, or there is no such device.
        ExtractionError: The machine does not have the device.
        MissingExtraError: torch is not installed.
    """

    def __init__(
        self,
        model: Ames,
        *,
        device: str = "auto",
        query_features: int = 600,
        database_features: int = 600,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        if min(query_features, database_features, batch_tokens) < 1:
            raise ConfigError(
                f"AMES: query_features ({query_features}), database_features ({database_features}) and "
                f"batch_tokens ({batch_tokens}) must be positive"
            )
        extra_library("torch", "AMES")
        self.device = torch_device(device)
        self._model = Ames(model.config, {name: w.to(self.device) for name, w in model.weights.items()})
        self._query_features = query_features
        self._database_features = database_features
        self._batch_tokens = batch_tokens

    def score(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> Float32:
        """Compare a query with database images.

        Args:
            query: Descriptors (M, local_dim) of any real type, or what `compress` returned.
            database: Images, each with descriptors of either kind and any number of features.

        Returns:
            (N,) scores (logits): higher is more similar, `NO_EVIDENCE` where either image has no features.

        Raises:
            ArtifactError: Descriptors have another length than the network takes.
        """
        import torch

        scores = np.full(len(database), NO_EVIDENCE, np.float32)
        rows = query.descriptors[: self._query_features]
        if not len(rows):
            return scores
        with torch.inference_mode():
            query_tokens = self._tokens([rows], "the query")
            for batch in self._batches(database, len(rows)):
                parts = [database[i].descriptors[: self._database_features] for i in batch]
                database_tokens = self._tokens(parts, f"database images {batch[0]} to {batch[-1]}")
                there = _mask_padding([len(part) for part in parts], self.device)
                found = compare(
                    self._model,
                    query_tokens.expand(len(batch), -1, -1),
                    torch.ones((len(batch), len(rows)), dtype=torch.bool, device=self.device),
                    database_tokens,
                    there,
                )
                scores[batch] = found.float().cpu().numpy()
        return scores

    def compress(self, features: LocalFeatures) -> LocalFeatures:
        """Reduce features to what a binary network needs: the first ones, at one bit a dimension.

        Args:
            features: Descriptors (M, local_dim).

        Returns:
            The first ``database_features`` features, whose descriptors are (m, dim / 8) packed bits: 16 bytes
            each with the published models. `score` gives the same result as for the features themselves.

        Raises:
            ConfigError: The network is not binary.
            ArtifactError: Descriptors have another length than the network takes.
        """
        import torch

        if not self._model.config.binary:
            raise ConfigError("only a binary AMES network has descriptors of one bit a dimension")
        self._check(features.descriptors, "the image")
        kept = features.take(slice(self._database_features))
        with torch.inference_mode():
            values = signs(self._model.weights, self._tensor(kept.descriptors.astype(np.float32)))
        return replace(kept, descriptors=np.packbits(values.cpu().numpy() > 0, axis=1))

    def _batches(self, database: Sequence[LocalFeatures], query_length: int) -> Iterator[list[int]]:
        """Yield rows of images with features, of similar lengths, whose padded tokens fit into a batch."""
        lengths = np.array([min(len(f.keypoints), self._database_features) for f in database], np.int64)
        batch: list[int] = []
        for row in np.argsort(-lengths, kind="stable").tolist():
            if lengths[row] == 0:
                break
            if batch and (len(batch) + 1) * (query_length + 1 + lengths[batch[0]]) > self._batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _tokens(self, parts: Sequence[NDArray[np.generic]], what: str) -> Tensor:
        """Turn the descriptors of B images into (B, longest, dim) input tokens."""
        import torch

        stored = self._check(parts[0], what)
        for part in parts[1:]:
            if self._check(part, what) != stored:
                raise ArtifactError(
                    f"AMES: {what} mix compressed and plain descriptors; compress all or none"
                )
        padded = self._tensor(pad(parts))
        if not stored:
            return tokens(self._model, padded)
        bits = padded[..., None].to(torch.uint8) >> torch.arange(7, -1, -1, device=self.device) & 1
        return tokens_of_signs(self._model, bits.flatten(2).float() * 2 - 1)

    def _tensor(self, values: NDArray[np.generic]) -> Tensor:
        import torch

        return torch.from_numpy(values).to(self.device)

    def _check(self, descriptors: NDArray[np.generic], what: str) -> bool:
        """Tell whether descriptors are packed bits; refuse those of another length."""
        config = self._model.config
        packed_width = config.dim // 8
        stored = config.binary and descriptors.dtype == np.uint8 and descriptors.shape[1:] == (packed_width,)
        if not stored and descriptors.shape[1:] != (config.local_dim,):
            raise ArtifactError(
                f"AMES: the descriptors of {what} have shape {descriptors.shape}, but the network takes "
                f"{counted(config.local_dim, 'dimension')}; extract the features that it was trained with"
            )
        return stored


def pad(parts: Sequence[NDArray[Any]]) -> Float32:
    """Put arrays (M_i, d) below each other as (B, longest M, d) float32, filled up with zeros.

    >>> pad([np.ones((1, 2)), np.ones((2, 2))])[0].tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    padded = np.zeros((len(parts), max(len(part) for part in parts), parts[0].shape[1]), np.float32)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded


def _mask_padding(lengths: Sequence[int], device: Any) -> Tensor:
    """Return (B, longest) booleans, False for padding."""
    import torch

    return torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
