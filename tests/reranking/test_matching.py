"""Matching: the rules, and the odd inputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ilion.errors import ArtifactError, ConfigError
from ilion.kernels.hamming import hamming, pack_signs, unpack_signs
from ilion.reranking.matching import CHUNK, Matches, chamfer, chamfer_bits, chamfer_many, match_many
from ilion.types import LocalFeatures


def features(descriptors: NDArray[np.generic]) -> LocalFeatures:
    m = len(descriptors)
    return LocalFeatures(np.zeros((m, 2), np.float32), descriptors, np.ones(m, np.float32), (64, 64))


def directions(rng: np.random.Generator, m: int, d: int = 32) -> NDArray[np.float32]:
    values = rng.random((m, d)).astype(np.float32) ** 3
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def pairs(matches: Matches) -> list[tuple[int, int]]:
    return list(zip(matches.query_rows.tolist(), matches.database_rows.tolist(), strict=True))


def test_itself() -> None:
    image = features(directions(np.random.default_rng(0), 50))
    [found] = match_many(image, [image])
    assert pairs(found) == [(i, i) for i in range(50)]
    assert found.similarities == pytest.approx(np.ones(50), abs=1e-5)
    assert found.similarities.dtype == np.float32
    assert found.query_rows.dtype == found.database_rows.dtype == np.int64
    assert len(found) == 50


@pytest.mark.parametrize("metric", ["cosine", "hamming"])
@pytest.mark.parametrize("ratio", [0.9, 1.0])
@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 5), (5, 0)])
def test_featureless_images(metric: str, ratio: float, mutual: bool, m: int, n: int) -> None:
    query, image = features(np.ones((m, 8), np.uint8)), features(np.ones((n, 8), np.uint8))
    for found in match_many(query, [image, image], ratio=ratio, mutual=mutual, metric=metric):  # type: ignore[arg-type]
        assert len(found) == 0


def test_no_database_image() -> None:
    assert match_many(features(np.ones((3, 8), np.float32)), []) == []


def test_one_feature_is_not_distinctive_but_may_match_without_the_ratio_test() -> None:
    one = features(np.array([[1.0, 2.0, 3.0]], np.float32))
    assert pairs(match_many(one, [one])[0]) == []
    assert pairs(match_many(one, [one], ratio=1.0)[0]) == [(0, 0)]
    many = features(np.eye(3, dtype=np.float32))
    assert pairs(match_many(one, [many])[0]) == [(0, 2)]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_repeated_texture_has_no_distinctive_nearest(dtype: type) -> None:
    rng = np.random.default_rng(1)
    texture: NDArray[np.generic] = np.repeat((255 * directions(rng, 7, 128)).astype(dtype), 20, axis=0)
    query = features(texture[::20])
    assert len(match_many(query, [features(texture)])[0]) == 0
    [found] = match_many(query, [features(texture)], ratio=1.0)
    assert (found.database_rows // 20).tolist() == list(range(7))
    [found] = match_many(features(texture), [query], ratio=1.0)
    assert (found.query_rows // 20).tolist() == found.database_rows.tolist() == list(range(7))


def test_lower_row_wins_a_tie() -> None:
    texture: NDArray[np.generic] = np.repeat(np.array([[1], [6], [8]], np.uint8), 5, axis=0)
    query = features(texture[::5])
    [found] = match_many(query, [features(texture)], ratio=1.0, metric="hamming")
    assert pairs(found) == [(0, 0), (1, 5), (2, 10)]
    [found] = match_many(features(texture), [query], ratio=1.0, metric="hamming")
    assert pairs(found) == [(0, 0), (5, 1), (10, 2)]
    assert len(match_many(query, [features(texture)], metric="hamming")[0]) == 0


def test_zero_descriptors_match_nothing() -> None:
    rows = np.eye(4, dtype=np.float32)
    rows[1] = 0
    for ratio in (0.9, 1.0):
        assert pairs(match_many(features(rows), [features(rows)], ratio=ratio)[0]) == [(0, 0), (2, 2), (3, 3)]
        nothing = features(np.zeros((4, 4), np.float32))
        assert len(match_many(nothing, [features(rows)], ratio=ratio)[0]) == 0
        assert len(match_many(features(rows), [nothing], ratio=ratio)[0]) == 0


def test_opposite_descriptors_do_not_match() -> None:
    found = match_many(features(np.eye(3, dtype=np.float32)), [features(-np.eye(3, dtype=np.float32))])
    assert len(found[0]) == 0


def test_ratio_of_distances_not_of_angles() -> None:
    query = features(np.array([[1.0, 0.0]], np.float32))
    angles = np.array([0.5, 0.6])
    image = features(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    exact = np.sin(0.25) / np.sin(0.30)  # chords
    assert len(match_many(query, [image], ratio=float(exact) + 1e-4)[0]) == 1
    assert len(match_many(query, [image], ratio=float(exact) - 1e-4)[0]) == 0


def test_lengths_of_descriptors_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    a, b = directions(rng, 30), directions(rng, 40)
    b[:15] = a[:15] + 0.02 * rng.random((15, 32))
    [want] = match_many(features(a), [features(b)])
    [found] = match_many(features(a * rng.uniform(0.1, 9, (30, 1))), [features(7 * b)])
    assert pairs(found) == pairs(want)
    assert len(want) >= 15


def test_chunks_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    query = directions(rng, 900)
    images = []
    for m in (700, 0, 1, 2000, 900, 3, 1500):
        rows = directions(rng, m)
        kept = min(m, 300)
        rows[:kept] = query[:kept] + 0.01 * rng.random((kept, 32))
        images.append(features(rows))
    assert sum(len(i.keypoints) for i in images) * 900 > 2 * CHUNK
    together = match_many(features(query), images)
    for image, found in zip(images, together, strict=True):
        [alone] = match_many(features(query), [image])
        assert pairs(found) == pairs(alone)
        assert found.similarities == pytest.approx(alone.similarities, abs=1e-6)
    assert sum(map(len, together)) > 1000


def test_inputs_are_not_changed() -> None:
    rng = np.random.default_rng(4)
    rows = directions(rng, 20)
    before = rows.copy()
    packed = pack_signs(rows - 0.1)
    match_many(features(rows), [features(rows)], mutual=False)
    match_many(features(packed), [features(packed)], mutual=False, metric="hamming")
    assert np.array_equal(rows, before)
    assert np.array_equal(packed, pack_signs(rows - 0.1))


def test_packed_similarity_is_the_cosine_of_the_signs() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 12, 64))
    b[:6] = a[:6]
    b[:6, :3] *= -1
    [found] = match_many(features(pack_signs(a)), [features(pack_signs(b))], metric="hamming")
    assert pairs(found)[:6] == [(i, i) for i in range(6)]
    assert found.similarities[:6] == pytest.approx(np.full(6, 1 - 2 * 3 / 64), abs=1e-6)


@pytest.mark.parametrize("size", [1, 8, 12, 32, 61, 64, 100])
def test_hamming_of_any_size(size: int) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 256, (5, size), np.uint8), rng.integers(0, 256, (9, size), np.uint8)
    want = np.unpackbits(a[:, None] ^ b[None], axis=-1).sum(axis=-1)
    assert np.array_equal(hamming(a, b), want)
    assert np.array_equal(hamming(a[::2], b[::3]), want[::2, ::3])


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.01, float("nan")])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"must lie in \(0, 1\]"):
        match_many(features(np.eye(3)), [], ratio=ratio)


def test_other_descriptors_are_refused() -> None:
    query = features(np.eye(3, dtype=np.float32))
    with pytest.raises(ArtifactError, match=r"\(3, 3\), those of database image 1 are \(5, 5\)"):
        match_many(query, [query, features(np.eye(5, dtype=np.float32))])
    with pytest.raises(ArtifactError, match="uint8 bytes, not float32"):
        match_many(query, [query], metric="hamming")


def test_chamfer_of_nothing_is_zero() -> None:
    some, none = np.eye(8, dtype=np.float32), np.empty((0, 8), np.float32)
    for symmetric in (False, True):
        assert chamfer_many(some, [none, some], symmetric=symmetric).tolist() == [0, 1]
        assert chamfer_many(none, [none, some], symmetric=symmetric).tolist() == [0, 0]
        bits, no_bits = pack_signs(some), pack_signs(none)
        assert chamfer_bits(bits, [no_bits, bits], dims=8, symmetric=symmetric).tolist() == [0, 1]
        assert chamfer_bits(no_bits, [bits], dims=8, symmetric=symmetric).tolist() == [0]
    assert chamfer_many(some, []).shape == (0,)


def test_clutter_costs_only_the_symmetric_similarity() -> None:
    rng = np.random.default_rng(7)
    query = rng.standard_normal((20, 32))
    cluttered = np.concatenate([query, rng.standard_normal((60, 32))])
    assert chamfer(query, cluttered) == pytest.approx(1)
    assert chamfer(query, cluttered, symmetric=True) < 0.9
    assert chamfer(cluttered, query) < 0.9
    assert chamfer(query, cluttered, symmetric=True) == pytest.approx(
        chamfer(cluttered, query, symmetric=True)
    )


def test_zero_tokens_are_like_nothing() -> None:
    assert chamfer(np.zeros((3, 4)), np.eye(4)) == 0
    assert chamfer(np.eye(4), np.zeros((3, 4))) == 0


def test_tokens_of_other_dimensions_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"\(4, 4\), those of database image 1 are \(5, 5\)"):
        chamfer_many(np.eye(4), [np.eye(4), np.eye(5)])
    with pytest.raises(ArtifactError, match=r"100 dimensions are 13 bytes"):
        chamfer_bits(np.zeros((2, 8), np.uint8), [], dims=100)


def test_signs_there_and_back() -> None:
    values = np.random.default_rng(8).standard_normal((6, 21))
    assert np.array_equal(unpack_signs(pack_signs(values), 21), np.where(values > 0, 1, -1))
