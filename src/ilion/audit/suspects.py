"""Suspects: what may be wrong, how sure that is, what speaks for it, and what it would change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, get_args

from ilion.errors import ArtifactError
from ilion.opening import full_path
from ilion.storage import read_json, write_json
from ilion.types import Value

FORMAT = 1
FILE = "suspects.json"
Kind = Literal["wrong-label", "unlabelled", "duplicate", "leak", "box", "same-object"]
Relation = Literal["", "exact", "resaved", "resized", "mirrored", "cropped", "burst"]
Answer = Literal["same", "different", "other", "unsure", "duplicate", "box"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ANSWERS: tuple[Answer, ...] = get_args(Answer)
HARMLESS, GLANCE, MOMENT = 0.1, 0.2, 0.01
"""Share of its confidence that a suspect is worth which would change no number; more for two photos that are
one, which is settled at a glance, and will count once the data are split or grow; next to none for two of one
moment, unless each is said to show something, not the same: a label that lacks is a suspect of its own."""


@dataclass(frozen=True)
class Suspect(Value):
    """Something that may be wrong.

    Args:
        kind: ``wrong-label``: the photo does not show the object that it is said to show. ``unlabelled``: it
            shows an object that nothing says it shows. ``duplicate``: two photos are one. ``leak``: a photo
            of labelled training photos is in the evaluation. ``box``: a box misses the object, or lacks where
            the query needs one. ``same-object``: two objects cannot be told apart.
        photos: Ids; first the one in question, then the one it is compared with.
        object: The object in question; "" where there is none.
        other: The object that a ``wrong-label`` seems to show; the second of ``same-object``.
        relation: Way in which one duplicate came from the other; empty for other kinds.
        confidence: Calibrated probability in [0, 1] that it is what it seems.
        evidence: Channel -> number, see docs/audit.md.
        roles: For each photo the objects that it is said to show, as (object, role).
        map_change: Change of the mAP if the suspect is what it seems.
        first_change: The same for R@1.
        boxes: For each photo the region that speaks for it, (x, y, width, height) in pixels; empty for none.
        matches: Pairs of places in the two photos, (x, y, x', y') in pixels, that agree.
        words: Words read in the photo in question: ``agree``, those that other photos of the object show;
            ``against``, those that they do not; ``other``, those that photos of ``other`` show.
    """

    kind: Kind
    photos: tuple[str, ...]
    object: str
    confidence: float
    other: str = ""
    relation: Relation = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    roles: tuple[tuple[tuple[str, str], ...], ...] = ()
    map_change: float = 0.0
    first_change: float = 0.0
    boxes: tuple[tuple[float, ...], ...] = ()
    matches: tuple[tuple[float, float, float, float], ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name that stays when the data grow: of kind, photos and objects alone."""
        pair = sorted(self.photos) if self.kind in ("duplicate", "leak") else list(self.photos[:1])
        if self.kind == "same-object":
            pair = sorted((self.object, self.other))
        text = "\n".join(
            (self.kind, *pair, self.object if self.kind in ("wrong-label", "unlabelled") else "")
        )
        return f"{self.kind}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"

    @property
    def value(self) -> float:
        """How much it is worth to look: the confidence, less where nothing would change."""
        # a label of an object that has none yet changes no number, for there is none
        if self.map_change or self.first_change or self.kind in ("wrong-label", "unlabelled"):
            return self.confidence
        if self.relation == "burst":
            return self.confidence * (HARMLESS if len(set(filter(None, self.roles))) > 1 else MOMENT)
        return self.confidence * (GLANCE if self.kind in ("duplicate", "leak") else HARMLESS)


def order(suspects: Iterable[Suspect]) -> list[Suspect]:
    """Return suspects, the most valuable first; of equal ones, those that change most, then by key."""
    return sorted(suspects, key=lambda s: (-s.value, -abs(s.map_change), s.key))


@dataclass(frozen=True)
class Numbers(Value):
    """A measure as it is and as it could be.

    Args:
        as_is: With the labels of the data set.
        if_all: If all suspects were what they seem.
        low: Lowest value that was found for some of them.
        high: Highest value that was found for some of them.
    """

    as_is: float
    if_all: float
    low: float
    high: float


@dataclass(frozen=True)
class Audit(Value):
    """What an audit found.

    Args:
        dataset: Folder of the data set.
        name: Name of the data set.
        run: Folder of the run whose ranking says what suspects would change; "" without one.
        suspects: The most valuable first; those that somebody settled before are left out.
        precision: mAP, by its definition, of the objects with positives; None without any.
        first: R@1, likewise.
        k: Cut-off of the mAP.
        photos: Number of photos that were looked at.
        queries: Object -> ids of its query photos, to show beside others.
        settled: Number of suspects that were settled before.
        notes: Parts that were not looked at, one sentence each.
        unreadable: Ids of the photos that could not be read.
    """

    dataset: str
    name: str
    run: str
    suspects: tuple[Suspect, ...]
    precision: Numbers | None
    first: Numbers | None
    k: int
    photos: int
    queries: Mapping[str, tuple[str, ...]]
    settled: int = 0
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


