"""Scorers: what they say alone and through the pipeline, and what is refused before anything runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes
from tests.layers import glue_weights

from ilion import api, storage
from ilion.config import ExperimentConfig, load_experiment
from ilion.errors import ConfigError
from ilion.outcome import RunResult
from ilion.pipeline.stages.plan_rerank import plan_local
from ilion.reranking.ames.scoring import SetScorer
from ilion.reranking.lightglue import KINDS
from ilion.reranking.matching import nearest_tokens
from ilion.reranking.scorers import GEOMETRY_SHARE, Matcher, TokenScorer
from ilion.reranking.shortlist import Evidence, gather, rerank
from ilion.storage.statedict import write_state_dict
from ilion.types import Float32, LocalFeatures, Ranking


def features(values: Any) -> LocalFeatures:
    values = np.asarray(values)
    m = len(values)
    places = np.arange(2 * m, dtype=np.float32).reshape(m, 2)
    return LocalFeatures(places, values, np.ones(m, np.float32), (99, 99))


NOTHING = features(np.empty((0, 4), np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_chamfer_scores_are_what_their_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query, images = rng.standard_normal((6, 4)), [rng.standard_normal((n, 4)) for n in (3, 9)]

    def cosine(a: Any, b: Any) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    expected = [(1 + np.mean([max(cosine(q, x) for x in image) for q in query])) / 2 for image in images]
    found = TokenScorer().score(features(query), [*map(features, images), NOTHING])
    np.testing.assert_allclose(found.scores[:2], expected, rtol=1e-5)
    assert np.isnan(found.scores[2])
    assert found.inliers.tolist() == [0, 0, 0]
    assert np.isnan(TokenScorer().score(NOTHING, [features(query)]).scores[0])


def test_chamfer_on_bits_follows_the_angle() -> None:
    bits = np.random.default_rng(0).integers(0, 256, (40, 16), np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (40, 16), np.uint8)
    found = TokenScorer("hamming").score(features(bits), [features(bits), features(other), features(~bits)])
    assert found.scores[0] == pytest.approx(1)
    assert 0.4 < found.scores[1] < 0.8
    explained = TokenScorer("hamming").explain(features(bits), features(bits))
    assert explained.matches.query_rows.tolist() == explained.matches.database_rows.tolist()
    assert not explained.verification.inliers.any()
    assert explained.box is None


def test_the_pairs_shown_are_the_most_similar_ones() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((20, 8)), rng.standard_normal((30, 8))
    cosines = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    found = nearest_tokens(a, b, top=5)
    assert sorted(found.query_rows) == sorted(np.argsort(-cosines.max(axis=1))[:5])
    np.testing.assert_array_equal(found.database_rows, cosines[found.query_rows].argmax(axis=1))
    assert len(nearest_tokens(a[:0], b)) == 0
    assert len(nearest_tokens(a, b[:0])) == 0


class Logits:
    """A network that has its mind made up."""

    def score(self, query: LocalFeatures, database: Any) -> Float32:
        return np.array([-1000, 0, 4][: len(database)], np.float32)


def test_a_learned_score_is_a_sigmoid_and_unknown_without_features() -> None:
    some = features(np.ones((2, 4)))
    found = SetScorer(Logits().score, 0.5).score(some, [some, some, some])
    np.testing.assert_allclose(found.scores, [0, 0.5, 1 / (1 + np.exp(-2))], atol=1e-6)
    assert np.isnan(SetScorer(Logits().score, 0.5).score(some, [NOTHING]).scores[0])
    assert len(SetScorer(Logits().score, 0.5).explain(some, some).matches) == 0


class Stored:
    def __init__(self, images: list[LocalFeatures]) -> None:
        self.images = images

    def many(self, rows: Any) -> list[LocalFeatures]:
        return [self.images[row] for row in rows]


def test_an_image_without_features_neither_rises_nor_falls() -> None:
    rng = np.random.default_rng(0)
    query = features(rng.standard_normal((9, 4)))
    images = [features(rng.standard_normal((9, 4))) for _ in range(4)]
    images[2] = NOTHING
    same = np.full((1, 4), 0.5, np.float32)
    before = Ranking(("q",), tuple("abcd"), np.arange(4)[None], same, np.array([4]))
    found = gather(before, [query], Stored(images), TokenScorer())
    assert np.isnan(found.scores[0, 2])
    assert found.clock.sum() == pytest.approx(1)
    after = rerank(before, found, weight=1.0)
    known = np.sort(found.scores[0, [0, 1, 3]])
    place = after.indices[0].tolist().index(2)
    assert after.similarities[0, place] == pytest.approx(0.5 + known[1])
    unknown = Evidence(found.rows, found.inliers, np.full((1, 4), np.nan, np.float32), found.clock)
    assert rerank(before, unknown, weight=1.0).indices.tolist() == [[0, 1, 2, 3]]


# --- through the pipeline ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scorers")
    scenes.write_photos(root)
    return root


def experiment(folder: Path, **rerank_settings: Any) -> ExperimentConfig:
    return scenes.experiment(folder, rerank={"features": "rootsift", "keypoints": 150, **rerank_settings})


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"scorer": "chamfer"},
        {"scorer": "chamfer", "codec": "binary"},
        {"scorer": "chamfer", "budget": 2048, "fusion": "calibrated"},
        {"scorer": "geometry", "codec": "binary"},
    ],
)
def test_every_scorer_lifts_the_tiny_run(folder: Path, settings: dict[str, Any]) -> None:
    result = api.evaluate(experiment(folder, **settings))
    assert result.reranking is not None
    assert result.reranking.scorer == settings["scorer"]
    assert result.evaluation.mean > result.reranking.before.mean + 0.1
    explained = result.reranking.explain(0, int(result.ranking.indices[0, 0]))
    assert len(explained.matches) > 0
    if "budget" in settings:
        assert "by chamfer" in result.design
        assert result.reranking.folds is not None
        assert set(result.reranking.folds.tolist()) == {0, 1}


@pytest.mark.slow
def test_one_bit_a_dimension_is_what_is_stored(folder: Path) -> None:
    plain = api.evaluate(scenes.experiment(folder))
    result = api.evaluate(experiment(folder, scorer="chamfer", codec="binary"))
    assert result.cost.bytes_per_image - plain.cost.bytes_per_image < 150 * (16 + 10) + 20


@pytest.mark.slow
def test_a_shorter_shortlist_is_cut_from_a_longer_one(folder: Path, tmp_path: Path) -> None:
    def run(cache: str, shortlist: int) -> RunResult:
        config = experiment(folder, shortlist=shortlist)
        return api.evaluate(dataclasses.replace(config, cache=str(tmp_path / cache)))

    alone = run("alone", 10)
    longer = run("shared", 40)
    cut = run("shared", 10)
    np.testing.assert_array_equal(cut.ranking.indices, alone.ranking.indices)
    np.testing.assert_array_equal(cut.ranking.similarities, alone.ranking.similarities)
    taken, whole = (r.cost.stage_seconds["re-ranking"] for r in (cut, longer))
    assert 0 < taken < whole


@pytest.mark.slow
def test_a_budget_is_encoded_from_full_precision_when_that_is_there(folder: Path, tmp_path: Path) -> None:
    def run(cache: str, **settings: Any) -> RunResult:
        config = experiment(folder, budget=3000, **settings)
        return api.evaluate(dataclasses.replace(config, cache=str(tmp_path / cache)))

    def records(cache: str) -> dict[str, bytes]:
        """Stored features of the largest artifact with a learnt codec."""
        found = {}
        for path in (tmp_path / cache).glob("local-*/codec.json"):
            if json.loads(path.read_text())["settings"]["kind"] != "raw":
                found = {p.name: p.read_bytes() for p in path.parent.glob("*.bin")}
        return found

    alone = run("alone", keypoints=100)
    api.evaluate(dataclasses.replace(experiment(folder, keypoints=150), cache=str(tmp_path / "full")))
    again = run("full", keypoints=100)
    np.testing.assert_array_equal(alone.ranking.similarities, again.ranking.similarities)
    assert records("alone") == records("full") != {}
    assert again.cost.stage_seconds["local features"] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scorer": "ames"}, "needs rerank.weights"),
        ({"scorer": "ames", "weights": "w.pt", "features": "orb"}, "takes descriptors of real numbers"),
        ({"scorer": "lightglue", "codec": "binary"}, "keeps only their signs"),
        ({"scorer": "lightglue", "features": "akaze"}, "'lightglue' knows the features"),
        ({"scorer": "geometry", "weights": "some.pt"}, "'geometry' has none"),
        ({"features": "orb", "codec": "pq"}, "does not apply to descriptors that are bits"),
        ({"scorer": "lightglue", "features": "tokens:dinov2-s"}, "'lightglue' knows the features"),
        ({"shortlist": 0}, "rerank.shortlist. must be from 1"),
        ({"budget": 150}, "a budget of 150 bytes"),
        ({"features": "rotsift"}, "did you mean 'rootsift'"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_runs(
    folder: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    def run() -> None:
        api.evaluate(dataclasses.replace(experiment(folder, **settings), cache=str(tmp_path / "cache")))

    with pytest.raises(ConfigError, match=message):
        run()
    assert not (tmp_path / "cache").exists()


def test_floor_and_weight_follow_from_the_budget(folder: Path) -> None:
    floors = {}
    for budget in (1024, 2048, 4096, 0):
        plan = plan_local(experiment(folder, budget=budget, keypoints=500))
        assert isinstance(plan.scorer, Matcher)
        floors[budget] = plan.scorer.floor
        assert plan.weight == GEOMETRY_SHARE
    assert floors == {1024: 3, 2048: 3, 4096: 3, 0: 4}
    own = plan_local(experiment(folder, floor=7, weight=0.5))
    assert isinstance(own.scorer, Matcher)
    assert (own.scorer.floor, own.weight) == (7, 0.5)


def test_weights_are_found_beside_the_experiment(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text('[rerank]\nweights = "ames.pt"\n')
    assert load_experiment(path).rerank.weights == str(tmp_path / "ames.pt")
    assert load_experiment(path, ["rerank.weights=none"]).rerank.weights == "none"
    assert load_experiment(path, ['rerank.weights=""']).rerank.weights == ""


@pytest.mark.slow
def test_lightglue_needs_no_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    kind = KINDS["rootsift"]
    small = dataclasses.replace(kind, sizes=dataclasses.replace(kind.sizes, dim=16, heads=2, layers=2))
    monkeypatch.setitem(KINDS, "rootsift", small)
    write_state_dict(folder / "glue.pth", glue_weights(small.sizes))
    for settings in ({}, {"budget": 8192}):
        config = experiment(
            folder,
            scorer="lightglue",
            weights=str(folder / "glue.pth"),
            shortlist=3,
            keypoints=30,
            **settings,
        )
        result = api.evaluate(config)
        assert result.reranking is not None
        assert result.reranking.inliers is not None
        assert result.reranking.inliers.shape == (5, 3)
        result.reranking.explain(0, 0)
    other = dataclasses.replace(small, sizes=dataclasses.replace(small.sizes, given=64))
    monkeypatch.setitem(KINDS, "rootsift", other)  # as aliked:t16 has half of what LightGlue takes
    with pytest.raises(ConfigError, match=r"this network takes descriptors of 64 numbers; .* gives 128"):
        plan_local(config)


# --- with torch ---


@pytest.mark.extras
def test_ames_reranks_and_its_score_ranks_as_the_paper_combines(folder: Path) -> None:
    pytest.importorskip("torch")
    from ilion.reranking.ames import PUBLISHED_FUSION, AmesConfig, fuse, initialise, save

    save(initialise(AmesConfig(128, 32, 2, 1, 64, False), seed=0), folder / "small.pt")
    result = api.evaluate(experiment(folder, scorer="ames", weights=str(folder / "small.pt"), keypoints=40))
    assert result.reranking is not None
    before, after = result.reranking.ranking, result.ranking
    assert before is not None
    assert before is not None
    [path] = (p for p in (folder / "run" / "artifacts").glob("evidence-*/evidence.npz") if _by(p, "ames"))
    scores = storage.read_arrays(path)["scores"]
    published = PUBLISHED_FUSION["dinov2"]
    logits = np.log(scores[0] / (1 - scores[0])) / published.steepness
    expected = np.argsort(-fuse(before.similarities[0], logits.astype(np.float32), published), kind="stable")
    np.testing.assert_array_equal(after.indices[0], before.indices[0][expected])
    save(initialise(AmesConfig(64, 32, 2, 1, 64, False), seed=0), folder / "other.pt")
    with pytest.raises(ConfigError, match=r"takes descriptors of 64 numbers; .*'rootsift' gives 128"):
        plan_local(experiment(folder, scorer="ames", weights=str(folder / "other.pt")))


def _by(path: Path, scorer: str) -> bool:
    return bool(storage.load_artifact(path.parent).inputs["scorer"]["scorer"] == scorer)


@pytest.mark.extras
def test_lightglue_matches_are_verified(folder: Path) -> None:
    pytest.importorskip("kornia")
    for settings in ({}, {"budget": 8192}):
        config = experiment(folder, scorer="lightglue", weights="none", shortlist=3, keypoints=30, **settings)
        result = api.evaluate(config)
        assert result.reranking is not None
        assert result.reranking.inliers is not None
        assert result.reranking.inliers.shape == (5, 3)
        result.reranking.explain(0, 0)
