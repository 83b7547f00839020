"""Names of photos and objects as people, programs and systems write them: compared, found, and refused.

A Mac stores 'が' as two characters (NFD), most other programs as one (NFC). Names are compared in NFC, and
files are opened by the name that is on the disk.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path, PurePosixPath, PureWindowsPath

from ilion.errors import DatasetError

_FOLDS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("upper and lower case", str.casefold),
    ("spaces", lambda name: "/".join(" ".join(part.split()) for part in name.split("/"))),
    ("full-width and half-width characters", lambda name: unicodedata.normalize("NFKC", name)),
)


_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of text, so that a name is shown as another one."""


def bad_characters(name: str) -> str:
    """Return what makes a text unfit as an id or a name, "" if nothing does.

    Surrogates stand for bytes that are not UTF-8, and cannot be written; control characters (a line break
    among them) would break files with one id a line.

    >>> bad_characters("赤いマグ 1.jpg"), bad_characters("a\\nb")
    ('', 'the control character U+000A')
    """
    if name.isprintable():  # many times faster, and true of nearly all
        return ""
    for character in name:
        kind = unicodedata.category(character)
        if kind == "Cs":
            return f"U+{ord(character):04X}, half of a character or a byte that is not UTF-8"
        if kind == "Cc" or character in _TURNING:
            return f"the control character U+{ord(character):04X}"
    return ""


def check_id(image_id: str, where: object) -> str:
    """Return an id as it is.

    Args:
        image_id: The id.
        where: Place for messages.

    Raises:
        DatasetError: The id is empty, or holds what cannot be written to a file with one id a line.
    """
    bad = bad_characters(image_id) if image_id else "no character"
    if bad:
        raise DatasetError(f"{where}: the id {image_id!a} holds {bad}; give the image another name")
    return image_id


def normal(name: str) -> str:
    """Return a name in the form in which names are compared (NFC).

    >>> normal("e\\u0301") == "é"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def difference(first: str, second: str) -> str:
    """Return in words how two names differ, "" if they do not or in their letters.

    >>> difference("Red mug", "red mug "), difference("ＭＵＧ", "MUG"), difference("mug", "jug")
    ('upper and lower case and spaces', 'full-width and half-width characters', '')
    """
    if first == second:
        return ""
    first, second = normal(first), normal(second)
    if first == second:
        return "how accents are stored (NFC and NFD)"
    for number in range(1, len(_FOLDS) + 1):
        for some in combinations(_FOLDS, number):
            one, other = first, second
            for _, fold in some:
                one, other = fold(one), fold(other)
            if one == other:
                return " and ".join(words for words, _ in some)
    return ""


def loose(name: str) -> str:
    """Return a name without all that `difference` has words for.

    >>> loose("ＲＥＤ  Mug ")
    'red mug'
    """
    for _, fold in reversed(_FOLDS):
        name = fold(name)
    return name


class NameIndex:
    """Finds names by what people write.

    Args:
        names: The names as they are stored.

    >>> index = NameIndex(["cafe\\u0301.jpg", "Mug.jpg"])
    >>> index.find("caf\\u00e9.jpg") == "cafe\\u0301.jpg", index.find("mug.jpg"), index.near("mug.jpg")
    (True, None, 'Mug.jpg')
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)
        self._normal: dict[str, str] = {}
        self._loose: dict[str, str] = {}
        for name in self._names:
            self._normal.setdefault(normal(name), name)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, written: str) -> str | None:
        """Return the stored name that is written so, in whatever form its accents are."""
        return written if written in self._names else self._normal.get(normal(written))

    def near(self, written: str) -> str | None:
        """Return a stored name that differs in what `difference` has words for."""
        if not self._loose:
            for name in self._names:
                self._loose.setdefault(loose(name), name)
        return self._loose.get(loose(written))


class FileFinder:
    """Finds files below a folder; a folder is listed only where a name is not there as it is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, NameIndex] = {}

    def find(self, written: str) -> str | None:
        """Return the path below the root, as it is on disk, of the file that a path with ``/`` names."""
        return self._walk(written, NameIndex.find)

    def near(self, written: str) -> str | None:
        """Return the path of a file that differs in what `difference` has words for."""
        return self._walk(written, lambda index, name: index.find(name) or index.near(name))

    def _walk(self, written: str, choose: Callable[[NameIndex, str], str | None]) -> str | None:
        parts = PurePosixPath(written).parts
        if ".." in parts or not parts:
            return None
        if os.path.isfile(self.root / written):  # unlike Path.is_file, also False for a name that is too long
            return "/".join(parts)
        found = ""
        for part in parts:
            name = choose(self._listed(found), part)
            if name is None:
                return None
            found = f"{found}/{name}" if found else name
        return found if os.path.isfile(self.root / found) else None

    def _listed(self, folder: str) -> NameIndex:
        if folder not in self._folders:
            try:
                names = sorted(os.listdir(self.root / folder))
            except OSError:
                names = []
            self._folders[folder] = NameIndex(names)
        return self._folders[folder]


def inner_path(written: str) -> str:
    """Return a relative path of any system with ``/``; "" if it leads out of its folder.

    >>> inner_path("photos\\\\a.jpg"), inner_path("./photos//a.jpg"), inner_path("C:\\\\a.jpg")
    ('photos/a.jpg', 'photos/a.jpg', '')
    """
    path = PurePosixPath(written if "\\" not in written else PureWindowsPath(written).as_posix())
    outside = path.is_absolute() or PureWindowsPath(written).drive or ".." in path.parts
    return "" if outside or not path.parts else str(path)
