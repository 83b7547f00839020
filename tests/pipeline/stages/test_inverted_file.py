"""ASMK as the first stage of the pipeline: what it finds, costs, resumes and refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes
from tests.scenes import encoded
from tests.stages import took
from typer.testing import CliRunner

from ilion import api, cli
from ilion.config import ExperimentConfig, dump_toml
from ilion.datasets import open_dataset
from ilion.errors import ConfigError, ExtractionError, ImageError
from ilion.extraction.local import describe_local
from ilion.localfeatures.base import LocalOptions, build
from ilion.pipeline import Pipeline
from ilion.searching import asmk
from ilion.types import RGB

WORDS = {"words": 64, "keypoints": 200, "side": 320}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asmk")
    scenes.write_photos(root)
    return root


def experiment(folder: Path, out: str = "run", **sections: Any) -> ExperimentConfig:
    search = {"method": "asmk", **sections.pop("search", {})}
    search["asmk"] = {**WORDS, **search.get("asmk", {})}
    dataset = {"shard_size": 12, **sections.pop("dataset", {})}
    config = scenes.experiment(folder, search=search, dataset=dataset, **sections)
    return dataclasses.replace(config, output=str(folder / out))


@pytest.mark.slow
def test_objects_are_found_without_any_global_descriptor(folder: Path) -> None:
    result = api.evaluate(experiment(folder))
    assert result.evaluation.mean > 0.8
    assert "ASMK of rootsift, 64 words" in result.design
    assert list(result.cost.stage_seconds) == ["codebook", "inverted file", "queries", "search"]
    assert not list((folder / "run" / "artifacts").glob("descriptors-*"))
    assert result.cost.bytes_per_image > 0
    assert result.cost.extraction_ms_per_image > 0
    assert result.cost.search_ms_per_query > 0
    assert result.cost.peak_memory_bytes > 0
    again = api.evaluate(experiment(folder))
    assert set(again.cost.reused) == {"codebook", "inverted file", "queries", "search"}
    assert again.evaluation.per_query.tolist() == result.evaluation.per_query.tolist()


@pytest.mark.slow
def test_the_pipeline_ranks_as_the_library(folder: Path, tmp_path: Path) -> None:
    """The same features, words and settings by hand: the pipeline adds nothing and loses nothing."""
    config = experiment(folder)
    pipeline = Pipeline(config)
    index = pipeline.prepare()
    extractor = build("rootsift", LocalOptions(features=200, side=320, selection="response"))
    dataset = open_dataset(folder / "photos")
    records = [r for shard in dataset.database for r in shard.records()]
    images = [(r.id, f) for r, f in describe_local(records, extractor, [], enlarge=True)]
    artifact = asmk.open_index(tmp_path, index.database.codebook, {})
    asmk.index_shard(artifact, "all", images, index.database.codebook, took)
    queries = [q.image for q in dataset.queries if q.image is not None]
    described = [f for _, f in describe_local(queries, extractor, [], box_use="crop", enlarge=True)]
    by_hand = asmk.search_postings(
        [q.id for q in dataset.queries], described, asmk.InvertedFile(artifact, ["all"])
    )
    found = pipeline.search(index).ranking
    assert found.database_ids == by_hand.database_ids
    np.testing.assert_allclose(found.similarities, by_hand.similarities, atol=2e-3)
    assert (found.indices[:, 0] == by_hand.indices[:, 0]).all()


@pytest.mark.slow
def test_a_lost_shard_is_indexed_again_and_settings_have_their_own_ranking(folder: Path) -> None:
    first = api.rank(experiment(folder))
    home = next((folder / "run" / "artifacts").glob("asmk-*"))
    [one, *_] = sorted(home.glob("*.ids.json"))
    one.unlink()
    second = api.rank(experiment(folder))
    np.testing.assert_array_equal(first.ranking.similarities, second.ranking.similarities)
    other = api.rank(experiment(folder, search={"asmk": {"votes": False}}))
    assert other.folder != first.folder
    assert (other.ranking.similarities != first.ranking.similarities).any()


@pytest.mark.slow
def test_reranking_goes_on_from_there(folder: Path) -> None:
    result = api.evaluate(experiment(folder, rerank={"features": "rootsift", "shortlist": 10}))
    assert result.reranking is not None
    assert result.reranking.shortlist == 10
    assert result.evaluation.mean >= result.reranking.before.mean - 0.05
    assert {"inverted file", "local features", "re-ranking"} <= set(result.cost.stage_seconds)
    plain = api.evaluate(experiment(folder))
    assert result.cost.bytes_per_image > plain.cost.bytes_per_image


@pytest.mark.slow
def test_bad_and_featureless_images_are_counted_or_ranked_last(tmp_path: Path) -> None:
    scenes.write_photos(tmp_path, objects=2, distractors=10)
    flat: RGB = np.full((100, 100, 3), 128, np.uint8)
    (tmp_path / "photos" / "distractors" / "flat.png").write_bytes(encoded(flat))
    bad = tmp_path / "photos" / "distractors" / "bad.png"
    bad.write_bytes(b"no image")
    small = {"asmk": {"words": 16}}
    with pytest.raises(ImageError, match="on-bad-image=skip"):
        api.evaluate(experiment(tmp_path, search=small))
    result = api.evaluate(experiment(tmp_path, search=small, extraction={"on_bad_image": "skip"}))
    assert [Path(s.where).name for s in result.skipped] == ["bad.png"]
    row = next(r for r, name in enumerate(result.ranking.database_ids) if "flat" in name)
    for q in range(2):
        place = result.ranking.indices[q].tolist().index(row)
        assert result.ranking.similarities[q, place] == 0


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"dataset": {"queries": "text"}}, ConfigError, "which a text query does not have"),
        ({"search": {"expansion": "alpha"}}, ConfigError, "no global descriptors to average"),
        ({"search": {"asmk": {"features": "orb"}}}, ConfigError, "these are bits"),
        ({"search": {"asmk": {"tau": 1.5}}}, ConfigError, "search.asmk.tau. must be from 0 to 1, got 1.5"),
        ({"search": {"asmk": {"bits": 100}}}, ConfigError, "bits in multiples of 64"),
        pytest.param(
            *({"search": {"asmk": {"words": 100_000}}}, ExtractionError, "too few to learn 100,000 words"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_is_said(
    folder: Path, sections: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        api.rank(experiment(folder, "other", **sections))


@pytest.mark.slow
def test_the_command_line_indexes_and_runs(folder: Path) -> None:
    (folder / "experiment.toml").write_text(dump_toml(experiment(folder)))
    done = CliRunner().invoke(cli.app, ["extract", str(folder / "experiment.toml"), "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["images"] == 31
    assert facts["size"].startswith("64 words, ")
    done = CliRunner().invoke(cli.app, ["run", str(folder / "experiment.toml"), "--json"])
    assert done.exit_code == 0, done.output
    assert (folder / "run" / "report.html").exists()
