"""Forecasts: counts against naive loops, tails against known laws, intervals against measured worlds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import draw_photo, write
from tests.networks import tiny_network
from tests.worlds import Rows, World
from typer.testing import CliRunner

from ilion import api
from ilion.cli import app
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, ConfigError, IlionError
from ilion.evaluation.evaluate import evaluate
from ilion.evaluation.truth import truth_from_ids
from ilion.forecast import Measured, count_distractors, forecast, forecast_hold_outs, format_size, parse_sizes
from ilion.forecast.accuracy import IMPERFECTION, Forecast, Point
from ilion.forecast.cost import Prices, fit_line, forecast_cost
from ilion.forecast.distractors import DistractorCounts, thin_distractors
from ilion.forecast.hold_outs import HoldOut, estimate_imperfection
from ilion.forecast.runs import find_warnings
from ilion.forecast.tails import Tails, survival
from ilion.outcome import Interval
from ilion.searching import search


@pytest.fixture(scope="module")
def world() -> World:
    return World(3, objects=30)


@pytest.fixture(scope="module")
def known(world: World) -> DistractorCounts:
    return world.measure(world.distractors(2000))[0]


def random_set(seed: int, k: int) -> tuple[Any, Any, np.ndarray, list[str]]:
    """A small set with ignored images, photos of other objects, ties and unreachable positives."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((400, 4)).astype(np.float32)
    values[50:60] = values[40:50]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    ids = tuple(f"i{n}" for n in range(400))
    queries = values[:6] + 0.2 * rng.standard_normal((6, 4)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    names = tuple(f"q{n}" for n in range(6))
    positives = {q: tuple(f"i{n * 8 + m}" for m in range(5)) for n, q in enumerate(names)}
    positives["q2"] = (*positives["q2"], "gone")
    ignored = {q: (f"i{n * 8 + 6}",) for n, q in enumerate(names)}
    shown = {i for group in (*positives.values(), *ignored.values()) for i in group}
    ranking = search(names, queries, Rows(ids, values), k=k)
    truth = truth_from_ids(names, ids, positives, ignored)
    return ranking, truth, np.array([i not in shown for i in ids]), list(names)


@pytest.mark.parametrize("k", [50, 400])
def test_counts_are_what_a_naive_count_gives(k: int) -> None:
    ranking, truth, mask, names = random_set(1, k)
    found = count_distractors(ranking, truth, names, mask)
    row = 0
    for q in range(6):
        above = rest = place = 0
        for position in range(ranking.counts[q]):
            image = int(ranking.indices[q, position])
            if image in truth.ignored[q]:
                continue
            if image in truth.positives[q]:
                place += 1
                assert (found.query[row], found.place[row], found.rest[row], found.above[row]) == (
                    *(q, place, rest),
                    above,
                )
                row += 1
            elif mask[image]:
                assert found.tops[q, above] == ranking.similarities[q, position]
                above += 1
            else:
                rest += 1
    assert row == len(found.query)
    assert found.positives.tolist() == [5, 5, 6, 5, 5, 5]
    assert found.distractors == mask.sum()


@pytest.mark.parametrize("definition", ["ilias", "trec", "revisited"])
@pytest.mark.parametrize("k", [7, 400])
def test_credits_at_the_measured_size_are_the_evaluation(definition: Any, k: int) -> None:
    ranking, truth, mask, names = random_set(2, 400)
    found = count_distractors(ranking, truth, names, mask)
    seen = found.average_precisions(found.above.astype(float), definition, k)
    np.testing.assert_allclose(
        seen, evaluate(ranking, truth, definition=definition, k=k, bootstrap=1).per_query
    )


def test_rankings_that_allow_no_forecast_are_refused(known: DistractorCounts) -> None:
    ranking, truth, mask, names = random_set(1, 50)
    with pytest.raises(ArtifactError, match="at least 100"):
        count_distractors(ranking, truth, names, mask & (np.arange(400) > 310))
    loud = dataclasses.replace(ranking, similarities=ranking.similarities * 3)
    with pytest.raises(ArtifactError, match="no cosines"):
        count_distractors(loud, truth, names, mask)
    with pytest.raises(ArtifactError, match="queries"):
        count_distractors(ranking, truth, names[:-1], mask)
    with pytest.raises(ConfigError, match="upwards"):
        forecast(known, [1000])


@pytest.mark.slow
def test_thinning_is_a_search_of_a_random_part(world: World) -> None:
    """Means over draws agree with those of real searches of random parts."""
    distractors = world.distractors(2000)
    whole, _ = world.measure(distractors)
    rng = np.random.default_rng(0)
    by_search, by_thinning = [], []
    for _ in range(30):
        part = distractors[rng.permutation(2000)[:500]]
        by_search.append(world.measure(part)[1].mean)
        thin = thin_distractors(whole, 0.25, rng, 200)
        by_thinning.append(thin.average_precisions(thin.above.astype(float), "ilias", 1000).mean())
        assert thin.distractors == 500
        assert (thin.tops[:, :-1] >= thin.tops[:, 1:]).all()
        assert (thin.above <= whole.above).all()
    spread = np.hypot(np.std(by_search), np.std(by_thinning)) / np.sqrt(30)
    assert abs(np.mean(by_search) - np.mean(by_thinning)) < 4 * spread + 1e-4


def tails_of(closeness: np.ndarray, seen: int) -> Tails:
    tops = -np.sort(-(1.0 - np.exp(-closeness)), axis=1)[:, :200]
    return Tails(tops, np.arange(tops.size).reshape(tops.shape), seen)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2])
