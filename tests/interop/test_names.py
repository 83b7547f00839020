"""Ids of others: what is no text is refused, and forms of accents are compared."""

from __future__ import annotations

import gzip
import json
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from ilion.errors import ArtifactError
from ilion.interop.features import open_features, write_features
from ilion.interop.results import Results, align_ids, check_ids, read_results
from ilion.types import Descriptors, GroundTruth, Ranking


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def results(queries: list[str], database: list[str]) -> Results:
    ranks = np.tile(np.arange(len(database)), (len(queries), 1))
    values = np.linspace(1, 0, len(database))[None].repeat(len(queries), 0)
    counts = np.full(len(queries), len(database))
    return Results(tuple(queries), tuple(database), values, ranks, counts, True)


@pytest.mark.parametrize("bad", ["#Ud800", "a\x07b", "\ud800"])
@pytest.mark.parametrize("where", ["query", "database"])
def test_ids_of_results_that_are_no_text_are_refused(tmp_path: Path, bad: str, where: str) -> None:
    table = {bad: {"a": 1.0}} if where == "query" else {"q": {bad: 1.0}}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ArtifactError, match=rf"the {where} id '.*' holds (U\+D800|the control character)"):
        read_results(path)
    ids = (["q"], [bad]) if where == "database" else ([bad], ["d"])
    content = {"query_ids": ids[0], "db_ids": ids[1], "sims": np.ones((1, 1)), "ranks": np.zeros((1, 1), int)}
    path = tmp_path / "r.pkl"
    if bad != "\ud800":
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ArtifactError, match="holds"):
            read_results(path)


def test_ids_of_features_that_are_no_text_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "features_positives.hdf5"
    write_features(path, [Descriptors(("a", "b"), np.eye(2, dtype=np.float32))])
    for bad in ("#Ud800", "a\x07b"):
        with h5py.File(path, "r+") as file:
            file["index"][1] = bad
        with pytest.raises(ArtifactError, match=r"the id '.*' holds"):
            list(open_features(path).blocks())


def test_results_in_another_form_of_accents_are_the_same_ids() -> None:
    given = results([nfd("が/q.jpg")], [nfd("が/p.jpg"), "other"])
    found = align_ids(given, ["が/p.jpg"], ["が/q.jpg"])
    assert found.query_ids == ("が/q.jpg",)
    assert found.database_ids == ("が/p.jpg", "other")
    check_ids(found, ["が/p.jpg"], ["が/q.jpg"])
    assert align_ids(given, ["a"], ["b"]) is given


def test_results_in_other_letters_are_refused_with_both_spellings() -> None:
    given = results(["q"], ["OBJ/P 1.JPG", "OBJ/P2.JPG"])
    with pytest.raises(ArtifactError, match=r"2 are in other letters.*'OBJ/P 1.JPG'.*'obj/p 1.jpg'"):
        check_ids(given, ["obj/p 1.jpg", "obj/p2.jpg"])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_runs_of_trec_in_utf16_are_said_packed_or_not(tmp_path: Path, packed: bool, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    content = f"{mark}q Q0 a 0 0.5 x\n".encode(encoding)
    path = tmp_path / "results.gz"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ArtifactError, match=r"text in UTF-16.*store it as UTF-8"):
        read_results(path)
    for read in (Ranking.from_trec, GroundTruth.from_trec):
        with pytest.raises(ArtifactError, match=r"no such file of TREC: text in UTF-16; store it as UTF-8"):
            read(path)


@pytest.mark.parametrize("content", [b'{"q": {"a": 0.5}}', pickle.dumps({"query_ids": []}), b"q,a,0.5\n"])
def test_packed_results_of_another_form_are_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ArtifactError, match=r"packed with gzip, and no run of TREC; unpack it first"):
        read_results(path)
