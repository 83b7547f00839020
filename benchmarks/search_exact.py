"""Exact search of float16 shards on disk, against faiss.knn on float32 blocks of the same files.

Both read the same memory-mapped files and give the same rows, which is checked (ties and what float32
cannot tell apart excepted). They take turns. Medians and ratios are printed, for descriptors with a
realistic spectrum and isotropic ones (benchmarks/spectra.py). Peak memory is that of a process that only
searches.

Run: python benchmarks/search_exact.py [--full] [--real FOLDER] [--folder FOLDER] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from spectra import Isotropic, Realistic, build, keys_of, like_photos, load, maps

from ilion import storage
from ilion.runtime.machine import machine, peak_memory
from ilion.searching import search
from ilion.types import Float32, Int64

BLOCK = 2**17
"""Rows that faiss.knn compares at once (256 MiB as float32); smaller blocks were slower."""


def with_faiss(
    queries: Float32, database: storage.DescriptorSet, number: int, k: int
) -> tuple[Float32, Int64]:
    """What one writes with faiss: knn block by block, and a heap that merges."""
    heap = faiss.ResultHeap(len(queries), k, keep_max=True)
    start = 0
    for values in maps(database, number):
        for first in range(0, len(values), BLOCK):
            block = values[first : first + BLOCK].astype(np.float32)
            similarities, rows = faiss.knn(
                queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT
            )
            heap.add_result(similarities, rows + start)
            start += len(block)
    heap.finalize()
    return heap.D, heap.I


def race(kind: str, generator: Realistic | Isotropic, given: argparse.Namespace) -> None:
    database = build(given.folder, kind, generator, given.number)
    queries = generator.queries(given.queries)
    if given.build:
        return
    ids = [f"q{i}" for i in range(len(queries))]
    times: dict[str, list[float]] = {"faiss.knn": [], "Ilion": []}
    for _ in range(given.rounds):
        started = time.perf_counter()
        similarities, rows = with_faiss(queries, database, given.number, given.k)
        times["faiss.knn"].append(time.perf_counter() - started)
        started = time.perf_counter()
        ranking = search(ids, queries, database, k=given.k)
        times["Ilion"].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    same = np.mean([len(np.intersect1d(a, b)) for a, b in zip(ranking.indices, rows, strict=True)]) / given.k
    for name, values in times.items():
        print(
            f"  {kind:10} {name:10} median {medians[name]:7.2f} s   ({', '.join(f'{t:.2f}' for t in values)})"
        )
    worst = np.abs(ranking.similarities - similarities).max()
    print(
        f"  {kind:10} faiss.knn / Ilion: {medians['faiss.knn'] / medians['Ilion']:.2f} times the time; "
        f"{100 * same:.3f}% of rows in common, similarities differ by at most {worst:.1e}",
        flush=True,
    )


def memory(given: argparse.Namespace) -> None:
    """Search in a process of its own, at two sizes."""
    for number in (given.number // 4, given.number):
        command = [
            sys.executable,
            __file__,
            "--measure",
            "--folder",
            str(given.folder),
            "--number",
            str(number),
        ]
        command += ["--real", str(given.real)] if given.real else []
        command += ["--queries", str(given.queries), "--k", str(given.k)]
        print(f"  peak memory at {number:,} rows: {measured(command)}")


def measured(command: list[str]) -> str:
    """Run what prints its memory before and at the peak of a search, and say both."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return (
        f"{found['peak'] / 2**20:,.0f} MB, of which {found['before'] / 2**20:,.0f} before the search "
        "(libraries, ids, queries)"
    )


def measure(given: argparse.Namespace) -> None:
    artifact = storage.load_artifact(next(given.folder.glob("descriptors-*")))
    database = storage.DescriptorSet(artifact, keys_of(given.number))
    queries = np.array(next(database.stored_blocks(given.queries)), np.float32)
    before = peak_memory()
    search([f"q{i}" for i in range(len(queries))], queries, database, k=given.k)
    print(json.dumps({"before": before, "peak": peak_memory()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--number", type=int, default=200_000, help="rows of the database")
    parser.add_argument("--full", action="store_true", help="2,000,000 rows (2 GB on disk for each kind)")
    parser.add_argument("--queries", type=int, default=1232)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", type=Path, help="artifact folder of real descriptors")
    parser.add_argument(
        "--folder", type=Path, help="where to keep the databases; a temporary folder if left out"
    )
    parser.add_argument("--kinds", nargs="+", default=["realistic", "isotropic"])
    parser.add_argument("--build", action="store_true", help="only write the databases")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.full:
        given.number = 2_000_000
    if given.measure:
        measure(given)
        return
    with tempfile.TemporaryDirectory() as aside:
        given.folder = given.folder or Path(aside)
        real = load(given.real) if given.real else like_photos(np.random.default_rng(0))
        size = f"{given.queries} queries, k={given.k}, {given.number:,} x 512 float16"
        print(f"{machine().cpu}, {os.cpu_count()} cores; {size}")
        for kind in given.kinds:
            generator = Realistic(real) if kind == "realistic" else Isotropic()
            race(kind, generator, given)
        if not given.build:
            memory(given)


if __name__ == "__main__":
    main()