def test_the_shape_of_a_known_law_is_found(shape: float) -> None:
    """Queries of very different rates and one shape."""
    rng = np.random.default_rng(4)
    u = rng.random((2000, 2000))
    rates = rng.gamma(4.0, 2.0, (2000, 1))
    excess = -np.log(u) if shape == 0 else (u**-shape - 1) / shape
    tails = tails_of(excess / rates, 2000)
    assert tails.shape(np.ones(2000), tails.even) == pytest.approx(shape, abs=0.04)


def test_tails_find_the_chance_of_what_was_not_seen() -> None:
    """Distractors whose 1 - s is a power law: the chance far beyond the best of 2,000 is known exactly."""
    rng = np.random.default_rng(5)
    dimension, seen = 8.0, 2000
    tails = tails_of(-np.log(rng.random((300, seen))) / dimension, seen)
    shape = tails.shape(np.ones(300), tails.even)
    chance, mean = tails.rates(tails.even)
    assert 1 / mean.mean() == pytest.approx(dimension, rel=0.1)
    for rare in (1e-4, 1e-5, 1e-6):
        z = (-np.log(rare) / dimension - tails.threshold) / mean
        predicted = np.exp(np.mean(np.log(chance * survival(z, shape))))
        assert predicted == pytest.approx(rare, rel=0.5), rare


def test_nothing_changes_without_further_distractors(known: DistractorCounts) -> None:
    point = forecast(known, [known.distractors], replicates=20).points[0]
    now = known.average_precisions(known.above.astype(float), "ilias", 1000).mean()
    assert point.mean == pytest.approx(now)
    assert (point.interval.low, point.interval.high) == pytest.approx((now, now))
    assert point.ci95.low < now < point.ci95.high


def test_more_distractors_are_worse_and_less_certain(known: DistractorCounts) -> None:
    predicted = forecast(known, [3000, 30_000, 3_000_000], replicates=100)
    means = [point.mean for point in predicted.points]
    widths = [point.interval.high - point.interval.low for point in predicted.points]
    assert means == sorted(means, reverse=True)
    assert widths == sorted(widths)
    for point in predicted.points:
        assert point.interval.low <= point.mean <= point.interval.high
        assert point.ci95.low <= point.interval.low
    again = forecast(known, [3000, 30_000, 3_000_000], replicates=100)
    assert [p.mean for p in again.points] == means


