"""Writing a synthetic set in the ILIAS layout: streaming, resumable, in any number of processes."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from ilion import storage
from ilion.errors import DatasetError
from ilion.opening import read_text, saying_unwritable
from ilion.synthetic.photos import BLOCK, Settings, distractor, positive, query
from ilion.synthetic.plan import DistractorFormat, Plan, check, claim
from ilion.synthetic.texts import describe
from ilion.wording import counted

Progress = Callable[[int, int], None]
Advance = Callable[[int], None]

GROUP = 4
"""Instances that one process makes together: their scenes share a shop's stock."""


@dataclass(frozen=True)
class SyntheticSummary:
    """What a synthetic set holds.

    Args:
        folder: Folder of the set.
        instances: Number of instances; as many image queries and as many text queries.
        positives: Number of positives.
        distractors: Number of distractors.
        shards: Number of distractor tars or folders.
        kept: Images that an earlier, unfinished call had written.
    """

    folder: Path
    instances: int
    positives: int
    distractors: int
    shards: int
    kept: int

    def __str__(self) -> str:
        kept = f" ({counted(self.kept, 'image was', 'images were')} there already)" if self.kept else ""
        return (
            f"{self.folder}: {counted(self.instances, 'instance')} with an image and a text query each, "
            f"{counted(self.positives, 'positive')}, {counted(self.distractors, 'distractor')} "
            f"in {counted(self.shards, 'shard')}{kept}"
        )


def synthesize(
    folder: Path,
    *,
    instances: int = 24,
    positives: int = 8,
    distractors: int = 400,
    shard_size: int = 1000,
    distractor_format: DistractorFormat = "tar",
    image_side: int = 512,
    seed: int = 0,
    lookalikes: bool = True,
    workers: int = 2,
    progress: Progress | None = None,
) -> SyntheticSummary:
    """Make a seeded synthetic data set: products in cluttered scenes, look-alikes, descriptions.

    The same settings give the same bytes, whatever the number of workers, the version of OpenCV and
    the processor; only another version of Pillow may shape letters differently. A call that was interrupted
    is finished by the same call: what is complete is kept.

    Args:
        folder: A new or empty folder, or an unfinished set of the same settings.
        instances: Number of instances.
        positives: Positives of each instance.
        distractors: Images that show no instance.
        shard_size: Distractors in one tar or folder.
        distractor_format: ``tar`` for WebDataset tars, ``folder`` for loose files.
        image_side: Longer side of the images in pixels.
        seed: Not negative.
        lookalikes: Whether products of an instance's line, with another flavour or number, stand beside it
            and among the distractors, and whether some instances are such variants of each other.
        workers: Processes; 1 makes everything in this one.
        progress: Callback that receives images done and images in all.

    Raises:
        ConfigError: A number is out of range.
        ArtifactError: The disk is full, or the folder cannot be written.
        DatasetError: The folder holds something else, or a worker died.
    """
    plan = Plan(
        Settings(seed, instances, image_side, lookalikes),
        positives,
        distractors,
        shard_size,
        distractor_format,
    )
    check(plan, workers)
    claim(folder, plan)
    total = instances * (positives + 1) + distractors
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    with saying_unwritable(folder), storage.locked(folder), _runner(workers) as run:
        kept = _write_instances(folder, plan, run, advance)
        shards = list(plan.shards())
        for number, start, end in shards:
            kept += _write_shard(folder, plan, number, start, end, run, advance)
    return SyntheticSummary(folder, instances, instances * positives, distractors, len(shards), kept)


@dataclass(frozen=True)
class _Made:
    """The files of one instance, by path inside its folder, and the facts of its positives."""

    index: int
    files: tuple[tuple[str, bytes], ...]
    rows: tuple[tuple[str, float, int], ...]


def _folder_name(settings: Settings, index: int) -> str:
    return f"{settings.product(index).name}_{index:03d}"


def _make_instances(settings: Settings, positives: int, indices: Sequence[int]) -> list[_Made]:
    """Draw all pictures of some instances."""
    out = []
    for index in indices:
        number = f"{index:03d}"
        what = settings.product(index)
        photo = query(settings, index)
        files = [
            (f"query/Q{number}_00.jpg", photo.jpeg),
            (f"query/Q{number}_00_bbox.txt", _box_line(photo.box)),
            (f"query/T{number}.txt", (describe(what) + "\n").encode()),
        ]
        rows = []
        for k in range(positives):
            photo = positive(settings, index, k)
            stem = f"pos/P{number}_{k:02d}"
            files += [(f"{stem}.jpg", photo.jpeg), (f"{stem}_bbox.txt", _box_line(photo.box))]
            rows.append((f"{_folder_name(settings, index)}/{stem}.jpg", photo.scale, photo.clutter))
        out.append(_Made(index, tuple(files), tuple(rows)))
    return out


def _box_line(box: tuple[int, int, int, int]) -> bytes:
    return (" ".join(str(v) for v in box) + "\n").encode()


def _make_distractors(settings: Settings, start: int, end: int) -> list[bytes]:
    """Draw distractors ``start`` to ``end - 1``."""
    return [distractor(settings, index).jpeg for index in range(start, end)]


Run = Callable[..., Iterator[Any]]


