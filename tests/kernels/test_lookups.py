"""Codes that are near enough, looked up in registers, against sums of table entries one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ilion.kernels import lookups

CODE_AT, LIMIT = 12, 1027
pytestmark = pytest.mark.skipif(not lookups.can_compile(), reason="needs a processor with AVX-512 VBMI")


@pytest.fixture(scope="module")
def near() -> Any:
    from numba import njit

    near_codes = lookups.near_codes(CODE_AT, LIMIT)
    fetch = lookups.fetch_ahead()

    @njit
    def find(
        tables: Any, at: Any, records: Any, start: Any, stop: Any, pairs: Any, filled: Any, sums: Any
    ) -> Any:
        fetch(records, start)
        return near_codes(tables, at, records, start, stop, pairs, filled, sums)

    return find


def draw_tables(rng: np.random.Generator, count: int, most: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    shape = (count, lookups.PARTS, lookups.TABLE)
    return np.where(rng.random(shape) < 0.5, rng.integers(0, 400, shape), rng.integers(0, most, shape))


@pytest.mark.parametrize("most", [500, 900, 2048])
def test_near_codes_are_those_of_the_definition(near: Any, most: int) -> None:
    """Lists of all lengths around a register, at the start, within and at the end of the records."""
    rng = np.random.default_rng(most)
    steps = draw_tables(rng, 3, most)
    tables = np.concatenate([steps >> lookups.LOW, steps & 7], axis=1).astype(np.uint8).ravel()
    records = rng.integers(0, 2**64, 200, np.uint64)
    codes = (records[:, None] >> np.array([12, 19, 26, 33], np.uint64) & np.uint64(127)).astype(np.int64)
    found_any = 0
    for entry in range(3):
        distances = steps[entry][np.arange(4), codes].sum(1)
        assert distances.max() >= LIMIT > distances.min()
        for start in (0, 1, 90, 184):
            for stop in {*range(start, start + 36), 198, 199, 200}:
                if stop < start or stop > 200:
                    continue
                pairs, sums = np.full(300, 7, np.uint32), np.full(300, 7, np.uint32)
                filled = near(tables, entry * 1024, records, start, stop, pairs, 5, sums)
                places = np.flatnonzero(distances[start:stop] < LIMIT)
                rows = records[start + places].astype(np.int64) & 4095
                assert filled == 5 + len(places)
                assert pairs[5:filled].tolist() == (rows | places << CODE_AT).tolist()
                assert sums[: len(places)].tolist() == distances[start + places].tolist()
                assert (pairs[:5] == 7).all()
                assert (pairs[filled + lookups.LINE :] == 7).all()
                assert (sums[len(places) + lookups.LINE :] == 7).all()
                found_any += len(places)
    assert found_any > 1000


def test_a_distance_at_the_limit_is_too_far(near: Any) -> None:
    """Upper and lower bits of the four parts add up without loss, also where a byte would overflow."""
    steps = np.zeros((1, 4, 128), np.int64)
    steps[0, :, 0] = 2047
    steps[0, :, 1], steps[0, :, 2] = [255, 257, 256, 258], [257, 257, 256, 257]
    tables = np.concatenate([steps >> lookups.LOW, steps & 7], axis=1).astype(np.uint8).ravel()
    codes = np.array([0, 1, 2, 3], np.uint64)
    records = np.tile(
        codes << np.uint64(12) | codes << np.uint64(19) | codes << np.uint64(26) | codes << np.uint64(33), 5
    )
    pairs, sums = np.zeros(40, np.uint32), np.zeros(40, np.uint32)
    filled = near(tables, 0, records, 0, 4, pairs, 0, sums)
    assert (pairs[:filled] >> CODE_AT).tolist() == [1, 3]
    assert sums[:filled].tolist() == [1026, 0]