@pytest.mark.slow
def test_the_forecast_lies_in_its_own_interval() -> None:
    """Twenty worlds, a tenfold database: the measured mAP is mostly inside; a log-linear line errs more."""
    inside, errors, lines = 0, [], []
    for seed in range(20):
        world = World(seed, objects=60)
        distractors = world.distractors(15_000)
        small = [world.measure(distractors[:n]) for n in (150, 500, 1500)]
        known = small[-1][0]
        point = forecast(
            known,
            [15_000],
            imperfection=estimate_imperfection(forecast_hold_outs(known, repeats=1, replicates=40)),
            seed=seed,
            replicates=100,
        ).points[0]
        truth = world.measure(distractors)[1].mean
        inside += point.interval.low <= truth <= point.interval.high
        errors.append(abs(point.mean - truth))
        line = np.polyfit(np.log([150, 500, 1500]), [e.mean for _, e in small], 1)
        lines.append(abs(float(np.polyval(line, np.log(15_000))) - truth))
        # an interval that holds everything says nothing
        assert point.interval.high - point.interval.low < 0.08
    # measured with these seeds and two other twenties: 20, 17 and 18 inside; 0.73, 0.71 and 0.52 of its error
    assert inside >= 16
    assert np.mean(errors) < 0.9 * np.mean(lines)


def test_few_or_no_exceedances_are_no_error(known: DistractorCounts) -> None:
    """Queries that found hardly any distractor, and positives below all kept ones."""
    tops = known.tops[:, :3].copy()
    tops[0] = -np.inf
    tops[1, 1:] = -np.inf
    poor = dataclasses.replace(known, tops=tops, names=known.names[:, :3])
    predicted = forecast(poor, [10_000], replicates=20)
    assert 0 < predicted.points[0].mean < 1


def test_hold_outs_widen_and_never_narrow(known: DistractorCounts) -> None:
    held = forecast_hold_outs(known, repeats=2, replicates=30)
    assert {one.start for one in held} == {200, 600}
    assert estimate_imperfection(held) >= IMPERFECTION
    wrong = [dataclasses.replace(one, foretold=one.measured + 0.1) for one in held]
    assert estimate_imperfection(wrong) > 0.05


# --- cost ---


def run_of(images: int, search: float, **changes: Any) -> Measured:
    return Measured(
        **{
            "images": images,
            "queries": 10,
            "describe_seconds": 0.02,
            "search_seconds": search,
            "bytes_per_image": 1024.0,
            "id_bytes": 20.0,
            "peak_memory": 10**9,
            **changes,
        }
    )


def test_costs_are_straight_lines() -> None:
    runs = [run_of(1000, 0.11), run_of(2000, 0.12), run_of(4000, 0.14)]
    (point,) = forecast_cost(runs, [1_000_000], Prices(hour=2.0, gigabyte_month=0.1, months=3))
    assert point.search_ms == pytest.approx(1e3 * (0.01 + 1e-6 * 1_000_000), rel=1e-6)
    assert point.describe_hours is not None
    assert point.describe_hours == pytest.approx(1_000_000 * 0.02 / 3600)
    # each id twice: in its shard with 4 bytes of punctuation, and listed with 8 of where it starts
    assert point.disk_bytes == pytest.approx(1_000_000 * (1024 + 24 + 28))
    # more than 100,000 ids are not held
    assert point.memory_bytes == pytest.approx(1e9 + 96_000 * 100)
    (few,) = forecast_cost(runs, [50_000])
    assert few.disk_bytes == pytest.approx(50_000 * 1048)
    assert few.memory_bytes == pytest.approx(1e9 + 46_000 * 100)
    assert point.price == pytest.approx(point.describe_hours * 2 + 1.076 * 0.1 * 3)
    assert point.search_range is not None
    assert point.search_range.low == pytest.approx(point.search_range.high, rel=1e-6)


