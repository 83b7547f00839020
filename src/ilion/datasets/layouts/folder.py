"""Reader of the plain form: a person's own photos, sorted into folders or listed in a table.

``objects/<object>/query|positive|ignored/*``, ``distractors/**``, ``objects.csv`` (description and any
labels), ``photos.csv`` (one row per object and photo, for boxes, or for photos that are not sorted into
folders). The rows of a photo in ``photos.csv`` win over the folder that it lies in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from ilion.datasets.dates import note_span, read_span
from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.listing import (
    Description,
    Listing,
    LooseFolder,
    Photo,
    Role,
    View,
    is_image_name,
    list_distractors,
    note_stray,
    scan,
    subfolders,
)
from ilion.datasets.names import FileFinder, difference, inner_path, normal
from ilion.datasets.strays import note_role, note_root
from ilion.datasets.tables import Row, find_table, read_table
from ilion.errors import DatasetError
from ilion.opening.tables import WORKBOOKS, column_name
from ilion.types import Box

OBJECTS_FOLDER = "objects"
DISTRACTORS_FOLDER = "distractors"
OBJECTS_TABLE = "objects.csv"
PHOTOS_TABLE = "photos.csv"
BOX_COLUMNS = ("x", "y", "width", "height")
PHOTOS_COLUMNS = ("role", *BOX_COLUMNS, "clutter", "date")
ROLES: tuple[Role, ...] = get_args(Role)
ROLE_NAMES = {
    column_name(written): name
    for name, others in {
        "query": ("クエリ", "クエリー", "検索", "質問"),
        "positive": ("正例", "正解", "positives", "pos"),
        "ignored": ("無視", "除外", "ignore"),
        "distractor": ("妨害", "無関係", "ディストラクタ", "distractors"),
    }.items()
    for written in others
}
"""Other names of roles, as people write them in tables."""

_BOX_REMEDY = (
    "fill in x, y, width and height in pixels from the top left corner of the upright photo, or none of them"
)


@dataclass
class _Entry:
    """Statements of tables and folders about one photo, before they are put together."""

    roles: dict[str, Role] = field(default_factory=dict)
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    clutter: dict[str, float] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    distractor: str = ""

    def photo(self, image_id: str) -> Photo:
        """Return the finished photo."""
        views = (
            View(instance, role, tuple(self.boxes.get(instance, ())), None, self.clutter.get(instance), place)
            for (instance, role), place in zip(self.roles.items(), self.places.values(), strict=True)
        )
        return Photo(image_id, tuple(sorted(views, key=lambda view: view.instance)))


@LAYOUTS.register("folder", note="plain form")
class PlainFolder(Layout):
    """A person's own photos in folders or a table."""

    needs = f"{OBJECTS_FOLDER} or {PHOTOS_TABLE}"

    def recognises(self, folder: Path) -> bool:
        """Return whether the folder of objects or one of the tables is there."""
        stems = [name.rpartition(".")[0] for name in (PHOTOS_TABLE, OBJECTS_TABLE)]
        tables = [stem + ending for stem in stems for ending in (".csv", *WORKBOOKS)]
        return any((folder / name).exists() for name in (OBJECTS_FOLDER, *tables))

    def read(self, folder: Path) -> Listing:
        """List what the folders and tables of a data set say."""
        listing = Listing(folder, folder, folder / OBJECTS_FOLDER)
        found = _read_photos(listing)
        listed = frozenset(found)
        if (folder / OBJECTS_FOLDER).is_dir():
            _walk_objects(listing, found, listed)
        listing.photos = [entry.photo(image_id) for image_id, entry in found.items() if entry.roles]
        flat = tuple(sorted(image_id for image_id, entry in found.items() if entry.distractor))
        if flat:
            listing.loose.append(LooseFolder(folder, "", flat))
        if (folder / DISTRACTORS_FOLDER).is_dir():
            list_distractors(listing, folder / DISTRACTORS_FOLDER, f"{DISTRACTORS_FOLDER}/", listed)
        _read_objects(listing)
        _note_unlisted(listing, listed)
        stems = [name.rpartition(".")[0] for name in (PHOTOS_TABLE, OBJECTS_TABLE)]
        used = [PHOTOS_TABLE, OBJECTS_TABLE, *(stem + ending for stem in stems for ending in WORKBOOKS)]
        holds = {name.partition("/")[0] for name in listed} | {OBJECTS_FOLDER, DISTRACTORS_FOLDER}
        note_root(listing, (*used, *sorted(holds)), DISTRACTORS_FOLDER)
        return listing


def _walk_objects(listing: Listing, found: dict[str, _Entry], listed: frozenset[str]) -> None:
    base = listing.root / OBJECTS_FOLDER
    listing.declared.update(map(normal, subfolders(base)))
    for name in scan(base, listing):
        image_id = f"{OBJECTS_FOLDER}/{name}"
        if image_id in listed:
            continue
        role = _folder_role(image_id)
        if role and is_image_name(name):
            instance = normal(name.split("/")[0])
            found[image_id] = _Entry(roles={instance: role}, places={instance: image_id})
        elif role:
            note_stray(listing, base / name, "beside the photos")
        elif not (name.count("/") == 2 and note_role(listing, (base / name).parent, ROLES)):
            note_stray(listing, base / name, f"outside of <object>/{'|'.join(ROLES)}")


def _folder_role(image_id: str) -> Role | None:
    parts = image_id.split("/")
    if len(parts) != 4 or parts[0] != OBJECTS_FOLDER:
        return None
    return next((role for role in ROLES if role == parts[2]), None)


