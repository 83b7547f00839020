"""Result files of others: JSON ``{query: {database id: similarity}}`` or a pickle, as the ILIAS benchmark has
them, and runs of TREC.

The pickle holds ``query_ids``, ``db_ids``, ``sims`` (Q, K) and ``ranks`` (Q, K), which are indices into
``db_ids``. Letters: Q queries, K results, N database images.
"""

from __future__ import annotations

import json
import pickle
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ilion.datasets.ids import escape_id, unescape_id
from ilion.datasets.names import NameIndex, bad_characters, loose
from ilion.errors import ArtifactError
from ilion.opening import open_regular, parse_json, read_bytes
from ilion.storage import pickles, writing
from ilion.storage.foreign import describe_foreign
from ilion.storage.ids import IdList, Ids, find_duplicate
from ilion.types import Int64, Ranking, Value
from ilion.wording import counted

KEYS = ("query_ids", "db_ids", "sims", "ranks")
"""Parts of the pickle, in this order where they have no names."""


@dataclass(frozen=True)
class Results(Value):
    """Content of a result file, in its own order and precision.

    Args:
        query_ids: Q unique ids.
        database_ids: N unique ids: all of the database (pickle), or those that occur (JSON).
        similarities: (Q, K) float32 or float64; -inf beyond ``counts``.
        indices: (Q, K) int64 into ``database_ids``; -1 beyond ``counts``.
        counts: (Q,) int64, number of results that each query really has.
        complete: Whether ``database_ids`` are all of the database.
        notes: Remarks for the reader of the file, one sentence each.

    Raises:
        ArtifactError: A promise above does not hold.
    """

    query_ids: tuple[str, ...]
    database_ids: Ids
    similarities: NDArray[np.floating[Any]]
    indices: Int64
    counts: Int64
    complete: bool
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        q, n = len(self.query_ids), len(self.database_ids)
        shape = self.indices.shape
        if len(shape) != 2 or shape[0] != q or self.similarities.shape != shape or self.counts.shape != (q,):
            raise ArtifactError(
                f"results of {counted(q, 'query', 'queries')}: similarities "
                f"{self.similarities.shape} and ranks {shape} do not fit"
            )
        for what, ids in (("query", self.query_ids), ("database", self.database_ids)):
            own = isinstance(ids, IdList)  # a list that was stored here, of very many
            odd = None if own else next((i for i in ids if bad_characters(i)), None)
            if odd is not None:
                seen = bad_characters(odd)
                raise ArtifactError(f"the {what} id {odd!a} holds {seen}; give the image another name")
            twice = find_duplicate(ids)
            if twice is not None:
                raise ArtifactError(f"the {what} id {twice!r} occurs twice; ids must be unique")
        kept = np.arange(shape[1]) < self.counts[:, None]
        bad = np.argwhere(kept & ((self.indices < 0) | (self.indices >= n)))
        if bad.size:
            row, column = bad[0]
            raise ArtifactError(
                f"result {column + 1} of query {self.query_ids[row]!r} is index "
                f"{self.indices[row, column]} of a database of {n}"
            )
        bad = np.argwhere(kept & ~np.isfinite(self.similarities))
        if bad.size:
            row, column = bad[0]
            raise ArtifactError(
                f"the similarity of query {self.query_ids[row]!r} and "
                f"{self.database_ids[self.indices[row, column]]!r} is {self.similarities[row, column]}"
            )
        ordered = np.sort(np.where(kept, self.indices, -1 - np.arange(shape[1])), axis=1)
        repeated = np.argwhere(ordered[:, 1:] == ordered[:, :-1])
        if repeated.size:
            row, column = repeated[0]
            raise ArtifactError(
                f"query {self.query_ids[row]!r} has {self.database_ids[ordered[row, column]]!r} twice"
            )


