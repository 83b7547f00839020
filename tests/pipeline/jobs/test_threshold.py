"""Thresholds of runs: searches without the asked object, and what is served with one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.test_asking import ready, settings

from ilion.api import index, run
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError
from ilion.pipeline import Pipeline
from ilion.pipeline.jobs.threshold import measure_searches, set_by_hand, set_threshold
from ilion.reranking.localisation import enclose
from ilion.storage.runs import THRESHOLD

DESIGNS = ["exact", "expansion", "codes", "asmk", "local", "read", "read only", "re-ranked"]


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_kept_out_is_a_search_among_the_other_photos(rendered: Path, tmp_path: Path, name: str) -> None:
    config = settings(rendered, tmp_path, "exact" if name == "expansion" else name)
    if name == "expansion":
        config = replace(config, search=replace(config.search, expansion="alpha"))
    result, _ = run(config)
    before = sorted(rendered.parent.rglob("*"))
    found = measure_searches(config.output)
    assert sorted(rendered.parent.rglob("*")) == before, "nothing is written"
    assert found.present.tolist() == result.ranking.similarities[:, 0].tolist()
    right = [r[0] in p for r, p in zip(result.ranking.indices, result.ground_truth.positives, strict=True)]
    assert found.right.tolist() == right
    asked = ready(config)
    for number, query in enumerate(Pipeline(config).queries):
        own = {
            p
            for q in result.dataset.queries
            if q.instance == query.instance
            for p in result.dataset.positives[q.id]
        }
        allowed = np.array([row for row, image in enumerate(asked.ids) if image not in own])
        answer = asked.ask([query], allowed=allowed).ranking
        assert int(answer.indices[0, 0]) in allowed
        assert found.absent[number] == pytest.approx(answer.similarities[0, 0], abs=1e-6)


@pytest.mark.slow
def test_a_threshold_travels_with_the_design_into_an_index(rendered: Path, tmp_path: Path) -> None:
    config = settings(rendered, tmp_path, "local")
    run(config)
    folder = Path(config.output)
    assert Design.of_run(folder).threshold is None
    made = set_threshold(folder, 0.5, 0.9)
    assert made.threshold is not None
    assert Design.of_run(folder).threshold == made.threshold
    known = measure_searches(folder)
    parts = index([folder], tmp_path / "index")
    for number, query in enumerate(Pipeline(config).queries):
        assert query.image is not None
        answer = parts.search(query.image.source.read(), box=enclose(query.image.boxes))
        assert answer.none is bool(known.present[number] < made.threshold)
        assert answer.objects, "the nearest are named also where none is the one"
    none = set_threshold(folder, 0.05, 0.9)
    assert none.threshold is None, "four objects promise nothing"
    assert Design.of_run(folder).threshold is None
    set_by_hand(folder, 2.0)
    assert Design.of_run(folder).threshold == 2.0
    run(replace(config, search=replace(config.search, k=30)))
    with pytest.raises(ConfigError, match="another result"):
        Design.of_run(folder)
    path = folder / THRESHOLD
    path.write_text(path.read_text("utf-8").replace("2.0", "0.1"), "utf-8")
    with pytest.raises(ArtifactError, match="checksum"):
        Design.of_run(folder)


@pytest.mark.slow
def test_what_cannot_be_kept_out_is_refused(rendered: Path, tmp_path: Path) -> None:
    config = settings(rendered, tmp_path, "expanded")
    run(config)
    with pytest.raises(ConfigError, match="database_expansion_top"):
        measure_searches(config.output)
    with pytest.raises(ConfigError, match="risk"):
        set_threshold(config.output, 1.5)
    with pytest.raises(ArtifactError, match="no finished run"):
        measure_searches(tmp_path / "nowhere")
