"""Content of a folder before it is judged: photos, texts and tars, and everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ilion.datasets.names import bad_characters, difference, loose
from ilion.datasets.spans import Span
from ilion.images import EXTENSIONS
from ilion.opening import full_path, kind_of, read_text
from ilion.types import Box, FileSource, NoSource, RetrievalDataset, Source, Value

ENCODING: ContextVar[str] = ContextVar("encoding of texts", default="")
"""Encoding of all texts of the data set that is being listed; "" finds it for each. Layouts from outside make
their listings without knowing of it."""

Severity = Literal["error", "warning", "info"]
Role = Literal["query", "positive", "ignored"]

_WITHOUT_DECODER = (".jxl",)
IMAGE_SUFFIXES = frozenset((*_WITHOUT_DECODER, *(s for endings in EXTENSIONS.values() for s in endings)))
"""Endings that promise an image, with those for which there is no decoder: no photo vanishes unsaid."""

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z", ".rar")
"""Endings of archives that cannot be streamed."""
NO_POSITIVE = "no-positive"
"""Kind of the problem that nothing shows an object."""
_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth knowing.

    Args:
        severity: ``error`` (the set cannot be used, or its results would be wrong), ``warning`` or ``info``.
        kind: Short name, the same for all problems of this kind.
        file: Place, as a path below the data set (with ``:line`` for tables).
        message: Description of what was seen.
        remedy: Advice on what to do.
    """

    severity: Severity
    kind: str
    file: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class View:
    """Meaning of one photo for one object.

    Args:
        instance: Name of the object.
        role: ``query``, ``positive`` or ``ignored``.
        boxes: Boxes of the object, in pixels of the upright photo.
        scale: Object area as a fraction of the image, where a file says so.
        clutter: Number of objects on the photo, where a file says so.
        place: File and line of the boxes, for messages.
    """

    instance: str
    role: Role
    boxes: tuple[Box, ...] = ()
    scale: float | None = None
    clutter: float | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that means something for one or several objects.

    Args:
        id: Path below `Listing.base`, unless there is a source.
        views: Meaning for each of its objects.
        source: Place of its bytes; None where the id says it.
    """

    id: str
    views: tuple[View, ...]
    source: Source | None = None

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All boxes, of all objects."""
        return tuple(dict.fromkeys(box for view in self.views for box in view.boxes))

    @property
    def is_query(self) -> bool:
        """Whether it is a query of some object."""
        return any(view.role == "query" for view in self.views)


@dataclass(frozen=True, slots=True)
class Description:
    """A text query."""

    id: str
    instance: str
    text: str


@dataclass(frozen=True, slots=True)
class LooseFolder:
    """Distractors that lie as files in one folder.

    Args:
        base: The folder.
        prefix: Beginning of the ids, before the name: "" or ``something/``.
        names: Sorted paths below ``base``, with ``/``.
    """

    base: Path
    prefix: str
    names: tuple[str, ...]


