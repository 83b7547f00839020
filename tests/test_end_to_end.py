"""The real photos through every stage, from the command line, as a user would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest


def ilion(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ilion", *arguments], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def dairy(grocery: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copy the ten cartons of one dairy, which look alike, with one shard; and list half of its distractors.

    That is a quarter of the photos, and a hard one: every third object and a whole shard give mAP 0.71.
    """
    root = tmp_path / "dairy"
    for folder in sorted((grocery / "ilias_core").glob("arla_*")):
        shutil.copytree(folder, root / "ilias_core" / folder.name)
    shard = Path("distractors") / "distractors_00000.tar"
    (root / "distractors").mkdir()
    shutil.copyfile(grocery / shard, root / shard)
    shutil.copyfile(grocery / "taxonomy.json", root / "taxonomy.json")
    with tarfile.open(root / shard) as tar:
        ids = sorted(f"{shard.name}/{name.partition('.')[0]}" for name in tar.getnames())
    subset = tmp_path / "half.txt"
    subset.write_text("\n".join(ids[::2]))
    return root, subset


@pytest.mark.grocery
@pytest.mark.slow
def test_grocery_with_the_default(grocery: Path, dairy: tuple[Path, Path], tmp_path: Path) -> None:
    assert "31" in ilion("datasets", "check", str(grocery), "--quick")
    output = tmp_path / "run"
    chosen = [str(dairy[0]), "--set", f"dataset.subset={dairy[1]}", "-o", str(output), "--json"]
    said: dict[str, Any] = json.loads(ilion("run", *chosen))
    print(json.dumps({key: said[key] for key in ("mAP", "ci95", "metrics", "cost")}, indent=1))
    assert (said["queries"], said["database"], said["skipped"]) == (10, 568, [])
    # both halves, in 16 bits
    assert said["cost"]["bytes_per_image"] == 2 * (16_384 + 1_280)
    # measured: mAP 0.559, R@1 1.0, P@10 0.830, recall@100 0.738; all of the database is among 1000 results
    assert said["mAP"] >= 0.54
    assert said["ci95"][0] < said["mAP"] < said["ci95"][1]
    metrics = said["metrics"]
    assert metrics["R@1"] >= 0.9
    assert metrics["P@10"] >= 0.8
    assert metrics["recall@100"] >= 0.725  # of the keypoints alone: 0.718
    assert metrics["recall@1000"] == metrics["oracle@1000"] == 1.0
    report = Path(said["report"])
    assert 500_000 < report.stat().st_size < 15_000_000
    again = json.loads(ilion("evaluate", *chosen))
    assert again["mAP"] == said["mAP"]
    assert set(again["cost"]["reused"]) == {"fit", "descriptors", "queries", "search"}
    same = json.loads(ilion("compare", str(output), str(output), "--json"))
    assert same["difference"] == 0.0
    assert same["equal"] == 10
    # fewer results than images, as in large databases: only the cut changes
    cut = json.loads(ilion("evaluate", *chosen, "--set", "search.k=100"))
    assert set(cut["cost"]["reused"]) == {"fit", "descriptors", "queries"}
    assert cut["metrics"]["recall@1000"] == metrics["recall@100"]
    assert cut["mAP"] < cut["metrics"]["oracle@1000"] < 1
    assert said["mAP"] - 0.08 < cut["mAP"] < said["mAP"]
