"""From a photo to an answer, at sizes that nobody has at hand, and beside other engines.

    python benchmarks/serving.py index RUN [--photos 100000] [--keep FOLDER]
    python benchmarks/serving.py load FOLDER --data DATASET --minutes 30 [--clients 16] [--plot load.svg]
    python benchmarks/serving.py engines [--vectors 100000]

RUN is a finished run of the default design, whose data set is still there. ``index`` makes an index of it,
asks with all its query photos, holds the rankings against those that were evaluated, mixes in photos whose
features are drawn at random from all stored photos that show no object, and asks again. ``load`` starts
``ilion serve`` and asks from many clients at once, while the resident memory of the server is watched.
``engines`` puts the same descriptors into the exact search of Ilion and whatever of LanceDB, Qdrant Edge and
Milvus is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from memory import plot, resident

from ilion import storage
from ilion.datasets import open_dataset
from ilion.kernels import widening
from ilion.opening import parse_json
from ilion.runtime.machine import machine, peak_memory
from ilion.searching import local, search
from ilion.searching.local.made import FeaturePool, repeat_shard
from ilion.serve.index import Index
from ilion.serve.request import SearchRequest
from ilion.serve.tables import changed
from ilion.serve.writer import create_from_run
from ilion.serve.writer.compaction import MERGED
from ilion.storage import ShardStats
from ilion.types import Descriptors, Float32, Int64

SHARD = MERGED
"""Made photos in a shard: as many as a compacted index has."""
PATIENCE = 900
"""Seconds that a client waits: one that gave up would leave its search in the queue."""
DISTINCT = 11
"""Shards that are made; further ones are copies of them, as making a million photos takes an hour."""


def queries_of(folder: Path) -> list[tuple[str, bytes, Any]]:
    """Return id, encoded photo and box of every query of a data set."""
    return [
        (query.id, query.image.source.read(), (query.image.boxes or (None,))[0])
        for query in open_dataset(folder).queries
        if query.image is not None
    ]


def said(milliseconds: list[float]) -> str:
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms of {len(milliseconds)}"


def bench_index(options: argparse.Namespace) -> None:
    run = storage.runs.read_run(options.run)
    data = Path(run["provenance"]["config"]["dataset"]["path"])
    asked = queries_of(data)
    shown = {image for images in open_dataset(data).positives.values() for image in images}
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made) / "index"
        if not (folder / "index.sqlite").exists():
            started = time.perf_counter()
            create_from_run(folder, options.run)
            print(f"ilion index RUN: {time.perf_counter() - started:.1f} s")
        index = Index.open(folder)
        status = index.status()
        if status.photos < 10 * len(asked) + 5000:
            judged = storage.read_ranking(options.run / "ranking").to_dict()
            equal = 0
            for name, photo, box in asked:
                found = index.search(photo, box=box, k=len(judged[name]), explain=False).photos
                equal += {p.id: p.score for p in found} == judged[name]
            print(f"{equal} of {len(asked)} queries are ranked as in the evaluated run, to the bit")
            tell(index, asked, options.rounds)
        for size in options.photos:
            grow(index, size, shown)
            tell(Index.open(folder), asked, options.rounds)


def tell(index: Index, asked: list[tuple[str, bytes, Any]], rounds: int) -> None:
    """Print sizes, and the latency of one query after the other: photo to answer, regions included."""
    started = time.perf_counter()
    index.ask(SearchRequest(asked[0][1], asked[0][2]))
    opened = time.perf_counter() - started
    wall, work = [], []
    for _ in range(rounds):
        for _, photo, box in asked:
            started, before = time.perf_counter(), time.process_time()
            index.ask(SearchRequest(photo, box))
            wall.append(1e3 * (time.perf_counter() - started))
            work.append(1e3 * (time.process_time() - before))
    status = index.status()
    size = sum(status.bytes.values())
    print(
        f"{status.photos:,} photos, {size / status.photos:,.0f} B each: {said(wall)}; processor "
        f"{said(work)}; first answer after {opened:.1f} s; at most "
        f"{peak_memory() / 2**20:,.0f} MB; load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores",
        flush=True,
    )


def grow(index: Index, photos: int, shown: set[str]) -> None:
    """Mix in photos whose features are drawn from stored ones, until there are so many or a few more.

    Args:
        index: The index.
        photos: How many.
        shown: Ids of photos that show an object; of these nothing is drawn.
    """
    connection = index.tables.connection
    prepared: Any = index.snapshot(connection).ready.prepared
    postings, words = prepared.database, prepared.words.words
    artifact = storage.load_artifact(prepared.folder)
    others = [row for row, name in enumerate(postings.ids) if name not in shown and "made/" not in name]
    pools = FeaturePool([postings.photo(row) for row in others[:2400:2]])
    there_already = connection.execute("SELECT name, content FROM shards WHERE name LIKE 'made_%'")
    made = [storage.shard_key(*found) for found in there_already][:DISTINCT]
    [there] = connection.execute("SELECT count(*) FROM photos").fetchone()
    [shard] = connection.execute("SELECT max(number) FROM shards").fetchone()
    started = time.perf_counter()
    for start in range(there, photos, SHARD):
        shard += 1
        names = [f"made/{row:09d}.jpg" for row in range(start, start + SHARD)]
        key = storage.shard_key(f"made_{shard}", f"{shard:012x}")
        if len(made) < DISTINCT:
            chosen = pools.draw(names, np.random.default_rng(start))
            local.write_shard(artifact, key, chosen, words, lambda n: ShardStats(n, 0.0, 0, machine()))
            made.append(key)
        else:
            repeat_shard(artifact.folder, made[shard % DISTINCT], key, names, shutil.copyfile)
        with index.tables.write() as write:
            write.execute(
                "INSERT INTO shards VALUES (?, ?, ?, ?, 1)",
                (shard, shard, f"made_{shard}", f"{shard:012x}"),
            )
            write.executemany(
                "INSERT INTO photos (id, stored_as, shard, place, path, digest, width, height, added, "
                "status) VALUES (?, ?, ?, ?, '', '', 640, 480, 0, 1)",
                [(name, name, shard, place) for place, name in enumerate(names)],
            )
            changed(write, layout=True)
    print(f"grown beyond {photos:,} photos in {time.perf_counter() - started:.0f} s", flush=True)


def bench_load(options: argparse.Namespace) -> None:
    asked = queries_of(options.data)
    port = 8899
    command = [
        sys.executable,
        "-m",
        "ilion",
        "serve",
        str(options.folder),
        "--port",
        str(port),
        "--rate",
        "0",
    ]
    server = subprocess.Popen(
        [*command, "--waiting", str(options.clients), "--workers", str(options.workers)]
    )
    url = f"http://127.0.0.1:{port}"
    wall: list[float] = []
    failed: list[str] = []
    memory: list[tuple[float, float]] = []
    try:
        until = time.monotonic() + 600
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{url}/ready", timeout=60).read()
                break
            except OSError:
                time.sleep(0.5)
        begun = time.monotonic()
        end = begun + 60 * options.minutes

        def client(number: int) -> None:
            while time.monotonic() < end:
                _, photo, box = asked[number % len(asked)]
                number += options.clients + 1
                region = "" if box is None else f"{box.x},{box.y},{box.width},{box.height}"
                started = time.perf_counter()
                try:
                    found = post(f"{url}/api/search", photo, {"box": region})
                    if not found["objects"]:
                        failed.append("no object")
                    wall.append(1e3 * (time.perf_counter() - started))
                except (OSError, ValueError) as error:
                    failed.append(repr(error))
                    time.sleep(2)  # as the service asks for when it is busy

        clients = [threading.Thread(target=client, args=(number,)) for number in range(options.clients)]
        for thread in clients:
            thread.start()
        while any(thread.is_alive() for thread in clients):
            memory.append((time.monotonic() - begun, resident(server.pid)))
            time.sleep(5)
    finally:
        server.terminate()
        server.wait()
    middle = len(memory) // 2
    early, late = (
        np.median([m for _, m in part]) for part in (memory[middle // 2 : middle], memory[middle:])
    )
    print(
        f"{options.clients} clients for {options.minutes:g} minutes: {said(wall)}, "
        f"{len(wall) / 60 / options.minutes:.1f} a second; {len(failed)} failed {failed[:3]}; memory "
        f"{early:,.0f} MB in the second quarter, {late:,.0f} MB in the second half, "
        f"{max(m for _, m in memory):,.0f} at most; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    if options.plot:
        options.plot.write_text(plot({"resident memory of the service that no file backs": memory}), "utf-8")


def post(url: str, photo: bytes, fields: dict[str, str]) -> dict[str, Any]:
    line = "b0undary"
    parts = [
        f'--{line}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{line}\r\nContent-Disposition: form-data; name="photo"; filename="p.jpg"\r\n\r\n'
    body = b"".join([*parts, head.encode(), photo, f"\r\n--{line}--\r\n".encode()])
    request = urllib.request.Request(url, body, {"content-type": f"multipart/form-data; boundary={line}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        found: dict[str, Any] = parse_json(answer.read().decode())
        return found


def bench_engines(options: argparse.Namespace) -> None:
    """Put the same descriptors into every engine that is here; ask one query after the other."""
    rng = np.random.default_rng(0)
    count, dim, k = options.vectors, 512, 100
    centres = rng.standard_normal((200, dim)).astype(np.float32)

    def drawn(n: int) -> Float32:
        values = centres[rng.integers(0, 200, n)] + 1.5 * rng.standard_normal((n, dim)).astype(np.float32)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)

    database, queries = drawn(count), drawn(options.queries)
    kept = np.flatnonzero(rng.random(count) < 0.01)
    chosen = np.zeros(count, np.bool_)
    chosen[kept] = True
    exact = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :k]
    among = kept[np.argsort(-(queries @ database[kept].T), axis=1, kind="stable")[:, :k]]
    with tempfile.TemporaryDirectory() as made:
        for name, make in (("Ilion, exact", ilion_exact), ("LanceDB", lancedb), ("Qdrant Edge", qdrant_edge)):
            show(name, make, Path(made) / name, database, chosen, queries, exact, among, k)
        if options.milvus:
            show("Milvus", milvus(options.milvus), Path(made), database, chosen, queries, exact, among, k)


Ask = Callable[[Float32, int, bool], Int64]
"""Function of a query (D,), k, and whether the filter counts, that returns rows."""


def show(
    name: str,
    make: Callable[[Path, Float32, Any], Ask],
    folder: Path,
    database: Float32,
    chosen: Any,
    queries: Float32,
    exact: Int64,
    among: Int64,
    k: int,
) -> None:
    try:
        started = time.perf_counter()
        ask = make(folder, database, chosen)
    except ImportError as error:
        print(f"{name}: not installed ({error})")
        return
    built = time.perf_counter() - started
    parts = []
    for filtered, truth in ((False, exact), (True, among)):
        ask(queries[0], k, filtered)
        wall, work, recall = [], [], []
        for query, rows in zip(queries, truth, strict=True):
            started, before = time.perf_counter(), time.process_time()
            found = ask(query, k, filtered)
            wall.append(1e3 * (time.perf_counter() - started))
            work.append(1e3 * (time.process_time() - before))
            recall.append(len(np.intersect1d(found, rows)) / len(rows))
        parts.append(
            f"p50 {np.median(wall):.1f} ms, p95 {np.percentile(wall, 95):.1f}, of the processor "
            f"{np.median(work):.1f}, recall {np.mean(recall):.3f}"
        )
    print(f"{name}: made in {built:.1f} s; all {parts[0]}; 1% filter {parts[1]}", flush=True)


def ilion_exact(folder: Path, database: Float32, chosen: Any) -> Ask:
    artifact = storage.open_artifact(folder, "descriptors", {})
    ids = tuple(map(str, range(len(database))))
    stats = ShardStats(len(ids), 0.0, 0, machine())
    storage.write_descriptors(artifact, "all", Descriptors(ids, database.astype(np.float16)), stats)
    stored = storage.DescriptorSet(artifact, ["all"])
    rows = np.flatnonzero(chosen)
    widening.load()  # as a service does when it starts
    stored.hold()
    part = stored.take(rows)

    def ask(query: Float32, k: int, filtered: bool) -> Int64:
        found: Int64 = search(("q",), query[None], part if filtered else stored, k=k).indices[0]
        return rows[found] if filtered else found

    return ask


def lancedb(folder: Path, database: Float32, chosen: Any) -> Ask:
    import lancedb
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(database.ravel()), database.shape[1])
    columns = {"vector": vectors, "row": pa.array(np.arange(len(database))), "chosen": pa.array(chosen)}
    table = lancedb.connect(folder).create_table("all", pa.table(columns))

    def ask(query: Float32, k: int, filtered: bool) -> Int64:
        wanted = table.search(query).distance_type("dot").select(["row", "_distance"]).limit(k)
        if filtered:
            wanted = wanted.where("chosen", prefilter=True)
        return np.asarray(wanted.to_arrow()["row"].to_numpy(), np.int64)

    return ask


def qdrant_edge(folder: Path, database: Float32, chosen: Any) -> Ask:
    import qdrant_edge as edge

    folder.mkdir(parents=True)
    vectors = edge.EdgeVectorParams(size=database.shape[1], distance=edge.Distance.Dot)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    for start in range(0, len(database), 1000):
        shard.update(
            edge.UpdateOperation.upsert_points(
                [
                    edge.Point(
                        row, database[row].tolist(), {"chosen": int(chosen[row])}
                    )  # True matches nothing
                    for row in range(start, min(start + 1000, len(database)))
                ]
            )
        )
    shard.optimize()
    only = edge.Filter(must=[edge.FieldCondition(key="chosen", match=edge.MatchValue(value=1))])

    def ask(query: Float32, k: int, filtered: bool) -> Int64:
        wanted = edge.SearchRequest(
            query=edge.Query.Nearest(query.tolist()), limit=k, filter=only if filtered else None
        )
        return np.array([point.id for point in shard.search(wanted)], np.int64)

    return ask


def milvus(uri: str) -> Callable[[Path, Float32, Any], Ask]:
    def make(folder: Path, database: Float32, chosen: Any) -> Ask:
        from ilion.serve.engines.base import open_engine

        engine = open_engine(uri, "benchmark", database.shape[1])
        engine.drop()
        engine = open_engine(uri, "benchmark", database.shape[1])
        engine.upsert(np.arange(len(database)), database)
        mark, rows = engine.flush(), np.flatnonzero(chosen)

        def ask(query: Float32, k: int, filtered: bool) -> Int64:
            found: Int64 = engine.search(query[None], k, only=rows if filtered else None, mark=mark)[0][0]
            return found

        return ask

    return make


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("index")
    verb.add_argument("run", type=Path)
    verb.add_argument("--photos", type=int, nargs="*", default=[100_000])
    verb.add_argument("--rounds", type=int, default=2, help="times that every query is asked")
    verb.add_argument("--keep", type=Path, help="folder of the index, which stays; else it is deleted")
    verb.set_defaults(do=bench_index)
    verb = verbs.add_parser("load")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--data", type=Path, required=True, help="data set whose query photos are sent")
    verb.add_argument("--minutes", type=float, default=30)
    verb.add_argument("--clients", type=int, default=16)
    verb.add_argument("--workers", type=int, default=2)
    verb.add_argument("--plot", type=Path)
    verb.set_defaults(do=bench_load)
    verb = verbs.add_parser("engines")
    verb.add_argument("--vectors", type=int, default=100_000)
    verb.add_argument("--queries", type=int, default=50)
    verb.add_argument("--milvus", default="", help="a running server, such as milvus:http://127.0.0.1:19530")
    verb.set_defaults(do=bench_engines)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
