"""A design that is asked in memory answers as its evaluated run did."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.networks import tiny_network

from ilion.api import run
from ilion.config import ExperimentConfig, apply_overrides, from_dict
from ilion.config.design import Design
from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.pipeline import Pipeline
from ilion.pipeline.asking import Ready
from ilion.types import Query

SMALL = ["extraction.model=efficientnet-lite2", "extraction.side=96", "search.k=40"]
DESIGNS = {
    "exact": [],
    "expanded": ["search.expansion=alpha", "search.database_expansion_top=2"],
    "codes": ["search.method=compressed", "search.code=sq8", "search.shortlist=45"],
    "asmk": ["search.method=asmk", "search.asmk.words=64", "search.asmk.side=128"],
    "local": ["search.method=local", "search.local.side=160", "search.local.budget=4096"],
    "read": ["reading.use=fused", "reading.side=128"],
    "read only": ["reading.use=only", "reading.side=128"],
    "re-ranked": ["rerank.features=rootsift", "rerank.shortlist=20", "rerank.side=128", "rerank.budget=4096"],
}


def settings(rendered: Path, tmp_path: Path, name: str) -> ExperimentConfig:
    places = {"output": str(tmp_path / "run"), "cache": str(rendered.parent / "cache")}
    values = {**places, "dataset": {"path": str(rendered), "shard_size": 11}}
    return from_dict(ExperimentConfig, apply_overrides(values, [*SMALL, *DESIGNS[name]]))


def ready(config: ExperimentConfig, *, sealed: bool = False) -> Ready:
    whole = Pipeline(config)
    config = Design.of(config).experiment(whole.output / "index", whole.artifacts, config.dataset)
    return Ready(Pipeline(config, dataset=replace(whole.dataset, queries=(), positives={}), sealed=sealed))


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_asked_in_memory_it_answers_as_the_run(rendered: Path, tmp_path: Path, name: str) -> None:
    config = settings(rendered, tmp_path, name)
    pipeline = Pipeline(config)
    judged = pipeline.rank().ranking
    ready(config)
    index = ready(config, sealed=True)
    index.ask(pipeline.queries[:1])
    before = sorted(rendered.parent.rglob("*"))
    for number, query in enumerate(pipeline.queries):  # one by one, as they come to a server
        found = index.ask([query]).ranking
        assert found.indices.tolist() == [judged.indices[number].tolist()]
        assert found.similarities.tolist() == [judged.similarities[number].tolist()]
    assert sorted(rendered.parent.rglob("*")) == before, "nothing is written"


@pytest.mark.slow
def test_a_query_that_the_run_did_not_crop_is_not_cropped(tiny_dataset: Path, tmp_path: Path) -> None:
    model = f"onnx:{tiny_network(tmp_path / 'tiny.onnx')}"
    extraction = {"model": model, "like": "ilias", "workers": 1}
    values = {"output": str(tmp_path), "dataset": {"path": str(tiny_dataset)}, "extraction": extraction}
    pipeline = Pipeline(from_dict(ExperimentConfig, values))
    judged = pipeline.rank().ranking
    assert Ready(pipeline).ask(pipeline.queries).ranking.to_dict() == judged.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "codes", "asmk"])
def test_only_allowed_rows_are_ranked(
    rendered: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(rendered, tmp_path, name)
    index = ready(config)
    queries = Pipeline(config).queries
    # whatever is found in all of the database, without what is hidden
    whole = index.ask(queries, allowed=np.arange(len(index.ids))).ranking
    everything = replace(config, search=replace(config.search, k=len(index.ids), shortlist=10**6))
    order = ready(everything).ask(queries).ranking
    assert whole.indices.tolist() == order.indices[:, : whole.indices.shape[1]].tolist()
    for share in (0.5, 0.1, 0.0):
        rows = np.flatnonzero(np.random.default_rng(0).random(len(index.ids)) < share)
        for hidden in (0, 1024):
            monkeypatch.setattr("ilion.pipeline.stages.search.HIDDEN", hidden)
            found = index.ask(queries, allowed=rows).ranking
            wanted = [[r for r in line if r in set(rows.tolist())][:40] for line in order.indices.tolist()]
            assert [line[:n] for line, n in zip(found.indices.tolist(), found.counts, strict=True)] == wanted


@pytest.mark.slow
def test_photos_that_are_hidden_leave_their_places_to_others(rendered: Path, tmp_path: Path) -> None:
    """A photo's score knows its place among the verified ones, so it moves; what was sure is still found."""
    config = settings(rendered, tmp_path, "local")
    index = ready(config)
    queries = Pipeline(config).queries
    everything = index.ask(queries).ranking
    whole = index.ask(queries, allowed=np.arange(len(index.ids))).ranking
    assert whole.indices.tolist() == everything.indices.tolist()
    sure = 0
    for share in (0.5, 0.1, 0.0):
        rows = np.flatnonzero(np.random.default_rng(0).random(len(index.ids)) < share)
        found = index.ask(queries, allowed=rows).ranking
        assert found.counts.tolist() == [min(40, len(rows))] * len(queries)
        for line, before, values in zip(
            found.indices.tolist(), everything.indices, everything.similarities, strict=True
        ):
            assert len(set(line)) == len(line)
            assert set(line) <= set(rows.tolist())
            beyond_doubt = set(before[values >= 0.75].tolist()) & set(rows.tolist())
            assert beyond_doubt <= set(line[: 2 * len(beyond_doubt)])
            sure += len(beyond_doubt)
    assert sure > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["re-ranked", "local"])
