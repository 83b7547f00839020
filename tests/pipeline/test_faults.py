"""Kill extraction at random moments; look what a folder of bad files does."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bad_images import cases
from tests.conftest import draw_photo, write
from tests.networks import tiny_network

from ilion import api
from ilion.__main__ import main
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ImageError

KILLS = 20
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp"}


def digest(folder: Path) -> dict[str, str]:
    """File name -> digest, of everything but times and locks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".npy" or path.name.endswith(".ids.json")
    }


def command(dataset: Path, network: Path, output: Path) -> list[str]:
    settings = ["dataset.shard_size=8", "extraction.threads=1", "extraction.workers=1"]
    changes = [part for setting in settings for part in ("--set", setting)]
    return ["extract", str(dataset), "--model", f"onnx:{network}", "-o", str(output), *changes]


def run(arguments: list[str], seconds: float, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """Run a verb in a process that has imported what it needs, and return its exit code; None if killed."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["pytest.__main__", "ilion.cli", "ilion.pipeline.order", "onnxruntime"])
    monkeypatch.setattr(
        "sys.argv", ["ilion", *arguments]
    )  # a process begins with the arguments of its parent
    process = processes.Process(target=main)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, network = tmp_path / "photos", tiny_network(tmp_path / "tiny.onnx")
    for number in range(4):
        folder = dataset / "objects" / f"object {number}"
        write(folder / "query" / "front.jpg", draw_photo(number))
        for view in range(80):
            photo = draw_photo(1000 * number + view, size=(320, 240))
            write(folder / "positive" / f"{view:02d}.jpg", photo)
    assert run(["--version"], 120, monkeypatch) == 0  # imports
    began = time.monotonic()
    assert run(command(dataset, network, tmp_path / "whole"), 120, monkeypatch) == 0
    took = time.monotonic() - began
    expected = digest(tmp_path / "whole")
    values = [name for name in expected if "descriptors-" in name and name.endswith(".npy")]
    assert len([name for name in values if not name.endswith(".stamps.npy")]) == 40

    draw = random.Random(4)
    killed = 0
    again = command(dataset, network, tmp_path / "killed")
    for _ in range(3 * KILLS):
        ended = run(again, draw.uniform(0.05, 0.9) * took, monkeypatch)
        if ended is None:
            killed += 1
            # whatever stands under its final name is whole
            finished = digest(tmp_path / "killed")
            assert all(
                expected[name] == value for name, value in finished.items() if name.endswith(".ids.json")
            )
        else:  # it got through between two kills: that counts as a resumed run, and the next starts anew
            assert ended == 0
            assert digest(tmp_path / "killed") == expected
            shutil.rmtree(tmp_path / "killed")
        if killed == KILLS:
            break
    assert killed == KILLS
    assert run(again, 120, monkeypatch) == 0
    assert digest(tmp_path / "killed") == expected


def bad_folder(root: Path) -> dict[str, str]:
    """Write a data set of bad and odd images; file name -> pattern of its message, "" where it reads."""
    write(root / "objects" / "thing" / "query" / "front.jpg", draw_photo(1))
    write(root / "objects" / "thing" / "positive" / "good.jpg", draw_photo(2))
    verdicts = {}
    for name, case in cases().items():
        file = (
            name
            if name.endswith((".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".bmp"))
            else f"{name}.jpg"
        )
        write(root / "objects" / "thing" / "positive" / file, case.data)
        verdicts[file] = case.error
    return verdicts


def test_a_folder_of_bad_images_stops_or_is_counted(tmp_path: Path) -> None:
    verdicts = bad_folder(tmp_path / "photos")
    bad = {name for name, message in verdicts.items() if message}
    assert len(verdicts) >= 25
    extraction = {"model": f"onnx:{tiny_network(tmp_path / 'n.onnx')}", "threads": 1}
    values: dict[str, Any] = {
        "output": str(tmp_path / "out"),
        "dataset": {"path": str(tmp_path / "photos")},
        "extraction": extraction,
    }
    config = from_dict(ExperimentConfig, values)
    with pytest.raises(ImageError, match="--on-bad-image=skip"):
        api.extract(config)
    extraction["on_bad_image"] = "skip"
    skipping = from_dict(ExperimentConfig, values)
    done = api.extract(skipping)
    said = {Path(s.where).name: s.reason for s in done.skipped}
    assert set(said) == bad
    for name, reason in said.items():
        assert re.search(verdicts[name], reason), (name, reason)
    assert done.images == len(verdicts) - len(bad) + 1
    stats = json.loads(next(done.folder.glob("*.stats.json")).read_text(encoding="utf-8"))
    assert {Path(s["where"]).name for s in stats["skipped"]} == bad