def test_searches_among_more_images_that_were_timed_say_what_still_more_take() -> None:
    """A line through them, never less than what the run took (11 ms); without them a line through 0."""
    measured = run_of(1000, 0.11, growth=((10_000, 0.02), (100_000, 0.029)))
    fast = run_of(1000, 0.11, growth=((10_000, 0.005), (100_000, 0.006)))
    for run, size, wanted in ((measured, 10**6, 119), (fast, 2000, 11), (measured, 1000, 11)):
        (point,) = forecast_cost([run], [size])
        assert point.search_ms == pytest.approx(wanted)
    (without,) = forecast_cost([run_of(1000, 0.11)], [10**6])
    assert without.search_ms == pytest.approx(11_000)


def test_what_is_not_known_is_not_invented() -> None:
    (point,) = forecast_cost([run_of(1000, 0.1)], [10_000])
    assert (point.price, point.price_range, point.search_range, point.describe_range) == (None,) * 4
    with pytest.raises(ConfigError, match="negative"):
        Prices(hour=-1)
    with pytest.raises(ConfigError, match="measured run"):
        forecast_cost([], [10])


def test_imported_descriptors_have_no_time_to_describe() -> None:
    (point,) = forecast_cost([run_of(1000, 0.1, describe_seconds=float("nan"))], [10_000], Prices(hour=2.0))
    assert (point.describe_hours, point.price) == (None, None)
    assert point.disk_bytes > 0


def test_lines_never_go_below_zero() -> None:
    assert fit_line([1, 2], [1.0, 3.0]) == pytest.approx((0.0, 7 / 5))
    assert fit_line([1, 2], [3.0, 1.0]) == (2.0, 0.0)


