from __future__ import annotations

import collections
import datetime
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.interop.results import (
    Results,
    check_ids,
    from_ranking,
    read_results,
    to_ranking,
    write_json_results,
    write_pickle_results,
)
from ilion.storage import pickles

IDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=10)  # and "#U0041"


@st.composite
def _results(draw: st.DrawFn) -> Results:
    queries = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    database = draw(st.lists(IDS | st.just("#U0041"), min_size=1, max_size=6, unique=True))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    k = draw(st.integers(1, len(database)))
    counts = draw(st.lists(st.integers(0, k), min_size=len(queries), max_size=len(queries)))
    similarities = np.full((len(queries), k), -np.inf, dtype)
    indices = np.full((len(queries), k), -1, np.int64)
    value = st.floats(-1, 1, width=32 if dtype is np.float32 else 64)
    for q, count in enumerate(counts):
        values = draw(st.lists(value, min_size=count, max_size=count))
        similarities[q, :count] = sorted(values, reverse=True)
        indices[q, :count] = draw(st.permutations(range(len(database))))[:count]
    return Results(
        tuple(queries), tuple(database), similarities, indices, np.array(counts, np.int64), complete=True
    )


def _table(results: Results) -> dict[str, list[tuple[str, float]]]:
    return {
        query: [
            (results.database_ids[row], float(value))
            for row, value in zip(results.indices[q, :n], results.similarities[q, :n], strict=True)
        ]
        for q, (query, n) in enumerate(zip(results.query_ids, results.counts, strict=True))
    }


