"""ASMK with an inverted file as a first stage: accuracy, bytes and time, against exhaustive scoring.

With photos, the whole path is measured: decode, RootSIFT, codebook, inverted file, search, mAP@1000 (ilias
definition) with and without what goes beyond the kernel of the paper. Without photos, features are synthetic:
an image shows "things" of a large world, with noise, and a positive shows a twelfth of its query's things.

The reference scores every pair of query and image with the kernel of the paper, in numpy, without an inverted
file. Both compute the same numbers, which is checked; they take turns query by query, in one thread.

With --pipeline, the same search runs as an experiment with ``search.method = "asmk"``, and what its report
says is printed: accuracy with its interval, and the cost. No global descriptor is computed.

Run: python benchmarks/asmk.py [DATASET] [--codebook FOLDER] [--words 4096] [--keypoints 1000] [--side 512]
     python benchmarks/asmk.py --pipeline [DATASET]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from photos import grocery
from tests.stages import took

from ilion import api
from ilion.config import ExperimentConfig, from_dict
from ilion.datasets import open_dataset
from ilion.descriptors.rootsift import rootsift
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import axes_from_ids, truth_from_ids
from ilion.images import decode, least_size, resize
from ilion.runtime.machine import peak_memory
from ilion.runtime.threads import in_order
from ilion.searching import asmk
from ilion.searching.asmk.aggregate import kernel
from ilion.types import Axes, FileSource, GroundTruth, ImageRecord, LocalFeatures

PAPER = asmk.AsmkSettings(alpha=3.0, tau=0.0, assignments=1, burst=0.0, votes=False)
DEFAULT = asmk.AsmkSettings()
SETTINGS = {
    "kernel of the paper": PAPER,
    "+ burst": replace(PAPER, burst=DEFAULT.burst, tau=DEFAULT.tau),
    "defaults without votes": replace(DEFAULT, votes=False),
    "defaults": DEFAULT,
}
SAMPLE_PER_IMAGE = 300


class Photos:
    """RootSIFT of a data set's photos."""

    def __init__(self, folder: Path, keypoints: int, side: int) -> None:
        dataset = open_dataset(folder)
        self.keypoints, self.side = keypoints, side
        queries = [q for q in dataset.queries if q.image is not None]
        records = [r for shard in dataset.database for r in shard.records()]
        self.query_ids, self.ids = [q.id for q in queries], [r.id for r in records]
        self.truth = truth_from_ids(self.query_ids, self.ids, dataset.positives, dataset.ignored)
        self.axes = axes_from_ids(self.query_ids, [q.instance for q in queries], self.ids, dataset.positives)
        start = time.process_time()
        self.database = self.describe(records)
        self.ms = 1e3 * (time.process_time() - start) / len(records)
        self.queries = self.describe([q.image for q in queries if q.image is not None])

    def describe(self, records: Sequence[ImageRecord]) -> list[LocalFeatures]:
        return [future.result() for _, future in in_order(records, self._one)]

    def _one(self, record: ImageRecord) -> LocalFeatures:
        least = least_size("long", self.side)
        image = resize(decode(record.source.read(), at_least=least).image, "long", self.side)
        features = rootsift(image, self.keypoints)
        # half the memory; the codebook computes in float32 again
        return replace(features, descriptors=features.descriptors.astype(np.float16))


