"""ASMK against plain loops written from the definitions, and the inverted file cut in several ways."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.stages import took

from ilion import storage
from ilion.datasets import open_dataset
from ilion.descriptors.rootsift import rootsift
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.images import decode, resize
from ilion.searching import asmk
from ilion.searching.asmk.aggregate import kernel
from ilion.searching.asmk.votes import FAR, PLACE, RATIO, SHIFTS, TURNS, best_votes
from ilion.types import ImageRecord, LocalFeatures, Ranking

WORDS, DIMS, BITS = 12, 10, 64
Vectors = dict[int, np.ndarray]


def draw(rng: np.random.Generator, count: int) -> LocalFeatures:
    """Features around a few centres, so that words are shared and occur several times in an image."""
    centres = np.random.default_rng(99).standard_normal((20, DIMS))
    descriptors = centres[rng.integers(0, 20, count)] + 0.3 * rng.standard_normal((count, DIMS))
    return LocalFeatures(
        rng.uniform(0, 200, (count, 2)).astype(np.float32),
        descriptors.astype(np.float32),
        rng.random(count).astype(np.float32),
        (200, 150),
        rng.uniform(2, 20, count).astype(np.float32),
        rng.uniform(0, 2 * np.pi, count).astype(np.float32),
    )


def make_codebook(binary: bool) -> asmk.Codebook:
    rng = np.random.default_rng(5)
    return asmk.Codebook(
        rng.standard_normal((WORDS, DIMS)).astype(np.float32),
        rng.standard_normal((DIMS, BITS)).astype(np.float32),
        rng.uniform(0.5, 2, WORDS).astype(np.float32),
        binary,
    )


def naive_vectors(features: LocalFeatures, codebook: asmk.Codebook, assignments: int = 1) -> Vectors:
    """V(X_c) of each word c, unit length: normalised sums of residuals, or signs divided by sqrt(b)."""
    sums: Vectors = defaultdict(lambda: np.zeros(codebook.components))
    for descriptor in features.descriptors.astype(np.float64):
        squared = [float(((descriptor - word) ** 2).sum()) for word in codebook.words.astype(np.float64)]
        for word in np.argsort(squared)[:assignments]:
            sums[int(word)] += (descriptor - codebook.words[word]) @ codebook.projection.astype(np.float64)
    if codebook.binary:
        return {word: np.where(v > 0, 1.0, -1.0) / math.sqrt(len(v)) for word, v in sums.items()}
    return {word: v / np.linalg.norm(v) for word, v in sums.items()}


def naive_sigma(u: float, alpha: float, tau: float) -> float:
    return u**alpha if u > tau else 0.0


def naive_kernel(x: Vectors, y: Vectors, weights: np.ndarray, alpha: float, tau: float) -> float:
    total = sum(weights[c] * naive_sigma(float(x[c] @ y[c]), alpha, tau) for c in x if c in y)
    return total / math.sqrt(sum(weights[c] for c in x) * sum(weights[c] for c in y)) if total else 0.0


def index(
    root: Path, codebook: asmk.Codebook, images: Sequence[LocalFeatures], cuts: Sequence[int] = ()
) -> asmk.InvertedFile:
    artifact = asmk.open_index(root, codebook, {"cuts": list(cuts)})
    keys: list[str] = []
    for rows in np.split(np.arange(len(images)), list(cuts)):
        keys.append(f"shard-{len(keys)}")
        asmk.index_shard(
            artifact, keys[-1], [(f"d{row}", images[row]) for row in rows], codebook, took, workers=1
        )
    return asmk.InvertedFile(artifact, keys)


def table(ranking: Ranking) -> np.ndarray:
    """Similarities in the order of rows."""
    values = np.empty((len(ranking.query_ids), len(ranking.database_ids)))
    np.put_along_axis(values, ranking.indices, ranking.similarities, axis=1)
    return values


def search(
    queries: Sequence[LocalFeatures], database: asmk.InvertedFile, settings: asmk.AsmkSettings, k: int = 1000
) -> Ranking:
    ids = [f"q{i}" for i in range(len(queries))]
    return asmk.search_postings(ids, queries, database, settings, k=k, workers=2)


@pytest.fixture(scope="module")
def images() -> list[LocalFeatures]:
    rng = np.random.default_rng(1)
    return [draw(rng, int(rng.integers(0, 40))) for _ in range(60)] + [draw(rng, 1), draw(rng, 0)]


@pytest.fixture(scope="module")
def queries() -> list[LocalFeatures]:
    rng = np.random.default_rng(2)
    return [draw(rng, count) for count in (30, 60, 1, 5, 0)]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("alpha", "tau"), [(1.0, 0.0), (3.0, 0.0), (2.5, 0.3)])
def test_the_kernel_is_that_of_the_paper(
    images: list[LocalFeatures], queries: list[LocalFeatures], binary: bool, alpha: float, tau: float
) -> None:
    codebook = make_codebook(binary)
    settings = asmk.AsmkSettings(alpha=alpha, tau=tau, assignments=1, burst=0.0, votes=False)
    for query in queries:
        for image in images[::6]:
            expected = naive_kernel(
                naive_vectors(query, codebook), naive_vectors(image, codebook), codebook.weights, alpha, tau
            )
            a, b = asmk.aggregate(query, codebook), asmk.aggregate(image, codebook)
            # aggregates that are not binary are stored as float16
            assert kernel(a, b, codebook, settings) == pytest.approx(expected, abs=1e-6 if binary else 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("assignments", [1, 3])
@pytest.mark.parametrize("cuts", [(), (1, 7, 7, 40)])
def test_the_inverted_file_is_exhaustive(
    images: list[LocalFeatures],
    queries: list[LocalFeatures],
    tmp_path: Path,
    binary: bool,
    assignments: int,
    cuts: tuple[int, ...],
) -> None:
    codebook = make_codebook(binary)
    settings = asmk.AsmkSettings(alpha=3.0, tau=0.1, assignments=assignments, burst=0.0, votes=False)
    found = table(search(queries, index(tmp_path, codebook, images, cuts), settings))
    described = [naive_vectors(image, codebook) for image in images]
    expected = [
        [
            naive_kernel(naive_vectors(q, codebook, assignments), x, codebook.weights, 3.0, 0.1)
            for x in described
        ]
        for q in queries
    ]
    assert np.count_nonzero(expected) > 100
    np.testing.assert_allclose(found, expected, atol=1e-6 if binary else 2e-3)


@pytest.mark.parametrize("burst", [0.5, 1.0])
@pytest.mark.parametrize("cuts", [(), (11, 30)])
def test_burst_weighs_what_the_database_matches_often(
    images: list[LocalFeatures],
    queries: list[LocalFeatures],
    tmp_path: Path,
    burst: float,
    cuts: tuple[int, ...],
) -> None:
    codebook = make_codebook(True)
    settings = asmk.AsmkSettings(alpha=2.0, tau=0.1, assignments=2, burst=burst, votes=False)
    found = table(search(queries, index(tmp_path, codebook, images, cuts), settings))
    described = [naive_vectors(image, codebook) for image in images]
    for line, query in zip(found, queries, strict=True):
        x = naive_vectors(query, codebook, 2)
        matches = [{c: naive_sigma(float(x[c] @ y[c]), 2.0, 0.1) for c in x if c in y} for y in described]
        totals = {c: sum(m.get(c, 0.0) for m in matches) for c in x}
        weights = {c: codebook.weights[c] / totals[c] ** burst if totals[c] else 0.0 for c in x}
        own = sum(codebook.weights[c] for c in x)
        for value, y, match in zip(line, described, matches, strict=True):
            total = sum(weights[c] * u for c, u in match.items())
            if total:
                total *= sum(codebook.weights[c] for c in x if totals[c]) / sum(weights.values())
                total /= math.sqrt(own * sum(codebook.weights[c] for c in y))
            assert value == pytest.approx(total, rel=1e-5, abs=1e-7)


def naive_votes(
    query: np.ndarray, database: np.ndarray, values: np.ndarray, centre: tuple[float, float]
) -> float:
    """Best cell of one image pair, match by match."""
    best = 0.0
    for shift in SHIFTS:
        cells: dict[tuple[int, ...], float] = defaultdict(float)
        for q, d, value in zip(query.astype(int), database.astype(int), values, strict=True):
            turn = ((d[3] - q[3]) % 256) / 256
            octaves = (d[2] - q[2]) * 8 / 255
            offset = complex(centre[0] - q[0] / 255, centre[1] - q[1] / 255)
            angle = 2 * math.pi * turn
            place = complex(d[0], d[1]) / 255 + 2**octaves * offset * complex(
                math.cos(angle), math.sin(angle)
            )
            if not (-FAR < place.real < 1 + FAR and -FAR < place.imag < 1 + FAR):
                continue
            cell = (
                math.floor(turn * TURNS + shift[0]) % TURNS,
                math.floor((octaves + 8) / RATIO + shift[1]),
                math.floor((place.real + FAR) / PLACE + shift[2]),
                math.floor((place.imag + FAR) / PLACE + shift[3]),
            )
            cells[cell] += value
        best = max(best, max(cells.values(), default=0.0))
    return best


def test_votes_equal_a_loop_over_matches() -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 9, 400)
    query, database = rng.integers(0, 256, (2, 400, 4)).astype(np.uint8)
    # half of the matches lie close to the identity, so that cells hold several
    database[::2] = np.clip(query[::2].astype(int) + rng.integers(-8, 9, (200, 4)), 0, 255)
    values = rng.integers(1, 100, 400).astype(float)
    found = best_votes(rows, values, query, database, (0.5, 0.4), 10)
    for row in range(10):
        here = rows == row
        assert found[row] == naive_votes(query[here], database[here], values[here], (0.5, 0.4))
    assert (found[:9] > 500).all()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [asmk.AsmkSettings(), asmk.AsmkSettings(burst=0.0, votes=False)])
def test_cuts_and_order_of_shards_change_nothing(
    images: list[LocalFeatures], queries: list[LocalFeatures], tmp_path: Path, settings: asmk.AsmkSettings
) -> None:
    codebook = make_codebook(True)
    twice = [*images, *images[:5]]
    whole = search(queries, index(tmp_path, codebook, twice), settings, k=20)
    for cuts in [(3,), (0, 1, 2, 50, 66), tuple(range(1, 67, 4))]:
        parts = search(queries, index(tmp_path, codebook, twice, cuts), settings, k=20)
        np.testing.assert_array_equal(whole.indices, parts.indices)
        np.testing.assert_array_equal(whole.similarities, parts.similarities)
    artifact = asmk.open_index(tmp_path, codebook, {"cuts": [3]})
    swapped = search(queries, asmk.InvertedFile(artifact, ["shard-1", "shard-0"]), settings, k=20)
    np.testing.assert_array_equal(whole.similarities, swapped.similarities)
    for q in range(len(queries)):
        above = whole.similarities[q] > whole.similarities[q, -1]  # the rest ties with what was cut off
        names = {
            whole.database_ids[r]: v for r, v in zip(whole.indices[q], whole.similarities[q], strict=True)
        }
        others = {swapped.database_ids[r] for r in swapped.indices[q][above]}
        assert others == {name for name, value in names.items() if value > whole.similarities[q, -1]}


def test_added_shards_equal_all_at_once(
    images: list[LocalFeatures], queries: list[LocalFeatures], tmp_path: Path
) -> None:
    codebook = make_codebook(True)
    whole = index(tmp_path, codebook, images)
    artifact = asmk.open_index(tmp_path, codebook, {"grown": True})
    asmk.index_shard(artifact, "one", [(f"d{row}", images[row]) for row in range(25)], codebook, took)
    small = search(queries, asmk.InvertedFile(artifact, ["one"]), asmk.AsmkSettings())
    assert small.indices.max() < 25
    asmk.index_shard(artifact, "two", [(f"d{row}", images[row]) for row in range(25, 62)], codebook, took)
    grown = asmk.InvertedFile(storage.load_artifact(artifact.folder, "asmk"), ["one", "two"])
    assert (grown.ids, grown.postings) == (whole.ids, whole.postings)
    a, b = search(queries, whole, asmk.AsmkSettings()), search(queries, grown, asmk.AsmkSettings())
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.similarities, b.similarities)


@pytest.mark.slow
@pytest.mark.grocery
def test_finds_real_products(grocery: Path, tmp_path: Path) -> None:
    dataset = open_dataset(grocery)
    queries = [q for q in dataset.queries if q.image is not None][::8]
    positives = {q.id: dataset.positives[q.id][:10] for q in queries}
    wanted = {image for ids in positives.values() for image in ids}
    records = [r for shard in dataset.database for r in shard.records()]
    others = [r for r in records if r.id not in {i for ids in dataset.positives.values() for i in ids}]
    database = [r for r in records if r.id in wanted] + others[:30]

    def local(record: ImageRecord | None) -> LocalFeatures:
        assert record is not None
        return rootsift(resize(decode(record.source.read()).image, "long", 320), 400)

    features = [(record.id, local(record)) for record in database]
    codebook = asmk.learn_codebook((f for _, f in features), words=256)
    artifact = asmk.open_index(tmp_path, codebook, {})
    asmk.index_shard(artifact, "all", features, codebook, took)
    ids = [q.id for q in queries]
    ranking = asmk.search_postings(
        ids, [local(q.image) for q in queries], asmk.InvertedFile(artifact, ["all"])
    )
    truth = truth_from_ids(ids, ranking.database_ids, positives)
    axes = axes_from_ids(ids, [q.instance for q in queries], ranking.database_ids, positives)
    assert evaluate(ranking, truth, axes, definition="ilias", k=1000, bootstrap=10).mean > 0.6
