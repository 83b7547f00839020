"""First results compared again by a projection of each query's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.networks import tiny_network
from tests.reranking.test_quari import random_network

from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ConfigError
from ilion.pipeline import Pipeline
from ilion.pipeline.asking import Ready
from ilion.reranking.quari import QuariConfig, save


@pytest.mark.slow
def test_the_first_results_are_projected_and_the_others_stay_behind(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    network = random_network(QuariConfig(24, rank=2, width=16, steps=2, heads=2, layers=1), 0)
    save(network, tmp_path / "quari")

    def pipeline(**search: object) -> Pipeline:
        model = f"onnx:{tiny_network(tmp_path / 'tiny.onnx')}"
        return Pipeline(
            from_dict(
                ExperimentConfig,
                {
                    "output": str(tmp_path / "run"),
                    "dataset": {"path": str(tiny_dataset)},
                    "extraction": {"model": model, "workers": 1},
                    "search": search,
                },
            )
        )

    plain = pipeline()
    extracted, before = plain.extract(), plain.rank().ranking
    projected = pipeline(projection=str(tmp_path / "quari"), projection_first=5)
    after = projected.rank().ranking
    assert (np.diff(after.similarities, axis=1) <= 0).all()
    for number, projection in enumerate(network.project(extracted.queries.values)):
        rows = before.indices[number]
        scores = projection.compare(extracted.database.gather(rows[:5]))
        order = np.argsort(-scores, kind="stable")
        assert after.indices[number].tolist() == [*rows[:5][order], *rows[5:]]
        np.testing.assert_array_equal(after.similarities[number, :5], scores[order])
    answered = Ready(projected).answer(Ready(projected).stored()).ranking
    assert answered.to_dict() == after.to_dict()
    assert pipeline().rank().ranking.to_dict() == before.to_dict()
    save(random_network(QuariConfig(24, rank=2, width=16, steps=2, heads=2, layers=1), 1), tmp_path / "quari")
    other = pipeline(projection=str(tmp_path / "quari"), projection_first=5).rank().ranking
    assert other.to_dict() != after.to_dict()  # known by what the file holds, not by its name
    save(random_network(QuariConfig(8, rank=2, width=16, steps=2, heads=2, layers=1), 1), tmp_path / "quari")
    with pytest.raises(ConfigError, match="takes descriptors of 8 numbers"):
        pipeline(projection=str(tmp_path / "quari")).rank()
    with pytest.raises(ConfigError, match="no global descriptors to project"):
        pipeline(projection=str(tmp_path / "quari"), method="local").rank()
