"""The scripts in examples/ run as they are and print what they should."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import draw_photo

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(
    draw_set: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a script as its own main module, here, where all is imported; return what it prints."""

    def drawn(folder: Path, *, workers: int, **settings: object) -> None:
        assert workers == 1
        draw_set(folder, **settings)

    def run(name: str, *arguments: str) -> str:
        # two draw the same set, which other tests ask for too
        monkeypatch.setattr("ilion.synthetic.synthesize", drawn)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d+\.\d+", text)]


@pytest.mark.slow
def test_arrays_only(run: Run) -> None:
    mean, low, high, change, *_ = numbers(run("arrays_only.py"))
    assert 0.5 < low < mean < high < 0.9
    assert change < 0


@pytest.mark.slow
def test_a_model_of_ones_own(run: Run) -> None:
    assert 0.1 < numbers(run("own_model.py"))[0] <= 1


@pytest.mark.slow
def test_a_reranker_of_ones_own(run: Run) -> None:
    before, after = numbers(run("own_reranker.py"))
    assert 0.1 < before < after <= 1


@pytest.mark.slow
def test_a_metric_of_ones_own() -> None:
    # apart, as the metric stays registered
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_metric.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'reciprocal_rank@1000': 0.75" in done.stdout


@pytest.mark.slow
def test_own_photos(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        (tmp_path / f"photo{seed}.jpg").write_bytes(draw_photo(seed))
    (tmp_path / "query.png").write_bytes(draw_photo(2, kind="PNG"))
    monkeypatch.chdir(tmp_path)
    said = run("own_photos.py", str(tmp_path), "query.png")
    best, second = said.splitlines()[:2]
    assert best.endswith("query.png")
    assert second.endswith("photo2.jpg")
    assert (tmp_path / "results.html").read_text().count("data:image/jpeg") == 6
    assert len(list(EXAMPLES.glob("*.py"))) == 5
