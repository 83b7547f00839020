"""Tables of an index on a disk that is full or fails: a sentence, and the next attempt works."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ilion.errors import ArtifactError
from ilion.serve.tables import FILE, Tables, is_unmade, state
from ilion.serve.writer import create_from_run
from tests.conftest import draw_photo, write
from tests.storage.test_sqlite import full_disk

ASKS: dict[str, Callable[[Tables], object]] = {
    "reading": lambda tables: tables.connection.execute("SELECT * FROM none_such"),
    "fetching": lambda tables: list(tables.connection.execute("SELECT abs(-9223372036854775808)")),
    "many": lambda tables: tables.connection.executemany("INSERT INTO none_such VALUES (?)", [(1,)]),
    "a script": lambda tables: tables.connection.executescript("SELECT * FROM none_such"),
}


@pytest.mark.parametrize("ask", ASKS)
def test_whatever_goes_wrong_in_the_tables_is_a_sentence(ask: str, tmp_path: Path) -> None:
    tables = Tables(tmp_path, create=True)
    with pytest.raises(ArtifactError, match=r"index\.sqlite: cannot be read"):
        ASKS[ask](tables)
    with (
        pytest.raises(ArtifactError, match=r"index\.sqlite: cannot be written"),
        tables.write() as connection,
    ):
        connection.execute("INSERT INTO none_such VALUES (1)")
    with pytest.raises(ArtifactError, match=r"index\.sqlite: cannot be read"), tables.read() as connection:
        connection.execute("SELECT * FROM none_such").fetchall()
    assert state(tables.connection) == {"revision": 0, "layout": 0, "current": 0, "previous": 0}


def _end_and_fail(connection: sqlite3.Connection) -> None:
    connection.execute("ROLLBACK")
    raise ZeroDivisionError


def test_a_failing_rollback_does_not_hide_what_went_wrong(tmp_path: Path) -> None:
    tables = Tables(tmp_path, create=True)
    with pytest.raises(ZeroDivisionError), tables.write() as connection:
        _end_and_fail(connection)
    with pytest.raises(ZeroDivisionError), tables.read() as connection:
        _end_and_fail(connection)


def test_tables_that_were_never_made_are_told_from_others(tmp_path: Path) -> None:
    for name, script in (("made", "PRAGMA user_version = 1"), ("other", "CREATE TABLE a (b)"), ("empty", "")):
        (tmp_path / name).mkdir()
        with sqlite3.connect(tmp_path / name / FILE) as connection:
            connection.executescript(script)
        assert is_unmade(tmp_path / name) == (name == "empty")
    (tmp_path / FILE).write_bytes(b"no tables at all" * 100)
    assert not is_unmade(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("most", [4096, 40_000])
def test_an_index_on_a_full_disk_is_a_sentence_and_is_made_once_there_is_room(
    most: int, tmp_path: Path
) -> None:
    for number in range(3):
        write(tmp_path / f"photos/{number}.jpg", draw_photo(number, size=(96, 64)))
    code = (
        "import resource, signal, sys\nfrom ilion.cli import main\n"
        "most = int(sys.argv.pop(1))\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "if most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))\nmain()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def index(limit: int) -> subprocess.CompletedProcess[str]:
        given = ["index", str(tmp_path / "photos"), "-o", str(tmp_path / "index")]
        command = [sys.executable, "-c", code, str(limit), *given]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=500, env=environment
        )

    full = index(most)
    assert (full.returncode, "Traceback" in full.stderr) == (1, False), full.stderr
    assert "cannot be written" in full.stderr
    again = index(0)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("most", [20_000, 80_000, 120_000, 400_000])
def test_an_index_of_a_run_on_a_full_disk_asks_for_space_and_not_for_another_run(
    most: int, usual: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(usual, tmp_path / "run")
    with full_disk(most), pytest.raises(ArtifactError) as said:
        create_from_run(tmp_path / "index", run)
    assert "free space" in str(said.value)
    assert "run it again first" not in str(said.value)
    assert create_from_run(tmp_path / "index", run).status().photos
