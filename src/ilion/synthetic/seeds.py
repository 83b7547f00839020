"""Random numbers that depend on nothing but a key, so that any part of a set can be made on its own."""

from __future__ import annotations

import zlib

import numpy as np


def rng(seed: int, *key: str | int) -> np.random.Generator:
    """Return the generator of a key; the same key always gives the same numbers.

    Args:
        seed: Seed of the set, not negative.
        key: Purpose of the numbers, such as ``("distractor", 17)``. Numbers are not negative.

    >>> float(rng(0, "a", 1).random()) == float(rng(0, "a", 1).random())
    True
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
