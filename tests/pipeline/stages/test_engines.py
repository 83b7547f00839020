"""Search engines and metrics from outside, in a whole run: as the built-in ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from tests.networks import tiny_network
from typer.testing import CliRunner

from ilion import api, cli
from ilion.config import ExperimentConfig, from_dict, load_experiment, to_dict
from ilion.config.search import SearchConfig
from ilion.errors import ConfigError
from ilion.evaluation.evaluate import positives_ranks
from ilion.evaluation.metrics import METRICS
from ilion.outcome import RunResult
from ilion.searching.engines import ENGINES
from ilion.storage import DescriptorSet
from ilion.types import Float32, Int64, Ranking

Register = Callable[..., None]


def plain_search(
    query_ids: Sequence[str], queries: Float32, database: DescriptorSet, *, k: int, threads: int
) -> Ranking:
    """Multiply everything, in float64."""
    values = queries.astype(np.float64) @ np.concatenate(list(database.blocks(7))).astype(np.float64).T
    kept = min(k, len(database))
    rows = np.argsort(-values.astype(np.float32), axis=1, kind="stable")[:, :kept]
    similarities = np.take_along_axis(values, rows, axis=1).astype(np.float32)
    return Ranking(tuple(query_ids), database.ids, rows, similarities, np.full(len(queries), kept))


def last_rank(ranks: Int64, positives: int, k: int) -> float:
    """Tell how far one must look for all positives, as a share of the cut-off."""
    return float(ranks[-1]) / k if len(ranks) == positives else 1.0


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Register for one test."""
    for registry in (ENGINES, METRICS):
        registry.parts()
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))

    def add(registry: Any, name: str, function: object, digest: str = "") -> None:
        registry.register(name)(function)
        if digest:
            registry._parts[name] = replace(registry._parts[name], digest=digest)

    return add


@pytest.fixture
def experiment(tiny_dataset: Path, tmp_path: Path) -> Callable[..., ExperimentConfig]:
    network = tiny_network(tmp_path / "tiny.onnx")

    def make(
        output: str, method: str = "exact", metrics: tuple[str, ...] = (), **search: Any
    ) -> ExperimentConfig:
        config = from_dict(
            ExperimentConfig,
            {
                "output": str(tmp_path / output),
                "cache": str(tmp_path / "cache"),
                "dataset": {"path": str(tiny_dataset), "shard_size": 4},
                "extraction": {"model": f"onnx:{network}", "threads": 1, "workers": 2},
                "evaluation": {"k": 10, "bootstrap": 50, "metrics": list(metrics)},
            },
        )
        return replace(config, search=SearchConfig(method=method, **search))

    return make


def example(page: str, name: str) -> str:
    """Return the code of the documentation that defines a function."""
    text = (Path(__file__).parents[3] / "docs" / page).read_text(encoding="utf-8")
    (code,) = (
        str(block) for block in re.findall(r"```python\n(.*?)```", text, re.S) if f"def {name}(" in block
    )
    return code


def numbers(result: RunResult) -> tuple[Any, ...]:
    return result.ranking.indices.tolist(), result.ranking.similarities.tolist(), result.evaluation.mean


def test_an_engine_from_outside_is_run_resumed_and_judged_like_a_built_in_one(
    experiment: Callable[..., ExperimentConfig], register: Register, tmp_path: Path
) -> None:
    called = []

    def counted(*args: Any, **settings: Any) -> Ranking:
        called.append(settings)
        return plain_search(*args, **settings)

    exact = api.evaluate(experiment("exact"))
    register(ENGINES, "plain", counted)
    first = api.evaluate(experiment("plain", "plain"))
    assert numbers(first) == numbers(exact)
    assert called == [{"k": 1000, "threads": 0}]
    assert "search" not in first.cost.reused
    again = api.evaluate(experiment("again", "plain"))
    assert "search" in again.cost.reused
    assert len(called) == 1
    register(ENGINES, "plain", counted, digest="of other code")
    assert "search" not in api.evaluate(experiment("changed", "plain")).cost.reused
    assert len(called) == 2
    assert "search" in api.evaluate(experiment("exact")).cost.reused


def test_query_expansion_looks_through_the_engine(
    experiment: Callable[..., ExperimentConfig], register: Register
) -> None:
    register(ENGINES, "plain", plain_search)
    expanded = {"expansion": "alpha", "database_expansion_top": 2}
    found = [api.evaluate(experiment(m, m, **expanded)) for m in ("exact", "plain")]
    assert numbers(found[0]) == numbers(found[1])