@pytest.mark.parametrize("text", ["", "a", "-5", "0", "1T", "1,,2", "nan", "inf", "1e300"])
def test_bad_sizes_are_named(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_sizes(text)


def test_sizes_are_written_as_they_are_read() -> None:
    for size in (100, 964, 1000, 1500, 2_000_000, 100_000_000, 3 * 10**9):
        assert parse_sizes(format_size(size)) == (size,)


# --- the verb ---


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    root = tmp_path_factory.mktemp("forecast")
    for number in range(4):
        folder = root / "photos" / "objects" / f"object {number}"
        write(folder / "query" / "front.jpg", draw_photo(number))
        for view in range(3):
            write(folder / "positive" / f"{view}.jpg", draw_photo(100 * (number + 1) + view))
    for number in range(330):
        write(root / "photos" / "distractors" / f"{number:03d}.jpg", draw_photo(5000 + number, size=(48, 32)))
    values = {
        "output": str(root / "out"),
        "cache": str(root / "cache"),
        "dataset": {"path": str(root / "photos")},
        "extraction": {"model": f"onnx:{tiny_network(root / 'n.onnx')}", "threads": 1},
        "price": {"hour": 1.5, "currency": "EUR"},
    }
    return from_dict(ExperimentConfig, values)


@pytest.mark.slow
def test_an_experiment_is_described_once_and_measured_at_sizes(experiment: ExperimentConfig) -> None:
    result, page = api.forecast(experiment, (1000, 10_000), (100, 200, 330))
    assert [size for size, _ in result.runs] == [100, 200, 330]
    assert [point.distractors for point in result.forecast.points] == [1000, 10_000]
    assert result.images == (1012, 10_012)
    assert result.largest is not None
    assert (result.largest.start, result.largest.size) == (200, 330)
    whole = api.evaluate(experiment)
    # the largest size is the whole database: the same result, and nothing described again
    assert result.runs[-1][1] == pytest.approx(whole.evaluation.mean)
    assert "descriptors" in whole.cost.reused
    html = page.read_text(encoding="utf-8")
    assert "EUR" in html
    assert "far" not in result.warnings
    assert "http" not in html.replace("http-equiv", "")
    again, _ = api.forecast(experiment, (1000, 10_000), (100, 200, 330))
    assert again.forecast.points == result.forecast.points


@pytest.mark.slow
def test_finished_runs_give_a_forecast(experiment: ExperimentConfig, tmp_path: Path) -> None:
    folders = []
    everything = sorted(p.name for p in (Path(experiment.dataset.path) / "distractors").iterdir())
    for size in (150, 330):
        ids = write(tmp_path / f"{size}.txt", "\n".join(f"distractors/{name}" for name in everything[:size]))
        folders.append(tmp_path / str(size))
        dataset = dataclasses.replace(experiment.dataset, subset=str(ids))
        api.evaluate(dataclasses.replace(experiment, output=str(folders[-1]), dataset=dataset))
    result, page = api.forecast(folders, (2000,), output=tmp_path / "page.html")
    assert [size for size, _ in result.runs] == [150, 330]
    assert page == tmp_path / "page.html"
    arguments = ["forecast", *map(str, folders), "--at", "2K", "--page", str(page)]
    predicted = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert predicted["forecast"][0]["mAP"] == result.forecast.points[0].mean
    assert predicted["currency"] == "EUR"
    assert isinstance(predicted["warnings"], list)
    text = CliRunner().invoke(app, arguments).stdout
    assert "hold-out: from 150, the forecast for 330 was" in text
    other = dataclasses.replace(
        experiment,
        output=str(tmp_path / "other"),
        evaluation=dataclasses.replace(experiment.evaluation, k=5),
    )
    api.evaluate(other)
    with pytest.raises(ConfigError, match="one experiment at several sizes"):
        api.forecast([*folders, tmp_path / "other"], (2000,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "5K"), "the database has 330"),
        (("--at", "100"), "no larger number"),
        (("--at", "x"), "is no size"),
        (("--per-hour=-1",), "negative"),
        (("--per-hour=nan",), "must be numbers"),
        (("--currency=", "--per-hour=2"), "needs a currency"),
    ],
)
def test_bad_requests_are_named(
    experiment: ExperimentConfig, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    from ilion.config import dump_toml

    file = write(tmp_path / "e.toml", dump_toml(experiment))
    failed = CliRunner().invoke(app, ["forecast", str(file), *arguments])
    assert isinstance(failed.exception, IlionError)
    assert message in str(failed.exception)


@pytest.mark.parametrize(
    ("size", "spread", "known", "inside", "kinds"),
    [
        (10_000, 0.1, 1000, True, set()),
        (1_000_001, 0.1, 1000, True, {"far"}),
        (10_000, 0.3, 1000, True, {"vague"}),
        (10_000, 0.1, 299, True, {"few"}),
        (10_000, 0.1, 1000, False, {"missed"}),
        (1_000_000, 0.29, 331, False, {"far", "vague", "missed"}),
    ],
)
def test_a_forecast_says_where_its_checks_end(
    size: int, spread: float, known: int, inside: bool, kinds: set[str]
) -> None:
    span = Interval(0.1, 0.1 + spread)
    point = Point(size, 0.3, span, span)
    predicted = Forecast("ilias", 1000, known, (point,), {}, 0.0, 0.1)
    check = HoldOut(100, known, 0.2 if inside else 0.9, 0.2, Interval(0.1, 0.3), 0.1, 0.2)
    assert set(find_warnings(predicted, (check,), None)) == kinds


@pytest.mark.slow
def test_a_price_and_its_warnings_are_said_everywhere(experiment: ExperimentConfig, tmp_path: Path) -> None:
    from ilion.config import dump_toml

    file = write(tmp_path / "e.toml", dump_toml(experiment))
    page = tmp_path / "page.html"
    arguments = ["forecast", str(file), "--at", "1M", "--page", str(page)]
    said = "1M distractors are 3,030 times the 330 that were measured"
    text = CliRunner().invoke(app, [*arguments, "--currency", "YEN"]).stdout
    assert f"warning: {said}" in text
    assert " YEN" in text
    assert said in page.read_text(encoding="utf-8")
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert any(sentence.startswith(said) for sentence in facts["warnings"])
    assert facts["currency"] == "EUR"
    assert "e+0" not in text
