"""Matching, verification and Chamfer similarity: speed and decisions against OpenCV and plain numpy.

Real photos (the grocery set): RootSIFT at a longer side of 640 pixels, 1,000 keypoints. Each query is paired
with positives of its own, photos of other objects and distractors, 2,000 pairs in all. For every query
in turn, Ilion and OpenCV get the same features and settings: ratio 0.9, homography, 5 pixels.

- one-way: BFMatcher.knnMatch(k=2) + ratio test + findHomography(RANSAC)
- mutual: the same, and a second BFMatcher pass for the other direction

OpenCV draws its samples, and what it draws depends on the order of the matches: with another order it
decides otherwise on some pairs. So Ilion is compared with one call of OpenCV, with what most of five calls
decide (the same matches in five orders; only the first call is timed), and so are OpenCV's single calls.

Chamfer: 600 tokens an image; real ones are RootSIFT, centred and rotated, drawn ones come in clusters. Each
side has all cores, with one thread a core for one query each, or with threads of the matrix product for plain
numpy where that is faster. They take turns in every round, as the clock of a shared machine changes.

Times are medians over queries, in wall-clock and in processor time; the latter says more on a busy machine.
OMP_NUM_THREADS=1 gives one core to both sides.

Run: python benchmarks/matching.py shared/data/grocery [--queries 31] [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from photos import grocery
from scipy.stats import spearmanr

from ilion.descriptors.rootsift import rootsift
from ilion.images import resize
from ilion.kernels.hamming import pack_signs, unpack_signs
from ilion.reranking.geometry import FLOOR, THRESHOLD_PX, verify
from ilion.reranking.matching import chamfer_bits, chamfer_many, match_many, unit_rows
from ilion.runtime.threads import in_order, single_threaded_products
from ilion.types import Float32, LocalFeatures

RATIO = 0.9
PAIRS_A_QUERY = 65
ORDERS = 4
"""Further orders of the matches in which OpenCV decides."""
TOKENS = 600
IMAGES = 128
"""With which tokens are compared at once."""
QUERIES_A_THREAD = 4
"""For which the threads of a call live: new ones may share a core for some milliseconds."""
PAUSE_S, WHILE_S = 0.1, 0.2
"""Before and for how long a way to compute Chamfer similarities is timed in each round."""


@dataclass
class Times:
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], Any], parts: int) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall.append(1e3 * (time.perf_counter() - wall) / parts)
        self.cpu.append(1e3 * (time.process_time() - cpu) / parts)
        return result

    def __str__(self) -> str:
        return f"{statistics.median(self.wall):8.3f} ms wall {statistics.median(self.cpu):8.3f} ms processor"


def ratios(slow: Times, fast: Times) -> str:
    wall = statistics.median(slow.wall) / statistics.median(fast.wall)
    cpu = statistics.median(slow.cpu) / statistics.median(fast.cpu)
    return f"{wall:.1f} times wall, {cpu:.1f} times processor"


# --- photos ---


@dataclass(frozen=True)
class Pool:
    """Features of queries by object, and of database images by object (or "" for distractors) and number."""

    queries: dict[str, LocalFeatures]
    images: dict[tuple[str, int], LocalFeatures]


def described(data: bytes) -> LocalFeatures:
    image = cv2.cvtColor(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), 1)), cv2.COLOR_BGR2RGB)
    return rootsift(resize(np.asarray(image, np.uint8), "long", 640), 1000)


def read_pool(root: Path, queries: int, positives: int = 16, distractors: int = 60) -> Pool:
    objects = sorted(path for path in (root / "ilias_core").iterdir() if path.is_dir())[:queries]
    first = {o.name: described(next((o / "query").glob("*.jpg")).read_bytes()) for o in objects}
    images = {
        (o.name, number): described(path.read_bytes())
        for o in objects
        for number, path in enumerate(sorted((o / "pos").glob("*.jpg"))[:positives])
    }
    for archive in sorted((root / "distractors").glob("*.tar")):
        with tarfile.open(archive) as tar:
            for member in (m for m in tar if m.name.endswith(".jpg")):
                number = sum(1 for name, _ in images if not name)
                content = tar.extractfile(member)
                if number >= distractors or content is None:
                    break
                images["", number] = described(content.read())
    return Pool(first, images)


# --- matching and verification ---


def ilion_inliers(query: LocalFeatures, images: Sequence[LocalFeatures], mutual: bool) -> list[int]:
    found = match_many(query, images, ratio=RATIO, mutual=mutual)
    return [int(verify(query, i, m).inliers.sum()) for i, m in zip(images, found, strict=True)]


def opencv_inliers(
    query: LocalFeatures, images: Sequence[LocalFeatures], mutual: bool, *, order: int = 0
) -> list[int]:
    """Count inliers; ``order`` 0 leaves the matches as they come, others shuffle them."""
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    rows = np.asarray(query.descriptors, np.float32)
    counts = []
    for image in images:
        others = np.asarray(image.descriptors, np.float32)
        pairs = matcher.knnMatch(rows, others, k=2)
        good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < RATIO * p[1].distance]
        if mutual:
            back = {m.queryIdx: m.trainIdx for m in matcher.match(others, rows)}
            good = [m for m in good if back[m.trainIdx] == m.queryIdx]
        if order:
            good = [good[i] for i in np.random.default_rng(order).permutation(len(good))]
        mask = None
        if len(good) >= 4:
            source = query.keypoints[[m.queryIdx for m in good]]
            target = image.keypoints[[m.trainIdx for m in good]]
            mask = cv2.findHomography(source, target, cv2.RANSAC, THRESHOLD_PX)[1]
        counts.append(0 if mask is None else int(mask.sum()))
    return counts


@dataclass
class Side:
    """One of the two, and what it found."""

    name: str
    work: Callable[[LocalFeatures, Sequence[LocalFeatures], bool], list[int]]
    times: Times = field(default_factory=Times)
    counts: list[int] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)

    @property
    def matched(self) -> NDArray[np.bool_]:
        return np.array(self.counts) >= FLOOR


def average_precision(values: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Rank-based; ties broken by ten random orders."""
    results = []
    for seed in range(10):
        order = np.lexsort((np.random.default_rng(seed).random(len(values)), -values))
        hits = positive[order]
        results.append(float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean()))
    return statistics.mean(results)


