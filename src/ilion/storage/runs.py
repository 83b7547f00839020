"""A finished run on disk: ``run.json`` in its output folder holds all numbers, for later comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilion.errors import ArtifactError
from ilion.outcome import (
    Change,
    Cost,
    Evaluation,
    FullPrecision,
    Interval,
    Ledger,
    Machine,
    MissingShard,
    Reading,
    Reranking,
    RunResult,
    Skipped,
    SliceResult,
)
from ilion.storage import read_json, write_json
from ilion.types import Float32

FORMAT = 1
"""Of ``run.json``."""
FILE = "run.json"


def write_run(folder: Path, result: RunResult) -> None:
    """Store a run's numbers.

    Args:
        folder: Output folder of the run.
        result: The run.
    """
    plain = {
        "format": FORMAT,
        "name": result.name,
        "design": result.design,
        "evaluation": _plain_evaluation(result.evaluation),
        "cost": result.cost,
        "skipped": result.skipped,
        "missing": result.missing,
        "provenance": result.provenance,
    }
    if result.reranking is not None:
        plain["reranking"] = _plain_reranking(result.reranking)
    if result.reading is not None:
        plain["reading"] = _plain_reading(result.reading)
    write_json(folder / FILE, plain)


def _plain_evaluation(e: Evaluation) -> dict[str, Any]:
    return {
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
    }


def _plain_reranking(r: Reranking) -> dict[str, Any]:
    """Everything but what artifacts hold."""
    return {
        "before": _plain_evaluation(r.before),
        "shortlist": r.shortlist,
        "weights": _plain_weights(r.weights),
        "fusion": r.fusion,
        "missing": r.missing,
        "scorer": r.scorer,
        "folds": None if r.folds is None else r.folds.tolist(),
        "ledger": r.ledger,
        "change": r.change,
        "full": r.full,
        "sources": dict(r.sources),
    }


def _plain_reading(r: Reading) -> dict[str, Any]:
    """Everything but the texts, which artifacts hold."""
    return {
        "use": r.use,
        "fusion": r.fusion,
        "weights": _plain_weights(r.weights),
        "folds": r.folds.tolist(),
        "before": None if r.before is None else _plain_evaluation(r.before),
        "change": r.change,
        "with_text": r.with_text,
        "silent": r.silent,
        "ms_per_image": r.ms_per_image,
        "bytes_per_image": r.bytes_per_image,
        "sources": dict(r.sources),
    }


def _plain_weights(weights: Float32) -> list[float | None]:
    return [None if np.isnan(weight) else float(weight) for weight in weights]


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


def missing_from(plain: list[dict[str, Any]]) -> tuple[MissingShard, ...]:
    """Build the missing shards from the plain values in ``run.json``."""
    return tuple(MissingShard(**m) for m in plain)


def skipped_from(plain: list[dict[str, str]]) -> tuple[Skipped, ...]:
    """Build the skipped images from the plain values in ``run.json``."""
    return tuple(Skipped(**s) for s in plain)


def reranking_from(plain: Mapping[str, Any]) -> Reranking:
    """Build what re-ranking changed from the plain values in ``run.json``, without what artifacts hold."""

    def explain(query: int, row: int) -> Any:
        raise ArtifactError("the evidence of this run is gone; run the experiment again")

    full = plain["full"]
    return Reranking(
        before=evaluation_from(plain["before"]),
        ranking=None,
        shortlist=plain["shortlist"],
        inliers=None,
        weights=_weights_from(plain["weights"]),
        fusion=plain["fusion"],
        missing=plain["missing"],
        explain=explain,
        scorer=plain["scorer"],
        folds=None if plain["folds"] is None else np.array(plain["folds"], np.int64),
        ledger=None if plain["ledger"] is None else Ledger(**plain["ledger"]),
        change=None if plain["change"] is None else _change_from(plain["change"]),
        full=None if full is None else FullPrecision(**{**full, "change": _change_from(full["change"])}),
        sources=plain["sources"],
    )


def reading_from(plain: Mapping[str, Any]) -> Reading:
    """Build what reading did from the plain values in ``run.json``, without the texts."""
    return Reading(
        use=plain["use"],
        fusion=plain["fusion"],
        weights=_weights_from(plain["weights"]),
        folds=np.array(plain["folds"], np.int64),
        before=None if plain["before"] is None else evaluation_from(plain["before"]),
        change=None if plain["change"] is None else _change_from(plain["change"]),
        with_text=plain["with_text"],
        silent=plain["silent"],
        ms_per_image=plain["ms_per_image"],
        bytes_per_image=plain["bytes_per_image"],
        explain=None,
        sources={kind: tuple(names) for kind, names in plain["sources"].items()},
    )


def _weights_from(plain: list[float | None]) -> Float32:
    return np.array([np.nan if weight is None else weight for weight in plain], np.float32)


def _change_from(plain: Mapping[str, Any]) -> Change:
    return Change(**{**plain, "ci95": Interval(**plain["ci95"])})
