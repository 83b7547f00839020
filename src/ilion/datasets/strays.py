"""What lies in a data set and is not read: named, counted, and refused where it is nearly the right name."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ilion.datasets.amendments import FOLDER, versions
from ilion.datasets.listing import PACKED, Listing, is_hidden, shown_path
from ilion.datasets.names import difference, loose
from ilion.opening.tables import WORKBOOKS
from ilion.wording import counted

BESIDE = ("dates.csv", *("dates" + ending for ending in WORKBOOKS), "amendments")
"""What may lie beside the files of any layout."""
_DOCUMENTS = ("readme", "license", "licence", "copying", "changelog", "citation")
"""Beginnings of names of what is meant for people."""


def note_root(listing: Listing, used: Collection[str], distractors: str) -> None:
    """Note what lies beside the files and folders of a data set and is not read.

    Args:
        listing: Listing that takes the problems.
        used: Names in the root that mean something.
        distractors: Name of the folder of distractors, for advice.
    """
    try:
        entries = sorted(os.scandir(listing.root), key=lambda entry: entry.name)
    except OSError:
        return
    others, used = [], (*used, *BESIDE)
    for entry in entries:
        path = listing.root / entry.name
        if entry.name in used or is_hidden(entry.name) or entry.name.lower().startswith(_DOCUMENTS):
            continue
        near = next((name for name in used if _is_nearly(entry.name, name)), None)
        if near is not None:
            if not ((listing.root / near).exists() and path.samefile(listing.root / near)):
                how = difference(entry.name, near)
                how = how or (
                    "an s" if _singular(loose(entry.name)) == _singular(loose(near)) else "its ending"
                )
                seen = f"is not read: it differs from {near!r} in {how}"
                listing.error("near-name", path, seen, f"rename it to {near}, or move it away")
        elif entry.name.lower().endswith((".tar", *PACKED)):
            listing.warn(
                "stray-file", path, "is not read", f"move it to {distractors}/ if it holds distractors"
            )
        elif entry.name.lower().endswith((".csv", ".tsv", *WORKBOOKS)):
            tables = ", ".join(name for name in used if name.endswith((".csv", ".json"))) or "none here"
            listing.warn(
                "stray-file", path, f"is not read: the tables are {tables}", "rename it, or remove it"
            )
        else:
            others.append(entry.name)
    known = {path.name for path in versions(listing.root)}
    for name in sorted(_names(listing.root / FOLDER) - known):
        if not is_hidden(name):
            remedy = "name it by four digits, such as 0001.csv, or move it away"
            listing.warn(
                "stray-file",
                listing.root / FOLDER / name,
                "is no table of amendments and is not read",
                remedy,
            )
    if others:
        shown = ", ".join(others[:5]) + (" ..." if len(others) > 5 else "")
        many = counted(len(others), "other file or folder is", "other files or folders are")
        listing.inform("not-read", ".", f"{many} not read ({shown})", "move photos to a folder that is read")


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _is_nearly(name: str, used: str) -> bool:
    """Return whether a name is meant to be another one: photos.CSV, photos.csv.txt, photo.csv ..."""
    folded, meant = loose(name).replace(" .", "."), loose(used)
    whole = "." in used and folded.rpartition(".")[0] == meant
    return whole or _singular(folded) == _singular(meant)


def _singular(name: str) -> str:
    stem, dot, ending = name.partition(".")
    return stem.removesuffix("s") + dot + ending


def note_role(listing: Listing, folder: Path, roles: Collection[str]) -> bool:
    """Note a folder whose name is nearly that of a role, as an error; return whether it is one."""
    near = next((role for role in roles if loose(folder.name) in (role, role + "s")), None)
    if near is None or folder.name in roles:
        return False
    how = difference(folder.name, near) or "an s"
    shown = shown_path(folder, listing.root)
    if not any(problem.kind == "near-name" and problem.file == shown for problem in listing.problems):
        seen = f"is not read: its name differs from {near!r} in {how}"
        listing.error("near-name", folder, seen, f"rename it to {near}, or move it away")
    return True