def read_results(path: Path) -> Results:
    """Read a result file of any form; nothing in it is executed.

    Results of a query that are not in order of similarity are put in order, which is said; ties stay as they
    stand. A pickle whose similarities mostly ascend along its ranks contradicts itself.

    Args:
        path: JSON, a pickle of arrays, lists, tuples, dicts, texts and numbers, or a run of TREC (also gzip).

    Raises:
        ArtifactError: The file is missing or damaged, names anything else, or its parts do not fit together.
    """
    try:
        with open_regular(path) as file:
            first = file.read(512)
            start = first.lstrip(b"\xef\xbb\xbf \t\r\n")
            file.seek(0)
            if start.startswith(b"{"):
                return _sort_descending(_from_json(read_bytes(path), path), path)
            packed = first.startswith(b"\x1f\x8b")
            if packed and (inside := _unpack(first)) and not _is_trec(inside):
                held = describe_foreign(inside)
                raise ArtifactError(
                    f"{path}: packed with gzip, and holds {held}"
                    if held
                    else f"{path}: packed with gzip, and no run of TREC; unpack it first (gunzip)"
                )
            if packed or _is_trec(start):
                return replace(from_ranking(Ranking.from_trec(path)), complete=False)
            seen = describe_foreign(first) or _describe_table(start)
            if seen:
                raise ArtifactError(
                    f"{path}: {seen}; results are JSON {{query: {{database id: similarity}}}}, a run of TREC "
                    f"or a pickle of {', '.join(KEYS)}"
                )
            results = _from_pickle(pickles.load(file, path), path)
            _refuse_ascending(results, path)
            return _sort_descending(results, path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ArtifactError as error:
        raise error if str(path) in str(error) else ArtifactError(f"{path}: {error}") from error


def _unpack(start: bytes) -> bytes:
    """Return the beginning of what a gzip file holds, given its own; nothing where it is damaged."""
    try:
        return zlib.decompressobj(31).decompress(start, 512).lstrip(b"\xef\xbb\xbf \t\r\n")
    except zlib.error:
        return b""


def write_json_results(path: Path, results: Results) -> None:
    """Write ``{query: {database id: similarity}}``, ids escaped, similarities exact, best first.

    Args:
        path: The file; written aside and renamed.
        results: The results; float32 values are written as the doubles that they are.
    """
    with writing(path) as file:
        for q, query in enumerate(results.query_ids):
            count = int(results.counts[q])
            rows, values = results.indices[q, :count].tolist(), results.similarities[q, :count].tolist()
            found = {escape_id(results.database_ids[r]): value for r, value in zip(rows, values, strict=True)}
            text = f"{json.dumps(escape_id(query))}: {json.dumps(found)}"
            file.write((("{" if not q else ",\n") + text).encode())
        file.write(b"}" if results.query_ids else b"{}")


def write_pickle_results(path: Path, results: Results) -> None:
    """Write the pickle form: a dict of two lists of escaped ids and two arrays.

    Args:
        path: The file; written aside and renamed.
        results: The results; where a query has fewer than K, -inf and -1 fill the rest.
    """
    content = {
        "query_ids": [escape_id(i) for i in results.query_ids],
        "db_ids": [escape_id(i) for i in results.database_ids],
        "sims": np.ascontiguousarray(results.similarities),
        "ranks": np.ascontiguousarray(results.indices),
    }
    with writing(path) as file:
        pickle.dump(content, file, protocol=4)


def from_ranking(ranking: Ranking) -> Results:
    """Return a ranking as results; the database is every id of the ranking."""
    ids = ranking.database_ids
    kept = ids if isinstance(ids, IdList) else tuple(ids)
    return Results(
        ranking.query_ids, kept, ranking.similarities, ranking.indices, ranking.counts, complete=True
    )


def to_ranking(results: Results, wanted: Iterable[str] = (), k: int | None = None) -> Ranking:
    """Return results as a ranking whose database is as small as it can be.

    Args:
        results: The results.
        wanted: Ids that the ground truth names. They are part of the database although no query found them,
            unless the file lists the whole database and they are not in it.
        k: Results kept for a query; None keeps all.

    Returns:
        The ranking; rows are in the order of the file, then those that only ``wanted`` names.

    >>> results = Results(("q",), ("a", "b", "c"), np.array([[0.5]]), np.array([[1]]), np.array([1]), True)
    >>> to_ranking(results, ["c", "gone"]).database_ids
    ('b', 'c')
    """
    indices, counts = results.indices[:, :k], np.minimum(results.counts, k or results.indices.shape[1])
    found = np.unique(indices[indices >= 0])
    names = set(wanted)
    also = [row for row, name in enumerate(results.database_ids) if name in names] if names else []
    rows = np.union1d(found, np.array(also, np.int64)).astype(np.int64)
    ids = [results.database_ids[row] for row in rows]
    if not results.complete:
        ids += sorted(names.difference(results.database_ids))
    placed = np.where(indices >= 0, np.searchsorted(rows, indices), -1).astype(np.int64)
    with np.errstate(over="ignore"):
        similarities = results.similarities[:, :k].astype(np.float32)
    return Ranking(results.query_ids, tuple(ids), placed, similarities, counts.astype(np.int64))


def tie_groups(results: Results, k: int | None = None) -> NDArray[np.float32]:
    """Return (Q, K) values that descend and tie exactly where the similarities of the file do.

    Two doubles may differ and yet be one float32; an evaluation that counts ties must not take them for one.

    >>> values = np.array([[0.5, 0.5 - 1e-12, 0.25, 0.25]])
    >>> tie_groups(Results(("q",), tuple("abcd"), values, np.arange(4)[None], np.array([4]), True))
    array([[ 0., -1., -2., -2.]], dtype=float32)
    """
    values = results.similarities[:, :k]
    new = np.zeros(values.shape, np.int64)
    new[:, 1:] = values[:, 1:] != values[:, :-1]
    groups = 0.0 - np.cumsum(new, axis=1)
    return np.where(results.indices[:, :k] >= 0, groups, -np.inf).astype(np.float32)


def _is_trec(start: bytes) -> bool:
    """Tell whether a text begins like a run of TREC: query Q0 id rank score tag."""
    fields = start.partition(b"\n")[0].split()
    return len(fields) == 6 and fields[1] in (b"Q0", b"q0", b"0")


def _describe_table(start: bytes) -> str:
    """Return what a text of another form is, or "" for what is no text."""
    line = start.splitlines()[0] if start else b""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    if not text.replace("\t", " ").isprintable():
        return ""
    if text.startswith("["):
        return "a JSON list, not a table of queries"
    if "," in text or ";" in text or "\t" in text:
        return f"a table of text (CSV), whose first line is {text[:60]!r}"
    return ""


def _refuse_ascending(results: Results, path: Path) -> None:
    """Refuse similarities that grow along the ranks: they are distances, or the ranks are upside down."""
    ascending, values = _find_ascending(results), results.similarities
    if len(ascending):
        q = int(ascending[0])
        last = int(results.counts[q]) - 1
        raise ArtifactError(
            f"{path}: sims ascend along ranks for {len(ascending)} of "
            f"{counted(len(values), 'query', 'queries')} (query {results.query_ids[q]!r}: {values[q, 0]:.4g} "
            f"at rank 1, {values[q, last]:.4g} at rank {last + 1}), as distances do; similarities must be "
            "higher for what is better: store negative distances, or turn the ranks around"
        )


def _find_ascending(results: Results) -> Int64:
    """Return the queries whose similarities grow in the order of the file, if most do."""
    kept = results.indices >= 0
    both = kept[:, 1:] & kept[:, :-1]
    with np.errstate(invalid="ignore"):
        steps = np.where(both, np.diff(results.similarities, axis=1), 0)
    differ, fall = (steps != 0).any(axis=1), (steps < 0).any(axis=1)
    ascending = np.flatnonzero(differ & ~fall)
    return ascending if len(ascending) * 2 > int(differ.sum()) else ascending[:0]


def align_ids(results: Results, wanted: Iterable[str], queries: Iterable[str]) -> Results:
    """Return results with ids as the data set has them, where only the form of accents differs (NFC and NFD).

    Args:
        results: The results.
        wanted: Ids of the database that the ground truth names.
        queries: Ids of the data set's queries.

    >>> results = Results(("e\u0301",), ("a",), np.array([[0.5]]), np.array([[0]]), np.array([1]), True)
    >>> align_ids(results, ["a"], ["\u00e9"]).query_ids == ("\u00e9",)
    True
    """
    changed: dict[str, Any] = {}
    parts = {"database_ids": (results.database_ids, wanted), "query_ids": (results.query_ids, queries)}
    for part, (ids, names) in parts.items():
        index = NameIndex(name for name in names if not name.isascii())
        if len(index):
            changed[part] = tuple(i if i.isascii() else index.find(i) or i for i in ids)
    return replace(results, **changed) if changed else results


_RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("with / in place of \\", lambda name: name.replace("\\", "/")),
    ("without the folder", lambda name: name.replace("\\", "/").rpartition("/")[2]),
    ("without the extension", lambda name: str(PurePosixPath(name).with_suffix("")) if name else name),
    ("in other letters (upper and lower case, width, spaces)", loose),
    ("without folder and extension", lambda name: PurePosixPath(name.replace("\\", "/")).stem),
)
"""Ways in which the ids of others differ from those of a data set."""


