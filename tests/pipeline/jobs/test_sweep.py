"""Sweeps: every combination once, shared work done once, failures listed, the report beside."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import scenes
from typer.testing import CliRunner

from ilion import api, cli
from ilion.cli import sweep
from ilion.config import dump_toml, load_experiment
from ilion.errors import ArtifactError, ConfigError
from ilion.extraction.local import describe_local
from ilion.outcome import Cost, Evaluation, Interval, Machine, Sweep, SweepRun
from ilion.pipeline.jobs.sweep import axes_of
from ilion.report.sweep import advice, write_sweep_report
from ilion.wording import load_words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sweep")
    scenes.write_photos(root, objects=4, distractors=8)
    rerank = {"features": "rootsift", "keypoints": 120, "shortlist": 20}
    (root / "experiment.toml").write_text(dump_toml(scenes.experiment(root, rerank=rerank)))
    return root


OVER = ("rerank.budget=0,2048,1024", "rerank.shortlist=5,20")


@pytest.mark.slow
def test_every_combination_is_run_and_no_image_is_described_twice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []

    def counting(records: Any, *args: Any, **kwargs: Any) -> Any:
        for record, features in describe_local(records, *args, **kwargs):
            described.append(record.id)
            yield record, features

    monkeypatch.setattr("ilion.extraction.local.describe_local", counting)
    cache = f"cache={tmp_path / 'cache'}"
    told: list[tuple[str, int, int]] = []
    found, path = api.sweep(
        folder / "experiment.toml",
        OVER,
        [cache],
        tmp_path / "out",
        lambda stage, done, total: told.append((stage, done, total)),
    )
    images = 4 * 3 + 8
    # queries and database once, and some images more to see whether features have scales and angles
    assert images + 4 <= len(described) <= 2 * images + 4
    assert [dict(run.settings) for run in found.runs] == [
        {"rerank.budget": b, "rerank.shortlist": s} for b in ("0", "2048", "1024") for s in ("5", "20")
    ]
    assert [t for t in told if t[0] == "sweep"][-1] == ("sweep", 6, 6)
    assert not found.failed
    sizes = [run.cost.bytes_per_image for run in found.runs]
    assert sizes[0] == sizes[1] > sizes[2] == sizes[3] > sizes[4]

    # each run is what it would have been alone
    alone = api.evaluate(
        dataclasses.replace(
            load_experiment(folder / "experiment.toml", ["rerank.budget=1024", "rerank.shortlist=5"]),
            cache=str(tmp_path / "fresh"),
            output=str(tmp_path / "alone"),
        )
    )
    np.testing.assert_array_equal(alone.evaluation.per_query, found.runs[4].evaluation.per_query)
    for run in found.runs:
        change = api.compare(Path(found.runs[0].folder), Path(run.folder))
        assert run.difference == pytest.approx(change.difference)
        assert (run.ci95.low, run.ci95.high) == (change.ci95.low, change.ci95.high)

    stored = json.loads(path.with_name("sweep.json").read_text())
    assert [run["mAP"] for run in stored["runs"]] == [run.evaluation.mean for run in found.runs]
    html = path.read_text()
    assert "rerank.budget × rerank.shortlist" in html
    assert html.count('<tr class="main">') == 1

    described.clear()
    again, _ = api.sweep(folder / "experiment.toml", OVER, [cache], tmp_path / "out")
    assert described == []
    assert [r.evaluation.mean for r in again.runs] == [r.evaluation.mean for r in found.runs]


@pytest.mark.slow
def test_equal_runs_are_recognised_and_named_by_what_they_store(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ilion.cli.sweep import _say

    over = ["rerank.budget=0,1024", "evaluation.bootstrap=20,30"]
    # a copy, which is moved below
    photos = shutil.copytree(folder / "photos", tmp_path / "photos")
    settings = [f"cache={tmp_path / 'cache'}", f"dataset.path={photos}"]
    found, path = api.sweep(folder / "experiment.toml", over, settings, tmp_path / "out")
    assert [run.same_as for run in found.runs] == [None, 0, None, 2]
    assert "at full precision" in found.runs[0].design
    assert "in 1024 B" in found.runs[2].design
    stored = json.loads(path.with_name("sweep.json").read_text())["runs"]
    assert stored[1]["same_as"] == stored[0]["settings"]
    html = path.read_text()
    assert "0 (full precision)" in html
    assert html.count("same run as") == 2
    _say(found, path)
    out = capsys.readouterr().out
    assert out.count("the same run as") == 2
    assert "rerank.budget=0 (full precision)" in out

    # its runs are reported wherever the photos are now
    photos.rename(tmp_path / "moved")
    runs = [Path(run.folder) for run in found.runs]
    page = api.report(runs, tmp_path / "report.html").read_text()
    assert all(run.design in page for run in found.runs)
    assert api.compare(runs[0], runs[2]).difference == found.runs[2].difference
    with pytest.raises(ArtifactError, match=r"is a sweep, whose page is sweep\.html"):
        api.report([tmp_path / "out"])


@pytest.mark.slow
def test_fewer_keypoints_are_the_first_of_more(folder: Path, tmp_path: Path) -> None:
    cache = f"cache={tmp_path / 'cache'}"
    found, _ = api.sweep(folder / "experiment.toml", ["rerank.keypoints=40,120"], [cache], tmp_path / "out")
    alone = api.evaluate(
        dataclasses.replace(
            load_experiment(folder / "experiment.toml", ["rerank.keypoints=40"]), cache=str(tmp_path / "own")
        )
    )
    np.testing.assert_array_equal(alone.evaluation.per_query, found.runs[0].evaluation.per_query)
    assert found.runs[0].cost.bytes_per_image == alone.cost.bytes_per_image


@pytest.mark.slow
def test_failures_are_listed_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.app,
        [
            "sweep",
            str(folder / "experiment.toml"),
            *("--over", "rerank.budget=100,2048", "--output", str(tmp_path / "out")),
        ],
    )
    assert done.exit_code == 1
    assert "failed: rerank.budget=100: a budget of 100 bytes" in done.stdout
    assert "experiment: 1 run, mAP@1000 (ilias)" in done.stdout
    html = (tmp_path / "out" / "sweep.html").read_text()
    assert "1 run failed and is listed below." in html
    assert "a budget of 100 bytes an image holds" in html
    stored = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert stored["failed"][0]["settings"] == {"rerank.budget": "100"}
    with pytest.raises(ConfigError, match="none of the 1 run of the sweep worked"):
        api.sweep(folder / "experiment.toml", ["rerank.budget=100"], (), tmp_path / "none")


@pytest.mark.slow
def test_the_command_prints_json(folder: Path, tmp_path: Path) -> None:
    arguments = ["sweep", str(folder / "experiment.toml"), "--over", "rerank.fusion=score,rank", "--json"]
    done = CliRunner().invoke(cli.app, [*arguments, "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert [run["settings"] for run in json.loads(done.stdout)["runs"]] == [
        {"rerank.fusion": "score"},
        {"rerank.fusion": "rank"},
    ]
    own = inspect.signature(sweep.sweep).parameters
    assert own["output"].default is inspect.signature(api.sweep).parameters["output"].default is None


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ([], "needs a setting to vary"),
        (["rerank.budget"], "write it as section.key=value,value"),
        (["rerank.budget=1,,2"], "write it as section.key=value,value"),
        (["rerank.budget=1,1"], "a value is given twice"),
        (["rerank.budget=1", "rerank.budget=2"], "is given twice; put all its values into one"),
        (["rerank.bugdet=1,2"], "did you mean 'rerank.budget'"),
        (["rerank.budget=1,many"], "'rerank.budget' must be int"),
    ],
)
def test_mistakes_are_told_before_anything_runs(folder: Path, over: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        api.sweep(folder / "experiment.toml", over)


def test_commas_inside_brackets_and_quotes_do_not_separate() -> None:
    assert axes_of(['a.b=[1, 2],"x,y",z']) == {"a.b": ("[1, 2]", '"x,y"', "z")}


# --- the report ---


def run(cost: float, accuracy: float, ms: float = 5.0, **settings: str) -> SweepRun:
    spread = Interval(accuracy - 0.05, accuracy + 0.05)
    evaluation = Evaluation(
        "ilias",
        1000,
        ("q",),
        ("i",),
        np.array([accuracy]),
        accuracy,
        spread,
        {"R@1": accuracy},
        {"R@1": spread},
        {"R@1": np.array([accuracy])},
        (),
        0,
    )
    paid = Cost(10.0, 10.0, cost, ms, 1, {}, (), Machine("cpu", 2, 1, "system", "3"))
    return SweepRun(settings, "folder", "design", evaluation, paid, 0.0, spread)


def sweep_of(*runs: SweepRun, axes: Mapping[str, tuple[str, ...]] | None = None) -> Sweep:
    return Sweep("name", "photos", axes or {"budget": ("a",)}, runs)


def test_the_front_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        costs, means = rng.integers(1, 6, 8), rng.integers(1, 6, 8) / 10
        found = sweep_of(*(run(float(c), float(m)) for c, m in zip(costs, means, strict=True)))
        front = found.front("bytes")
        for number in range(8):
            beaten = any(
                (costs[o] <= costs[number] and means[o] > means[number])
                or (costs[o] < costs[number] and means[o] >= means[number])
                for o in range(8)
            )
            if beaten:
                assert number not in front
            else:  # of equal runs one stands for all
                assert any(costs[o] == costs[number] and means[o] == means[number] for o in front)


def test_advice_names_what_is_worth_its_cost() -> None:
    words = load_words("report", "en")
    found = sweep_of(
        run(1000, 0.60, budget="1"),
        run(2000, 0.602, budget="2"),
        run(4000, 0.70, budget="4"),
        run(8000, 0.65, budget="8"),
    )
    said = advice(found, "bytes", words)
    assert said == (
        "By what may be stored for each photo: budget = 1 for 1.0 KB (mAP 60.0%); "
        "budget = 4 for 4.0 KB (mAP 70.0%)."
    )
    assert advice(found, "ms", words) == ""
    many = sweep_of(*(run(1000.0 * i, 0.05 * i, budget=str(i)) for i in range(1, 15)))
    assert advice(many, "bytes", words).count("budget = ") == 6


def test_many_series_still_make_a_chart(tmp_path: Path) -> None:
    found = sweep_of(*(run(1000.0, 0.5, a="1", b=str(i)) for i in range(30)))
    html = write_sweep_report(found, tmp_path / "sweep.html").read_text()
    assert html.count("<svg") >= 2
    assert "All runs cost about the same" in html
