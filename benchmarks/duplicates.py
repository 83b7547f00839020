"""Copies of whole photos: Ilion's hashes beside imagededup and cleanvision, in one run.

    pip install imagededup cleanvision
    python -m benchmarks.duplicates FOLDER [FOLDER ...] --cache FOLDER [--count 10000]
    python -m benchmarks.duplicates --cache FOLDER --drawn 1000000

The photos of the folders (and of tars in them) are cut into quarters, so that there are many different
ones; of every hundred, six get a copy: the same file, saved anew, resized, mirrored, brighter, or without 4%
at each edge; and one gets a version on which a round part of another photo is pasted, which is no copy. Each
method runs in a process of its own; peak memory is that of the process. A pair that was not planted counts as
wrong for the precision, though a few are photos that really were there twice; how many of the pasted ones are
taken for copies is certain. A copy counts as found where pairs join it with its source.

With ``--drawn``, Ilion alone looks among so many drawn signatures, each also mirrored. Of every hundred, one
has a copy whose hash differs in 0 to 24 bits, half of them in that of the mirror image; and one photo in a
thousand is one of twenty of almost one hash, as photos of one colour are.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Pairs = set[tuple[str, str]]
KINDS = ("exact", "resaved", "resized", "mirrored", "brighter", "trimmed")
PASTED = "pasted"
SUFFIXES = (".jpg", ".jpeg", ".png")


def read_photos(folders: Sequence[Path]) -> Iterator[bytes]:
    """Yield the photos of folders and of tars in them."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield path.read_bytes()
            elif path.suffix == ".tar":
                with tarfile.open(path) as tar:
                    for member in tar:
                        if member.name.lower().endswith(SUFFIXES) and (file := tar.extractfile(member)):
                            yield file.read()


def write_photos(folders: Sequence[Path], output: Path, count: int) -> dict[str, tuple[str, str]]:
    """Write quarters of photos and copies of some; return copy -> source and kind."""
    output.mkdir(parents=True, exist_ok=True)
    rng, planted, number = np.random.default_rng(0), dict[str, tuple[str, str]](), 0
    for data in read_photos(folders):
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        width, height = (side // 2 for side in photo.size)
        for left, top in ((0, 0), (width, 0), (0, height), (width, height)):
            if number + len(planted) >= count:
                return planted
            part, name = photo.crop((left, top, left + width, top + height)), f"{number:05d}.jpg"
            part.save(output / name, quality=92)
            kind = dict(enumerate((*KINDS, PASTED))).get(number % 100)
            if kind:
                copy, own = f"{number:05d}_copy.jpg", (output / name).read_bytes()
                if kind == PASTED:
                    other = (output / f"{number // 2:05d}.jpg").read_bytes()
                    (output / copy).write_bytes(paste(own, other, rng))
                else:
                    (output / copy).write_bytes(copy_of(own, kind, rng))
                planted[copy] = (name, kind)
            number += 1
    return planted


def copy_of(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a copy of a photo."""
    if kind == "exact":
        return data
    image: Image.Image = Image.open(io.BytesIO(data))
    width, height = image.size
    if kind == "resized":
        scale = rng.uniform(0.5, 0.9)
        image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    elif kind == "mirrored":
        image = ImageOps.mirror(image)
    elif kind == "brighter":
        image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(1.15, 1.3)))
    elif kind == "trimmed":
        x, y = round(0.04 * width), round(0.04 * height)
        image = image.crop((x, y, width - x, height - y))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(50, 90)))
    return out.getvalue()


def paste(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a photo on which a round part of another one is pasted, 10 to 25% of its longer side wide."""
    image, source = (Image.open(io.BytesIO(each)).convert("RGB") for each in (data, other))
    side = round(rng.uniform(0.1, 0.25) * max(image.size))
    x, y, left, top = (int(rng.integers(0, max(length - side, 1))) for length in (*source.size, *image.size))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((1, 1, side - 2, side - 2), fill=255)
    round_part = source.crop((x, y, x + side, y + side))
    image.paste(round_part, (left, top), mask.filter(ImageFilter.GaussianBlur(1)))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(50, 90)))
    return out.getvalue()


