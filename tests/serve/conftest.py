"""A small set of photos, a run over it, and an index of it, shared by the tests of serving."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ilion.api import run
from ilion.config import ExperimentConfig, apply_overrides, from_dict

QUICK = ["extraction.model=efficientnet-lite2", "extraction.side=64", "search.k=40"]
RERANKED = [*QUICK, "rerank.features=rootsift", "rerank.keypoints=200", "rerank.side=160"]


@pytest.fixture(scope="session")
def photos(draw_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "set"
    return draw_set(folder, instances=4, positives=4, distractors=14, image_side=160)


def settings(photos: Path, output: Path, *overrides: str) -> ExperimentConfig:
    values = {"name": output.name, "output": str(output), "dataset": {"path": str(photos), "shard_size": 7}}
    return from_dict(ExperimentConfig, apply_overrides(values, overrides))


@pytest.fixture(scope="session")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run that re-ranks."""
    output = tmp_path_factory.mktemp("finished") / "run"
    run(settings(photos, output, *RERANKED))
    return output


@pytest.fixture(scope="session")
def quick(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run by global descriptors alone."""
    output = tmp_path_factory.mktemp("quick") / "run"
    run(settings(photos, output, *QUICK))
    return output


@pytest.fixture(scope="session")
def usual(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the default design."""
    output = tmp_path_factory.mktemp("usual") / "run"
    run(settings(photos, output, "search.k=40"))
    return output


@pytest.fixture(scope="session")
def _made(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ilion.serve.writer import create_from_run

    folder = tmp_path_factory.mktemp("index") / "index"
    create_from_run(folder, finished)
    return folder


@pytest.fixture
def folder(_made: Path, tmp_path: Path) -> Path:
    """The folder of an index of its own for each test."""
    return Path(shutil.copytree(_made, tmp_path / "index"))
