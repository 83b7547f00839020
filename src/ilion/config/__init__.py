"""Settings: frozen dataclasses to and from TOML, one file a subject."""

from ilion.config.descriptors import AdaptationConfig, DatasetConfig, ExtractionConfig
from ilion.config.evaluation import EvaluationConfig, ReportConfig
from ilion.config.experiment import ComputeConfig, ExperimentConfig, check_parts, load_experiment
from ilion.config.given import check_first_stage, check_given
from ilion.config.plain import apply_overrides, dump_toml, from_dict, load_toml, to_dict
from ilion.config.search import AsmkConfig, LocalConfig, ReadingConfig, RerankConfig, SearchConfig

__all__ = [
    "AdaptationConfig",
    "AsmkConfig",
    "ComputeConfig",
    "DatasetConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "ExtractionConfig",
    "LocalConfig",
    "ReadingConfig",
    "ReportConfig",
    "RerankConfig",
    "SearchConfig",
    "apply_overrides",
    "check_first_stage",
    "check_given",
    "check_parts",
    "dump_toml",
    "from_dict",
    "load_experiment",
    "load_toml",
    "to_dict",
]
