"""Revisited Oxford and Paris: ``gnd_*.pkl`` beside ``jpg/`` (Radenovic et al., CVPR 2018, revisitop).

The pickle holds ``imlist`` and ``qimlist`` (names without ending) and ``gnd``, for each query ``bbx`` (left,
top, right, bottom) and the indices ``easy``, ``hard`` and ``junk``. It is read as plain data; nothing in it
is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilion.datasets.layouts.base import LAYOUTS, Layout
from ilion.datasets.listing import is_image_name
from ilion.datasets.published import find_first, with_queries
from ilion.datasets.shards import IdShard, RecordShard
from ilion.errors import ArtifactError, DatasetError
from ilion.opening import open_regular
from ilion.storage import pickles
from ilion.types import (
    BenchmarkProtocol,
    Box,
    FileSource,
    ImageRecord,
    NoSource,
    Query,
    RetrievalDataset,
    Shard,
)
from ilion.wording import counted

ANNOTATIONS = ("gnd_roxford5k.pkl", "gnd_rparis6k.pkl")
KAPPAS = ("mP@1", "mP@5", "mP@10")
"""Precisions that the papers print."""
SETUPS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Name of the setup -> lists that are positive, lists that are ignored."""


@LAYOUTS.register("revisited", note="Revisited Oxford or Paris")
class Revisited(Layout):
    """The layout of revisitop. Without ``jpg``, only ids are known."""

    needs = "gnd_roxford5k.pkl or gnd_rparis6k.pkl"

    def recognises(self, folder: Path) -> bool:
        """Return whether the annotations of one of the two sets are there."""
        return find_first(folder, ANNOTATIONS) is not None

    def read(self, folder: Path) -> RetrievalDataset:
        """Read annotations and list the photos."""
        path = find_first(folder, ANNOTATIONS)
        assert path is not None
        content = read_pickle(path)
        tables = Annotations(content, path)
        images = find_images(path.parent / "jpg", [*tables.images, *tables.queries])
        lists = {
            name: {q: tables.named(found.get(name, ()), q) for q, found in tables.truth.items()}
            for name in ("easy", "hard", "junk")
        }

        def joined(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
            return {q: tuple(i for n in names for i in lists[n][q]) for q in tables.truth}

        protocols = tuple(
            BenchmarkProtocol(name, "revisited", 0, KAPPAS, joined(ok), joined(junk))
            for name, (ok, junk) in SETUPS.items()
        )
        medium = protocols[1]
        return tables.dataset(
            path.stem.removeprefix("gnd_"), images, medium.positives or {}, medium.ignored or {}, protocols
        )


class Annotations:
    """Queries and ground truth in the form that Revisited Oxford, Paris and INSTRE share.

    Args:
        content: ``imlist``, ``qimlist`` and ``gnd``.
        path: The file, for messages.
        first: Index of the first image of ``imlist`` in ``gnd``: 0, or 1 in files of MATLAB.

    Raises:
        DatasetError: The tables do not have that form.
    """

    def __init__(self, content: object, path: Path, first: int = 0) -> None:
        if not isinstance(content, dict) or not all(n in content for n in ("imlist", "qimlist", "gnd")):
            raise DatasetError(f"{path}: holds no imlist, qimlist and gnd; fetch it again")
        self.path, self.first = path, first
        self.images, self.queries = (_texts(content[name], path) for name in ("imlist", "qimlist"))
        truth = list(content["gnd"])
        if len(truth) != len(self.queries) or not all(isinstance(each, dict) for each in truth):
            raise DatasetError(
                f"{path}: has {counted(len(truth), 'entry', 'entries')} in gnd for "
                f"{counted(len(self.queries), 'query', 'queries')}"
            )
        self.truth: dict[str, dict[str, Any]] = dict(zip(self.queries, truth, strict=True))
        for what, names in (("image", self.images), ("query", self.queries)):
            if len(set(names)) != len(names):
                raise DatasetError(f"{path}: lists a {what} twice; ids must be unique")

    def named(self, indices: Any, query: str) -> tuple[str, ...]:
        """Return the ids that some indices of a query's entry mean."""
        rows = np.asarray(indices, np.float64).ravel() - self.first
        if len(rows) and not (np.equal(rows, np.rint(rows)) & (rows >= 0) & (rows < len(self.images))).all():
            raise DatasetError(
                f"{self.path}: {query!r} names image {rows.max():g} of {len(self.images)}; fetch it again"
            )
        return tuple(dict.fromkeys(self.images[row] for row in rows.astype(np.int64).tolist()))

    def boxes(self, query: str) -> tuple[Box, ...]:
        """Return the object's box of a query, given by its corners; none where there is none."""
        corners = np.asarray(self.truth[query].get("bbx", ()), np.float64).ravel()
        if not len(corners):
            return ()
        if len(corners) != 4:
            raise DatasetError(f"{self.path}: bbx of {query!r} has {counted(len(corners), 'number')}, not 4")
        left, top, right, bottom = corners.tolist()
        return (Box(left, top, right - left, bottom - top),)

    def dataset(
        self,
        name: str,
        files: Mapping[str, Path] | None,
        positives: Mapping[str, tuple[str, ...]],
        ignored: Mapping[str, tuple[str, ...]],
        protocols: tuple[BenchmarkProtocol, ...],
    ) -> RetrievalDataset:
        """Return the data set.

        Args:
            name: Shown to people.
            files: Name of an image -> its file; None where there are only names.
            positives: Query -> ids; queries without any are left out.
            ignored: Query -> ids.
            protocols: Ways of judging results.
        """

        def record(image: str, boxes: tuple[Box, ...] = ()) -> ImageRecord:
            return ImageRecord(image, NoSource(image) if files is None else FileSource(files[image]), boxes)

        asked = [query for query in self.queries if positives[query]]
        shard: Shard = IdShard("images", tuple(self.images))
        if files is not None:
            shard = RecordShard("images", tuple(map(record, self.images)))
        lost = len(self.queries) - len(asked)
        return RetrievalDataset(
            name=name,
            root=self.path.parent,
            queries=tuple(Query(q, landmark_of(q), record(q, self.boxes(q))) for q in asked),
            database=with_queries((shard,), {q: positives[q] for q in asked}, str(self.path)),
            positives={query: positives[query] for query in asked},
            ignored={query: ignored.get(query, ()) for query in asked},
            notes=(
                f"left out, as in the public evaluation: {counted(lost, 'query', 'queries')} "
                "without a positive",
            )
            * (lost > 0),
            complete=files is not None,
            protocols=protocols,
        )


def landmark_of(query: str) -> str:
    """Return the object that a query shows: its name without the number, or its folder.

    >>> landmark_of("all_souls_000013"), landmark_of("INSTRE-S1/01a_canada_book/0001.jpg")
    ('all_souls', 'INSTRE-S1/01a_canada_book')
    """
    folder = query.rpartition("/")[0]
    return folder or re.sub(r"_?\d+$", "", query) or query


def read_pickle(path: Path) -> object:
    """Read a pickle of plain data.

    Raises:
        DatasetError: The file cannot be read, or holds anything else.
    """
    try:
        with open_regular(path) as file:
            return pickles.load(file, path)
    except (OSError, ArtifactError) as error:
        raise DatasetError(f"{error}" if str(path) in str(error) else f"{path}: {error}") from error


def find_images(folder: Path, names: Sequence[str]) -> dict[str, Path] | None:
    """Return name without ending -> file, wherever it lies below the folder; None without the folder.

    Raises:
        DatasetError: Some names have no file.
    """
    if not folder.is_dir():
        return None
    files = {path.stem: path for path in sorted(folder.rglob("*")) if is_image_name(path.name)}
    missing = [name for name in names if name not in files]
    if missing:
        raise DatasetError(
            f"{folder}: lacks {counted(len(missing), 'photo')} that the annotations list, such as "
            f"{missing[0]!r}; fetch them again"
        )
    return {name: files[name] for name in names}


def _texts(values: Any, path: Path) -> list[str]:
    names = [str(v[0]) if isinstance(v, list) and len(v) == 1 else str(v) for v in list(values)]
    if not names:
        raise DatasetError(f"{path}: lists no images or no queries; fetch it again")
    return names
