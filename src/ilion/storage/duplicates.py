"""Search for ids that occur twice among very many, in memory that does not grow with their number.

Each id becomes a 64-bit hash. Hashes are sorted a run at a time and kept in a scratch file; then equal ones
of all runs are found one range of values after the other. Ids whose hash is not alone are suspects: the
caller compares those exactly, so a chance collision costs a look and never a wrong answer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ilion.storage.files import release_pages
from ilion.types import Int64

UInt64 = NDArray[np.uint64]

RUN = 2**21
"""Hashes sorted at once (16 MiB)."""
SUSPECTS = 2**16
"""Hashes given out at once: bounds the ids that the caller holds to compare them."""


def encode_ids(ids: Sequence[str]) -> tuple[bytes, Int64]:
    """Return ids one after the other in UTF-8, and where each starts, the end of the last included.

    >>> encode_ids(["ab", "", "ü"])
    (b'ab\\xc3\\xbc', array([0, 2, 2, 4]))
    """
    text = "".join(ids).encode("utf-8", "surrogatepass")
    starts = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)), out=starts[1:])
    if starts[-1] != len(text):  # not all are ASCII, so characters are not bytes
        lengths = (len(name.encode("utf-8", "surrogatepass")) for name in ids)
        np.cumsum(np.fromiter(lengths, np.int64, len(ids)), out=starts[1:])
    return text, starts


def hash_ids(text: bytes, starts: Int64) -> UInt64:
    """Return a 64-bit hash of each id.

    Multilinear: each byte times a multiplier of its place, summed modulo 2^64 (Carter and Wegman, "Universal
    classes of hash functions", 1979). It is fast over many ids at once, and need not resist an attacker:
    equal hashes are compared exactly.

    Args:
        text: Ids one after the other.
        starts: (n + 1,) where each starts, and the end.

    >>> one, two, three = hash_ids(*encode_ids(["a/1", "a/2", "a/1"]))
    >>> bool(one == three), bool(one == two)
    (True, False)
    """
    lengths = np.diff(starts)
    places = np.arange(len(text)) - np.repeat(starts[:-1] - starts[0], lengths)
    multipliers = _scramble(np.arange(int(lengths.max(initial=0)), dtype=np.uint64))
    # a byte counts from 1, so that a zero at the end makes another id
    values = (np.frombuffer(text, np.uint8) + np.uint64(1)) * multipliers[places]
    sums = np.zeros(len(text) + 1, np.uint64)
    np.cumsum(values, out=sums[1:])
    ends = starts - starts[0]
    found: UInt64 = sums[ends[1:]] - sums[ends[:-1]]
    return found


def _scramble(values: UInt64) -> UInt64:
    """Return pseudo-random numbers, see `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: UInt64 = mixed ^ (mixed >> np.uint64(31))
    return scrambled


class DuplicateFinder:
    """Collects hashes and says which occur twice; a context that removes its scratch file.

    Args:
        folder: Folder of the scratch file, 8 bytes an id; None takes the system's folder for such files.

    >>> with DuplicateFinder() as finder:
    ...     finder.add(np.array([7, 3], np.uint64))
    ...     finder.add(np.array([5, 7], np.uint64))
    ...     [found.tolist() for found in finder.suspects()]
    [[7]]
    """

    def __init__(self, folder: Path | None = None) -> None:
        # without a name, where the system can: a killed process leaves nothing
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".ids-", suffix=".tmp")  # noqa: SIM115
        self._waiting: list[UInt64] = []
        self._count = 0
        self._runs: list[int] = []

    def __enter__(self) -> DuplicateFinder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, values: UInt64) -> None:
        """Take in hashes."""
        self._waiting.append(values)
        self._count += len(values)
        if self._count >= RUN:
            self._spill()

    def _spill(self) -> None:
        run = np.concatenate([np.empty(0, np.uint64), *self._waiting])
        self._waiting, self._count = [], 0
        run.sort()
        # two of a kind are enough to be suspect: ids that are all alike must not pile up in one range
        run = run[np.concatenate([np.ones(min(2, len(run)), np.bool_), run[2:] != run[:-2]])]
        self._file.write(run.data)
        self._runs.append(len(run))

    def suspects(self) -> Iterator[UInt64]:
        """Yield the hashes that were given more than once, sorted, at most `SUSPECTS` at a time."""
        self._spill()
        self._file.flush()
        total = sum(self._runs)
        if not total:
            return
        stored = np.memmap(self._file, np.uint64, mode="r", shape=(total,))
        ends = np.cumsum(self._runs)
        runs = [stored[end - size : end] for end, size in zip(ends, self._runs, strict=True)]
        # hashes are spread evenly, so each range of values holds about RUN of them, whatever the ids are
        ranges = -(-total // RUN)
        begins = [0] * len(runs)
        for number in range(1, ranges + 1):
            least = np.uint64(min(number * 2**64 // ranges, 2**64 - 1))
            stops = [len(run) if number == ranges else int(np.searchsorted(run, least)) for run in runs]
            parts = [run[begin:stop] for run, begin, stop in zip(runs, begins, stops, strict=True)]
            values = np.sort(np.concatenate(parts))
            release_pages(stored)
            found = np.unique(values[1:][values[1:] == values[:-1]])
            for first in range(0, len(found), SUSPECTS):
                yield found[first : first + SUSPECTS]
            begins = stops
