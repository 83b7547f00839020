"""Corrections of a data set's ground truth that lie beside it: ``amendments/0001.csv``, ``0002.csv`` ...

Each file is the whole table as it was after one set of decisions; the highest number counts, and removing it
is the undoing. Photos, folders and tables of the data set stay as they are, whatever its layout. A row says
what a photo is to an object from now on (``positive``, ``ignored`` or ``none``), or only that somebody
looked.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from ilion.datasets.names import normal
from ilion.errors import DatasetError
from ilion.opening.tables import TableError, column_name, read_cells
from ilion.types import RetrievalDataset, Value
from ilion.wording import agree, counted

FOLDER = "amendments"
_NAME = re.compile(r"(\d{4,})\.csv")
Role = Literal["positive", "ignored", "none", ""]


@dataclass(frozen=True)
class Amendment(Value):
    """One row of a table of amendments.

    Args:
        file: Id of the photo.
        object: The object; "" where no object is concerned.
        role: Role of the photo for the object: ``positive``, ``ignored``, ``none``; "" changes nothing.
        answer: Answer of the person.
        suspect: Key of the suspect that was answered.
        who: Name of the person.
        when: When, ISO 8601.
    """

    file: str
    object: str
    role: Role
    answer: str = ""
    suspect: str = ""
    who: str = ""
    when: str = ""


FOUND = "unlabelled-"
"""Beginning of the keys of suspects that are photos without label."""
_COLUMNS = tuple(field.name for field in fields(Amendment))


def versions(root: Path) -> tuple[Path, ...]:
    """Return the tables of amendments of a data set, oldest first."""
    folder = root / FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = sorted((int(match[1]), name) for name in names if (match := _NAME.fullmatch(name)))
    return tuple(folder / name for _, name in found)


def next_version(root: Path) -> Path:
    """Return the file of the next table."""
    last = versions(root)
    return root / FOLDER / f"{int(last[-1].stem) + 1 if last else 1:04d}.csv"


def read_amendments(root: Path) -> tuple[Amendment, ...]:
    """Read the table that counts; none are no amendments.

    Raises:
        DatasetError: The table cannot be read, or a row makes no sense.
    """
    tables = versions(root)
    if not tables:
        return ()
    path = tables[-1]
    remedy = "correct it, or take it back with 'ilion audit undo'"
    rows = []
    try:
        table = read_cells(path, "utf-8")
        _, cells = next(table.rows, (1, []))
        columns = [column_name(cell) for cell in cells]
        if missing := [name for name in ("file", "object", "role") if name not in columns]:
            raise DatasetError(f"{path}: has no column {missing[0]!r}; {remedy}")
        for number, cells in table.rows:
            values = {name: cell for name, cell in zip(columns, cells, strict=False) if name in _COLUMNS}
            values = {**dict.fromkeys(("file", "object", "role"), ""), **values}
            if values["role"] not in get_args(Role) or not values["file"]:
                seen = f"role {values['role']!r} of {values['file']!r}"
                raise DatasetError(f"{path}:{number}: {seen} is no amendment; {remedy}")
            rows.append(Amendment(**values))  # type: ignore[arg-type]
    except TableError as error:
        raise DatasetError(f"{path}:{error.line}: {error.seen}; {remedy}") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    return tuple(rows)


def format_amendments(rows: Iterable[Amendment]) -> bytes:
    """Return a table of amendments as it is stored."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows([getattr(row, name) for name in _COLUMNS] for row in rows)
    return out.getvalue().encode()


def amend(dataset: RetrievalDataset, rows: Sequence[Amendment], unlabelled: bool = False) -> RetrievalDataset:
    """Change the ground truth of a data set; its photos, and what is stored of them, stay.

    A query photo that is ``none`` to its object is no query any more; an object without a positive is not
    asked for.

    Args:
        dataset: The data set.
        rows: Changes; of several rows for one photo and object, the last one counts.
        unlabelled: Whether objects without a positive are asked for all the same.
    """
    wanted = {(normal(row.file), row.object): row for row in rows if row.role}
    if not wanted and (unlabelled or all(dataset.positives.values())):
        return dataset
    by_object: dict[str, dict[str, Amendment]] = {}
    for (_, name), row in wanted.items():
        by_object.setdefault(name, {})[normal(row.file)] = row
    gone = {
        query.id
        for query in dataset.queries
        if query.image is not None and _role(by_object, query.instance, query.image.id) == "none"
    }
    positives, ignored = {}, {}
    for query in dataset.queries:
        own = by_object.get(query.instance, {})
        positives[query.id] = _members(dataset.positives[query.id], own, "positive")
        if others := _members(dataset.ignored.get(query.id, ()), own, "ignored"):
            ignored[query.id] = others
    left = tuple(q for q in dataset.queries if q.id not in gone and (unlabelled or positives[q.id]))
    names = {query.instance for query in dataset.queries}
    unknown = sorted(by_object.keys() - names)
    notes = []
    if wanted:
        notes.append(
            f"{FOLDER}: {counted(len(wanted), 'label is not that', 'labels are not those')} of the data set "
            "(ilion audit undo takes them back)"
        )
    if unknown:
        notes.append(
            f"{FOLDER}: names {counted(len(unknown), 'object that is', 'objects that are')} not there, such "
            f"as {unknown[0]!r}"
        )
    if len(left) < len(dataset.queries):
        notes.append(
            f"{FOLDER}: left out, as they do not show the object or no photo is labelled with it: "
            f"{counted(len(dataset.queries) - len(left), 'query', 'queries')}"
        )
    labels = {(query.instance, normal(photo)) for query in left for photo in positives[query.id]}
    found = sum((n, f) in labels and row.suspect.startswith(FOUND) for (f, n), row in wanted.items())
    if 2 * found > len(labels):
        notes.append(
            f"{FOLDER}: {found:,} of {counted(len(labels), 'label')} {agree(found, 'was', 'were')} proposed "
            "by a search, and what it missed has none, so a search looks better here than it is"
        )
    if any(protocol.positives for protocol in dataset.protocols):
        notes.append(f"{FOLDER}: the benchmark's own protocols keep their own ground truth")
    return replace(
        dataset,
        queries=left,
        positives={query.id: positives[query.id] for query in left},
        ignored={query.id: ignored[query.id] for query in left if query.id in ignored},
        notes=(*dataset.notes, *notes),
    )


def _role(table: Mapping[str, Mapping[str, Amendment]], name: str, image_id: str) -> str:
    row = table.get(name, {}).get(normal(image_id))
    return row.role if row else ""


def _members(ids: Sequence[str], own: Mapping[str, Amendment], role: Role) -> tuple[str, ...]:
    kept = [image for image in ids if normal(image) not in own or own[normal(image)].role == role]
    there = {normal(image) for image in kept}
    added = [row.file for name, row in own.items() if row.role == role and name not in there]
    return (*kept, *sorted(added))
