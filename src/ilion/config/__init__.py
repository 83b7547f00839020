"""Settings: frozen dataclasses to and from TOML, one file a subject."""

from ilion.config.descriptors import AdaptationConfig, DatasetConfig, ExtractionConfig
from ilion.config.experiment import ComputeConfig, ExperimentConfig, check_parts, load_experiment
from ilion.config.given import check_awake, check_given
from ilion.config.plain import apply_overrides, dump_toml, from_dict, to_dict
from ilion.config.search import AsmkConfig, LocalConfig, ReadingConfig, RerankConfig
from ilion.config.settle import settle

__all__ = [
    "AdaptationConfig",
    "AskConfig",
    "AsmkConfig",
    "ComputeConfig",
    "DatasetConfig",
    "ExperimentConfig",
    "ExtractionConfig",
    "LocalConfig",
    "ReadingConfig",
    "RerankConfig",
    "apply_overrides",
    "check_awake",
    "check_given",
    "check_parts",
    "dump_toml",
    "from_dict",
    "load_experiment",
    "settle",
    "to_dict",
]
