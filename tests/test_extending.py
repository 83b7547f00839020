"""The package of docs/extending.md with one part of each kind: installed by pip, and run end to end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import draw_photo, write

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"
RUN = {
    "dataset.layout": "by-prefix",
    "extraction.model": "colours",
    "search.method": "loop",
    "rerank.features": "strongest",
    "rerank.codec": "halves",
    "rerank.scorer": "near",
    "rerank.shortlist": 5,
    "evaluation.metrics": ["reciprocal@5"],
    "evaluation.bootstrap": 50,
}


def write_wheel(folder: Path) -> Path:
    """Write the package of the docs as a wheel."""
    blocks = re.findall(r"```python\n# (my_parts/\w+\.py)\n(.*?)```", DOCS.read_text("utf-8"), flags=re.S)
    assert len(blocks) == 4
    assert all(len(code.splitlines()) < 60 for _, code in blocks)
    info = "my_parts-1.0.dist-info"
    files = dict(blocks) | {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: my-parts\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[ilion]\nmy-parts = my_parts\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    wheel = folder / "my_parts-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package into a folder of its own."""
    root = tmp_path_factory.mktemp("installed")
    install = ["install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    target = ["--target", str(root / "site"), str(write_wheel(root))]
    subprocess.run([sys.executable, "-m", "pip", *install, *target], check=True, capture_output=True)
    return root / "site"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write a data set in the package's own format."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("mug", "can", "box")):
        for view in range(3):
            write(folder / f"{name}-{view}.jpg", draw_photo(100 * number + (view > 1), size=(160, 120)))
    for number in range(6):
        write(folder / f"none-{number + 1}.jpg", draw_photo(1000 + number, size=(160, 120)))
    return folder


def ilion(installed: Path, *arguments: str) -> Any:
    """Run a command where the package is installed; return what it prints as JSON."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "ilion", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def settings(values: dict[str, Any]) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]


@pytest.mark.slow
def test_one_of_each_runs_end_to_end(installed: Path, photos: Path, tmp_path: Path) -> None:
    chosen = [str(photos), *settings(RUN), "-o", str(tmp_path / "run")]
    said = ilion(installed, "run", *chosen, "--processes", "2")
    assert said["queries"] == 3
    assert said["database"] == 12
    assert said["metrics"]["reciprocal@5"] > 0.5
    assert Path(said["report"]).stat().st_size > 10_000
    again = ilion(installed, "evaluate", *chosen)
    assert again["mAP"] == said["mAP"]
    assert {"descriptors", "search", "local features", "re-ranking"} <= set(again["cost"]["reused"])


@pytest.mark.slow
def test_texts_adaptation_and_sweeps_take_them_too(installed: Path, photos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    lines = ["path,class,domain"]
    for number in range(8):
        write(labels / f"{number}.jpg", draw_photo(5000 + number, size=(96, 96)))
        lines.append(f"{number}.jpg,{number // 2},things")
    write(labels / "labels.csv", "\n".join(lines))
    adapted = {**RUN, "adaptation.method": "centre", "adaptation.labels": str(labels / "labels.csv")}
    adapted |= {"extraction.text_tower": "colour-words", "adaptation.folds": 0}
    said = ilion(installed, "run", str(photos), *settings(adapted), "-o", str(tmp_path / "adapted"))
    assert 0 < said["mAP"] <= 1
    over = ["--over", 'rerank.scorer="near","geometry"']
    swept = ilion(installed, "sweep", str(photos), *settings(RUN), *over, "-o", str(tmp_path / "sweep"))
    assert len(swept["runs"]) == 2


@pytest.mark.slow
def test_a_misspelt_part_of_the_package_is_explained(installed: Path, photos: Path) -> None:
    with pytest.raises(AssertionError, match="did you mean 'colours'"):
        ilion(installed, "run", str(photos), "--set", "extraction.model=colour")
