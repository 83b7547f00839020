"""Local features of 200,000 images on disk: memory and time of reading shortlists.

Synthetic features are written through the same functions as real ones, at a few bytes an image or at full
size; then shortlists of random images are read, by one process of its own for each way of reading:

- "Ilion": `LocalSet.many`, a read at each record's place;
- "mapped": the same records through a memory map of each shard;
- "scan": a reader that goes through the shard until it finds the image, as formats without an index need.

Peak memory is the largest resident memory of that process. "Before" is what it holds when the set is open.
The operating system's file cache is warm for all, unless it had to evict.

Run: python benchmarks/local_store.py [--images 200000] [--features 100] [--codec pq|uint8] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import mmap
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.extraction.shards import stats_since
from ilion.localfeatures.codecs import Codec, CodecSettings, fit_codec
from ilion.localfeatures.store import LocalSet, read_codec, write_codec, write_features
from ilion.runtime.machine import peak_memory
from ilion.types import LocalFeatures

SHARD = 10_000
SHORTLIST = 400
MEGABYTE = 1 << 20


def synthetic(rng: np.random.Generator, number: int) -> LocalFeatures:
    descriptors = rng.gamma(0.3, size=(number, 128)).astype(np.float32)
    return LocalFeatures(
        keypoints=rng.uniform(0, 479, (number, 2)).astype(np.float32),
        descriptors=np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True)),
        scores=np.linspace(1, 0.1, number, dtype=np.float32),
        image_size=(640, 480),
        scales=rng.uniform(2, 60, number).astype(np.float32),
        angles=rng.uniform(0, 6, number).astype(np.float32),
    )


def build(folder: Path, images: int, features: int, codec: Codec) -> None:
    """Write the database; every record differs by its own bytes, without encoding each anew."""
    artifact = storage.open_artifact(folder, "local", {"codec": codec.digest, "images": images})
    write_codec(artifact.folder, codec)
    rng = np.random.default_rng(0)
    templates = [codec.encode(synthetic(rng, features)) for _ in range(50)]

    def records(first: int) -> Iterator[tuple[str, bytes]]:
        for number in range(first, min(first + SHARD, images)):
            record = bytearray(templates[number % len(templates)])
            record[6:10] = number.to_bytes(4, "little")
            yield f"image-{number:07d}.jpg", bytes(record)

    for first in range(0, images, SHARD):
        started = time.perf_counter()
        write_features(artifact, f"s{first // SHARD:04d}", records(first), partial(stats_since, started))


def read(folder: Path, way: str, rounds: int) -> dict[str, float]:
    """Read shortlists; runs in a process of its own."""
    artifact = storage.load_artifact(next(folder.glob("local-*")))
    keys = sorted(path.name.removesuffix(".ids.json") for path in artifact.folder.glob("*.ids.json"))
    started = time.perf_counter()
    database = LocalSet(artifact, keys)
    opened = time.perf_counter() - started
    before = peak_memory()
    rng = np.random.default_rng(1)
    readers: dict[str, Callable[[np.ndarray], object]] = {
        "Ilion": database.many,
        "mapped": Mapped(artifact, keys).many,
        "scan": Scan(artifact, keys).many,
    }
    times = []
    for _ in range(rounds):
        rows = rng.integers(0, len(database), SHORTLIST)
        started = time.perf_counter()
        readers[way](rows)
        times.append((time.perf_counter() - started) / SHORTLIST)
    return {
        "open_s": opened,
        "before_mb": before / MEGABYTE,
        "peak_mb": peak_memory() / MEGABYTE,
        "us_an_image": 1e6 * float(np.median(times)),
    }


class Mapped:
    """The same records, through memory maps."""

    def __init__(self, artifact: storage.Artifact, keys: list[str]) -> None:
        self.codec = read_codec(artifact.folder)
        self.files = [artifact.folder / f"{key}.bin" for key in keys]
        self.starts = [storage.read_array(artifact.folder / f"{key}.index.npy")["start"] for key in keys]
        self.maps: dict[int, mmap.mmap] = {}

    def many(self, rows: np.ndarray) -> list[LocalFeatures]:
        found = []
        for row in rows.tolist():
            shard, inside = divmod(row, SHARD)
            if shard not in self.maps:
                with self.files[shard].open("rb") as file:
                    self.maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self.maps[shard].madvise(mmap.MADV_RANDOM)
            starts, data = self.starts[shard], self.maps[shard]
            end = int(starts[inside + 1]) if inside + 1 < len(starts) else len(data)
            found.append(self.codec.decode(data[int(starts[inside]) : end]))
        return found


class Scan:
    """A file without an index is read from its start up to the image; here at the speed of the disk cache."""

    def __init__(self, artifact: storage.Artifact, keys: list[str]) -> None:
        self.codec = read_codec(artifact.folder)
        self.files = [artifact.folder / f"{key}.bin" for key in keys]
        self.starts = [storage.read_array(artifact.folder / f"{key}.index.npy")["start"] for key in keys]

    def many(self, rows: np.ndarray) -> list[LocalFeatures]:
        found = []
        for row in rows.tolist():
            shard, inside = divmod(row, SHARD)
            starts = self.starts[shard].tolist()
            with self.files[shard].open("rb") as file:
                for start, end in pairwise(starts[: inside + 1]):
                    file.read(end - start)
                last = inside + 1 == len(starts)
                found.append(
                    self.codec.decode(file.read(-1 if last else starts[inside + 1] - starts[inside]))
                )
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--codec", choices=("pq", "uint8"), default="pq")
    parser.add_argument("--rounds", type=int, default=1000, help="shortlists read by each way (scan: 1)")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if left out")
    parser.add_argument("--read", nargs=2, metavar=("WAY", "ROUNDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        print(json.dumps(read(given.folder, given.read[0], int(given.read[1]))))
        return
    rng = np.random.default_rng(5)
    settings = CodecSettings("pq", 8) if given.codec == "pq" else CodecSettings("uint8")
    settings = CodecSettings(settings.kind, settings.size, position=8, shape=4, score=0)
    codec = fit_codec(settings, "cosine", [synthetic(rng, 500) for _ in range(8)], 0)
    folder = Path(tempfile.mkdtemp(dir=given.folder, prefix="local-store-"))
    try:
        started = time.perf_counter()
        build(folder, given.images, given.features, codec)
        stored = sum(path.stat().st_size for path in folder.rglob("*.bin"))
        print(
            f"{given.images:,} images x {given.features} features x {codec.bytes_per_feature} bytes: "
            f"{stored / MEGABYTE:,.0f} MB, written in {time.perf_counter() - started:.0f} s "
            f"(peak of the writer {peak_memory() / MEGABYTE:,.0f} MB)"
        )
        results = {}
        for way, rounds in (("Ilion", given.rounds), ("mapped", given.rounds), ("scan", 1)):
            command = [sys.executable, __file__, "--folder", str(folder), "--read", way, str(rounds)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[way] = json.loads(done.stdout)
            print(
                f"{way:7} {rounds * SHORTLIST:>8,} images read: open {results[way]['open_s']:.2f} s, memory "
                f"before {results[way]['before_mb']:,.0f} MB, peak {results[way]['peak_mb']:,.0f} MB, "
                f"median {results[way]['us_an_image']:,.1f} us an image (read and decode)"
            )
        own, mapped, scan = (results[way] for way in ("Ilion", "mapped", "scan"))
        print(
            f"scan / Ilion: {scan['us_an_image'] / own['us_an_image']:.0f} times the time\n"
            f"mapped / Ilion: {mapped['us_an_image'] / own['us_an_image']:.2f} times the time, "
            f"{mapped['peak_mb'] / own['peak_mb']:.1f} times the memory"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
