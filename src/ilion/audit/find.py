"""From evidence to suspects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ilion.audit.copies import Pair
from ilion.audit.labels import Asked, Shown
from ilion.audit.suspects import Suspect
from ilion.types import Float64

LEAST = 0.005
"""Confidence below which nothing is a suspect; of real data, more is wrong than drawn data make believe."""
SURE = 0.5
"""Confidence from which on a photo counts as a copy."""
ANOTHER = 0.25
"""Share of its chance that an object keeps in a photo that surely shows another one, as its label says."""
TELLING = 0.3
"""Probability from which on a photo that is no positive of an object is said to show it."""
CONFUSED = 0.25
"""Share of the photos of two objects that match the other one best; above, they are hard to tell apart."""
Roles = Mapping[str, tuple[tuple[str, str], ...]]
"""Photo -> the objects that it is said to show, each with its role."""


def label_suspects(
    shown: Shown,
    chances: Float64,
    asked: Sequence[Asked],
    ids: Mapping[int, str],
    names: Sequence[str],
    roles: Roles,
    queries: Mapping[str, Sequence[str]],
) -> list[Suspect]:
    """Return wrong labels and photos that lack one.

    A photo that is not its object but another one is one suspect; it is no second one of that other object.

    Args:
        shown: Evidence for pairs of photos and objects.
        chances: (P,) probability that the photo shows the object.
        asked: The photos that asked.
        ids: Database row -> id, of all rows in ``shown``.
        names: Names of the objects.
        roles: Labels of the photos.
        queries: Object -> ids of its query photos.
    """
    chances = _beside_labels(shown, chances)
    best: dict[int, int] = {}
    for n in np.flatnonzero(~shown.labelled & (chances >= TELLING)).tolist():
        row = int(shown.rows[n])
        if row not in best or chances[n] > chances[best[row]]:
            best[row] = n
    suspects, taken = [], set()
    for n in np.flatnonzero(shown.labelled).tolist():
        row = int(shown.rows[n])
        wrong = 1 - float(chances[n])
        if wrong < LEAST:
            continue
        rival = best.get(row)
        if rival is not None and chances[rival] > chances[n]:
            taken.add(rival)
            suspects.append(
                _suspect("wrong-label", n, rival, wrong, shown, asked, ids, names, roles, queries)
            )
        else:
            suspects.append(_suspect("wrong-label", n, None, wrong, shown, asked, ids, names, roles, queries))
    for n in np.flatnonzero(~shown.labelled & (chances >= LEAST)).tolist():
        if n not in taken:
            sure = float(chances[n])
            suspects.append(_suspect("unlabelled", n, None, sure, shown, asked, ids, names, roles, queries))
    return suspects


def _beside_labels(shown: Shown, chances: Float64) -> Float64:
    """Lower the chances of objects without label in photos whose label is right."""
    own: dict[int, float] = {}
    for n in np.flatnonzero(shown.labelled).tolist():
        own[int(shown.rows[n])] = max(own.get(int(shown.rows[n]), 0.0), float(chances[n]))
    right = np.array([own.get(row, 0.0) for row in shown.rows.tolist()])
    return np.where(shown.labelled, chances, chances * (1 - (1 - ANOTHER) * right))


def _suspect(
    kind: str,
    pair: int,
    rival: int | None,
    confidence: float,
    shown: Shown,
    asked: Sequence[Asked],
    ids: Mapping[int, str],
    names: Sequence[str],
    roles: Roles,
    queries: Mapping[str, Sequence[str]],
) -> Suspect:
    photo, name = ids[int(shown.rows[pair])], names[shown.objects[pair]]
    speaker = int(shown.witnesses[pair if rival is None else rival])
    shows = name if rival is None else names[shown.objects[rival]]
    beside = asked[speaker].photo if speaker >= 0 else ""
    if beside in ("", photo):  # nothing speaks for it, or what the photo itself found
        beside = next(iter(queries.get(shows, ())), "")
    evidence = {
        "query": _chance(shown.numbers["query"][pair]),
        "photos": _chance(shown.numbers["photos"][pair]),
        "other objects": _chance(shown.numbers["rest"][pair]),
    }
    if shown.numbers["described"][pair]:
        evidence["descriptor"] = float(shown.numbers["descriptor"][pair])
    if shown.numbers["read"][pair]:
        some = shown.numbers["words"][pair] > 0
        evidence["words"] = 1 - float(shown.numbers["strange words"][pair]) if some else 0.0
    photos = (photo, beside) if beside else (photo,)
    return Suspect(
        kind=kind,  # type: ignore[arg-type]
        photos=photos,
        object=name,
        other="" if rival is None else names[shown.objects[rival]],
        confidence=round(confidence, 4),
        evidence={key: round(value, 4) for key, value in evidence.items()},
        roles=tuple(roles.get(image, ()) for image in photos),
    )


def _chance(odds: float) -> float:
    """Return the probability of log odds as `ilion.audit.labels.logit` makes them; 0 for none."""
    return 0.0 if odds <= 0 else float(1 / (1 + np.exp(-(odds + np.log(1e-3 / (1 - 1e-3))))))


def copy_suspects(
    pairs: Sequence[Pair], ids: Sequence[str], roles: Roles, leaked: frozenset[str] = frozenset()
) -> list[Suspect]:
    """Return photos that are one.

    Bursts of distractors alone are none: they are no error and change nothing.

    Args:
        pairs: Pairs of photos by their numbers.
        ids: Number -> id.
        roles: Labels of the photos.
        leaked: Ids of photos of labelled training sets, which must not be in the evaluation. Two of them are
            no suspect.
    """
    suspects = []
    for pair in pairs:
        photos = (ids[pair.first], ids[pair.second])
        if set(photos) <= leaked or photos[0] == photos[1]:
            continue
        if pair.relation == "burst" and not any(roles.get(photo) for photo in photos):
            continue
        leak = bool(leaked.intersection(photos))
        if leak and photos[0] in leaked:
            photos = photos[::-1]
        evidence = {"pixels": round(pair.likeness, 4)}
        if pair.bits >= 0:
            evidence["bits"] = float(pair.bits)
        suspects.append(
            Suspect(
                kind="leak" if leak else "duplicate",
                photos=photos,
                object="",
                confidence=round(pair.confidence, 4),
                relation=pair.relation,
                evidence=evidence,
                roles=tuple(roles.get(image, ()) for image in photos),
            )
        )
    return suspects


def without_copies(labels: Sequence[Suspect], copies: Sequence[Suspect]) -> list[Suspect]:
    """Leave out unlabelled photos that are copies of a photo of their object: they are suspects as copies."""
    known: dict[str, set[str]] = {}
    for suspect in copies:
        if suspect.kind == "duplicate" and suspect.relation != "burst" and suspect.confidence >= SURE:
            for photo, roles in zip(suspect.photos, suspect.roles[::-1], strict=True):
                known.setdefault(photo, set()).update(name for name, _ in roles)
    return [s for s in labels if not (s.kind == "unlabelled" and s.object in known.get(s.photos[0], ()))]


def alike_suspects(
    shown: Shown,
    names: Sequence[str],
    ids: Mapping[int, str],
    roles: Roles,
    queries: Mapping[str, Sequence[str]],
) -> list[Suspect]:
    """Return pairs of objects whose photos match the other object's about as well as their own.

    Args:
        shown: Evidence for pairs of photos and objects.
        names: Names of the objects.
        ids: Database row -> id.
        roles: Labels of the photos.
        queries: Object -> ids of its query photos.
    """
    strength = np.maximum(shown.numbers["query"], shown.numbers["photos"])
    by_row: dict[int, dict[int, float]] = {}
    for n in range(len(shown.rows)):
        by_row.setdefault(int(shown.rows[n]), {})[int(shown.objects[n])] = float(strength[n])
    looked: dict[int, int] = {}
    confused: dict[tuple[int, int], int] = {}
    for n in np.flatnonzero(shown.labelled).tolist():
        own, row = int(shown.objects[n]), int(shown.rows[n])
        if strength[n] <= 0:
            continue
        looked[own] = looked.get(own, 0) + 1
        for other, value in by_row[row].items():
            if other != own and value >= strength[n]:
                confused[own, other] = confused.get((own, other), 0) + 1
    suspects = []
    for a, b in sorted({(min(pair), max(pair)) for pair in confused}):
        counts = [(confused.get((a, b), 0), looked.get(a, 0)), (confused.get((b, a), 0), looked.get(b, 0))]
        # half a photo of each kind that was not seen, so that few photos say little
        shares = [(hits + 0.5) / (of + 2) for hits, of in counts]
        share = min(shares)
        if share < CONFUSED:
            continue
        photos = tuple(next(iter(queries.get(names[x], ())), "") for x in (a, b))
        photos = tuple(p for p in photos if p)
        if len(photos) < 2:
            continue
        suspects.append(
            Suspect(
                kind="same-object",
                photos=photos,
                object=names[a],
                other=names[b],
                confidence=round(min(share, 0.99), 4),
                evidence={
                    "matched better": float(counts[0][0] + counts[1][0]),
                    "of": float(counts[0][1] + counts[1][1]),
                },
                roles=tuple(roles.get(image, ()) for image in photos),
            )
        )
    return suspects
