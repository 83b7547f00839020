"""Re-ranking: evidence, fusion, calibration, and the stage in the pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes
from tests.scenes import write_photos

from ilion import api
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, ConfigError
from ilion.reranking.scorers import Matcher
from ilion.reranking.shortlist import Evidence, gather, rerank
from ilion.searching.fusion import by_rank, by_score, calibrate
from ilion.types import Float32, Int64, LocalFeatures, Ranking


def features(seed: int, count: int, shift: float = 0.0) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 100, (count, 2)).astype(np.float32)
    descriptors = rng.standard_normal((count, 32)).astype(np.float32)
    ones = np.ones(count, np.float32)
    return LocalFeatures(places + np.float32(shift), descriptors, ones, (120, 120), ones, 0 * ones)


class Stored:
    """Features in memory; asked for rows in chunks."""

    def __init__(self, images: Sequence[LocalFeatures]) -> None:
        self.images = images

    def many(self, rows: Sequence[int]) -> list[LocalFeatures]:
        return [self.images[row] for row in rows]


def ranking(rows: list[list[int]], n: int) -> Ranking:
    k = max(len(r) for r in rows)
    indices = np.full((len(rows), k), -1, np.int64)
    similarities = np.full((len(rows), k), -np.inf, np.float32)
    for q, row in enumerate(rows):
        indices[q, : len(row)] = row
        similarities[q, : len(row)] = 0.9 - 0.1 * np.arange(len(row))
    counts = np.array([len(r) for r in rows])
    return Ranking(
        tuple(f"q{q}" for q in range(len(rows))),
        tuple(f"d{i}" for i in range(n)),
        indices,
        similarities,
        counts,
    )


def evidence_of(rows: Int64, scores: Float32) -> Evidence:
    return Evidence(rows, np.zeros(rows.shape, np.int64), scores, np.zeros(rows.shape, np.float32))


def test_the_image_that_shows_the_object_moves_up_and_the_rest_stays() -> None:
    images = [
        features(10, 40),
        features(11, 40),
        features(1, 40, shift=5.0),
        features(12, 40),
        features(1, 40),
    ]
    before = ranking([[0, 1, 2, 3, 4], [3, 0]], 5)
    found = gather(
        before, [features(1, 40), features(99, 40)], Stored(images), Matcher(), shortlist=3, workers=2
    )
    assert found.rows.tolist() == [[0, 1, 2], [3, 0, -1]]
    assert found.inliers[0].tolist() == [0, 0, 40]
    assert found.inliers[1].tolist() == [0, 0, 0]
    after = rerank(before, found, weight=1.0)
    assert after.indices.tolist() == [[2, 0, 1, 3, 4], [3, 0, -1, -1, -1]]
    assert after.similarities[0, 0] == pytest.approx(0.7 + np.log1p(40 - Matcher().floor))
    by_ranks = rerank(before, found, fusion="rank")
    assert by_ranks.indices[0].tolist() == [2, 0, 1, 3, 4] or by_ranks.indices[0, 0] == 0
    assert sorted(by_ranks.indices[0, :3].tolist()) == [0, 1, 2]


def test_without_evidence_nothing_changes() -> None:
    before = ranking([[3, 1, 2, 0]], 4)
    nothing = evidence_of(before.indices.copy(), np.zeros((1, 4), np.float32))
    for fusion in ("score", "rank"):
        after = rerank(before, nothing, fusion=fusion)
        np.testing.assert_array_equal(after.indices, before.indices)
    np.testing.assert_array_equal(rerank(before, nothing).similarities, before.similarities)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fusion", ["score", "rank"])
def test_only_the_shortlist_is_permuted(seed: int, fusion: Any) -> None:
    rng = np.random.default_rng(seed)
    k, size = int(rng.integers(1, 30)), int(rng.integers(1, 30))
    before = ranking([rng.permutation(40)[:k].tolist() for _ in range(3)], 40)
    size = min(size, k)
    scores = (rng.random((3, size)) * (rng.random((3, size)) < 0.5)).astype(np.float32)
    evidence = evidence_of(before.indices[:, :size].copy(), scores)
    after = rerank(before, evidence, fusion=fusion, weight=float(rng.random()))
    for q in range(3):
        assert sorted(after.indices[q, :size]) == sorted(before.indices[q, :size])
    np.testing.assert_array_equal(after.indices[:, size:], before.indices[:, size:])


def test_images_that_show_nothing_or_one_keypoint_are_handled() -> None:
    empty, one = features(0, 0), features(1, 1)
    before = ranking([[0, 1, 2]], 3)
    for query in (empty, one, features(1, 40)):
        found = gather(before, [query], Stored([empty, one, features(1, 40)]), Matcher())
        assert found.inliers[0, :2].tolist() == [0, 0]
    with pytest.raises(ArtifactError, match="local features of 1 query for 2 rankings"):
        gather(ranking([[0], [0]], 1), [empty], Stored([empty]), Matcher())


def test_rank_fusion_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    similarities = np.sort(rng.random(9).astype(np.float32))[::-1]
    local = rng.random(9).astype(np.float32) * np.array([1, 0, 1, 1, 0, 1, 0, 1, 1], np.float32)
    expected = []
    for i in range(9):
        local_rank = 1 + sum(value > local[i] for value in local) if local[i] > 0 else 9
        expected.append(1 / (60 + i + 1) + 1 / (60 + local_rank))
    np.testing.assert_allclose(by_rank(similarities, local), expected, rtol=1e-6)
    np.testing.assert_allclose(by_score(similarities, local, 0.5), similarities + 0.5 * local)


def test_a_weight_is_learnt_from_other_objects_only() -> None:
    groups = ["a", "a", "b", "c", "c", "d"]
    asked: list[tuple[int, ...]] = []

    def score(weight: float, queries: Sequence[int]) -> float:
        asked.append(tuple(queries))
        return -abs(weight - (0.32 if 0 in queries else 0.02))

    found = calibrate(score, groups, folds=2, seed=1)
    weights = found.weights
    assert set(weights.tolist()) == {0.32, 0.02}
    for fold in set(asked):
        assert {groups[q] for q in fold}.isdisjoint({groups[q] for q in range(6) if q not in fold})
    assert weights[0] == 0.02  # what object a uses was learnt where it did not take part
    assert found.fold[0] == found.fold[1]
    assert set(found.fold.tolist()) == {0, 1}
    assert np.isnan(calibrate(score, ["a", "a"]).weights).all()


# --- in the pipeline ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five objects in cluttered scenes, sixteen distractors."""
    root = tmp_path_factory.mktemp("rerank")
    write_photos(root)
    return root


