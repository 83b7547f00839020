"""Image loading against Pillow: from tar shards to the model's input, one thread.

The slow path is that of a usual pipeline: `tarfile`, `PIL.Image.open`, convert to RGB, antialiased BICUBIC
resize of the whole image. The fast path is Ilion's: index the tar, read by offset, decode (a large JPEG at
a fraction of its size), resize. Both start from the same tars and end with an array of the same longer
side (the shorter may differ by a pixel, as fractions of a JPEG are rounded up). They take turns image by
image, and CPU time is counted, so that other work on the machine disturbs little. The cosine is that of
EfficientNet-Lite2 descriptors of both results; the last column, Pillow's BILINEAR against its BICUBIC,
says how much the choice of a filter matters anyway.

The photos of the shards are small (350 to 500 pixels). For larger ones, the benchmark packs tars of its own:
"mosaic" puts 4 x 3 (or 2 x 2) photos side by side without scaling, so that every detail is as sharp as
in a small photo, which is the hard case; "enlarged" scales photos up, as soft as many phone photos are.

Run: python benchmarks/image_loading.py SHARD.tar ... [--images 150] [--rounds 5]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from photos import grocery
from PIL import Image

from ilion.datasets.tars import index_tar
from ilion.descriptors.base import ExtractorOptions
from ilion.descriptors.registry import build
from ilion.images import decode, least_size, resize
from ilion.types import RGB, Float32, TarSource


def slow(tar: Path, side: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Iterator[RGB]:
    with tarfile.open(tar, "r:") as members:
        for member in members:
            file = members.extractfile(member)
            if file is None:
                continue
            image = Image.open(io.BytesIO(file.read())).convert("RGB")
            factor = side / max(image.size)
            size = (max(1, int(image.width * factor + 0.5)), max(1, int(image.height * factor + 0.5)))
            yield np.asarray(image.resize(size, resample))


def fast(tar: Path, side: int) -> Iterator[RGB]:
    least = least_size("long", side)
    for name, offset, size in index_tar(tar).members:
        data = TarSource(tar, name, offset, size).read()
        yield resize(decode(data, at_least=least).image, "long", side)


def timed(images: Iterator[RGB]) -> Iterator[float]:
    """Yield the CPU seconds that each image took."""
    start = time.process_time()
    for _ in images:
        yield time.process_time() - start
        start = time.process_time()


def race(tar: Path, side: int, rounds: int) -> tuple[float, float, float]:
    """Return the median milliseconds an image of both paths, and the median ratio, over rounds."""
    results = []
    for _ in range(rounds):
        pairs = list(zip(timed(slow(tar, side)), timed(fast(tar, side)), strict=True))
        results.append(tuple(1e3 * sum(times) / len(pairs) for times in zip(*pairs, strict=True)))
    medians = [statistics.median(times) for times in zip(*results, strict=True)]
    return medians[0], medians[1], statistics.median(s / f for s, f in results)


def cosines(tar: Path, side: int, describe: Callable[[RGB], Float32]) -> tuple[Float32, Float32]:
    """Return the cosines of each image to Pillow's BICUBIC: of Ilion, and of Pillow's BILINEAR."""
    ours, bilinear = [], []
    paths = zip(slow(tar, side), fast(tar, side), slow(tar, side, Image.Resampling.BILINEAR), strict=True)
    for reference, image, other in paths:
        if any(abs(a - b) > 1 for a, b in zip(reference.shape, image.shape, strict=True)):
            raise SystemExit(f"shapes differ: {reference.shape} and {image.shape}")
        expected = describe(reference)
        ours.append(expected @ describe(image))
        bilinear.append(expected @ describe(other))
    return np.array(ours, np.float32), np.array(bilinear, np.float32)


def jpeg(pixels: RGB) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def pack(path: Path, files: list[bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, data in enumerate(files):
            member = tarfile.TarInfo(f"{number:05}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def mosaic(photos: list[RGB], columns: int, rows: int) -> RGB:
    tiles = [p if p.shape == (400, 400, 3) else resize(p, "center-crop", 400) for p in photos]
    return np.vstack([np.hstack(tiles[r * columns : (r + 1) * columns]) for r in range(rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="*", type=Path, help="tars; without, those of the grocery photos")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    extractor = build("efficientnet-lite2", ExtractorOptions(threads=1))

    def describe(image: RGB) -> Float32:
        return np.asarray(extractor.extract([image])[0], np.float32)

    shards = options.shards or sorted((grocery() / "distractors").glob("*.tar"))
    sources = [TarSource(shard, *member) for shard in shards for member in index_tar(shard).members]
    files = [source.read() for source in sources[:: max(1, len(sources) // options.images)]]
    photos = [decode(data).image for data in files[:: max(1, len(files) // 48)]]
    twelves = [photos[i : i + 12] for i in range(0, len(photos) - 11, 6)]
    fours = [photos[i : i + 4] for i in range(0, len(photos) - 3, 4)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shard = pack(home / "shard.tar", files)
        mosaics = pack(home / "mosaic.tar", [jpeg(mosaic(p, 4, 3)) for p in twelves])
        smaller = pack(home / "smaller.tar", [jpeg(mosaic(p, 2, 2)) for p in fours])
        enlarged = pack(home / "enlarged.tar", [jpeg(resize(p, "long", 1600)) for p in photos[:12]])
        print("photos              side   Pillow    Ilion  ratio  cosine min / 5% / median  (BILINEAR min)")
        for name, tar, side in (
            ("shard, as it is", shard, 384),
            ("shard, as it is", shard, 260),
            ("shard, as it is", shard, 224),
            ("mosaic 1600 x 1200", mosaics, 384),
            ("mosaic 1600 x 1200", mosaics, 768),
            ("mosaic 800 x 800", smaller, 384),
            ("enlarged to 1600", enlarged, 384),
        ):
            pillow_ms, ilion_ms, ratio = race(tar, side, options.rounds)
            ours, bilinear = cosines(tar, side, describe)
            low, median = np.percentile(ours, [5, 50])
            print(
                f"{name:18} {side:5} {pillow_ms:6.2f}ms {ilion_ms:6.2f}ms {ratio:5.2f}x  "
                f"{ours.min():.4f} / {low:.4f} / {median:.4f}   ({bilinear.min():.4f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
