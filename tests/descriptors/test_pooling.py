"""Pooling against loops written from the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from ilion.descriptors import pooling
from ilion.errors import ConfigError
from ilion.types import Float32, Float64


def _maps(seed: int, shape: tuple[int, ...]) -> Float32:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _naive(maps: Float32, name: str) -> Float64:
    """Gap, mac and gem, one value at a time."""
    batch, channels, height, width = maps.shape
    result = np.zeros((batch, channels))
    for b in range(batch):
        for c in range(channels):
            values = [float(maps[b, c, y, x]) for y in range(height) for x in range(width)]
            if name == "gap":
                result[b, c] = sum(values) / len(values)
            elif name == "mac":
                result[b, c] = max(values)
            else:
                result[b, c] = (sum(max(v, 1e-6) ** 3 for v in values) / len(values)) ** (1 / 3)
    return result


def _naive_regional(maps: Float32, name: str, regions: list[tuple[int, int, int]]) -> Float64:
    total = np.zeros(maps.shape[:2])
    for top, left, side in regions:
        vector = _naive(maps[:, :, top : top + side, left : left + side], name)
        total += vector / np.sqrt((vector**2).sum(axis=1))[:, None]
    return total


@pytest.mark.parametrize("name", ["gap", "mac", "gem"])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 3)])
def test_global_poolings_match_loops(name: str, size: tuple[int, int]) -> None:
    maps = _maps(1, (2, 4, *size))
    pooled = pooling.MAP_POOLINGS[name](maps)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, _naive(maps, name), atol=2e-6)


# Written by hand from section 4 of Tolias et al. for a map of 4 x 6: the shorter side is 4, so the sides are
# 4, floor(8 / 3) = 2 and 2. Two squares of 4 along 6 overlap by half, the closest to 40%; hence m = 2.
REGIONS_4_6 = [
    *[(0, 0, 4), (0, 2, 4)],
    *[(0, 0, 2), (0, 2, 2), (0, 4, 2), (2, 0, 2), (2, 2, 2), (2, 4, 2)],
    *[(y, x, 2) for y in (0, 1, 2) for x in (0, 1, 2, 4)],
]


@pytest.mark.parametrize(("name", "inner"), [("rmac", "mac"), ("rgem", "gem")])
def test_regional_poolings_match_loops(name: str, inner: str) -> None:
    maps = _maps(2, (2, 5, 4, 6))
    np.testing.assert_allclose(
        pooling.MAP_POOLINGS[name](maps), _naive_regional(maps, inner, REGIONS_4_6), atol=1e-5
    )


def test_regions_of_known_maps() -> None:
    assert list(pooling.rmac_regions(4, 6)) == REGIONS_4_6
    assert set(pooling.rmac_regions(6, 4)) == {(x, y, side) for y, x, side in REGIONS_4_6}
    # A square map has 1 + 4 + 9 regions; an image of 4:3 the 2 + 6 + 12 = 20 that the paper's readers count.
    assert len(pooling.rmac_regions(12, 12)) == 14
    assert len(pooling.rmac_regions(24, 32)) == 20
    assert pooling.rmac_regions(1, 1) == ((0, 0, 1),)


@pytest.mark.parametrize("size", [(h, w) for h in (1, 2, 3, 7, 16) for w in (1, 5, 16, 40)])
def test_regions_stay_inside_and_reach_every_border(size: tuple[int, int]) -> None:
    height, width = size
    regions = pooling.rmac_regions(height, width)
    assert min(top for top, _, _ in regions) == 0
    assert min(left for _, left, _ in regions) == 0
    assert max(top + side for top, _, side in regions) == height
    assert max(left + side for _, left, side in regions) == width


@pytest.mark.parametrize(("long", "steps"), [(10, 2), (16, 2), (19, 3), (40, 6)])
def test_number_of_regions_comes_closest_to_the_overlap(long: int, steps: int) -> None:
    first_level = [r for r in pooling.rmac_regions(10, long) if r[2] == 10]
    expected = 1 if long == 10 else steps
    assert len(first_level) == expected
    overlaps = {m: 1 - (long - 10) / ((m - 1) * 10) for m in range(2, 20)}
    if long > 10:
        assert min(overlaps, key=lambda m: abs(overlaps[m] - 0.4)) == expected


def test_regional_pooling_weights_regions_equally() -> None:
    """A bright spot lights up only its regions, each with length one."""
    maps = np.zeros((1, 2, 3, 3), np.float32)
    maps[0, 0] = 1.0
    maps[0, 1, 0, 0] = 100.0
    # 3 x 3: sides 3, 2 and 1; the spot is in 1 + 1 + 1 regions of 14.
    pooled = pooling.rmac(maps)[0]
    length = np.hypot(1.0, 100.0)
    np.testing.assert_allclose(pooled, np.array([11 + 3 / length, 300 / length]), rtol=1e-6)


def test_l2_normalise_keeps_zero_rows() -> None:
    rows = np.array([[0.0, 0.0], [1e-8, 0.0], [3e5, 4e5]], np.float32)
    np.testing.assert_allclose(pooling.l2_normalise(rows), np.array([[0, 0], [1, 0], [0.6, 0.8]]), rtol=1e-6)


def test_pool_chooses_by_shape() -> None:
    tokens = _maps(3, (2, 7, 4))
    np.testing.assert_array_equal(pooling.pool(tokens, "cls"), tokens[:, 0])
    np.testing.assert_allclose(
        pooling.pool(tokens, "gap", grid=(2, 3), prefix=1), tokens[:, 1:].mean(axis=1), atol=1e-6
    )
    maps = pooling.tokens_to_maps(tokens, (2, 3), 1)
    assert maps[1, 2, 1, 0] == tokens[1, 1 + 3, 2]
    np.testing.assert_array_equal(pooling.pool(maps, "gap"), pooling.gap(maps))
    vectors = _maps(4, (2, 4))
    np.testing.assert_array_equal(pooling.pool(vectors, "head"), vectors)
    np.testing.assert_array_equal(pooling.pool(vectors[:, :, None, None], "head"), vectors)


@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        ((2, 4), "gem", r"'gem' does not fit .*\(2, 4\); use one of head"),
        ((2, 7, 4), "head", "use one of cls, gap"),
        ((2, 4, 3, 3), "cls", "use one of gap, mac"),
        ((2, 7, 4), "gem", "7 tokens, of which 1 come before"),
        ((2,), "gem", "name another output"),
        ((2, 4), "max", "'max' is not one of head, cls, gap"),
    ],
)
def test_pool_says_what_fits(shape: tuple[int, ...], name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pooling.pool(np.ones(shape, np.float32), name)


def test_cls_needs_a_class_token() -> None:
    with pytest.raises(ConfigError, match="use one of gap"):
        pooling.pool(np.ones((1, 4, 2), np.float32), "cls", grid=(2, 2), prefix=0)


def test_token_grid() -> None:
    assert pooling.token_grid(224, 336, 14 * 21) == (14, 21)
    assert pooling.token_grid(224, 224, 195) is None
