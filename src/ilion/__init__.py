"""Ilion: instance-level image retrieval, measured and used.

Every verb of the command line is a function of the same name and defaults in `ilion.api`::

    import ilion

    result, report = ilion.run("experiment.toml")

On photos and arrays, the same steps are functions of their own::

    model = ilion.load_model("efficientnet-lite2")
    ranking = ilion.search(model.describe(queries), model.describe(photos))
    ilion.evaluate(ranking, {query: [photos that show its object]})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ilion._version import __version__

if TYPE_CHECKING:
    from ilion import api
    from ilion.api import compare, load_run
    from ilion.api.arrays import Model, describe_local, evaluate, load_model, rerank, search, show
    from ilion.config import ExperimentConfig, load_experiment
    from ilion.datasets import open_dataset
    from ilion.errors import IlionError
    from ilion.evaluation.compare import Comparison
    from ilion.outcome import Evaluation, RunResult
    from ilion.pipeline.jobs.run import run
    from ilion.serve import Index
    from ilion.storage import DescriptorSet
    from ilion.types import Descriptors, GroundTruth, LocalFeatures, Ranking, RetrievalDataset

_HOMES = {
    "api": ("compare", "load_run", "run"),
    "api.arrays": ("Model", "describe_local", "evaluate", "load_model", "rerank", "search", "show"),
    "config": ("ExperimentConfig", "load_experiment"),
    "datasets": ("open_dataset",),
    "errors": ("IlionError",),
    "evaluation.compare": ("Comparison",),
    "serve": ("Index",),
    "outcome": ("Evaluation", "RunResult"),
    "storage": ("DescriptorSet",),
    "types": ("Descriptors", "GroundTruth", "LocalFeatures", "Ranking", "RetrievalDataset"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Comparison",
    "DescriptorSet",
    "Descriptors",
    "Evaluation",
    "ExperimentConfig",
    "GroundTruth",
    "IlionError",
    "Index",
    "LocalFeatures",
    "Model",
    "Ranking",
    "RetrievalDataset",
    "RunResult",
    "__version__",
    "api",
    "compare",
    "describe_local",
    "evaluate",
    "load_experiment",
    "load_model",
    "load_run",
    "open_dataset",
    "rerank",
    "run",
    "search",
    "show",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that importing ilion costs nothing."""
    if name == "api":
        return import_module("ilion.api")
    if name not in _HOME:
        raise AttributeError(f"module 'ilion' has no attribute {name!r}")
    return getattr(import_module(f"ilion.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
