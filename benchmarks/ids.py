"""Peak memory of opening a database of very many images, and of an exact search in it.

Descriptors are of few dimensions, so that ids of 25 characters weigh as much as they can: at 16 dimensions of
float16 an image is 32 bytes of descriptor and 25 of id. Each step runs in a process of its own:

- "libraries": imports and nothing else;
- "first open": ids are listed on disk and checked for repeats, shard by shard;
- "open": the list is there;
- "search": open, exact search, the ranking stored and read again, its ground truth looked up;
- "tuples": ids as Python holds them, in a tuple and a set, as a yardstick (`--tuples`).

Peak memory is the largest resident memory of the process. The last lines give what an image adds, between the
smallest and the largest database, and what that makes at 100 million.

Run: python benchmarks/ids.py [--sizes 100000 1000000] [--shard 10000] [--queries 8] [--folder DIR] [--tuples]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.evaluation.truth import truth_from_ids
from ilion.runtime.machine import machine, peak_memory
from ilion.searching import search
from ilion.types import Descriptors, Float32

MEGABYTE = 1 << 20
STEPS = ("libraries", "first open", "open", "search")


def unit(rng: np.random.Generator, rows: int, dim: int) -> Float32:
    values = rng.standard_normal((rows, dim), np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def keys_of(images: int, shard: int) -> list[str]:
    return [f"s{first // shard:06d}" for first in range(0, images, shard)]


def build(folder: Path, images: int, shard: int, dim: int) -> None:
    """Write the shards; each image has its own id of 25 characters."""
    artifact = storage.open_artifact(folder, "descriptors", {"images": images})
    for number, key in enumerate(keys_of(images, shard)):
        first = number * shard
        rows = min(shard, images - first)
        ids = tuple(f"{number:06d}.tar/{image:010d}.jpg" for image in range(first, first + rows))
        values = unit(np.random.default_rng(number), rows, dim).astype(np.float16)
        storage.write_descriptors(
            artifact, key, Descriptors(ids, values), storage.ShardStats(rows, 0.0, 0, machine())
        )


def measure(folder: Path, step: str, given: argparse.Namespace) -> dict[str, float]:
    """Do one step; runs in a process of its own."""
    [path] = folder.glob("descriptors-*")
    artifact, keys = storage.load_artifact(path), keys_of(given.images, given.shard)
    started = time.perf_counter()
    if step == "tuples":
        ids = tuple(
            name for key in keys for name in storage.read_json(artifact.folder / f"{key}.ids.json")["ids"]
        )
        assert len(set(ids)) == given.images
    elif step != "libraries":
        database = storage.DescriptorSet(artifact, keys)
        assert len(database) == given.images
        if step == "search":
            find(folder, database, given)
    return {"seconds": time.perf_counter() - started, "peak": peak_memory()}


def find(folder: Path, database: storage.DescriptorSet, given: argparse.Namespace) -> None:
    queries = unit(np.random.default_rng(10**9), given.queries, database.dim)
    names = [f"q{number}" for number in range(given.queries)]
    ranking = search(names, queries, database, k=given.k)
    storage.write_ranking(folder / "ranking", ranking)
    read = storage.read_ranking(folder / "ranking")
    positives = {name: (read.database_ids[int(read.indices[q, 0])],) for q, name in enumerate(names)}
    truth = truth_from_ids(names, read.database_ids, positives)
    assert [int(rows[0]) for rows in truth.positives] == read.indices[:, 0].tolist()


def stored_bytes(folder: Path) -> int:
    """Return the bytes of lists of ids; a link is counted once."""
    files = {
        path.stat().st_ino: path.stat().st_size
        for path in folder.rglob("*")
        if path.suffix in (".text", ".starts")
    }
    return sum(files.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200_000, 1_000_000], help="images")
    parser.add_argument("--shard", type=int, default=10_000, help="images in a shard")
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--tuples", action="store_true", help="measure ids in memory too")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if left out")
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.folder, given.measure, given)))
        return
    print(f"{machine().cpu}, {os.cpu_count()} cores; {given.dim} x float16, shards of {given.shard:,}")
    steps = (*STEPS, "tuples") if given.tuples else STEPS
    peaks: dict[int, dict[str, float]] = {}
    for images in sorted(given.sizes):
        with tempfile.TemporaryDirectory(dir=given.folder) as aside:
            folder = Path(aside)
            build(folder, images, given.shard, given.dim)
            peaks[images] = {}
            for step in steps:
                command = [sys.executable, __file__, "--measure", step, "--folder", aside]
                command += ["--images", str(images), "--shard", str(given.shard)]
                command += ["--queries", str(given.queries), "--k", str(given.k)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout)
                peaks[images][step] = found["peak"]
                print(
                    f"{images:>11,} images  {step:10}  peak {found['peak'] / MEGABYTE:7,.0f} MB   "
                    f"{found['seconds']:7.2f} s",
                    flush=True,
                )
            print(
                f"{images:>11,} images  lists of ids: {stored_bytes(folder) / images:.1f} bytes an image on "
                "disk"
            )
    small, large = min(peaks), max(peaks)
    if small == large:
        return
    for step in steps[1:]:
        slope = (peaks[large][step] - peaks[small][step]) / (large - small)
        whole = peaks[large][step] + slope * (100_000_000 - large)
        print(
            f"{step:10}  {slope:6.2f} bytes an image more; at 100,000,000 images {whole / MEGABYTE:,.0f} MB"
        )


if __name__ == "__main__":
    main()
