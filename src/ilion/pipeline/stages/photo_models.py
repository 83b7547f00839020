"""What describes photos for the search by local features, from the settings of an experiment."""

from __future__ import annotations

from ilion.config import ExperimentConfig, LocalConfig
from ilion.extraction.photos import PhotoDescription
from ilion.pipeline.stages.local_models import refuse_global_settings
from ilion.searching import local


def check_local(config: ExperimentConfig) -> None:
    """Check that the settings go with the search by local features.

    Raises:
        ConfigError: The settings do not; the message says which.
    """
    refuse_global_settings(config)
    local_settings(config.search.local)


def local_settings(settings: LocalConfig) -> local.LocalSettings:
    """Return the settings that take effect.

    Raises:
        ConfigError: A value is out of range.
    """
    return local.LocalSettings(
        settings.budget,
        settings.side,
        settings.sizes,
        settings.assignments,
        settings.shortlist,
        settings.words,
    )


def photos_of(config: ExperimentConfig) -> PhotoDescription:
    """Return what makes postings of photos."""
    settings = local_settings(config.search.local)
    return PhotoDescription(local.shipped_model(settings.words), settings)
