"""The local search at sizes that nobody has at hand: time to build, bytes, memory and milliseconds a query.

    python benchmarks/local.py RUN --photos 100000 --queries 20

RUN is the folder of a finished run of the default. Photos are made by drawing their features at random from
all features that the run has stored, so words are as crowded and queries match as much as on real photos;
everything from there on is the code of the library.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.extraction.photos import read_photo_queries
from ilion.runtime.machine import machine
from ilion.searching import local
from ilion.searching.local.records import ROWS
from ilion.searching.local.search import rank_photos
from ilion.storage import ShardStats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--shard", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--features", type=int, default=0, help="features a photo; 0 means as many as stored")
    parser.add_argument("--build", type=Path, help="folder that is kept; a finished one is only searched")
    options = parser.parse_args()
    model = local.shipped_model()
    [home] = (options.run / "artifacts").glob("postings-????????????????")
    source = storage.load_artifact(home, "postings")
    settings = local.LocalSettings(source.inputs["budget"])
    keys = sorted(path.name.removesuffix(".ids.json") for path in home.glob("*.ids.json"))
    database = local.Postings(source, keys, model.words)
    counts, words, records = [], [], []
    for segment in database.segments():
        words.append(np.repeat(np.arange(model.words, dtype=np.uint16), np.diff(segment.offsets)))
        rows = segment.records & np.uint64(ROWS - 1)
        records.append(segment.records ^ rows)
        counts.append(np.bincount(rows.astype(np.int64), minlength=segment.size))
    pool, held, sizes = np.concatenate(words), np.concatenate(records), np.concatenate(counts)
    with tempfile.TemporaryDirectory() as made:
        artifact = storage.open_artifact(options.build or Path(made), "postings", {"photos": options.photos})
        shards = [f"made-{start:09d}" for start in range(0, options.photos, options.shard)]
        started = time.perf_counter()

        def photos(number: int) -> Iterator[tuple[str, local.Encoded]]:
            rng = np.random.default_rng(number)
            start = number * options.shard
            for row in range(start, min(start + options.shard, options.photos)):
                count = options.features or int(rng.choice(sizes))
                chosen = rng.integers(0, len(pool), count)
                chosen = chosen[np.argsort(pool[chosen], kind="stable")]
                yield (
                    f"made/{row:09d}.jpg",
                    local.Encoded(
                        pool[chosen], held[chosen], np.zeros(settings.cells**2, np.uint8), (640, 480)
                    ),
                )

        for number, key in enumerate(shards):
            if not storage.is_finished(artifact.folder / f"{key}.ids.json"):
                local.write_shard(
                    artifact, key, photos(number), model.words, lambda n: ShardStats(n, 0.0, 0, machine())
                )
        built = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        opened = time.perf_counter()
        large = local.Postings(artifact, shards, model.words)
        opened = time.perf_counter() - opened
        [own] = (options.run / "artifacts").glob("postings-queries-*")
        [key] = [path.name.removesuffix(".ids.json") for path in own.glob("*.ids.json")]
        asked = list(read_photo_queries(storage.load_artifact(own), key).values())
        step = max(1, len(asked) // options.queries)
        queries = [local.look_up(spots, model, settings) for spots in asked[::step]][: options.queries]
        rank_photos(queries[0], database, model, settings, 1000)  # compiles
        rank_photos(queries[0], large, model, settings, 1000)  # reads
        for name, where in (("source", database), ("made", large)):
            wall, work = [], []
            for query in queries:
                start, before = time.perf_counter(), time.process_time()
                rank_photos(query, where, model, settings, 1000)
                wall.append(1e3 * (time.perf_counter() - start))
                work.append(1e3 * (time.process_time() - before))
            print(
                f"{name}: {len(where):,} photos, {where.stored_bytes() / len(where):,.0f} B each, "
                f"one thread: {np.median(wall):.0f} ms a query, {np.median(work):.0f} of the processor"
            )
        print(
            f"made in {built:.0f} s, {peak:,.0f} MB at most; opened in {opened:.2f} s; {os.cpu_count()} cores"
        )
        print(f"with the queries {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB at most")


if __name__ == "__main__":
    main()
