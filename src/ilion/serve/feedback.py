"""Searches that were asked and what people said of the answers: kept only where that is wanted, for a time.

They lie in a file of their own beside the index, so that they can be deleted as a whole. A search that nobody
judged is kept as long as one that somebody did; after the retention time both are gone.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ilion import storage
from ilion.errors import ArtifactError, DatasetError, ImageError
from ilion.images import probe
from ilion.opening import check_folder, writing_folder
from ilion.serve.answers import Answer
from ilion.serve.index import Index
from ilion.storage.sqlite import Connection, connect, read_json_cell
from ilion.types import Value
from ilion.wording import counted

FILE = "feedback.sqlite"
TRIAL = ".trial"
"""Folder in that of an index, with the copy on which confirmed photos are tried."""
DAY = 86_400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS searches (
    name TEXT PRIMARY KEY,
    asked REAL NOT NULL,
    photo BLOB,
    box TEXT NOT NULL,
    text TEXT NOT NULL,
    filter TEXT NOT NULL,
    design TEXT NOT NULL,
    revision INTEGER NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_time ON searches (asked);
CREATE TABLE IF NOT EXISTS verdicts (
    search TEXT NOT NULL REFERENCES searches (name) ON DELETE CASCADE,
    photo TEXT NOT NULL,
    objects TEXT NOT NULL,
    is_right INTEGER NOT NULL,
    who TEXT NOT NULL,
    said REAL NOT NULL,
    PRIMARY KEY (search, photo)
);
"""


@contextmanager
def trying(folder: Path) -> Iterator[Path]:
    """Give a place for a copy of an index to try something on; nothing stays of it, nor of a killed trial.

    Args:
        folder: Folder of the index.

    Raises:
        ArtifactError: Another process tries something, or the folder cannot be written.
    """
    place = folder / TRIAL
    with storage.locked(place):
        shutil.rmtree(place / "index", ignore_errors=True)
        try:
            yield place / "index"
        finally:
            shutil.rmtree(place / "index", ignore_errors=True)


@dataclass(frozen=True)
class Exported(Value):
    """What became of searches when a data set was made of them.

    Args:
        queries: Number of confirmed photos that became queries.
        objects: Number of objects that they show.
        photos: Number of photos of the index that became the database.
        unconfirmed: Number of searches that nobody confirmed; they are left out.
        without: Number of confirmed searches without a photo, or of an object without a name.
    """

    queries: int
    objects: int
    photos: int
    unconfirmed: int
    without: int


@dataclass(frozen=True)
class Confirmed(Value):
    """A search whose photo shows an object, as somebody said.

    Args:
        search: Name of the search.
        photo: The encoded photo that was asked with.
        box: Box as it was sent: left, top, width, height; empty without one.
        object: Name of the object.
        asked: Seconds since 1970.
    """

    search: str
    photo: bytes
    box: str
    object: str
    asked: float


