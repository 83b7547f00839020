"""The report about re-ranking: its numbers, its pictures, and what it says when something is gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.report.test_report import Maker, Page, make

from ilion.errors import ArtifactError
from ilion.evaluation.compare import compare
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.gains import explain_gains
from ilion.evaluation.truth import axes_from_ids
from ilion.outcome import Change, FullPrecision, Interval, Reranking, RunResult
from ilion.report import write_report
from ilion.report.sections.matches import MOST_INLIERS
from ilion.report.sections.moves import choose_moves
from ilion.types import Box, Ranking

__all__ = ["make"]
SHORTLIST = 8


def explained(inliers: int, others: int, seed: int) -> SimpleNamespace:
    """What a matcher says of a pair: places, inliers and an outline that reaches beyond the photo."""
    rng = np.random.default_rng(seed)
    n = inliers + others
    places = [SimpleNamespace(keypoints=rng.uniform(4, 40, (n, 2)).astype(np.float32)) for _ in range(2)]
    corners = np.array([[10, 5], [70.0, 5], [70, 40], [10, 40]]) if inliers else None
    return SimpleNamespace(
        query=places[0],
        image=places[1],
        matches=SimpleNamespace(query_rows=np.arange(n), database_rows=np.arange(n)),
        verification=SimpleNamespace(model=None, inliers=np.arange(n) < inliers),
        box=Box(10, 5, 50, 35) if inliers else None,
        corners=corners,
    )


def rerank(run: RunResult, seed: int = 0, **changes: Any) -> RunResult:
    """Order the first results of a run anew: most positives rise, some fall."""
    rng = np.random.default_rng(seed)
    before, truth = run.ranking, run.ground_truth
    rows = before.indices[:, :SHORTLIST]
    hits = np.stack([np.isin(each, wanted) for each, wanted in zip(rows, truth.positives, strict=True)])
    inliers = np.where(hits & (rng.random(rows.shape) < 0.8), rng.integers(5, 90, rows.shape), 0)
    inliers = np.where(~hits & (rng.random(rows.shape) < 0.1), 12, inliers)
    order = np.argsort(-(before.similarities[:, :SHORTLIST] + inliers / 50), axis=1, kind="stable")
    indices, similarities = before.indices.copy(), before.similarities.copy()
    indices[:, :SHORTLIST] = np.take_along_axis(rows, order, axis=1)
    similarities[:, :SHORTLIST] += 3 - np.arange(SHORTLIST) / 10
    after = Ranking(before.query_ids, before.database_ids, indices, similarities, before.counts)
    dataset, ids = run.dataset, before.query_ids
    instances = [q.instance for q in dataset.queries]
    axes = axes_from_ids(
        ids, instances, before.database_ids, dataset.positives, dataset.labels, dataset.attributes
    )
    k = run.evaluation.k
    old, new = (evaluate(r, truth, axes, k=k, bootstrap=50) for r in (before, after))
    found = compare(old, new, bootstrap=50, permutations=50)
    reranking = Reranking(
        before=old,
        ranking=before,
        shortlist=SHORTLIST,
        inliers=inliers,
        weights=np.full(len(ids), 0.08, np.float32),
        fusion="score",
        missing=0,
        explain=lambda q, row: explained(int(inliers[q][rows[q] == row][0]), 9, row),
        ledger=explain_gains(before, after, truth, inliers > 4, k=k),
        change=Change(found.difference, found.ci95, found.p_value, found.better, found.worse),
        sources={},
    )
    return replace(run, ranking=after, evaluation=new, reranking=replace(reranking, **changes))


@pytest.fixture
def show(tmp_path: Path) -> Callable[..., Page]:
    """Return a function that writes a report and parses it."""
    return lambda run, **settings: Page(
        write_report([run], tmp_path / "r.html", **settings).read_text("utf-8")
    )


def test_a_run_without_reranking_has_no_such_section(make: Maker, show: Callable[..., Page]) -> None:
    page = show(make())
    assert not any(a.get("id") == "reranking" for a in page.all("section"))
    assert "#reranking" not in [a.get("href") for a in page.all("a")]


def test_the_numbers_are_those_of_the_run(make: Maker, show: Callable[..., Page]) -> None:
    run = rerank(make(queries=9, values=True, gain=0.1))
    page, told = show(run), run.reranking
    assert told is not None
    assert told.ledger is not None
    assert told.change is not None
    assert any(a.get("id") == "reranking" for a in page.all("section"))
    before, after = told.before.mean, run.evaluation.mean
    assert after > before
    difference = f"+{100 * (after - before):.1f} points"
    assert f"from {100 * before:.1f}% to {100 * after:.1f}%" in page.visible
    assert difference in page.visible
    assert f"{told.change.better} got better and {told.change.worse} worse" in page.visible
    assert "plus 0.080 times the local score" in page.visible
    assert "Every image of the shortlists has stored local features." in page.visible
    steps = [a for a in page.all("rect") if (a.get("class") or "").startswith("step ")]
    assert len(steps) == 7
    reach = 438
    start = [float(a["x"] or 0) / reach for a in steps]
    width = [float(a["width"] or 0) / reach for a in steps]
    ledger = told.ledger
    assert start[1] == pytest.approx(ledger.before, abs=1e-3)
    assert start[4] == pytest.approx(ledger.after, abs=1e-3)
    assert start[6] == pytest.approx(ledger.oracle, abs=1e-3)
    assert width[0] == pytest.approx(before, abs=1e-3)
    assert width[3] == pytest.approx(after, abs=1e-3)
    counts = re.findall(r"(\d+) (\d+\.\d)% (?:verified|in the shortlist|not in the first)", page.visible)
    assert sum(int(count) for count, _ in counts) == ledger.pairs == 27
    assert sum(float(share) for _, share in counts) == pytest.approx(100, abs=0.3)


def test_slices_before_and_after_are_drawn_to_one_scale(make: Maker, show: Callable[..., Page]) -> None:
    run = rerank(make(queries=9, values=True, gain=0.1))
    assert run.reranking is not None
    page = show(run)
    for label, old in ((s.label, s) for s in run.reranking.before.slices if s.axis == "scale"):
        new = next(s for s in run.evaluation.slices if (s.axis, s.label) == ("scale", label))
        assert f"{100 * old.mean:.1f}% → {100 * new.mean:.1f}%, {new.positives} positive" in page.visible
    assert "Before and after, by size and clutter" in page.visible
    assert "Before and after, by size and clutter" not in show(rerank(make(queries=3))).visible


def test_matches_are_drawn_and_described(make: Maker, show: Callable[..., Page]) -> None:
    run = rerank(make(queries=9, boxes=True, gain=0.1))
    page = show(run, gallery=12)
    moves = choose_moves(run, 12)
    assert moves is not None
    drawn = [a for a in page.all("svg") if a.get("class") == "link-picture"]
    assert len(drawn) == len(list(moves.all())) >= 4
    assert all("before re-ranking" in (a["aria-label"] or "") for a in drawn)
    lines = [a["d"] or "" for a in page.all("path") if a.get("class") == "match"]
    assert lines
    assert max(line.count("M") for line in lines) == MOST_INLIERS
    assert all(1 <= line.count("M") <= MOST_INLIERS for line in lines)
    assert any(a.get("class") == "box found" for a in page.all("path"))
    best = moves.groups["best"][0]
    assert f"rank {best.before} → {best.after}" in page.visible
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_shown_moves_are_the_most_telling(make: Maker) -> None:
    run = rerank(make(queries=12, gain=0.1), seed=2)
    moves = choose_moves(run, 12)
    assert moves is not None
    assert run.reranking is not None
    gains = run.evaluation.per_query - run.reranking.before.per_query
    np.testing.assert_allclose(moves.gains, gains)
    assert [moves.gains[m.query] for m in moves.groups["best"]] == sorted(gains, reverse=True)[:2]
    for move in moves.groups["best"]:
        q = move.query
        old = np.flatnonzero(run.reranking.ranking.indices[q] == move.row)[0] + 1  # type: ignore[union-attr]
        new = np.flatnonzero(run.ranking.indices[q] == move.row)[0] + 1
        assert (move.before, move.after) == (old, new)
    assert all(m.hit and m.wrong_after > m.wrong_before for m in moves.fallen)
    assert all(not m.hit and m.after < m.before for m in moves.climbed)
    assert len({m.query for m in moves.fallen}) == len(moves.fallen)
    for move in moves.all():
        positives = run.ground_truth.positives[move.query]
        old, new = (r.indices[move.query] for r in (run.reranking.ranking, run.ranking) if r)
        for rows, rank, wrong in ((old, move.before, move.wrong_before), (new, move.after, move.wrong_after)):
            assert rows[rank - 1] == move.row
            assert wrong == np.sum(~np.isin(rows[: rank - 1], positives))
        passed = (
            np.isin(old[: move.before - 1], positives).sum() - np.isin(new[: move.after - 1], positives).sum()
        )
        assert move.hit or passed > 0
    shown = [(m.query, m.row) for m in moves.all()]
    assert len(shown) == len(set(shown))
    assert list(choose_moves(run, 0).all()) == []  # type: ignore[union-attr]


def test_lost_features_are_said_and_pictures_remain(make: Maker, show: Callable[..., Page]) -> None:
    def explain(query: int, row: int) -> Any:
        raise ArtifactError("cache/local-1: features are gone; run again")

    page = show(rerank(make(queries=6), explain=explain))
    assert "features are gone; run again" in page.visible
    assert page.visible.count("features are gone") == 1
    assert any(a.get("class") == "link-picture" for a in page.all("svg"))
    assert not [a for a in page.all("path") if a.get("class") == "match"]


def test_a_lost_ranking_leaves_the_numbers(make: Maker, show: Callable[..., Page]) -> None:
    page = show(rerank(make(queries=6), ranking=None, inliers=None))
    assert "no longer stored" in page.visible
    assert "Where mAP was gained, lost and left" in page.visible
    assert not any(a.get("class") == "link-picture" for a in page.all("svg"))


@pytest.mark.slow
def test_weights_missing_images_and_compression_are_said(make: Maker, show: Callable[..., Page]) -> None:
    weights = np.array([0.08, 0.08, 0.16, 0.16, 0.16, 0.08], np.float32)
    full = FullPrecision(0.9, Change(0.05, Interval(0.01, 0.1), 0.01, 3, 1), 2, 0, 66_000, 12.0)
    run = rerank(make(queries=6, gain=0.1), weights=weights, fusion="calibrated", missing=3, full=full)
    text = show(run).visible
    assert "0.080 for 3 queries, 0.16 for 3 queries" in text
    assert "never on its own object" in text
    assert "3 images of the shortlists have no stored local features" in text
    assert "With features at full precision mAP would be 90.0%: +5.0 points" in text
    assert "66 KB a photo" in text
    assert "lost by compression" in text
    none = np.full(6, np.nan, np.float32)
    assert "reciprocal ranks" in show(rerank(make(queries=6), weights=none, fusion="rank")).visible
