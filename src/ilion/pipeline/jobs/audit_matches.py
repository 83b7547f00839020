"""What is shown of a suspect: matches between its photos, to be drawn as lines, and words that tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ilion.audit.suspects import Suspect
from ilion.audit.words import Vocabulary, named
from ilion.pipeline.jobs.audit_evidence import Look
from ilion.pipeline.stages.evidence import compare_stored, stored_query
from ilion.pipeline.stages.photo_models import local_settings
from ilion.searching import local

LINES = 40
"""Matches that are kept of a pair."""


def add_matches(look: Look, suspect: Suspect, rows: Mapping[str, int]) -> Suspect:
    """Add the matches between the two photos of a suspect.

    Args:
        look: The evidence.
        suspect: The suspect.
        rows: Id -> row, of the whole database.
    """
    if len(suspect.photos) < 2 or suspect.relation == "mirrored" or suspect.matches:
        return suspect
    first, second = suspect.photos[:2]
    if first not in rows:
        first, second = second, first
    row = rows.get(first)
    if row is None:
        return suspect
    asked = _as_query(look, second, rows)
    if asked is None:
        return suspect
    places, _ = compare_stored(look.index, asked, row)
    if len(places) > LINES:
        places = places[np.linspace(0, len(places) - 1, LINES).astype(np.int64)]
    if first == suspect.photos[0]:
        places = places[:, [2, 3, 0, 1]]
    lines = tuple(tuple(round(v, 1) for v in line) for line in places.tolist())
    return replace(suspect, matches=lines)


def add_words(look: Look, suspect: Suspect, rows: Mapping[str, int], vocabulary: Vocabulary) -> Suspect:
    """Add the words read in the photo of a suspect about a label: those that agree, and those that do not.

    Args:
        look: The evidence.
        suspect: The suspect.
        rows: Id -> row, of the whole database.
        vocabulary: The words of all objects.
    """
    row = rows.get(suspect.photos[0])
    if row is None or suspect.kind not in ("wrong-label", "unlabelled") or "words" not in suspect.evidence:
        return suspect
    number = {name: n for n, name in enumerate(look.names)}
    own = vocabulary.ask(row, number[suspect.object])
    found = {"agree": named(own.shared), "against": named(own.others)}
    if suspect.other:
        found["other"] = named(vocabulary.ask(row, number[suspect.other]).shared)
    return replace(suspect, words=found)


def _as_query(look: Look, photo: str, rows: Mapping[str, int]) -> local.LocalQuery | None:
    for n, query in enumerate(look.experiment.queries):
        if query.image is not None and query.image.id == photo:
            settings = local_settings(look.experiment.config.search.local)
            return local.look_up(look.index.queries[n], look.index.words, settings)
    row = rows.get(photo)
    if row is None:
        return None
    asked = stored_query(look.index.database.photo(row), look.index.words, look.boxes.get(row, ()))
    return asked if len(asked) else None
