"""Re-ranked designs and scores of any kind: counts against evaluations, forecasts against measured worlds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.worlds import World

from ilion.errors import ConfigError
from ilion.evaluation.evaluate import evaluate
from ilion.forecast import (
    Measured,
    count_distractors,
    forecast,
    forecast_hold_outs,
    forecast_runs,
    plan_stages,
)
from ilion.forecast.cost import Prices
from ilion.forecast.distractors import DistractorCounts, thin_distractors
from ilion.forecast.hold_outs import estimate_imperfection
from ilion.forecast.runs import Run
from ilion.forecast.shortlists import LEAST, ShortlistCounts, count_shortlists
from ilion.forecast.tails import pool_scale
from ilion.reranking.shortlist import Evidence, rerank
from ilion.types import Float32, GroundTruth, Ranking

OBJECTS, PHOTOS, SHORTLIST = 60, 4, 120


def draw(seed: int, distractors: int, kept: int = 1000) -> tuple[Ranking, GroundTruth, np.ndarray]:
    """A database with rows of positives first; row r of the distractors is the same in every size."""
    count = OBJECTS * PHOTOS
    similar = np.empty((OBJECTS, count + distractors), np.float32)
    for q in range(OBJECTS):
        rng = np.random.default_rng([seed, q])
        own = 0.55 + 0.35 * rng.random(PHOTOS)
        similar[q, :count] = 0.3 * rng.random(count)
        similar[q, q * PHOTOS : (q + 1) * PHOTOS] = own
        dimension = 5 + 3 * rng.random()
        similar[q, count:] = 1 - rng.random(distractors) ** (1 / dimension)
    rows = np.argsort(-similar, axis=1, kind="stable")[:, :kept]
    ids = tuple(f"i{row}" for row in range(similar.shape[1]))
    names = tuple(f"q{q}" for q in range(OBJECTS))
    ranking = Ranking.from_arrays(rows, np.take_along_axis(similar, rows, axis=1), names, ids)
    truth = GroundTruth(
        names,
        tuple(np.arange(q * PHOTOS, (q + 1) * PHOTOS) for q in range(OBJECTS)),
        tuple(np.empty(0, np.int64) for _ in range(OBJECTS)),
        np.zeros(OBJECTS, np.int64),
    )
    return ranking, truth, np.arange(similar.shape[1]) >= count


def compare(seed: int, ranking: Ranking, shortlist: int = SHORTLIST) -> Ranking:
    """Re-rank by evidence that belongs to a pair of query and row, whatever else is there."""
    rows = ranking.indices[:, :shortlist]
    scores = np.empty(rows.shape, np.float32)
    for q, line in enumerate(rows):
        # the first numbers of a stream are the same however many are drawn
        chance = np.random.default_rng([seed, 1, q]).exponential(1.0, len(ranking.database_ids))
        chance[q * PHOTOS : (q + 1) * PHOTOS] += 3.0 * np.random.default_rng([seed, 2, q]).random(PHOTOS)
        scores[q] = chance[line]
    nothing = np.zeros(rows.shape, np.int64)
    return rerank(ranking, Evidence(rows, nothing, scores, scores * 0), weight=0.1)


def measure(seed: int, distractors: int) -> tuple[ShortlistCounts, float]:
    ranking, truth, mask = draw(seed, distractors)
    final = compare(seed, ranking)
    counts = count_shortlists(ranking, final, SHORTLIST, truth, truth.query_ids, mask)
    return counts, evaluate(final, truth, bootstrap=1).mean


@pytest.mark.parametrize("definition", ["ilias", "revisited"])
def test_counts_of_two_stages_give_the_measured_map(definition: str) -> None:
    ranking, truth, mask = draw(0, 700, kept=300)
    final = compare(0, ranking)
    counts = count_shortlists(ranking, final, SHORTLIST, truth, truth.query_ids, mask)
    for k in (10, 300):
        measured = evaluate(final, truth, definition=definition, k=k, bootstrap=1).mean  # type: ignore[arg-type]
        assert counts.mean(definition, k) == pytest.approx(measured, abs=1e-9)  # type: ignore[arg-type]


def test_a_thinned_database_is_one_that_was_measured_with_a_shorter_shortlist() -> None:
    counts, _ = measure(1, 900)
    part = counts.thin(0.4, np.random.default_rng(0))
    assert 0.2 * SHORTLIST < part.shortlist <= round(0.4 * SHORTLIST)
    rows = set(np.flatnonzero(~counts.is_distractor | part.is_distractor).tolist())
    ranking, truth, _ = draw(1, 900)
    kept = [[r for r in line if r in rows] for line in ranking.indices.tolist()]
    values = [
        [v for r, v in zip(line, each, strict=True) if r in rows]
        for line, each in zip(ranking.indices.tolist(), ranking.similarities.tolist(), strict=True)
    ]
    width = min(map(len, kept))
    some = Ranking.from_arrays(
        np.array([line[:width] for line in kept]),
        np.array([line[:width] for line in values]),
        truth.query_ids,
        ranking.database_ids,
    )
    final = compare(1, some, part.shortlist)
    assert part.mean("ilias", 100) == pytest.approx(evaluate(final, truth, k=100, bootstrap=1).mean)


@pytest.mark.slow
def test_measured_re_ranked_map_lies_in_its_interval() -> None:
    inside = 0
    for seed in range(20):
        known, _ = measure(seed, 300)
        error = estimate_imperfection(forecast_hold_outs(known, seed=seed))
        point = forecast(known, [1500], imperfection=error, replicates=100, seed=seed).points[0]
        _, mean = measure(seed, 1500)
        inside += point.interval.low <= mean <= point.interval.high
        assert point.mean < known.mean("ilias", 1000)
    assert inside >= 18


@pytest.mark.slow
def test_what_shortlists_do_not_tell_is_refused() -> None:
    known, _ = measure(2, 300)
    assert known.largest <= 300 * SHORTLIST / LEAST
    with pytest.raises(ConfigError, match="take a longer"):
        forecast(known, [known.largest + 1])
    measured = Measured(300 + OBJECTS * PHOTOS, OBJECTS, 0.1, 1.0, 1000.0, 5.0, 10**8)
    settings = {"name": "x", "dataset": "x", "design": "x", "prices": Prices(), "machine": "x", "k": 1000}
    result = forecast_runs(
        [Run("x", known, known.mean("ilias", 1000), measured)],
        [1000, 10**6],
        definition="ilias",
        stages=[1500, 10**6],
        **settings,  # type: ignore[arg-type]
    )
    assert [point.distractors for point in result.forecast.points] == [1000, 1500 - OBJECTS * PHOTOS]
    assert "beyond" in result.warnings
    plan = plan_stages(result, [1500, 10**6])
    assert [stage.kind for stage in plan.stages] == ["measured", "forecast", "extrapolated"]
    assert plan.stages[-1].accuracy is None
    assert plan.stages[-1].disk_bytes > 100 * plan.stages[0].disk_bytes
    assert {gate.key for gate in plan.stages[1].gates} >= {"measure", "threshold", "representative"}
    assert not plan.stages[-1].gates


def test_scores_of_any_monotone_kind_give_the_same_forecast() -> None:
    ranking, truth, mask = draw(3, 600)
    forecasts = []
    for factor, offset in ((1.0, 0.0), (40.0, -7.0)):
        bent: Float32 = np.float32(factor) * ranking.similarities + np.float32(offset)
        moved = replace(ranking, similarities=bent)
        counts = count_distractors(moved, truth, truth.query_ids, mask, cosines=False)
        forecasts.append(forecast(counts, [6000], replicates=50).points[0])
    assert forecasts[0].mean == pytest.approx(forecasts[1].mean, abs=2e-3)


def test_a_common_scale_changes_no_order_and_makes_one_tail() -> None:
    counts: DistractorCounts = World(5, objects=30).measure(World(5, objects=30).distractors(2000))[0]
    bent = replace(counts, tops=np.exp(5 * counts.tops), similarity=np.exp(5 * counts.similarity))
    bent = replace(bent, cosines=False)
    pooled = pool_scale(bent)
    assert (np.diff(pooled.tops, axis=1) <= 1e-12).all()
    assert pooled.above.tolist() == counts.above.tolist()
    close = -np.log(1 - pooled.tops[:, :30])
    assert close.mean() == pytest.approx(1.0, abs=0.05), "the mean excess of an exponential tail"
    assert (np.log(close.ravel()[close.ravel() > 0]) < np.log(13)).all()
    assert not thin_distractors(bent, 0.5, np.random.default_rng(0), 500).cosines


@pytest.mark.slow
def test_worlds_without_cosines_lie_in_their_interval() -> None:
    inside = 0
    for seed in range(20):
        world = World(seed, objects=40)
        distractors = world.distractors(3000)
        known = replace(world.measure(distractors[:300])[0], cosines=False)
        error = estimate_imperfection(forecast_hold_outs(known, seed=seed))
        point = forecast(known, [3000], imperfection=error, replicates=100, seed=seed).points[0]
        inside += point.interval.low <= world.measure(distractors)[1].mean <= point.interval.high
    assert inside >= 18
