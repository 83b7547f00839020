"""Nearest codes by byte shuffles: the same numbers as counting bits pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ilion.errors import ArtifactError
from ilion.kernels import hamming, shuffles

Codes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def kernel() -> shuffles.Kernel:
    found = shuffles.compile_nearest()
    if found is None:
        pytest.skip("needs numba and a processor with AVX2")
    return found


def least(kernel: shuffles.Kernel, queries: Codes, images: list[Codes]) -> NDArray[np.int32]:
    found = np.full((len(images), len(queries)), -1, np.int32)
    starts = np.cumsum([0, *map(len, images)])
    kernel(shuffles.pair_nibbles(queries), shuffles.view_words(np.concatenate(images)), starts, found)
    return found


@pytest.mark.parametrize("size", [1, 7, 8, 16, 31, 32, 62, 63, 96, 257])
@pytest.mark.parametrize("tokens", [1, 2, 127, 128, 129, 600])
def test_the_least_of_all_pairs(kernel: shuffles.Kernel, size: int, tokens: int) -> None:
    rng = np.random.default_rng(size * 1000 + tokens)
    queries = rng.integers(0, 256, (13, size), np.uint8)
    codes = rng.integers(0, 256, (tokens, size), np.uint8)
    codes[-1] = queries[3]
    found = least(kernel, queries, [codes])[0]
    pairs = np.bitwise_count(queries[:, None] ^ codes[None]).sum(axis=2, dtype=np.int64)
    assert found.tolist() == pairs.min(axis=1).tolist()
    assert found[3] == 0


def test_opposite_codes_do_not_overflow(kernel: shuffles.Kernel) -> None:
    zeros, ones = np.zeros((1, 512), np.uint8), np.full((161, 512), 255, np.uint8)
    assert least(kernel, zeros, [ones]).tolist() == [[4096]]


def test_bytes_hold_the_most_that_is_added_in_them(kernel: shuffles.Kernel) -> None:
    for size in (31, 32):
        zeros, ones = np.zeros((2, size), np.uint8), np.full((5, size), 255, np.uint8)
        assert least(kernel, zeros, [ones]).tolist() == [[8 * size] * 2]
        assert least(kernel, np.stack([zeros[0], ones[0]]), [ones]).tolist() == [[8 * size, 0]]


def test_images_one_after_the_other_are_kept_apart(kernel: shuffles.Kernel) -> None:
    rng = np.random.default_rng(1)
    queries = rng.integers(0, 256, (5, 16), np.uint8)
    images = [rng.integers(0, 256, (n, 16), np.uint8) for n in (1, 127, 300, 2)]
    together = least(kernel, queries, images)
    for codes, row in zip(images, together, strict=True):
        assert np.array_equal(row, least(kernel, queries, [codes])[0])


def test_with_and_without_the_kernel_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries = rng.integers(0, 256, (50, 24), np.uint8)
    images = [rng.integers(0, 256, (n, 24), np.uint8) for n in (1, 40, 700)]
    fast = hamming.least_hamming(queries[::2], images)
    monkeypatch.setattr(hamming, "compile_nearest", lambda: None)
    assert np.array_equal(hamming.least_hamming(queries[::2], images), fast)


def test_without_the_extra_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffles, "compiles", lambda *features: False)
    assert shuffles.compile_nearest.__wrapped__() is None


def test_very_long_codes_are_counted() -> None:
    zeros, ones = np.zeros((1, 8192), np.uint8), np.full((3, 8192), 255, np.uint8)
    assert hamming.least_hamming(zeros, [ones]).tolist() == [[65536]]


def test_the_nearest_of_nothing_is_an_error() -> None:
    with pytest.raises(ArtifactError, match="nothing is nearest"):
        hamming.least_hamming(np.zeros((1, 8), np.uint8), [np.zeros((0, 8), np.uint8)])
    with pytest.raises(ArtifactError, match="nothing is nearest"):
        hamming.least_hamming(np.zeros((1, 0), np.uint8), [np.zeros((2, 0), np.uint8)])
