"""Ilion: instance-level image retrieval, measured.

Every verb of the command line is a function of the same name and defaults in `ilion.api`::

    from ilion import api, load_experiment

    result, report = api.run(load_experiment(Path("experiment.toml")))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ilion._version import __version__

if TYPE_CHECKING:
    from ilion import api
    from ilion.config import ExperimentConfig, load_experiment
    from ilion.datasets import open_dataset
    from ilion.errors import IlionError
    from ilion.outcome import Evaluation, RunResult
    from ilion.types import GroundTruth, Ranking, RetrievalDataset

_HOMES = {
    "ExperimentConfig": "config",
    "load_experiment": "config",
    "open_dataset": "datasets",
    "IlionError": "errors",
    "Evaluation": "outcome",
    "GroundTruth": "types",
    "Ranking": "types",
    "RetrievalDataset": "types",
    "RunResult": "outcome",
}

__all__ = [
    "Evaluation",
    "ExperimentConfig",
    "GroundTruth",
    "IlionError",
    "Ranking",
    "RetrievalDataset",
    "RunResult",
    "__version__",
    "api",
    "load_experiment",
    "open_dataset",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that importing ilion costs nothing."""
    if name == "api":
        return import_module("ilion.api")
    if name not in _HOMES:
        raise AttributeError(f"module 'ilion' has no attribute {name!r}")
    return getattr(import_module(f"ilion.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
