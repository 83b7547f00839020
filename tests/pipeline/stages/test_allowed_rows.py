"""Filters never cost a result: search among some rows equals a naive loop over them, whatever their share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ilion import storage
from ilion.config import ExperimentConfig
from ilion.config.search import SearchConfig
from ilion.pipeline.stages.search import rank_descriptors
from ilion.runtime.machine import machine
from ilion.storage import DescriptorSet
from ilion.types import Descriptors

ROWS, DIM, K = 20_000, 32, 50


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[DescriptorSet, np.ndarray]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    artifact = storage.open_artifact(tmp_path_factory.mktemp("rows"), "descriptors", {})
    keys = []
    for start in range(0, ROWS, 7000):
        part = values[start : start + 7000]
        ids = tuple(str(row) for row in range(start, start + len(part)))
        keys.append(f"part-{start}")
        stats = storage.ShardStats(len(ids), 0.0, 0, machine())
        storage.write_descriptors(artifact, keys[-1], Descriptors(ids, part), stats)
    return DescriptorSet(artifact, keys), values


@pytest.mark.parametrize("hidden_at_most", [0, 1024])
@pytest.mark.parametrize("share", [0.9999, 0.5, 0.1, 0.01, 0.001, 0.0001])
def test_a_filter_costs_no_result(
    stored: tuple[DescriptorSet, np.ndarray],
    share: float,
    hidden_at_most: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ilion.pipeline.stages.search.HIDDEN", hidden_at_most)
    database, values = stored
    rng = np.random.default_rng(1)
    allowed = np.sort(rng.permutation(ROWS)[: round(share * ROWS)])
    queries = values[rng.permutation(ROWS)[:3]]
    config = ExperimentConfig(search=SearchConfig(method="exact", k=K))
    experiment = cast(
        Any,
        SimpleNamespace(
            config=config,
            results_kept=K,
            artifacts=tmp_path,
            dataset=SimpleNamespace(among={}),
            tell=lambda stage: lambda done, total: None,
        ),
    )
    asked = cast(Any, SimpleNamespace(queries=Descriptors(("a", "b", "c"), queries), database=database))
    found = rank_descriptors(experiment, asked, allowed)
    products = queries.astype(np.float64) @ values[allowed].astype(np.float64).T
    wanted = allowed[np.argsort(-products, axis=1, kind="stable")[:, :K]]
    assert found.indices.tolist() == wanted.tolist()
    assert found.counts.tolist() == [min(K, len(allowed))] * 3
