"""Stored JSON is held against its form, whatever was changed in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.opening import find_misfit
from ilion.outcome import Evaluation, Interval, Reranking
from ilion.storage import Artifact, read_json, read_ranking, read_stats, write_json
from ilion.storage.artifacts import ShardHead
from ilion.storage.runs import _IN_ARTIFACTS, _to_plain, read_run
from ilion.types import Float64

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Head(TypedDict):
    ids: list[str]
    shape: tuple[int, int]
    note: NotRequired[str | None]


@dataclass(frozen=True)
class Part:
    name: Literal["a", "b"]
    values: Float64
    more: Mapping[str, Interval]
    size: float = 0.0


GOOD = {"name": "a", "values": [0.5, None, 1], "more": {"x": {"low": 0, "high": 1.5}}}


@pytest.mark.parametrize(
    ("value", "form", "misfit"),
    [
        ({"ids": [], "shape": [0, 3]}, Head, ""),
        ({"ids": [], "shape": [0, 3], "note": None, "unknown": 1}, Head, ""),  # of a later version
        ({"ids": [], "shape": [0]}, Head, "shape is [0], not 2 values"),
        ({"shape": [0, 3]}, Head, "the table lacks 'ids'"),
        ({"ids": ["a", None], "shape": [2, 3]}, Head, "ids[1] is None, not str"),
        ({"ids": ["a", "\ud800"], "shape": [2, 3]}, Head, r"ids[1] is '\ud800', not str"),
        ({"ids": "ab", "shape": [2, 3]}, Head, "ids is 'ab', not a list"),
        ({"ids": [], "shape": [True, 3]}, Head, "shape[0] is True, not int"),
        ({"ids": [], "shape": [0, 2**63]}, Head, f"shape[1] is {2**63}, not int"),
        ([], Head, "the whole is [], not a table"),
        (GOOD, Part, ""),
        ({**GOOD, "size": 3}, Part, ""),
        ({**GOOD, "name": "c"}, Part, "name is 'c', not one of ('a', 'b')"),
        ({**GOOD, "values": ["0.5"]}, Part, "values[0] is '0.5', not float"),
        ({**GOOD, "more": {"x": {"low": 0}}}, Part, "more.x lacks 'high'"),
        ({**GOOD, "other": 0}, Part, "the table has 'other', which is not known here"),
        ({**GOOD, "size": 10**400}, Part, "not float"),
        ({**GOOD, "size": True}, Part, "size is True, not float"),
    ],
)
def test_what_does_not_fit_is_named(value: object, form: object, misfit: str) -> None:
    found = find_misfit(value, form)
    assert found == misfit or (misfit and found.endswith(misfit))


@given(JSON)
def test_any_json_fits_or_is_told(value: object) -> None:
    for form in (Head, Part, list[str], dict[str, int], int | None, tuple[str, float], Any):
        assert isinstance(find_misfit(value, form), str)


@pytest.mark.slow
@given(st.lists(st.floats(allow_nan=False)), st.floats(), st.text(), st.integers(-(2**63) + 1, 2**63 - 1))
def test_what_is_written_fits(values: list[float], mean: float, name: str, k: int) -> None:
    ids = tuple(map(str, range(len(values))))
    numbers = np.array(values, np.float64)
    span = Interval(mean, mean)
    each, spans, all_values = {name: mean}, {name: span}, {name: numbers}
    whole = Evaluation(name, k, ids, ids, numbers, mean, span, each, spans, all_values, (), 0)
    assert find_misfit(json.loads(json.dumps(_to_plain(whole))), Evaluation) == ""


def test_parts_in_artifacts_are_not_asked_for() -> None:
    assert "lacks 'before'" in find_misfit({}, Reranking, without=_IN_ARTIFACTS)
    assert "explain" not in find_misfit({}, Reranking, without=_IN_ARTIFACTS)


def test_files_of_another_form_are_damaged(tmp_path: Path) -> None:
    write_json(tmp_path / "a.ids.json", {"ids": ["x"], "shape": [1, 2, 3]})
    with pytest.raises(ArtifactError, match=r"a\.ids\.json: damaged \(shape is .*run again"):
        read_json(tmp_path / "a.ids.json", ShardHead)
    write_json(tmp_path / "a.stats.json", {"images": "many"})
    with pytest.raises(ArtifactError, match=r"damaged \(the table lacks 'machine'"):
        read_stats(Artifact(tmp_path, "x", {}), "a")
    write_json(tmp_path / "ranking.json", {"query_ids": ["x"], "database_ids": {"listed": None}})
    with pytest.raises(ArtifactError, match=r"damaged \(database_ids is "):
        read_ranking(tmp_path)
    write_json(tmp_path / "run.json", {"format": 1, "name": "x"})
    with pytest.raises(ArtifactError, match=r"run\.json: damaged \(the table lacks 'cost', "):
        read_run(tmp_path)


def test_parts_of_other_queries_make_no_evaluation() -> None:
    span, one = Interval(0, 1), np.ones(1)
    with pytest.raises(ArtifactError, match="not of the same queries"):
        Evaluation("trec", 5, ("q",), ("o", "o"), one, 1.0, span, {}, {}, {}, (), 0)
    with pytest.raises(ArtifactError, match="not of the same queries and metrics"):
        Evaluation("trec", 5, ("q",), ("o",), one, 1.0, span, {"R@1": 1.0}, {}, {}, (), 0)
