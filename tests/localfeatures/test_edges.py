"""Hard photos for local features, through the pipeline: nothing stops, nothing is dropped silently."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import scenes
from tests.conftest import write
from tests.scenes import encoded, scene, thing

from ilion import api, storage
from ilion.config import ExperimentConfig
from ilion.localfeatures.base import LocalOptions, build
from ilion.localfeatures.store import LocalSet, write_features
from ilion.outcome import RunResult
from ilion.types import RGB, Ranking

FLAT: RGB = np.full((120, 160, 3), 90, np.uint8)
SCORERS = ("geometry", "chamfer")


def blob() -> RGB:
    """One soft dot: keypoints in a single place."""
    image: RGB = np.full((64, 64, 3), 60, np.uint8)
    cv2.circle(image, (32, 32), 7, (220, 220, 220), -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), np.uint8)


def checks(shift: int = 0) -> RGB:
    """A repeated texture, of which every part looks like every other."""
    rows, columns = np.mgrid[:240, :320] + shift
    return np.repeat((((rows // 20 + columns // 20) % 2) * 200 + 30)[..., None], 3, axis=2).astype(np.uint8)


def photos(root: Path, images: dict[str, RGB]) -> None:
    for name, image in images.items():
        write(root / "photos" / name, encoded(image))


def run(root: Path, out: str = "run", **settings: Any) -> RunResult:
    rerank = {"features": "rootsift", "keypoints": 200, **settings}
    config: ExperimentConfig = scenes.experiment(root, rerank=rerank)
    return api.evaluate(dataclasses.replace(config, output=str(root / out), cache=str(root / "cache")))


def row_of(result: RunResult, name: str) -> int:
    return next(row for row, known in enumerate(result.ranking.database_ids) if name in known)


def before(result: RunResult) -> Ranking:
    assert result.reranking is not None
    assert result.reranking.ranking is not None
    return result.reranking.ranking


def evidence(result: RunResult, query: int, name: str) -> int:
    """Verified matches of a query and a database image."""
    assert result.reranking is not None
    assert result.reranking.inliers is not None
    place = before(result).indices[query].tolist().index(row_of(result, name))
    return int(result.reranking.inliers[query, place])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    scenes.write_photos(tmp_path, objects=2, distractors=4)
    return tmp_path


def features_of(image: RGB) -> int:
    return len(build("rootsift", LocalOptions(features=200)).extract([image])[0].keypoints)


@pytest.mark.slow
@pytest.mark.parametrize("scorer", SCORERS)
def test_images_that_show_nothing_or_one_dot(root: Path, scorer: str) -> None:
    assert features_of(FLAT) == 0
    assert 1 <= features_of(blob()) < 10
    photos(
        root,
        {
            "distractors/flat.png": FLAT,
            "distractors/blob.png": blob(),
            "objects/nothing/query/flat.png": FLAT,
            "objects/nothing/positive/flat.png": FLAT,
            "objects/dot/query/dot.png": blob(),
            "objects/dot/positive/dot.png": blob(),
        },
    )
    result = run(root, scorer=scorer)
    assert len(result.evaluation.query_ids) == 4
    assert result.reranking is not None
    assert result.reranking.missing == 0
    assert not result.skipped
    for query in range(4):
        assert evidence(result, query, "distractors/flat") == 0
        assert evidence(result, query, "distractors/blob") == 0
    # a query that shows nothing keeps the order it came with
    flat = next(q for q, name in enumerate(result.ranking.query_ids) if "nothing" in name)
    np.testing.assert_array_equal(result.ranking.indices[flat], before(result).indices[flat])


@pytest.mark.slow
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("budget", [0, 4096])
def test_one_keypoint_an_image_is_no_evidence_but_no_error(root: Path, scorer: str, budget: int) -> None:
    codec = "uint8" if budget else "auto"  # one keypoint an image is too poor a sample to learn from
    result = run(root, scorer=scorer, keypoints=1, budget=budget, codec=codec)
    assert result.reranking is not None
    assert result.reranking.inliers is not None
    assert not result.reranking.inliers.any()
    if scorer == "geometry":
        np.testing.assert_array_equal(result.ranking.indices, before(result).indices)


@pytest.mark.slow
def test_a_repeated_texture_matches_nothing(root: Path) -> None:
    assert features_of(checks()) > 50
    photos(
        root,
        {
            "objects/checks/query/checks.png": checks(),
            "objects/checks/positive/checks.png": checks(7),
            "distractors/checks.png": checks(3),
        },
    )
    result = run(root)
    query = next(q for q, name in enumerate(result.ranking.query_ids) if "checks" in name)
    assert evidence(result, query, "distractors/checks") < 4
    others = [q for q in range(3) if q != query]
    assert all(evidence(result, q, "distractors/checks") == 0 for q in others)


@pytest.mark.slow
def test_a_mirrored_copy_is_no_match(root: Path) -> None:
    photos(root, {"distractors/mirrored.png": np.ascontiguousarray(thing(0)[:, ::-1])})
    result = run(root)
    query = next(q for q, name in enumerate(result.ranking.query_ids) if "object 0" in name)
    assert evidence(result, query, "mirrored") < 8
    assert evidence(result, query, "object 0/positive/0") > 20
    ranks = result.ranking.indices[query].tolist()
    assert ranks.index(row_of(result, "object 0/positive/0")) < ranks.index(row_of(result, "mirrored"))


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0, 2048])
def test_a_query_larger_than_the_database_image(root: Path, budget: int) -> None:
    large = cv2.resize(thing(1), (1200, 1200), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(thing(1), (140, 140), interpolation=cv2.INTER_AREA)
    photos(
        root,
        {
            "objects/object 1/query/front.png": np.asarray(large, np.uint8),
            "objects/object 1/positive/small.png": np.asarray(small, np.uint8),
        },
    )
    result = run(root, budget=budget)
    query = next(q for q, name in enumerate(result.ranking.query_ids) if "object 1" in name)
    assert evidence(result, query, "positive/small") >= 10
    assert result.reranking is not None
    box = result.reranking.explain(query, row_of(result, "positive/small")).box
    assert box is not None
    assert box.width == pytest.approx(140, abs=12)
    assert box.height == pytest.approx(140, abs=12)


@pytest.mark.slow
@pytest.mark.parametrize("scorer", SCORERS)
def test_missing_features_are_counted_and_shown(root: Path, scorer: str) -> None:
    whole = run(root, scorer=scorer)
    assert whole.reranking is not None
    assert whole.reranking.missing == 0
    lost = "object 0/positive/1"
    [folder] = (p for p in (root / "cache").glob("local-*") if "queries" not in p.name)
    artifact = storage.load_artifact(folder)
    for ids in folder.glob("*.ids.json"):
        key = ids.name.removesuffix(".ids.json")
        stored = LocalSet(artifact, [key])
        kept = [
            (name, stored.codec.encode(stored.features(row)))
            for row, name in enumerate(stored.ids)
            if lost not in name
        ]
        stats = storage.read_stats(artifact, key)
        write_features(artifact, key, kept, lambda images, stats=stats: stats)  # type: ignore[misc]
    for old in (root / "cache").glob("evidence-*"):
        shutil.rmtree(old)
    result = run(root, scorer=scorer)
    assert result.reranking is not None
    assert result.reranking.missing == 1
    assert evidence(result, 0, lost) == 0
    row = row_of(result, lost)
    for query in range(2):
        assert sorted(result.ranking.indices[query]) == sorted(whole.ranking.indices[query])
        earlier = before(result).indices[query].tolist().index(row)
        place = result.ranking.indices[query].tolist().index(row)
        after = float(result.ranking.similarities[query, place])
        if scorer == "geometry":
            assert after == pytest.approx(float(before(result).similarities[query, earlier]))
        else:  # neither the best nor the worst of what Chamfer said
            assert 0 < place < len(result.ranking.database_ids) - 1
    report = api.report([root / "run"])
    assert "1 image of the shortlists has no stored local features" in report.read_text()


@pytest.mark.slow
def test_a_scene_without_the_object_stays_behind(root: Path) -> None:
    """The counterpart: clutter alone makes no evidence."""
    write(root / "photos" / "distractors" / "other.png", scene(77))
    result = run(root)
    assert all(evidence(result, query, "distractors/other") < 8 for query in range(2))
