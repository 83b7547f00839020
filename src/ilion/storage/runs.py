"""A finished run on disk: ``run.json`` in its output folder holds all numbers, for later comparison."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, NotRequired, TypedDict, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from ilion.errors import ArtifactError
from ilion.opening import find_misfit
from ilion.outcome import Cost, Evaluation, MissingShard, Reading, Reranking, RunResult, Skipped
from ilion.storage.files import read_json, write_head, write_json
from ilion.types import ImageRecord, NoSource, Query, RetrievalDataset

T = TypeVar("T")

FORMAT = 1
"""Format of ``run.json``."""
FILE = "run.json"
ASKED = "asked.json"
"""Queries and ground truth of a run, so that it can be looked at when its data set has gone or changed."""
THRESHOLD = "threshold.json"
"""Score below which the design of a run answers "none of these", and what was promised of it."""
_IN_ARTIFACTS = ("ranking", "inliers", "explain")
"""Fields of a result that are not written here, because artifacts hold what they are made of."""


class Environment(TypedDict):
    """What `ilion.runtime.machine.environment` found, as far as it is looked into."""

    libraries: NotRequired[Mapping[str, str]]


class Provenance(TypedDict):
    """What a run was made of, as far as it is looked into."""

    config: NotRequired[Mapping[str, Any]]
    environment: NotRequired[Environment]


class _Run(TypedDict):
    format: int
    name: str
    design: str
    evaluation: Evaluation
    cost: Cost
    skipped: list[Skipped]
    provenance: Provenance
    missing: NotRequired[list[MissingShard]]


class Threshold(TypedDict):
    """What ``threshold.json`` holds.

    ``threshold`` is None where nothing could be promised; ``promise`` is None where a person set it;
    ``design`` is the digest of the design without its threshold, ``fingerprints`` are those of the run.
    """

    format: int
    design: str
    fingerprints: Mapping[str, str]
    threshold: float | None
    promise: Mapping[str, Any] | None


class _Query(TypedDict):
    id: str
    instance: str
    text: str | None


class _Asked(TypedDict):
    name: str
    queries: list[_Query]
    positives: Mapping[str, list[str]]
    ignored: Mapping[str, list[str]]
    labels: Mapping[str, Mapping[str, str]]


def write_run(folder: Path, result: RunResult) -> None:
    """Store a run's numbers, and what was asked, in its output folder."""
    data = result.dataset
    asked = {
        "name": data.name,
        "queries": [{"id": q.id, "instance": q.instance, "text": q.text} for q in data.queries],
        "positives": data.positives,
        "ignored": data.ignored,
        "labels": data.labels,
    }
    write_json(folder / ASKED, asked)
    names = ("name", "design", "evaluation", "cost", "skipped", "missing", "provenance")
    plain = {"format": FORMAT, **{name: _to_plain(getattr(result, name)) for name in names}}
    if not result.evaluation.without_evidence:
        del plain["evaluation"]["without_evidence"]
    for name in ("reranking", "reading", "protocols"):
        if getattr(result, name):
            plain[name] = _to_plain(getattr(result, name))
    write_json(folder / FILE, plain)