class Synthetic:
    """Images of things from a world of 100,000; positives show a part of their object, moved and scaled."""

    def __init__(self, keypoints: int, images: int = 2000, instances: int = 20, positives: int = 10) -> None:
        rng = np.random.default_rng(0)
        world = rng.standard_normal((100_000, 64)).astype(np.float32)
        self.query_ids = [f"q{i}" for i in range(instances)]
        self.ids = [f"d{i}" for i in range(images)]

        def scatter() -> tuple[np.ndarray, np.ndarray]:
            """Things, and x, y, size and angle of each."""
            low, high = (0, 0, 4, 0), (512, 512, 40, 2 * np.pi)
            return rng.integers(0, len(world), keypoints), rng.uniform(low, high, (keypoints, 4))

        objects = [scatter() for _ in range(instances)]

        def see(things: np.ndarray, places: np.ndarray) -> LocalFeatures:
            seen = world[things] + 0.8 * rng.standard_normal((len(things), 64))
            seen /= np.linalg.norm(seen, axis=1, keepdims=True)
            x, y, sizes, angles = places.astype(np.float32).T
            scores = rng.random(len(things)).astype(np.float32)
            points = np.stack([x, y], axis=1)
            return LocalFeatures(points, seen.astype(np.float16), scores, (512, 512), sizes, angles)

        def image(row: int) -> LocalFeatures:
            things, places = scatter()
            if row < instances * positives:
                shown = rng.permutation(keypoints)[: keypoints // 12]
                scale, x, y = rng.uniform(0.3, 0.8), *rng.uniform(0, 100, 2)
                things[shown] = objects[row // positives][0][shown]
                places[shown] = objects[row // positives][1][shown] * (scale, scale, scale, 1) + (x, y, 0, 0)
            return see(things, places)

        self.database = [image(row) for row in range(images)]
        self.queries = [see(*of_object) for of_object in objects]
        self.ms = 0.0
        rows = [np.arange(i * positives, (i + 1) * positives) for i in range(instances)]
        none = tuple(np.empty(0, np.int64) for _ in rows)
        self.truth = GroundTruth(tuple(self.query_ids), tuple(rows), none, np.zeros(instances, np.int64))
        self.axes = Axes(tuple(self.query_ids))


def sample(images: Sequence[LocalFeatures], per_image: int) -> Iterator[LocalFeatures]:
    rng = np.random.default_rng(0)
    for features in images:
        kept = np.sort(rng.permutation(len(features.scores))[:per_image])
        yield LocalFeatures(
            features.keypoints[kept], features.descriptors[kept], features.scores[kept], features.image_size
        )


def clocked(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def race(data: Photos | Synthetic, index: asmk.InvertedFile) -> None:
    """Exhaustive scoring of every pair against the inverted file, in turns, the same numbers."""
    codebook = index.codebook
    described = [asmk.aggregate(features, codebook) for features in data.database]
    times: dict[str, list[float]] = {"exhaustive": [], "inverted file": []}
    for name, query in zip(data.query_ids, data.queries, strict=True):
        expected = np.empty(len(described), np.float32)

        def exhaustive(query: LocalFeatures = query, expected: np.ndarray = expected) -> None:
            own = asmk.aggregate(query, codebook)
            for row, other in enumerate(described):
                expected[row] = kernel(own, other, codebook, PAPER)

        found: list[np.ndarray] = []

        def inverted(name: str = name, query: LocalFeatures = query, found: list[np.ndarray] = found) -> None:
            ranking = asmk.search_postings([name], [query], index, PAPER, k=len(index), workers=1)
            found.append(ranking.similarities[0][np.argsort(ranking.indices[0])])

        times["exhaustive"].append(clocked(exhaustive))
        times["inverted file"].append(clocked(inverted))
        if not np.allclose(found[0], expected, atol=1e-5):
            raise SystemExit(f"{name}: the inverted file differs from exhaustive scoring")
    slow, fast = (statistics.median(times[name]) for name in ("exhaustive", "inverted file"))
    ratio = statistics.median(a / b for a, b in zip(*times.values(), strict=True))
    print(
        f"same kernel, same numbers: exhaustive {slow:.1f} ms a query, inverted file {fast:.1f} ms, "
        f"{ratio:.1f} times faster (medians of {len(data.queries)} queries, one thread)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", nargs="?", type=Path, help="photos; without, synthetic features")
    parser.add_argument("--codebook", type=Path, help="learn from the JPEGs of this folder, not the database")
    parser.add_argument("--words", type=int, default=4096)
    parser.add_argument("--bits", type=int, default=128)
    parser.add_argument("--keypoints", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=1, help="codebooks learnt with so many seeds")
    parser.add_argument("--pipeline", action="store_true", help="as an experiment, on the grocery photos")
    options = parser.parse_args()
    if options.pipeline:
        through_the_pipeline(options.dataset or grocery(), options)
        return
    cv2.setNumThreads(1)
    data: Photos | Synthetic
    if options.dataset:
        data = Photos(options.dataset, options.keypoints, options.side)
    else:
        data = Synthetic(min(options.keypoints, 300))
    features = data.database
    if options.codebook and isinstance(data, Photos):
        files = sorted(options.codebook.rglob("*.jpg"))
        features = data.describe([ImageRecord(str(f), FileSource(f)) for f in files])
    count = statistics.mean(len(f.scores) for f in data.database)
    print(f"{len(data.ids)} images, {count:.0f} features each, described in {data.ms:.0f} CPU ms an image")
    for seed in range(options.seeds):
        start = time.perf_counter()
        per_image = max(SAMPLE_PER_IMAGE, 60 * options.words // len(features) + 1)
        learnt = asmk.learn_codebook(
            sample(features, per_image), words=options.words, bits=options.bits, seed=seed
        )
        seconds = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            artifact = asmk.open_index(Path(folder), learnt, {})
            start = time.process_time()
            asmk.index_shard(artifact, "all", zip(data.ids, data.database, strict=True), learnt, took)
            ms = 1e3 * (time.process_time() - start) / len(data.ids)
            index = asmk.InvertedFile(artifact, ["all"])
            size = index.stored_bytes() / len(index)
            print(
                f"codebook of {options.words} words, seed {seed}: {seconds:.0f} s; index {ms:.1f} CPU ms and "
                f"{size:.0f} bytes an image ({index.postings / len(index):.0f} postings)"
            )
            for name, settings in SETTINGS.items():
                show(data, index, name, settings)
            race(data, index)
    print(f"peak memory {peak_memory() / 2**20:.0f} MB, most of it the features kept for all the runs")


def through_the_pipeline(dataset: Path, options: argparse.Namespace) -> None:
    """Run the experiment in a temporary folder and print accuracy and cost."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "output": folder,
            "dataset": {"path": str(dataset)},
            "search": {
                "method": "asmk",
                "asmk": {
                    "words": options.words,
                    "bits": options.bits,
                    "keypoints": options.keypoints,
                    "side": options.side,
                },
            },
        }
        result = api.evaluate(from_dict(ExperimentConfig, settings))
    found, cost = result.evaluation, result.cost
    print(
        f"{result.design}, {len(found.query_ids)} queries, {len(result.ranking.database_ids)} images:\n"
        f"mAP@{found.k} {found.mean:.3f} [{found.ci95.low:.3f}, {found.ci95.high:.3f}], "
        f"R@1 {found.metrics['R@1']:.2f}\n"
        f"{cost.extraction_ms_per_image:.0f} ms and {cost.bytes_per_image:,.0f} bytes an image; a query "
        f"{cost.query_ms_per_query:.0f} ms to describe and {cost.search_ms_per_query:.0f} ms to search; "
        f"codebook {cost.stage_seconds['codebook']:.0f} s; peak {cost.peak_memory_bytes / 2**20:.0f} MB"
    )


def show(data: Photos | Synthetic, index: asmk.InvertedFile, name: str, settings: asmk.AsmkSettings) -> None:
    ranking = asmk.search_postings(data.query_ids, data.queries, index, settings, k=1000)
    result = evaluate(ranking, data.truth, data.axes, definition="ilias", k=1000)
    times = [
        clocked(
            lambda q=query, i=i: asmk.search_postings([i], [q], index, settings, k=1000, workers=1)  # type: ignore[misc]
        )
        for i, query in zip(data.query_ids, data.queries, strict=True)
    ]
    print(
        f"  {name:24} mAP@1000 {result.mean:.3f} [{result.ci95.low:.3f}, {result.ci95.high:.3f}], "
        f"R@1 {result.metrics['R@1']:.2f}, {statistics.median(times):5.1f} ms a query in one thread",
        flush=True,
    )


if __name__ == "__main__":
    main()
