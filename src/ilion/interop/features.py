"""Feature files of the ILIAS benchmark: HDF5 with ``features`` (N, D) float16 and ``index`` (N,) ids.

One file a partition: ``features_image_queries.hdf5``, ``features_text_queries.hdf5``,
``features_positives.hdf5``, ``features_uned.hdf5`` (photos that an adaptation learns from) and
``features_distractors_<number>.hdf5``. Files are read and written in blocks of rows, so memory does not grow
with them; ids are unescaped when they are read and escaped when they are written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ilion.datasets.ids import escape_id, unescape_id
from ilion.datasets.names import bad_characters
from ilion.errors import ArtifactError
from ilion.opening import MOST_BYTES, check_regular
from ilion.storage import writing
from ilion.types import Descriptors
from ilion.wording import counted

Partition = Literal["image_queries", "text_queries", "positives", "distractors", "uned"]

BLOCK = 65_536
"""Rows read at once: 128 MB of 1,024 float16 values."""
MOST_PACKED = 1100
"""Most times that values are larger than what is stored of them; deflate reaches 1,032."""
MOST_ROW = 2**18
"""Most bytes of a descriptor: 65,536 dimensions in float32."""
NORM_TOLERANCE = 0.01
"""Largest distance of a descriptor's length from one; rounding to float16 moves it by less than 0.001."""

_NAME = re.compile(
    r"features_(image_queries|text_queries|positives|uned|distractors)(?:_(\d+))?\.(?:hdf5|h5)"
)
_NEARLY = re.compile(r"\.(?:hdf5?|h5|hdf|he5)\b|^features?[_ -]", re.IGNORECASE)
"""Names that a person meant as a feature file."""
_SHOWN = 3


@dataclass(frozen=True)
class FeatureFile:
    """A checked feature file, not read yet.

    Args:
        path: The file.
        partition: Kind of its rows.
        number: Number in the name of a file of distractors; else 0.
        rows: Number of rows N.
        dim: Dimensions D.
        dtype: Type of the values: ``float16`` or ``float32``.
    """

    path: Path
    partition: Partition
    number: int
    rows: int
    dim: int
    dtype: str

    def blocks(self, start: int = 0, stop: int | None = None, size: int = BLOCK) -> Iterator[Descriptors]:
        """Yield rows in order, at most ``size`` at once, values bit by bit as they are stored.

        Args:
            start: First row.
            stop: Row after the last one; None reads all.
            size: Most rows held in memory.

        Raises:
            ArtifactError: The file is damaged, an id is no text, or a value is not finite.
        """
        stop = self.rows if stop is None else min(stop, self.rows)
        with _open(self.path) as file:
            for name in ("features", "index"):
                _refuse_outside(file, name, self.path)
                _refuse_storage(file[name], name, self.path)
            for first in range(start, stop, size):
                last = min(first + size, stop)
                with _translate_errors(self.path):
                    values = np.asarray(file["features"][first:last])
                    ids = tuple(_decode_id(i, self.path) for i in file["index"][first:last])
                _check_finite(self.path, ids, values)
                yield Descriptors(ids, values)


def partition_of(path: Path) -> tuple[Partition, int] | None:
    """Return the partition and number that a file name means, or None for another name.

    >>> partition_of(Path("features_distractors_00012.hdf5")), partition_of(Path("notes.hdf5"))
    (('distractors', 12), None)
    """
    match = _NAME.fullmatch(path.name)
    if match is None or (match[1] == "distractors") != (match[2] is not None):
        return None
    for partition in get_args(Partition):
        if partition == match[1]:
            return partition, int(match[2] or 0)
    return None