def check_ids(results: Results, wanted: Iterable[str], queries: Iterable[str] = ()) -> list[str]:
    """Compare the ids of results with those that the ground truth names.

    Args:
        results: The results.
        wanted: Ids of the database that the ground truth names.
        queries: Ids of the data set's queries.

    Returns:
        What is suspicious about them, one sentence each.

    Raises:
        ArtifactError: Hardly any id is known, but many are by another way of writing them.
    """
    notes: list[str] = []
    for what, ids, names in (
        ("database", results.database_ids, set(wanted)),
        ("query", results.query_ids, set(queries)),
    ):
        if not names or not len(ids):
            continue
        here = set(ids)
        exact = len(here & names)
        lacking, unknown = names - here, here - names
        nearly: tuple[int, str] = (0, "")
        for rule, change in _RULES:
            there = {change(name): name for name in names}
            alike = {key: name for name in here if (key := change(name)) in there}
            if len(alike) > 2 * exact:
                key = min(alike)
                raise ArtifactError(
                    f"{exact} of the {len(names)} {what} ids of the ground truth are among the results, but "
                    f"{len(alike)} are {rule}: the results have {alike[key]!r}, the data set {there[key]!r}; "
                    "write the ids as the data set has them"
                )
            there = {change(name): name for name in lacking}
            odd = {key: name for name in unknown if (key := change(name)) in there}
            if len(odd) > nearly[0]:
                key = min(odd)
                nearly = len(odd), f"{rule}: the results have {odd[key]!r}, the data set {there[key]!r}"
        if nearly[0]:
            notes.append(
                f"{nearly[0]} of the {len(names)} {what} ids of the ground truth are among the results only "
                f"{nearly[1]}; they count as not found"
            )
        elif not exact:
            notes.append(
                f"none of the {len(names)} {what} ids of the ground truth (such as {min(names)!r}) is among "
                f"those of the results (such as {ids[0]!r}): are these results of another data set?"
            )
    return notes


