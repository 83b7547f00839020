"""Batches of labelled descriptors, read from a file that may be larger than memory.

An epoch is a plan: row numbers in the order of training, drawn from seed and epoch alone, so that a
training that goes on after a kill sees the very same batches. Rows are read a pool at a time, in the order
of the file, by one thread ahead of the training, and put in the order of the plan in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilion.errors import ConfigError
from ilion.types import Float32, Float64, Int64

Balance = Literal["none", "class", "domain", "class+domain"]

RUN = 64
"""Neighbouring rows that stay together where descriptors do not fit in memory: 128 KB at 1,024 dimensions."""


def draw_chances(classes: Int64, domains: Int64, balance: Balance) -> Float64 | None:
    """Return the probability of each photo, or None where an epoch shows every photo once.

    Args:
        classes: (N,) class numbers.
        domains: (N,) domain numbers.
        balance: ``class`` draws every class as often, ``domain`` every domain, ``class+domain`` every domain
            and within it every class.

    Raises:
        ConfigError: Unknown balance.

    >>> draw_chances(np.array([0, 0, 1]), np.array([0, 0, 0]), "class").tolist()
    [0.25, 0.25, 0.5]
    """
    if balance == "none":
        return None
    if balance == "class":
        share = 1 / np.bincount(classes)[classes]
    elif balance == "domain":
        share = 1 / np.bincount(domains)[domains]
    elif balance == "class+domain":
        pairs, pair = np.unique(np.stack([domains, classes]), axis=1, return_inverse=True)
        pair = pair.reshape(-1)
        share = 1 / (np.bincount(pair)[pair] * np.bincount(pairs[0])[domains])
    else:
        raise ConfigError(f"balance {balance!r} is not none, class, domain or class+domain")
    return np.asarray(share / share.sum())


def plan_epoch(rows: Int64, epoch: int, seed: int, *, pool: int, chances: Float64 | None = None) -> Int64:
    """Return the rows of one epoch in the order of training, as many as there are.

    Args:
        rows: (N,) sorted rows that take part.
        epoch: Number of the epoch, from 0.
        seed: The same seed and epoch give the same plan.
        pool: Number of rows held in memory. If all fit, the order is a permutation of all, as torch shuffles;
            otherwise runs of `RUN` rows are shuffled, and the rows within each pool of them.
        chances: (N,) probabilities to draw with replacement; None takes each row once.

    >>> sorted(plan_epoch(np.arange(5), 0, 0, pool=9).tolist())
    [0, 1, 2, 3, 4]
    """
    rng = np.random.default_rng((seed, epoch))
    if chances is not None:
        drawn = np.searchsorted(np.cumsum(chances)[:-1], rng.random(len(rows)), side="right")
        return np.asarray(rows[drawn])
    if len(rows) <= pool:
        return rng.permutation(rows)
    runs = rng.permutation(-(-len(rows) // RUN))
    places = (runs[:, None] * RUN + np.arange(RUN)).ravel()
    places = places[places < len(rows)]
    for start in range(0, len(places), pool):
        rng.shuffle(places[start : start + pool])
    return np.asarray(rows[places])


def read_batches(
    values: NDArray[np.floating], order: Int64, *, size: int, pool: int, first: int = 0
) -> Iterator[tuple[Int64, Float32]]:
    """Yield (rows, float32 descriptors) of the batches of a plan.

    Two pools are held at most, in the type of the file.

    Args:
        values: (N, D), memory-mapped perhaps.
        order: A plan.
        size: Number of descriptors in a batch; the last one may be smaller.
        pool: Number of rows read at once.
        first: Number of the batch to begin with; earlier ones are not read.
    """
    step = max(1, pool // size) * size
    starts = range(first * size, len(order), step)

    def read(start: int) -> NDArray[np.floating]:
        wanted = order[start : start + step]
        sorting = np.argsort(wanted, kind="stable")
        held = np.empty((len(wanted), values.shape[1]), values.dtype)
        for few in range(0, len(wanted), 4096):
            places = sorting[few : few + 4096]
            held[places] = values[wanted[places]]
        return held

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, starts[0]) if len(starts) else None
        for number, start in enumerate(starts):
            assert ahead is not None
            held = ahead.result()
            ahead = reader.submit(read, starts[number + 1]) if number + 1 < len(starts) else None
            for begin in range(0, len(held), size):
                part = held[begin : begin + size]
                yield order[start + begin : start + begin + len(part)], part.astype(np.float32)