@dataclass
class Listing(Value):
    """Everything in a data set folder, before it is judged.

    Args:
        root: Folder of the data set.
        base: Folder that photo ids are relative to.
        home: Folder of the objects, for messages.
        photos: Queries, positives and ignored photos, by id.
        descriptions: Text queries, by id.
        tars: Tars of distractors, by file name.
        loose: Distractors that are files.
        distractor_ids: File that lists distractors of which only the ids are known.
        labels: Axis -> instance -> label.
        declared: Objects that have a folder or a table row, with photos or not.
        introduced: Object -> day on which it was introduced, where a table says so.
        dates: Id of a photo -> day on which it was taken, where a table says so.
        dated_prefixes: Beginning of ids -> the same for all of these photos.
        problems: Problems of names, tables and folders.
        layout: Name of the layout; the reader fills it in.
        encoding: Name of the encoding of all texts; "" finds it for each.
        complete: Whether the photos are there, and not only their ids.
        dataset: The data set as its layout made it; None where the layout listed it.
    """

    root: Path
    base: Path
    home: Path
    photos: list[Photo] = field(default_factory=list)
    descriptions: list[Description] = field(default_factory=list)
    tars: list[Path] = field(default_factory=list)
    loose: list[LooseFolder] = field(default_factory=list)
    distractor_ids: Path | None = None
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    introduced: dict[str, Span] = field(default_factory=dict)
    dates: dict[str, Span] = field(default_factory=dict)
    dated_prefixes: dict[str, Span] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    layout: str = ""
    encoding: str = field(default_factory=lambda: ENCODING.get())
    complete: bool = True
    dataset: RetrievalDataset | None = None

    def error(self, kind: str, file: Path | str, message: str, remedy: str) -> None:
        """Note what makes the set unusable or its results wrong; a path is shown as `shown_path` does."""
        self._add("error", kind, file, message, remedy)

    def warn(self, kind: str, file: Path | str, message: str, remedy: str) -> None:
        """Note what a person should look at."""
        self._add("warning", kind, file, message, remedy)

    def inform(self, kind: str, file: Path | str, message: str, remedy: str) -> None:
        """Note what is worth knowing."""
        self._add("info", kind, file, message, remedy)

    def _add(self, severity: Severity, kind: str, file: Path | str, message: str, remedy: str) -> None:
        shown = shown_path(file, self.root) if isinstance(file, Path) else file
        self.problems.append(Problem(severity, kind, shown, message, remedy))

    def source(self, photo: Photo) -> Source:
        """Return where the bytes of a photo are."""
        if photo.source is not None:
            return photo.source
        return FileSource(self.base / photo.id) if self.complete else NoSource(photo.id)

    @property
    def instances(self) -> tuple[str, ...]:
        """All objects, sorted."""
        named = {view.instance for photo in self.photos for view in photo.views}
        return tuple(sorted(self.declared | named | {text.instance for text in self.descriptions}))


