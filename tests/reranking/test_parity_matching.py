"""Matching and verification against loops from the definitions, and against OpenCV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ilion.descriptors.rootsift import rootsift
from ilion.kernels.hamming import pack_signs, unpack_signs
from ilion.reranking.geometry import FLOOR, THRESHOLD_PX, verify
from ilion.reranking.matching import Matches, Metric, chamfer, chamfer_bits, chamfer_many, match_many
from ilion.types import RGB, LocalFeatures


def features(descriptors: NDArray[Any]) -> LocalFeatures:
    m = len(descriptors)
    return LocalFeatures(np.zeros((m, 2), np.float32), descriptors, np.ones(m, np.float32), (64, 64))


def pairs(matches: Matches) -> list[tuple[int, int]]:
    return list(zip(matches.query_rows.tolist(), matches.database_rows.tolist(), strict=True))


def distance(a: NDArray[Any], b: NDArray[Any], metric: Metric) -> float:
    if metric == "hamming":
        return float(sum(int(x ^ y).bit_count() for x, y in zip(a.tolist(), b.tolist(), strict=True)))
    u, v = a.astype(float) / math.hypot(*a.astype(float)), b.astype(float) / math.hypot(*b.astype(float))
    return math.dist(u, v)


def by_loops(
    query: NDArray[Any], image: NDArray[Any], ratio: float, mutual: bool, metric: Metric
) -> list[tuple[int, int]]:
    table = [[distance(a, b, metric) for b in image] for a in query]
    found = []
    for i, row in enumerate(table):
        best = min(range(len(row)), key=lambda j: row[j])
        others = [d for j, d in enumerate(row) if j != best]
        if ratio < 1 and not (others and row[best] < ratio * min(others)):
            continue
        if mutual and min(range(len(table)), key=lambda k: table[k][best]) != i:
            continue
        found.append((i, best))
    return found


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize("ratio", [0.8, 0.9, 1.0])
def test_matches_are_those_of_loops(metric: Metric, mutual: bool, ratio: float) -> None:
    rng = np.random.default_rng(0)
    query: NDArray[Any] = rng.random((40, 16)).astype(np.float32)
    images: list[NDArray[Any]] = []
    for m in (1, 2, 30, 60):
        image = rng.random((m, 16)).astype(np.float32)
        image[: m // 2] = query[: m // 2] + 0.2 * rng.random((m // 2, 16))
        images.append(image)
    if metric == "hamming":
        query, images = pack_signs(query - 0.5), [pack_signs(i - 0.5) for i in images]
    found = match_many(
        features(query), [features(i) for i in images], ratio=ratio, mutual=mutual, metric=metric
    )
    want = [by_loops(query, image, ratio, mutual, metric) for image in images]
    if metric == "hamming":  # a bit distance of 8 or more of 16 is no similarity at all
        want = [
            [(i, j) for i, j in w if distance(query[i], image[j], metric) < 8]
            for w, image in zip(want, images, strict=True)
        ]
    assert [pairs(f) for f in found] == want
    assert sum(map(len, want)) > 20


def drawing(seed: int, size: tuple[int, int] = (480, 360)) -> RGB:
    rng = np.random.default_rng(seed)
    image = np.full((size[1], size[0], 3), 200, np.uint8)
    for _ in range(300):
        x, y = (int(v) for v in rng.integers(0, size))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        height = float(rng.uniform(0.4, 1.6))
        cv2.putText(image, chr(int(rng.integers(65, 91))), (x, y), cv2.FONT_HERSHEY_DUPLEX, height, colour, 2)
    return image


H = np.array([[0.9, -0.2, 80], [0.25, 0.85, 10], [1e-4, 3e-4, 1]])


def warped(image: RGB, h: NDArray[np.float64] = H) -> RGB:
    noise = np.random.default_rng(1).normal(0, 6, (400, 500, 3))
    return np.clip(cv2.warpPerspective(image, h, (500, 400)) + noise, 0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rootsift", "rootsift uint8", "orb"])
@pytest.mark.parametrize("mutual", [True, False])
def test_decisions_of_opencv(kind: str, mutual: bool) -> None:
    images = [drawing(0), warped(drawing(0)), drawing(1)]
    if kind.startswith("rootsift"):
        rows: list[NDArray[Any]] = [rootsift(image, 800).descriptors for image in images]
        if kind.endswith("uint8"):
            rows = [np.round(512 * r).clip(0, 255).astype(np.uint8) for r in rows]
    else:
        rows = [np.asarray(cv2.ORB.create(800).detectAndCompute(image, None)[1]) for image in images]
    binary = kind == "orb"
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING if binary else cv2.NORM_L2)

    def unit(r: NDArray[Any]) -> NDArray[Any]:
        return r if binary else (r / np.linalg.norm(r.astype(float), axis=1, keepdims=True)).astype("f")

    found = match_many(
        features(rows[0]),
        [features(r) for r in rows[1:]],
        mutual=mutual,
        metric="hamming" if binary else "cosine",
    )
    sizes = []
    for image, matches in zip(rows[1:], found, strict=True):
        want = {
            (a.queryIdx, a.trainIdx)
            for a, b in matcher.knnMatch(unit(rows[0]), unit(image), k=2)
            if a.distance < 0.9 * b.distance
        }
        if mutual:
            back = {(m.trainIdx, m.queryIdx) for m in matcher.match(unit(image), unit(rows[0]))}
            want &= back
        assert set(pairs(matches)) == want
        sizes.append(len(want))
    assert sizes[0] > 100


def test_chamfer_by_loops() -> None:
    rng = np.random.default_rng(2)
    query = rng.standard_normal((5, 6))
    images = [rng.standard_normal((n, 6)) for n in (1, 4, 9)]

    def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
        return float(sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b))

    there = [sum(max(cosine(a, b) for b in image) for a in query) / 5 for image in images]
    back = [sum(max(cosine(a, b) for a in query) for b in image) / len(image) for image in images]
    both = [(a + b) / 2 for a, b in zip(there, back, strict=True)]
    assert chamfer_many(query, images) == pytest.approx(there, abs=1e-6)
    assert chamfer_many(query, images, symmetric=True) == pytest.approx(both, abs=1e-6)
    assert chamfer(query, images[1]) == pytest.approx(there[1], abs=1e-6)
    assert chamfer_many((query * 9).astype(np.float16), images) == pytest.approx(there, abs=2e-3)


@pytest.mark.parametrize("dims", [8, 13, 128, 320])
def test_chamfer_of_bits_by_loops(dims: int) -> None:
    rng = np.random.default_rng(3)
    query = rng.standard_normal((5, dims))
    images = [rng.standard_normal((n, dims)) for n in (1, 7)]

    def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
        return math.cos(math.pi * sum((x > 0) != (y > 0) for x, y in zip(a, b, strict=True)) / dims)

    there = [sum(max(cosine(a, b) for b in image) for a in query) / 5 for image in images]
    back = [sum(max(cosine(a, b) for a in query) for b in image) / len(image) for image in images]
    both = [(a + b) / 2 for a, b in zip(there, back, strict=True)]
    packed = [pack_signs(image) for image in images]
    assert chamfer_bits(pack_signs(query), packed, dims=dims) == pytest.approx(there, abs=1e-6)
    assert chamfer_bits(pack_signs(query), packed, dims=dims, symmetric=True) == pytest.approx(both, abs=1e-6)


def test_asymmetric_chamfer_by_loops() -> None:
    rng = np.random.default_rng(4)
    query, image = rng.standard_normal((5, 24)), rng.standard_normal((7, 24))
    want = np.mean(
        [
            max(sum(x if y > 0 else -x for x, y in zip(a, b, strict=True)) / math.hypot(*a) for b in image)
            for a in query
        ]
    ) / math.sqrt(24)
    found = chamfer(query, unpack_signs(pack_signs(image), 24))
    assert found == pytest.approx(float(want), abs=1e-6)


def matched(a: LocalFeatures, b: LocalFeatures) -> tuple[Matches, NDArray[Any], NDArray[Any]]:
    [matches] = match_many(a, [b])
    return matches, a.keypoints[matches.query_rows], b.keypoints[matches.database_rows]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_model_is_as_near_the_truth_as_opencvs(seed: int) -> None:
    picture = drawing(seed)
    a, b = rootsift(picture, 800), rootsift(warped(picture), 800)
    matches, source, target = matched(a, b)
    found = verify(a, b, matches)
    theirs, mask = cv2.findHomography(source, target, cv2.RANSAC, THRESHOLD_PX)
    corners = np.array([[[0, 0], [480, 0], [480, 360], [0, 360]]], float)
    truth = cv2.perspectiveTransform(corners, H)
    assert found.model is not None
    error = np.abs(cv2.perspectiveTransform(corners, found.model) - truth).max()
    assert error <= np.abs(cv2.perspectiveTransform(corners, theirs) - truth).max() + 0.5
    assert error < 2
    assert found.inliers.sum() >= 0.97 * mask.sum()


@pytest.mark.slow
@pytest.mark.grocery
def test_photos_match_where_opencv_says_so(grocery: Path) -> None:
    def described(path: Path) -> LocalFeatures:
        image = cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB)
        scale = 400 / max(image.shape)
        return rootsift(np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8), 500)

    objects = sorted((grocery / "ilias_core").iterdir())[::8]
    queries = [described(next((o / "query").glob("*.jpg"))) for o in objects]
    images = [described(p) for o in objects for p in sorted((o / "pos").glob("*.jpg"))[:3]]
    ours, theirs = [], []
    for query in queries:
        for image in images:
            matches, source, target = matched(query, image)
            ours.append(verify(query, image, matches).model is not None)
            mask = (
                cv2.findHomography(source, target, cv2.RANSAC, THRESHOLD_PX)[1] if len(matches) > 3 else None
            )
            theirs.append(mask is not None and int(mask.sum()) >= FLOOR)
    assert 8 <= sum(theirs) <= 30
    assert np.mean(np.array(ours) == theirs) >= 0.95
