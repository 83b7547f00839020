"""How much of a data set a person labels through the page of an audit, and with how many decisions.

    python -m benchmarks.labelling DATASET --cache FOLDER [--no-positives] [--no-copies]

The photos of a data set are thrown together as somebody has them who labelled nothing: a query photo of each
object, without a box, and one pile with new names in random order. Then, round by round: ``ilion audit``
makes the page, a person who knows the truth goes down its list of proposals and stops after 30 in a row that
were wrong, and ``ilion audit apply`` writes the labels. The end is a round with fewer than one new label in
twenty. What the labels are worth is said by a run: its mAP with them, and with the true ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ilion.config import load_experiment
from ilion.datasets.amendments import Amendment, amend
from ilion.datasets.reader import open_dataset
from ilion.pipeline.jobs import audit as audits
from ilion.pipeline.order import Pipeline
from ilion.types import Source

PATIENCE, ROUNDS, ENOUGH = 30, 6, 0.05
Truth = Mapping[str, frozenset[str]]


def throw_together(source: Path, pile: Path, *, positives: bool) -> Truth:
    """Write the pile, and return what its photos show: id -> objects."""
    dataset = open_dataset(source, amended=False)
    shows: dict[str, set[str]] = {}
    for query in dataset.queries:
        for photo in dataset.positives[query.id]:
            shows.setdefault(photo, set()).add(query.instance)
        if query.image is not None:
            folder = pile / "objects" / query.instance / "query"
            folder.mkdir(parents=True, exist_ok=True)
            write_once(folder / f"{Path(query.image.id).stem}.jpg", query.image.source)
    (pile / "distractors").mkdir(parents=True, exist_ok=True)
    records = [r for r in dataset.records() if positives or r.id not in shows]
    truth = {}
    for number, place in enumerate(np.random.default_rng(0).permutation(len(records)).tolist()):
        name = f"distractors/{number:05d}.jpg"
        write_once(pile / name, records[place].source)
        truth[name] = frozenset(shows.get(records[place].id, ()))
    return truth


def write_once(path: Path, source: Source) -> None:
    """Write a photo unless it is there, so that what is stored of it counts when this is run again."""
    if not path.exists():
        path.write_bytes(source.read())


def read_page(page: Path) -> dict[str, Any]:
    """Return what the page of an audit shows."""
    text = page.read_text("utf-8").split('id="data">')[1].split("</script>")[0]
    found: dict[str, Any] = json.loads(text)
    return found


def decide(page: Path, truth: Truth) -> list[dict[str, Any]]:
    """Go down the proposals of a page and answer them, as the page saves it."""
    shown, taken, wrong = read_page(page), list[dict[str, Any]](), 0
    for suspect in (shown["plain"][each["key"]] for each in shown["suspects"]):
        if suspect["kind"] == "unlabelled" and wrong < PATIENCE:
            right = suspect["object"] in truth[suspect["photos"][0]]
            wrong = 0 if right else wrong + 1
            taken.append({"suspect": suspect, "answer": "same" if right else "different", "who": "truth"})
    return taken


def measure(experiment: Path, truth: Truth) -> dict[str, float]:
    """Run the pile as it is labelled now; return its mAP with these and with the true labels."""
    pipeline = Pipeline(load_experiment(experiment))
    rows = [Amendment(p, name, "positive", "same", "", "", "") for p, own in truth.items() for name in own]
    bare = open_dataset(pipeline.config.dataset.path, amended=False, unlabelled=True)
    full = amend(bare, rows)
    true = Pipeline(pipeline.config, dataset=full).judge(pipeline.search().ranking).mean
    return {"labelled": round(pipeline.evaluate().evaluation.mean, 4), "true": round(true, 4)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--no-positives", action="store_true", help="no photo of the pile shows an object")
    parser.add_argument("--no-copies", action="store_true", help="do not look for copies, to save time")
    given = parser.parse_args()
    pile = given.cache / "pile"
    truth = throw_together(given.dataset, pile, positives=not given.no_positives)
    if given.no_copies:
        setattr(audits, "find_copy_suspects", lambda *_: ([], []))  # noqa: B010
    experiment = given.cache / "experiment.toml"
    experiment.write_text('output = "run"\ncache = "cache"\n[dataset]\npath = "pile"\n')
    wanted, found, decisions = sum(map(len, truth.values())), 0, 0
    for number in range(1, ROUNDS + 1):
        listed, page = audits.audit(experiment, given.cache / f"audit-{number}")
        taken = decide(page, truth)
        path = given.cache / f"decisions-{number}.json"
        path.write_text(json.dumps({"format": 1, "dataset": str(pile), "decisions": taken}))
        audits.apply_audit(path)
        new = sum(one["answer"] == "same" for one in taken)
        found, decisions = found + new, decisions + len(taken)
        proposed = [s.confidence for s in listed.suspects if s.kind == "unlabelled"]
        told = {"round": number, "proposed": len(proposed), "surest": max(proposed, default=0.0)}
        told |= {"decisions": len(taken), "right": new, "recall": round(found / max(wanted, 1), 3)}
        print(json.dumps(told), flush=True)
        if new < ENOUGH * found or not new:
            break
    print(json.dumps({"labels": wanted, "found": found, "decisions": decisions}), flush=True)
    print(json.dumps({"mAP": measure(experiment, truth)}))


if __name__ == "__main__":
    main()
