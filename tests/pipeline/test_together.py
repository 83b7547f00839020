"""Two runs that start together in one folder: one goes on, the other says why it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.networks import tiny_network
from typer.testing import CliRunner

from ilion.cli import app


@pytest.mark.slow
@pytest.mark.parametrize("same", ["settings", "cache"])
def test_two_runs_that_start_together(same: str, tiny_dataset: Path, tmp_path: Path) -> None:
    network = tiny_network(tmp_path / "tiny.onnx")
    settings = ["--model", f"onnx:{network}", "--set", "evaluation.bootstrap=50"]
    settings += ["--set", f"cache={tmp_path / 'cache'}"]
    commands = [
        [sys.executable, "-m", "ilion", "run", str(tiny_dataset), *settings, "-o", str(tmp_path / out)]
        for out in (("a", "a") if same == "settings" else ("a", "b"))
    ]
    started = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
        for command in commands
    ]
    ended = [(*run.communicate(timeout=120), run.returncode) for run in started]
    for _, err, code in ended:
        assert "Traceback" not in err
        assert code == 0 or (code == 1 and "another process is writing here; wait for it" in err), err
    assert any(code == 0 for _, _, code in ended)
    for command in commands:  # and what they left is whole
        done = CliRunner().invoke(app, command[3:])
        assert done.exit_code == 0, done.output
    pages = {(tmp_path / out / "ranking/ranking.json").read_bytes() for out in ("a", commands[1][-1])}
    assert len(pages) == 1
