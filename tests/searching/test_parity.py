"""Exact search against faiss and against its own definition, for any sharding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.searching import search
from ilion.types import Float32, Int64, Ranking


class Shards:
    """A database in memory, cut at given rows."""

    def __init__(self, values: Float32, cuts: Sequence[int] = ()) -> None:
        self.values = values
        self.parts = np.split(values, sorted(cuts))
        self.ids = tuple(f"d{i}" for i in range(len(values)))

    def blocks(self, size: int) -> Iterator[Float32]:
        for part in self.parts:
            for start in range(0, len(part), size):
                yield part[start : start + size]

    def gather(self, rows: Int64) -> Float32:
        return np.asarray(self.values[rows])


def normalised(rng: np.random.Generator, n: int, d: int) -> Float32:
    values = rng.standard_normal((n, d)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def run(queries: Float32, database: Shards, k: int, block_size: int = 16384) -> Ranking:
    return search([f"q{i}" for i in range(len(queries))], queries, database, k=k, block_size=block_size)


@pytest.mark.parametrize(
    ("n", "d", "q", "k"), [(5000, 64, 20, 100), (700, 512, 3, 1000), (1, 8, 1, 10), (50, 2, 7, 1)]
)
@pytest.mark.parametrize("cuts", [(), (1, 2, 600), (333,)])
def test_equals_faiss(n: int, d: int, q: int, k: int, cuts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(n)
    database, queries = normalised(rng, n, d), normalised(rng, q, d)
    ranking = run(queries, Shards(database, [c for c in cuts if c < n]), k, block_size=500)
    similarities, rows = faiss.knn(queries, database, min(k, n), metric=faiss.METRIC_INNER_PRODUCT)
    np.testing.assert_allclose(ranking.similarities, similarities, atol=1e-5)
    different = ranking.indices != rows
    # only pairs that float32 cannot tell apart may stand in another order
    exact = np.take_along_axis(queries @ database.T, ranking.indices, 1)
    assert np.abs(exact - similarities)[different].max(initial=0.0) < 1e-6
    assert different.mean() < 0.01


@pytest.mark.slow
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(1, 299), max_size=6),
    st.integers(1, 400),
    st.integers(256, 999),
)
@settings(max_examples=40, deadline=None)
def test_sharding_and_block_size_do_not_matter(seed: int, cuts: list[int], k: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    database = normalised(rng, 300, 16)
    database[rng.integers(0, 300, 60)] = database[7]  # many images that are equal
    queries = normalised(rng, 4, 16)
    whole, parts = run(queries, Shards(database), k), run(queries, Shards(database, cuts), k, block)
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_array_equal(whole.similarities, parts.similarities)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_all_equal_descriptors_come_in_order_of_rows(scale: float) -> None:
    database = np.full((20_000, 24), scale, np.float32)
    ranking = run(np.full((2, 24), 0.3, np.float32), Shards(database, [17, 9000]), 50, block_size=700)
    np.testing.assert_array_equal(ranking.indices, np.tile(np.arange(50), (2, 1)))


def test_near_duplicates_equal_the_float64_order() -> None:
    rng = np.random.default_rng(3)
    database = (normalised(rng, 1, 128) + 1e-6 * rng.standard_normal((6000, 128))).astype(np.float32)
    queries = normalised(rng, 5, 128)
    ranking = run(queries, Shards(database, [1000]), 200, block_size=512)
    for q, query in enumerate(queries):
        exact = (database.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
        np.testing.assert_array_equal(ranking.indices[q], np.argsort(-exact, kind="stable")[:200])


def test_negative_similarities_and_k_above_n() -> None:
    database = -np.eye(3, dtype=np.float32)
    ranking = run(np.full((1, 3), 0.5, np.float32), Shards(database), 10)
    assert ranking.indices.tolist() == [[0, 1, 2]]
    assert ranking.similarities.tolist() == [[-0.5, -0.5, -0.5]]
    assert ranking.counts.tolist() == [3]


def test_one_huge_coordinate() -> None:
    rng = np.random.default_rng(5)
    database = normalised(rng, 4000, 32)
    database[123, 5] = 1e6
    query = normalised(rng, 1, 32)
    ranking = run(query, Shards(database, [100, 200]), 30, block_size=300)
    exact = (database.astype(np.float64) @ query[0].astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(ranking.indices[0], np.argsort(-exact, kind="stable")[:30])


def test_no_queries_and_no_database() -> None:
    assert run(np.empty((0, 4), np.float32), Shards(np.eye(4, dtype=np.float32)), 2).indices.shape == (0, 2)
    assert run(np.eye(4, dtype=np.float32), Shards(np.empty((0, 4), np.float32)), 2).indices.shape == (4, 0)


def test_bad_input_is_named() -> None:
    database = Shards(np.eye(4, dtype=np.float32))
    with pytest.raises(ArtifactError, match="queries have 3 dimensions, the database 4"):
        run(np.eye(3, dtype=np.float32), database, 2)
    with pytest.raises(ArtifactError, match="descriptor of query 'q1' has NaN"):
        run(np.array([[1, 0, 0, 0], [np.nan, 0, 0, 0]], np.float32), database, 2)
    broken = np.eye(4, dtype=np.float32)
    broken[2, 1] = np.inf
    with pytest.raises(ArtifactError, match="between rows 0 and 4"):
        run(np.eye(4, dtype=np.float32), Shards(broken), 2)
    with pytest.raises(ArtifactError, match="k must be at least 1"):
        run(np.eye(4, dtype=np.float32), database, 0)
