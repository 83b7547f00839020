"""i-CIR, composed queries (Psomas et al., NeurIPS 2025): ``query_files.csv`` and ``database_files.csv``.

Lines of ``image,text,instance`` without a header. A query is a photo with a text; it is searched among the
database images of its instance, of which those with the same text are right. The others are its hard
negatives: of the same object with another text, of the same text with another object, or of nearly both.
"""

from __future__ import annotations

from pathlib import Path

from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.published import file_shards, home_of, read_rows, with_queries
from ilion.errors import DatasetError
from ilion.opening import full_path
from ilion.types import BenchmarkProtocol, FileSource, ImageRecord, Query, RetrievalDataset
from ilion.wording import counted

QUERIES, DATABASE = "query_files.csv", "database_files.csv"


@LAYOUTS.register("icir", note="i-CIR, composed queries")
class Composed(Layout):
    """The layout of i-CIR: every composed query is an image query, its text alone is ``<query>#text``."""

    needs = f"{QUERIES} and {DATABASE}"

    def recognises(self, folder: Path) -> bool:
        """Return whether both lists are there."""
        return home_of(folder, QUERIES, DATABASE) is not None

    def read(self, folder: Path) -> RetrievalDataset:
        """Read both lists."""
        home = home_of(folder, QUERIES, DATABASE)
        assert home is not None
        database = _lines(home / DATABASE)
        if len({image for image, _, _ in database}) != len(database):
            raise DatasetError(f"{home / DATABASE}: lists an image twice; ids must be unique")
        right: dict[tuple[str, str], list[str]] = {}
        for image, text, instance in database:
            right.setdefault((instance, text), []).append(image)
        base = _base(home, database[0][0]) if database else home
        queries: list[Query] = []
        positives: dict[str, tuple[str, ...]] = {}
        companions: dict[str, str] = {}
        lost = 0
        for image, text, instance in _lines(home / QUERIES):
            name = f"{image}#{text}"
            found = tuple(right.get((instance, text), ()))
            if not found or name in positives:
                lost += 1
                continue
            source = ImageRecord(image, FileSource(base / image))
            queries += [Query(name, instance, source), Query(f"{name}#text", instance, text=text)]
            positives[name] = positives[f"{name}#text"] = found
            companions[name] = text
        protocols = (
            BenchmarkProtocol("macro", "revisited", average="instances"),
            BenchmarkProtocol("micro", "revisited"),
        )
        return RetrievalDataset(
            name=full_path(home).name,
            root=home,
            queries=tuple(queries),
            database=with_queries(
                file_shards("database", base, [image for image, _, _ in database]), positives, str(home)
            ),
            positives=positives,
            notes=(f"left out: {counted(lost, 'query', 'queries')} without a positive or listed twice",)
            * (lost > 0),
            protocols=protocols,
            companions=companions,
            among={image: instance for image, _, instance in database},
        )


def _lines(path: Path) -> list[tuple[str, str, str]]:
    found = []
    for number, line in enumerate(read_rows(path), start=1):
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3:
            raise DatasetError(f"{path}:{number}: is not image,text,instance but {line!r:.80}")
        found.append((parts[0], parts[1], parts[2]))
    return found


def _base(home: Path, image: str) -> Path:
    """Return the folder that the paths start at: that of the lists, or one above it."""
    for base in (home, home.parent):
        if (base / image).is_file():
            return base
    raise DatasetError(f"{home}: {image!r} of {DATABASE} is not there; fetch the images, or unpack them here")
