"""Random damage to data sets, runs, tables, tars, features and results ends in a result or a sentence."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer.main

from ilion import cli
from ilion.descriptors.registry import BACKENDS
from ilion.interop.features import write_features
from ilion.types import Descriptors
from tests.conftest import draw_photo, write, write_tar
from tests.mutations import call, damage_tree

MODEL = """
import numpy as np
from ilion.descriptors.base import ExtractorSpec
from ilion.descriptors.registry import BACKENDS

class Mean:
    spec = ExtractorSpec(
        "mean", "none", "1", dim=3, resize="long", side=8, mean=(0.0,) * 3, std=(1.0,) * 3, pooling="head",
        licence="MIT",
    )

    def extract(self, images):
        return np.array([image.mean(axis=(0, 1)) + 1 for image in images], np.float32)

@BACKENDS.register("mean-of-mutations")
def mean(info, options):
    return Mean()
"""
SETTINGS = """
output = "run"
trust = ["{code}"]
[dataset]
path = "set"
[extraction]
model = "{code}:mean"
threads = 1
workers = 1
[evaluation]
k = 5
bootstrap = 10
[report]
gallery = 1
"""


def _photo(seed: int, kind: str = "JPEG") -> bytes:
    return draw_photo(seed, (24, 16), kind)


def _plain(root: Path) -> None:
    for number, name in enumerate(("mug", "box")):
        for place, seed in (("query", 0), ("positive", 1)):
            kind = "PNG" if number else "JPEG"
            ending = {"PNG": "png", "JPEG": "jpg"}[kind]
            write(root / "objects" / name / place / f"{seed}.{ending}", _photo(10 * number + seed, kind))
    write(root / "distractors" / "d.gif", _photo(200, "GIF"))
    write_tar(root / "distractors" / "t.tar", {"a.jpg": _photo(300), "x/b.webp": _photo(301, "WEBP")})
    write(root / "objects.csv", "object,description,category\nmug,a mug,kitchen\nbox,,\n")
    lines = "objects/mug/query/0.jpg,mug,query,1,1,9,9,\nobjects/box/positive/1.png,box,,2,2,8,8,0.5\n"
    write(root / "photos.csv", "file,object,role,x,y,width,height,clutter\n" + lines)


def _ilias(root: Path) -> None:
    for number, name in enumerate(("mug_000", "box_001")):
        folder = root / "ilias_core" / name
        write(folder / "query" / f"Q{number:03d}_00.jpg", _photo(10 * number))
        write(folder / "query" / f"Q{number:03d}_00_bbox.txt", "1 2 9 9\n")
        write(folder / "query" / f"T{number:03d}.txt", "a thing\n")
        write(folder / "pos" / f"P{number:03d}_00.jpg", _photo(10 * number + 1))
        write(folder / "pos" / f"P{number:03d}_00_bbox.txt", "1 2 9 9\n")
    write_tar(root / "distractors" / "shard_00000.tar", {f"i{i}.jpg": _photo(400 + i) for i in range(3)})
    write(root / "taxonomy.json", '{"a": {"b": {"c": ["mug_000"], "d": ["box_001"]}}}')


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write a small sound world of each kind, run what has to be run, and build the commands once."""
    memory = Path("/dev/shm")  # thousands of small files come and go
    if memory.is_dir() and os.access(memory, os.W_OK):
        root = Path(tempfile.mkdtemp(prefix="ilion-mutations-", dir=memory))
    else:
        root = tmp_path_factory.mktemp("worlds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", typer.main.get_command(cli.app))
        patch.setattr(os, "fsync", lambda descriptor: None)  # nobody pulls the plug here
        patch.setattr(
            BACKENDS, "_parts", dict(BACKENDS._parts)
        )  # the model may come again from another place
        write(root / "own.py", MODEL)
        for name, make in (("plain", _plain), ("ilias", _ilias)):
            write(root / name / "e.toml", SETTINGS.format(code=root / "own.py"))
            make(root / name / "set")
            shutil.copytree(root / name, root / f"{name}-run")
            ended = call(cli.main, "run", root / f"{name}-run" / "e.toml")
            assert (ended.code, ended.fault) == (0, ""), ended.err
        _elsewhere(root)
        yield root
    shutil.rmtree(root)


