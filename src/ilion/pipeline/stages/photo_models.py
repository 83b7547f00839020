"""What describes photos for the search by local features, from the settings of an experiment."""

from __future__ import annotations

from ilion.config import ExperimentConfig, LocalConfig
from ilion.errors import ConfigError
from ilion.extraction.photos import PhotoDescription
from ilion.searching import local


def check_local(config: ExperimentConfig) -> None:
    """Check that the settings go with the search by local features.

    Raises:
        ConfigError: They do not; the message says which.
    """
    search = config.search
    if config.dataset.queries == "text":
        raise ConfigError(
            "search.method = 'local' compares photos by local features, which a text query does not have; "
            "set dataset.queries = 'image', or search.method = 'exact' with a model that takes texts"
        )
    if search.expansion != "none" or search.database_expansion_top:
        raise ConfigError(
            "search.method = 'local' has no global descriptors to average: leave out search.expansion and "
            "search.database_expansion_top, or set search.method = 'exact'"
        )
    if config.adaptation.layer or config.adaptation.method != "none":
        raise ConfigError(
            "search.method = 'local' has no global descriptors to adapt: leave out the section adaptation, "
            "or set search.method = 'exact'"
        )
    local_settings(search.local)


def local_settings(settings: LocalConfig) -> local.LocalSettings:
    """Return the settings that take effect.

    Raises:
        ConfigError: A value is out of range.
    """
    return local.LocalSettings(
        settings.budget, settings.side, settings.sizes, settings.assignments, settings.shortlist
    )


def photos_of(config: ExperimentConfig) -> PhotoDescription:
    """Return what makes postings of photos."""
    return PhotoDescription(local.shipped_model(), local_settings(config.search.local))
