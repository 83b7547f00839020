"""How shortlists are compared: extractor, codec and scorer of an experiment, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilion.config import ExperimentConfig, RerankConfig, check_parts
from ilion.errors import ConfigError
from ilion.localfeatures.base import LocalExtractor, LocalOptions, LocalSpec, build
from ilion.localfeatures.codecs import CodecSettings, settings_for
from ilion.reranking.base import SCORERS, Scorer, ScorerOptions, scorer_class, weights_identity


@dataclass(frozen=True)
class LocalPlan:
    """All that re-ranking will use, so that a mistake is reported before hours of work.

    Args:
        extractor: Finds and describes local features.
        codec: Storage of the features.
        scorer: Compares a query with images.
        inputs: Inputs of the scores, beside the features.
        weight: Factor of the local score, where it is not learnt.
        original: Whether the scorer takes descriptors as the extractor gives them; stored ones are brought
            back to that.
        workers: Number of threads that score; 0 means one per core.
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
    part, scorer = SCORERS.find(settings.scorer), scorer_class(settings.scorer)
    if settings.activation and not scorer.takes_activation:
        raise ConfigError(
            f"rerank.activation = {settings.activation!r} does not apply to rerank.scorer = "
            f"{settings.scorer!r}; only 'ames' reads it"
        )
    if settings.weights and not scorer.takes_weights:
        having = ", ".join(repr(p.name) for p in SCORERS.parts() if getattr(p.make, "takes_weights", False))
        raise ConfigError(f"rerank.weights is a file for the scorers {having}; {settings.scorer!r} has none")
    scorer.check(settings.features, settings.weights)
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
    if scorer.original:
        _check_original(settings, spec, codec)
    given = ScorerOptions(
        features=settings.features,
        spec=spec,
        codec=codec,
        weights=settings.weights,
        activation=settings.activation,
        ratio=settings.ratio,
        model=settings.model,
        threshold=settings.threshold,
        floor=settings.floor,
        device=general.device,
        seed=config.seed,
    )
    built, inputs = scorer.plan(given)
    inputs = {"scorer": part.name, **inputs}
    if settings.weights:
        inputs["weights"] = weights_identity(settings.weights)
    if part.digest:
        inputs |= {n: getattr(given, n) for n in ("ratio", "model", "threshold", "floor", "seed")}
        inputs["code"] = part.digest
    weight = settings.weight or built.share
    return LocalPlan(extractor, codec, built, inputs, weight, built.original, built.workers)


def _check_original(settings: RerankConfig, spec: LocalSpec, codec: CodecSettings) -> None:
    """Refuse what cannot be brought back to the numbers that a network was trained on."""
    needs = f"rerank.scorer = {settings.scorer!r} takes descriptors of real numbers"
    if spec.metric == "hamming":
        raise ConfigError(
            f"{needs}; those of {settings.features!r} are bits: take other rerank.features, or the scorer "
            "'geometry'"
        )
    if not codec.make.reversible:
        raise ConfigError(
            f"{needs}, and rerank.codec = {codec.kind!r} keeps only their signs: take rerank.codec = 'auto', "
            "or the scorer 'chamfer'"
        )