def _sort_descending(results: Results, path: Path) -> Results:
    values = results.similarities
    if values.shape[1] < 2 or not (values[:, 1:] > values[:, :-1]).any():
        return results
    wrong = np.flatnonzero((values[:, 1:] > values[:, :-1]).any(axis=1))
    note = (
        f"{path.name}: the results of {len(wrong):,} of {counted(len(values), 'query', 'queries')} (such as "
        f"{results.query_ids[int(wrong[0])]!r}) were not in order of similarity; they were put in order"
    )
    if len(ascending := _find_ascending(results)):
        note += (
            f". Those of {len(ascending)} ascend, as distances and ranks do: if that is what they are, the "
            "order is upside down now; store their negatives"
        )
    order = np.argsort(-values, axis=1, kind="stable")
    take = np.take_along_axis
    return replace(
        results,
        similarities=take(values, order, 1),
        indices=take(results.indices, order, 1),
        notes=(*results.notes, note),
    )


def _from_json(data: bytes, path: Path) -> Results:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ArtifactError(
                f"the key {find_duplicate([key for key, _ in pairs])!r} occurs twice in one table"
            )
        return found

    def refuse(name: str) -> NoReturn:
        raise ArtifactError(f"a similarity is {name}; it must be a finite number")

    try:
        content = parse_json(data, object_pairs_hook=unique, parse_constant=refuse)
    except ValueError as error:
        raise ArtifactError(f"{path}: not valid JSON ({error})") from error
    tables = {unescape_id(query): _similarities(query, found) for query, found in content.items()}
    if len(tables) != len(content):
        raise ArtifactError("two query ids are the same once they are unescaped")
    rows: dict[str, int] = {}
    most = max((len(table) for table in tables.values()), default=0)
    similarities = np.full((len(tables), most), -np.inf)
    indices = np.full((len(tables), most), -1, np.int64)
    for q, table in enumerate(tables.values()):
        similarities[q, : len(table)] = list(table.values())
        indices[q, : len(table)] = [rows.setdefault(name, len(rows)) for name in table]
    counts = np.array([len(table) for table in tables.values()], np.int64)
    return Results(tuple(tables), tuple(rows), similarities, indices, counts, complete=False)


