"""Files are written whole or not at all, and never in place of something else than a file."""

from __future__ import annotations

import ast
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.architecture import nodes
from tests.conftest import draw_photo, write

import ilion
from ilion.errors import ArtifactError
from ilion.opening import write_bytes, writing, writing_folder
from ilion.types.trec import write_trec

PACKAGE = Path(ilion.__file__).parent
WRITES_BY_ITSELF = {
    "opening/whole.py": "the one place that writes",
    "synthetic/writer.py": "files of a folder that it made aside",
    "tasks/notes.py": "notes of a process, renamed, whose failure is no fault",
}
"""Modules that write files without `ilion.opening`, and why nothing of a user's lies there."""


def _stream(path: Path) -> None:
    with writing(path) as file:
        file.write(b"1")


HOW: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_bytes(path, b"1"),
    "stream": _stream,
    "trec": lambda path: write_trec(path, [("q", "0", "a", "1")]),
}


def special(path: Path, kind: str) -> Path:
    """Put something at a path that is no file."""
    if kind == "a pipe (FIFO)":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))  # the name of a socket is short
    else:
        path.symlink_to("/dev/null")
    return path


@pytest.mark.parametrize("kind", ["a pipe (FIFO)", "a folder", "a socket", "a device"])
@pytest.mark.parametrize("how", HOW)
def test_what_is_no_file_is_not_replaced(
    kind: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = special(tmp_path / "out", kind)
    before = path.lstat().st_mode
    signal.alarm(20)  # a pipe that is opened waits for ever
    try:
        with pytest.raises(ArtifactError, match=rf"out: cannot be written, as it is {kind[:6]}"):
            HOW[how](path)
    finally:
        signal.alarm(0)
    assert path.lstat().st_mode == before
    assert os.listdir(tmp_path) == ["out"]


def test_links_in_a_circle_and_long_names_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / ("x" * 300), tmp_path / "a" / "b"):
        with pytest.raises(ArtifactError, match="cannot be written"):
            write_bytes(path, b"1")


def _fill(path: Path) -> None:
    with writing_folder(path) as aside:
        write_bytes(aside / "deep" / "a", b"1")


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with writing_folder(path) as aside:
            write_bytes(aside / "deep" / "a", b"1")
            raise ZeroDivisionError

    (tmp_path / "empty").mkdir()
    (tmp_path / ".new.part" / "left").mkdir(parents=True)  # by a process that was killed
    for name in ("new", "empty"):
        with pytest.raises(ZeroDivisionError):
            fail(tmp_path / name)
        _fill(tmp_path / name)
        assert (tmp_path / name / "deep" / "a").read_bytes() == b"1"
        with pytest.raises(ArtifactError, match=rf"{name}: cannot be written \(Directory not empty\)"):
            _fill(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["empty", "new"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "results.txt"
    write_trec(path, [("q", "0", "a", "1")])
    before = path.read_bytes()
    code = (
        "import resource, signal, sys\n"
        "from ilion.errors import ArtifactError\nfrom ilion.types.trec import write_trec\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_trec(sys.argv[1], [('q', '0', str(n), '1') for n in range(1000)])\n"
        "except ArtifactError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert "cannot be written (File too large)" in done.stdout
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["results.txt"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_files_are_written_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            (node.func.attr in ("write_bytes", "write_text") and len(node.args) == 1)
            or (
                node.func.attr == "open"
                and any(isinstance(a, ast.Constant) and a.value in ("w", "wb", "a", "x") for a in node.args)
            )
        )
    }
    assert found == set(WRITES_BY_ITSELF), "use ilion.opening: write_bytes, writing"


@pytest.mark.slow
def test_export_truth_to_a_pipe_does_not_wait(tmp_path: Path) -> None:
    for name in ("query/q", "positive/p"):
        write(tmp_path / f"set/objects/mug/{name}.jpg", draw_photo(1, size=(64, 48)))
    pipe = special(tmp_path / "pipe", "a pipe (FIFO)")
    command = [sys.executable, "-m", "ilion", "export", "truth", str(tmp_path / "set"), "-o", str(pipe)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert (done.returncode, "as it is a pipe (FIFO), not a file" in done.stderr) == (1, True)
