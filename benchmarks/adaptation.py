"""Training an adaptation layer against the plain torch loop of the published recipe, in one run.

Both learn the same thing from the same memory-mapped float16 file: a linear layer from 1,024 to 512
dimensions under a cosine classifier, scale 16, Adam with rate 1e-3 and weight decay 1e-6, batches of 128.
The plain loop is what one writes first: a Dataset that reads one row at a time, a DataLoader that shuffles,
`nn.Linear`, `normalize`, `cross_entropy`, `torch.optim.Adam`; without and with worker processes, of which
the faster counts. Before anything is timed, both take the same ten batches from the same start and must
arrive at the same losses.

The number of classes decides what the time goes into. The training set of the recipe (UnED) has more than
300,000 of them. The peak memory of training alone is that of a process that does nothing else; at any
number of rows it is that of the classifier, its optimiser and the rows read at once.

Run: python benchmarks/adaptation.py [--rows 1000000] [--rounds 3]; needs the extra 'torch'.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ilion.adapt import LinearOptions
from ilion.adapt.classifier import Classifier
from ilion.adapt.sampling import plan_epoch, read_batches
from ilion.adapt.training import start_classifier
from ilion.runtime.machine import peak_memory
from ilion.types import Int64

DIM, BATCH = 1024, 128
STEPS = {1_000: 96, 10_000: 24, 100_000: 4, 300_000: 2}
"""Classes -> batches that are timed at once."""
POOL = 2**14
"""Rows that Ilion reads at once here: 32 MB, so that reading takes part in what is timed."""


def make_file(path: Path, rows: int) -> Any:
    """Write unit vectors; the same 50,000 again and again, as their values do not matter here."""
    rng = np.random.default_rng(0)
    some = rng.standard_normal((50_000, DIM), dtype=np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    half = some.astype(np.float16)
    mapped = np.lib.format.open_memmap(path, "w+", np.float16, (rows, DIM))
    for start in range(0, rows, len(half)):
        mapped[start : start + len(half)] = half[: min(len(half), rows - start)]
    mapped.flush()
    return np.load(path, mmap_mode="r")


class Plain:
    """The recipe as one writes it first."""

    def __init__(self, torch: Any, values: Any, labels: Int64, start: Classifier) -> None:
        self.torch, self.values, self.labels = torch, values, labels
        self.linear = torch.nn.Linear(DIM, len(start.parameters["weight"]))
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(start.parameters["weight"]))
            self.linear.bias.copy_(torch.from_numpy(start.parameters["bias"]))
        self.classes = torch.nn.Parameter(torch.from_numpy(start.parameters["classes"].copy()))
        parameters = [*self.linear.parameters(), self.classes]
        self.optimiser = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-6)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.torch.from_numpy(self.values[row].astype(np.float32)), int(self.labels[row])

    def step(self, x: Any, y: Any) -> float:
        functional = self.torch.nn.functional
        adapted = functional.normalize(self.linear(x))
        logits = 16.0 * adapted @ functional.normalize(self.classes).t()
        loss = functional.cross_entropy(logits, y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.item())

    def loader(self, workers: int) -> Any:
        return self.torch.utils.data.DataLoader(self, BATCH, shuffle=True, num_workers=workers)


def time_plain(plain: Plain, workers: int, steps: int) -> float:
    """Return seconds a batch; the start of the workers is not counted."""
    stream = iter(plain.loader(workers))
    plain.step(*next(stream))
    started = time.perf_counter()
    for _ in range(steps):
        plain.step(*next(stream))
    return (time.perf_counter() - started) / steps


def time_ours(model: Classifier, values: Any, labels: Int64, steps: int, seed: int) -> float:
    """Return seconds a batch, the reading of a first pool included."""
    order = plan_epoch(np.arange(len(values)), 0, seed, pool=POOL)
    model.step(np.asarray(values[:BATCH], np.float32), labels[:BATCH])
    started = time.perf_counter()
    for number, (rows, block) in enumerate(read_batches(values, order, size=BATCH, pool=POOL), 1):
        model.step(block, labels[rows])
        if number == steps:
            break
    return (time.perf_counter() - started) / steps


def same_losses(model: Classifier, plain: Plain, torch: Any) -> float:
    """Take the same ten batches with both; return the largest difference of a loss."""
    rng = np.random.default_rng(1)
    worst = 0.0
    for _ in range(10):
        rows = np.sort(rng.integers(0, len(plain.values), BATCH))
        block, of = np.asarray(plain.values[rows], np.float32), plain.labels[rows]
        ours, theirs = model.step(block, of), plain.step(torch.from_numpy(block), torch.from_numpy(of))
        worst = max(worst, abs(ours - theirs))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--classes", type=int, nargs="*", default=list(STEPS))
    parser.add_argument("--file", type=Path, help="keep the descriptors here, and use them if they are there")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(np.load(arguments.file, mmap_mode="r"), arguments.measure)
        return
    try:
        import torch
    except ImportError:
        print("skipped: the peer is torch; install the extra 'torch'")
        sys.exit(0)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or Path(folder) / "values.npy"
        values = np.load(path, mmap_mode="r") if path.exists() else make_file(path, arguments.rows)
        ratios = [
            compare(torch, values, classes, STEPS.get(classes, 16), arguments.rounds)
            for classes in arguments.classes
        ]
        for classes in arguments.classes:
            command = [sys.executable, __file__, "--file", str(path), "--measure", str(classes)]
            subprocess.run(command, check=True)
    print(f"{len(values):,} x {DIM} float16; largest ratio {max(ratios):.1f}, smallest {min(ratios):.1f}")


def measure(values: Any, classes: int) -> None:
    """Train for some batches and print the peak memory, and what the optimiser needs of it."""
    before = peak_memory()
    labels = np.random.default_rng(2).integers(0, classes, len(values))
    model = start_classifier(DIM, classes, LinearOptions(threads=2))
    time_ours(model, values, labels, STEPS.get(classes, 16), 0)
    states = 3 * 4 * 512 * (classes + DIM)
    print(
        f"{classes:,} classes: training alone peaks at {peak_memory() / 2**20:,.0f} MB, of which "
        f"{before / 2**20:,.0f} before it; weights and both moments are {states / 2**20:,.0f} MB",
        flush=True,
    )


def compare(torch: Any, values: Any, classes: int, steps: int, rounds: int) -> float:
    """Print and return how many times faster Ilion is; medians, rounds interleaved."""
    labels = np.random.default_rng(2).integers(0, classes, len(values))
    model = start_classifier(DIM, classes, LinearOptions(threads=2))
    plain = Plain(torch, values, labels, model)
    worst = same_losses(model, plain, torch)
    assert worst < 1e-4, f"both must compute the same; the losses differ by {worst}"
    runs: dict[str, Callable[[int], float]] = {
        "ilion": lambda seed: time_ours(model, values, labels, steps, seed),
        "torch": lambda _: time_plain(plain, 0, steps),
        "torch, 2 workers": lambda _: time_plain(plain, 2, steps),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for seed in range(rounds):
        for name, run in runs.items():
            times[name].append(run(seed))
    medians = {name: statistics.median(found) for name, found in times.items()}
    best = min(medians["torch"], medians["torch, 2 workers"])
    said = ", ".join(f"{name} {BATCH / seconds:,.0f}" for name, seconds in medians.items())
    print(
        f"{classes:,} classes: samples a second: {said}; {best / medians['ilion']:.1f} times faster; "
        f"losses agree to {worst:.0e}",
        flush=True,
    )
    return best / medians["ilion"]


if __name__ == "__main__":
    main()