@contextmanager
def _runner(workers: int) -> Iterator[Run]:
    """Give a function that maps argument tuples to results in order, with a bounded number under way."""
    if workers == 1:

        def here(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
            for job in jobs:
                yield function(*job)

        yield here
        return
    # Fresh processes: a forked one could inherit the locks of other threads.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,))

    def spread(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        waiting: deque[Future[Any]] = deque()
        rest = iter(jobs)
        while True:
            while len(waiting) < 2 * workers and (job := next(rest, None)) is not None:
                waiting.append(pool.submit(function, *job))
            if not waiting:
                return
            yield waiting.popleft().result()

    try:
        yield spread
    except BrokenProcessPool as error:
        raise DatasetError(
            "a worker process died, from lack of memory perhaps, or because a script calls this without "
            "`if __name__ == '__main__':`. Run it again to go on, or with workers=1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_instances(folder: Path, plan: Plan, run: Run, advance: Advance) -> int:
    """Write queries and positives, then the tables of all; return how many images were there already."""
    settings = plan.settings
    core, tables, notes = folder / "ilias_core", folder / "image_ids", folder / ".progress"
    core.mkdir(parents=True, exist_ok=True)
    known = _known_rows(tables / "positive_ids.txt", notes)
    names = [_folder_name(settings, index) for index in range(settings.instances)]
    missing: list[list[int]] = []
    kept = 0
    for index, name in enumerate(names):
        ids = [f"{name}/pos/P{index:03d}_{k:02d}.jpg" for k in range(plan.positives)]
        if (core / name).is_dir() and all(i in known for i in ids):
            kept += plan.positives + 1
        elif missing and missing[-1][0] // GROUP == index // GROUP:
            missing[-1].append(index)
        else:
            missing.append([index])
    if kept:
        advance(kept)
    for group in run(_make_instances, [(settings, plan.positives, indices) for indices in missing]):
        for made in group:
            # The facts come first: a folder without them would be drawn again.
            storage.write_json(notes / f"{made.index:06d}.json", made.rows)
            known.update({row[0]: (row[1], row[2]) for row in made.rows})
            _write_folder(core / names[made.index], made.files)
            advance(plan.positives + 1)
    if missing or not (tables / "text_query_ids.txt").is_file():
        _write_tables(folder, plan, names, known)
    if notes.is_dir():
        shutil.rmtree(notes)
    return kept


_NOTE = list[tuple[str, float, int]]
"""Form of a note of progress: ids with scale and clutter."""


def _known_rows(table: Path, notes: Path) -> dict[str, tuple[float, int]]:
    rows: dict[str, tuple[float, int]] = {}
    if table.is_file():
        try:
            text = read_text(table, "utf-8").text
            rows.update({row[0]: (float(row[1]), int(row[2])) for row in csv.reader(text.splitlines())})
        except (OSError, ValueError, IndexError, csv.Error) as error:
            raise DatasetError(
                f"{table}: damaged ({error}); delete it, and what it says is drawn again"
            ) from error
    for note in sorted(notes.glob("*.json")):
        rows.update({row[0]: (row[1], row[2]) for row in storage.read_json(note, _NOTE)})
    return rows


def _write_folder(final: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files into a folder that appears under its name only when it is complete."""
    aside = final.with_name(f".{final.name}.part")
    for unfinished in (aside, final):
        if unfinished.exists():
            shutil.rmtree(unfinished)
    for name, data in files:
        path = aside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.replace(aside, final)


def _write_tables(
    folder: Path, plan: Plan, names: Sequence[str], known: dict[str, tuple[float, int]]
) -> None:
    tables = folder / "image_ids"
    tree: dict[str, dict[str, dict[str, list[str]]]] = {}
    for index, name in enumerate(names):
        of = plan.settings.product(index).line
        tree.setdefault(of.path[0], {}).setdefault(of.path[1], {}).setdefault(of.noun, []).append(name)
    storage.write_json(folder / "taxonomy.json", tree)
    positives = (
        f"{image},{known[image][0]!r},{known[image][1]}\n"
        for index, name in enumerate(names)
        for image in (f"{name}/pos/P{index:03d}_{k:02d}.jpg" for k in range(plan.positives))
    )
    storage.write_bytes(tables / "positive_ids.txt", "".join(positives).encode())
    for file, pattern in (
        ("image_query_ids.txt", "{}/query/Q{:03d}_00.jpg\n"),
        ("text_query_ids.txt", "{}/query/T{:03d}.txt\n"),
    ):
        lines = (pattern.format(name, index) for index, name in enumerate(names))
        storage.write_bytes(tables / file, "".join(lines).encode())


def _write_shard(
    folder: Path, plan: Plan, number: int, start: int, end: int, run: Run, advance: Advance
) -> int:
    """Write one shard of distractors aside and rename it; return how many images were there already."""
    base = folder / "distractors"
    base.mkdir(exist_ok=True)
    in_tar = plan.distractor_format == "tar"
    final = base / (f"distractors_{number:05d}.tar" if in_tar else f"{number:05d}")
    if final.exists():
        advance(end - start)
        return end - start
    edges = [start, *range((start // BLOCK + 1) * BLOCK, end, BLOCK), end]
    jobs = [(plan.settings, a, b) for a, b in pairwise(edges)]
    aside = base / f".{final.name}.part"
    if aside.is_dir():
        shutil.rmtree(aside)
    with _sink(aside, in_tar) as put:
        index = start
        for images in run(_make_distractors, jobs):
            for image in images:
                put(f"{index:09d}.jpg", image)
                index += 1
            advance(len(images))
    os.replace(aside, final)
    return 0


@contextmanager
def _sink(aside: Path, in_tar: bool) -> Iterator[Callable[[str, bytes], None]]:
    """Give a function that stores one file in a tar (no times, no owners) or in a folder."""
    if not in_tar:
        aside.mkdir()

        def drop(name: str, data: bytes) -> None:
            (aside / name).write_bytes(data)

        yield drop
        return
    with tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:

        def put(name: str, data: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

        yield put
