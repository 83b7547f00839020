"""Runs and relevance files of TREC against trec_eval's rules, written from its manual as loops over ids."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ilion.errors import ConfigError
from ilion.evaluation.evaluate import evaluate, order_ties
from ilion.evaluation.truth import truth_from_ids
from ilion.types import GroundTruth, Ranking

Run = dict[str, dict[str, float]]
METRICS = ("P@4", "P@R", "Success@2", "nDCG@k", "nDCG@5", "RR", "MAP@R", "trec@7", "recall@9")


def make_case(seed: int) -> tuple[Run, dict[str, list[str]]]:
    """Many ties, ids beyond ASCII, doubles that are one float32, short lists, positives that are lost."""
    rng = np.random.default_rng(seed)
    names = [f"{'é' * (n % 3)}{'Ab9_z'[n % 5]}{n}" for n in range(40)]
    run: Run = {}
    positives: dict[str, list[str]] = {}
    for q in range(6):
        found = rng.permutation(40)[: rng.integers(1, 41)]
        values = np.round(rng.normal(size=len(found)), 1) + rng.integers(0, 2, len(found)) * 1e-12
        run[f"q{q}"] = {names[n]: float(v) for n, v in zip(found, values, strict=True)}
        positives[f"q{q}"] = [names[n] for n in rng.permutation(40)[: rng.integers(1, 9)]]
    return run, positives


def ordered(found: dict[str, float]) -> list[str]:
    """Descending similarity as a C float, then descending id by its bytes."""
    return sorted(found, key=lambda name: (np.float32(found[name]), name.encode()), reverse=True)


def naive(found: dict[str, float], positives: list[str], name: str, k: int) -> float:
    base, _, cut = name.partition("@")
    n = {"k": k, "": k, "R": len(positives)}.get(cut) or int(cut)
    listed = [image in positives for image in ordered(found)][:n]
    if base == "P":
        return sum(listed) / n
    if base == "Success":
        return float(any(listed))
    if base == "recall":
        return sum(listed) / len(positives)
    if base == "RR":
        return 1 / (listed.index(True) + 1) if any(listed) else 0.0
    if base == "nDCG":
        best = sum(1 / math.log2(r + 2) for r in range(min(n, len(positives))))
        return sum(hit / math.log2(r + 2) for r, hit in enumerate(listed)) / best
    return sum(sum(listed[: r + 1]) / (r + 1) for r, hit in enumerate(listed) if hit) / len(positives)


@pytest.mark.parametrize("seed", range(20))
def test_ties_by_id_equal_loops(tmp_path: Path, seed: int) -> None:
    run, positives = make_case(seed)
    Ranking.from_dict(run).to_trec(tmp_path / "run.gz")
    ranking = Ranking.from_trec(tmp_path / "run.gz")
    for query, found in order_ties(ranking).to_dict().items():
        assert list(found) == ordered(run[query])
    truth = truth_from_ids(list(run), ranking.database_ids, {q: tuple(p) for q, p in positives.items()})
    result = evaluate(ranking, truth, definition="trec", k=40, ties="trec", metrics=METRICS, bootstrap=2)
    assert result.ties == "trec"
    for number, query in enumerate(run):
        assert result.per_query[number] == pytest.approx(
            naive(run[query], positives[query], "AP", 40), abs=1e-12
        )
        for name in METRICS:
            label = {"nDCG@k": "nDCG@40", "RR": "RR@40"}.get(name, name)
            expected = naive(run[query], positives[query], name, 40)
            assert result.per_query_metrics[label][number] == pytest.approx(expected, abs=1e-12), name


def case_of(ranks: list[int], positives: int, size: int = 30) -> tuple[Ranking, GroundTruth]:
    ids = tuple(f"i{n}" for n in range(size))
    ranking = Ranking.from_arrays(np.arange(size)[None], query_ids=("q",), database_ids=ids)
    wanted = [f"i{r - 1}" for r in ranks] + [f"gone{n}" for n in range(positives - len(ranks))]
    return ranking, truth_from_ids(("q",), ids, {"q": tuple(wanted)})


def metric(name: str, ranks: list[int], positives: int, k: int = 30) -> float:
    ranking, truth = case_of(ranks, positives)
    return list(evaluate(ranking, truth, k=k, metrics=[name], bootstrap=2).metrics.values())[-1]


def test_precision_as_revisited_papers_print_it_stops_at_the_last_positive() -> None:
    assert metric("mP@10", [1, 3], 2) == pytest.approx(2 / 3)  # nothing is to be found behind rank 3
    assert metric("mP@10", [1, 3], 5) == pytest.approx(2 / 10)
    assert metric("mP@1", [2], 1) == 0
    assert metric("mP@10", [1, 12], 2) == pytest.approx(1 / 10)


def test_a_cutoff_may_be_the_number_of_positives() -> None:
    assert metric("MAP@R", [1, 3, 9], 3) == pytest.approx((1 + 2 / 3) / 3)
    assert metric("P@R", [1, 3, 9], 3) == pytest.approx(2 / 3)
    assert metric("recall@R", [4], 3) == 0
    with pytest.raises(ConfigError, match=r"'P@R': query 'q' has 9 positives.*first 8 results"):
        metric("P@R", [1], 9, k=8)
    with pytest.raises(ConfigError, match="write ilias@10, trec@10 or revisited@10"):
        metric("MAP@10", [1], 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nDCG@8", "RR@8", "mP@8", "MAP@R", "trec@8"])
def test_open_ties_have_their_expected_value(name: str) -> None:
    """Two results in front, then eight images of which nothing is known, three of them positive."""
    rng = np.random.default_rng(1)
    ids = tuple(f"i{n}" for n in range(10))
    values = np.array([[0.9, 0.5] + [0.0] * 8], np.float32)
    open_, total = Ranking(("q",), ids, np.arange(10)[None], values, np.array([10])), 0.0
    truth = truth_from_ids(("q",), ids, {"q": ("i1", "i4", "i5", "i9")})

    def value(ranking: Ranking) -> float:
        return list(evaluate(ranking, truth, k=10, metrics=[name], bootstrap=2).metrics.values())[-1]

    draws = 300
    for _ in range(draws):
        order = np.concatenate([[0, 1], 2 + rng.permutation(8)])
        total += value(Ranking.from_arrays(order[None], query_ids=("q",), database_ids=ids))
    assert value(open_) == pytest.approx(total / draws, abs=0.04)
