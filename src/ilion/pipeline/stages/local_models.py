"""What finds local features for a first stage, and what reads words, from the settings of an experiment."""

from __future__ import annotations

from ilion.config import AsmkConfig, ExperimentConfig
from ilion.errors import ConfigError
from ilion.extraction.postings import PostingsDescription
from ilion.localfeatures.base import LocalExtractor, LocalOptions, build
from ilion.reading.base import Reader, ReaderOptions
from ilion.reading.paddle import PaddleReader
from ilion.searching import asmk


def refuse_global_settings(config: ExperimentConfig) -> None:
    """Refuse what needs global descriptors, for a first stage that has none.

    Raises:
        ConfigError: Texts, query expansion, a projection or adaptation are asked for; the message says which.
    """
    search = config.search
    if config.dataset.queries == "text":
        raise ConfigError(
            f"search.method = {search.method!r} compares photos by local features, which a text query does "
            "not have; set dataset.queries = 'image', or search.method = 'exact' with a model for texts"
        )
    if search.expansion != "none" or search.database_expansion_top:
        raise ConfigError(
            f"search.method = {search.method!r} has no global descriptors to average: leave out "
            "search.expansion and search.database_expansion_top, or set search.method = 'exact'"
        )
    if search.projection:
        raise ConfigError(
            f"search.method = {search.method!r} has no global descriptors to project: leave out "
            "search.projection, or set search.method = 'exact'"
        )
    if config.adaptation.layer or config.adaptation.method != "none":
        raise ConfigError(
            f"search.method = {search.method!r} has no global descriptors to adapt: leave out the section "
            "adaptation, or set search.method = 'exact'"
        )


def asmk_extractor(config: ExperimentConfig) -> LocalExtractor:
    """Build what finds local features, after a look at the settings.

    Raises:
        ConfigError: Settings that do not go with ASMK; the message says which.
        MissingExtraError: A learned extractor without its extra.
    """
    settings = config.search.asmk
    refuse_global_settings(config)
    settings_of(settings)
    options = LocalOptions(
        features=settings.keypoints,
        side=settings.side,
        # the strongest of the image: aggregation takes care of crowds, and spreading gained nothing here
        selection="response" if settings.features == "rootsift" else None,
        device=config.extraction.device,
        threads=config.extraction.threads,
        seed=config.seed,
    )
    extractor = build(settings.features, options)
    if extractor.spec.metric != "cosine":
        raise ConfigError(
            f"search.asmk.features = {settings.features!r}: ASMK averages descriptors, and these are bits; "
            "take 'rootsift' or a learned kind"
        )
    return extractor


def postings_of(
    config: ExperimentConfig, extractor: LocalExtractor, codebook: asmk.Codebook
) -> PostingsDescription:
    """Return what makes postings of images."""
    enlarge, workers = config.search.asmk.enlarge, config.extraction.workers
    return PostingsDescription(extractor, enlarge, codebook=codebook, workers=workers)


def settings_of(settings: AsmkConfig) -> asmk.AsmkSettings:
    """Return the settings that take effect when searching.

    Raises:
        ConfigError: A value is out of range.
    """
    return asmk.AsmkSettings(
        settings.alpha, settings.tau, settings.assignments, settings.burst, settings.votes
    )


def reader_of(config: ExperimentConfig) -> Reader:
    """Build the reader."""
    settings = config.reading
    return PaddleReader(ReaderOptions(side=settings.side, smallest=settings.smallest))
