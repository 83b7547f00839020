"""Exact search: its bounds, kernels and candidates, and the whole on databases that are meant to break it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ilion import storage
from ilion.errors import ArtifactError, MissingExtraError
from ilion.kernels import instructions, jit, tiles, widening
from ilion.runtime.machine import machine
from ilion.searching import exact, lowbit, search
from ilion.searching.bounds import Filter, leading_basis, norms_of
from ilion.searching.candidates import Pool, score_exactly
from ilion.searching.lowbit import Lowbit
from ilion.searching.lowbit_compiled import Compiled
from ilion.searching.scoring import Dense, Filtered, Kernel, Torch, score_pairs
from ilion.types import Descriptors, Float32, Int64, Ranking

CODES = [Lowbit, *([Compiled] if tiles.can_compile() else [])]
"""Bounds from bytes; the compiled one where there are numba and AVX2."""


class Memory:
    """A database in memory."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = np.asarray(values, np.float32)
        self.ids: Sequence[str] = [f"d{i}" for i in range(len(values))]
        self.reads = 0

    def blocks(self, size: int) -> Iterator[Float32]:
        self.reads += 1
        for start in range(0, len(self.values), size):
            yield self.values[start : start + size]

    def gather(self, rows: Int64) -> Float32:
        return self.values[rows]


def decaying(rng: np.random.Generator, number: int, dim: int) -> Float32:
    """Unit vectors whose spectrum falls off, around a common direction."""
    values = rng.standard_normal((number, dim)) / np.arange(2, dim + 2) + 0.3 / np.sqrt(dim)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def naive(queries: Float32, values: Float32, k: int) -> tuple[Int64, Float32]:
    """Every pair summed exactly, from the definition; a plain loop over queries."""
    rows, similarities = [], []
    for query in queries.astype(np.float64):
        row = np.array([math.fsum((query * x).tolist()) for x in values.astype(np.float64)], np.float64)
        order = np.argsort(-row.astype(np.float32), kind="stable")[:k]
        rows.append(order)
        similarities.append(row[order].astype(np.float32))
    return np.array(rows), np.array(similarities)


@cache
def adversarial() -> dict[str, tuple[Float32, Float32]]:
    """Name -> queries and database."""
    rng = np.random.default_rng(7)
    queries, plain = decaying(rng, 6, 48), decaying(rng, 700, 48)
    near = plain[:1] + 1e-7 * rng.standard_normal((700, 48)).astype(np.float32)
    huge = plain.copy()
    huge[11, 5], huge[400, 47] = 3e4, -6e4
    repeated = plain[rng.integers(0, 9, 700)]
    scales = (10.0 ** rng.integers(-6, 4, (700, 1))).astype(np.float32)
    outside = queries - queries @ plain[:8].T @ np.linalg.pinv(plain[:8].T)
    return {
        "plain": (queries, plain),
        "near-duplicates": (queries, near),
        "one huge coordinate": (queries, huge),
        "exact ties": (queries, repeated),
        "constant vectors": (queries, np.full((700, 48), 0.25, np.float32)),
        "constant queries": (np.ones((3, 48), np.float32), plain),
        "tiny norms": (queries, (plain * np.float32(1e-7)).astype(np.float16).astype(np.float32)),
        "vanishing norms": (queries, plain * np.float32(1e-25)),
        "norms of ten magnitudes": (queries, plain * scales),
        "all zero": (queries, np.zeros((700, 48), np.float32)),
        "zero queries": (np.zeros((2, 48), np.float32), plain),
        "opposite": (-plain[:6], plain),
        "isotropic": (rng.standard_normal((6, 48), np.float32), rng.standard_normal((700, 48), np.float32)),
        "queries outside the sample's span": (outside.astype(np.float32), plain),
    }


@cache
def expected_of(name: str) -> tuple[Int64, Float32]:
    """Return what the naive loop finds in an adversarial database."""
    return naive(*adversarial()[name], 40)