def _similarities(query: str, found: object) -> Mapping[str, float]:
    if not isinstance(found, dict):
        raise ArtifactError(f"query {query!r} has {found!r:.60}; it must be {{database id: similarity}}")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ArtifactError(f"the similarity of {query!r} and {name!r} is {value!r:.60}, not a number")
    table = {unescape_id(name): float(value) for name, value in found.items()}
    if len(table) != len(found):
        raise ArtifactError(f"two results of {query!r} are the same once their ids are unescaped")
    return table


def _from_pickle(content: object, path: Path) -> Results:
    if isinstance(content, dict):
        missing = [key for key in KEYS if key not in content]
        if missing:
            seen = ", ".join(map(str, list(content)[:5])) or "nothing"
            raise ArtifactError(f"{path}: lacks {', '.join(missing)} (it has {seen}); it is no result file")
        parts = [content[key] for key in KEYS]
    elif isinstance(content, (list, tuple)) and len(content) == len(KEYS):
        parts = list(content)
    else:
        raise ArtifactError(
            f"{path}: holds a {type(content).__name__}; a result file is a dict of {', '.join(KEYS)}"
        )
    queries, database = (_ids(part, name) for part, name in zip(parts[:2], KEYS, strict=False))
    similarities, ranks = _table(parts[2], "sims"), _table(parts[3], "ranks")
    if similarities.dtype.kind != "f" or similarities.dtype == np.float16:
        similarities = similarities.astype(np.float32)
    if similarities.dtype.kind not in "f" or ranks.dtype.kind not in "iu":
        raise ArtifactError(f"{path}: sims are {similarities.dtype} and ranks {ranks.dtype}")
    indices = ranks.astype(np.int64)
    # faiss and others fill lists that are too short with -1
    inside = indices != -1
    counts = inside.sum(axis=1) if inside.ndim == 2 else np.zeros(0, np.int64)
    if inside.ndim == 2 and (inside != (np.arange(inside.shape[1]) < counts[:, None])).any():
        raise ArtifactError(f"{path}: ranks have -1 before the end of a list")
    if similarities.shape == inside.shape:
        similarities = np.where(inside, similarities, -np.inf)
    return Results(queries, database, similarities, indices, counts.astype(np.int64), complete=True)


def _ids(part: object, name: str) -> tuple[str, ...]:
    values = part.tolist() if isinstance(part, np.ndarray) else part
    if not isinstance(values, (list, tuple)):
        raise ArtifactError(f"{name} is a {type(part).__name__}, not a list of ids")
    try:
        ids = [v.decode("utf-8") if isinstance(v, bytes) else v for v in values]
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{name} holds {error.object!r:.60}, which is not UTF-8 text") from None
    odd = next((v for v in ids if not isinstance(v, str)), None)
    if odd is not None:
        raise ArtifactError(f"{name} holds {odd!r:.60}, which is no text")
    return tuple(unescape_id(str(v)) for v in ids)


def _table(part: object, name: str) -> NDArray[Any]:
    try:
        values = np.asarray(part)
    except ValueError:
        raise ArtifactError(f"{name} has rows of different lengths") from None
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ArtifactError(f"{name} is {values.shape} {values.dtype}; it must be a table (Q, K) of numbers")
    return values
