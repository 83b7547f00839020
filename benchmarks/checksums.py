"""What comparing stored descriptors with their checksums costs: processor time of a search with and without.

    python benchmarks/checksums.py [--rows 500000] [--dim 512] [--rounds 5]

Every search is a process of its own, as files are compared once by a process, and reads from the page cache.
Rounds go in turn, and medians are printed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ilion.runtime.machine import machine
from ilion.searching import search
from ilion.storage import Artifact, DescriptorSet, ShardStats, descriptors, write_descriptors
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


def run(folder: Path, queries: int, checked: bool) -> float:
    """Search, and return the processor seconds of it, without what comes before."""
    if not checked:
        descriptors.check_mapped = lambda path, array: None  # type: ignore[assignment]
    database = DescriptorSet(Artifact(folder, "descriptors", {}), KEYS)
    values = np.random.default_rng(1).standard_normal((queries, database.dim), np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    before = resource.getrusage(resource.RUSAGE_SELF)
    search([f"q{n}" for n in range(queries)], values, database, k=min(1000, len(database)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line for each number of queries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "QUERIES", "CHECKED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(run(Path(given.one[0]), int(given.one[1]), given.one[2] == "1"))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.rows, given.dim)
        gigabytes = given.rows * given.dim * 2 / 1e9
        print(f"{given.rows:,} x {given.dim} float16, {gigabytes:.2f} GB, processor seconds of one search")
        print("queries   without      with    share  seconds a GB")
        for queries in (1, 10, 100, 300, 1232):
            times: dict[str, list[float]] = {"0": [], "1": []}
            for _ in range(given.rounds):
                for checked, found in times.items():
                    command = [sys.executable, __file__, "--one", folder, str(queries), checked]
                    found.append(float(subprocess.run(command, capture_output=True, check=True).stdout))
            without, with_ = (statistics.median(times[checked]) for checked in "01")
            extra = statistics.median(b - a for a, b in zip(times["0"], times["1"], strict=True))
            print(
                f"{queries:>7}  {without:8.3f}  {with_:8.3f}  {extra / without:7.1%}  {extra / gigabytes:8.3f}"
            )


if __name__ == "__main__":
    main()