def scan(kernel: Kernel, queries: Float32, values: Float32, k: int, tile: int) -> tuple[Int64, Float32]:
    """Show a database to a kernel, the last tile first."""
    database = Memory(values)
    pool = Pool(queries, k, np.full(len(queries), -np.inf, np.float32), database)
    for start in reversed(range(0, len(values), tile)):
        pool.add(kernel.pairs(values[start : start + tile], start, pool.thresholds))
        pool._sort_out()
    best = pool.finish()
    return best.rows.reshape(-1, k), best.values.reshape(-1, k)


@pytest.mark.parametrize("name", adversarial())
@pytest.mark.parametrize("dims", [0, 1, 6, 24, 48])
def test_kernels_equal_the_naive_loop(name: str, dims: int) -> None:
    queries, values = adversarial()[name]
    kernel: Kernel = Dense(queries)
    if dims:
        kernel = Filtered(queries, leading_basis(values, queries, dims))
    rows, similarities = scan(kernel, queries, values, 40, 100)
    expected, exactly = expected_of(name)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(similarities, exactly)


@pytest.mark.parametrize("name", adversarial())
@pytest.mark.parametrize("learnt_on", ["all", "the first", "something else"])
@pytest.mark.parametrize("codes", CODES)
def test_bytes_equal_the_naive_loop(name: str, learnt_on: str, codes: type[Lowbit]) -> None:
    queries, values = adversarial()[name]
    other = np.random.default_rng(0).standard_normal((20, values.shape[1]), np.float32)
    sample = {"all": values, "the first": values[:1], "something else": other}[learnt_on]
    rows, similarities = scan(codes(queries, sample), queries, values, 40, 100)
    expected, exactly = expected_of(name)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(similarities, exactly)


@pytest.mark.slow
@pytest.mark.parametrize("codes", CODES)
@given(
    seed=st.integers(0, 10**6),
    dim=st.integers(1, 200),
    power=st.floats(-12, 4),
    decay=st.floats(0, 3),
    centre=st.floats(0, 10),
)
def test_bytes_never_exclude_a_pair_that_reaches_its_threshold(
    codes: type[Lowbit], seed: int, dim: int, power: float, decay: float, centre: float
) -> None:
    rng = np.random.default_rng(seed)
    spread = np.arange(1, dim + 1) ** -decay * 10.0**power
    values = ((rng.standard_normal((60, dim)) + centre) * spread).astype(np.float32)
    queries = rng.standard_normal((5, dim)).astype(np.float32)
    exactly = queries.astype(np.float64) @ values.astype(np.float64).T
    thresholds = np.sort(exactly, axis=1)[:, -7].astype(np.float32)
    found = codes(queries, values[:30]).pairs(values, 0, thresholds)
    kept = set(zip(found.queries.tolist(), found.rows.tolist(), strict=True))
    wanted = np.argwhere(exactly.astype(np.float32) >= thresholds[:, None])
    assert {(int(q), int(r)) for q, r in wanted} <= kept


