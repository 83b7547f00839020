"""Reader of the layout of the ILIAS benchmark.

``ilias_core/<object>/query/*.jpg`` and ``pos/*.jpg`` with ``<photo>_bbox.txt`` beside them, ``query/T*.txt``
for text queries; distractors in ``distractors/`` or ``yfcc100m/``; all but queries and positives is optional.
"""

from __future__ import annotations

from pathlib import Path

from ilion.datasets.ids import unescape_id
from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.listing import (
    Description,
    Listing,
    Photo,
    Role,
    View,
    is_image_name,
    list_distractors,
    note_stray,
    read_lines,
    read_plain,
    scan,
    shown_path,
    subfolders,
)
from ilion.datasets.names import FileFinder, check_id, difference, loose, normal
from ilion.datasets.strays import note_role, note_root
from ilion.datasets.taxonomy import read_taxonomy
from ilion.errors import DatasetError
from ilion.types import Box
from ilion.wording import counted

CORE = "ilias_core"
DISTRACTOR_FOLDERS = ("distractors", "yfcc100m")
POSITIVE_IDS = "image_ids/positive_ids.txt"

_BOX_REMEDY = (
    "write one box a line as 'x y width height', in pixels of the upright image, from its top left corner"
)
_VALUES_REMEDY = "correct it, or remove the file: the scale then comes from the boxes"
_ROLES: dict[str, Role] = {"query": "query", "pos": "positive"}


@LAYOUTS.register("ilias", note="ILIAS layout")
class IliasLayout(Layout):
    """The layout of the ILIAS benchmark."""

    needs = CORE

    def recognises(self, folder: Path) -> bool:
        """Return whether ``ilias_core`` is there."""
        return (folder / CORE).is_dir()

    def read(self, folder: Path) -> Listing:
        """List the photos, texts and boxes of a data set."""
        listing = Listing(folder, folder / CORE, folder / CORE)
        values = read_positive_ids(listing, folder / POSITIVE_IDS)
        listing.declared.update(map(normal, subfolders(listing.base)))
        finder = FileFinder(listing.base)
        for name in scan(listing.base, listing):
            parts = name.split("/")
            if len(parts) == 3 and parts[1] in _ROLES:
                _add_file(listing, name, normal(parts[0]), _ROLES[parts[1]], values, finder)
            elif not (len(parts) == 3 and note_role(listing, (listing.base / name).parent, _ROLES)):
                note_stray(listing, listing.base / name, "outside of <object>/query and <object>/pos")
        _note_lone_boxes(listing)
        _note_unlisted(listing, values)
        for name in DISTRACTOR_FOLDERS:
            if (folder / name).is_dir():
                list_distractors(listing, folder / name, f"{name}/")
        read_taxonomy(listing)
        used = (CORE, *DISTRACTOR_FOLDERS, "image_ids", "misc", "taxonomy.json", "checksums.txt")
        note_root(listing, used, DISTRACTOR_FOLDERS[0])
        return listing


def _add_file(
    listing: Listing,
    name: str,
    instance: str,
    role: Role,
    values: dict[str, tuple[float, float]],
    finder: FileFinder,
) -> None:
    path = listing.base / name
    stem = path.name.rpartition(".")[0]
    if is_image_name(name):
        found = finder.find(f"{name.rpartition('/')[0]}/{stem}_bbox.txt")
        box_file = listing.base / found if found else path.with_name(f"{stem}_bbox.txt")
        boxes = read_boxes(listing, box_file) if found else ()
        scale, clutter = values.get(normal(name), (None, None))
        listing.photos.append(
            Photo(name, (View(instance, role, boxes, scale, clutter, shown_path(box_file, listing.root)),))
        )
    elif path.name.endswith(("_bbox.txt", "_url.txt")):
        return
    elif role == "query" and path.name.startswith("T") and path.name.endswith(".txt"):
        text = read_description(listing, path)
        if text:
            listing.descriptions.append(Description(name, instance, text))
    else:
        note_stray(listing, path, "beside the photos")