def compare_matching(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    chosen = {}
    for name in pool.queries:
        own = [key for key in pool.images if key[0] == name]
        others = [key for key in pool.images if key[0] != name]
        picked = rng.permutation(len(others))[: PAIRS_A_QUERY - len(own)]
        chosen[name] = own + [others[i] for i in picked]
    for mutual in (False, True):
        sides = [Side("Ilion", ilion_inliers), Side("OpenCV", opencv_inliers)]
        positives: list[bool] = []
        again: list[list[int]] = [[] for _ in range(ORDERS)]
        for name, query in pool.queries.items():
            images = [pool.images[key] for key in chosen[name]]
            positive = np.array([key[0] == name for key in chosen[name]])
            positives.extend(positive)
            for side in sides:
                found = side.times.add(partial(side.work, query, images, mutual), len(images))
                side.counts.extend(found)
                side.precision.append(average_precision(np.array(found), positive))
            for order, counts in enumerate(again, 1):
                counts.extend(opencv_inliers(query, images, mutual, order=order))
        right = np.array(positives)
        print(f"\n{'mutual' if mutual else 'one-way'}: {len(right)} pairs, {right.sum()} of them positive")
        for side in sides:
            hits, alarms = side.matched[right].mean(), side.matched[~right].mean()
            print(f"  {side.name:7}{side.times} a pair")
            print(
                f"         {FLOOR} inliers in {hits:.3f} of the positives and {alarms:.3f} of the others; "
                f"AP by inliers {statistics.mean(side.precision):.4f}"
            )
        ours, theirs = (side.matched for side in sides)
        only, missed = (ours & ~theirs), (theirs & ~ours)
        print(f"  faster: {ratios(sides[1].times, sides[0].times)}")
        print(f"  same decision as one call of OpenCV on {np.mean(ours == theirs):.2%} of the pairs")
        for floor in (FLOOR, 12, 15, 20):
            calls = np.array([sides[1].counts, *again]) >= floor
            most = calls.sum(axis=0) > len(calls) / 2
            mine = np.array(sides[0].counts) >= floor
            alone = ", ".join(f"{share:.2%}" for share in np.mean(calls == most, axis=1))
            print(
                f"    {floor} inliers as the limit: as most of {len(calls)} on {np.mean(mine == most):.2%}; "
                f"OpenCV's single calls {alone}"
            )
        print(f"  only Ilion matches {only[right].sum()} positives and {only[~right].sum()} others")
        print(f"  only OpenCV matches {missed[right].sum()} positives and {missed[~right].sum()} others")


# --- Chamfer ---


def real_tokens(pool: Pool) -> tuple[dict[str, Float32], dict[tuple[str, int], Float32]]:
    """RootSIFT as tokens: the strongest of each image, centred by the mean, rotated at random."""
    everything = np.concatenate([f.descriptors for f in pool.images.values()]).astype(np.float32)
    mean = everything.mean(axis=0)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((128, 128)))[0].astype(np.float32)

    def tokens(f: LocalFeatures) -> Float32:
        best = np.argsort(-f.scores, kind="stable")[:TOKENS]
        centred: Float32 = f.descriptors[best].astype(np.float32) - mean
        rotated: Float32 = centred @ turn
        return rotated

    return {n: tokens(f) for n, f in pool.queries.items()}, {k: tokens(f) for k, f in pool.images.items()}


