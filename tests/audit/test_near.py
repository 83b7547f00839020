"""Near codes: against all pairs, by theory, and in bounded time for many."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import draw_photo

from ilion.audit.hashes import BITS, sign, thumb_distances
from ilion.audit.near import DRAWS, miss_rate, near_pairs, sampled_bits
from ilion.images import decode


def random_codes(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (count, BITS // 8), dtype=np.uint8)


def flip(rng: np.random.Generator, codes: NDArray[np.uint8], differing: int) -> NDArray[np.uint8]:
    bits = np.unpackbits(codes, axis=1)
    for row in bits:
        row[rng.choice(BITS, differing, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def test_every_pair_is_near_and_listed_once() -> None:
    rng = np.random.default_rng(0)
    base = random_codes(rng, 300)
    codes = np.concatenate([base, flip(rng, base[:80], 6), base[:10], base[:10]])
    found = near_pairs(codes, 24)
    bits = np.unpackbits(codes, axis=1).astype(int)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    listed = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(listed) == len(found.first)
    for a, b, d in zip(found.first, found.second, found.bits, strict=True):
        assert a < b
        assert distances[a, b] == d <= 24
    near = {(int(a), int(b)) for a, b in np.argwhere(distances <= 24) if a < b}
    # equal codes stand for each other: what is not listed is joined by what is
    joined = {x: x for x in range(len(codes))}
    for a, b in sorted(listed):
        joined[b] = joined[a]
    assert all(joined[a] == joined[b] for a, b in near)


@pytest.mark.parametrize("differing", [8, 16, 24])
def test_pairs_are_missed_as_rarely_as_theory_says(differing: int) -> None:
    rng = np.random.default_rng(differing)
    base = random_codes(rng, 2000)
    codes = np.concatenate([base, flip(rng, base, differing)])
    found = near_pairs(codes, 30, seed=3)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    missed = sum((n, n + 2000) not in pairs for n in range(2000))
    expected = 2000 * miss_rate(differing, BITS, sampled_bits(len(codes)), DRAWS)
    assert missed <= expected + 5 * np.sqrt(expected) + 3
    assert missed >= expected - 5 * np.sqrt(expected) - 3


@pytest.mark.slow
def test_equal_codes_cost_nothing_and_crowds_are_said() -> None:
    same = np.zeros((5000, BITS // 8), np.uint8)
    found = near_pairs(same, 10)
    assert len(found.first) == 4999
    assert found.crowded == 0
    rng = np.random.default_rng(0)
    alike = np.unique(flip(rng, same[:400], 2), axis=0)
    assert near_pairs(alike, 10).crowded > 0
    assert len(near_pairs(same[:0], 10).first) == len(near_pairs(same[:1], 10).first) == 0


@pytest.mark.slow
def test_versions_of_a_photo_share_their_signature_and_others_do_not() -> None:
    photos = [decode(draw_photo(n, (320, 240))).image for n in range(40)]
    signed = [sign(photo) for photo in photos]

    def bits(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
        return int(np.unpackbits(a ^ b).sum())

    for number, photo in enumerate(photos):
        own = signed[number]
        half = sign(np.asarray(cv2.resize(photo, (160, 120), interpolation=cv2.INTER_AREA), np.uint8))
        mirrored = sign(np.ascontiguousarray(photo[:, ::-1]))
        saved = sign(decode(draw_photo(number, (320, 240), quality=25)).image)
        assert max(bits(own.code, half.code), bits(own.code, saved.code)) <= 16
        assert bits(own.mirrored, mirrored.code) <= 4
        peak, likeness = thumb_distances(own.thumb[None], saved.thumb[None])
        assert peak[0] < 15
        assert likeness[0] > 0.99
    others = [bits(a.code, b.code) for n, a in enumerate(signed) for b in signed[:n]]
    assert min(others) > 40


@pytest.mark.slow
def test_many_codes_take_bounded_memory() -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    codes = random_codes(rng, 300_000)
    codes[150_000:150_100] = flip(rng, codes[:100], 8)
    tracemalloc.start()
    found = near_pairs(codes, 24)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert sum((n, n + 150_000) in pairs for n in range(100)) >= 99
    assert most < 400 * len(codes)