class _Suspect(TypedDict):
    kind: str
    photos: list[str]
    object: str
    confidence: float
    other: str
    relation: str
    evidence: Mapping[str, float]
    roles: list[list[list[str]]]
    map_change: float
    first_change: float
    boxes: list[list[float]]
    matches: list[list[float]]
    words: NotRequired[Mapping[str, list[str]]]


class _Audit(TypedDict):
    format: int
    dataset: str
    name: str
    run: str
    suspects: list[_Suspect]
    precision: Numbers | None
    first: Numbers | None
    k: int
    photos: int
    queries: Mapping[str, list[str]]
    settled: int
    notes: list[str]
    unreadable: NotRequired[list[str]]


def to_plain(audit: Audit) -> dict[str, Any]:
    """Return an audit as plain values, each suspect with its key and what it is worth."""
    suspects = [{"key": s.key, "value": round(s.value, 6), **asdict(s)} for s in audit.suspects]
    return {"format": FORMAT, **asdict(replace(audit, suspects=())), "suspects": suspects}


def write_audit(folder: Path, audit: Audit) -> Path:
    """Store an audit as ``suspects.json`` in a folder."""
    path = folder / FILE
    write_json(path, to_plain(audit))
    return path


def read_audit(folder: Path) -> Audit:
    """Read what `write_audit` stored.

    Args:
        folder: The folder, or the file in it.

    Raises:
        ArtifactError: There is none, or it is damaged.
    """
    path = folder if folder.suffix == ".json" else folder / FILE
    if not path.exists():
        raise ArtifactError(f"{folder}: holds no audit ({FILE}); make one with 'ilion audit'")
    plain: _Audit = read_json(path, _Audit)
    try:
        if plain["format"] != FORMAT:
            raise ValueError(f"format {plain['format']}")
        suspects = tuple(map(suspect_from, plain["suspects"]))
        return Audit(
            dataset=plain["dataset"],
            name=plain["name"],
            run=plain["run"],
            suspects=suspects,
            precision=_numbers(plain["precision"]),
            first=_numbers(plain["first"]),
            k=plain["k"],
            photos=plain["photos"],
            queries={name: tuple(ids) for name, ids in plain["queries"].items()},
            settled=plain["settled"],
            notes=tuple(plain["notes"]),
            unreadable=tuple(plain.get("unreadable", ())),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); make the audit again") from error


BESIDE = "audit.json"
"""File in the folder of a run that says what an audit of it found."""


def _numbers(plain: Any) -> Numbers | None:
    return None if plain is None else Numbers(**plain)


class _Noted(TypedDict):
    folder: str
    suspects: int
    expected: float
    precision: Numbers | None
    first: Numbers | None


def note_audit(run: Path, folder: Path, audit: Audit) -> None:
    """Note in the folder of a run what an audit found, for its report.

    Args:
        run: Output folder of the run.
        folder: Folder of the audit.
        audit: The audit.
    """
    expected = sum(suspect.confidence for suspect in audit.suspects)
    noted: _Noted = {
        "folder": str(full_path(folder)),
        "suspects": len(audit.suspects),
        "expected": round(expected, 1),
        "precision": audit.precision,
        "first": audit.first,
    }
    write_json(run / BESIDE, noted)


def noted_audit(run: Path, mean: float) -> dict[str, Any] | None:
    """Return what an audit of a run found, as plain values; None where it was another ranking or other
    labels.

    Args:
        run: Output folder of the run.
        mean: The run's mAP.

    Raises:
        ArtifactError: The note is damaged.
    """
    if not (run / BESIDE).exists():
        return None
    found: dict[str, Any] = read_json(run / BESIDE, _Noted)
    try:
        known = Numbers(**found["precision"])
    except TypeError as error:
        raise ArtifactError(f"{run / BESIDE}: damaged ({error}); make the audit again") from error
    return found if abs(known.as_is - mean) < 1e-9 else None


def suspect_from(plain: Mapping[str, Any]) -> Suspect:
    """Return a suspect from plain values.

    Raises:
        KeyError, ValueError: A value is missing or none of those that there are.
    """
    if plain["kind"] not in KINDS or plain.get("relation", "") not in get_args(Relation):
        raise ValueError(f"there is no suspect {plain['kind']} {plain.get('relation', '')}")
    if not plain["photos"]:
        raise ValueError("a suspect without photos")
    return Suspect(
        kind=plain["kind"],
        photos=tuple(map(str, plain["photos"])),
        object=str(plain["object"]),
        confidence=float(plain["confidence"]),
        other=str(plain.get("other", "")),
        relation=plain.get("relation", ""),
        evidence={str(k): float(v) for k, v in plain.get("evidence", {}).items()},
        roles=tuple(tuple((str(o), str(r)) for o, r in each) for each in plain.get("roles", ())),
        map_change=float(plain.get("map_change", 0)),
        first_change=float(plain.get("first_change", 0)),
        boxes=tuple(tuple(map(float, box)) for box in plain.get("boxes", ())),
        matches=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in plain.get("matches", ())),
        words={str(k): tuple(map(str, v)) for k, v in plain.get("words", {}).items()},
    )


def unsettled(suspects: Sequence[Suspect], settled: Iterable[str]) -> list[Suspect]:
    """Return the suspects that nobody has settled, by key."""
    known = set(settled)
    return [suspect for suspect in suspects if suspect.key not in known]