def test_what_an_engine_returns_is_checked(
    experiment: Callable[..., ExperimentConfig], register: Register
) -> None:
    def other_queries(query_ids: Sequence[str], *args: Any, **settings: Any) -> Ranking:
        return plain_search([f"{query}?" for query in query_ids], *args, **settings)

    def other_database(*args: Any, **settings: Any) -> Ranking:
        ranking = plain_search(*args, **settings)
        return replace(ranking, database_ids=tuple(reversed(ranking.database_ids)))

    def too_many(*args: Any, k: int, threads: int) -> Ranking:
        return plain_search(*args, k=k + 1, threads=threads)

    def broken(*args: Any, **settings: Any) -> Ranking:
        raise ZeroDivisionError("nothing there")

    for number, (engine, message) in enumerate(
        (
            (other_queries, "ranking of other queries"),
            (other_database, "or over another database"),
            (too_many, "returned 11 results a query, asked for 10"),
            (broken, "failed: ZeroDivisionError: nothing there"),
            (lambda *args, **settings: [], "returned list, not a Ranking"),
        )
    ):
        register(ENGINES, f"wrong{number}", engine)
        with pytest.raises(ConfigError, match=f"search.method = 'wrong{number}'.*{message}"):
            api.evaluate(experiment(f"out{number}", f"wrong{number}", k=10))


def test_a_metric_from_outside_goes_wherever_metrics_go(
    experiment: Callable[..., ExperimentConfig],
    register: Register,
    tmp_path: Path,
) -> None:
    register(METRICS, "last_rank", last_rank)
    result, report = api.run(experiment("a", metrics=("last_rank", "P@4")))
    plain = api.evaluate(experiment("b"))
    names = [*plain.evaluation.metrics, "last_rank@10", "P@4"]
    assert list(result.evaluation.metrics) == names
    stored = json.loads((tmp_path / "a" / "run.json").read_text())["evaluation"]
    assert stored["metrics"] == dict(result.evaluation.metrics)
    assert (
        stored["per_query_metrics"]["last_rank@10"]
        == result.evaluation.per_query_metrics["last_rank@10"].tolist()
    )
    low, high = (stored["metric_ci95"]["last_rank@10"][end] for end in ("low", "high"))
    assert low <= stored["metrics"]["last_rank@10"] <= high
    assert "last_rank@10" in report.read_text()
    api.evaluate(experiment("c", metrics=("last_rank",), expansion="average"))
    two = ["compare", str(tmp_path / "a"), str(tmp_path / "c"), "--metric"]
    shown = CliRunner().invoke(cli.app, [*two, "last_rank@10"]).output
    assert shown.startswith(f"last_rank@10: a {result.evaluation.metrics['last_rank@10']:.4f}, b ")
    with pytest.raises(ConfigError, match="a run has no metric 'P@4'"):
        api.compare(tmp_path / "a", tmp_path / "c", metric="P@4")


@pytest.mark.slow
def test_the_examples_in_the_docs_run(experiment: Callable[..., ExperimentConfig], tmp_path: Path) -> None:
    exact = api.evaluate(experiment("exact"))
    own = example("search.md", "hnsw") + example("metrics.md", "reciprocal_rank")
    (tmp_path / "own.py").write_text(own)
    settings = to_dict(experiment("mine"))
    settings["trust"] = ["own.py"]
    settings["search"]["method"] = "own.py:hnsw"
    settings["evaluation"]["metrics"] = ["own.py:reciprocal_rank", "own.py:reciprocal_rank@3", "P@4"]
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(settings))
    result = api.evaluate(load_experiment(path))
    assert result.ranking.indices.tolist() == exact.ranking.indices.tolist()
    assert result.evaluation.mean == exact.evaluation.mean
    first = [ranks[ranks > 0].min() for ranks in positives_ranks(result.ranking, result.ground_truth)]
    wanted = [1 / rank if rank <= 10 else 0 for rank in first]
    assert result.evaluation.per_query_metrics["reciprocal_rank@10"].tolist() == wanted
    assert {"reciprocal_rank@3", "P@4"} <= set(result.evaluation.metrics)
    again = api.load_run(tmp_path / "mine")
    assert again.evaluation.metrics == result.evaluation.metrics
    assert "search" in api.evaluate(load_experiment(path)).cost.reused
    (tmp_path / "own.py").write_text(own + "# changed")
    assert "search" not in api.evaluate(load_experiment(path)).cost.reused


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("search.method=exakt", "search.method: no search method is named 'exakt'; did you mean 'exact'"),
        ("search.method=own.py:search", r'search.method: .*allow it: trust = \[".*own.py"\]'),
        ("evaluation.metrics=['recal@5']", "evaluation.metrics: no metric is named 'recal'; did you mean"),
        ("evaluation.metrics=['P@2000']", r"metric 'P@2000': its cut-off must be from 1 to 1000"),
        ("evaluation.metrics=['own.py:f@5']", r"evaluation.metrics: .*allow it: trust = "),
    ],
)
def test_names_are_checked_before_anything_runs(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_experiment(tmp_path, [setting])
