"""kill -9 of every kind of job at random moments: what is resumed ends with the bytes of an undisturbed run.

Kinds: extraction, search and re-ranking, each in one process and in worker processes; inverted file, short
codes, reading, and learning an adaptation layer. In each round the driver, or one of its workers, is killed
at a random moment; then the same command runs again, over what the killed one left behind. After the last
kill it runs to its end, and every stored array is compared.

Run: python benchmarks/kills.py [--kills 20] [--seed 0] [--folder DIR] [--kinds KIND ...]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = {
    "extract": ["extract"],
    "extract, 2 processes": ["extract", "--processes", "2"],
    "rank, 2 processes": ["rank", "--processes", "2", "--set", "compute.search_rows=20"],
    "evaluate": ["evaluate", "--set", "rerank.features=orb"],
    "evaluate, 2 processes": [
        "evaluate",
        "--processes",
        "2",
        "--set",
        "rerank.features=orb",
        "--set",
        "compute.rerank_queries=1",
    ],
    "inverted file": ["evaluate", "--set", "search.method=asmk", "--set", "search.asmk.words=64"],
    "short codes": [
        "rank",
        "--set",
        "search.method=compressed",
        "--set",
        "search.code=pq64",
        "--set",
        "search.k=20",
        "--set",
        "search.shortlist=40",
    ],
    "reading": ["evaluate", "--set", "reading.use=fused"],
    "adaptation": ["adapt", "--method", "linear", "--set", "adaptation.seen=keep"],
}
STORED = (".npy", ".npz", ".bin", ".ids.json", "ranking.json")


def photo(seed: int) -> bytes:
    """Return a JPEG of coloured fields."""
    fields = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(fields).resize((320, 240), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def make(folder: Path) -> Path:
    """Write 4 objects with 4 positives each and 8 tars of 10 distractors."""
    for number in range(4):
        home = folder / "objects" / f"object {number}"
        for name, seed in (("query/q", 0), *((f"positive/{i}", i + 1) for i in range(4))):
            path = home / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(10 * number + seed))
    lines = ["path,class,domain"]
    (folder / "labelled").mkdir()
    for number in range(80):
        (folder / "labelled" / f"{number}.jpg").write_bytes(photo(5000 + number))
        lines.append(f"{number}.jpg,class {number % 20},all")
    (folder / "labelled" / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "distractors").mkdir()
    for tar in range(8):
        with tarfile.open(folder / "distractors" / f"shard_{tar:05d}.tar", "w") as file:
            for i in range(10):
                data = photo(1000 + 10 * tar + i)
                member = tarfile.TarInfo(f"{tar}_{i}.jpg")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
    return folder


def digest(output: Path) -> dict[str, str]:
    """Return what a run stored, by file; times are left out."""
    found = {}
    for path in sorted([*(output / "artifacts").rglob("*"), *output.glob("layer.npz")]):
        if path.name.startswith((".", "block-")) or not path.name.endswith(STORED):
            continue
        content = path.read_bytes()
        if path.name == "evidence.npz":
            with np.load(path) as arrays:
                content = b"".join(arrays[name].tobytes() for name in ("rows", "inliers", "scores"))
        found[str(path.relative_to(output))] = hashlib.sha256(content).hexdigest()
    return found


def workers_of(pid: int) -> list[int]:
    """Return the processes that a driver started, from whichever of its threads."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listed.read_text().split())
        except OSError:  # the thread has ended
            continue
    return sorted(found)


def kill(command: list[str], after: float, draw: random.Random) -> str:
    """Start a command and kill it, or one of its workers, after some seconds; say which."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
        return "through"
    except subprocess.TimeoutExpired:
        pass
    workers = workers_of(process.pid)
    if workers and draw.random() < 0.5:
        os.kill(draw.choice(workers), signal.SIGKILL)
        # a lost worker is replaced: the run must end by itself, and well
        return "worker" if process.wait() == 0 else "failed"
    process.kill()
    process.wait()
    return "driver"


def command(kind: str, data: Path, output: Path) -> list[str]:
    """Return the command line of a job."""
    verb, *options = KINDS[kind]
    line = [sys.executable, "-m", "ilion", verb, str(data), *options]
    line += ["--model", "efficientnet-lite2", "--set", "dataset.shard_size=4"]
    if verb == "adapt":
        labelled = data / "labelled"
        line += ["--labels", str(labelled / "labels.csv"), "--set", f"cache={output / 'artifacts'}"]
        return [*line, "-o", str(output / "layer.npz")]
    return [*line, "-o", str(output)]


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        data = make(folder / "data")
        for kind in options.kinds:
            whole, killed = folder / "whole", folder / "killed"
            began = time.perf_counter()
            subprocess.run(command(kind, data, whole), check=True, capture_output=True)
            took = time.perf_counter() - began
            counts = {"driver": 0, "worker": 0, "through": 0, "failed": 0}
            while counts["driver"] + counts["worker"] < options.kills:
                ended = kill(command(kind, data, killed), draw.uniform(0.2, 1.0) * took, draw)
                counts[ended] += 1
                if ended == "failed":
                    sys.exit(f"{kind}: the run did not survive a lost worker")
                if ended in ("through", "worker"):
                    if digest(killed) != digest(whole):
                        sys.exit(f"{kind}: DIFFERENT after {counts}")
                    shutil.rmtree(killed)
            subprocess.run(command(kind, data, killed), check=True, capture_output=True)
            same = digest(killed) == digest(whole)
            print(
                f"{kind:<24} {counts['driver']} drivers and {counts['worker']} workers killed, "
                f"{len(digest(whole))} files {'identical' if same else 'DIFFERENT'}",
                flush=True,
            )
            if not same:
                sys.exit(1)
            shutil.rmtree(whole)
            shutil.rmtree(killed)


if __name__ == "__main__":
    main()