def open_features(path: Path, partition: Partition | None = None) -> FeatureFile:
    """Check the form of a feature file without reading its rows.

    Args:
        path: The file.
        partition: Kind of its rows; None takes the one in its name.

    Raises:
        ArtifactError: The file is missing, not HDF5, lacks a dataset, or its datasets do not fit together.
    """
    named = partition_of(path)
    if partition is None and named is None:
        raise ArtifactError(
            f"{path}: the name does not say what the rows are; name it features_<partition>.hdf5 with one of "
            f"{', '.join(get_args(Partition))} (distractors with a number: features_distractors_00000.hdf5)"
        )
    with _open(path) as file:
        parts = {}
        for name in ("features", "index"):
            _refuse_outside(file, name, path)
            if not isinstance(file.get(name), _h5py().Dataset):
                seen = ", ".join(sorted(file)) or "nothing"
                raise ArtifactError(f"{path}: has no dataset {name!r} (it has {seen}); it is no feature file")
            parts[name] = file[name]
            _refuse_storage(file[name], name, path)
        features, index = parts["features"], parts["index"]
        if features.ndim != 2 or features.dtype not in (np.float16, np.float32) or not features.shape[1]:
            raise ArtifactError(
                f"{path}: features is {features.shape} {features.dtype}; it must be (N, D) float16 or float32"
            )
        if index.shape != features.shape[:1]:
            raise ArtifactError(
                f"{path}: index has shape {index.shape} for {features.shape[0]} rows of features; "
                "the file was cut off or written wrongly"
            )
        if _h5py().check_string_dtype(index.dtype) is None:
            raise ArtifactError(f"{path}: index holds {index.dtype}, not strings")
        _check_cost(parts, path)
        shape, dtype = features.shape, features.dtype.name
    kind, number = named or (partition or "positives", 0)
    return FeatureFile(path, partition or kind, number, int(shape[0]), int(shape[1]), dtype)


def find_features(paths: Iterable[Path], notes: list[str] | None = None) -> list[FeatureFile]:
    """Open feature files, and those in folders, in order: queries, positives, distractors by number, others.

    Args:
        paths: Files and folders.
        notes: Receives a sentence on the files that were passed over.

    Raises:
        ArtifactError: See `open_features`; also if there is none, if two are of one partition and number, or
            if dimensions or types differ.
    """
    found: list[FeatureFile] = []
    for path in paths:
        inside = _list_folder(path, notes) if path.is_dir() else [path]
        if not inside:
            raise ArtifactError(f"{path}: holds no file named features_<partition>.hdf5")
        found += [open_features(p) for p in inside]
    order = {partition: number for number, partition in enumerate(get_args(Partition))}
    found.sort(key=lambda f: (order[f.partition], f.number, str(f.path)))
    for one, other in pairwise(found):
        if (one.partition, one.number) == (other.partition, other.number):
            raise ArtifactError(f"{one.path} and {other.path} are both {one.path.name}; give one of them")
    for other in found[1:]:
        if other.dim != found[0].dim:
            raise ArtifactError(
                f"{other.path} has {counted(other.dim, 'dimension')}, {found[0].path} has {found[0].dim}; "
                "both must come from the same model"
            )
    return found


def _list_folder(folder: Path, notes: list[str] | None) -> list[Path]:
    """Return the feature files of a folder; whatever else lies there is refused or noted.

    Raises:
        ArtifactError: A file is nearly named like a feature file: leaving it out would change the numbers.
    """
    files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    others = [p for p in files if not partition_of(p)]
    near = [p for p in others if p.is_file() and _NEARLY.search(p.name)]
    below = [p for p in others if p.is_dir() and any(partition_of(inner) for inner in p.iterdir())]
    if below:
        raise ArtifactError(
            f"{below[0]}: holds feature files, and folders within a folder are not read; name it too "
            f"(ilion import features {folder} {below[0]}), or move it elsewhere"
        )
    if near:
        raise ArtifactError(
            f"{near[0]}: seems to be a feature file ({len(near)} such in the folder), but its name is none: "
            "name it features_<partition>.hdf5 in small letters, and distractors with a number "
            "(features_distractors_00000.hdf5), or move it elsewhere"
        )
    if others and notes is not None:
        names = ", ".join(p.name for p in others[:_SHOWN])
        count = counted(len(others), "other file or folder was", "other files or folders were")
        notes.append(f"{folder.name}: {count} not read ({names})")
    return [p for p in files if partition_of(p)]


