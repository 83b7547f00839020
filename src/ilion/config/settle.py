"""What ``auto`` stands for: the first stage and the model that an experiment asks for, or the default."""

from __future__ import annotations

from dataclasses import fields, replace

from ilion.config.descriptors import AdaptationConfig, ExtractionConfig
from ilion.config.experiment import ExperimentConfig

MODEL = "default"
"""Global descriptor where one is needed and none is named."""
LOCAL = ("local", "asmk")
"""Methods of search that compute no global descriptor."""
OF_ALL = frozenset({"query_box", "on_bad_image", "device", "workers", "threads", "batch_size"})
"""Settings of `ExtractionConfig` that do not ask for a global descriptor."""


def settle(config: ExperimentConfig, *, descriptors: bool = False) -> ExperimentConfig:
    """Return an experiment that says which first stage and model it has.

    ``search.method = "auto"`` is ``local``, unless something asks for a global descriptor: a setting of its
    model, an adaptation layer, query expansion, a projection, texts as queries, or the verb.

    Args:
        config: Any experiment; what it says itself stays.
        descriptors: Whether a verb works on global descriptors, whatever the experiment.

    >>> found = settle(ExperimentConfig())
    >>> found.search.method, found.extraction.model
    ('local', 'default')
    >>> settle(ExperimentConfig(extraction=ExtractionConfig(model="dinov2-b"))).search.method
    'exact'
    """
    method, model = config.search.method, config.extraction.model
    if method == "auto":
        method = "exact" if descriptors or _needs_descriptors(config) else "local"
    return replace(
        config,
        search=replace(config.search, method=method),
        extraction=replace(config.extraction, model=MODEL if model == "auto" else model),
    )


def global_settings() -> tuple[str, ...]:
    """Return the names of the settings of a global descriptor."""
    return tuple(f.name for f in fields(ExtractionConfig) if f.name not in OF_ALL)


def _needs_descriptors(config: ExperimentConfig) -> bool:
    usual, given, search = ExtractionConfig(), config.extraction, config.search
    return (
        any(getattr(given, name) != getattr(usual, name) for name in global_settings())
        or config.adaptation != AdaptationConfig()
        or search.expansion != "none"
        or search.database_expansion_top > 0
        or search.projection != ""
        or search.device != "cpu"
        or config.dataset.queries != "image"
    )
