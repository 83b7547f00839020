"""Reading against RapidOCR, the package whose two networks Ilion runs: words found, and ms an image.

Photos of packages (grocery, where they are) and drawn labels, whose words are known. RapidOCR reads a file as
its documentation shows, `RapidOCR()(path)`: it enlarges the shorter side to 736 pixels, asks a third network
whether a line stands upside down, and reads six lines at once. Ilion decodes and reads as a run does it: the
longer side at 640 pixels, no third network, line by line, one thread. Between them stands RapidOCR with one
thread, and with one thread and Ilion's settings; what then still differs is how lines are cut out and padded.

All take turns image by image. Times are medians over images, decoding included, in wall-clock and processor
time; the latter says more on a busy machine. Lines below the confidence that each side uses (0.5 for both) do
not count. Words are compared in lower case without order; characters in lines that overlap: edits over
characters of the reference, an unmatched line of the reference being all edits.

Run: python benchmarks/reading.py [--photos 24] [--drawn 12]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from photos import grocery
from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.distance import Levenshtein
from scipy.optimize import linear_sum_assignment

from ilion.config import ReadingConfig
from ilion.extraction.texts import TextDescription
from ilion.reading.base import ReaderOptions
from ilion.reading.paddle import PaddleReader
from ilion.types import FileSource, Float32, ImageRecord

SETTINGS = ReadingConfig()
WORDS = ["Mjölk", "Yoghurt", "Vanilj", "Apelsin", "Ekologisk", "Tropicana", "Valio", "Bravo", "Laktosfri"]
OVERLAP = 0.3
"""Intersection over union of the upright boxes from which two lines may be the same."""


@dataclass(frozen=True)
class Line:
    """What was read, and the upright box around it: left, top, right, bottom."""

    text: str
    box: Float32


Read = Callable[[Path], list[Line]]


@dataclass
class Side:
    """One way to read, its times and what it read in each image."""

    name: str
    read: Read
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    found: list[list[Line]] = field(default_factory=list)

    def look(self, path: Path) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        lines = self.read(path)
        self.wall.append(1e3 * (time.perf_counter() - wall))
        self.cpu.append(1e3 * (time.process_time() - cpu))
        self.found.append(lines)


def boxed(quad: Sequence[Sequence[float]] | Float32) -> Float32:
    corners = np.asarray(quad, np.float32)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def ilion() -> Read:
    reader = PaddleReader(ReaderOptions(side=SETTINGS.side))

    def read(path: Path) -> list[Line]:
        lines = TextDescription(reader).load(ImageRecord(path.name, FileSource(path))).lines
        return [Line(n.text, boxed(n.quad)) for n in lines if n.confidence >= SETTINGS.confidence]

    return read


def rapidocr(*, threads: int = -1, ours: bool = False) -> Read:
    from rapidocr import RapidOCR

    params: dict[str, object] = {"Global.log_level": "critical"}
    params["EngineConfig.onnxruntime.intra_op_num_threads"] = threads
    if ours:
        params |= {"Global.use_cls": False, "Det.limit_type": "max", "Det.limit_side_len": SETTINGS.side}
        params |= {"Rec.rec_batch_num": 1}
    engine: Any = RapidOCR(params=params)

    def read(path: Path) -> list[Line]:
        if ours:
            # its detector shrinks to a longer side but does not enlarge to it
            image = np.asarray(cv2.imread(str(path)), np.uint8)
            factor = SETTINGS.side / max(image.shape[:2])
            size = [round(n * factor) for n in image.shape[1::-1]]
            filtering = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            result = engine(cv2.resize(image, size, interpolation=filtering))
        else:
            factor = 1.0
            result = engine(str(path))
        if result.txts is None:
            return []
        return [
            Line(t, boxed(b) / np.float32(factor)) for t, b in zip(result.txts, result.boxes, strict=True)
        ]

    return read


# --- images ---


def photographed(count: int) -> list[Path]:
    """Return query pictures and photos of the same packages, by turns."""
    objects = sorted(path for path in (grocery() / "ilias_core").iterdir() if path.is_dir())
    pairs = [(sorted((o / "query").glob("*.jpg"))[0], sorted((o / "pos").glob("*.jpg"))[0]) for o in objects]
    return [path for pair in pairs for path in pair][:count]


def drawn(folder: Path, count: int) -> list[tuple[Path, list[str]]]:
    """Draw labels of three lines, some turned, on a ground with noise."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        words = [*rng.choice(WORDS, 2, replace=False).tolist(), f"AB-{rng.integers(1000, 9999)}"]
        picture = Image.new("RGB", (480, 360), tuple(rng.integers(170, 256, 3).tolist()))
        pen = ImageDraw.Draw(picture)
        for line, word in enumerate(words):
            place = (int(rng.integers(30, 120)), 40 + 100 * line)
            pen.text(place, word, fill=(20, 30, 60), font=ImageFont.load_default(int(rng.integers(22, 52))))
        turned = picture.rotate(
            float(rng.uniform(-12, 12)), Image.Resampling.BICUBIC, fillcolor=(200, 200, 200)
        )
        pixels = np.clip(np.asarray(turned) + rng.normal(0, 8, (360, 480, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{number:02d}.png"
        Image.fromarray(pixels).save(path)
        made.append((path, words))
    return made


# --- comparison ---


def texts(found: Sequence[Sequence[Line]]) -> list[list[str]]:
    return [[line.text for line in lines] for lines in found]


def words_of(lines: Sequence[str]) -> Counter[str]:
    return Counter(word for line in lines for word in line.casefold().split())


def shared(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Return which share of the wanted words was found, and which share of the found words was wanted."""
    pairs = [(words_of(f), words_of(w)) for f, w in zip(found, wanted, strict=True)]
    same = sum((f & w).total() for f, w in pairs)
    return same / max(1, sum(w.total() for _, w in pairs)), same / max(1, sum(f.total() for f, _ in pairs))


def overlap(a: Float32, b: Float32) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / max(1e-9, float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both)


def character_error(found: Sequence[Sequence[Line]], wanted: Sequence[Sequence[Line]]) -> float:
    edits, characters = 0, 0
    for lines, reference in zip(found, wanted, strict=True):
        characters += sum(len(line.text) for line in reference)
        edits += sum(len(line.text) for line in reference)
        if not lines or not reference:
            continue
        overlaps = np.array([[overlap(r.box, line.box) for line in lines] for r in reference])
        for i, j in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[i, j] >= OVERLAP:
                text = reference[i].text
                edits += min(0, Levenshtein.distance(text, lines[j].text) - len(text))
    return edits / max(1, characters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--drawn", type=int, default=12)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    cv2.setNumThreads(1)
    sides = [
        Side("RapidOCR as documented, all cores", rapidocr()),
        Side("RapidOCR as documented, one thread", rapidocr(threads=1)),
        Side("RapidOCR, settings of Ilion, one thread", rapidocr(threads=1, ours=True)),
        Side("Ilion, one thread", ilion()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        labels = drawn(Path(folder), options.drawn)
        photos = photographed(options.photos)
        for side in sides:  # networks are loaded when first used
            side.read(photos[0])
        for path in [*photos, *(path for path, _ in labels)]:
            for side in sides:
                side.look(path)
    report(sides, len(photos), [words for _, words in labels])


def report(sides: Sequence[Side], photos: int, truth: Sequence[Sequence[str]]) -> None:
    _, documented, same, ours = sides
    print(f"{photos} photos and {len(truth)} drawn labels, ms an image (medians)")
    for side in sides:
        wall, cpu = statistics.median(side.wall), statistics.median(side.cpu)
        print(f"  {side.name:40} {wall:7.1f} wall {cpu:7.1f} processor")
    for side in sides[:-1]:
        wall = statistics.median(s / o for s, o in zip(side.wall, ours.wall, strict=True))
        cpu = statistics.median(s / o for s, o in zip(side.cpu, ours.cpu, strict=True))
        print(
            f"  against {side.name:40} {wall:.2f} times faster wall, {cpu:.2f} processor (medians of ratios)"
        )
    for what, part in (("photos", slice(0, photos)), ("drawn labels", slice(photos, None))):
        read = [texts(side.found[part]) for side in sides]
        print(
            f"{what}: words read, side by side:", *(sum(words_of(lines).total() for lines in r) for r in read)
        )
        for one, other in ((ours, documented), (ours, same), (same, documented)):
            recall, precision = shared(texts(one.found[part]), texts(other.found[part]))
            error = character_error(one.found[part], other.found[part])
            print(f"  {one.name}, against {other.name}:")
            print(
                f"    {recall:.3f} of its words, {precision:.3f} the other way, character error {error:.3f}"
            )
    for side in (documented, same, ours):
        recall, precision = shared(texts(side.found[photos:]), truth)
        print(f"drawn words that {side.name} reads: {recall:.3f}; of what it reads, drawn: {precision:.3f}")


if __name__ == "__main__":
    main()
