"""Re-ranking where pictures and texts ask side by side: texts keep what the first stage found."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes
from tests.networks import read_texts

from ilion import api
from ilion.config import ExperimentConfig
from ilion.errors import ConfigError
from ilion.outcome import RunResult
from ilion.report.sections.moves import choose_moves
from ilion.reranking.shortlist import Evidence, rerank
from ilion.types import Bool, Ranking

OBJECTS = 5
LOCAL = {"features": "rootsift", "keypoints": 150}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five objects with a picture and a description each, sixteen distractors."""
    root = tmp_path_factory.mktemp("both")
    scenes.write_photos(root, objects=OBJECTS)
    lines = [f"object {number},{'a thing ' * (number + 1)}" for number in range(OBJECTS)]
    (root / "photos" / "objects.csv").write_text("\n".join(["object,description", *lines]), encoding="utf-8")
    return root


def experiment(folder: Path, queries: str = "both", **sections: Any) -> ExperimentConfig:
    dataset = {"path": str(folder / "photos"), "queries": queries}
    return scenes.experiment(folder, dataset=dataset, **sections)


def texts(result: RunResult) -> Bool:
    asked = {query.id for query in result.dataset.queries if query.text is not None}
    found = np.array([name in asked for name in result.ranking.query_ids])
    assert found.sum() == OBJECTS
    return found


def same(one: Ranking, other: Ranking, of: Bool) -> None:
    """Check that some queries of one ranking are all queries of another, or the same queries of it."""
    there = of if len(other.query_ids) == len(of) else np.ones(len(other.query_ids), np.bool_)
    assert one.indices[of].tolist() == other.indices[there].tolist()
    assert one.similarities[of].tobytes() == other.similarities[there].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["score", "calibrated", "rank"])
def test_pictures_are_reranked_and_texts_stay(
    folder: Path, fusion: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read_texts(monkeypatch)
    plain = api.evaluate(experiment(folder))
    pictures = api.evaluate(experiment(folder, "image", rerank={**LOCAL, "fusion": fusion}))
    with caplog.at_level(logging.INFO, "ilion"):
        both = api.evaluate(experiment(folder, rerank={**LOCAL, "fusion": fusion}))
    assert "5 text queries have no local features and keep their results" in caplog.text
    of_text = texts(both)
    same(both.ranking, plain.ranking, of_text)
    same(both.ranking, pictures.ranking, ~of_text)
    assert both.ranking.indices[~of_text].tolist() != plain.ranking.indices[~of_text].tolist()
    told, alone = both.reranking, pictures.reranking
    assert told is not None
    assert alone is not None
    assert np.isnan(told.weights[of_text]).all()
    np.testing.assert_array_equal(told.weights[~of_text], alone.weights)
    assert told.missing == 0


@pytest.mark.slow
def test_the_report_says_that_texts_stayed_and_keeps_them_out_of_the_account(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_texts(monkeypatch)
    settings = {**LOCAL, "budget": 1024, "diagnose": True}
    alone = api.evaluate(experiment(folder, "image", rerank=settings)).reranking
    result, page = api.run(experiment(folder, rerank=settings))
    assert "5 queries are texts, which have no local features" in page.read_text("utf-8")
    told = result.reranking
    assert told is not None
    assert alone is not None
    assert told.ledger is not None
    assert alone.ledger is not None
    assert told.ledger.after == pytest.approx(result.evaluation.mean)
    for name in ("lifted", "kept", "lowered", "unverified", "gained_queries", "lost_queries"):
        assert getattr(told.ledger, name) == getattr(alone.ledger, name), name
    of_text = texts(result)
    described = sum(len(rows) for rows, ok in zip(result.ground_truth.positives, of_text, strict=True) if ok)
    assert told.ledger.beyond == alone.ledger.beyond + described
    assert told.full is not None
    assert alone.full is not None
    assert (told.full.lost, told.full.found) == (alone.full.lost, alone.full.found)
    moves = choose_moves(result, 30)
    assert moves is not None
    shown = {result.evaluation.query_ids[move.query] for move in moves.all()}
    assert shown
    assert shown.isdisjoint(query.id for query in result.dataset.queries if query.text is not None)
    again = api.load_run(folder / "run").reranking
    assert again is not None
    picture = int(np.flatnonzero(~of_text)[-1])
    row = int(result.ranking.indices[picture, 0])
    first, second = (each.explain(picture, row) for each in (told, again))
    assert first.verification.inliers.sum() > 0
    assert first.verification.inliers.tolist() == second.verification.inliers.tolist()


@pytest.mark.slow
def test_reranked_elsewhere_it_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_texts(monkeypatch)
    caches = [{"output": str(folder / name)} for name in ("here", "there")]
    here = api.evaluate(experiment(folder, rerank=LOCAL, **caches[0]))
    api.evaluate(experiment(folder, **caches[1]))  # workers do not know the text tower
    compute = {"processes": 2, "rerank_queries": 2}
    there = api.evaluate(experiment(folder, rerank=LOCAL, compute=compute, **caches[1]))
    same(there.ranking, here.ranking, np.ones(2 * OBJECTS, np.bool_))


def test_texts_alone_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_texts(monkeypatch)
    with pytest.raises(ConfigError, match="a text query has no local features"):
        api.evaluate(experiment(folder, "text", rerank=LOCAL))


@pytest.mark.parametrize("fusion", ["score", "rank"])
def test_an_empty_shortlist_leaves_a_query_alone(fusion: Any) -> None:
    falling = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, -0.4]], np.float32)
    before = Ranking(("a", "b"), tuple("xyz"), np.array([[0, 1, 2], [2, 0, 1]]), falling, np.array([3, 3]))
    rows, scores = np.array([[0, 1]]), np.array([[0.0, 4.0]], np.float32)
    one = Evidence(rows, np.zeros((1, 2), np.int64), scores, np.ones((1, 2), np.float32))
    after = rerank(before, one.spread(np.array([True, False])), fusion=fusion, weight=1.0)
    assert after.similarities[1].tobytes() == before.similarities[1].tobytes()
    assert after.indices[1].tolist() == [2, 0, 1]
    if fusion == "score":
        assert after.indices[0].tolist() == [1, 0, 2]
