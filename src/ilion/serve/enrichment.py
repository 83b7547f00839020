"""Confirmed photos become photos of the index, if that helps searches that they were held out from.

A photo that somebody confirmed shows how an object looks to those who search for it. Whether adding it helps
is tried on a copy of the index: confirmed photos of an object are cut into two halves by visit, each half is
added in turn, and the other half asks. Photos of one visit look alike and stay together, so what is measured
is what a later visit gains. Asked against photos that were added is also who searches for other objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ilion.errors import DatasetError
from ilion.evaluation.intervals import bootstrap_means, group, percentiles
from ilion.outcome import Interval
from ilion.pipeline import Progress
from ilion.serve.feedback import Confirmed, Feedback, trying
from ilion.serve.index import Index
from ilion.serve.photos import NewPhoto, digest_of
from ilion.serve.tables import FILE
from ilion.serve.writer import add, remove, writing
from ilion.serve.writer.designs import bring
from ilion.storage.sqlite import connect
from ilion.types import Box, Float64, MemorySource, Value

VISIT = 3600.0
"""Seconds between two searches for an object from which on they belong to two visits."""
DEEP = 100
"""Objects of an answer among which the right one is looked for."""
SAMPLES = 2000
"""Bootstrap samples of the interval."""


@dataclass(frozen=True)
class Enrichment(Value):
    """What confirmed photos would add, and what held-out searches gain by them.

    Args:
        photos: Number of photos that would be added.
        objects: Number of objects that they show.
        left: Number of confirmed photos of objects with one visit only; they ask, and are not added.
        there: Number of confirmed photos that the index has already, or that were confirmed before.
        asked: Number of held-out searches.
        first: Share of them whose first object is right, before and after.
        reciprocal: Mean of one over the rank of the right object, before and after; 0 beyond `DEEP`.
        gain: 95% interval of the difference of ``reciprocal``, over objects.
        better: Number of searches that find the right object earlier.
        worse: Number of searches that find it later.
        added: Number of photos that were added.
    """

    photos: int
    objects: int
    left: int
    there: int
    asked: int
    first: tuple[float, float]
    reciprocal: tuple[float, float]
    gain: Interval
    better: int
    worse: int
    added: int = 0

    @property
    def helps(self) -> bool:
        """Whether searches gain, and the interval holds no loss."""
        return self.better > self.worse and self.gain.low >= 0


def enrich(
    index: Index, feedback: Feedback, *, apply: bool = False, progress: Progress | None = None
) -> Enrichment:
    """Try what confirmed photos add to an index, and add them if that helps.

    Args:
        index: The index; it is not changed unless ``apply`` is set.
        feedback: Searches and verdicts of the index.
        apply: Whether to add the photos.
        progress: Callback that receives stage, done and total.

    Raises:
        DatasetError: No object was confirmed in two visits; or ``apply`` is set and nothing is gained.
    """
    confirmed, there = _fresh(index, feedback.confirmed()[0])
    halves = halve(confirmed)
    if not halves:
        raise DatasetError(
            f"{feedback.path}: no object was confirmed in two visits, at least {VISIT / 60:.0f} minutes "
            "apart, so nothing can be held out; come back when there are more"
        )
    before, after = _try(index, confirmed, halves, progress)
    codes, count = group([found.object for found in confirmed])
    totals, weights = (
        np.bincount(codes, values, count).astype(np.float64) for values in (after - before, None)
    )
    gain = Interval(-1.0, 1.0)  # one object says nothing about others
    if count > 1:
        means = bootstrap_means(totals[:, None], weights[:, None], SAMPLES, 0)
        gain = percentiles(means[:, 0], count)
    done = Enrichment(
        photos=len(halves),
        objects=len({found.object for found in confirmed if found.search in halves}),
        left=len(confirmed) - len(halves),
        there=there,
        asked=len(confirmed),
        first=(float((before == 1).mean()), float((after == 1).mean())),
        reciprocal=(float(before.mean()), float(after.mean())),
        gain=gain,
        better=int((after > before).sum()),
        worse=int((after < before).sum()),
    )
    if not apply:
        return done
    if not done.helps:
        raise DatasetError(
            f"{index.folder}: nothing is added, as held-out searches do not surely gain: {done.better} "
            f"better, {done.worse} worse of {done.asked}, 95% interval {gain.low:+.3f} to {gain.high:+.3f}"
        )
    added = add(index, photos=[_photo(f) for f in confirmed if f.search in halves], progress=progress)
    return replace(done, added=added.added)


def halve(confirmed: Sequence[Confirmed]) -> Mapping[str, int]:
    """Cut the photos of each object into two halves, visit by visit in turn.

    Args:
        confirmed: Confirmed searches, the earliest first.

    Returns:
        Half (0 or 1) by the name of the search; objects with one visit are left out.
    """
    last, visit = dict[str, float](), dict[str, int]()
    halves = dict[str, int]()
    for found in confirmed:
        if found.asked - last.get(found.object, -np.inf) >= VISIT:
            visit[found.object] = visit.get(found.object, -1) + 1
        last[found.object] = found.asked
        halves[found.search] = visit[found.object] % 2
    return {found.search: halves[found.search] for found in confirmed if visit[found.object]}


def _fresh(index: Index, confirmed: Sequence[Confirmed]) -> tuple[list[Confirmed], int]:
    """Return the confirmed photos that the index does not hold, each once, and the number of the others."""
    held = {digest for (digest,) in index.tables.connection.execute("SELECT digest FROM photos")}
    fresh = []
    for found in confirmed:
        digest = digest_of(found.photo)
        if digest not in held:
            held.add(digest)
            fresh.append(found)
    return fresh, len(confirmed) - len(fresh)


def _try(
    index: Index, confirmed: Sequence[Confirmed], halves: Mapping[str, int], progress: Progress | None
) -> tuple[Float64, Float64]:
    """Return one over the rank of the right object for every search, before and after."""
    with trying(index.folder) as folder:
        trial = _copy(index, folder)
        before = np.array([_reciprocal(trial, found) for found in confirmed])
        after = before.copy()
        for half in (0, 1):
            new = [_photo(found) for found in confirmed if halves.get(found.search) == half]
            add(trial, photos=new, before=False, progress=progress)
            # who has no half of its own asks once
            for number, found in enumerate(confirmed):
                if halves.get(found.search, 1) != half:
                    after[number] = _reciprocal(trial, found)
            remove(trial, [photo.id for photo in new])
        trial.close()
    return before, after


def _copy(index: Index, folder: Path) -> Index:
    """Copy an index; what never changes, descriptors and features, is linked."""
    folder.mkdir()
    with writing(index), closing(connect(folder / FILE)) as target:
        index.tables.connection.backup(target)
        for part in ("artifacts", "designs"):
            for path in sorted((index.folder / part).rglob("*")):
                inside = path.relative_to(index.folder)
                if path.is_file() and not path.name.startswith("."):
                    bring(path, folder / inside)
    return Index.open(folder)


def _reciprocal(index: Index, found: Confirmed) -> float:
    answer = index.search(found.photo, box=_box(found), k=DEEP, explain=False)
    names = [object.name for object in answer.objects]
    return 1 / (1 + names.index(found.object)) if found.object in names else 0.0


def _box(found: Confirmed) -> Box | None:
    return Box(*map(float, found.box.split(","))) if found.box else None


def _photo(found: Confirmed) -> NewPhoto:
    box = _box(found)
    views = {found.object: () if box is None else (box,)}
    return NewPhoto(f"confirmed/{found.search}", MemorySource("", found.photo), views, {"origin": "feedback"})
