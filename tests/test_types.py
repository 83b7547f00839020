"""Rankings and ground truths from dicts, arrays and files of TREC, and back."""

from __future__ import annotations

import inspect
import pkgutil
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ilion
from ilion.errors import ArtifactError
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_from_ids
from ilion.types import GroundTruth, Ranking, Value

SCORES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.dictionaries(
        st.text("xyz", min_size=1, max_size=2), st.integers(-50, 50).map(float), min_size=1, max_size=6
    ),
    max_size=4,
)


@pytest.mark.slow
@given(SCORES)
def test_a_ranking_survives_dicts_and_files(
    tmp_path_factory: pytest.TempPathFactory, scores: dict[str, dict[str, float]]
) -> None:
    ranking = Ranking.from_dict(scores)
    assert ranking.to_dict() == scores
    for found, given_ in zip(ranking.to_dict().values(), scores.values(), strict=True):
        assert list(found) == sorted(given_, key=lambda name: -given_[name])
    path = tmp_path_factory.mktemp("trec") / "run.txt"
    ranking.to_trec(str(path))
    assert Ranking.from_trec(path).to_dict() == scores
    assert list(Ranking.from_trec(path).to_dict().items()) == list(ranking.to_dict().items())


def test_the_lines_of_trec_are_those_that_others_write(tmp_path: Path) -> None:
    run, qrels = tmp_path / "run.txt", tmp_path / "qrels.txt"
    run.write_text("q1 Q0 b 2 0.25 tag\nq1 Q0 a 1 0.75 tag\n\nq2\tQ0\tc\t1\t3\ttag\n")
    qrels.write_text("q1 0 a 1\nq1 0 b 0\nq1 0 x -1\nq2 0 gone 2\n")
    ranking, truth = Ranking.from_trec(run), GroundTruth.from_trec(str(qrels))
    assert ranking.to_dict() == {"q1": {"a": 0.75, "b": 0.25}, "q2": {"c": 3.0}}
    assert truth.to_dict() == {"q1": {"a": 1, "x": -1}, "q2": {"gone": 1}}
    ranking.to_trec(run)
    assert run.read_text() == "q1 Q0 a 1 0.75 ilion\nq1 Q0 b 2 0.25 ilion\nq2 Q0 c 1 3.0 ilion\n"
    truth.to_trec(qrels)
    assert qrels.read_text() == "q1 0 a 1\nq1 0 x -1\nq2 0 gone 1\n"


def test_files_of_trec_may_be_packed(tmp_path: Path) -> None:
    ranking, truth = Ranking.from_dict({"q": {"a": 1.0, "b": 0.5}}), GroundTruth.from_dict({"q": ["a"]})
    ranking.to_trec(tmp_path / "run.gz")
    truth.to_trec(tmp_path / "qrels.gz")
    assert (tmp_path / "run.gz").read_bytes().startswith(b"\x1f\x8b")
    assert Ranking.from_trec(tmp_path / "run.gz").to_dict() == ranking.to_dict()
    assert GroundTruth.from_trec(tmp_path / "qrels.gz").to_dict() == truth.to_dict()
    (tmp_path / "cut.gz").write_bytes((tmp_path / "run.gz").read_bytes()[:-9])
    with pytest.raises(ArtifactError, match=r"cut\.gz"):
        Ranking.from_trec(tmp_path / "cut.gz")
    (tmp_path / "odd.txt").write_text("q Q0 a\x851 1 0.5 t\n", "utf-8")  # a line ends at \n only
    with pytest.raises(ArtifactError, match="not 6 fields"):
        Ranking.from_trec(tmp_path / "odd.txt")


@pytest.mark.parametrize("line", ["q Q0 a 1 0.5", "q Q0 a 1 half tag", "q Q0 a 1 nan tag"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.txt"
    path.write_text(line)
    with pytest.raises(ArtifactError):
        Ranking.from_trec(path)
    with pytest.raises(ArtifactError, match="missing"):
        GroundTruth.from_trec(tmp_path / "missing.txt")
    path.write_text("q 0 a 1\nq 0 a 0\n")
    with pytest.raises(ArtifactError, match="line 2"):
        GroundTruth.from_trec(path)
    with pytest.raises(ArtifactError, match="white space"):
        Ranking.from_dict({"a query": {"x": 1}}).to_trec(path)


def test_arrays_of_other_libraries() -> None:
    ranking = Ranking.from_arrays(np.array([[2, 0, -1], [1, 2, 0]], np.int32), database_ids=["a", "b", "c"])
    assert ranking.counts.tolist() == [2, 3]
    assert list(ranking.to_dict()["0"]) == ["c", "a"]
    with pytest.raises(ArtifactError, match="descending"):
        Ranking.from_arrays(np.array([[0, 1]]), np.array([[0.1, 0.9]]))
    with pytest.raises(ArtifactError, match="not in the database"):
        Ranking.from_dict({"q": {"a": 1.0}}, ["b"])


def test_a_truth_of_rows_has_no_ids() -> None:
    truth = truth_from_ids(["q"], ["a", "b"], {"q": ("a",)})
    with pytest.raises(ArtifactError, match="ids of its rows"):
        truth.to_dict()
    own = GroundTruth.from_dict({"q": ["b", "c"]})
    ranking = Ranking.from_dict({"q": {"a": 1.0}})
    with pytest.raises(ArtifactError, match="another database"):
        evaluate(ranking, own)


@pytest.mark.slow
def test_all_that_holds_arrays_prints_itself_briefly() -> None:
    kinds = re.compile(r"\b(Float|Int|UInt)\d+\b|\b(Bool|NDArray|RGB|Array)\b")
    loud, seen = [], 0
    for module in pkgutil.walk_packages(ilion.__path__, "ilion."):
        if module.name.endswith("__main__"):
            continue
        for name, each in vars(import_module(module.name)).items():
            if inspect.isclass(each) and is_dataclass(each) and each.__module__ == module.name:
                types = [str(f.type) for f in fields(each) if "Callable" not in str(f.type)]
                seen += 1
                if name[0] != "_" and any(map(kinds.search, types)) and not issubclass(each, Value):
                    loud.append(f"{module.name}.{name}")
    assert seen > 350
    assert loud == []


@pytest.mark.slow
def test_a_model_prints_its_name() -> None:
    model = ilion.load_model("efficientnet-lite2")
    assert repr(model) == "Model(extractor=OnnxExtractor(efficientnet-lite2), seed=0)"
