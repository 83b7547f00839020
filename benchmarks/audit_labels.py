"""How many wrong and hidden labels an audit finds, in many plantings on evidence that is gathered once.

    python -m benchmarks.audit_labels DATASET --cache FOLDER [--plantings 10] [--reading]

As `benchmarks.audit`, but without copies: one label in twenty is swapped, one positive in twenty loses its
label, and the first 2 x (planted) suspects are looked at. Photos that were not planted count as wrong finds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.learn_audit import Evidence, gather, open_set, plant

from ilion.audit.find import label_suspects
from ilion.audit.labels import LEAST, chances_of
from ilion.pipeline.jobs.audit_evidence import Look


def judge(look: Look, given: Evidence, seed: int, count: Counter[str]) -> list[tuple[float, bool]]:
    """Plant once; count what is found, and return the confidence of each suspect and whether it is right."""
    found, _ = plant(look, given, np.random.default_rng(seed), blind=False)
    rows, objects = found.rows.tolist(), found.objects.tolist()
    said: dict[int, str] = {
        r: look.names[o] for r, o, own in zip(rows, objects, found.labelled, strict=True) if own
    }
    true = {row: {look.names[n] for n in several} for row, several in look.shown.items()}
    row_of = {look.ids[row]: row for row in set(rows)}
    ids = {row: photo for photo, row in row_of.items()}
    suspects = label_suspects(found, chances_of(found), look.asked, ids, look.names, {}, {})
    suspects.sort(key=lambda s: -s.confidence)
    swapped = {row for row, name in said.items() if row in true and name not in true[row]}
    hidden = set(true) - set(said)
    hits, judged = set(), []
    for place, suspect in enumerate(suspects):
        row = row_of[suspect.photos[0]]
        shows = suspect.object in true.get(row, ())
        is_right = shows != (suspect.kind == "wrong-label")
        judged.append((suspect.confidence, is_right))
        if place < 2 * len(swapped | hidden) and is_right:
            hits.add(row)
    heard = {
        r
        for r, o, *n in zip(rows, objects, found.numbers["query"], found.numbers["photos"], strict=True)
        if max(n) > 0 and look.names[o] in true.get(r, ())
    }
    count.update(swapped=len(swapped), hidden=len(hidden), heard=len(hidden & heard))
    count.update({"swapped found": len(swapped & hits), "hidden found": len(hidden & hits)})
    count["heard and found"] += len(hidden & hits & heard)
    return judged


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--plantings", type=int, default=10)
    parser.add_argument("--reading", action="store_true", help="ask the words in photos, too")
    given = parser.parse_args()
    look = open_set(given.dataset, given.cache, reading=given.reading)
    count, judged, known = Counter[str](), list[tuple[float, bool]](), gather(look)
    for seed in range(100, 100 + given.plantings):
        judged += judge(look, known, seed, count)
    both = count["swapped found"] + count["hidden found"]
    print(json.dumps({**count, "found": round(both / (count["swapped"] + count["hidden"]), 3)}))
    print(f"hidden ones with no local match of a chance of {LEAST}: {count['hidden'] - count['heard']}")
    table = np.array(judged, float)
    for low, high in (
        (0.005, 0.02),
        (0.02, 0.1),
        (0.1, 0.3),
        (0.3, 0.5),
        (0.5, 0.7),
        (0.7, 0.9),
        (0.9, 1.01),
    ):
        some = (table[:, 0] >= low) & (table[:, 0] < high)
        if some.any():
            print(f"confidence {low} to {high}: {some.sum()} suspects, {table[some, 1].mean():.3f} right")


if __name__ == "__main__":
    main()