@pytest.mark.slow
@given(_results())
def test_round_trips_lose_nothing(tmp_path_factory: pytest.TempPathFactory, results: Results) -> None:
    path = tmp_path_factory.mktemp("results") / "file"
    write_json_results(path, results)
    found = read_results(path)
    assert list(_table(found).items()) == list(_table(results).items())
    again = path.read_bytes()
    write_json_results(path, found)
    assert path.read_bytes() == again
    write_pickle_results(path, results)
    found = read_results(path)
    assert found.query_ids == results.query_ids
    assert found.database_ids == results.database_ids
    for name in ("similarities", "indices", "counts"):
        one, other = getattr(found, name), getattr(results, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_forms_as_other_programs_write_them(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_bytes(b'\xef\xbb\xbf {"q": {"b": 0.25, "a": 1, "caf#U00e9": 0.25}, "r": {}}')
    found = read_results(path)
    assert _table(found) == {"q": [("a", 1.0), ("b", 0.25), ("café", 0.25)], "r": []}
    sims, ranks = np.array([[0.5, 0.25]], np.float16), np.array([[1, 0]], np.int32)
    expected = {"q": [("b", 0.5), ("a", 0.25)]}
    for content in (
        {"query_ids": ["q"], "db_ids": ["a", "b"], "sims": sims, "ranks": ranks},
        collections.OrderedDict(query_ids=("q",), db_ids=np.array(["a", "b"]), sims=sims, ranks=ranks),
        (["q"], np.array(["a", "b"], object), sims.tolist(), ranks.tolist()),
        [np.array(["q"]), np.array([b"a", b"b"]), sims[:, ::-1][:, ::-1], np.asfortranarray(ranks)],
        {"query_ids": [np.str_("q")], "db_ids": ["a", "b"], "sims": sims.astype(">f8"), "ranks": ranks},
    ):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            data = pickle.dumps(content, protocol)
            path.write_bytes(data)
            assert _table(read_results(path)) == expected
            # numpy 1 and 2 name their modules differently
            if protocol == 2:
                path.write_bytes(data.replace(b"numpy._core", b"numpy.core"))
                assert _table(read_results(path)) == expected


def test_lists_that_are_too_short_end_with_minus_one(tmp_path: Path) -> None:
    path = tmp_path / "results.pkl"
    content: dict[str, Any] = {
        "query_ids": ["q"], "db_ids": ["a"], "sims": np.array([[0.5, -3e38]]), "ranks": np.array([[0, -1]])
    }  # fmt: skip
    path.write_bytes(pickle.dumps(content))
    assert _table(read_results(path)) == {"q": [("a", 0.5)]}
    path.write_bytes(pickle.dumps(content | {"ranks": np.array([[-1, 0]])}))
    with pytest.raises(ArtifactError, match="-1 before the end"):
        read_results(path)


class _Attack:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (_Attack(os.system, "touch {marker}"), r"posix\.system"),
        (_Attack(eval, "1"), r"builtin.*\.eval"),
        (_Attack(getattr, np.array, "__class__"), r"builtin.*\.getattr"),
        (datetime.date(2020, 1, 1), r"datetime\.date"),
        (Path("x"), "pathlib"),
        (np.datetime64("2020-01-01"), "type 'M8'"),
        (np.zeros(2, [("a", "f4")]), "type 'V4'"),
        (np.zeros(2, "c16"), "type 'c16'"),
        ({1, 2}, "set where data should be"),
        (np.ma.masked_array([1.0]), r"numpy\.ma"),
        (np.load, "numpy"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_is_refused_and_named(
    tmp_path: Path, content: object, named: str, protocol: int
) -> None:
    marker = tmp_path / "marker"
    if isinstance(content, _Attack) and content.call is os.system:
        content = _Attack(os.system, f"touch {marker}")
    if isinstance(content, set) and protocol == 2:
        named = "set"
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps({"query_ids": [content]}, protocol))
    with pytest.raises(ArtifactError, match=named) as caught:
        read_results(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_hostile_arrays_do_not_reach_numpy() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pickle.dumps(array, 4)
    assert pickles.load(io.BytesIO(data), "x").tolist() == array.tolist()
    # a shape that promises more than the content holds
    with pytest.raises(ArtifactError, match="is not filled by its content"):
        pickles.load(io.BytesIO(data.replace(b"K\x02K\x03", b"K\x7fK\x7f")), "x")
    rng = np.random.default_rng(0)
    for _ in range(500):
        mutated = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            mutated[place] = rng.integers(256)
        try:
            pickles.load(io.BytesIO(bytes(mutated)), "x")
        except ArtifactError as error:
            assert str(error).startswith("x: ")  # noqa: PT017 - either outcome is right
    for length in range(len(data)):
        with pytest.raises(ArtifactError):
            pickles.load(io.BytesIO(data[:length]), "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"q": [1]}', "it must be {database id: similarity}"),
        ('{"q": {"a": "x"}}', "not a number"),
        ('{"q": {"a": true}}', "not a number"),
        ('{"q": {"a": NaN}}', "a similarity is NaN"),
        ('{"q": {"a": 1e999}}', "is inf"),
        ('{"q": {"a": 1, "a": 2}}', "key 'a' occurs twice"),
        ('{"q": {}, "q": {}}', "key 'q' occurs twice"),
        ('{"q": {"é": 1, "#U00e9": 2}}', "the same once their ids are unescaped"),
        ('{"é": {}, "#U00e9": {}}', "the same once they are unescaped"),
    ],
)
def test_bad_json_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=message) as caught:
        read_results(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranks": np.array([[2, 0]])}, "result 1 of query 'q' is index 2 of a database of 2"),
        ({"ranks": np.array([[0, 0]])}, "has 'a' twice"),
        ({"ranks": np.array([[0.0, 1.0]])}, "ranks float64"),
        ({"ranks": np.array([0, 1])}, "must be a table"),
        ({"ranks": np.array([[0]])}, "do not fit"),
        ({"sims": [[1.0], [1.0, 2.0]]}, "different lengths"),
        ({"sims": np.array([[np.nan, 0.5]])}, "similarity of query 'q' and 'a' is nan"),
        ({"sims": np.array([["a", "b"]])}, "must be a table"),
        ({"db_ids": ["a", "a"]}, "'a' occurs twice"),
        ({"db_ids": [1, 2]}, "holds 1, which is no text"),
        ({"db_ids": "ab"}, "not a list of ids"),
        ({"query_ids": ["q", "r"]}, "do not fit"),
    ],
)
def test_bad_pickles_are_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {
        "query_ids": ["q"], "db_ids": ["a", "b"], "sims": np.array([[0.5, 0.4]]), "ranks": np.array([[0, 1]])
    }  # fmt: skip
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps(content | change))
    with pytest.raises(ArtifactError, match=message):
        read_results(path)


def test_other_contents_are_said(tmp_path: Path) -> None:
    path = tmp_path / "results"
    for content, message in (([1, 2], "holds a list"), ({"sims": 1}, "lacks query_ids, db_ids, ranks")):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ArtifactError, match=message):
            read_results(path)
    with pytest.raises(ArtifactError, match="No such file"):
        read_results(tmp_path / "none")
    path.write_text(json.dumps([1]))
    with pytest.raises(ArtifactError, match="a JSON list"):
        read_results(path)