def drawn_tokens(dims: int, images: int, noise: float = 0.6) -> tuple[Float32, list[Float32]]:
    """Tokens in clusters, as those of a vision transformer: images share more or fewer of the query's."""
    rng = np.random.default_rng(dims)
    centres = rng.standard_normal((2000, dims)) / np.sqrt(dims)
    own = rng.integers(0, 200, TOKENS)

    def draw(clusters: NDArray[Any]) -> Float32:
        spread = noise * rng.standard_normal((TOKENS, dims)) / np.sqrt(dims)
        tokens: Float32 = (centres[clusters] + spread).astype(np.float32)
        return tokens

    shared = np.linspace(0, 0.5, images)
    others = [
        np.where(rng.random(TOKENS) < share, rng.choice(own, TOKENS), rng.integers(200, 2000, TOKENS))
        for share in shared
    ]
    return draw(own), [draw(o) for o in others]


def plain_chamfer(query: Float32, database: Sequence[Float32]) -> Float32:
    return np.array([(query @ tokens.T).max(axis=1).mean() for tokens in database], np.float32)


def on_all_cores(work: Callable[[], Float32], threads: int) -> Contestant:
    """Do the same work for some queries in one thread a core, as re-ranking does."""
    queries = threads * QUERIES_A_THREAD

    def whole() -> Float32:
        with single_threaded_products():
            jobs = in_order(range(queries), lambda _: work(), workers=threads)
            results = [future.result() for _, future in jobs]
        return results[0]

    return Contestant(whole, queries)


@dataclass
class Contestant:
    """One way to compute the similarities, the queries that a call does at once, and its times an image."""

    work: Callable[[], Float32]
    copies: int = 1
    times: Times = field(default_factory=Times)

    def round(self) -> None:
        """Take the mean of the calls of a while, after a first one that warms up."""
        # threads of matrix products wait busily for the next one
        time.sleep(PAUSE_S)
        self.work()
        calls, wall, cpu = 0, time.perf_counter(), time.process_time()
        while not calls or time.perf_counter() - wall < WHILE_S:
            self.work()
            calls += 1
        parts = calls * self.copies * IMAGES
        self.times.wall.append(1e3 * (time.perf_counter() - wall) / parts)
        self.times.cpu.append(1e3 * (time.process_time() - cpu) / parts)


