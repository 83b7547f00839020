"""JSON and TOML that are nested beyond reason, wherever a person can give them: a sentence, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import write
from tests.networks import tiny_network

from ilion.adapt.layer import load_layer
from ilion.config import load_experiment
from ilion.datasets import open_dataset
from ilion.descriptors.registry import build
from ilion.download.recipes import load_recipes
from ilion.download.settings import load_settings
from ilion.errors import IlionError
from ilion.interop.results import read_results
from ilion.opening import parse_json, parse_toml
from ilion.storage import read_json
from ilion.synthetic import synthesize

DEPTHS = (150, 700, 30_000)
"""What is no sense, what parsers bear and messages do not, and what parsers do not bear."""


def read_side_file(folder: Path, text: str) -> None:
    network = tiny_network(folder / "net.onnx")
    write(folder / "net.onnx.toml", text)
    build(f"onnx:{network}")


def read_facts(folder: Path, text: str) -> None:
    facts = np.frombuffer(text.encode(), np.uint8)
    np.savez(folder / "layer.npz", weight=np.eye(2), bias=np.zeros(2), facts=facts)
    load_layer(folder / "layer.npz")


JSON: dict[str, Callable[[Path, str], object]] = {
    "taxonomy": lambda folder, text: open_dataset(write(folder / "taxonomy.json", text).parent),
    "results": lambda folder, text: read_results(write(folder / "results.json", f'{{"q": {text}}}')),
    "what was stored": lambda folder, text: read_json(write(folder / "run.json", text), dict[str, int]),
    "a synthetic set": lambda folder, text: synthesize(write(folder / "set/synthetic.json", text).parent),
    "facts of a layer": read_facts,
}
TOML: dict[str, Callable[[Path, str], object]] = {
    "experiment": lambda folder, text: load_experiment(write(folder / "e.toml", text)),
    "recipe": lambda folder, text: load_recipes(write(folder / "r.toml", text)),
    "settings of downloads": lambda folder, text: load_settings(write(folder / "d.toml", text)),
    "side file": read_side_file,
    "--set": lambda folder, text: load_experiment(
        write(folder / "e.toml", ""), [f"search.k={text.partition('=')[2]}"]
    ),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("place", [*JSON, *TOML])
def test_what_is_nested_too_deeply(place: str, depth: int, tiny_dataset: Path) -> None:
    deep = "[" * depth + "]" * depth
    give, said = (JSON[place], deep) if place in JSON else (TOML[place], f"name = {deep}")
    with pytest.raises(IlionError) as raised:
        give(tiny_dataset, said)
    assert len(str(raised.value)) < 1000
    assert "nested too deeply" in str(raised.value) or place == "--set"  # which is a text then


def test_depth_is_that_of_the_deepest_branch() -> None:
    flat = '{"a": [' + ", ".join("[{}]" for _ in range(500)) + "]}"
    assert len(parse_json(flat)["a"]) == 500
    assert parse_json('"' + "[" * 200 + '"') == "[" * 200
    for deep in ('[1, {"a": ' * 60 + "0" + "}]" * 60, "[" * 101 + "]" * 101):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_toml(".".join("a" * 200) + " = 1")
    assert parse_toml("a = '" + "." * 200 + "'") == {"a": "." * 200}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_other_programs(encoding: str) -> None:
    assert parse_json('{"皿": 1}'.encode(encoding)) == {"皿": 1}
    assert parse_toml("a = '皿'\r\n".encode(encoding)) == {"a": "皿"}
    with pytest.raises(ValueError, match="byte 6 is no UTF-8"):
        parse_toml("a = 'T\xfcr'".encode("latin-1"))
