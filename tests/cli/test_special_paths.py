"""Any path of any command may lead to a pipe, socket, device, folder or nowhere: no hang, a sentence."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.networks import tiny_network
from typer.main import get_command
from typer.testing import CliRunner

from ilion.cli import app
from ilion.errors import IlionError

pytestmark = pytest.mark.slow
KINDS = ("pipe", "socket", "device", "folder", "link to nowhere")
SECONDS = 60
"""Seconds after which a command hangs; what cannot be used is refused before anything is computed."""


def _commands(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
    else:
        for each, inner in below.items():
            yield from _commands(inner, (*name, each))


def _is_path(parameter: Any) -> bool:
    kind = parameter.type_descriptor.annotation
    return kind is Path or any(Path in (each, *get_args(each)) for each in get_args(kind))


COMMANDS = dict(_commands(get_command(app)))
PATHS = [
    (words, parameter.name)
    for words, command in COMMANDS.items()
    for parameter in command.params
    if parameter.name != "help" and _is_path(parameter)
]


def _special(path: Path, kind: str) -> Path:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.path.relpath(path))
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(path.with_name("nowhere"))
    return path


def test_paths_are_found() -> None:
    assert len(COMMANDS) > 45
    assert len(PATHS) > 70
    assert (("export", "truth"), "output") in PATHS
    assert (("search",), "photos") in PATHS


@pytest.fixture(scope="module")
def given(draw_set: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the other parameters of a command get: a data set, its run, an index, files of each kind."""
    home = tmp_path_factory.mktemp("given")
    photos = draw_set(home / "set", instances=4, positives=2, distractors=4, image_side=128)
    network = tiny_network(home / "tiny.onnx")
    usual = ["--model", f"onnx:{network}", "--set", "evaluation.bootstrap=20", "--set", "search.k=5"]
    for words in (
        ["run", photos, *usual, "-o", home / "run"],
        ["index", home / "run", "-o", home / "index"],
        ["export", "results", home / "run", "-o", home / "results.txt"],
        ["export", "features", photos, *usual[:2], "-o", home / "features"],
        ["poc", "new", home / "poc", "--no-ask"],
    ):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, (words, done.output, done.exception)
    names = {"run": "run", "runs": "run", "a": "run", "b": "run", "folder": "index", "files": "features"}
    names |= {"file": "results.txt", "decisions": "run", "dataset": "set"}
    return {"home": str(home)} | {name: str(home / path) for name, path in names.items()}


COMPUTES = {(("demo",), "output"), (("datasets", "synth"), "folder")}
"""Where a folder, or a link to nowhere, is taken and minutes of work begin."""
OTHERS = {"sources": "set", "experiment": "set", "source": "set", "words": "x", "over": "search.k=2,3"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("words", "name"), PATHS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_a_special_file_at_any_path_of_any_command(
    words: tuple[str, ...],
    name: str,
    kind: str,
    given: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if (words, name) in COMPUTES and kind in ("folder", "link to nowhere"):
        pytest.skip("takes minutes")
    monkeypatch.chdir(tmp_path)
    path = _special(tmp_path / "special", kind)
    before = path.lstat().st_mode
    line = list(words)
    for parameter in COMMANDS[words].params:
        if parameter.name == name:
            value = str(path)
        elif not parameter.required:
            continue
        elif parameter.name in OTHERS:
            value = OTHERS[parameter.name].replace("set", f"{given['home']}/set")
        else:
            value = given.get(parameter.name, str(tmp_path / "other"))
        if parameter.param_type_name == "option":
            line.append(parameter.opts[0])
        line.append(value)

    def stop(*_: object) -> None:
        raise TimeoutError(f"{' '.join(line)} waits")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        done = CliRunner().invoke(app, line)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    error = done.exception
    # `main` says what these say; everything else is a traceback
    assert error is None or isinstance(error, (IlionError, SystemExit, OSError)), (line, error)
    assert not isinstance(error, TimeoutError), line
    if kind != "link to nowhere":
        assert path.lstat().st_mode == before, "what is no file is not replaced"
    if kind in ("pipe", "socket", "device"):
        assert done.exit_code != 0, (line, done.output)
