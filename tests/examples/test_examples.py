"""The scripts in examples/ run as they are and print what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import draw_photo

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str, folder: Path | None = None) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d+\.\d+", text)]


@pytest.mark.slow
def test_arrays_only() -> None:
    mean, low, high, change, *_ = numbers(run("arrays_only.py"))
    assert 0.5 < low < mean < high < 0.9
    assert change < 0


@pytest.mark.slow
def test_a_model_of_ones_own() -> None:
    assert 0.1 < numbers(run("own_model.py"))[0] <= 1


@pytest.mark.slow
def test_a_reranker_of_ones_own() -> None:
    before, after = numbers(run("own_reranker.py"))
    assert 0.1 < before < after <= 1


@pytest.mark.slow
def test_a_metric_of_ones_own() -> None:
    assert "'reciprocal_rank@1000': 0.75" in run("own_metric.py")


@pytest.mark.slow
def test_own_photos(tmp_path: Path) -> None:
    for seed in range(4):
        (tmp_path / f"photo{seed}.jpg").write_bytes(draw_photo(seed))
    (tmp_path / "query.png").write_bytes(draw_photo(2, kind="PNG"))
    said = run("own_photos.py", str(tmp_path), "query.png", folder=tmp_path)
    best, second = said.splitlines()[:2]
    assert best.endswith("query.png")
    assert second.endswith("photo2.jpg")
    assert (tmp_path / "results.html").read_text().count("data:image/jpeg") == 6
    assert len(list(EXAMPLES.glob("*.py"))) == 5