def read_description(listing: Listing, path: Path) -> str:
    """Return the text of a description file; an unusable one is noted and gives ""."""
    try:
        text = read_plain(listing, path).strip()
    except (OSError, UnicodeError) as error:
        listing.error("bad-text", path, f"cannot be read as text ({error})", "save it as UTF-8")
        return ""
    if not text:
        listing.error("empty-text", path, "the description is empty", "write one, or remove the file")
    return text


def read_boxes(listing: Listing, path: Path) -> tuple[Box, ...]:
    """Return the boxes of a file with one ``x y width height`` a line; lines that are no box are noted."""
    lines = read_lines(listing, path, "bad-box", _BOX_REMEDY)
    boxes = []
    for place, line in lines or ():
        try:
            x, y, width, height = (float(value) for value in line.split())
            boxes.append(Box(x, y, width, height))
        except (ValueError, DatasetError):
            listing.error("bad-box", place, f"{line.strip()!r} is not a box", _BOX_REMEDY)
    if lines == []:
        listing.error("bad-box", path, "holds no box", "write a box, or remove the file")
    return tuple(boxes)


def _note_lone_boxes(listing: Listing) -> None:
    expected = {view.place for photo in listing.photos for view in photo.views}
    for folder in sorted({(listing.base / photo.id).parent for photo in listing.photos}):
        for path in sorted(folder.glob("*_bbox.txt")):
            if shown_path(path, listing.root) not in expected:
                stem = path.name.removesuffix("_bbox.txt")
                photos = (p.stem for p in sorted(folder.iterdir()) if is_image_name(p.name))
                twin = next((p for p in photos if loose(p) == loose(stem)), None)
                remedy = f"add the photo {stem}.jpg, or remove the file"
                if twin is not None:
                    remedy = f"rename it: photo {twin!r} differs in {difference(stem, twin)}"
                listing.warn("lone-box", path, "is a box file without its photo", remedy)


def read_positive_ids(listing: Listing, path: Path) -> dict[str, tuple[float, float]]:
    """Return id -> (object area as a fraction, object count) from lines of ``id,scale,clutter``.

    Bad lines are noted; there may be no such file.
    """
    if not path.exists():
        return {}
    values: dict[str, tuple[float, float]] = {}
    for place, line in read_lines(listing, path, "bad-values", _VALUES_REMEDY) or ():
        try:
            written, scale, clutter = line.rsplit(",", 2)
            image_id, value = check_id(unescape_id(written.strip()), place), (float(scale), float(clutter))
            image_id = normal(image_id)
            if values.setdefault(image_id, value) != value:
                message = f"{image_id!r} has other values before"
                listing.error("bad-values", place, message, "keep one of the two lines")
        except DatasetError as error:
            listing.error("bad-ids", place, *str(error).removeprefix(f"{place}: ").split("; ", 1))
        except ValueError:
            listing.error("bad-values", place, f"{line!r} is not 'id,scale,clutter'", _VALUES_REMEDY)
    return values


def _note_unlisted(listing: Listing, values: dict[str, tuple[float, float]]) -> None:
    positives = {normal(p.id) for p in listing.photos if any(view.role == "positive" for view in p.views)}
    if not values:
        return
    if gone := sorted(values.keys() - positives):
        count = counted(len(gone), "positive that is", "positives that are")
        seen = f"lists {count} not there, such as {gone[0]!r}"
        listing.warn("positive-ids", POSITIVE_IDS, seen, "fetch them again")
    if unlisted := sorted(positives - values.keys()):
        seen = f"does not list {counted(len(unlisted), 'positive')}, such as {unlisted[0]!r}"
        remedy = "add them; until then their size comes from the boxes and their clutter is unknown"
        listing.warn("positive-ids", POSITIVE_IDS, seen, remedy)
