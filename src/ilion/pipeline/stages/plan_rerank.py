"""How shortlists are compared: extractor, codec and scorer of an experiment, checked before anything runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilion.config import ExperimentConfig, RerankConfig, check_parts
from ilion.errors import ConfigError
from ilion.localfeatures.base import LocalExtractor, LocalOptions, LocalSpec, build
from ilion.localfeatures.codecs import CodecSettings, settings_for
from ilion.reranking.ames import PUBLISHED_FUSION, AmesScorer, load
from ilion.reranking.lightglue import KINDS, LightGlue
from ilion.reranking.matching import Metric
from ilion.reranking.scorers import Matcher, Scorer, SetScorer, TokenScorer, floor_for, ratio_for

GEOMETRY_WEIGHT = 0.08
"""Of the local score of verified matches; it fits every budget (docs/local.md)."""
CHAMFER_WEIGHT = 4.0
"""Of Chamfer similarities, which differ little from image to image. Not tuned on photos: calibrate it."""


@dataclass(frozen=True)
class LocalPlan:
    """All that re-ranking will use, so that a mistake is told before hours of work.

    Args:
        extractor: Finds and describes.
        codec: How features are stored.
        scorer: Compares.
        inputs: What the scores depend on, beside the features.
        weight: Of the local score, where it is not learnt.
        original: The scorer takes descriptors as the extractor gives them, so stored ones are brought back.
        workers: Threads that score; 0 takes one a core.
    """

    extractor: LocalExtractor
    codec: CodecSettings
    scorer: Scorer
    inputs: dict[str, Any]
    weight: float
    original: bool = False
    workers: int = 0


def plan_local(config: ExperimentConfig) -> LocalPlan:
    """Build what re-ranking needs; weights are loaded, images are not touched.

    Raises:
        ConfigError: Settings that do not go together; the message says which.
        MissingExtraError: A learned extractor or scorer without its extra.
        ExtractionError: Weights that cannot be loaded.
    """
    check_parts(config)  # again: a finished run that is looked at comes here without
    settings, general = config.rerank, config.extraction
    if config.dataset.queries == "text":
        raise ConfigError(
            f"rerank.features = {settings.features!r}: a text query has no local features; set "
            "rerank.features = 'none' or dataset.queries = 'image'"
        )
    if settings.shortlist < 1:
        raise ConfigError(f"rerank.shortlist must be at least 1, got {settings.shortlist}")
    if settings.weights and settings.scorer not in ("lightglue", "ames"):
        raise ConfigError(
            f"rerank.weights is a file for the scorers 'lightglue' and 'ames'; {settings.scorer!r} has none"
        )
    if settings.scorer == "ames" and not settings.weights:
        raise ConfigError(
            "rerank.scorer = 'ames' needs rerank.weights: a published file, or one of your own (docs/ames.md)"
        )
    if settings.scorer == "lightglue" and _family(settings) not in KINDS:
        raise ConfigError(
            f"rerank.scorer = 'lightglue' knows the features {', '.join(KINDS)}, not {settings.features!r}"
        )
    options = LocalOptions(
        features=settings.keypoints or None,
        side=settings.side or None,
        device=general.device,
        threads=general.threads,
        seed=config.seed,
    )
    extractor = build(settings.features, options)
    spec = extractor.spec
    kind = None if settings.codec == "auto" else settings.codec
    codec = settings_for(settings.budget, spec.features, spec.dim, spec.metric, kind)
    metric: Metric = "hamming" if codec.kind == "binary" else spec.metric
    kept = min(codec.features or spec.features, spec.features)
    match settings.scorer:
        case "lightglue":
            _check_original(settings, spec, codec)
            return _lightglue(config, extractor, codec, kept)
        case "ames":
            _check_original(settings, spec, codec)
            return _ames(config, extractor, codec)
        case "chamfer":
            weight = settings.weight or CHAMFER_WEIGHT
            told = {"scorer": "chamfer", "metric": metric}
            return LocalPlan(extractor, codec, TokenScorer(metric), told, weight)
    matcher = Matcher(
        metric=metric,
        ratio=settings.ratio or ratio_for(codec.kind),
        model=settings.model,
        threshold=settings.threshold,
        floor=settings.floor or floor_for(kept),
    )
    inputs: dict[str, Any] = {
        "scorer": "geometry",
        "metric": metric,
        "ratio": matcher.ratio,
        **_geometry(matcher),
    }
    return LocalPlan(extractor, codec, matcher, inputs, settings.weight or GEOMETRY_WEIGHT)


def _geometry(matcher: Matcher) -> dict[str, Any]:
    return {"model": matcher.model, "threshold": matcher.threshold, "floor": matcher.floor}


def _family(settings: RerankConfig) -> str:
    return settings.features.partition(":")[0]


def _check_original(settings: RerankConfig, spec: LocalSpec, codec: CodecSettings) -> None:
    """Refuse what cannot be brought back to the numbers that a network was trained on."""
    if spec.metric == "hamming":
        raise ConfigError(
            f"rerank.scorer = {settings.scorer!r} takes descriptors of real numbers; those of "
            f"{settings.features!r} are bits: take other rerank.features, or the scorer 'geometry'"
        )
    if codec.kind == "binary":
        raise ConfigError(
            f"rerank.scorer = {settings.scorer!r} takes descriptors of real numbers, and rerank.codec = "
            "'binary' keeps only their signs: take rerank.codec = 'auto', or the scorer 'chamfer'"
        )


def _lightglue(
    config: ExperimentConfig, extractor: LocalExtractor, codec: CodecSettings, kept: int
) -> LocalPlan:
    settings = config.rerank
    name = _family(settings)
    device = config.extraction.device
    learned = LightGlue(name, weights=settings.weights or None, device=device, seed=config.seed)
    matcher = Matcher(
        model=settings.model,
        threshold=settings.threshold,
        floor=settings.floor or floor_for(kept),
        learned=learned,
    )
    inputs = {
        "scorer": "lightglue",
        "weights": _identity(settings.weights) if settings.weights else "kornia",
        "seed": config.seed if settings.weights == "none" else 0,
        **_geometry(matcher),
    }
    weight = settings.weight or GEOMETRY_WEIGHT
    return LocalPlan(extractor, codec, matcher, inputs, weight, original=True, workers=1)


def _ames(config: ExperimentConfig, extractor: LocalExtractor, codec: CodecSettings) -> LocalPlan:
    settings, spec = config.rerank, extractor.spec
    model = load(Path(settings.weights))
    if model.config.local_dim != spec.dim:
        raise ConfigError(
            f"{settings.weights}: this network takes descriptors of {model.config.local_dim} numbers; "
            f"rerank.features = {settings.features!r} gives {spec.dim}"
        )
    published = PUBLISHED_FUSION["dinov2-binary" if model.config.binary else "dinov2"]
    network = AmesScorer(
        model,
        device=config.extraction.device,
        query_features=spec.features,
        database_features=spec.features,
    )
    inputs = {
        "scorer": "ames",
        "weights": _identity(settings.weights),
        "steepness": published.steepness,
    }
    # lambda * global + (1 - lambda) * local ranks as global + (1 - lambda) / lambda * local
    weight = settings.weight or (1 - published.weight) / published.weight
    scorer = SetScorer(network, published.steepness)
    return LocalPlan(extractor, codec, scorer, inputs, weight, original=True, workers=1)


def _identity(weights: str) -> str:
    """Digest of a file of weights: reuse compares what it holds, never its name."""
    if weights == "none":
        return "none"
    with Path(weights).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