@pytest.mark.skipif(not tiles.can_compile(), reason="needs numba and AVX2")
@pytest.mark.parametrize("shape", [(851, 130, 512), (3, 16, 16), (1, 1, 1), (100, 130, 70), (7, 1232, 768)])
def test_compiled_bits_are_those_of_the_integer_products(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    rows, queries, dim = shape
    codes = np.zeros((rows + -rows % instructions.ROWS, dim + -dim % instructions.DIMS), np.uint8)
    codes[:rows, :dim] = rng.integers(0, 128, (rows, dim))
    others = rng.integers(-63, 64, (queries, dim)).astype(np.int8)
    codes[0, :dim], others[0] = 127, 63  # the largest sums there are
    product = codes[:rows, :dim].astype(np.int64) @ others.T.astype(np.int64)
    limits = np.full(queries + -queries % instructions.QUERIES, 2**31 - 1, np.int32)
    limits[:queries] = np.quantile(product, 0.7, axis=0)
    laid = tiles.tile_codes(others)
    bits = np.zeros((len(codes), len(laid)), np.uint8)
    tiles.compile_kernels().compare(codes, laid, limits, bits)
    found = np.unpackbits(bits[:rows], axis=1, bitorder="little").astype(bool)
    np.testing.assert_array_equal(found[:, :queries], product > limits[:queries])
    assert not found[:, queries:].any()


@pytest.mark.skipif(not tiles.can_compile(), reason="needs numba and AVX2")
@pytest.mark.parametrize("dim", [16, 48, 100, 512, 768])
def test_compiled_codes_are_those_of_the_mix(dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows, signs = (
        rng.standard_normal((40, dim), np.float32),
        np.sign(rng.standard_normal(dim)).astype(np.float32),
    )
    centre, step, mixes = rows.mean(axis=0), np.float32(0.3), tiles.choose_mixes(dim)
    codes, squares = np.zeros((40, dim), np.uint8), np.empty((3, 40), np.float32)
    tiles.compile_kernels().code(rows, centre, signs, mixes, step, np.int32(64), codes, squares)
    turned = tiles.mix_rows(((rows - centre) * signs).astype(np.float64), mixes)
    assert np.allclose(turned @ turned.T, mixes[:, 0].prod() * (rows - centre) @ (rows - centre).T, atol=1e-3)
    exactly = np.clip(turned / 0.3, -64, 63)
    assert np.abs(codes - 64.0 - exactly).max() < 0.501
    lost = turned - (codes - 64.0) * float(step)
    for found, values in zip(squares, (rows.astype(np.float64), turned, lost), strict=True):
        np.testing.assert_allclose(found, np.einsum("nd,nd->n", values, values), rtol=1e-4)


def test_kernels_are_compiled_for_long_searches_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    values, queries = decaying(rng, 3000, 64), decaying(rng, 8, 64)
    monkeypatch.setattr(exact, "RACE_FROM", 0)
    tried: list[type] = []
    chosen = exact._Scan._fastest

    def watched(self: Any, kernels: list[Kernel], *rest: Any) -> Kernel:
        tried.extend(type(kernel) for kernel in kernels)
        return chosen(self, kernels[-1:], *rest)

    monkeypatch.setattr(exact._Scan, "_fastest", watched)
    plain = run(queries, Memory(values), k=50)
    assert Compiled not in tried
    monkeypatch.setattr(exact, "COMPILE_FROM", 0)
    fast = run(queries, Memory(values), k=50)
    assert (Compiled in tried) == tiles.can_compile()
    np.testing.assert_array_equal(fast.indices, plain.indices)
    np.testing.assert_array_equal(fast.similarities, plain.similarities)
    np.testing.assert_array_equal(fast.indices, naive(queries, values, 50)[0])


def test_without_numba_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "find_spec", lambda name: None)
    assert not jit.compiles.__wrapped__("avx2")


@pytest.mark.parametrize("setting", [("DISABLE_JIT", 1), ("CPU_NAME", "generic"), ("CPU_FEATURES", "+sse")])
def test_for_another_target_nothing_is_compiled(
    setting: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    numba = pytest.importorskip("numba")
    before = jit.compiles.__wrapped__("avx2")
    assert before == tiles.can_compile() or before
    monkeypatch.setattr(numba.config, *setting)
    assert not jit.compiles.__wrapped__("avx2")


def test_numba_that_cannot_be_imported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError(f"{name} needs another numpy")

    monkeypatch.setattr("ilion.kernels.jit.importlib.import_module", broken)
    assert not jit.compiles.__wrapped__("avx2")


def test_bytes_exclude_nearly_everything_where_they_fit() -> None:
    rng = np.random.default_rng(0)
    values, queries = rng.standard_normal((4000, 256), np.float32), rng.standard_normal((20, 256), np.float32)
    thresholds = -np.sort(-(queries @ values.T), axis=1)[:, 40]
    scored: list[int] = []
    kernel = Lowbit(queries, values[:500])

    def counted(*sides: Any) -> Float32:
        scored.append(len(sides[1]))
        return score_pairs(*sides)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowbit, "score_pairs", counted)
        kernel.pairs(values, 0, thresholds)
    assert sum(scored) < 0.04 * 20 * 4000, "1% reach the threshold"


@pytest.mark.parametrize("name", adversarial())
def test_search_equals_the_naive_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, values = adversarial()[name]
    monkeypatch.setattr(exact, "RACE_FROM", 0)
    ranking = run(queries, Memory(values), k=40, threads=2)
    expected, exactly = naive(queries, values, 40)
    np.testing.assert_array_equal(ranking.indices, expected)
    np.testing.assert_array_equal(ranking.similarities, exactly)


def run(queries: Float32, database: Any, **options: Any) -> Ranking:
    return search([f"q{i}" for i in range(len(queries))], queries, database, **options)


@given(
    seed=st.integers(0, 10**6),
    dim=st.integers(1, 40),
    share=st.floats(0, 1),
    power=st.floats(-12, 4),
    decay=st.floats(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_the_bound_is_never_below_the_inner_product(
    seed: int, dim: int, share: float, power: float, decay: float
) -> None:
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, dim + 1) ** -decay
    scales = 10.0 ** rng.uniform(power - 2, power, (60, 1))
    values = (rng.standard_normal((60, dim)) * spectrum * scales).astype(np.float32)
    queries = (rng.standard_normal((9, dim)) * spectrum).astype(np.float32)
    queries[0], queries[1] = values[0], -values[1]
    bound = Filter.of(leading_basis(values, queries, max(1, int(share * dim))), queries)
    upper = (bound.project(values, norms_of(values)) @ bound.queries.T).astype(np.float64)
    assert (upper >= values.astype(np.float64) @ queries.astype(np.float64).T).all()


def test_the_bound_is_tight_where_the_dimensions_hold_everything() -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((50, 8)) @ rng.standard_normal((8, 96))).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    bound = Filter.of(leading_basis(values, values[:5], 8), values[:5])
    upper = bound.project(values, norms_of(values)) @ bound.queries.T
    assert float(np.max(upper - values @ values[:5].T)) < 2e-3


def test_the_bound_holds_for_a_basis_that_is_not_orthonormal() -> None:
    rng = np.random.default_rng(1)
    values, queries = decaying(rng, 200, 32), decaying(rng, 10, 32)
    basis = leading_basis(values, queries, 8) * np.float32(1.01) + np.float32(0.002)
    bound = Filter.of(basis, queries)
    upper = (bound.project(values, norms_of(values)) @ bound.queries.T).astype(np.float64)
    assert (upper >= values.astype(np.float64) @ queries.astype(np.float64).T).all()


@pytest.mark.slow
def test_many_dimensions_take_the_basis_from_rows() -> None:
    rng = np.random.default_rng(2)
    values, queries = decaying(rng, 60, 2100), decaying(rng, 4, 2100)
    basis = leading_basis(values, queries, 20)
    np.testing.assert_allclose(basis.T @ basis, np.eye(20), atol=1e-4)
    left = np.linalg.norm(values - values @ basis @ basis.T) / np.linalg.norm(values)
    assert left < 0.5
    # 64 rows span no more directions
    assert leading_basis(values, queries, 500).shape[1] <= 64


@pytest.mark.slow
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 900),
    queries=st.integers(1, 5),
    k=st.integers(1, 300),
    copies=st.integers(1, 40),
    block=st.integers(1, 700),
    threads=st.integers(1, 3),
    memory=st.sampled_from([1, 20_000, 2**30]),
)
@settings(max_examples=25, deadline=None)
def test_neither_blocks_threads_nor_memory_matter(
    seed: int, rows: int, queries: int, k: int, copies: int, block: int, threads: int, memory: int
) -> None:
    rng = np.random.default_rng(seed)
    values = decaying(rng, rows, 12)
    values = values[rng.integers(0, max(1, rows // copies), rows)]
    asked = decaying(rng, queries, 12)
    whole = run(asked, Memory(values), k=k, threads=1)
    parts = run(asked, Memory(values), k=k, block_size=block, threads=threads, memory=memory)
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_array_equal(whole.similarities, parts.similarities)
    expected, _ = naive(asked, values, k)
    np.testing.assert_array_equal(whole.indices, expected)


def test_a_threshold_guessed_too_high_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values, queries = decaying(rng, 3000, 16), decaying(rng, 5, 16)
    # the sample takes one row of each stretch: rows that lie at its places are far better than the others
    monkeypatch.setattr(exact, "FEW_SAMPLED", 4)
    places = exact.sample_rows(3000, 750)
    values[places[:90]] = queries[0]
    database = Memory(values)
    ranking = run(queries, database, k=100)
    np.testing.assert_array_equal(ranking.indices, naive(queries, values, 100)[0])
    assert database.reads > 1, "the first guess should have failed"
    values[places] = -queries[0]
    ranking = run(queries, Memory(values), k=2000)
    np.testing.assert_array_equal(ranking.indices, naive(queries, values, 2000)[0])


def test_a_sharpened_threshold_that_is_too_high_is_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values, queries = decaying(rng, 3000, 16), decaying(rng, 1, 16)
    monkeypatch.setattr(exact, "RACE_FROM", 0)
    monkeypatch.setattr(exact, "SAMPLE_VALUES", 0)
    monkeypatch.setattr(exact, "SHARPER", 2)
    monkeypatch.setattr(exact, "FEW_SAMPLED", 4)
    # the larger sample sees nothing but copies of the query, of which there are fewer than are wanted
    values[exact.sample_rows(3000, 512, seed=1)[:200]] = queries[0]
    database = Memory(values)
    ranking = run(queries, database, k=300)
    np.testing.assert_array_equal(ranking.indices, naive(queries, values, 300)[0])
    assert database.reads > 1, "the first guess should have failed"


def test_a_crowd_of_ties_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.full((30_000, 4), 0.5, np.float32)
    pool = Pool(values[:2], 10, np.full(2, -np.inf, np.float32), Memory(values))
    kernel = Dense(values[:2])
    held = []
    for start in range(0, 30_000, 3000):
        pool.add(kernel.pairs(values[start : start + 3000], start, pool.thresholds))
        pool._sort_out()
        held.append(len(pool._held.rows))
    assert max(held) <= 2 * (2 * 10 + 1024)
    np.testing.assert_array_equal(pool.finish().rows.reshape(2, 10), np.tile(np.arange(10), (2, 1)))


def test_exact_values_do_not_depend_on_their_company() -> None:
    rng = np.random.default_rng(4)
    values, queries = decaying(rng, 500, 70), decaying(rng, 7, 70)
    of_query, rows = rng.integers(0, 7, 4000), rng.integers(0, 500, 4000)
    together = score_exactly(queries, of_query, rows, Memory(values), 2)
    alone = [score_exactly(queries, of_query[[i]], rows[[i]], Memory(values))[0] for i in range(200)]
    np.testing.assert_array_equal(together[:200], alone)
    np.testing.assert_allclose(together, (values[rows] * queries[of_query]).sum(axis=1), atol=1e-6)


def test_what_float64_would_lose_is_summed_exactly(compiled: bool) -> None:
    terms = (2.0**60, 1.0, -(2.0**60), 0.0, 2.0**-30, -0.5)
    values = np.array(list(itertools.permutations(terms)), np.float32)
    plain = values.astype(np.float64).sum(axis=1).astype(np.float32)
    assert (plain != 0.5).mean() > 0.3, "in most orders float64 is wrong"
    pairs = np.zeros(len(values), np.int64), np.arange(len(values))
    products = widening.multiply_pairs if compiled else None
    found = score_exactly(np.ones((1, 6), np.float32), *pairs, Memory(values), 1, products)
    assert set(found.tolist()) == {0.5}


def test_sums_of_many_terms_are_as_exact(compiled: bool) -> None:
    rng = np.random.default_rng(8)
    half = rng.standard_normal((300, 1000)).astype(np.float32)
    # what is left of the sum is a millionth of a millionth of its terms
    left = 1e-12 * rng.standard_normal((300, 1)).astype(np.float32)
    values = rng.permuted(np.concatenate([half, -half, left], axis=1), axis=1).astype(np.float32)
    pairs = np.zeros(len(values), np.int64), np.arange(len(values))
    products = widening.multiply_pairs if compiled else None
    found = score_exactly(np.ones((1, 2001), np.float32), *pairs, Memory(values), 1, products)
    np.testing.assert_array_equal(found, left[:, 0])


def test_pairs_without_a_common_term_need_no_exact_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.eye(64, dtype=np.float32)
    summed: list[int] = []

    def counted(terms: list[float]) -> float:
        summed.append(len(terms))
        return 0.0

    monkeypatch.setattr("ilion.searching.candidates.math.fsum", counted)
    rows = np.arange(64)
    found = score_exactly(values[:1] - values[1:2], np.zeros(64, np.int64), rows, Memory(values), 1)
    assert found.tolist() == [1.0, -1.0, *[0.0] * 62]
    assert not summed
    assert not np.signbit(found[2:]).any()


@pytest.mark.parametrize("scale", [1e-18, 1e-20, 1e-21, 1e-22])
def test_products_that_vanish_in_float32_are_not_lost(scale: float) -> None:
    rng = np.random.default_rng(9)
    queries, values = (rng.standard_normal((n, 64)).astype(np.float32) * np.float32(scale) for n in (4, 500))
    expected, exactly = naive(queries, values, 20)
    kernels: list[Kernel] = [Dense(queries), Filtered(queries, leading_basis(values, queries, 16))]
    kernels += [codes(queries, values) for codes in CODES]
    for kernel in kernels:
        rows, similarities = scan(kernel, queries, values, 20, 100)
        np.testing.assert_array_equal(similarities, exactly)
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("bad", [np.nan, 3e38, 1e17])
def test_rows_that_the_race_would_meet_first_are_named(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    values, queries = decaying(rng, 20_000, 16), decaying(rng, 3, 16)
    monkeypatch.setattr(exact, "RACE_FROM", 0)
    monkeypatch.setattr(exact, "SAMPLE_VALUES", 16 * 256)
    monkeypatch.setattr(exact, "SHARPER", 4)
    values[exact.sample_rows(20_000, 256)[200], 3] = bad
    values[exact.sample_rows(20_000, 1024, seed=1)[900], 3] = bad
    with pytest.raises(ArtifactError, match=r"NaN or infinity between rows 15[0-9]{3} and 1[56][0-9]{3}"):
        run(queries, Memory(values), block_size=512, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("codes", CODES)
def test_bounds_hold_for_the_rounding_of_float32(codes: type[Lowbit]) -> None:
    rng = np.random.default_rng(10)
    # rows close together and far from nothing: differences from the centre are mostly rounding
    values = (100 + 1e-6 * rng.standard_normal((400, 128))).astype(np.float32)
    queries = rng.standard_normal((30, 128)).astype(np.float32)
    expected, exactly = naive(queries, values, 5)
    found = codes(queries, values).pairs(values, 0, exactly[:, -1])
    kept = set(zip(found.queries.tolist(), found.rows.tolist(), strict=True))
    assert {(q, int(r)) for q in range(30) for r in expected[q]} <= kept


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    rng = np.random.default_rng(5)
    values, queries = decaying(rng, 2000, 16), decaying(rng, 3, 16)
    values[1234, 3] = bad
    with pytest.raises(ArtifactError, match="NaN or infinity between rows 1024 and 1536"):
        run(queries, Memory(values), block_size=512, threads=1)
    queries[1, 0] = bad
    with pytest.raises(ArtifactError, match="descriptor of query 'q1'"):
        run(queries, Memory(values))


def test_a_database_that_ends_early_is_an_error() -> None:
    database = Memory(decaying(np.random.default_rng(6), 300, 8))
    database.ids = [f"d{i}" for i in range(301)]
    database.gather = lambda rows: database.values[np.minimum(rows, 299)]  # type: ignore[method-assign]
    with pytest.raises(ArtifactError, match="301 ids but 300 descriptors"):
        run(database.values[:1], database)


def test_progress_ends_at_the_whole_and_never_goes_back() -> None:
    told: list[tuple[int, int]] = []
    values = decaying(np.random.default_rng(7), 1000, 8)
    tell = lambda done, total: told.append((done, total))  # noqa: E731
    run(values[:9], Memory(values), k=50, block_size=300, memory=20_000, progress=tell)
    assert told[-1] == (1000, 1000)
    assert told == sorted(told)


def test_stored_shards_are_read_as_they_are_stored(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    values = decaying(rng, 1000, 24).astype(np.float16)
    artifact = storage.open_artifact(tmp_path, "descriptors", {})
    stats = storage.ShardStats(0, 0.0, 0, machine())
    for name, rows in (("b", slice(0, 300)), ("a", slice(300, 301)), ("c", slice(301, 1000))):
        ids = tuple(f"{name}{i}" for i in range(len(values[rows])))
        storage.write_descriptors(artifact, name, Descriptors(ids, values[rows]), stats)
    database = storage.DescriptorSet(artifact, ["b", "a", "c"])
    blocks = list(database.stored_blocks(128))
    assert {block.dtype for block in blocks} == {np.dtype(np.float16)}
    np.testing.assert_array_equal(np.concatenate(blocks), values)
    queries = decaying(rng, 4, 24)
    ranking = run(queries, database, k=77)
    np.testing.assert_array_equal(ranking.indices, naive(queries, values.astype(np.float32), 77)[0])


def store(folder: Path, values: NDArray[np.float16]) -> storage.DescriptorSet:
    """Store values in shards of several sizes."""
    artifact = storage.open_artifact(folder, "descriptors", {})
    stats = storage.ShardStats(0, 0.0, 0, machine())
    cuts = [0, len(values) // 3, len(values) // 3 + 1, len(values)]
    for number, (first, last) in enumerate(itertools.pairwise(cuts)):
        ids = tuple(f"{number}/{i}" for i in range(last - first))
        storage.write_descriptors(artifact, str(number), Descriptors(ids, values[first:last]), stats)
    return storage.DescriptorSet(artifact, ["0", "1", "2"])


@pytest.mark.parametrize("number", [1, 3, widening.MOST_QUERIES, widening.MOST_QUERIES + 1])
@pytest.mark.parametrize("name", sorted({*adversarial()} - {"one huge coordinate"}))
def test_few_and_many_queries_over_stored_halves(
    name: str, number: int, compiled: bool, tmp_path: Path
) -> None:
    queries, values = adversarial()[name]
    queries = np.resize(queries, (number, queries.shape[1]))
    halves = values.astype(np.float16)
    database = store(tmp_path, halves)
    for part, some in ((database, slice(None)), (database.take(np.arange(1, 700, 3)), slice(1, None, 3))):
        expected, exactly = naive(queries, halves[some].astype(np.float32), 40)
        ranking = run(queries, part, k=40, block_size=256, threads=2)
        np.testing.assert_array_equal(ranking.indices, expected)
        np.testing.assert_array_equal(ranking.similarities, exactly)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("number", [1, widening.MOST_QUERIES + 1])
def test_stored_halves_that_are_not_finite_are_named(
    bad: float, number: int, compiled: bool, tmp_path: Path
) -> None:
    values = decaying(np.random.default_rng(5), 2000, 16)
    queries = decaying(np.random.default_rng(6), number, 16)
    database = store(tmp_path, values.astype(np.float16))
    path = database.artifact.folder / "0.npy"
    stored = np.load(path)
    stored[300, 3] = bad
    np.save(path, stored)  # without a checksum, as older versions wrote files
    database = storage.DescriptorSet(database.artifact, database.keys)
    assert np.array_equal(np.concatenate(list(database.blocks(100)))[300, 3], bad, equal_nan=True)
    with pytest.raises(ArtifactError, match="NaN or infinity between rows 256 and 512"):
        run(queries, database, block_size=256, threads=1)


def test_another_device_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, what: str, extra: str = "torch") -> None:
        raise MissingExtraError(what, extra)

    monkeypatch.setattr("ilion.searching.scoring.extra_library", missing)
    values = decaying(np.random.default_rng(9), 20, 4)
    with pytest.raises(MissingExtraError, match="search on device 'cuda'"):
        run(values[:1], Memory(values), device="cuda")


@pytest.mark.extras
@pytest.mark.parametrize("name", adversarial())
def test_torch_equals_the_naive_loop(name: str) -> None:
    queries, values = adversarial()[name]
    rows, similarities = scan(Torch(queries, "cpu"), queries, values, 40, 100)
    expected, exactly = expected_of(name)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(similarities, exactly)
