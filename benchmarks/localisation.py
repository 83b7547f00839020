"""Localisation: how well the found box agrees with the true one, over verified matches of true positives.

A drawn set says where its objects are (docs/synthetic.md). Each query, cut out by its box, is compared with
its own positives. Where the match is verified (score above 0), the outline of the query's box is mapped into
the photo, and the box around it is held against the true box. Photos without a verified match have no found
box; how many have one is printed too, by the share of the photo that the object covers.

The true box holds the whole object, hidden parts and further faces included; the map is that of one face.

Run: python benchmarks/localisation.py [--objects 48] [--positives 8] [--seed 1] [--folder SET]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ilion.datasets import open_dataset
from ilion.evaluation.evaluate import BOUNDARIES
from ilion.extraction.local import describe_local
from ilion.localfeatures.base import LocalOptions, build
from ilion.reranking.localisation import enclose, overlap
from ilion.reranking.scorers import Matcher
from ilion.synthetic import synthesize


@dataclass(frozen=True)
class Found:
    """A query and a positive: the object's share of the photo, inliers, and the overlap of the two boxes
    (None without a verified match)."""

    scale: float
    inliers: int
    overlap: float | None


def measure(folder: Path, matcher: Matcher) -> Iterator[Found]:
    """Compare every query of a set with its positives."""
    dataset = open_dataset(folder)
    extractor = build("rootsift", LocalOptions())
    records = {record.id: record for shard in dataset.database for record in shard.records()}
    wanted = {name for names in dataset.positives.values() for name in names}
    photos = [record for name, record in records.items() if name in wanted]
    features = {record.id: found for record, found in describe_local(photos, extractor, [])}
    queries = {query.image.id: query for query in dataset.queries if query.image is not None}
    images = [query.image for query in queries.values() if query.image is not None]
    for image, own in describe_local(images, extractor, [], box_use="crop"):
        for name in dataset.positives[queries[image.id].id]:
            told = matcher.explain(own, features[name], enclose(image.boxes))
            true = enclose(records[name].boxes)
            agreement = None
            if told.verification.score > 0 and true is not None:
                agreement = overlap(told.box, true) if told.box is not None else 0.0
            inliers = int(told.verification.inliers.sum())
            yield Found(dataset.attributes["scale"][name], inliers, agreement)


def line(name: str, found: Sequence[Found]) -> str:
    """Return one row of the table."""
    located = [f.overlap for f in found if f.overlap is not None]
    if not located:
        return f"{name:>22} {len(found):7d} {0:9d}"
    good = sum(value >= 0.5 for value in located) / len(located)
    middle = statistics.median(located)
    return f"{name:>22} {len(found):7d} {len(located):9d} {100 * good:11.1f}% {middle:11.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--objects", type=int, default=48)
    parser.add_argument("--positives", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the set here, or use the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "set"
        synthesize(
            folder,
            instances=options.objects,
            positives=options.positives,
            distractors=0,
            seed=options.seed,
        )
        found = list(measure(folder, Matcher()))
    print(f"{options.objects} objects, seed {options.seed}, RootSIFT, homographies")
    print(f"{'':>22} {'photos':>7} {'verified':>9} {'IoU >= 0.5':>12} {'median IoU':>11}")
    print(line("all", found))
    for low, high in pairwise((0.0, *BOUNDARIES["scale"], 1.01)):
        name = f"{100 * low:.1f}% to {100 * min(high, 1):.1f}%"
        print(line(name, [f for f in found if low <= f.scale < high]))
    for low, high in pairwise((5, 7, 10, 20, 40, 10_000)):
        name = f"{low} to {high - 1} inliers" if high < 10_000 else f"{low} inliers or more"
        print(line(name, [f for f in found if low <= f.inliers < high]))


if __name__ == "__main__":
    main()
