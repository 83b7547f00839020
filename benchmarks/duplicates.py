"""Copies of whole photos: Ilion's hashes beside imagededup and cleanvision, in one run.

    pip install imagededup cleanvision
    python -m benchmarks.duplicates FOLDER [FOLDER ...] --cache FOLDER [--count 10000]

The photos of the folders (and of tars in them) are cut into quarters, so that there are many different
ones; of every hundred, six get a copy: the same file, saved anew, resized, mirrored, brighter, or without 4%
at each edge. Each method runs in a process of its own; peak memory is that of the process. A pair that was
not planted counts as wrong, though a few are photos that really were there twice.
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
from PIL import Image, ImageEnhance, ImageOps

Pairs = set[tuple[str, str]]
KINDS = ("exact", "resaved", "resized", "mirrored", "brighter", "trimmed")
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
            if number % 100 < len(KINDS):
                kind, copy = KINDS[number % 100], f"{number:05d}_copy.jpg"
                (output / copy).write_bytes(copy_of((output / name).read_bytes(), kind, rng))
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
    """Return recall by kind, and the precision."""
    found = {frozenset(pair) for pair in pairs}
    hits = {copy: frozenset((copy, source)) in found for copy, (source, _) in planted.items()}
    recall = {
        kind: round(float(np.mean([hits[c] for c, (_, k) in planted.items() if k == kind])), 3)
        for kind in KINDS
    }
    right = sum(hits.values())
    return {
        "recall": round(right / len(planted), 3),
        **recall,
        "precision": round(right / max(len(found), 1), 3),
        "pairs": len(found),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--method", choices=list(METHODS), help=argparse.SUPPRESS)
    given = parser.parse_args()
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