def test_the_matches_of_an_answer_are_explained(rendered: Path, tmp_path: Path, name: str) -> None:
    config = settings(rendered, tmp_path, name)
    index, query = ready(config), Pipeline(config).queries[0]
    asked = index.ask([query])
    row = int(asked.ranking.indices[0, 0])
    assert asked.explain is not None
    assert asked.points is not None
    explained = asked.explain(0, row)
    found = int(explained.verification.inliers.sum())
    # without the rest of the database, the local search knows less about what a match is worth
    assert abs(found - asked.points[0][row]) <= (0 if name == "re-ranked" else 0.3 * found)


@pytest.mark.slow
def test_a_text_needs_a_model_that_reads_it(rendered: Path, tmp_path: Path) -> None:
    index = ready(settings(rendered, tmp_path, "asmk"))
    with pytest.raises(ExtractionError, match="a text does not have"):
        index.ask([Query("q", "", text="a red box")])
    photo = Pipeline(settings(rendered, tmp_path, "asmk")).queries[0]
    with pytest.raises(ExtractionError, match="not with both"):
        index.ask([photo, Query("q", "", text="a red box")])


@pytest.mark.slow
def test_what_is_missing_is_said_by_a_sealed_design(rendered: Path, tmp_path: Path) -> None:
    config = replace(settings(rendered, tmp_path, "asmk"), cache=str(tmp_path / "empty"))
    with pytest.raises(ArtifactError, match="parts are missing"):
        ready(config, sealed=True)


@pytest.mark.slow
def test_a_share_is_never_learnt_from_what_is_asked(rendered: Path, tmp_path: Path) -> None:
    config = settings(rendered, tmp_path, "re-ranked")
    config = replace(config, rerank=replace(config.rerank, fusion="calibrated"))
    with pytest.raises(ConfigError, match="calibrated"):
        ready(config)


def test_a_design_is_plain_values_and_back() -> None:
    design = Design("mine", seed=3, threshold=0.5)
    assert Design.from_plain(design.as_dict()) == design
    assert design.digest == dataclasses.replace(design, name="other").digest
    assert design.digest != dataclasses.replace(design, seed=4).digest


@pytest.mark.slow
def test_the_design_of_a_run_serves_the_share_that_was_learnt(rendered: Path, tmp_path: Path) -> None:
    config = settings(rendered, tmp_path, "re-ranked")
    config = replace(config, rerank=replace(config.rerank, fusion="calibrated"))
    result, _ = run(config)
    assert result.reranking is not None
    design = Design.of_run(tmp_path / "run")
    assert design.rerank.fusion == "score"
    assert design.rerank.weight == pytest.approx(float(np.nanmedian(result.reranking.weights)))
