"""Pairs of near codes among millions, in memory for a few numbers a code.

Of the bits of a code some are drawn, and codes that agree in all of them are compared; this is done for many
draws (bit sampling: Indyk and Motwani, STOC 1998, which for hashes of photos is what Manku, Jain and Das
Sarma do by permutations, WWW 2007). With d differing bits of B, one draw of s bits misses a pair with
probability 1 - (1 - d / B)^s, and all of them miss it with that to the power of their number; `miss_rate`
says how often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from ilion.types import Int64, Value

DRAWS = 32
"""Draws of bits; with 20 bits each, a pair of 20 differing bits of 192 is missed once in 27 times."""
REACH = 32
"""Codes after a code, in the order of one draw, with which it is compared; see `NearPairs.crowded`."""
BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class NearPairs(Value):
    """Pairs of codes that differ in few bits.

    Args:
        first: (P,) numbers of codes.
        second: (P,) numbers of codes, greater than ``first``; each pair once.
        bits: (P,) number of differing bits.
        crowded: Number of codes with more neighbours in a draw than were compared; equal codes never count.
    """

    first: Int64
    second: Int64
    bits: Int64
    crowded: int


def sampled_bits(count: int) -> int:
    """Return how many bits a draw has for so many codes, so that a draw puts few strangers together.

    >>> sampled_bits(1_000), sampled_bits(2_000_000)
    (12, 21)
    """
    return max(12, int(np.ceil(np.log2(max(count, 2)))))


def miss_rate(differing: int, bits: int, sampled: int, draws: int = DRAWS) -> float:
    """Return how often a pair with so many differing bits is missed.

    >>> miss_rate(10, 192, 20) < 1e-5, round(miss_rate(20, 192, 20), 3)
    (True, 0.037)
    """
    hit = comb(bits - differing, sampled) / comb(bits, sampled)
    return float((1 - hit) ** draws)


def near_pairs(codes: NDArray[np.uint8], most: int, *, seed: int = 0) -> NearPairs:
    """Find the pairs of codes that differ in few bits.

    Args:
        codes: (N, B / 8) uint8.
        most: Largest number of differing bits.
        seed: Seed of the draws.

    Returns:
        The pairs, by first and then second; of several equal codes, the first one is paired with all others,
        and stands for them in pairs with other codes.
    """
    unique, where, inverse = np.unique(
        codes.view(f"V{codes.shape[1]}").ravel() if codes.size else codes[:, 0],
        return_index=True,
        return_inverse=True,
    )
    first = where[inverse].astype(np.int64)
    copies = np.flatnonzero(first != np.arange(len(codes)))
    kept = np.sort(where).astype(np.int64)
    del unique, inverse
    words = _as_words(codes[kept])
    rng = np.random.default_rng(seed)
    sampled = sampled_bits(len(kept))
    seen = np.zeros(0, np.int64)
    crowded = np.zeros(len(kept), bool)
    for _ in range(DRAWS if len(kept) > 1 else 0):
        chosen = rng.choice(8 * codes.shape[1], sampled, replace=False)
        keys = _keys(codes, kept, chosen)
        for a, b in _neighbours(keys, crowded):
            close = np.bitwise_count(words[a] ^ words[b]).sum(axis=1, dtype=np.int64) <= most
            low, high = np.minimum(a[close], b[close]), np.maximum(a[close], b[close])
            seen = np.union1d(seen, low * len(kept) + high)
    low, high = np.divmod(seen, max(len(kept), 1))
    bits = np.bitwise_count(words[low] ^ words[high]).sum(axis=1, dtype=np.int64)
    one, other = np.concatenate([kept[low], first[copies]]), np.concatenate([kept[high], copies])
    order = np.lexsort((other, one))
    bits = np.concatenate([bits, np.zeros(len(copies), np.int64)])
    return NearPairs(one[order], other[order], bits[order], int(crowded.sum()))


def _as_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    wide = -(-codes.shape[1] // 8) * 8
    padded = np.zeros((len(codes), wide), np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)


def _keys(codes: NDArray[np.uint8], kept: Int64, chosen: NDArray[np.int64]) -> NDArray[np.uint32]:
    keys = np.zeros(len(kept), np.uint32)
    for place, bit in enumerate(chosen.tolist()):
        column = codes[kept, bit // 8]
        keys |= ((column >> np.uint8(7 - bit % 8)) & np.uint8(1)).astype(np.uint32) << np.uint32(place)
    return keys


def _neighbours(keys: NDArray[np.uint32], crowded: NDArray[np.bool_]) -> Iterator[tuple[Int64, Int64]]:
    """Yield pairs of equal keys, block by block."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    starts = np.arange(len(keys))
    for step in range(1, REACH + 1):
        starts = starts[starts + step < len(keys)]
        starts = starts[ranked[starts] == ranked[starts + step]]
        if not len(starts):
            return
        for block in range(0, len(starts), BLOCK):
            some = starts[block : block + BLOCK]
            yield order[some], order[some + step]
    starts = starts[starts + REACH + 1 < len(keys)]
    crowded[order[starts[ranked[starts] == ranked[starts + REACH + 1]]]] = True
