"""Kill extraction at random moments; look what a folder of bad files does."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bad_images import cases
from tests.conftest import draw_photo, write
from tests.networks import tiny_network

from ilion import api
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
    model = ["--model", f"onnx:{network}"]
    return [sys.executable, "-m", "ilion", "extract", str(dataset), *model, "-o", str(output), *changes]


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    dataset, network = tmp_path / "photos", tiny_network(tmp_path / "tiny.onnx")
    for number in range(4):
        folder = dataset / "objects" / f"object {number}"
        write(folder / "query" / "front.jpg", draw_photo(number))
        for view in range(80):
            photo = draw_photo(1000 * number + view, size=(320, 240))
            write(folder / "positive" / f"{view:02d}.jpg", photo)
    began = time.monotonic()
    subprocess.run(
        command(dataset, network, tmp_path / "whole"), check=True, capture_output=True, timeout=120
    )
    took = time.monotonic() - began
    expected = digest(tmp_path / "whole")
    values = [name for name in expected if "descriptors-" in name and name.endswith(".npy")]
    assert len([name for name in values if not name.endswith(".stamps.npy")]) == 40

    draw = random.Random(4)
    killed = 0
    again = command(dataset, network, tmp_path / "killed")
    for _ in range(3 * KILLS):
        try:  # the timeout of run() is a SIGKILL
            subprocess.run(again, check=True, capture_output=True, timeout=draw.uniform(0.3, 0.9) * took)
        except subprocess.TimeoutExpired:
            killed += 1
            # whatever stands under its final name is whole
            finished = digest(tmp_path / "killed")
            assert all(
                expected[name] == value for name, value in finished.items() if name.endswith(".ids.json")
            )
        else:  # it got through between two kills: that counts as a resumed run, and the next starts anew
            assert digest(tmp_path / "killed") == expected
            shutil.rmtree(tmp_path / "killed")
        if killed == KILLS:
            break
    assert killed == KILLS
    subprocess.run(again, check=True, capture_output=True, timeout=120)
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
