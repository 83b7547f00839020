"""The verbs on a small drawn set: plan, look, run, decide; and nothing but a plan from 3 objects."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ilion.cli import app
from ilion.cli.poc_text import PocText
from ilion.config.poc import load_poc
from ilion.errors import ArtifactError, ConfigError, DatasetError
from ilion.pipeline.jobs.poc import check_poc, decide_poc, new_poc, run_poc
from ilion.poc.decide import decide
from ilion.poc.decision import to_plain
from ilion.poc.money import missing_prices
from ilion.poc.settings import DesignsConfig, MoneyConfig, PhotosConfig, PlanConfig, PocConfig
from ilion.storage import write_json
from tests.scenes import scene, thing, write_photos


def test_new_makes_what_check_can_read(tmp_path: Path) -> None:
    shots, files = new_poc(tmp_path / "parts", PocConfig(plan=PlanConfig(objects=12)))
    assert all(file.exists() for file in files)
    plain = json.loads((tmp_path / "parts" / "shots.json").read_text("utf-8"))
    assert plain["objects"] == 12
    assert plain["shots"][-1]["clutter_range"] == [15.0, None]
    table = (tmp_path / "parts" / "shots.csv").read_text("utf-8-sig").splitlines()
    assert len(table) == 1 + len(shots.shots)
    found = check_poc(tmp_path / "parts")
    assert found.objects == 0
    assert found.problems
    assert not found.can_decide
    assert "too few" in "\n".join(PocText("en").coverage(found))
    with pytest.raises(DatasetError):
        run_poc(tmp_path / "parts")
    with pytest.raises(ConfigError, match="run 'ilion poc run"):
        decide_poc(tmp_path / "parts")


def test_a_plan_is_written_anew_and_never_over_something_else(tmp_path: Path) -> None:
    new_poc(tmp_path / "a", PocConfig(plan=PlanConfig(objects=12)))
    toml = tmp_path / "a" / "poc.toml"
    toml.write_text(toml.read_text("utf-8").replace("objects = 12", "objects = 30"), "utf-8")
    shots, _ = new_poc(tmp_path / "a")
    assert shots.objects == 30
    with pytest.raises(ConfigError, match="is there already"):
        new_poc(tmp_path / "a", PocConfig())
    asked = PocConfig(plan=PlanConfig(objects=12))
    _, made = new_poc(tmp_path / "c", asked)
    for lost in ("shots.html", "shots.csv", "photos/README.md", "photos/photos.csv"):
        (tmp_path / "c" / lost).unlink()  # a full disk or a kill: the same again finishes it
        new_poc(tmp_path / "c", asked)
        assert all(file.exists() for file in made)
    (tmp_path / "c" / "photos" / "objects" / "cup").mkdir()
    (tmp_path / "c" / "photos" / "photos.csv").unlink()
    new_poc(tmp_path / "c", asked)
    assert not (tmp_path / "c" / "photos" / "photos.csv").exists(), "where photos are, nothing is done"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(DatasetError, match="is not empty"):
        new_poc(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["thesis.txt"]


def test_new_asks_nothing_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["poc", "new", str(tmp_path / "x"), "--objects", "20", "--gain", "0.1"], standalone_mode=False)
    assert "20 objects" in capsys.readouterr().out
    assert "gain = 0.1" in (tmp_path / "x" / "poc.toml").read_text("utf-8")


def test_new_asks_at_a_terminal_for_what_is_not_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"Objects": "24", "Currency": "円", "Sizes": "小,大", "Shares": "0.05"}
    asked: list[str] = []

    def prompt(question: str, default: str, show_default: bool) -> str:
        asked.append(question)
        return next((answer for word, answer in answers.items() if question.startswith(word)), default)

    monkeypatch.setattr("typer.prompt", prompt)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    app(["poc", "new", str(tmp_path / "x"), "--gain", "0.1"], standalone_mode=False)
    config = load_poc(tmp_path / "x")
    assert (config.plan.objects, config.money.currency, config.goal.gain) == (24, "円", 0.1)
    assert config.photos.cells == ("小/plain", "小/crowded", "大/plain", "大/crowded")
    assert not any("Gain" in question for question in asked)
    assert "小/plain" in capsys.readouterr().out


@pytest.mark.parametrize(("currency", "amounts"), [("", 0), ("円", 7)])
def test_new_asks_in_japanese_and_for_amounts_only_with_a_currency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, currency: str, amounts: int
) -> None:
    asked: list[str] = []

    def prompt(question: str, default: str, show_default: bool) -> str:
        asked.append(question)
        # as many different amounts as questions, so that each must arrive where it belongs
        return str(len(asked)) if default == "0" else currency if default == "" else default

    monkeypatch.setattr("typer.prompt", prompt)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    app(["poc", "new", str(tmp_path / "x"), "--language", "ja"], standalone_mode=False)
    assert all(re.search("[ぁ-ん]", question) for question in asked)
    assert len(asked) == 9 + amounts
    money = load_poc(tmp_path / "x").money
    found = (money.find, money.wrong_pick, money.minutes_lost, money.minute, money.photos)
    assert (*found, money.gigabyte_month, money.core_month) == (
        tuple(float(number) for number in range(10, 17)) if amounts else (0.0,) * 7
    )
    assert missing_prices(money) == (() if amounts else missing_prices(MoneyConfig(searches_a_day=8)))


def settings(objects: int = 0) -> PocConfig:
    """Return settings whose designs are quick, for `tests.scenes.write_photos`."""
    return PocConfig(
        name="scenes",
        photos=PhotosConfig(sizes=("small", "large"), size_edges=(0.05,), backgrounds=(), clutter_edges=()),
        plan=PlanConfig(objects=objects),
        designs=DesignsConfig(names=("local-1k", "local-2k", "few-shot"), baseline="local-1k"),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("small_growth")
def test_three_objects_give_a_plan_and_no_recommendation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path, objects=3, distractors=10)
    new_poc(tmp_path / "poc", settings(objects=20))
    link_photos(tmp_path)
    found = check_poc(tmp_path / "poc")
    assert (found.objects, found.positives, found.can_decide) == (3, 9, False)
    assert found.without_size == 9
    done, not_run = run_poc(tmp_path / "poc")
    assert done == ("local-1k", "local-2k")
    assert "designs.labels" in not_run["few-shot"]
    decision, path = decide_poc(tmp_path / "poc")
    assert decision.recommendation.kind == "plan"
    assert decision.recommendation.values["why"] == "few-objects"
    assert decision.recommendation.values["objects"] >= 10
    assert not any(statement.said for statement in (decision.change, *decision.statements))
    assert {verdict.answer for verdict in decision.verdicts} == {"not-enough-photos"}
    assert decision.money.lines == ()
    assert "money.currency" in decision.money.missing
    app(["poc", "decide", str(tmp_path / "poc")], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "no interval from 3 objects" in printed
    assert "[" not in printed
    plain = json.loads(path.read_text("utf-8"))
    assert plain["format"] == 1
    assert plain["recommendation"]["said"]
    assert plain["change"]["withheld"] == "few-objects"


@pytest.mark.slow
@pytest.mark.usefixtures("small_growth")
def test_a_proof_of_concept_from_folder_to_decision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = (90, 40, 26)
    write_photos(tmp_path, objects=12, distractors=10)
    for number in range(12):
        for view, side in enumerate(sides):
            home = tmp_path / "photos" / "objects" / f"object {number}" / "positive"
            (home / f"{view}.png").write_bytes(scene(10 * number + view, thing(number), side))
    new_poc(tmp_path / "poc", settings(objects=12))
    link_photos(tmp_path)
    rows = ["file,object,role,x,y,width,height"]
    for number in range(12):
        for view, side in enumerate(sides):
            photo = f"objects/object {number}/positive/{view}.png"
            rows.append(f"{photo},object {number},positive,60,30,{side},{side}")
    (tmp_path / "poc" / "photos" / "photos.csv").write_text("\n".join(rows), "utf-8")
    covered = {cell.cell: cell for cell in check_poc(tmp_path / "poc").cells}
    assert (covered["small"].photos, covered["large"].photos) == (24, 12)
    assert covered["large"].wanted_photos == 24
    run_poc(tmp_path / "poc")
    (tmp_path / "poc" / "results" / "threshold.json").write_text('{"risk": 0.05}', "utf-8")
    app(["poc", "decide", str(tmp_path / "poc")], standalone_mode=False)
    assert "local-2k" in capsys.readouterr().out
    plain = json.loads((tmp_path / "poc" / "decision.json").read_text("utf-8"))
    assert plain["threshold"] == {"risk": 0.05}
    assert [cell["name"] for cell in plain["cells"]] == ["small", "large", "all"]
    assert plain["objects"] == 12
    for verdict in plain["verdicts"]:
        assert verdict["gain"]["low"] <= verdict["gain"]["value"] <= verdict["gain"]["high"]
        assert verdict["gain"]["objects"] == 12
    assert plain["spreads"]["all"] >= 0
    (tmp_path / "poc" / "results" / "threshold.json").unlink()
    for name in ("local-1k", "local-2k"):
        timed = tmp_path / "poc" / "results" / f"{name}.growth.json"
        assert [int(photos) > 300 for photos in json.loads(timed.read_text("utf-8"))] == [True, True]
        write_json(timed, {"10000": 50.0, "100000": 140.0})
    used: list[Any] = []

    def noted(config: Any, photos: Any, tried: Any, *rest: Any) -> Any:
        used.extend(each.cost.growth for each in tried)
        return decide(config, photos, tried, *rest)

    monkeypatch.setattr("ilion.pipeline.jobs.poc.decide", noted)
    decide_poc(tmp_path / "poc")
    assert used == [((10_000, 50.0), (100_000, 140.0))] * 2
    write_json(timed, {"many": -1.0})
    with pytest.raises(ArtifactError, match="holds no times"):
        decide_poc(tmp_path / "poc")
    timed.unlink()
    shutil.rmtree(tmp_path / "poc" / "results" / "cache")  # then there is no threshold, and a decision still
    again_decided, _ = decide_poc(tmp_path / "poc")
    assert again_decided.threshold is None
    assert to_plain(again_decided.verdicts) == plain["verdicts"]
    (tmp_path / "next").mkdir()
    again = settings()
    shots, _ = new_poc(tmp_path / "next", replace(again, plan=PlanConfig(pilot=str(tmp_path / "poc"))))
    assert shots.spread == pytest.approx(plain["spreads"]["all"])
    assert shots.spread_from == str(tmp_path / "poc")


def link_photos(folder: Path) -> None:
    """Put drawn photos where a proof of concept looks for them."""
    shutil.rmtree(folder / "poc" / "photos")
    (folder / "photos").rename(folder / "poc" / "photos")
