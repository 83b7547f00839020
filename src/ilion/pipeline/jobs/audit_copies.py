"""Photos of an audit that are one: equal, resized, mirrored or cut out of each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ilion.audit.copies import Overlap, Pair, crop_candidates, find_copies, judge_overlap, overlay
from ilion.audit.find import copy_suspects
from ilion.audit.suspects import Suspect
from ilion.images import decode
from ilion.pipeline.jobs.audit_evidence import Look, photo_of
from ilion.pipeline.stages.evidence import Signatures, ask_rest
from ilion.searching import local
from ilion.types import RGB, ImageRecord, RetrievalDataset
from ilion.wording import counted

SMALL_SET = 10_000
"""Photos up to which distractors ask as well, for what was cut out of one another."""
CLOSER = 256
"""Longer side of photos that are laid over each other."""


def find_copy_suspects(
    look: Look, signed: Signatures, training: Sequence[ImageRecord]
) -> tuple[list[Suspect], list[str]]:
    """Return photos that are one, and what was left out.

    Args:
        look: The evidence.
        signed: Signatures of all photos, those of training among them.
        training: Photos that must not be in the data set.
    """
    number = {name: n for n, name in enumerate(signed.ids)}
    pixels = _Pixels(look.dataset, {**look.records, **{r.id: r for r in training}})

    def lay(first: int, second: int) -> Overlap | None:
        return overlay(pixels(signed.ids[first]), pixels(signed.ids[second]))

    pairs, crowded = find_copies(
        signed.digests, signed.codes, signed.mirrored, signed.thumbs, signed.sizes, lay
    )
    notes = []
    if crowded:
        notes.append(
            f"{counted(crowded, 'photo is', 'photos are')} near so many others that not all pairs "
            "were compared"
        )
    seen = {(pair.first, pair.second) for pair in pairs}
    for first, second, motion in _crops(look):
        if first not in number or second not in number:
            continue
        a, b = number[first], number[second]
        if (min(a, b), max(a, b)) in seen:
            continue
        seen.add((min(a, b), max(a, b)))
        overlap = overlay(pixels(first), pixels(second), motion)
        if overlap is not None and (pair := judge_overlap(a, b, overlap)) is not None:
            pairs.append(_in_order(pair))
    leaked = frozenset(record.id for record in training)
    return copy_suspects(pairs, signed.ids, look.roles, leaked), notes


def _crops(look: Look) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """Yield photos that may be cut out of each other, with the motion from the first to the second."""
    # photos with boxes asked with what is inside, and a crop may show anything of them
    every = len(look.ids) <= SMALL_SET
    rest = list(range(len(look.ids))) if every else list(look.boxes)
    instances = {query.id: query for query in look.experiment.queries}
    parts = [
        (look.by_queries, [photo_of(instances[name]) for name in look.index.query_ids]),
        (ask_rest(look.experiment, look.index, rest), [look.ids[row] for row in rest]),
    ]
    if not every:
        parts.append((look.by_photos, [look.ids[row] for row in look.speaking]))
    for finds, askers in parts:
        for n in range(len(finds.rows)):
            for place in crop_candidates(finds.inliers[n], finds.motions[n]):
                row = int(finds.rows[n, place])
                if row >= 0:
                    motion = finds.motions[n, place].astype(np.float64).reshape(2, 3)
                    if finds is look.by_queries:
                        motion = of_full_photo(motion, look.index.queries[n])
                    yield askers[n], look.ids[row], motion


def of_full_photo(motion: NDArray[np.float64], query: local.QuerySpots) -> NDArray[np.float64]:
    """Return a motion (2, 3) from the full photo of a query in place of the part that was looked at."""
    part, changed = query.part, motion.copy()
    side = max(part.width, part.height)
    changed[:, :2] *= max(query.photo_size) / side
    changed[:, 2] -= motion[:, :2] @ (np.array([part.x, part.y]) / side)
    return changed


def _in_order(pair: Pair) -> Pair:
    if pair.first <= pair.second:
        return pair
    return replace(pair, first=pair.second, second=pair.first)


class _Pixels:
    """Small versions of photos by id, the latest ones kept.

    Args:
        dataset: Data set of the photos.
        known: Id -> record, of those that are known already.
    """

    def __init__(self, dataset: RetrievalDataset, known: dict[str, ImageRecord]) -> None:
        self._dataset, self._known = dataset, known
        self._read = lru_cache(maxsize=512)(self._decode)

    def __call__(self, photo: str) -> RGB:
        """Return a photo with a longer side of about `CLOSER` pixels.

        Raises:
            ImageError: The photo cannot be read.
        """
        return self._read(photo)

    def _decode(self, photo: str) -> RGB:
        if photo not in self._known:
            # the others are of the database: all records once, which holds their ids and places only
            self._known |= {record.id: record for record in self._dataset.records()}
        return decode(self._known[photo].source.read(), at_least=(CLOSER, 1)).image
