"""Where the object is found: maps from few and many inliers, and boxes on a small drawn set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilion.datasets import open_dataset
from ilion.extraction.local import describe_local
from ilion.localfeatures.base import LocalOptions, build
from ilion.reranking.geometry import Verification
from ilion.reranking.localisation import (
    PERSPECTIVE_INLIERS,
    box_of_features,
    choose_motion,
    enclose,
    map_outline,
    overlap,
)
from ilion.reranking.matching import Matches
from ilion.reranking.scorers import Matcher
from ilion.synthetic import synthesize
from ilion.types import Box, Float64, LocalFeatures


def features(points: Float64) -> LocalFeatures:
    ones = np.ones(len(points), np.float32)
    return LocalFeatures(points.astype(np.float32), np.ones((len(points), 2), "f"), ones, (400, 400))


def told(n: int, model: Float64, seed: int = 0, noise: float = 0.0) -> tuple[LocalFeatures, ...]:
    """Places that a map connects, close together, as on the visible part of an object."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(100, 150, (n, 2))
    mapped = np.concatenate([places, np.ones((n, 1))], axis=1) @ model.T
    return features(places), features(mapped[:, :2] / mapped[:, 2:] + rng.normal(0, noise, (n, 2)))


def all_of(n: int) -> Matches:
    return Matches(np.arange(n), np.arange(n), np.ones(n, np.float32))


AFFINE = np.array([[1.5, 0.2, 20], [-0.1, 1.2, 40], [0, 0, 1.0]])


def test_few_inliers_give_an_affine_map_whatever_the_homography_says() -> None:
    query, image = told(6, AFFINE, noise=0.3)
    bent = AFFINE + np.array([[0, 0, 0], [0, 0, 0], [0.002, -0.003, 0]])
    found = choose_motion(query, image, all_of(6), Verification(bent, np.ones(6, bool), 1.0))
    assert found is not None
    assert found[2].tolist() == [0, 0, 1]
    x = np.concatenate([query.keypoints, np.ones((6, 1))], axis=1).astype(np.float64)
    direct, *_ = np.linalg.lstsq(x, image.keypoints.astype(np.float64), rcond=None)
    np.testing.assert_allclose(found[:2], direct.T, rtol=1e-6, atol=1e-6)


def test_many_inliers_keep_their_perspective() -> None:
    model = AFFINE + np.array([[0, 0, 0], [0, 0, 0], [0.001, 0, 0]])
    n = PERSPECTIVE_INLIERS
    query, image = told(n, model)
    assert choose_motion(query, image, all_of(n), Verification(model, np.ones(n, bool), 1.0)) is model
    outliers = np.arange(n) < n - 1
    fewer = choose_motion(query, image, all_of(n), Verification(model, outliers, 1.0))
    assert fewer is not None
    assert fewer is not model


def test_inliers_on_a_line_keep_the_model_that_was_verified() -> None:
    query, image = features(np.array([[100.0, 100 + 5 * i] for i in range(6)])), features(np.ones((6, 2)))
    verification = Verification(AFFINE, np.ones(6, bool), 1.0)
    assert choose_motion(query, image, all_of(6), verification) is AFFINE
    nothing = Verification(None, np.zeros(6, bool), 0.0)
    assert choose_motion(query, image, all_of(6), nothing) is None


def test_outlines_behind_the_horizon_or_mirrored_are_none() -> None:
    behind = np.array([[1, 0, 0], [0, 1, 0], [-0.05, 0, 1.0]])
    assert map_outline(behind, Box(0, 0, 40, 40)) is None
    assert map_outline(np.diag([-1.0, 1.0, 1.0]), Box(0, 0, 40, 40)) is None


def test_an_image_without_texture_is_taken_whole() -> None:
    assert box_of_features(features(np.empty((0, 2)))) == Box(0, 0, 400, 400)
    assert box_of_features(features(np.array([[5.0, 5.0]]))) == Box(0, 0, 400, 400)


def test_overlap_of_boxes_counts_pixels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        a, b = (Box(*map(int, rng.integers(0, 20, 2)), *map(int, rng.integers(1, 20, 2))) for _ in range(2))
        grids = np.zeros((2, 50, 50), bool)
        for grid, box in zip(grids, (a, b), strict=True):
            grid[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)] = True
        assert overlap(a, b) == pytest.approx((grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum())
    assert enclose(()) is None


@pytest.mark.slow
def test_found_boxes_agree_with_those_of_a_drawn_set(tmp_path: Path) -> None:
    """The full measurement is benchmarks/localisation.py; this bound is loose, since the set is small."""
    synthesize(tmp_path / "set", instances=4, positives=4, distractors=0, seed=3, workers=1)
    dataset = open_dataset(tmp_path / "set")
    extractor = build("rootsift", LocalOptions())
    records = {record.id: record for shard in dataset.database for record in shard.records()}
    queries = [query for query in dataset.queries if query.image is not None]
    stored = {record.id: found for record, found in describe_local(records.values(), extractor, [])}
    images = [query.image for query in queries if query.image is not None]
    agreements = []
    own_features = describe_local(images, extractor, [], box_use="crop")
    for query, (image, own) in zip(queries, own_features, strict=True):
        for name in dataset.positives[query.id]:
            found = Matcher().explain(own, stored[name], enclose(image.boxes))
            if found.verification.score > 0:
                true = enclose(records[name].boxes)
                assert true is not None
                agreements.append(overlap(found.box, true) if found.box else 0.0)
    assert len(agreements) >= 6
    assert np.mean(np.array(agreements) >= 0.5) >= 0.6
    assert np.median(agreements) >= 0.6
