"""The package of docs/extending.md with one part of each kind: installed by pip, and run end to end."""

from __future__ import annotations

import ast
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


ROOMS = {
    "models.py": {"colours": "descriptors", "ColourWords": "descriptors"},
    "local.py": {"Strongest": "localfeatures", "Halves": "localfeatures.codecs", "Near": "reranking"},
    "rest.py": {
        "ByPrefix": "datasets.layouts",
        "reciprocal": "evaluation",
        "Centre": "adapt",
        "loop": "searching",
    },
}
"""Module of the docs -> what it registers -> the room where that belongs."""
INSIDE = """
import sys
from importlib import import_module
for room, folder in {places!r}.items():
    import_module("ilion." + room).__path__.append(folder)  # as if its files lay in the room
from ilion.__main__ import main
sys.exit(main())
"""


def write_rooms(root: Path) -> dict[str, str]:
    """Write each part of the docs into one file of the room where it belongs; return the folders by room."""
    places: dict[str, str] = {}
    for module, text in re.findall(
        r"```python\n# my_parts/(\w+\.py)\n(.*?)```", DOCS.read_text(), flags=re.S
    ):
        nodes = ast.parse(text).body
        parts = {
            n.name: n for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.decorator_list
        }
        shared = "\n".join(ast.unparse(node) for node in nodes if node not in parts.values())
        rooms = ROOMS.get(module, {})
        assert parts.keys() == rooms.keys()
        for name, room in rooms.items():
            folder = root / room
            code = f"{shared}\n{ast.unparse(parts[name])}"
            if name == "colours":
                code += "\nfrom ilion.descriptors.registry import ModelInfo, register"
                code += "\nregister(ModelInfo('colours', 'colours', 12, 64, 'MIT', 0))"
            if name == "reciprocal":
                code = (
                    f"from ilion.evaluation.metrics import of_one\n{code.replace('@METRICS', 'METRICS', 1)}"
                )
                code = code.replace("METRICS.register('reciprocal')", "")
                code += "\nMETRICS.register('reciprocal')(of_one(reciprocal))"
            write(folder / f"{name.lower()}_part.py", code)
            places[room] = str(folder)
    return places


@pytest.mark.slow
def test_inside_the_tree_one_file_is_enough(photos: Path, tmp_path: Path) -> None:
    script = INSIDE.format(places=write_rooms(tmp_path / "rooms"))

    def inside(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments, "--json"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    chosen = settings({**RUN, "extraction.text_tower": "colour-words"})
    said = inside("run", str(photos), *chosen, "-o", str(tmp_path / "run"))
    assert said["metrics"]["reciprocal@5"] > 0.5
    origins = {part["name"]: part["origin"] for part in inside("parts")}
    parts = {
        "colours",
        "colour-words",
        "strongest",
        "halves",
        "near",
        "by-prefix",
        "reciprocal",
        "centre",
        "loop",
    }
    assert {name: origins[name] for name in parts} == dict.fromkeys(parts, "built-in")