def _elsewhere(root: Path) -> None:
    """Write features and results as other programs do."""
    for name in ("features", "imported", "json", "pickle"):
        shutil.copytree(root / "plain", root / name)
    rng = np.random.default_rng(0)
    files = {
        "image_queries": ("mug/0.jpg", "box/0.png"),
        "positives": ("mug/1.jpg", "box/1.png"),
        "distractors_00000": ("d.gif", "t/a.jpg", "t/x/b.webp"),
    }
    for name, ids in files.items():
        values = rng.normal(size=(len(ids), 3)).astype("float32")
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        write_features(root / "features" / "files" / f"features_{name}.hdf5", [Descriptors(ids, values)])
    model = root / "imported" / "model"
    assert call(cli.main, "import", "features", root / "features" / "files", "-o", model).code == 0
    for form in ("json", "pickle"):
        target = root / form / "results"
        assert (
            call(cli.main, "export", "results", root / "plain-run" / "run", "-o", target, "--form", form).code
            == 0
        )


def _commands(kind: str, case: Path, seed: int) -> list[tuple[object, ...]]:
    """Return the commands that meet the damage of a kind of world; what takes long only now and then."""
    experiment, run = case / "e.toml", case / "run"
    if kind in ("plain", "ilias"):
        return [("datasets", "check", case / "set"), ("evaluate", experiment)]
    if kind == "features":
        files, model = case / "files", case / "model"
        judge = ("evaluate", experiment, "--model", f"imported:{model}")
        return [("import", "features", files, "-o", model), judge]
    if kind == "imported":
        return [("evaluate", experiment, "--model", f"imported:{case / 'model'}")]
    if kind in ("json", "pickle"):
        return [("import", "results", case / "results", experiment)]
    if kind == "settings":
        return [("config", experiment), ("evaluate", experiment)]
    look = [("status", run), ("compare", run, run), ("export", "results", run, "-o", case / "results")]
    long = [("forecast", run), ("report", run), ("evaluate", experiment), ("run", experiment)]
    return [*look, long[seed % len(long)]]


DAMAGED = {
    "plain": ("set", 320), "ilias": ("set", 280), "features": ("files", 320), "imported": ("model", 240),
    "json": ("results", 160), "pickle": ("results", 160), "plain-run": ("run", 320), "ilias-run": ("run", 80),
    "settings": ("e.toml", 160),
}  # fmt: skip
"""Kind of world -> what of it is damaged, and the number of cases; 2,040 in all."""
CHUNK = 40
"""Cases of a test."""


def _use_damaged(worlds: Path, kind: str, seed: int) -> list[str]:
    """Damage a world in one to three places and use it; return what went wrong."""
    rng = random.Random(f"{kind} {seed}")
    with tempfile.TemporaryDirectory(dir=worlds) as folder:
        case = Path(folder) / "case"
        shutil.copytree(worlds / ("plain" if kind == "settings" else kind), case)
        done = [damage_tree(case / DAMAGED[kind][0], rng) for _ in range(1 + seed % 3)]
        ended = {command[0]: call(cli.main, *command) for command in _commands(kind, case, seed)}
    return [
        f"{kind} {seed} {'; '.join(done)}: {verb}\n{each.fault}" for verb, each in ended.items() if each.fault
    ]


def _use_all(worlds: Path, kind: str, seeds: range) -> None:
    faults = [fault for seed in seeds for fault in _use_damaged(worlds, kind, seed)]
    assert not faults, f"{len(faults)} of {len(seeds)} cases:\n" + "\n\n".join(faults)


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_ends_in_a_result_or_a_sentence(worlds: Path, kind: str) -> None:
    _use_all(worlds, kind, range(4))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "first"), [(kind, n) for kind, (_, cases) in DAMAGED.items() for n in range(4, cases, CHUNK)]
)
def test_much_damage_ends_in_a_result_or_a_sentence(worlds: Path, kind: str, first: int) -> None:
    _use_all(worlds, kind, range(first, min(first + CHUNK, DAMAGED[kind][1])))
