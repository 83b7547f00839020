"""A finished run on disk: ``run.json`` in its output folder holds all numbers, for later comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilion.errors import ArtifactError
from ilion.outcome import Cost, Evaluation, Interval, Machine, RunResult, Skipped, SliceResult
from ilion.store import read_json, write_json

FORMAT = 1
"""Of ``run.json``."""
FILE = "run.json"


def write_run(folder: Path, result: RunResult) -> None:
    """Store a run's numbers.

    Args:
        folder: Output folder of the run.
        result: The run.
    """
    e = result.evaluation
    plain = {
        "format": FORMAT,
        "name": result.name,
        "design": result.design,
        "evaluation": {
            "definition": e.definition,
            "k": e.k,
            "ties": e.ties,
            "query_ids": e.query_ids,
            "instances": e.instances,
            "per_query": e.per_query.tolist(),
            "mean": e.mean,
            "ci95": e.ci95,
            "metrics": dict(e.metrics),
            "metric_ci95": dict(e.metric_ci95),
            "per_query_metrics": {name: values.tolist() for name, values in e.per_query_metrics.items()},
            "slices": e.slices,
            "unreachable": e.unreachable,
        },
        "cost": result.cost,
        "skipped": result.skipped,
        "provenance": result.provenance,
    }
    write_json(folder / FILE, plain)


def read_run(folder: Path) -> dict[str, Any]:
    """Read ``run.json`` as plain values.

    Raises:
        ArtifactError: The folder holds no finished run, or one of another format.
    """
    if not (folder / FILE).exists():
        raise ArtifactError(f"{folder}: holds no finished run ({FILE}); run 'ilion run' first")
    plain = read_json(folder / FILE)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ArtifactError(f"{folder / FILE}: not of format {FORMAT}; run the experiment again")
    return plain


def read_evaluation(folder: Path) -> Evaluation:
    """Read the evaluation of a finished run.

    Raises:
        ArtifactError: See `read_run`.
    """
    return evaluation_from(read_run(folder)["evaluation"])


def evaluation_from(plain: Mapping[str, Any]) -> Evaluation:
    """Build an evaluation from the plain values in ``run.json``."""
    return Evaluation(
        definition=plain["definition"],
        k=plain["k"],
        ties=plain["ties"],
        query_ids=tuple(plain["query_ids"]),
        instances=tuple(plain["instances"]),
        per_query=np.array(plain["per_query"], np.float64),
        mean=plain["mean"],
        ci95=Interval(**plain["ci95"]),
        metrics=plain["metrics"],
        metric_ci95={name: Interval(**values) for name, values in plain["metric_ci95"].items()},
        per_query_metrics={n: np.array(v, np.float64) for n, v in plain["per_query_metrics"].items()},
        slices=tuple(SliceResult(**{**s, "ci95": Interval(**s["ci95"])}) for s in plain["slices"]),
        unreachable=plain["unreachable"],
    )


def cost_from(plain: Mapping[str, Any]) -> Cost:
    """Build a cost from the plain values in ``run.json``."""
    return Cost(**{**plain, "reused": tuple(plain["reused"]), "machine": Machine(**plain["machine"])})


def skipped_from(plain: list[dict[str, str]]) -> tuple[Skipped, ...]:
    """Build the skipped images from the plain values in ``run.json``."""
    return tuple(Skipped(**s) for s in plain)
