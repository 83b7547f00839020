"""The real photos through every stage, from the command line, as a user would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def ilion(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ilion", *arguments], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.grocery
@pytest.mark.slow
def test_grocery_with_the_default(grocery: Path, tmp_path: Path) -> None:
    assert "31" in ilion("datasets", "check", str(grocery), "--quick")
    output = tmp_path / "run"
    said: dict[str, Any] = json.loads(ilion("run", str(grocery), "-o", str(output), "--json"))
    print(json.dumps({key: said[key] for key in ("mAP", "ci95", "metrics", "cost")}, indent=1))
    assert (said["queries"], said["database"], said["skipped"]) == (31, 2464, [])
    assert said["mAP"] >= 0.45
    assert said["ci95"][0] < said["mAP"] < said["ci95"][1]
    assert said["metrics"]["R@1"] >= 0.7
    assert said["metrics"]["oracle@1000"] > said["mAP"]
    report = Path(said["report"])
    assert 500_000 < report.stat().st_size < 15_000_000
    again = json.loads(ilion("evaluate", str(grocery), "-o", str(output), "--json"))
    assert again["mAP"] == said["mAP"]
    assert set(again["cost"]["reused"]) == {"fit", "descriptors", "queries", "search"}
    same = json.loads(ilion("compare", str(output), str(output), "--json"))
    assert same["difference"] == 0.0
    assert same["equal"] == 31