def experiment(folder: Path, **rerank_settings: Any) -> ExperimentConfig:
    return scenes.experiment(folder, rerank=rerank_settings)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["score", "calibrated", "rank"])
def test_reranking_lifts_the_tiny_run(folder: Path, fusion: str) -> None:
    plain = api.evaluate(experiment(folder))
    better = api.evaluate(experiment(folder, features="rootsift", fusion=fusion))
    assert better.reranking is not None
    assert better.reranking.before.mean == plain.evaluation.mean
    assert better.evaluation.mean > plain.evaluation.mean + 0.2
    assert better.cost.bytes_per_image > plain.cost.bytes_per_image
    assert better.reranking.missing == 0
    explained = better.reranking.explain(0, int(better.ranking.indices[0, 0]))
    assert explained.box is not None
    assert explained.verification.inliers.sum() >= 10
    again = api.evaluate(experiment(folder, features="rootsift", fusion=fusion))
    assert {"local features", "local queries", "codec", "re-ranking"} <= set(again.cost.reused)
    assert again.evaluation.per_query.tolist() == better.evaluation.per_query.tolist()


@pytest.mark.slow
def test_a_budget_bounds_the_bytes_and_keeps_a_gain(folder: Path) -> None:
    plain = api.evaluate(experiment(folder))
    small = api.evaluate(experiment(folder, features="rootsift", budget=2048))
    assert 0 < small.cost.bytes_per_image - plain.cost.bytes_per_image <= 2048
    assert small.evaluation.mean > plain.evaluation.mean + 0.1


@pytest.mark.slow
def test_a_finished_run_tells_again_what_reranking_did(folder: Path, tmp_path: Path) -> None:
    config = replace(
        experiment(folder, features="rootsift", keypoints=150, budget=1024, fusion="calibrated"),
        output=str(tmp_path),
    )
    silent = api.evaluate(config).reranking
    assert silent is not None
    assert silent.full is None
    config = replace(config, rerank=replace(config.rerank, diagnose=True))
    result = api.evaluate(config)
    told, again = result.reranking, api.load_run(tmp_path).reranking
    assert told is not None
    assert again is not None
    for name in ("ledger", "change", "full", "shortlist", "fusion", "scorer", "missing", "sources"):
        assert getattr(again, name) == getattr(told, name), name
    assert again.before.per_query.tolist() == told.before.per_query.tolist()
    np.testing.assert_array_equal(again.weights, told.weights)
    np.testing.assert_array_equal(again.inliers, told.inliers)
    row = int(result.ranking.indices[0, 0])
    first, second = (each.explain(0, row) for each in (told, again))
    assert first.box == second.box
    assert first.verification.inliers.tolist() == second.verification.inliers.tolist()

    assert told.ledger is not None
    assert told.full is not None
    assert told.ledger.after == pytest.approx(result.evaluation.mean)
    assert told.change is not None
    assert told.change.difference == pytest.approx(result.evaluation.mean - told.before.mean)
    whole = api.evaluate(replace(config, rerank=replace(config.rerank, budget=0, diagnose=False)))
    assert told.full.mean == pytest.approx(whole.evaluation.mean)
    assert told.full.bytes_per_image > 5 * 1024
    # now that such a run has left its evidence, what compression costs is known without asking
    known = api.evaluate(replace(config, rerank=replace(config.rerank, diagnose=False))).reranking
    assert known is not None
    assert known.full == told.full

    for lost in (tmp_path / "artifacts").glob("local-*"):
        shutil.rmtree(lost)
    page = api.report([tmp_path]).read_text("utf-8")
    assert "Matches cannot be drawn" in page
    for lost in (tmp_path / "artifacts").glob("evidence-*"):
        shutil.rmtree(lost)
    partly = api.load_run(tmp_path).reranking
    assert partly is not None
    assert partly.ranking is None
    with pytest.raises(ArtifactError, match="gone; run the experiment again"):
        partly.explain(0, row)
    assert "no longer stored" in api.report([tmp_path]).read_text("utf-8")


def test_texts_have_no_local_features(folder: Path) -> None:
    (folder / "photos" / "objects.csv").write_text("object,description\nobject 0,a thing\n", encoding="utf-8")
    config = experiment(folder, features="rootsift")
    try:
        with pytest.raises(ConfigError, match="a text query has no local features"):
            api.evaluate(from_dict(ExperimentConfig, {**_plain(config), "dataset": _texts(folder)}))
    finally:
        (folder / "photos" / "objects.csv").unlink()


def _plain(config: ExperimentConfig) -> dict[str, Any]:
    from ilion.config import to_dict

    return to_dict(config)


def _texts(folder: Path) -> dict[str, Any]:
    return {"path": str(folder / "photos"), "queries": "text"}
