"""Labels to learn from: lines ``path,class,domain``; the pairs of class and domain are the classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ilion.datasets.names import check_id, inner_path, normal
from ilion.errors import DatasetError
from ilion.opening.tables import TableError, column_name, read_cells
from ilion.types import Int64, Value
from ilion.wording import counted

log = logging.getLogger(__name__)

HEADER = (
    ("path", "file", "ファイル", "ファイル名", "画像", "写真", "パス"),
    ("class", "クラス", "ラベル", "分類", "商品名"),
    ("domain", "ドメイン", "分野"),
)
"""Names of the columns in a heading."""


@dataclass(frozen=True)
class Labels(Value):
    """Labelled photos.

    Args:
        paths: N unique paths, relative to one folder, with ``/``.
        classes: (N,) class numbers from 0.
        domains: (N,) domain numbers from 0.
        class_names: C names, ``class`` or ``domain/class`` where there are several domains.
        domain_names: Names of the domains.

    Raises:
        DatasetError: A path occurs twice, or the lengths differ.
    """

    paths: tuple[str, ...]
    classes: Int64
    domains: Int64
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.paths) or len(self.domains) != len(self.paths):
            raise DatasetError(
                f"{counted(len(self.paths), 'path')}, {counted(len(self.classes), 'class', 'classes')} "
                f"and {counted(len(self.domains), 'domain')}"
            )
        if len(set(self.paths)) != len(self.paths):
            seen: set[str] = set()
            twice = next(path for path in self.paths if path in seen or seen.add(path))  # type: ignore[func-returns-value]
            raise DatasetError(f"the photo {twice!r} is labelled twice; one line a photo")

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Int64) -> Labels:
        """Return some of the photos, with classes and domains numbered anew."""
        return make_labels(
            [self.paths[r] for r in rows],
            [self.class_names[self.classes[r]] for r in rows],
            [self.domain_names[self.domains[r]] for r in rows],
            joined=True,
        )


def make_labels(
    paths: Sequence[str], classes: Sequence[str], domains: Sequence[str] = (), *, joined: bool = False
) -> Labels:
    """Number classes and domains in the order of their first photos.

    Args:
        paths: N paths.
        classes: N class names.
        domains: N domain names; none means one domain.
        joined: The class names hold the domain already.

    Raises:
        DatasetError: See `Labels`.

    >>> labels = make_labels(["a", "b", "c"], ["mug", "mug", "cup"], ["x", "y", "x"])
    >>> labels.class_names, labels.classes.tolist()
    (('x/mug', 'y/mug', 'x/cup'), [0, 1, 2])
    """
    domains = domains or [""] * len(paths)
    several = len(set(domains)) > 1 and not joined
    names = [f"{d}/{c}" if several else c for c, d in zip(classes, domains, strict=True)]
    numbers: dict[str, int] = {}
    of_domain: dict[str, int] = {}
    return Labels(
        tuple(paths),
        np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64),
        np.array([of_domain.setdefault(name, len(of_domain)) for name in domains], np.int64),
        tuple(numbers),
        tuple(of_domain),
    )


def load_labels(path: Path, encoding: str = "") -> Labels:
    """Read rows of ``path,class`` or ``path,class,domain``; a first row with these very words is a heading.

    Args:
        path: Table or workbook as `ilion.opening.tables` reads them.
        encoding: Name of the encoding of a text; "" finds it.

    Raises:
        DatasetError: The file is missing or empty, a row has another form, or a path leaves the folder.
        MissingExtraError: The table is a workbook, and the extra ``excel`` is not installed.
    """
    rows: list[tuple[str, str, str]] = []
    try:
        table = read_cells(path, encoding)
        if table.guessed:
            log.warning("%s: is not UTF-8 and was read as %s; if letters look wrong, name the right one with "
                        "dataset.encoding, or save it as UTF-8", path, table.encoding)  # fmt: skip
        for row, (number, cells) in enumerate(table.rows):
            if row == 0 and _is_heading(cells):
                continue
            if len(cells) not in (2, 3) or not all(cells):
                raise DatasetError(
                    f"{path}:{number}: {','.join(cells)!r} is not path,class or path,class,domain"
                )
            inside = inner_path(cells[0])
            if not inside:
                raise DatasetError(
                    f"{path}:{number}: the path {cells[0]!r} leaves the folder of the photos; write it "
                    "relative to that folder"
                )
            rows.append((check_id(inside, f"{path}:{number}"), normal(cells[1]), normal("".join(cells[2:]))))
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except TableError as error:
        raise DatasetError(f"{path}{f':{error.line}' if error.line else ''}: {error}") from error
    if not rows:
        raise DatasetError(f"{path}: holds no labelled photo")
    paths, classes, domains = zip(*rows, strict=True)
    try:
        return make_labels(paths, classes, domains)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def _is_heading(cells: Sequence[str]) -> bool:
    """Return whether cells are names of the columns, of two or three."""
    known = zip(map(column_name, cells), HEADER, strict=False)
    return 2 <= len(cells) <= len(HEADER) and all(cell in map(column_name, names) for cell, names in known)
