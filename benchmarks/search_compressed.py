"""Compressed search of real descriptors mixed into millions of made ones, against exact faiss.knn.

The database is the images of real photos and of a drawn set (`ilion synth`), and as many made descriptors as
wanted, whose spectrum and neighbours follow those of their distractors (benchmarks/spectra.py). Queries are
all real; made ones fill up to the 1,232 of the benchmark, for the time. Descriptors of all sets come from
one model and are brought to 512 dimensions by their own leading directions.

Printed are: time of exact faiss.knn on float32 blocks of the same files, of Ilion's exact search and of each
code with each shortlist, taking turns; bytes a descriptor in memory; the share of the exact results that is
found; and what mAP@1000 loses, with its paired 95% interval over objects, set by set. Peak memory is that of
a process that only searches.

Run: python benchmarks/search_compressed.py --sets shared/data/grocery SYNTHETIC [--full] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from photos import grocery
from search_exact import measured, with_faiss
from spectra import SHARD, Realistic, build, keys_of, unit

from ilion import storage
from ilion.config import DatasetConfig, ExperimentConfig, ExtractionConfig
from ilion.evaluation.compare import compare
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.pipeline import Pipeline
from ilion.runtime.machine import machine, peak_memory
from ilion.searching import Code, CodeSet, search, search_compressed, write_codes
from ilion.types import Axes, Descriptors, Float32, Float64, GroundTruth, Ranking


@dataclass(frozen=True)
class RealSet:
    """Descriptors and ground truth of one data set.

    Args:
        name: For the table.
        queries: (Q, D).
        database: (N, D).
        query_ids: Q ids.
        truth: Rows of this set alone.
        axes: Objects of the queries.
    """

    name: str
    queries: Float64
    database: Float64
    query_ids: tuple[str, ...]
    truth: GroundTruth
    axes: Axes

    @property
    def distractors(self) -> Float64:
        """The descriptors of images that show none of the objects."""
        shown = np.unique(np.concatenate([*self.truth.positives, *self.truth.ignored]))
        return np.delete(self.database, shown, axis=0)

    def moved(self, rows: int) -> GroundTruth:
        """Return the ground truth for a database in which this set starts at a row."""
        return replace(
            self.truth,
            positives=tuple(found + rows for found in self.truth.positives),
            ignored=tuple(found + rows for found in self.truth.ignored),
        )


def described(folder: Path, model: str, cache: Path) -> RealSet:
    """Describe a data set."""
    config = ExperimentConfig(
        dataset=DatasetConfig(path=str(folder)),
        extraction=ExtractionConfig(model=model),
        cache=str(cache),
        output=str(cache / "runs" / folder.name),
    )
    pipeline = Pipeline(config)
    extracted = pipeline.extract()
    database, dataset = extracted.database, pipeline.dataset
    kept = tuple(extracted.queries.ids)
    instances = {query.id: query.instance for query in pipeline.queries}
    of = [instances[name] for name in kept]
    ids = list(database.ids)
    positives = {name: dataset.positives[name] for name in kept}
    truth = truth_from_ids(kept, ids, positives, dataset.ignored)
    values = database.gather(np.arange(len(ids))).astype(np.float64)
    queries = np.asarray(extracted.queries.values, np.float64)
    return RealSet(folder.name, queries, values, kept, truth, axes_from_ids(kept, of, ids, positives))


def mixed(sets: list[RealSet], generator: Realistic, given: argparse.Namespace) -> storage.DescriptorSet:
    """Write the made descriptors, and the real ones behind them."""
    made = build(given.folder, "realistic", generator, given.number)
    artifact, keys = made.artifact, keys_of(given.number)
    real = np.concatenate([unit(one.database @ generator.basis) for one in sets]).astype(np.float16)
    for first in range(0, len(real), SHARD):
        key, rows = f"real-{first}", real[first : first + SHARD]
        if not storage.has_descriptors(artifact, key):
            ids = tuple(f"real/{first + i}" for i in range(len(rows)))
            stats = storage.ShardStats(len(rows), 0.0, 0, machine())
            storage.write_descriptors(artifact, key, Descriptors(ids, rows), stats)
        keys.append(key)
    return storage.DescriptorSet(artifact, keys)


def losses(sets: list[RealSet], start: int, exact: Ranking, found: Ranking) -> str:
    """Say what mAP was and what it changed by, set by set."""
    told, first = [], 0
    for one in sets:
        rows = slice(first, first + len(one.query_ids))
        truth = one.moved(start)
        before, after = (
            evaluate(part(ranking, rows, one.query_ids), truth, one.axes) for ranking in (exact, found)
        )
        change = compare(before, after)
        told.append(
            f"{one.name} {before.mean:.4f} -> {after.mean:.4f} "
            f"({change.difference:+.4f} [{change.ci95.low:+.4f}, {change.ci95.high:+.4f}])"
        )
        start, first = start + len(one.database), first + len(one.query_ids)
    return "; ".join(told)


def part(ranking: Ranking, rows: slice, names: tuple[str, ...]) -> Ranking:
    """Return the results of some queries."""
    return Ranking(
        names,
        ranking.database_ids,
        ranking.indices[rows],
        ranking.similarities[rows],
        ranking.counts[rows],
    )


def race(sets: list[RealSet], given: argparse.Namespace) -> None:
    real = np.concatenate([one.database for one in sets])
    asked = np.concatenate([one.queries for one in sets])
    # one drawn around a positive would look like a positive and count as wrong
    generator = Realistic(np.concatenate([one.distractors for one in sets]), asked)
    database = mixed(sets, generator, given)
    queries = unit(asked @ generator.basis).astype(np.float32)
    queries = np.concatenate([queries, generator.queries(max(0, given.queries - len(queries)))])
    ids = [f"q{i}" for i in range(len(queries))]
    print(
        f"{machine().cpu}, {os.cpu_count()} cores; {len(queries)} queries ({len(asked)} real), k={given.k}, "
        f"{len(real):,} real and {given.number:,} made descriptors of 512 x float16, {given.model}"
    )
    times: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Ranking | None]) -> Ranking | None:
        started = time.perf_counter()
        found = work()
        times.setdefault(name, []).append(time.perf_counter() - started)
        return found

    codes = {name: coded(database, name, given.folder) for name in given.codes}
    rankings: dict[str, Ranking | None] = {}
    for turn in range(given.rounds):
        timed("faiss.knn, exact", lambda: whole_with_faiss(queries, database, given))
        rankings["exact"] = timed("Ilion, exact", lambda: search(ids, queries, database, k=given.k))
        for name, code in codes.items():
            for size in given.shortlists:
                label = f"{name}, shortlist {size}"
                rankings[label] = timed(label, compressed(ids, queries, database, code, given.k, size))
        print(f"  round {turn + 1} of {given.rounds} done", file=sys.stderr, flush=True)
    exact = rankings["exact"]
    assert exact is not None
    peer = statistics.median(times["faiss.knn, exact"])
    for label, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"  {label:24} median {middle:7.2f} s, {peer / middle:5.2f} times as fast as faiss.knn")
        found = rankings.get(label)
        if found is not None:
            pairs = zip(exact.indices, found.indices, strict=True)
            recall = np.mean([np.isin(a, b).mean() for a, b in pairs])
            size = codes[label.partition(",")[0]].bytes_per_row
            print(f"    {size:.1f} bytes a descriptor in memory; {recall:.2%} of the exact results")
            print(f"    mAP@{given.k}: {losses(sets, given.number, exact, found)}", flush=True)


def whole_with_faiss(queries: Float32, database: storage.DescriptorSet, given: argparse.Namespace) -> None:
    # the few real rows are left out, in the peer's favour
    with_faiss(queries, database, given.number, given.k)


def compressed(
    ids: list[str], queries: Float32, database: storage.DescriptorSet, codes: CodeSet, k: int, size: int
) -> Callable[[], Ranking]:
    return lambda: search_compressed(ids, queries, database, codes, k=k, shortlist=size)


def coded(database: storage.DescriptorSet, name: str, folder: Path) -> CodeSet:
    inputs = {"database": database.artifact.fingerprint, "rows": len(database), "code": name}
    artifact = storage.open_artifact(folder, "codes", inputs)
    started = time.perf_counter()
    made = write_codes(artifact, database, Code.parse(name))
    print(f"  {name}: codes there after {time.perf_counter() - started:.0f} s", flush=True)
    return made


def memory(given: argparse.Namespace) -> None:
    """Search in a process of its own."""
    command = [sys.executable, __file__, "--measure", "--folder", str(given.folder)]
    command += ["--queries", str(given.queries), "--k", str(given.k)]
    command += ["--codes", given.codes[0], "--shortlists", str(given.shortlists[-1])]
    print(f"  peak memory, {given.codes[0]}: {measured(command)}")


def measure(given: argparse.Namespace) -> None:
    written = map(storage.load_artifact, given.folder.glob("codes-*"))
    artifact = next(codes for codes in written if codes.inputs["code"] == given.codes[0])
    whole = storage.load_artifact(next(given.folder.glob("descriptors-*")))
    keys = sorted(path.name.removesuffix(".ids.json") for path in whole.folder.glob("*.ids.json"))
    keys.sort(key=lambda key: key.startswith("real"))
    database = storage.DescriptorSet(whole, keys)
    queries = np.array(next(database.stored_blocks(given.queries)), np.float32)
    codes = CodeSet(artifact, len(database))
    before = peak_memory()
    ids = [f"q{i}" for i in range(len(queries))]
    search_compressed(ids, queries, database, codes, k=given.k, shortlist=given.shortlists[0])
    print(json.dumps({"before": before, "peak": peak_memory()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", type=Path, nargs="+", help="data sets; the grocery photos if left out")
    parser.add_argument("--model", default="efficientnet-lite2")
    parser.add_argument("--number", type=int, default=200_000, help="made descriptors")
    parser.add_argument("--full", action="store_true", help="2,000,000 made descriptors (2 GB on disk)")
    parser.add_argument("--queries", type=int, default=1232)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codes", nargs="+", default=["pq64"])
    parser.add_argument("--shortlists", type=int, nargs="+", default=[2000, 4000])
    parser.add_argument("--folder", type=Path, help="where to keep everything; temporary if left out")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.full:
        given.number = 2_000_000
    if given.measure:
        measure(given)
        return
    with tempfile.TemporaryDirectory() as aside:
        given.folder = given.folder or Path(aside)
        folders = given.sets or [grocery()]
        race([described(folder, given.model, given.folder / "photos") for folder in folders], given)
        memory(given)


if __name__ == "__main__":
    main()
