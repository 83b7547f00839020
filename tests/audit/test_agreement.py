"""Agreement between reviewers against other implementations, the published example and simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ilion.audit.agreement import agree, cohen_kappa, fleiss_kappa
from ilion.cli import app


@pytest.mark.parametrize("seed", range(20))
def test_cohen_is_that_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    first = rng.choice(["same", "different", "unsure"], 40).tolist()
    second = [a if rng.random() < 0.6 else str(rng.choice(["same", "different"])) for a in first]
    assert cohen_kappa(first, second) == pytest.approx(metrics.cohen_kappa_score(first, second))


def test_fleiss_gives_the_published_example() -> None:
    """Ten things, fourteen reviewers, five answers: kappa 0.210 (Fleiss 1971, as widely reprinted)."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    answers = [[str(a) for a, n in enumerate(row) for _ in range(n)] for row in table]
    assert fleiss_kappa(answers) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.slow
def test_by_chance_reviewers_agree_no_more_than_by_chance() -> None:
    rng = np.random.default_rng(0)
    answers = [rng.choice(["a", "b", "c"], rng.integers(2, 6)).tolist() for _ in range(20000)]
    assert abs(fleiss_kappa(answers)) < 0.02
    assert fleiss_kappa([["a", "a"], ["b", "b", "b"]]) == 1
    assert np.isnan(fleiss_kappa([["a"]]))
    assert np.isnan(fleiss_kappa([["a", "a"]]))


def test_what_is_disputed_is_named() -> None:
    found = agree(
        {"aki": {"x": "same", "y": "different"}, "ben": {"x": "same", "y": "same"}, "cho": {"z": "same"}}
    )
    assert found["reviewers"] == {"aki": 2, "ben": 2, "cho": 1}
    assert found["shared"] == 2
    assert found["disputed"] == ["y"]
    assert found["pairs"] == [["aki", "ben", 2, 0.5, pytest.approx(0.0)]]
    assert agree({}) == {"reviewers": {}, "shared": 0, "fleiss": None, "pairs": [], "disputed": []}


def test_the_verb_compares_files_by_reviewer(tmp_path: Path) -> None:
    for name, answers in (("aki", "same same different"), ("ben", "same different different")):
        kept = [
            {
                "suspect": {"kind": "unlabelled", "photos": [f"{n}"], "object": "a", "confidence": 1},
                "answer": answer,
            }
            for n, answer in enumerate(answers.split())
        ]
        (tmp_path / f"{name}.json").write_text(json.dumps({"format": 1, "decisions": kept}))
    done = CliRunner().invoke(app, ["audit", "agree", str(tmp_path / "aki.json"), str(tmp_path / "ben.json")])
    assert done.exit_code == 0, done.output
    assert "aki and ben: 67% of 3 alike, Cohen's kappa 0.40" in done.output
    assert done.output.count("disputed") == 1
