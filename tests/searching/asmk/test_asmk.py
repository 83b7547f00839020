"""ASMK: its settings, its files, and what happens at the edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.stages import took

from ilion import storage
from ilion.errors import ArtifactError, ConfigError, ExtractionError
from ilion.outcome import Skipped
from ilion.searching import asmk
from ilion.searching.asmk import inverted
from ilion.searching.asmk.aggregate import frames, kernel
from ilion.searching.asmk.votes import best_votes
from ilion.types import LocalFeatures, Ranking

DIMS = 16


def draw(seed: int, count: int = 40) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    descriptors = np.abs(rng.standard_normal((count, DIMS))).astype(np.float32)
    return LocalFeatures(
        rng.uniform(0, 100, (count, 2)).astype(np.float32),
        descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        rng.random(count).astype(np.float32),
        (100, 80),
        rng.uniform(2, 20, count).astype(np.float32),
        rng.uniform(0, 6, count).astype(np.float32),
    )


@pytest.fixture(scope="module")
def codebook() -> asmk.Codebook:
    return asmk.learn_codebook([draw(i) for i in range(20)], words=16, bits=64)


def database(
    root: Path, codebook: asmk.Codebook, images: Sequence[LocalFeatures], key: str = "all"
) -> asmk.InvertedFile:
    artifact = asmk.open_index(root, codebook, {})
    named = [(f"{key}{row}", image) for row, image in enumerate(images)]
    asmk.index_shard(artifact, key, named, codebook, took, workers=1)
    return asmk.InvertedFile(artifact, [key])


def search(queries: Sequence[LocalFeatures], found_in: asmk.InvertedFile, **options: Any) -> Ranking:
    ids = [f"q{i}" for i in range(len(queries))]
    k = options.pop("k", 1000)
    return asmk.search_postings(ids, queries, found_in, asmk.AsmkSettings(**options), k=k, workers=2)


# --- settings ---


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alpha", 0.0, "alpha must be a positive number, got 0.0"),
        ("alpha", float("nan"), "alpha must be a positive number, got nan"),
        ("tau", 1.0, r"tau must lie in \[0, 1\), got 1.0"),
        ("tau", -0.1, "tau must lie"),
        ("assignments", 0, "assignments must be at least 1, got 0"),
        ("burst", 1.5, r"burst must lie in \[0, 1\], got 1.5"),
    ],
)
def test_settings_are_checked(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asmk.AsmkSettings(**{name: value})


# --- codebook ---


def test_a_codebook_is_learnt_the_same_every_time(codebook: asmk.Codebook) -> None:
    again = asmk.learn_codebook([draw(i) for i in range(20)], words=16, bits=64)
    assert again.digest == codebook.digest
    other = asmk.learn_codebook([draw(i) for i in range(20)], words=16, bits=64, seed=1)
    assert other.digest != codebook.digest


def test_words_are_where_the_descriptors_are() -> None:
    centres = np.eye(4, DIMS, dtype=np.float32)
    noisy = np.repeat(centres, 50, axis=0) + np.random.default_rng(0).normal(0, 0.01, (200, DIMS))
    sample = replace(draw(0, 200), descriptors=noisy.astype(np.float32))
    found = 0
    for seed in range(20):
        learnt = asmk.learn_codebook([sample], words=4, seed=seed)
        nearest = learnt.assign(centres)[:, 0]
        assert seed or sorted(nearest) == [0, 1, 2, 3]
        if sorted(nearest) == [0, 1, 2, 3]:
            found += 1
            np.testing.assert_allclose(learnt.words[nearest], centres, atol=0.01)
    assert found >= 10  # from random points k-means finds all four with 81 of 100 seeds


def test_assignment_finds_the_nearest_words_in_order(codebook: asmk.Codebook) -> None:
    descriptors = draw(77).descriptors.astype(np.float32)
    distances = np.linalg.norm(descriptors[:, None] - codebook.words, axis=2)
    np.testing.assert_array_equal(codebook.assign(descriptors, 3), np.argsort(distances, axis=1)[:, :3])
    assert codebook.assign(descriptors, 99).shape == (40, 16)


def test_idf_weighs_rare_words_more() -> None:
    rare, common = np.eye(2, DIMS, dtype=np.float32)
    both = replace(draw(0, 8), descriptors=np.stack([rare, common] * 4))
    one = replace(draw(0, 8), descriptors=np.stack([common] * 8))
    learnt = asmk.learn_codebook([both, one, one, one], words=2, idf=True)
    of_rare, of_common = learnt.weights[learnt.assign(np.stack([rare, common]))[:, 0]]
    assert of_rare == pytest.approx(np.log(5))
    assert of_common == pytest.approx(np.log(2))


@pytest.mark.parametrize(("words", "bits"), [(0, 64), (4, 0), (4, 100)])
def test_sizes_are_checked(words: int, bits: int) -> None:
    with pytest.raises(ConfigError, match="words > 0 and bits in multiples of 64"):
        asmk.learn_codebook([draw(0)], words=words, bits=bits)


def test_a_poor_sample_is_said() -> None:
    with pytest.raises(
        ExtractionError, match="only 40 local features, too few to learn 11 words; use at most 10"
    ):
        asmk.learn_codebook([draw(0), draw(0, 0)], words=11)
    with pytest.raises(ExtractionError, match="only 0 local features"):
        asmk.learn_codebook([], words=1)


def test_mixed_dimensions_are_said(codebook: asmk.Codebook) -> None:
    other = replace(draw(0), descriptors=np.zeros((40, 8), np.float32))
    with pytest.raises(ArtifactError, match="differ in dimension"):
        asmk.learn_codebook([draw(0), other], words=2)
    with pytest.raises(ArtifactError, match=r"descriptors are \(40, 8\), the codebook was learnt from 16"):
        asmk.aggregate(other, codebook)


def test_not_a_number_is_said(codebook: asmk.Codebook) -> None:
    broken = replace(draw(0), descriptors=np.full((40, DIMS), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        asmk.aggregate(broken, codebook)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.ones(3, np.float32)}, "do not fit together"),
        ({"weights": np.zeros(16, np.float32)}, "weights must be positive"),
        ({"words": np.full((16, DIMS), np.inf, np.float32)}, "the words have NaN or infinity"),
        ({"projection": np.ones((DIMS, 60), np.float32)}, "60 bits, must be a multiple of 64"),
    ],
)
def test_a_codebook_is_checked(codebook: asmk.Codebook, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        replace(codebook, **change)


@pytest.mark.parametrize("binary", [True, False])
def test_a_codebook_is_stored(codebook: asmk.Codebook, tmp_path: Path, binary: bool) -> None:
    asmk.write_codebook(tmp_path, replace(codebook, binary=binary))
    assert asmk.read_codebook(tmp_path).digest == replace(codebook, binary=binary).digest
    assert asmk.read_codebook(tmp_path).binary is binary
    storage.write_arrays(tmp_path / "codebook.npz", {"words": codebook.words})
    with pytest.raises(ArtifactError, match=r"lacks .*projection"):
        asmk.read_codebook(tmp_path)


# --- aggregates ---


def test_repeated_structure_counts_once(codebook: asmk.Codebook) -> None:
    features = draw(5)
    often = LocalFeatures(
        np.repeat(features.keypoints, 9, axis=0),
        np.repeat(features.descriptors, 9, axis=0),
        np.repeat(features.scores, 9),
        features.image_size,
    )
    once, repeated = asmk.aggregate(features, codebook), asmk.aggregate(often, codebook)
    np.testing.assert_array_equal(once.words, repeated.words)
    np.testing.assert_array_equal(once.codes, repeated.codes)


def test_the_strongest_keypoint_gives_the_place(codebook: asmk.Codebook) -> None:
    features = draw(5)
    words = codebook.assign(features.descriptors)[:, 0]
    aggregates = asmk.aggregate(features, codebook)
    for word, frame in zip(aggregates.words, aggregates.frames, strict=True):
        members = np.flatnonzero(words == word)
        strongest = members[features.scores[members].argmax()]
        np.testing.assert_array_equal(frame, frames(features)[strongest])


def test_features_without_scale_or_angle_are_taken(codebook: asmk.Codebook, tmp_path: Path) -> None:
    plain = [replace(draw(i), scales=None, angles=None) for i in range(5)]
    ranking = search([plain[3]], database(tmp_path, codebook, plain))
    assert ranking.indices[0, 0] == 3


def test_an_image_is_like_itself(codebook: asmk.Codebook, tmp_path: Path) -> None:
    images = [draw(i) for i in range(6)]
    settings = asmk.AsmkSettings(alpha=3.0)
    for image in images:
        own = asmk.aggregate(image, codebook)
        assert kernel(own, own, codebook, settings) == pytest.approx(1.0)
    for burst, votes in [(0.0, False), (1.0, False), (1.0, True)]:
        ranking = search(
            images, database(tmp_path, codebook, images), assignments=1, burst=burst, votes=votes
        )
        np.testing.assert_array_equal(ranking.indices[:, 0], np.arange(6))
        np.testing.assert_allclose(ranking.similarities[:, 0], 1.0, rtol=1e-5)


# --- votes ---


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.1])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_a_turned_and_scaled_copy_wins_all_votes(angle: float, scale: float) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(50, 350, (30, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = scale * (points - 200) @ turn.T + (420, 380)
    sizes, angles = rng.uniform(5, 20, 30), rng.uniform(0, 2 * np.pi, 30)

    def packed(at: np.ndarray, size: np.ndarray, turned: np.ndarray) -> np.ndarray:
        return frames(
            LocalFeatures(
                at.astype(np.float32),
                np.zeros((30, 1)),
                np.ones(30, np.float32),
                (800, 800),
                size.astype(np.float32),
                turned.astype(np.float32),
            )
        )

    query = packed(points, sizes, angles)
    copy, mixed = packed(moved, scale * sizes, angles + angle), packed(moved[::-1], sizes[::-1], 7 * angles)
    rows = np.repeat([1, 2], 30)
    both = np.concatenate([copy, mixed])
    votes = best_votes(rows, np.ones(60), np.concatenate([query, query]), both, (0.25, 0.25), 4)
    assert votes[0] == votes[3] == 0
    assert votes[1] >= 29
    assert votes[2] < 15


def test_votes_of_nothing() -> None:
    none = np.zeros((0, 4), np.uint8)
    assert best_votes(np.zeros(0, int), np.zeros(0), none, none, (0.5, 0.5), 3).tolist() == [0, 0, 0]


# --- the inverted file ---


def test_segments_change_nothing(
    codebook: asmk.Codebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [draw(i, 5 * (i % 4)) for i in range(23)]
    whole = search(images[:4], database(tmp_path / "a", codebook, images))
    monkeypatch.setattr(inverted, "SEGMENT", 5)
    cut = database(tmp_path / "b", codebook, images)
    assert cut.segment_count == 5
    parts = search(images[:4], cut)
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_array_equal(whole.similarities, parts.similarities)


def test_postings_are_ordered_and_counted(codebook: asmk.Codebook, tmp_path: Path) -> None:
    images = [draw(i, 30) for i in range(9)] + [draw(0, 0)]
    found_in = database(tmp_path, codebook, images)
    (segment,) = found_in.segments()
    assert len(segment.rows) == found_in.postings == sum(len(asmk.aggregate(i, codebook)) for i in images)
    for word in range(len(codebook)):
        rows = segment.rows[segment.offsets[word] : segment.offsets[word + 1]].astype(int)
        assert (np.diff(rows) > 0).all()
    assert segment.norms[-1] == 0
    assert isinstance(segment.codes, np.memmap)
    assert found_in.stored_bytes() == sum(p.stat().st_size for p in tmp_path.rglob("all.0000.*.npy"))


def test_a_shard_counts_once_it_is_whole(codebook: asmk.Codebook, tmp_path: Path) -> None:
    artifact = asmk.open_index(tmp_path, codebook, {})

    def breaks() -> Iterator[tuple[str, LocalFeatures]]:
        yield "a", draw(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asmk.index_shard(artifact, "one", breaks(), codebook, took)
    assert not storage.is_finished(artifact.folder / "one.ids.json")
    with pytest.raises(ArtifactError, match=r"one\.ids\.json: there is no such file"):
        asmk.InvertedFile(artifact, ["one"])
    gone = (Skipped("bad", "bad.jpg", "cut off"),)
    asmk.index_shard(
        artifact, "one", [("a", draw(1))], codebook, lambda images: replace(took(images), skipped=gone)
    )
    assert storage.is_finished(artifact.folder / "one.ids.json")
    stats = storage.read_stats(artifact, "one")
    assert (stats.images, stats.skipped) == (1, gone)


def test_another_codebook_is_another_artifact(codebook: asmk.Codebook, tmp_path: Path) -> None:
    other = replace(codebook, weights=2 * codebook.weights)
    a, b = (asmk.open_index(tmp_path, each, {"side": 512}) for each in (codebook, other))
    assert a.folder != b.folder
    assert asmk.open_index(tmp_path, codebook, {"side": 512}).folder == a.folder
    assert asmk.InvertedFile(b, []).codebook.digest == other.digest


def test_an_id_that_occurs_twice_is_said(codebook: asmk.Codebook, tmp_path: Path) -> None:
    artifact = asmk.open_index(tmp_path, codebook, {})
    asmk.index_shard(artifact, "one", [("a", draw(1)), ("b", draw(2))], codebook, took)
    asmk.index_shard(artifact, "two", [("b", draw(3))], codebook, took)
    with pytest.raises(ArtifactError, match="id 'b' occurs twice"):
        asmk.InvertedFile(artifact, ["one", "two"])


def test_damage_is_said(codebook: asmk.Codebook, tmp_path: Path) -> None:
    found_in = database(tmp_path, codebook, [draw(i) for i in range(4)])
    (rows,) = tmp_path.rglob("all.0000.rows.npy")
    storage.write_array(rows, np.zeros(3, np.uint16))
    with pytest.raises(ArtifactError, match="its files do not fit together"):
        search([draw(0)], found_in)
    rows.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="damaged"):
        search([draw(0)], found_in)
    rows.unlink()
    with pytest.raises(ArtifactError, match="there is no such file"):
        search([draw(0)], found_in)


# --- search ---


@pytest.mark.parametrize("binary", [True, False])
def test_a_query_without_features_gets_rows_in_order(
    codebook: asmk.Codebook, tmp_path: Path, binary: bool
) -> None:
    found_in = database(tmp_path, replace(codebook, binary=binary), [draw(i) for i in range(5)])
    ranking = search([draw(0, 0), draw(3)], found_in, k=3)
    assert ranking.indices[0].tolist() == [0, 1, 2]
    assert ranking.similarities[0].tolist() == [0, 0, 0]
    assert ranking.indices[1, 0] == 3


def test_more_results_than_images(codebook: asmk.Codebook, tmp_path: Path) -> None:
    ranking = search([draw(1)], database(tmp_path, codebook, [draw(i) for i in range(5)]), k=100)
    assert ranking.indices.shape == (1, 5)
    assert ranking.counts.tolist() == [5]
    assert sorted(ranking.indices[0]) == [0, 1, 2, 3, 4]


def test_a_database_without_features(codebook: asmk.Codebook, tmp_path: Path) -> None:
    ranking = search([draw(1), draw(2, 1)], database(tmp_path, codebook, [draw(0, 0)] * 3))
    assert ranking.indices.tolist() == [[0, 1, 2]] * 2
    assert not ranking.similarities.any()
    empty = search([draw(1)], asmk.InvertedFile(asmk.open_index(tmp_path / "e", codebook, {}), []))
    assert empty.indices.shape == (1, 0)


def test_equal_images_tie_in_order_of_rows(codebook: asmk.Codebook, tmp_path: Path) -> None:
    images = [draw(0), draw(7), draw(1), draw(7), draw(2), draw(7)]
    found_in = database(tmp_path, codebook, images)
    for burst, votes in [(0.0, False), (0.0, True), (1.0, False), (1.0, True)]:
        ranking = search([draw(7), draw(9)], found_in, burst=burst, votes=votes)
        assert ranking.indices[0, :3].tolist() == [1, 3, 5]
        for rows, values in zip(ranking.indices, ranking.similarities, strict=True):
            first = rows.tolist().index(1)
            assert rows[first : first + 3].tolist() == [1, 3, 5]
            assert values[first] == values[first + 1] == values[first + 2]


def test_one_keypoint_is_enough(codebook: asmk.Codebook, tmp_path: Path) -> None:
    images = [draw(i, 1) for i in range(8)]
    ranking = search([images[4]], database(tmp_path, codebook, images))
    assert ranking.indices[0, 0] == 4


def test_no_queries(codebook: asmk.Codebook, tmp_path: Path) -> None:
    assert search([], database(tmp_path, codebook, [draw(0)])).indices.shape == (0, 1)


def test_wrong_calls_are_said(codebook: asmk.Codebook, tmp_path: Path) -> None:
    found_in = database(tmp_path, codebook, [draw(0)])
    with pytest.raises(ArtifactError, match="k must be at least 1, got 0"):
        search([draw(0)], found_in, k=0)
    with pytest.raises(ArtifactError, match="2 query ids for the features of 1 query"):
        asmk.search_postings(["a", "b"], [draw(0)], found_in)
    other = replace(draw(0), descriptors=np.zeros((40, 8), np.float32))
    with pytest.raises(ArtifactError, match="the codebook was learnt from 16 dimensions"):
        search([other], found_in)


def test_progress_is_told(codebook: asmk.Codebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverted, "SEGMENT", 2)
    found_in = database(tmp_path, codebook, [draw(i) for i in range(5)])
    told: list[tuple[int, int]] = []
    asmk.search_postings(["q"], [draw(1)], found_in, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]