def shown_path(path: Path, root: Path) -> str:
    """Return a path as a message shows it: relative to the data set if it lies below it.

    >>> shown_path(Path("/set/objects/a.jpg"), Path("/set")), shown_path(Path("/b.jpg"), Path("/set"))
    ('objects/a.jpg', '/b.jpg')
    """
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def is_image_name(name: str) -> bool:
    """Return whether a file name promises an image.

    >>> is_image_name("IMG_1.JPG"), is_image_name("notes.txt")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Return whether a name belongs to the system and not to the user (``.DS_Store``, ``Thumbs.db`` ...).

    >>> is_hidden("._IMG_1.jpg"), is_hidden("Thumbs.db"), is_hidden("IMG_1.jpg")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def scan(folder: Path, listing: Listing, skip: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the files below a folder in sorted order, as paths with ``/``; what cannot be used is noted.

    Links may point anywhere below the folder, but not out of it: a shared data set must not reach other
    people's files. Links to folders are not followed. The folder may itself be a link.

    Args:
        folder: Folder to look through, at any depth.
        listing: Listing that takes the problems.
        skip: Names directly in the folder that are passed over.
    """
    yield from _scan(folder, full_path(folder), "", listing, skip)


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without those of the system.

    A folder that cannot be read gives none; `scan` says so.
    """
    try:
        return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not is_hidden(e.name))
    except OSError:
        return []


def _scan(folder: Path, base: Path, prefix: str, listing: Listing, skip: frozenset[str]) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        message = f"the folder cannot be read ({error.strerror})"
        listing.error("unreadable-folder", folder, message, "check its permissions")
        return
    for entry in entries:
        path = folder / entry.name
        if entry.name in skip:
            continue
        if is_hidden(entry.name):
            listing.inform("hidden-file", path, "is a system file", "nothing to do; it is left out")
        elif bad := bad_characters(entry.name):
            shown = path.with_name("".join(ascii(c)[1:-1] if bad_characters(c) else c for c in entry.name))
            listing.error("bad-name", shown, f"the name holds {bad}", "rename it")
        elif entry.is_symlink() and not path.exists():
            listing.error("bad-link", path, "the link leads nowhere", "remove it or restore its target")
        elif entry.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(base):
            listing.error(
                "bad-link",
                path,
                "the link leads out of the data set",
                "copy the photos here; for distractors, name their folder with the option for distractors",
            )
        elif entry.is_dir():
            if entry.is_symlink():
                listing.warn("bad-link", path, "links to folders are not followed", "remove the link")
            else:
                yield from _scan(path, base, f"{prefix}{entry.name}/", listing, frozenset())
        elif not entry.is_file():
            kind = kind_of(path.stat().st_mode)
            listing.error("special-file", path, f"is {kind}, not a file", "remove it; only files are read")
        else:
            yield prefix + entry.name


def read_plain(listing: Listing, path: Path) -> str:
    """Return the text of a file in whatever encoding; a code page that was guessed is said.

    Raises:
        OSError: The file cannot be read, or is no regular file.
        UnicodeError: The file is no text.
    """
    found = read_text(path, listing.encoding)
    if found.guessed:
        note_code_page(listing, path, found.encoding)
    return found.text


def note_code_page(listing: Listing, path: Path, encoding: str) -> None:
    """Note that the encoding of a text is a guess."""
    remedy = "if letters look wrong, name the right one (dataset.encoding, --encoding), or save it as UTF-8"
    listing.warn("code-page", path, f"is not UTF-8 and was read as {encoding}", remedy)


def read_lines(listing: Listing, path: Path, kind: str, remedy: str) -> list[tuple[str, str]] | None:
    """Return place and text of each line that is not blank; None for an unreadable file, which is noted."""
    try:
        found = read_text(path, listing.encoding)
        if found.guessed:  # ids and numbers are not guessed
            remedy = "save it as UTF-8, or name its encoding (dataset.encoding, --encoding)"
            listing.error(kind, path, "cannot be read as text (is not UTF-8)", remedy)
            return None
        lines = found.text.splitlines()
    except (OSError, UnicodeError) as error:
        listing.error(kind, path, f"cannot be read as text ({error})", remedy)
        return None
    shown = shown_path(path, listing.root)
    return [(f"{shown}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def note_stray(listing: Listing, path: Path, where: str) -> None:
    """Note a file that no rule knows."""
    remedy = "remove it, or give it the right name or ending if it is a photo"
    listing.warn("stray-file", path, f"is not expected {where} and is not read", remedy)


def list_distractors(listing: Listing, folder: Path, prefix: str, used: frozenset[str] = frozenset()) -> None:
    """Add the tars and image files below a folder, at any depth, to the listing.

    Args:
        listing: Listing to add to.
        folder: Folder of distractors.
        prefix: Beginning of the ids of loose files.
        used: Ids that have another role already.
    """
    names = []
    for name in scan(folder, listing):
        if name.lower().endswith(".tar"):
            listing.tars.append(folder / name)
        elif name.lower().endswith(PACKED):
            message = "is a compressed archive, which cannot be streamed"
            remedy = "unpack it here, or pack it again as a plain .tar"
            listing.error("packed", folder / name, message, remedy)
        elif is_image_name(name):
            if prefix + name not in used:
                names.append(name)
        else:
            note_stray(listing, folder / name, "among the distractors")
    if names:
        listing.loose.append(LooseFolder(folder, prefix, tuple(names)))


def list_images(dataset: RetrievalDataset) -> Listing:
    """Return the listing of a data set that its layout made by itself; its distractors stay in its shards."""
    listing = Listing(dataset.root, dataset.root, dataset.root, complete=dataset.complete, dataset=dataset)
    listing.labels = {axis: dict(labels) for axis, labels in dataset.labels.items()}
    views: dict[str, dict[tuple[str, Role], View]] = {}
    sources: dict[str, Source] = {}

    def add(image_id: str, view: View) -> None:
        views.setdefault(image_id, {})[view.instance, view.role] = view

    values = [dataset.attributes.get(axis, {}) for axis in ("scale", "clutter")]
    for query in dataset.queries:
        if query.image is not None:
            sources[query.image.id] = query.image.source
            add(query.image.id, View(query.instance, "query", query.image.boxes))
        listing.descriptions += [Description(query.id, query.instance, query.text)] if query.text else []
        for image_id in dataset.positives[query.id]:
            scale, clutter = (axis.get(image_id) for axis in values)
            add(image_id, View(query.instance, "positive", (), scale, clutter))
        for image_id in dataset.ignored.get(query.id, ()):
            add(image_id, View(query.instance, "ignored"))
    listing.photos = [Photo(i, tuple(each.values()), sources.get(i)) for i, each in views.items()]
    return listing


def finish(listing: Listing, labelled: frozenset[str] | None = None) -> None:
    """Sort a listing and note what only the whole of it shows: clashes of ids and incomplete objects.

    Args:
        listing: The listing.
        labelled: Objects to which amendments give a positive; None without amendments. With them, an object
            that has none is no error: somebody is labelling the set.
    """
    listing.photos.sort(key=lambda photo: photo.id)
    listing.descriptions.sort(key=lambda text: text.id)
    listing.tars.sort(key=lambda tar: (tar.name, str(tar)))
    listing.loose.sort(key=lambda folder: folder.prefix)
    _note_incomplete(listing, labelled)
    _note_clashes(listing)


def _note_incomplete(listing: Listing, labelled: frozenset[str] | None) -> None:
    queried = {v.instance for p in listing.photos for v in p.views if v.role == "query"}
    queried |= {text.instance for text in listing.descriptions}
    found = {v.instance for p in listing.photos for v in p.views if v.role == "positive"}
    found |= labelled or frozenset()
    note = listing.error if labelled is None else listing.warn
    for instance in listing.instances:
        if instance not in queried:
            remedy = "add a photo of it to its query folder, or a description; or remove the object"
            listing.error("no-query", listing.home / instance, f"object {instance!r} has no query", remedy)
        if instance not in found:
            message = f"object {instance!r} has no positive"
            remedy = "add a photo that shows it among other things, or let 'ilion audit' propose some"
            note(NO_POSITIVE, listing.home / instance, message, remedy)
    if not listing.instances:
        listing.error(
            "empty", listing.home, "there is no object", "add at least one object with a query and a positive"
        )


def _note_clashes(listing: Listing) -> None:
    tars: dict[str, Path] = {}
    for tar in listing.tars:
        if tar.name in tars:
            listing.error(
                "duplicate-id",
                tar,
                f"has the same file name as {shown_path(tars[tar.name], listing.root)}, so their ids clash",
                "rename one of the two tars",
            )
        tars[tar.name] = tar
    prefixes: dict[str, Path] = {}
    for folder in listing.loose:
        if folder.prefix in prefixes and folder.base != prefixes[folder.prefix]:
            message = f"is named like {shown_path(prefixes[folder.prefix], listing.root)}, so their ids clash"
            listing.error("duplicate-id", folder.base, message, "rename one of the two folders")
        prefixes[folder.prefix] = folder.base
    files = [photo.id for photo in listing.photos] + [tar.name for tar in listing.tars]
    files.extend(folder.prefix + name for folder in listing.loose for name in folder.names)
    for first, second in _case_clashes(files):
        message = f"differs from {first} only in {difference(first, second)}"
        listing.warn("case-clash", second, message, "rename one; on other systems the two are one file")
    for first, second in _case_clashes(listing.instances):
        message = f"object {second!r} and object {first!r} differ only in {difference(first, second)}"
        listing.warn("case-clash", second, message, "use one spelling if they are one object")


def _case_clashes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    # Hashes first: the names may be millions, and almost none of them clash.
    kept = tuple(names)
    folded = np.array([hash(loose(name)) for name in kept], dtype=np.int64)
    values, counts = np.unique(folded, return_counts=True)
    first: dict[str, str] = {}
    for row in np.flatnonzero(np.isin(folded, values[counts > 1])):
        other = first.setdefault(loose(kept[row]), kept[row])
        if other != kept[row]:
            yield other, kept[row]
