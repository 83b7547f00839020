"""Look-alikes of a run: what is written, and what its stages know of the difference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.test_asking import settings

from ilion.api import run
from ilion.pipeline.jobs.lookalikes import FILE, lookalikes


@pytest.mark.slow
def test_confusions_of_a_run_are_written_with_what_differs(rendered: Path, tmp_path: Path) -> None:
    # so few and so small features that objects are mistaken
    config = settings(rendered, tmp_path, "re-ranked")
    result, _ = run(config)
    found = lookalikes(config.output, searches=100, wrong_pick=3, currency="EUR")
    ranks = [
        int(np.flatnonzero(np.isin(rows, right))[0]) if np.isin(rows, right).any() else -1
        for rows, right in zip(result.ranking.indices, result.ground_truth.positives, strict=True)
    ]
    assert found.wrong == sum(rank != 0 for rank in ranks)
    assert found.queries == len(ranks)
    assert found.pairs
    for pair in found.pairs:
        assert pair.asked != pair.shown
        assert pair.first <= pair.searches <= pair.of
        assert pair.cost is not None
        assert pair.advice
        for example in pair.examples:
            assert example.positive_rank is None or example.rank < example.positive_rank
            assert all(box.x >= 0 and box.width > 0 for box in example.differs)
    plain = json.loads((Path(config.output) / FILE).read_text("utf-8"))
    assert plain["format"] == 1
    assert len(plain["pairs"]) == len(found.pairs)
    assert lookalikes(result, searches=100, wrong_pick=3, currency="EUR").pairs == found.pairs
