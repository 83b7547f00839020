"""The local search at sizes that nobody has at hand: time to build, bytes, memory and milliseconds a query.

    python benchmarks/local.py RUN --photos 100000 --queries 20

RUN is the folder of a finished run of the default, whose data set is still there. Photos are made by drawing
their features at random from all stored features of photos that show no object, so words are as crowded and
queries match as much as on real distractors, and stand in one database with the run's own; everything from
there on is the code of the library. ``--exact`` holds every photo against every query, too, and says what the
first pass loses; ``--plot memory.svg`` draws the memory of building, opening and searching.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from memory import ANONYMOUS, MAPPED, plot, watched
from photos import postings_of, queries_of

from ilion import storage
from ilion.api.arrays import evaluate
from ilion.runtime.machine import machine
from ilion.searching import local
from ilion.searching.local import search
from ilion.searching.local.records import ROWS
from ilion.storage import ShardStats
from ilion.types import Ranking


def said(milliseconds: list[float]) -> str:
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return f"p50 {p50:.0f} ms, p95 {p95:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--shard", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--features", type=int, default=0, help="features a photo; 0 means as many as stored")
    parser.add_argument("--build", type=Path, help="folder that is kept; a finished one is only searched")
    parser.add_argument("--exact", action="store_true", help="search without the first pass, too")
    parser.add_argument("--plot", type=Path, help="where the memory over time is drawn")
    options = parser.parse_args()
    begun, marks = time.monotonic(), dict[str, float]()
    with watched([ANONYMOUS, MAPPED]) as memory:
        bench(options, lambda name: marks.setdefault(name, time.monotonic() - begun))
    if options.plot:
        names = {ANONYMOUS: "memory that no file backs", MAPPED: "pages of mapped files"}
        options.plot.write_text(plot({names[k]: points for k, points in memory.items()}, marks), "utf-8")


def bench(options: argparse.Namespace, mark: Callable[[str], float]) -> None:
    """Build, open and search; ``mark`` is told what begins."""
    run = postings_of(options.run)
    home, keys, database, settings, dataset = run.home, run.keys, run.database, run.settings, run.dataset
    model = local.shipped_model(settings.words)
    counts, words, records = [], [], []
    shown = {image for images in dataset.positives.values() for image in images}
    is_other = np.array([image not in shown for image in database.ids])
    for segment in database.segments():
        rows = (segment.records & np.uint64(ROWS - 1)).astype(np.int64)
        others = is_other[segment.start + rows]
        words.append(np.repeat(np.arange(model.words, dtype=np.uint16), np.diff(segment.offsets))[others])
        records.append(segment.records[others] & ~np.uint64(ROWS - 1))
        counts.append(np.bincount(rows[others], minlength=segment.size))
    pool, held, sizes = np.concatenate(words), np.concatenate(records), np.concatenate(counts)[is_other]
    with tempfile.TemporaryDirectory() as made:
        artifact = storage.open_artifact(options.build or Path(made), "postings", {"photos": options.photos})
        shards = [f"made-{start:09d}" for start in range(0, options.photos, options.shard)]
        started = time.perf_counter()
        mark(f"{options.photos:,} photos written")

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
        mark("opened")
        for path in home.iterdir():
            if path.name != "manifest.json" and not (artifact.folder / path.name).exists():
                os.link(path, artifact.folder / path.name)
        large = local.Postings(artifact, [*keys, *shards], model.words)
        opened = time.perf_counter() - opened
        asked = queries_of(options.run)
        step = max(1, len(asked) // options.queries)
        names = list(asked)[::step][: options.queries]
        queries = [local.look_up(asked[name], model, settings) for name in names]
        truth = {name: dataset.positives[name] for name in names}
        for name, where, whole in (
            ("source", database, search.WHOLE),
            ("made", large, search.WHOLE),
            *((("exact", large, len(large)),) if options.exact else ()),
        ):
            search.WHOLE = whole
            mark(f"{len(where):,} photos searched")
            wall, work, found = [], [], []
            search.rank_photos(queries[0], where, model, settings, 1000)  # compiles, and reads
            for query in queries:
                start, before = time.perf_counter(), time.process_time()
                found.append(search.rank_photos(query, where, model, settings, 1000))
                wall.append(1e3 * (time.perf_counter() - start))
                work.append(1e3 * (time.process_time() - before))
            ranking = Ranking(
                tuple(names),
                where.ids,
                np.array([one.rows for one in found]),
                np.array([one.similarities for one in found]),
                np.full(len(names), len(found[0].rows)),
            )
            mean = evaluate(ranking, truth, bootstrap=1).mean
            print(
                f"{name}: {len(where):,} photos, {where.stored_bytes() / len(where):,.0f} B each: "
                f"{said(wall)}; of the processor {said(work)}; "
                f"mAP@1000 {mean:.4f}",
                flush=True,
            )
        print(
            f"made in {built:.0f} s, {peak:,.0f} MB at most; opened in {opened:.2f} s; {os.cpu_count()} cores"
        )
        print(f"with the queries {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB at most")


if __name__ == "__main__":
    main()
