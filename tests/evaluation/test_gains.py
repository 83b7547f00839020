"""What re-ranking gained and lost: against counts and average precisions from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.evaluation.gains import explain_gains, places
from ilion.evaluation.truth import truth_from_ids
from ilion.types import GroundTruth, Ranking


def ranking(rows: np.ndarray, size: int) -> Ranking:
    similarities = np.tile(np.linspace(1, 0, rows.shape[1], dtype=np.float32), (len(rows), 1))
    ids = tuple(f"i{n}" for n in range(size))
    counts = np.full(len(rows), rows.shape[1])
    return Ranking(tuple(f"q{n}" for n in range(len(rows))), ids, rows, similarities, counts)


def mean_precision(lists: list[list[int]], truth: GroundTruth, k: int) -> float:
    """Average precision from the definition, list by list."""
    total = 0.0
    for rows, positives, ignored, lost in zip(
        lists, truth.positives, truth.ignored, truth.unreachable.tolist(), strict=True
    ):
        kept = [row for row in rows if row not in set(ignored.tolist())][:k]
        wanted = set(positives.tolist())
        hits, credit = 0, 0.0
        for rank, row in enumerate(kept, start=1):
            if row in wanted:
                hits += 1
                credit += hits / rank
        total += credit / min(k, len(wanted) + lost)
    return total / len(lists)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30))
def test_the_ledger_adds_up_and_agrees_with_the_definitions(seed: int, size: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    queries, images, kept = 5, 24, 18
    rows = np.stack([rng.permutation(images)[:kept] for _ in range(queries)])
    after = rows.copy()
    for each in after:
        each[:size] = rng.permutation(each[:size])
    ids = [f"i{n}" for n in range(images)]
    wanted = {
        f"q{q}": tuple(rng.permutation([*ids, "gone"])[: rng.integers(1, 9)].tolist()) for q in range(queries)
    }
    ignored = {
        q: tuple(i for i in rng.permutation(ids)[:3].tolist() if i not in names)
        for q, names in wanted.items()
    }
    truth = truth_from_ids(tuple(wanted), ids, wanted, ignored)
    verified = rng.random((queries, size)) < 0.5
    found = explain_gains(ranking(rows, images), ranking(after, images), truth, verified, k=k)

    assert found.pairs == sum(len(names) for names in wanted.values())
    assert found.unreachable == sum("gone" in names for names in wanted.values())
    by_hand = {"lifted": 0, "kept": 0, "lowered": 0, "unverified": 0, "beyond": 0}
    best: list[list[int]] = []
    seen_first: list[list[int]] = []
    for q in range(queries):
        junk = set(truth.ignored[q].tolist())
        clean = [[r for r in some if r not in junk] for some in (rows[q].tolist(), after[q].tolist())]
        short, told = rows[q, :size].tolist(), dict(zip(rows[q, :size].tolist(), verified[q], strict=True))
        for row in truth.positives[q].tolist():
            if row not in short:
                by_hand["beyond"] += 1
            elif not told[row]:
                by_hand["unverified"] += 1
            else:
                old, new = (
                    sum(r not in set(truth.positives[q].tolist()) for r in some[: some.index(row)])
                    for some in clean
                )
                by_hand["lifted" if new < old else "lowered" if new > old else "kept"] += 1
        positive = set(truth.positives[q].tolist())
        new_list = after[q].tolist()
        for lists, chosen in (
            (best, [r for r in new_list[:size] if r in positive]),
            (seen_first, [r for r in new_list[:size] if r in positive and told[r]]),
        ):
            lists.append(chosen + [r for r in new_list if r not in chosen])
    assert {name: getattr(found, name) for name in by_hand} == by_hand
    start, end = (mean_precision(each.tolist(), truth, k) for each in (rows, after))
    assert found.before == pytest.approx(start)
    assert found.after == pytest.approx(end)
    assert found.oracle == pytest.approx(mean_precision(best, truth, k))
    assert found.outranked == pytest.approx(mean_precision(seen_first, truth, k) - end)
    whole = found.before + found.gained - found.lost + found.outranked + found.unmatched
    assert whole + found.out_of_reach == pytest.approx(1)
    assert min(found.gained, found.lost, found.outranked, found.unmatched) > -1e-12


def test_short_lists_and_images_that_take_no_rank() -> None:
    rows = np.array([[2, 0, -1], [1, 2, 0]])
    ids = tuple("abc")
    short = Ranking(("q0", "q1"), ids, rows, np.array([[1, 0.5, 0.5], [1, 0.5, 0]], "f"), np.array([2, 3]))
    truth = truth_from_ids(("q0", "q1"), ids, {"q0": ("a",), "q1": ("a",)}, {"q0": ("c",)})
    assert places(short, truth).tolist() == [[0, 1, 0], [1, 2, 3]]
    found = explain_gains(short, short, truth, np.zeros((2, 3), bool))
    assert (found.unverified, found.kept, found.beyond) == (2, 0, 0)
    assert found.before == found.after == pytest.approx(2 / 3)
    assert found.gained_queries == 0


def test_other_images_or_queries_are_an_error() -> None:
    truth = truth_from_ids(("q0",), tuple(f"i{n}" for n in range(4)), {"q0": ("i0",)})
    first = ranking(np.array([[0, 1, 2]]), 4)
    verified = np.ones((1, 2), bool)
    with pytest.raises(ArtifactError, match="may only change the order of a shortlist"):
        explain_gains(first, ranking(np.array([[0, 3, 1]]), 4), truth, verified)
    other = truth_from_ids(("q9",), first.database_ids, {"q9": ("i0",)})
    with pytest.raises(ArtifactError, match="differ in queries"):
        explain_gains(first, first, other, verified)
