"""Boxes of an audit that miss their object, and queries without one that need one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ilion.audit.boxes import SMALL, matched_part, misses, share_inside
from ilion.audit.suspects import Suspect
from ilion.pipeline.jobs.audit_evidence import Look
from ilion.pipeline.stages.evidence import compare_stored, vars_of
from ilion.pipeline.stages.photo_models import local_settings
from ilion.searching import local
from ilion.types import Box


def find_box_suspects(look: Look) -> list[Suspect]:
    """Return boxes that miss their object, and queries without one that need one."""
    suspects = []
    row_queries = _matches_of_queries(look)
    for query in look.experiment.queries:
        if query.image is None:
            continue
        places = []
        for row, both in row_queries.get(query.id, {}).items():
            places.append(both[:, :2])
            boxes = look.boxes.get(row, ())
            if sure := misses(both[:, 2:], boxes):
                evidence = {"matches": float(len(both))}
                both_photos = (look.ids[row], query.image.id)
                suspects.append(_suspect(look, both_photos, query.instance, sure, evidence, (boxes[0],)))
        if query.image.boxes:
            continue
        spots = look.index.queries[look.index.query_ids.index(query.id)]
        part = matched_part(places, spots.photo_size)
        side = max(spots.part.width, spots.part.height)
        own = spots.frames[:, :2] * side + (spots.part.x, spots.part.y)
        # a clean ground has no features, and needs no box
        if part is not None and part[1] < SMALL and share_inside(own, (part[0],)) < 0.5:
            evidence = {"part": round(part[1], 4)}
            photos = (query.image.id,)
            suspects.append(_suspect(look, photos, query.instance, 1 - part[1] / SMALL, evidence, (part[0],)))
    return suspects


def _suspect(
    look: Look,
    photos: tuple[str, ...],
    name: str,
    confidence: float,
    evidence: Mapping[str, float],
    boxes: Sequence[Box],
) -> Suspect:
    return Suspect(
        kind="box",
        photos=photos,
        object=name,
        confidence=round(confidence, 4),
        evidence=evidence,
        roles=tuple(look.roles.get(photo, ()) for photo in photos),
        boxes=tuple(tuple(round(v, 1) for v in vars_of(box)) for box in boxes),
    )


def _matches_of_queries(look: Look, most: int = 5) -> dict[str, dict[int, NDArray[np.float32]]]:
    """Return query -> row of a positive -> (M, 4) places that agree, of the best matched ones."""
    settings = local_settings(look.experiment.config.search.local)
    found: dict[str, dict[int, NDArray[np.float32]]] = {}
    for n, name in enumerate(look.index.query_ids):
        positives = {look.rows[p] for p in look.dataset.positives[name] if p in look.rows}
        rows, inliers = look.by_queries.rows[n], look.by_queries.inliers[n]
        own = [
            (int(i), int(r)) for i, r in zip(inliers, rows, strict=True) if int(r) in positives and i >= 12
        ]
        asked = local.look_up(look.index.queries[n], look.index.words, settings) if own else None
        for _, row in sorted(own, reverse=True)[:most]:
            if asked is not None:
                found.setdefault(name, {})[row] = compare_stored(look.index, asked, row)[0]
    return found