def test_a_ranking_keeps_what_the_ground_truth_needs() -> None:
    results = Results(
        ("q",), ("a", "b", "c", "d"), np.array([[0.5, 0.25]]), np.array([[3, 1]]), np.array([2]), True
    )
    ranking = to_ranking(results, ["c", "gone"])
    assert ranking.database_ids == ("b", "c", "d")
    assert [ranking.database_ids[row] for row in ranking.indices[0]] == ["d", "b"]
    assert from_ranking(ranking).database_ids == ("b", "c", "d")
    listed = Results(("q",), ("d", "b"), np.array([[0.5, 0.25]]), np.array([[0, 1]]), np.array([2]), False)
    assert to_ranking(listed, ["gone", "c"]).database_ids == ("d", "b", "c", "gone")
    assert to_ranking(results, k=1).indices.tolist() == [[0]]


def _ranked(path: Path, sims: Any, ranks: Any, ids: Any = ("a", "b", "c")) -> Path:
    queries = [f"q{i}" for i in range(len(sims))]
    content = {"query_ids": queries, "db_ids": list(ids), "sims": np.array(sims), "ranks": np.array(ranks)}
    path.write_bytes(pickle.dumps(content))
    return path


def test_similarities_that_ascend_along_the_ranks_are_refused(tmp_path: Path) -> None:
    path = _ranked(tmp_path / "r.pkl", [[0.1, 0.4, 0.4], [0.2, 0.3, 0.9]], [[0, 1, 2], [2, 1, 0]])
    with pytest.raises(ArtifactError, match=r"ascend along ranks for 2 of 2 .*'q0': 0\.1 at rank 1, 0\.4"):
        read_results(path)


def test_a_trec_run_whose_ranks_contradict_its_similarities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.trec"
    lines = [
        f"q{q} Q0 {i} {rank} {value} t"
        for q in "ab"
        for rank, (i, value) in enumerate(zip("xyz", "124", strict=True))
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(ArtifactError, match="similarities ascend along the ranks of 2 of 2 queries"):
        read_results(path)
    # ranks that say nothing are not used, as before
    path.write_text("\n".join(line.replace(" 1 2 ", " 0 2 ").replace(" 2 4 ", " 0 4 ") for line in lines))
    assert read_results(path).similarities[0].tolist() == [4, 2, 1]


def test_json_in_ascending_order_may_be_distances(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"q": {"a": 0.1, "b": 0.4}, "r": {"b": 1, "a": 2}}')
    assert "Those of 2 ascend, as distances and ranks do" in read_results(path).notes[0]


def test_results_out_of_order_are_put_in_order_and_said(tmp_path: Path) -> None:
    path = _ranked(tmp_path / "r.pkl", [[0.9, 0.4, 0.5], [0.9, 0.3, 0.1]], [[0, 1, 2], [2, 1, 0]])
    found = read_results(path)
    assert found.indices.tolist() == [[0, 2, 1], [2, 1, 0]]
    assert len(found.notes) == 1
    assert "r.pkl: the results of 1 of 2 queries (such as 'q0')" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"query,image,similarity\nq,a,0.5\n", "a table of text"),
        (b"[1, 2]", "a JSON list"),
        (b"\x1f\x8b\x08\x00", "no such file of TREC"),
        (b"PK\x03\x04", "zip file"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_other_forms_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "results"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_results(path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (("x\\a.jpg", "x\\b.jpg"), "with / in place"),
        (("a.jpg", "b.jpg"), "without the folder"),
        (("x/a", "x/b"), "without the extension"),
        (("a", "b"), "without folder and extension"),
    ],
)
def test_ids_written_another_way_are_refused(ids: tuple[str, str], message: str) -> None:
    results = Results(("q",), ids, np.array([[0.5, 0.2]]), np.array([[0, 1]]), np.array([2]), False)
    with pytest.raises(ArtifactError, match=message):
        check_ids(results, ["x/a.jpg", "x/b.jpg", "x/c.jpg"])


def test_some_ids_written_another_way_are_counted_and_named() -> None:
    ids = ("x/a.jpg", "x/b.jpg", "x/c")
    results = Results(("q",), ids, np.array([[3, 2, 1.0]]), np.array([[0, 1, 2]]), np.array([3]), False)
    [note] = check_ids(results, ["x/a.jpg", "x/b.jpg", "x/c.jpg"])
    assert "1 of the 3 database ids" in note
    assert "without the extension: the results have 'x/c', the data set 'x/c.jpg'" in note


def test_ids_of_another_data_set_are_said() -> None:
    results = Results(
        ("q", "r"), ("q", "b"), np.array([[0.5], [1]]), np.array([[0], [1]]), np.array([1, 1]), True
    )
    [note] = check_ids(results, ["zz"], ["q", "r"])
    assert "none of the 1 database ids" in note