def by_ilion(folder: Path) -> Pairs:
    """Find copies as an audit does, before local features."""
    from hashlib import blake2b

    from ilion.audit.copies import Overlap, find_copies, overlay
    from ilion.audit.hashes import sign
    from ilion.images import decode, probe
    from ilion.runtime.threads import in_order

    paths = sorted(folder.iterdir())

    def look(path: Path) -> tuple[NDArray[Any], ...]:
        data = path.read_bytes()
        signed = sign(decode(data, at_least=(256, 1)).image)
        digest = np.frombuffer(blake2b(data, digest_size=16).digest(), np.uint8)
        return digest, signed.code, signed.mirrored, signed.thumb, np.array(probe(data).size)

    rows = [future.result() for _, future in in_order(paths, look)]

    def lay(first: int, second: int) -> Overlap | None:
        a, b = (decode(paths[n].read_bytes(), at_least=(256, 1)).image for n in (first, second))
        return overlay(a, b)

    digests, codes, mirrored, thumbs, sizes = (np.stack(column) for column in zip(*rows, strict=True))
    found, _ = find_copies(digests, codes, mirrored, thumbs, sizes, lay)
    return {(paths[p.first].name, paths[p.second].name) for p in found if p.relation != "burst"}


def by_imagededup(folder: Path, kind: str) -> Pairs:
    """Find copies by a hash of imagededup, with its own defaults."""
    hashed = getattr(import_module("imagededup.methods"), kind)(verbose=False)
    found = hashed.find_duplicates(image_dir=str(folder), recursive=False)
    return {(name, other) for name, others in found.items() for other in others}


def by_cleanvision(folder: Path) -> Pairs:
    """Find exact and near duplicates by cleanvision, with its own defaults."""
    lab = import_module("cleanvision").Imagelab(data_path=str(folder))
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=2, verbose=False)
    sets = [group for kind in lab.info if "duplicates" in kind for group in lab.info[kind].get("sets", [])]
    return {(Path(a).name, Path(b).name) for group in sets for a in group for b in group if a != b}


METHODS: dict[str, Callable[[Path], Pairs]] = {
    "ilion": by_ilion,
    "imagededup PHash": lambda folder: by_imagededup(folder, "PHash"),
    "imagededup DHash": lambda folder: by_imagededup(folder, "DHash"),
    "cleanvision": by_cleanvision,
}


def measure(method: str, folder: Path, output: Path) -> None:
    """Run one method, and write its pairs and what it took."""
    started, cpu = time.perf_counter(), time.process_time()
    pairs = METHODS[method](folder)
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    took = {
        "seconds": round(time.perf_counter() - started, 1),
        "processor seconds": round(time.process_time() - cpu + children.ru_utime + children.ru_stime, 1),
        "peak MB": round(max(own.ru_maxrss, children.ru_maxrss) / 1024),
    }
    output.write_text(json.dumps({"pairs": sorted(pairs), "took": took}))


def judge(pairs: Pairs, planted: dict[str, tuple[str, str]]) -> dict[str, object]:
    """Return recall by kind, the precision, and the share of pasted ones that count as copies."""
    found = {frozenset(pair) for pair in pairs}
    joined: dict[str, str] = {}

    def root(name: str) -> str:
        while joined.setdefault(name, name) != name:
            name = joined[name]
        return name

    for one, other in map(sorted, found):
        joined[root(one)] = root(other)
    hits = {copy: root(copy) == root(source) for copy, (source, kind) in planted.items() if kind != PASTED}
    pasted = [
        frozenset((copy, source)) in found for copy, (source, kind) in planted.items() if kind == PASTED
    ]
    recall = {
        kind: round(float(np.mean([hits[c] for c in hits if planted[c][1] == kind])), 3) for kind in KINDS
    }
    right = sum(frozenset((copy, planted[copy][0])) in found for copy in hits)
    return {
        "recall": round(float(np.mean(list(hits.values()))), 3),
        **recall,
        "pasted, taken for copies": f"{sum(pasted)} of {len(pasted)}",
        "precision": round(right / max(len(found), 1), 3),
        "pairs": len(found),
    }


