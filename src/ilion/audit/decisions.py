"""From what people decided about suspects to amendments of the ground truth, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ilion.audit.suspects import ANSWERS, Answer, Suspect, suspect_from
from ilion.datasets.amendments import (
    Amendment,
    Role,
    format_amendments,
    next_version,
    read_amendments,
    versions,
)
from ilion.errors import DatasetError
from ilion.opening import parse_json, read_bytes
from ilion.storage import write_bytes
from ilion.types import Value

FORMAT = 1
NOBODY = "somebody"


@dataclass(frozen=True)
class Decision(Value):
    """What a person decided about a suspect.

    Args:
        suspect: The suspect.
        answer: ``same``: it shows the object, or the objects are the same. ``different``: it does not.
            ``other``: it shows the other object instead. ``unsure``: it cannot be told. ``duplicate``: the
            photos are one. ``box``: the box is wrong.
        who: Name of the person.
        when: When, ISO 8601.
    """

    suspect: Suspect
    answer: Answer
    who: str
    when: str


@dataclass(frozen=True)
class Decisions(Value):
    """A file of decisions.

    Args:
        dataset: Folder of the data set that they are about.
        decisions: In the order in which they were taken; of several about one suspect the last one counts.
    """

    dataset: str
    decisions: tuple[Decision, ...]


def read_decisions(path: Path, who: str = "") -> Decisions:
    """Read decisions as the page saves them.

    Args:
        path: The file.
        who: Name of the reviewer, where the file has none.

    Raises:
        DatasetError: The file is not such a table, or a decision makes no sense.
    """
    try:
        plain = parse_json(read_bytes(path))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: cannot be read as decisions ({error}); save them from the page"
        ) from error
    if (
        not isinstance(plain, dict)
        or plain.get("format") != FORMAT
        or not isinstance(plain.get("decisions"), list)
    ):
        raise DatasetError(f"{path}: holds no decisions of format {FORMAT}; save them from the page")
    found: dict[str, Decision] = {}
    for number, each in enumerate(plain["decisions"], 1):
        try:
            decision = _decision(each, who)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{path}: decision {number} makes no sense ({error}); correct it") from error
        found.pop(decision.suspect.key, None)
        found[decision.suspect.key] = decision
    return Decisions(str(plain.get("dataset", "")), tuple(found.values()))


def _decision(plain: Mapping[str, Any], who: str) -> Decision:
    suspect = suspect_from(plain["suspect"])
    answer = plain["answer"]
    if answer not in ANSWERS:
        raise ValueError(f"answer {answer!r}; there are {', '.join(ANSWERS)}")
    when = str(plain.get("when", ""))
    if when:
        datetime.fromisoformat(when)
    return Decision(suspect, answer, str(plain.get("who") or who or NOBODY), when)


def amendments_of(decision: Decision, *, unsure_ignored: bool = False) -> list[Amendment]:
    """Return what a decision changes in the ground truth; at least one row, which says that somebody looked.

    Args:
        decision: The decision.
        unsure_ignored: Whether a photo about which nobody can tell is ignored from now on.
    """
    suspect, answer = decision.suspect, decision.answer
    changes = list(dict.fromkeys(_changes(suspect, answer, unsure_ignored)))
    return [
        Amendment(photo, name, role, answer, suspect.key, decision.who, decision.when)
        for photo, name, role in changes or [(suspect.photos[0], suspect.object, "")]
    ]


Change = tuple[str, str, Role]


def changes_if_true(suspect: Suspect) -> list[Change]:
    """Return what would change if a suspect is what it seems: photo, object and role."""
    seems: dict[str, Answer] = {
        "wrong-label": "other" if suspect.other else "different",
        "unlabelled": "same",
        "duplicate": "unsure" if suspect.relation == "burst" else "duplicate",
        "leak": "duplicate",
        "same-object": "same",
        "box": "box",
    }
    return list(dict.fromkeys(_changes(suspect, seems[suspect.kind], False)))


def _changes(suspect: Suspect, answer: Answer, unsure_ignored: bool) -> Iterator[Change]:
    photo, name = suspect.photos[0], suspect.object
    if answer == "unsure":
        if unsure_ignored and suspect.kind in ("wrong-label", "unlabelled"):
            yield photo, name, "ignored"
    elif suspect.kind == "wrong-label" and answer in ("different", "other"):
        yield photo, name, "none"
        if answer == "other" and suspect.other:
            yield photo, suspect.other, "positive"
    elif suspect.kind == "unlabelled" and answer == "same":
        yield photo, name, "positive"
    elif answer == "duplicate" and len(suspect.photos) > 1:
        yield from _as_duplicate(suspect)
    elif suspect.kind == "same-object" and answer == "same":
        for image, roles in zip(suspect.photos, suspect.roles, strict=False):
            own = {name for name, _ in roles}
            for other in {suspect.object, suspect.other} - own:
                yield image, other, "ignored"


def _as_duplicate(suspect: Suspect) -> Iterator[Change]:
    """Let one of two photos that are one count: what either shows, the copy counts neither way for."""
    first, second = (dict(roles) for roles in (*suspect.roles, (), ())[:2])
    for name in sorted({*first, *second}):
        roles = first.get(name), second.get(name)
        if (roles[1] == "query" and roles[0] != "query") or (roles[1] == "positive" and roles[0] is None):
            yield suspect.photos[0], name, "ignored"
        elif roles[1] != "query" and roles[0] in ("query", "positive"):
            yield suspect.photos[1], name, "ignored"


@dataclass(frozen=True)
class Applied(Value):
    """What became of decisions.

    Args:
        table: The new table of amendments; None if nothing was new.
        decided: Number of decisions.
        labels: Number of labels that they change.
        unsure: Number of suspects about which the reviewer could not tell.
    """

    table: Path | None
    decided: int
    labels: int
    unsure: int


def apply_decisions(root: Path, decisions: Iterable[Decision], *, unsure_ignored: bool = False) -> Applied:
    """Write decisions as a new table of amendments beside the old one.

    A suspect that was decided before is decided anew. The data set's own files are not touched.

    Args:
        root: Folder of the data set.
        decisions: The decisions.
        unsure_ignored: See `amendments_of`.

    Raises:
        DatasetError: The folder is no data set folder, or its table cannot be read.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: there is no such folder; name the data set with --dataset")
    taken = tuple(decisions)
    before = read_amendments(root)
    keys = {decision.suspect.key for decision in taken}
    rows = [row for decision in taken for row in amendments_of(decision, unsure_ignored=unsure_ignored)]
    kept = [row for row in before if row.suspect not in keys]
    labels, unsure = sum(bool(row.role) for row in rows), sum(d.answer == "unsure" for d in taken)
    after = (*kept, *rows)
    if after == before or not taken:
        return Applied(None, len(taken), labels, unsure)
    path = next_version(root)
    write_bytes(path, format_amendments(after))
    return Applied(path, len(taken), labels, unsure)


def undo(root: Path) -> tuple[Path, Path | None]:
    """Take the newest table of amendments back.

    Args:
        root: Folder of the data set.

    Returns:
        The file that was removed, and the one that counts now.

    Raises:
        DatasetError: There is none.
    """
    tables = versions(root)
    if not tables:
        raise DatasetError(f"{root}: has no amendments to take back")
    tables[-1].unlink()
    if len(tables) == 1 and not any(tables[-1].parent.iterdir()):
        tables[-1].parent.rmdir()
    return tables[-1], tables[-2] if len(tables) > 1 else None


def settled_keys(rows: Sequence[Amendment]) -> frozenset[str]:
    """Return the keys of the suspects that somebody has decided."""
    return frozenset(row.suspect for row in rows if row.suspect)