class Feedback:
    """Searches and verdicts of one index. Safe to share among threads.

    Args:
        folder: Folder of the index.
        days: Days for which a search is kept.
    """

    def __init__(self, folder: Path, days: float = 90.0) -> None:
        self.path, self.days = folder / FILE, days
        self._lock = threading.Lock()
        with closing(self._open()) as connection:
            connection.executescript(_SCHEMA)
        self.path.chmod(0o600)
        self.forget(before=time.time() - days * DAY)

    def _open(self) -> Connection:
        connection = connect(self.path)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.doing = "used"
        return connection

    def keep(
        self, name: str, answer: Answer, *, photo: bytes = b"", box: str = "", text: str = "", where: str = ""
    ) -> None:
        """Keep a search, and drop those whose time is over.

        Args:
            name: Name of the search.
            answer: Answer that was given.
            photo: The encoded photo that was asked with; empty for a text.
            box: Box, as it was sent.
            text: Text.
            where: Filter.
        """
        now = time.time()
        found = [[found.id, found.score] for found in answer.photos]
        searched = answer.searched
        values = (name, now, photo or None, box, text, where, searched.design, searched.revision)
        with self._lock, closing(self._open()) as connection:
            connection.execute("DELETE FROM searches WHERE asked < ?", (now - self.days * DAY,))
            connection.execute(
                "INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, json.dumps(found)),
            )

    def judge(self, name: str, photo: str, objects: Iterable[str], right: bool, who: str) -> None:
        """Keep what somebody said of a found photo; the last word counts.

        Args:
            name: Name of the search.
            photo: Id of the photo.
            objects: Objects that it shows.
            right: Whether it shows what was searched for.
            who: Name of the person.

        Raises:
            DatasetError: The search is not kept any more.
        """
        with self._lock, closing(self._open()) as connection:
            try:
                connection.execute(
                    "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?)",
                    (name, photo, json.dumps(list(objects)), right, who, time.time()),
                )
            except ArtifactError as error:
                if not isinstance(error.__cause__, sqlite3.IntegrityError):
                    raise
                raise DatasetError(f"search {name!r} is not kept any more") from None

    def forget(self, *, before: float = float("inf"), names: Iterable[str] | None = None) -> int:
        """Delete searches with their photos and verdicts, also from the disk.

        Args:
            before: Searches asked before this time, in seconds since 1970.
            names: Only these; None takes all.

        Returns:
            Number of searches.
        """
        if (self.path.parent / TRIAL).exists():
            # a trial that was killed left a copy of confirmed photos; one that goes on deletes its own
            with suppress(ArtifactError), trying(self.path.parent):
                pass
        with self._lock, closing(self._open()) as connection:
            if names is None:
                done = connection.execute("DELETE FROM searches WHERE asked < ?", (before,)).rowcount
            else:
                done = sum(
                    connection.execute(
                        "DELETE FROM searches WHERE name = ? AND asked < ?", (name, before)
                    ).rowcount
                    for name in names
                )
            if done:
                connection.execute("VACUUM")
        return done

    def count(self) -> tuple[int, int]:
        """Return the number of searches kept, and of those that somebody judged."""
        with closing(self._open()) as connection:
            [searches] = connection.execute("SELECT count(*) FROM searches").fetchone()
            [judged] = connection.execute("SELECT count(DISTINCT search) FROM verdicts").fetchone()
        return searches, judged

    def confirmed(self) -> tuple[list[Confirmed], int, int]:
        """Return searches whose photo shows a named object, the earliest first.

        Returns:
            The searches; the number of those that nobody confirmed; and of those without a photo or a name.
        """
        with closing(self._open()) as connection:
            asked = connection.execute(
                "SELECT name, searches.photo, box, asked, max(is_right), (SELECT objects FROM verdicts AS v "
                "WHERE v.search = name AND v.is_right ORDER BY said DESC LIMIT 1) FROM searches LEFT JOIN "
                "verdicts ON search = name GROUP BY name ORDER BY asked"
            ).fetchall()
        found, unconfirmed, without = list[Confirmed](), 0, 0
        for name, photo, box, when, right, shown in asked:
            objects = read_json_cell(self.path, shown, list) if right else ()
            if not right:
                unconfirmed += 1
            elif not photo or not objects:
                without += 1
            else:
                found.append(Confirmed(name, photo, box, objects[0], when))
        return found, unconfirmed, without

    def export(self, index: Index, folder: Path) -> Exported:
        """Make a data set of confirmed searches, to be evaluated like any other.

        The photo of a confirmed search becomes a query of the object that was confirmed; all photos of the
        index become the database.

        Args:
            index: The index.
            folder: Folder of the data set; it must not be there.

        Raises:
            ConfigError: The path, or one above it, is no folder.
            DatasetError: The folder is there, or nothing was confirmed.
        """
        check_folder(folder)
        if folder.exists() and any(folder.iterdir()):
            raise DatasetError(f"{folder}: is not empty; name a new folder")
        confirmed, unconfirmed, without = self.confirmed()
        objects = {found.object for found in confirmed}
        if not confirmed:
            raise DatasetError(
                f"{self.path}: none of {counted(unconfirmed + without, 'search', 'searches')} "
                "was confirmed by a photo of a named object"
            )
        rows = ["file,object,role,x,y,width,height"]
        with writing_folder(folder) as aside:
            for number, found in enumerate(confirmed):
                file = f"queries/{number:05d}-{found.search[:8]}{_ending(found.photo)}"
                storage.write_bytes(aside / file, found.photo)
                rows.append(f"{file},{_cell(found.object)},query,{found.box or ',,,'}")
            photos = 0
            for _, source, views in index.photos():
                data = source.read()
                file = f"photos/{photos:07d}{_ending(data)}"
                storage.write_bytes(aside / file, data)
                own = sorted({view for view in views if view in objects})
                rows += [f"{file},{_cell(view)},positive,,,," for view in own] or [f"{file},,distractor,,,,"]
                photos += 1
            storage.write_bytes(aside / "photos.csv", ("\n".join(rows) + "\n").encode())
        return Exported(len(confirmed), len(objects), photos, unconfirmed, without)


def _ending(data: bytes) -> str:
    try:
        kind = probe(data).format
    except ImageError:
        return ".jpg"
    return {"jpeg": ".jpg", "tiff": ".tif", "jpeg2000": ".jp2"}.get(kind, f".{kind}")


def _cell(text: str) -> str:
    escaped = text.replace('"', '""')
    return f'"{escaped}"' if any(c in text for c in ',";\t\n') else text
