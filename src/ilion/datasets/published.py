"""What the layouts of published benchmarks share: lists of files, tables without quotes, shards, groups."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ilion.datasets.shards import FileShard
from ilion.errors import DatasetError
from ilion.opening import read_text
from ilion.types import BenchmarkProtocol, Shard
from ilion.wording import counted

SHARD = 1000
"""Images in one shard of a benchmark that lists its own files."""


def home_of(folder: Path, *names: str) -> Path | None:
    """Return the folder, or the one directly below it, that holds all of the names; None without one.

    Recipes of downloads and archives often bring a folder of the benchmark's name within the folder.
    """

    def fits(home: Path) -> bool:
        return all((home / name).exists() for name in names)

    if fits(folder):
        return folder
    try:
        inside = [child for child in folder.iterdir() if child.is_dir() and fits(child)]
    except OSError:
        return None
    return inside[0] if len(inside) == 1 else None  # with two sets in it, it is none of them


def find_first(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first of some files that a folder, or one directly below it, holds; None without one."""
    homes = ((home_of(folder, name), name) for name in names)
    return next((home / name for home, name in homes if home is not None), None)


def read_rows(path: Path) -> list[str]:
    """Return the lines of a text that are not blank.

    Raises:
        DatasetError: The file cannot be read.
    """
    try:
        return [line for line in read_text(path, "utf-8").text.splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error}); fetch it again") from error


def read_csv(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a comma-separated table with a header.

    Raises:
        DatasetError: The table cannot be read, or lacks a column.
    """
    reader = csv.DictReader(io.StringIO("\n".join(read_rows(path))))
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(f"{path}: has no column {missing[0]!r}, only {reader.fieldnames}; fetch it again")
    rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if None in row or any(row[name] is None for name in columns):
            raise DatasetError(f"{path}:{number}: has another number of values than the header")
    return rows


def file_shards(name: str, base: Path, names: Sequence[str], prefix: str = "") -> tuple[FileShard, ...]:
    """Cut a list of files into shards.

    Args:
        name: Beginning of the shards' names.
        base: Folder of the files.
        names: Paths below it, in the benchmark's order.
        prefix: Beginning of the ids, before the path.

    Raises:
        DatasetError: A path leads out of the folder.
    """
    check_inside(names, base)
    starts = range(0, len(names), SHARD)
    return tuple(
        FileShard(f"{name}_{start // SHARD:05d}", base, prefix, tuple(names[start : start + SHARD]))
        for start in starts
    )


def check_inside(names: Iterable[str], base: Path) -> None:
    """Refuse listed paths that lead out of the folder: a list from elsewhere must not reach other files.

    Raises:
        DatasetError: A path leads out; the message names it.
    """
    for name in names:
        if name.startswith(("/", "\\")) or ":" in name[:2] or ".." in name.split("/"):
            raise DatasetError(f"{base}: the listed photo {name!r} leads out of it; fetch the list again")


def check_files(base: Path, names: Iterable[str], what: str) -> None:
    """Check that listed files are there.

    Raises:
        DatasetError: Some are not, or lead out of the folder; their number and the first of them are said.
    """
    names = list(names)
    check_inside(names, base)
    missing = [name for name in names if not (base / name).is_file()]
    if missing:
        raise DatasetError(
            f"{base}: lacks {counted(len(missing), 'photo')} that {what} lists, "
            f"such as {missing[0]!r}; fetch them again"
        )


def leave_one_out(groups: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Return positives and ignored images where every photo is a query and itself left out.

    Args:
        groups: Id of a photo -> its class. Photos that are alone in their class are no queries.

    >>> leave_one_out({"a": "mug", "b": "mug", "c": "cup"})
    ({'a': ('b',), 'b': ('a',)}, {'a': ('a',), 'b': ('b',)})
    """
    members: dict[str, list[str]] = {}
    for image, group in groups.items():
        members.setdefault(group, []).append(image)
    positives = {
        image: tuple(other for other in members[group] if other != image)
        for image, group in groups.items()
        if len(members[group]) > 1
    }
    return positives, {image: (image,) for image in positives}


def metric_learning(positives: Mapping[str, tuple[str, ...]], cutoffs: Sequence[int]) -> BenchmarkProtocol:
    """Return the protocol of metric learning: R@n (is any of the first n right?), P@R and MAP@R."""
    most = max((len(found) for found in positives.values()), default=1)
    metrics = (*(f"R@{n}" for n in cutoffs), "P@R", "MAP@R")
    return BenchmarkProtocol("metric learning", "trec", max(most, *cutoffs), metrics)


def with_queries(
    shards: tuple[Shard, ...], positives: Mapping[str, tuple[str, ...]], what: str
) -> tuple[Shard, ...]:
    """Return shards, refusing a benchmark without queries or images.

    Raises:
        DatasetError: There are none.
    """
    if not positives or not shards:
        raise DatasetError(f"{what}: holds no queries with positives; fetch it again")
    return shards