def _read_photos(listing: Listing) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    finder = FileFinder(listing.root)
    if (file := find_table(listing, PHOTOS_TABLE)) is not None:
        for row in read_table(listing, file, ("file", "object"), PHOTOS_COLUMNS):
            image_id = _locate(listing, row, finder)
            if image_id:
                _add_row(listing, row, image_id, found.setdefault(image_id, _Entry()))
                if (span := read_span(listing, row, "date")) is not None:
                    note_span(listing, row, listing.dates, normal(image_id), span)
    return found


def _locate(listing: Listing, row: Row, finder: FileFinder) -> str | None:
    """Return the id of the photo that a row names, or None after noting why there is none."""
    written = row.values.get("file", "")
    if not written or "\0" in written:
        listing.error("bad-row", row.place, "names no file", "fill in the column 'file'")
        return None
    value = inner_path(written)
    homes = [listing.root, listing.root / OBJECTS_FOLDER, listing.root / DISTRACTORS_FOLDER]
    real = os.path.realpath(listing.root / value)
    if not value or not any(Path(real).is_relative_to(os.path.realpath(home)) for home in homes):
        remedy = "copy the photo into the data set's folder, and write its path from there"
        listing.error("outside", row.place, f"file {written!r} lies outside of the data set", remedy)
        return None
    found = finder.find(value)
    if found is None:
        twin = finder.near(value)
        hint = "check the name and the folder"
        if twin is not None:
            hint = f"there is {twin!r}, which differs in {difference(value, twin)}"
        listing.error("missing-file", row.place, f"there is no file {written!r}", hint)
        return None
    if not is_image_name(found):
        listing.error("not-image", row.place, f"{written!r} is not an image file", "name a photo")
        return None
    return found


def _add_row(listing: Listing, row: Row, image_id: str, photo: _Entry) -> None:
    instance = normal(row.values.get("object", ""))
    written = column_name(row.values.get("role", ""))
    written = ROLE_NAMES.get(written, written)
    role = next((r for r in ROLES if r == written), _folder_role(image_id) if not written else None)
    if written == "distractor":
        if photo.roles or instance:
            message = f"{image_id!r} is a distractor and shows an object at the same time"
            remedy = "leave 'object' empty for a distractor, or give it the role 'ignored'"
            listing.error("bad-role", row.place, message, remedy)
        photo.distractor = row.place
        return
    if role is None:
        seen = f"role {written!r} is unknown" if written else "the role is missing"
        listing.error("bad-role", row.place, seen, f"use {', '.join(ROLES)} or distractor")
        return
    if not instance:
        listing.error("bad-row", row.place, "names no object", "fill in the column 'object'")
        return
    others = set(photo.roles.values()) | ({"distractor"} if photo.distractor else set())
    same = photo.roles.get(instance)
    if (same and same != role) or (others and ("query" in others) != (role == "query")) or photo.distractor:
        listing.error(
            "bad-role",
            row.place,
            f"{image_id!r} is {role} here and {' and '.join(sorted(others))} in an earlier row",
            "give it one role: a query must not be in the database, and a photo has one role for an object",
        )
        return
    photo.roles.setdefault(instance, role)
    photo.places.setdefault(instance, row.place)
    _add_values(listing, row, instance, photo)


def _add_values(listing: Listing, row: Row, instance: str, photo: _Entry) -> None:
    if any(row.values.get(column) for column in BOX_COLUMNS):
        try:
            box = Box(*(row.number(column) for column in BOX_COLUMNS))
            photo.boxes.setdefault(instance, []).append(box)
        except (ValueError, DatasetError):
            seen = " ".join(row.values.get(column) or "-" for column in BOX_COLUMNS)
            listing.error("bad-box", row.place, f"{seen!r} is not a box", _BOX_REMEDY)
    if row.values.get("clutter"):
        try:
            photo.clutter[instance] = row.number("clutter")
        except ValueError:
            message = f"clutter {row.values['clutter']!r} is not a number"
            remedy = "write how many objects the photo shows, or leave it empty"
            listing.error("bad-values", row.place, message, remedy)


def _read_objects(listing: Listing) -> None:
    file = find_table(listing, OBJECTS_TABLE)
    if file is None:
        return
    seen: dict[str, str] = {}
    for row in read_table(listing, file, ("object",), ()):
        instance = normal(row.values["object"])
        if not instance:
            listing.error("bad-row", row.place, "names no object", "fill in the column 'object'")
            continue
        if instance in seen:
            message = f"object {instance!r} has a row already ({seen[instance]})"
            listing.error("duplicate-id", row.place, message, "keep one row for each object")
            continue
        seen[instance] = row.place
        listing.declared.add(instance)
        text = row.values.get("description", "")
        if text:
            listing.descriptions.append(Description(f"{OBJECTS_TABLE}/{instance}", instance, text))
        elif "description" in row.values:
            message = f"object {instance!r} has no description"
            listing.inform("empty-text", row.place, message, "write one if you want to search by text")
        for axis, label in row.values.items():
            if axis == "introduced":
                if (span := read_span(listing, row, axis)) is not None:
                    listing.introduced[instance] = span
            elif axis and axis not in ("object", "description") and label:
                listing.labels.setdefault(axis, {})[instance] = label


def _note_unlisted(listing: Listing, listed: frozenset[str]) -> None:
    for name in scan(listing.root, listing, frozenset((OBJECTS_FOLDER, DISTRACTORS_FOLDER))):
        tar = "/" in name and name.lower().endswith(".tar")
        if tar:
            remedy = f"move it to {DISTRACTORS_FOLDER}/ if it holds distractors"
            listing.warn("stray-file", listing.root / name, "is not read", remedy)
        elif is_image_name(name) and name not in listed:
            message = "is a photo without a role and is not read"
            remedy = f"give it a row in {PHOTOS_TABLE}, or move it to an object or to {DISTRACTORS_FOLDER}"
            listing.warn("stray-file", listing.root / name, message, remedy)