def ratios_by_round(slow: Times, fast: Times) -> str:
    """Median of the ratios of rounds: the clock of a shared machine changes from one to the next."""
    pairs = ((slow.wall, fast.wall), (slow.cpu, fast.cpu))
    each = [[a / b for a, b in zip(*pair, strict=True)] for pair in pairs]
    wall, cpu = (f"{statistics.median(r):.1f} ({min(r):.1f} to {max(r):.1f})" for r in each)
    return f"{wall} times wall, {cpu} times processor"


def compare_chamfer(pool: Pool, rounds: int, threads: int) -> None:
    print(
        f"\nChamfer similarity, {TOKENS} tokens an image; medians of {rounds} rounds, ratios with their range"
    )
    for dims in (128, 256, 512, 768):
        query, database = drawn_tokens(dims, IMAGES)
        floats, units = unit_rows(query), [unit_rows(d) for d in database]
        bits, packed = pack_signs(query), [pack_signs(d) for d in database]
        spread = partial(on_all_cores, threads=threads)
        naive, single = partial(plain_chamfer, floats, units), partial(chamfer_bits, bits, packed, dims=dims)
        plain, side = Contestant(naive), spread(naive)
        full = spread(partial(chamfer_many, query, database))
        one = spread(single)
        for _ in range(rounds):
            for contestant in (plain, side, full, one):
                contestant.round()
        want, found = naive(), single()
        best = min(plain.times, side.times, key=lambda times: statistics.median(times.wall))
        mixed = chamfer_many(query, [unpack_signs(p, dims) for p in packed])
        print(f"  {dims} dimensions, {4 * dims} bytes a token or {dims // 8}")
        print(f"    float32, plain numpy {best} an image")
        print(f"    float32, Ilion       {full.times}")
        print(f"    1 bit, Ilion         {one.times}")
        print(f"    1 bit is faster than plain float32: {ratios_by_round(best, one.times)}")
        print(f"    1 bit is faster than Ilion's float32: {ratios_by_round(full.times, one.times)}")
        print(f"    1 bit against float32: {agreement(want, found)}")
        print(f"    asymmetric against float32: {agreement(want, mixed)}")
    queries, images = real_tokens(pool)
    keys = list(images)
    packed = [pack_signs(images[key]) for key in keys]
    signs = [unpack_signs(p, 128) for p in packed]
    results: dict[str, list[tuple[float, float]]] = {"float32": [], "asymmetric": [], "1 bit": []}
    for name, query in queries.items():
        positive = np.array([key[0] == name for key in keys])
        want = chamfer_many(query, [images[key] for key in keys])
        for kind, found in (
            ("float32", want),
            ("asymmetric", chamfer_many(query, signs)),
            ("1 bit", chamfer_bits(pack_signs(query), packed, dims=128)),
        ):
            results[kind].append((average_precision(found, positive), float(spearmanr(want, found)[0])))
    print(f"  RootSIFT as tokens, {len(keys)} photos: the query's own object ranked by Chamfer alone")
    for kind, values in results.items():
        precision, rank = np.mean(values, axis=0)
        print(f"    {kind:10} AP {precision:.4f}, rank correlation with float32 {rank:.4f}")


def agreement(want: Float32, found: Float32) -> str:
    """Over the database images of one query: cosine of the centred similarities, and of their ranks."""
    return f"correlation {np.corrcoef(want, found)[0, 1]:.4f}, of ranks {spearmanr(want, found)[0]:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="?", type=Path, help="folder of the grocery photos")
    parser.add_argument("--queries", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--parts", nargs="+", choices=("matching", "chamfer"), default=["matching", "chamfer"]
    )
    arguments = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    cv2.setNumThreads(threads)
    started = time.perf_counter()
    pool = read_pool(arguments.photos or grocery(), arguments.queries)
    number = len(pool.queries) + len(pool.images)
    print(f"{threads} threads; described {number} photos in {time.perf_counter() - started:.0f} s")
    if "matching" in arguments.parts:
        compare_matching(pool)
    if "chamfer" in arguments.parts:
        compare_chamfer(pool, arguments.rounds, threads)


if __name__ == "__main__":
    main()
