"""How many planted errors an audit finds, and what settling them does to the mAP.

    python -m benchmarks.audit DATASET --cache FOLDER [--seed N]
    python -m benchmarks.audit DATASET --cache FOLDER --unlabelled

One label in twenty is swapped, one positive in twenty loses its label, and 30 photos are added among the
distractors that are crops, mirror images or re-saves of queries, positives and distractors. A suspect counts
as looked at if it stands among the first 2 x (planted) ones; whoever looks is right about what was planted,
and leaves the rest as it is. With ``--unlabelled`` all labels are hidden instead: how good are the proposals?
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ilion.audit.decisions import Decision, amendments_of
from ilion.audit.suspects import Answer, Audit, Suspect, write_audit
from ilion.config import DatasetConfig, ExperimentConfig
from ilion.datasets.amendments import Amendment, amend
from ilion.datasets.reader import open_dataset
from ilion.datasets.shards import RecordShard
from ilion.pipeline.jobs.audit import examine
from ilion.pipeline.jobs.audit_evidence import Look
from ilion.pipeline.order import Pipeline
from ilion.pipeline.stages.photos import build_photos
from ilion.types import FileSource, ImageRecord, RetrievalDataset

SHARE, COPIES = 0.05, 30


@dataclass(frozen=True)
class Planted:
    """What was planted.

    Args:
        dataset: The data set with errors.
        clean: The data set without, where a copy counts neither way for what its source shows.
        swapped: Photo -> the object that it shows and the one that it is said to show.
        hidden: Photo -> the object that it shows.
        copies: Copy -> its source and kind.
    """

    dataset: RetrievalDataset
    clean: RetrievalDataset
    swapped: Mapping[str, tuple[str, str]]
    hidden: Mapping[str, str]
    copies: Mapping[str, tuple[str, str]]

    @property
    def count(self) -> int:
        """Number of errors."""
        return len(self.swapped) + len(self.hidden) + len(self.copies)


def plant(dataset: RetrievalDataset, folder: Path, seed: int) -> Planted:
    """Plant errors in a data set, whose files stay as they are; copies are written to a folder."""
    rng = np.random.default_rng(seed)
    by_object: dict[str, tuple[str, ...]] = {q.instance: dataset.positives[q.id] for q in dataset.queries}
    owner = {photo: name for name, photos in by_object.items() for photo in photos}
    names, photos = sorted(by_object), sorted(owner)
    count = round(SHARE * len(photos))
    chosen = rng.choice(photos, 2 * count, replace=False).tolist()
    swapped = {p: (owner[p], str(rng.choice([n for n in names if n != owner[p]]))) for p in chosen[:count]}
    hidden = {p: owner[p] for p in chosen[count:]}
    table = {
        name: [p for p in own if p not in swapped and p not in hidden] for name, own in by_object.items()
    }
    for photo, (_, said) in swapped.items():
        table[said].append(photo)
    records = {r.id: r for r in dataset.records()}
    queries = [q.image for q in dataset.queries if q.image is not None]
    free = [r for r in records.values() if r.id not in owner]
    rest = [records[p] for p in photos if p not in swapped and p not in hidden]
    third = COPIES // 3
    sources = [
        *(queries[n] for n in rng.choice(len(queries), third, replace=False)),
        *(rest[n] for n in rng.choice(len(rest), third, replace=False)),
        *(free[n] for n in rng.choice(len(free), COPIES - 2 * third, replace=False)),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    copies, made = {}, []
    for number, source in enumerate(sources):
        kind = ("crop", "mirror", "resave")[number % 3]
        path = folder / f"copy_{seed}_{number:02d}.jpg"
        data = copy_photo(source.source.read(), kind, rng)
        if not path.exists():
            path.write_bytes(data)
        copies[f"copies/{path.name}"] = (source.id, kind)
        made.append(ImageRecord(f"copies/{path.name}", FileSource(path)))
    shard = RecordShard(f"copies_{seed}", tuple(made))
    planted = replace(
        dataset,
        database=(*dataset.database, shard),
        positives={q.id: tuple(table[q.instance]) for q in dataset.queries},
    )
    # for other objects a copy is one more distractor, as it is once somebody has settled everything
    shows = {q.image.id: q.instance for q in dataset.queries if q.image is not None} | owner
    ignored = {
        q.id: tuple(copy for copy, (source, _) in copies.items() if shows.get(source) == q.instance)
        for q in dataset.queries
    }
    clean = replace(dataset, database=planted.database, ignored=ignored)
    return Planted(planted, clean, swapped, hidden, copies)


def copy_photo(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a crop of 55 to 85% of each side, a mirror image, or a re-save at another size."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    if kind == "crop":
        share = rng.uniform(0.55, 0.85, 2)
        width, height = (max(round(s * side), 16) for s, side in zip(share, image.size, strict=True))
        left, top = (
            int(rng.integers(0, s - w + 1)) for s, w in zip(image.size, (width, height), strict=True)
        )
        image = image.crop((left, top, left + width, top + height))
    elif kind == "mirror":
        image = ImageOps.mirror(image)
    else:
        scale = rng.uniform(0.5, 1.0)
        width, height = (max(round(side * scale), 16) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(40, 90)))
    return out.getvalue()


def true_answer(suspect: Suspect, planted: Planted) -> Answer:
    """Return what somebody answers who knows what was planted."""
    photo = suspect.photos[0]
    if (
        suspect.kind == "wrong-label"
        and photo in planted.swapped
        and planted.swapped[photo][1] == suspect.object
    ):
        return "other" if suspect.other == planted.swapped[photo][0] else "different"
    if suspect.kind == "unlabelled":
        shows = planted.hidden.get(photo) or planted.swapped.get(photo, ("", ""))[0]
        return "same" if shows == suspect.object else "different"
    if suspect.kind == "duplicate":
        pair = set(suspect.photos)
        if any({copy, source} == pair for copy, (source, _) in planted.copies.items()):
            return "duplicate"
        return "different"
    return "same" if suspect.kind == "wrong-label" else "unsure"


def report(found: Audit, planted: Planted, pipeline: Pipeline, real: int = 0) -> dict[str, object]:
    """Say what was found among the first suspects, and what settling them does."""
    first = found.suspects[: 2 * (planted.count + real)]
    seen: dict[str, set[str]] = {"swapped": set(), "hidden": set(), "copies": set()}
    right = 0
    rows: list[Amendment] = []
    for suspect in first:
        answer = true_answer(suspect, planted)
        hit = ""
        if suspect.kind == "wrong-label" and answer in ("other", "different"):
            hit = "swapped"
        elif suspect.kind == "unlabelled" and answer == "same":
            hit = "hidden" if suspect.photos[0] in planted.hidden else "swapped"
        elif suspect.kind == "duplicate" and answer == "duplicate":
            hit = "copies"
        if hit:
            right += 1
            name = next((p for p in suspect.photos if p in planted.copies), suspect.photos[0])
            seen[hit].add(name)
        rows += amendments_of(Decision(suspect, answer, "truth", ""))
    place = {
        (s.photos[0], s.object): n
        for n, s in enumerate(found.suspects)
        if s.kind in ("wrong-label", "unlabelled")
    }
    wanted = [
        *((p, said, shows, "swapped") for p, (shows, said) in planted.swapped.items()),
        *((p, shows, shows, "hidden") for p, shows in planted.hidden.items()),
    ]
    lost = [
        f"{photo} {kind} ({shows}): {place.get((photo, said), place.get((photo, shows), 'in no suspect'))}"
        for photo, said, shows, kind in wanted
        if photo not in seen[kind]
    ]
    anywhere = {tuple(sorted(s.photos)) for s in found.suspects if s.kind == "duplicate"}
    missed = Counter(
        f"{kind}{'' if tuple(sorted((copy, source))) in anywhere else ', in no suspect'}"
        for copy, (source, kind) in planted.copies.items()
        if copy not in seen["copies"]
    )

    def judge(dataset: RetrievalDataset) -> float:
        one = Pipeline(pipeline.config, dataset=dataset)
        return one.judge(pipeline.search().ranking).mean

    mended = amend(planted.dataset, rows)
    values = {
        "clean": judge(planted.clean),
        "planted": judge(planted.dataset),
        "settled": judge(mended),
    }
    labels = len(planted.swapped) + len(planted.hidden)
    return {
        "planted": {
            "swapped": len(planted.swapped),
            "hidden": len(planted.hidden),
            "copies": len(planted.copies),
        },
        "found": {name: len(photos) for name, photos in seen.items()},
        "labels found": round((len(seen["swapped"]) + len(seen["hidden"])) / labels, 3),
        "copies found": round(len(seen["copies"]) / len(planted.copies), 3),
        "looked at": len(first),
        "precision": round(right / max(len(first), 1), 3),
        "kinds looked at": dict(Counter(s.kind for s in first)),
        "kinds": dict(Counter(s.kind for s in found.suspects)),
        "missed copies": dict(missed),
        "missed labels, by their place in the list": lost,
        "mAP": {name: round(value, 4) for name, value in values.items()},
    }


def hide(dataset: RetrievalDataset) -> RetrievalDataset:
    """Return a data set without labels and boxes of photos: objects, and a pile of photos."""
    shards = tuple(
        RecordShard(f"{shard.name}_bare", tuple(replace(r, boxes=()) for r in shard.records()))
        if any(r.boxes for r in shard.records())
        else shard
        for shard in dataset.database
    )
    return replace(dataset, database=shards, positives={q.id: () for q in dataset.queries})


def report_proposals(suspects: Iterable[Suspect], dataset: RetrievalDataset) -> dict[str, object]:
    """Say how many proposed labels are right, and how many of the right ones are proposed."""
    true = {(p, q.instance) for q in dataset.queries for p in dataset.positives[q.id]}
    listed = sorted((s for s in suspects if s.kind == "unlabelled"), key=lambda s: -s.confidence)
    right = np.array([(s.photos[0], s.object) in true for s in listed], float)
    sure = np.array([s.confidence for s in listed])

    def measure(kept: NDArray[np.bool_]) -> dict[str, float]:
        return {
            "proposed": int(kept.sum()),
            "precision": round(float(right[kept].mean()), 3) if kept.any() else float("nan"),
            "recall": round(float(right[kept].sum()) / len(true), 3),
        }

    first = np.arange(len(listed))
    return {
        "labels": len(true),
        **{f"confidence {least}": measure(sure >= least) for least in (0.5, 0.2, 0.05, 0.02)},
        "as many as labels": measure(first < len(true)),
        "twice as many": measure(first < 2 * len(true)),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-descriptors", action="store_true")
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--real", type=int, default=0, help="known errors that were not planted")
    given = parser.parse_args()
    clean = open_dataset(given.dataset, amended=False)
    config = ExperimentConfig(
        output=str(given.cache / "out"),
        cache=str(given.cache),
        dataset=DatasetConfig(path=str(given.dataset)),
    )
    if given.unlabelled:
        pipeline = Pipeline(config, dataset=hide(clean))
        look = Look(pipeline.experiment, build_photos(pipeline.experiment), not given.no_descriptors)
        print(json.dumps(report_proposals(look.label_suspects(), clean), indent=1))
        return
    planted = plant(clean, given.cache / f"copies-{given.dataset.name}", given.seed)
    pipeline = Pipeline(config, dataset=planted.dataset)
    found = examine(pipeline, pipeline.search().ranking, descriptors=not given.no_descriptors)
    write_audit(given.cache / f"audit-{given.dataset.name}-{given.seed}", found)
    print(json.dumps(report(found, planted, pipeline, given.real), indent=1))


if __name__ == "__main__":
    main()