def look_among_drawn(count: int, cache: Path) -> dict[str, object]:
    """Find copies among drawn signatures; say how many of each number of differing bits, and what it took."""
    from ilion.audit.copies import find_copies
    from ilion.audit.hashes import BITS, THUMB

    rng, side = np.random.default_rng(0), BITS // 8
    codes, mirrored = (rng.integers(0, 256, (count, side), np.uint8) for _ in range(2))
    thumbs = np.lib.format.open_memmap(
        cache / "thumbs.npy", "w+", dtype=np.uint8, shape=(count, THUMB, THUMB, 3)
    )
    for start in range(0, count, 65536):
        part = thumbs[start : start + 65536]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    order = rng.permutation(count)
    copies = order[: 2 * (count // 100)].reshape(2, -1)
    crowd = order[2 * (count // 100) :][: 20 * (count // 20_000)].reshape(-1, 20)
    near = np.packbits(rng.random((*crowd.shape, BITS)) < 1 / BITS, axis=2)
    codes[crowd] = codes[crowd[:, :1]] ^ near
    bits = rng.integers(0, 25, copies.shape[1])
    for number, (source, copy) in enumerate(copies.T.tolist()):
        flips = np.zeros(BITS, np.uint8)
        flips[rng.choice(BITS, bits[number], replace=False)] = 1
        mask, flipped = np.packbits(flips), number % 2
        codes[copy] = (mirrored if flipped else codes)[source] ^ mask
        mirrored[copy] = (codes if flipped else mirrored)[source] ^ mask
        thumb = thumbs[source][:, ::-1] if flipped else thumbs[source]
        thumbs[copy] = np.clip(thumb + rng.normal(0, 3, thumb.shape), 0, 255).astype(np.uint8)
    thumbs.flush()
    digests = rng.integers(0, 256, (count, 16), np.uint8)
    sizes = np.full((count, 2), 512, np.int64)
    drawn = np.load(cache / "thumbs.npy", mmap_mode="r")
    before, started, cpu = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), time.process_time()
    found, crowded = find_copies(digests, codes, mirrored, drawn, sizes)
    after = resource.getrusage(resource.RUSAGE_SELF)
    pairs = {(pair.first, pair.second) for pair in found}
    hit = np.array([(min(pair), max(pair)) in pairs for pair in copies.T.tolist()])
    return {
        "photos": count,
        "copies": len(hit),
        "recall": round(float(hit.mean()), 4),
        **{
            f"{low} to {low + 4} bits": round(float(hit[(bits >= low) & (bits < low + 5)].mean()), 4)
            for low in range(0, 25, 5)
        },
        "other pairs": len(pairs) - int(hit.sum()),
        "crowded": crowded,
        "seconds": round(time.perf_counter() - started, 1),
        "processor seconds": round(time.process_time() - cpu, 1),
        "peak MB": round(after.ru_maxrss / 1024),
        "of these before": round(before.ru_maxrss / 1024),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--method", choices=list(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--drawn", type=int, default=0, help="number of drawn signatures to look among")
    given = parser.parse_args()
    if given.drawn:
        given.cache.mkdir(parents=True, exist_ok=True)
        print(json.dumps(look_among_drawn(given.drawn, given.cache)))
        return
    photos, output = given.cache / "photos", given.cache / "found.json"
    if given.method:
        measure(given.method, photos, output)
        return
    truth = given.cache / "planted.json"
    if not truth.exists():
        truth.write_text(json.dumps(write_photos(given.folders, photos, given.count)))
    planted = {copy: (source, kind) for copy, (source, kind) in json.loads(truth.read_text()).items()}
    for method in METHODS:
        output.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.duplicates", ".", "--cache", given.cache, "--method", method],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(method, "failed:", done.stderr.strip().splitlines()[-1:])
            continue
        found = json.loads(output.read_text())
        print(
            json.dumps(
                {"method": method, **judge(set(map(tuple, found["pairs"])), planted), **found["took"]}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