def find_gaps(files: Iterable[FeatureFile]) -> list[int]:
    """Return the numbers that are missing between the files of distractors, which count by an even step.

    >>> find_gaps([FeatureFile(Path("f"), "distractors", n, 1, 1, "float16") for n in (0, 10, 30)])
    [20]
    """
    numbers = sorted(f.number for f in files if f.partition == "distractors")
    steps = [b - a for a, b in pairwise(numbers)]
    if not steps:
        return []
    return sorted(set(range(numbers[0], numbers[-1], min(steps))).difference(numbers))


def write_features(path: Path, blocks: Iterable[Descriptors], dtype: str | None = "float16") -> int:
    """Write a feature file in one pass over blocks; equal blocks give equal datasets.

    Args:
        path: The file; written aside and renamed.
        blocks: Rows in order; all of the same dimensions.
        dtype: Stored type; None keeps that of the first block. The benchmark's own files are float16.

    Returns:
        Number of rows.

    Raises:
        ArtifactError: There is no block, dimensions differ, an id cannot be written, a value does not fit
            into ``dtype``, or the file cannot be written.
    """
    h5py = _h5py()
    rows = 0
    with _new_file(path) as file:
        features: Any = None
        index: Any = None
        for block in blocks:
            if features is None:
                dim, kept = block.dim, np.dtype(dtype or block.values.dtype)
                chunk = (max(1, min(4096, 2**18 // (dim * kept.itemsize))), dim)
                features = file.create_dataset("features", (0, dim), kept, maxshape=(None, dim), chunks=chunk)
                index = file.create_dataset(
                    "index", (0,), h5py.string_dtype("utf-8"), maxshape=(None,), chunks=(chunk[0],)
                )
            if block.dim != features.shape[1]:
                raise ArtifactError(
                    f"{path}: {block.ids[0]!r} has {counted(block.dim, 'dimension')}, "
                    f"those before {features.shape[1]}"
                )
            with np.errstate(over="ignore"):
                values = block.values.astype(features.dtype)
            _check_finite(path, block.ids, values)
            for dataset in (features, index):
                dataset.resize(rows + len(values), axis=0)
            features[rows:] = values
            index[rows:] = [_escape(i, path) for i in block.ids]
            rows += len(values)
        if features is None:
            raise ArtifactError(f"{path}: there is nothing to write")
    return rows


class _Remembering:
    """A file that keeps its first error to itself: HDF5 crashes the process where closing fails."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        given = getattr(self.file, name)
        return partial(self._try, given) if name in ("write", "truncate", "flush") else given

    def _try(self, call: Callable[..., Any], *arguments: Any) -> Any:
        if self.error is None:
            try:
                return call(*arguments)
            except OSError as error:
                self.error = error
        return len(arguments[0]) if arguments and isinstance(arguments[0], (bytes, memoryview)) else None


@contextmanager
def _new_file(path: Path) -> Iterator[Any]:
    # HDF5 seeks while it writes, so it gets the file that `writing` opened, not a path
    with writing(path) as target:
        remembering = _Remembering(target)
        try:
            with _h5py().File(remembering, "w") as file:
                yield file
        finally:
            if remembering.error is not None:
                raise remembering.error


def check_lengths(path: Path, block: Descriptors) -> None:
    """Refuse descriptors that are not L2-normalised: similarities are inner products.

    Raises:
        ArtifactError: A length is further from one than `NORM_TOLERANCE`.
    """
    values = block.values.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))
    bad = np.flatnonzero(np.abs(lengths - 1) > NORM_TOLERANCE)
    if bad.size:
        raise ArtifactError(
            f"{path}: the descriptor of {block.ids[bad[0]]!r} has length {lengths[bad[0]]:.4g} and not 1 "
            f"({counted(bad.size, 'such row')} from there on); ask for "
            "normalising (--normalise) if that is meant"
        )


def normalise_rows(path: Path, block: Descriptors) -> Descriptors:
    """Return L2-normalised descriptors of the same type.

    Raises:
        ArtifactError: A descriptor is all zeros.

    >>> normalise_rows(Path("f"), Descriptors(("a",), np.array([[3, 4]], np.float32))).values
    array([[0.6, 0.8]], dtype=float32)
    """
    values = block.values.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))
    if not lengths.all():
        empty = block.ids[int(np.flatnonzero(lengths == 0)[0])]
        raise ArtifactError(f"{path}: the descriptor of {empty!r} is all zeros; extract it again")
    return Descriptors(block.ids, (values / lengths[:, None]).astype(block.values.dtype))


def _h5py() -> Any:
    import h5py

    return h5py


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged HDF5 file into one that names it."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); fetch or write it again") from error


def _open(path: Path) -> Any:
    if not path.exists():
        raise ArtifactError(f"{path}: there is no such file")
    try:
        check_regular(path)
        return _h5py().File(path, "r")
    except OSError as error:
        raise ArtifactError(f"{path}: no readable HDF5 file ({error}); fetch or write it again") from error


def _refuse_outside(file: Any, name: str, path: Path) -> None:
    """Refuse a dataset that stands in another place than its name: it may lie in another file."""
    with _translate_errors(path):
        link = file.get(name, getlink=True, default=None)
    if link is not None and not isinstance(link, _h5py().HardLink):
        raise ArtifactError(
            f"{path}: {name!r} is a link to another place or file ({type(link).__name__}), which is not "
            "followed; write its values into the file itself"
        )


def _refuse_storage(dataset: Any, name: str, path: Path) -> None:
    """Refuse a dataset whose values lie in other files."""
    if dataset.external or dataset.is_virtual:
        how = "external storage" if dataset.external else "a virtual data set"
        raise ArtifactError(
            f"{path}: the values of {name!r} lie in other files ({how}), which are not read; write them into "
            "the file itself"
        )


def _check_cost(parts: Mapping[str, Any], path: Path) -> None:
    """Refuse what takes far more memory than its file: few bytes can state any number of values."""
    for name, dataset in parts.items():
        stored, stated = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
        if stated > MOST_PACKED * stored:
            raise ArtifactError(
                f"{path}: {name} has {dataset.shape} values in {stored} bytes: they were never written, or "
                "are packed beyond reason; write the file again"
            )
        row = dataset.dtype.itemsize * (dataset.shape[1] if dataset.ndim > 1 else 1)
        chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
        if row > MOST_ROW or chunk > MOST_BYTES:
            raise ArtifactError(
                f"{path}: {name} has rows of {row} bytes, read {chunk} at once; at most {MOST_ROW} and "
                f"{MOST_BYTES} are read"
            )


def _decode_id(stored: object, path: Path) -> str:
    if isinstance(stored, bytes):
        try:
            stored = stored.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{path}: the id {error.object!r} is not UTF-8 text") from None
    image_id = unescape_id(str(stored))
    if bad := bad_characters(image_id):
        raise ArtifactError(f"{path}: the id {image_id!a} holds {bad}; give the image another name")
    return image_id


def _escape(image_id: str, path: Path) -> str:
    if bad := bad_characters(image_id):
        raise ArtifactError(f"{path}: the id {image_id!a} holds {bad}; give the image another name")
    return escape_id(image_id)


def _check_finite(path: Path, ids: tuple[str, ...], values: NDArray[np.floating[Any]]) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise ArtifactError(
            f"{path}: the descriptor of {ids[bad[0]]!r} (and of {bad.size - 1} more near it) has NaN or "
            "infinity; extract them again"
        )
