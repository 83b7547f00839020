"""Folders that may be read but not written: what only reads works, the rest says what to do in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.networks import tiny_network
from tests.rights import bound_by_permissions
from typer.testing import CliRunner

from ilion.cli import app
from ilion.errors import IlionError


def ilion(*arguments: object) -> tuple[int, str]:
    with bound_by_permissions():
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert isinstance(done.exception, IlionError), done.exception
        return 1, str(done.exception)
    return done.exit_code, done.output


@pytest.fixture
def sealed(tiny_dataset: Path, tmp_path: Path) -> Iterator[tuple[list[str], Path]]:
    """A finished run whose folder and cache may only be read; yields the words that run it again."""
    network = tiny_network(tmp_path / "tiny.onnx")
    words = ["--model", f"onnx:{network}", "--set", "evaluation.bootstrap=20"]
    words = [str(tiny_dataset), *words, "--set", f"cache={tmp_path / 'sealed/cache'}"]
    code, said = ilion("run", *words, "-o", tmp_path / "sealed/run")
    assert code == 0, said
    everything = [tmp_path / "sealed", *(tmp_path / "sealed").rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if ilion("datasets", "new", tmp_path / "sealed/probe")[0] == 0:
        pytest.skip("nothing is forbidden to this process")
    yield words, tmp_path / "sealed/run"
    for path in everything:
        path.chmod(0o755)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="rights are dropped as Linux does it")
def test_a_folder_that_may_only_be_read(sealed: tuple[list[str], Path], tmp_path: Path) -> None:
    words, run = sealed
    before = {path: path.stat().st_mtime_ns for path in run.parent.rglob("*")}
    for command in (
        ["compare", run, run],
        ["status", run],
        ["report", run, "-o", tmp_path / "page.html"],
        ["run", *words, "-o", tmp_path / "other"],  # all of it is in the cache
    ):
        code, said = ilion(*command)
        assert code == 0, said
    assert (tmp_path / "page.html").is_file()
    for command in (
        ["report", run],
        ["run", *words, "-o", run],
        ["run", *words, "--set", "search.k=7", "-o", tmp_path / "more"],
        ["run", *words[:-1], "cache=", "-o", run],
        ["datasets", "synth", run / "set"],
    ):
        code, said = ilion(*command)
        assert code == 1, said
        assert "cannot be written (Permission denied)" in said
        assert "choose another folder" in said
    assert {path: path.stat().st_mtime_ns for path in run.parent.rglob("*")} == before