def _to_plain(value: Any) -> Any:
    """Return dataclasses as dicts, tuples and arrays as lists, and NaN in arrays as None."""
    if is_dataclass(value):
        names = (field.name for field in fields(value) if field.name not in _IN_ARTIFACTS)
        return {name: _to_plain(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray):
        return [None if number != number else number for number in value.tolist()]
    if isinstance(value, Mapping):
        return {key: _to_plain(each) for key, each in value.items()}
    return [_to_plain(each) for each in value] if isinstance(value, (tuple, list)) else value


def read_run(folder: Path) -> dict[str, Any]:
    """Read ``run.json`` as plain values.

    Raises:
        ArtifactError: The folder holds no finished run, or one of another format.
    """
    if not (folder / FILE).exists():
        if (folder / "sweep.json").exists():
            raise ArtifactError(f"{folder}: is a sweep, whose page is sweep.html; name its folders")
        raise ArtifactError(f"{folder}: holds no finished run ({FILE}); run 'ilion run' first")
    plain = read_json(folder / FILE)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ArtifactError(f"{folder / FILE}: not of format {FORMAT}; run the experiment again")
    misfits = [find_misfit(plain, _Run)]
    for name, kind in (("reranking", Reranking), ("reading", Reading)):
        if name in plain:
            misfits.append(find_misfit(plain[name], kind, name, _IN_ARTIFACTS))
    if misfit := next(filter(None, misfits), ""):
        raise ArtifactError(f"{folder / FILE}: damaged ({misfit}); run the experiment again")
    return plain


def read_asked(folder: Path, root: Path) -> RetrievalDataset | None:
    """Read what a finished run asked: queries and ground truth as they were then, without any photo.

    Args:
        folder: Output folder of the run.
        root: Folder where the data set was.

    Returns:
        A data set without a database; None for a run of a version that did not store it.

    Raises:
        ArtifactError: The file is damaged.
    """
    if not (folder / ASKED).exists():
        return None
    plain: _Asked = read_json(folder / ASKED, _Asked)
    queries = []
    for q in plain["queries"]:
        image = None if q["text"] is not None else ImageRecord(q["id"], NoSource(q["id"]))
        queries.append(Query(q["id"], q["instance"], image, q["text"]))
    positives, ignored = (
        {query: tuple(ids) for query, ids in table.items()}
        for table in (plain["positives"], plain["ignored"])
    )
    return RetrievalDataset(plain["name"], root, tuple(queries), (), positives, ignored, plain["labels"])


def write_threshold(folder: Path, threshold: Threshold) -> None:
    """Store the threshold of a run, with a checksum."""
    write_head(folder / THRESHOLD, threshold, ())


def read_threshold(folder: Path) -> Threshold | None:
    """Read the threshold of a run; None where none was set.

    Raises:
        ArtifactError: The file is damaged.
    """
    path = folder / THRESHOLD
    if not path.exists():
        return None
    found: Threshold = read_json(path, Threshold)
    if found["format"] != FORMAT:
        raise ArtifactError(f"{path}: not of format {FORMAT}; set the threshold again: ilion poc threshold")
    return found


def read_evaluation(folder: Path) -> Evaluation:
    """Read the evaluation of a finished run.

    Raises:
        ArtifactError: See `read_run`.
    """
    return from_plain(Evaluation, read_run(folder)["evaluation"])


def from_plain(kind: type[T], plain: Mapping[str, Any]) -> T:
    """Build a dataclass of `ilion.outcome` from plain values in ``run.json``.

    What artifacts hold is None, or says that it is gone; see `_IN_ARTIFACTS`.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {name: None for name in names if name in _IN_ARTIFACTS}
    if kind is Reranking:
        values["explain"] = _evidence_is_gone
    return kind(**values, **{name: _build(hints[name], value) for name, value in plain.items()})


def _build(hint: Any, value: Any) -> Any:
    """Return a plain value as the type that a field of a dataclass declares."""
    kind, inner = get_origin(hint), get_args(hint)
    if value is None or kind is None:
        return from_plain(hint, value) if value is not None and is_dataclass(hint) else value  # type: ignore[arg-type]
    if kind in (Union, types.UnionType):
        return _build(inner[0], value)
    if kind is tuple:
        return tuple(_build(inner[0], each) for each in value)
    if kind is np.ndarray:
        return np.array(value, get_args(inner[1])[0])  # None becomes NaN
    return {key: _build(inner[1], each) for key, each in value.items()} if kind is Mapping else value


def _evidence_is_gone(query: int, row: int) -> NoReturn:
    raise ArtifactError("the evidence of this run is gone; run the experiment again")
