"""Search by local features as the first stage: what it finds, costs, resumes, explains and refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes
from tests.scenes import encoded

from ilion import api
from ilion.config import ExperimentConfig, dump_toml
from ilion.errors import ConfigError, ImageError
from ilion.pipeline import Pipeline
from ilion.pipeline.stages import photos as stage
from ilion.pipeline.stages import search as search_stage
from ilion.searching.local import shipped_model
from ilion.searching.local.postings import unpack_counts
from ilion.storage import load_artifact
from ilion.types import RGB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("local")
    scenes.write_photos(root)
    return root


def experiment(folder: Path, out: str = "run", **sections: Any) -> ExperimentConfig:
    search = {"method": "local", **sections.pop("search", {})}
    search["local"] = {"budget": 4096, "side": 320, **search.get("local", {})}
    dataset = {"shard_size": 12, **sections.pop("dataset", {})}
    config = scenes.experiment(folder, search=search, dataset=dataset, **sections)
    return dataclasses.replace(config, output=str(folder / out))


@pytest.mark.slow
def test_objects_are_found_without_a_fit(folder: Path) -> None:
    alone = experiment(folder, "alone")  # other tests store more in a run that they share
    result = api.evaluate(alone)
    assert result.evaluation.mean > 0.8
    assert "local features in 4096 B" in result.design
    assert list(result.cost.stage_seconds) == ["postings", "queries", "search"]
    home = folder / "alone" / "artifacts"
    assert sorted(p.name.split("-")[0] for p in home.iterdir()) == ["postings", "postings", "ranking"]
    assert result.cost.bytes_per_image > 0
    assert result.cost.search_ms_per_query > 0
    again = api.evaluate(alone)
    assert set(again.cost.reused) == {"postings", "queries", "search"}
    assert again.evaluation.per_query.tolist() == result.evaluation.per_query.tolist()


@pytest.mark.slow
def test_more_words_are_used_by_all_that_describes_searches_and_explains(folder: Path) -> None:
    """Down to a report that is drawn from stored files, and workers, which know the design only."""
    few = api.rank(experiment(folder))
    config = experiment(folder, "many", search={"local": {"words": 65536}}, compute={"processes": 2})
    result = api.evaluate(config)
    assert result.evaluation.mean > 0.8
    assert "local features in 4096 B, 65,536 words" in result.design
    home = next((folder / "many" / "artifacts").glob("postings-????????????????"))
    assert load_artifact(home).inputs["model"] == shipped_model(65536).digest
    counts = [unpack_counts(np.load(path), 65536) for path in home.glob("*.counts.npy")]
    assert counts
    assert all(np.flatnonzero(shown)[-1] > 16384 for shown in counts)
    assert few.ranking.similarities.tobytes() != result.ranking.similarities.tobytes()
    found = api.load_run(folder / "many").reranking
    assert found is not None
    assert found.explain is not None
    row = int(result.ranking.indices[0, 0])
    assert found.explain(0, row).verification.inliers.sum() > 5


@pytest.mark.slow
def test_kernels_are_compiled_before_a_search_is_timed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def ask(found: Any, index: stage.Photos) -> None:
        told.append("compiled")
        stage.ask_one(found, index)

    def rank(found: Any, index: stage.Photos) -> Any:
        told.append(f"{len(index.query_ids)} timed")
        return stage.rank_by_matches(found, index)

    monkeypatch.setattr(search_stage, "ask_one", ask)
    monkeypatch.setattr(search_stage, "rank_by_matches", rank)
    config = dataclasses.replace(experiment(folder), cache=str(tmp_path))
    for _ in range(2):
        result = api.evaluate(config)
    assert told == ["compiled", f"{len(result.ranking.query_ids)} timed"]


@pytest.mark.slow
def test_the_report_shows_verified_matches_also_of_a_finished_run(folder: Path) -> None:
    config = experiment(folder)
    result = api.evaluate(config)
    for run in (result, api.load_run(folder / "run")):
        found = run.reranking
        assert found is not None
        assert found.inliers is not None
        pair = found.explain(0, int(run.ranking.indices[0, 0]))
        assert pair.verification.inliers.sum() > 5
        assert pair.corners is not None
        page = api.report([folder / "run"]) if run is not result else Pipeline(config).write_report(run)
        text = page.read_text()
        assert "verified matches" in text
        assert "link-picture" in text


@pytest.mark.slow
def test_a_lost_shard_is_described_again_and_a_grown_one_takes_over(folder: Path, tmp_path: Path) -> None:
    first = api.rank(experiment(folder))
    home = next((folder / "run" / "artifacts").glob("postings-????????????????"))
    kept = {path.name: path.read_bytes() for path in home.glob("*.npy")}
    [one, *_] = sorted(home.glob("*.ids.json"))
    one.unlink()
    second = api.rank(experiment(folder))
    assert first.ranking.similarities.tobytes() == second.ranking.similarities.tobytes()
    assert kept == {path.name: path.read_bytes() for path in home.glob("*.npy")}


@pytest.mark.slow
def test_other_processes_store_the_same_bytes(folder: Path) -> None:
    here = api.rank(experiment(folder))
    away = api.rank(experiment(folder, "away", compute={"processes": 2}))
    assert here.ranking.similarities.tobytes() == away.ranking.similarities.tobytes()
    files = [
        {p.name: p.read_bytes() for p in (folder / out / "artifacts").glob("postings-*/*.npy")}
        for out in ("run", "away")
    ]
    assert len(files[0]) > 8
    assert files[0] == files[1]


@pytest.mark.slow
def test_reranking_goes_on_from_there(folder: Path) -> None:
    result = api.evaluate(experiment(folder, rerank={"features": "rootsift", "shortlist": 10}))
    assert result.reranking is not None
    assert result.reranking.fusion == "score"
    assert {"postings", "local features", "re-ranking"} <= set(result.cost.stage_seconds)


@pytest.mark.slow
def test_bad_and_featureless_photos_are_counted_or_ranked_last(tmp_path: Path) -> None:
    scenes.write_photos(tmp_path, objects=2, distractors=10)
    flat: RGB = np.full((100, 100, 3), 128, np.uint8)
    (tmp_path / "photos" / "distractors" / "flat.png").write_bytes(encoded(flat))
    (tmp_path / "photos" / "distractors" / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="on-bad-image=skip"):
        api.evaluate(experiment(tmp_path))
    result = api.evaluate(experiment(tmp_path, extraction={"on_bad_image": "skip"}))
    assert [Path(s.where).name for s in result.skipped] == ["bad.png"]
    row = next(r for r, name in enumerate(result.ranking.database_ids) if "flat" in name)
    for q in range(2):
        place = result.ranking.indices[q].tolist().index(row)
        assert result.ranking.similarities[q, place] == 0


@pytest.mark.slow
def test_budgets_are_swept(folder: Path) -> None:
    base = scenes.experiment(folder, extraction={"model": "auto"}, dataset={"shard_size": 12})
    (folder / "sweep.toml").write_text(dump_toml(base))
    found, _ = api.sweep(folder / "sweep.toml", ["search.local.budget=4096,1024"], ["search.local.side=320"])
    sizes = [run.cost.bytes_per_image for run in found.runs]
    assert len(sizes) == 2
    assert max(sizes) > min(sizes)


@pytest.mark.slow
def test_a_forecast_measures_parts_of_the_same_postings(tmp_path: Path) -> None:
    scenes.write_photos(tmp_path, objects=3, distractors=130)
    result, page = api.forecast(experiment(tmp_path), at=[100_000], sizes=[100, 130])
    assert page.exists()
    assert "local features in 4096 B" in page.read_text()
    assert [size for size, _ in result.runs] == [100, 130]
    assert len(list((tmp_path / "run" / "artifacts").glob("postings-*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("verb", [api.tune, api.export_features])
def test_verbs_about_global_descriptors_say_so(folder: Path, tmp_path: Path, verb: Any) -> None:
    with pytest.raises(ConfigError, match="this works on global descriptors"):
        verb(experiment(folder), tmp_path / "out")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"dataset": {"queries": "text"}}, "which a text query does not have"),
        ({"search": {"expansion": "alpha"}}, "no global descriptors to average"),
        ({"search": {"local": {"budget": 100}}}, "search.local.budget. must be from 1.024"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        api.rank(experiment(folder, "other", **sections))
