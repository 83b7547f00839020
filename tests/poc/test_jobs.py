"""The verbs on a small drawn set: plan, look, run, decide; and nothing but a plan from 3 objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ilion.cli import app
from ilion.errors import ConfigError, DatasetError
from ilion.pipeline.jobs.poc import check_poc, decide_poc, new_poc, run_poc
from ilion.poc.coverage import render
from ilion.poc.settings import PlanConfig, PocConfig


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
    assert "too few" in render(found)
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
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(DatasetError, match="is not empty"):
        new_poc(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["thesis.txt"]


def test_new_asks_nothing_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["poc", "new", str(tmp_path / "x"), "--objects", "20", "--gain", "0.1"], standalone_mode=False)
    assert "20 objects" in capsys.readouterr().out
    assert "gain = 0.1" in (tmp_path / "x" / "poc.toml").read_text("utf-8")
