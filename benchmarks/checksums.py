"""The cost of comparing stored descriptors with their checksums, as a share of a search's processor time.

    python benchmarks/checksums.py [--rows 500000] [--dim 512] [--rounds 5]

Every search is a process of its own, as files are compared once by a process, and reads from the page cache;
what is compiled is loaded before, as in a service.
Only the comparing is clocked apart, so noise of the rest does not hide it; what reading the clock takes is
measured and taken off. Medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilion.kernels import widening
from ilion.runtime.machine import machine
from ilion.searching import search
from ilion.storage import Artifact, DescriptorSet, ShardStats, write_descriptors
from ilion.storage.seals import Check
from ilion.types import Descriptors

SHARDS = 4
KEYS = tuple(f"part{n}" for n in range(SHARDS))


def write(folder: Path, rows: int, dim: int) -> None:
    """Write a database of random directions, float16, in shards."""
    rng, each = np.random.default_rng(0), rows // SHARDS
    for n, key in enumerate(KEYS):
        values = rng.standard_normal((each, dim), np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        block = Descriptors(tuple(f"{n}/{i}" for i in range(each)), values.astype(np.float16))
        write_descriptors(Artifact(folder, "descriptors", {}), key, block, ShardStats(each, 0, 0, machine()))


def run(folder: Path, queries: int) -> tuple[float, float]:
    """Search; return processor seconds of the comparing, and of search and comparing together."""
    spent, calls = [0.0], [0]
    take = Check.take

    def clocked(check: Check, values: NDArray[Any]) -> None:
        start = time.thread_time()
        take(check, values)
        spent[0] += time.thread_time() - start
        calls[0] += 1

    type.__setattr__(Check, "take", clocked)
    database = DescriptorSet(Artifact(folder, "descriptors", {}), KEYS)
    values = np.random.default_rng(1).standard_normal((queries, database.dim), np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    widening.load()
    before = time.process_time()
    search([f"q{n}" for n in range(queries)], values, database, k=min(1000, len(database)))
    whole = time.process_time() - before
    clock = calls[0] * clock_cost()
    return spent[0] - clock, whole - 2 * clock


def clock_cost() -> float:
    """Return the processor seconds between two readings of the clock, one after the other."""
    found = []
    for _ in range(1000):
        start = time.thread_time()
        found.append(time.thread_time() - start)
    return statistics.median(found)


def main() -> None:
    """Print a line for each number of queries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "QUERIES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(*run(Path(given.one[0]), int(given.one[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.rows, given.dim)
        gigabytes = given.rows * given.dim * 2 / 1e9
        print(f"{given.rows:,} x {given.dim} float16, {gigabytes:.2f} GB; processor seconds")
        print("queries  comparing   search    share  comparing a GB")
        for queries in (1, 10, 100, 300, 1232):
            command = [sys.executable, __file__, "--one", folder, str(queries)]
            runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(given.rounds)]
            found = [tuple(map(float, each.stdout.split())) for each in runs]
            spent = statistics.median(each for each, _ in found)
            share = statistics.median(each / (whole - each) for each, whole in found)
            whole = statistics.median(whole - each for each, whole in found)
            each = f"{spent / gigabytes:14.4f}"
            print(f"{queries:>7}  {spent:9.4f}  {whole:7.3f}  {share:7.1%}  {each}", flush=True)


if __name__ == "__main__":
    main()
