"""Float16 widened, and few queries held against it: what NumPy says of every value there is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ilion.kernels import widening

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)


def bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    return values.view(np.uint32)


def test_every_value_is_kept(compiled: bool) -> None:
    found, wanted = widening.widen(EVERY), EVERY.astype(np.float32)
    unlike = bits(found) != bits(wanted)
    assert np.array_equal(np.isnan(found), np.isnan(EVERY))
    assert np.isnan(EVERY[unlike]).all(), "all others, infinity included, to the bit"
    # a NaN keeps its sign and content; only its first bit says whether it signals
    assert set((bits(found) ^ bits(wanted))[unlike].tolist()) <= {1 << 22}


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 31, 33, 511])
def test_any_number_of_values(size: int, compiled: bool) -> None:
    rows = np.random.default_rng(size).standard_normal((3, size)).astype(np.float16)
    np.testing.assert_array_equal(widening.widen(rows), rows.astype(np.float32))
    assert widening.widen(rows[0]).shape == (size,)


def test_rows_that_lie_apart_and_other_types(compiled: bool) -> None:
    rows = np.where(np.isnan(EVERY), np.float16(1), EVERY)
    for some in (rows[::2, 1:], rows.T, np.asfortranarray(rows), rows.astype(">f2")):
        found = widening.widen(some)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, some.astype(np.float32))
    whole = rows.astype(np.float32)
    assert widening.widen(whole) is whole
    assert widening.widen(np.ones((2, 3), np.float64)).dtype == np.float32


def test_long_work_loads_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widening, "_loaded", [])
    monkeypatch.setattr(widening, "_widened", 0)
    monkeypatch.setattr(widening, "LOAD_AFTER", 300)
    rows = np.ones((10, 10), np.float16)
    for _ in range(2):
        widening.widen(rows)
        assert not widening._loaded
    widening.widen(rows.astype(np.float32))  # nothing to do, and nothing counted
    assert not widening._loaded
    assert widening.widen(rows).tolist() == rows.tolist()
    assert bool(widening._loaded) == widening.can_compile()


def test_without_numba_all_is_done_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widening, "_loaded", [])
    with monkeypatch.context() as patch:
        patch.setattr(widening, "_import", lambda: None)  # nowhere to keep what is compiled
        assert not widening.load()
    monkeypatch.setattr(widening, "can_compile", lambda: False)
    assert not widening.load()
    assert not widening.pays(2**40)
    np.testing.assert_array_equal(widening.widen(EVERY[:100]), EVERY[:100].astype(np.float32))


@pytest.mark.skipif(not widening.can_compile(), reason="needs numba, AVX2 and conversion of float16")
@pytest.mark.parametrize("dim", [1, 8, 17, 512])
@pytest.mark.parametrize("number", [1, 2, 16])
def test_few_queries_are_held_against_rows_as_stored(number: int, dim: int) -> None:
    widening.load()
    rng = np.random.default_rng(dim)
    rows = (rng.standard_normal((50, 2 * dim)) * 10.0 ** rng.integers(-7, 4, (50, 1))).astype(np.float16)
    rows, queries = rows[:, ::2], rng.standard_normal((number, dim)).astype(np.float32)
    values, squares = widening.compare(rows, queries)
    wide = rows.astype(np.float64)
    size = np.linalg.norm(wide, axis=1)
    np.testing.assert_allclose(squares, size**2, rtol=dim * 2.0**-22)
    errors = np.abs(values - wide @ queries.T.astype(np.float64))
    assert (errors <= dim * 2.0**-23 * size[:, None] * np.linalg.norm(queries, axis=1) + 1e-30).all()
    row, query = rng.integers(0, 50, 99), rng.integers(0, number, 99)
    products = widening.multiply_pairs(rows.astype(np.float32), queries, row, query)
    wanted = np.einsum("pd,pd->p", wide[row], queries[query].astype(np.float64))
    np.testing.assert_allclose(products, wanted, rtol=1e-12, atol=1e-12)
