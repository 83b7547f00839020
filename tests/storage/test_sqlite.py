"""SQLite files on a full disk, damaged, or no files at all: a sentence, and nothing that was kept is lost."""

from __future__ import annotations

import ast
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.architecture import nodes

import ilion
from ilion.audit.reviews import Reviews
from ilion.errors import ArtifactError, IlionError
from ilion.serve.feedback import Feedback
from ilion.serve.tables import Tables
from ilion.storage.sqlite import connect, read_json_cell

PACKAGE = Path(ilion.__file__).parent


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file of this process grows beyond some bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _review(folder: Path, name: str) -> None:
    Reviews(folder).answer(name, "somebody", "same", "2026-01-01")


def _reviewed(folder: Path) -> set[str]:
    return set(Reviews(folder).answers().get("somebody", {}))


def _keep(folder: Path, name: str) -> None:
    with closing(Feedback(folder)._open()) as connection:
        values = (name, 1e12, b"photo", "", "", "", "design", 1, "[]")
        connection.execute("INSERT INTO searches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    Feedback(folder).judge(name, "photo", ["object"], True, "somebody")


def _kept(folder: Path) -> set[str]:
    return {found.search for found in Feedback(folder).confirmed()[0]}


def _set(folder: Path, name: str) -> None:
    with (
        closing(Tables(folder, create=not (folder / "index.sqlite").exists())) as tables,
        tables.write() as to,
    ):
        to.execute("INSERT INTO shards (place, name, content, status) VALUES (0, ?, '', 1)", (name,))


def _there(folder: Path) -> set[str]:
    with closing(Tables(folder)) as tables:
        return {name for (name,) in tables.connection.execute("SELECT name FROM shards")}


KINDS: dict[str, tuple[Callable[[Path, str], None], Callable[[Path], set[str]]]] = {
    "reviews.sqlite": (_review, _reviewed),
    "feedback.sqlite": (_keep, _kept),
    "index.sqlite": (_set, _there),
}


@pytest.mark.parametrize("most", [0, 2000, 4096, 12288, 20480, 33000, 41000])
@pytest.mark.parametrize("name", KINDS)
def test_a_full_disk_is_a_sentence_and_nothing_kept_is_lost(name: str, most: int, tmp_path: Path) -> None:
    write, read = KINDS[name]
    kept = set[str]()

    def fill() -> None:
        for number in range(2000):
            write(tmp_path, f"{number:03000}")
            kept.add(f"{number:03000}")

    with full_disk(most), pytest.raises(ArtifactError, match=rf"{name}: cannot be \w+ \(.+\); free space"):
        fill()
    if kept:
        assert read(tmp_path) >= kept
    write(tmp_path, "once more")
    assert read(tmp_path) >= kept | {"once more"}


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "no database"])
@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_database_is_named(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/null")
        case _:
            path.write_bytes(b"something else " * 1000)
    before = path.lstat().st_mode
    for ask in KINDS[name]:
        with pytest.raises(IlionError) as caught:
            ask(tmp_path, *(["x"] if ask is KINDS[name][0] else []))
        assert str(tmp_path) in str(caught.value)
    assert path.lstat().st_mode == before


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_database_ends_in_an_answer_or_a_sentence(name: str, tmp_path: Path) -> None:
    write, *_ = KINDS[name]
    for number in range(20):
        write(tmp_path, f"kept {number}")
    whole, rng = (tmp_path / name).read_bytes(), np.random.default_rng(5)
    ends = dict.fromkeys(("an answer", "a sentence"), 0)
    for case in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        # of the first page, with names and statements, or of all
        places = rng.integers(0, 4096 if case % 2 else len(data), 1 + case * 3)
        data[places] = rng.integers(0, 256, len(places))
        for ask in KINDS[name]:
            for ending in ("-wal", "-shm", "-journal"):
                (tmp_path / f"{name}{ending}").unlink(missing_ok=True)
            (tmp_path / name).write_bytes(data.tobytes())
            said = str(tmp_path)
            try:
                ask(tmp_path, *([f"more {case}"] if ask is write else []))
                ends["an answer"] += 1
            except IlionError as error:
                said = str(error)
                ends["a sentence"] += 1
            assert str(tmp_path) in said
    assert min(ends.values()) > 0


def test_names_that_are_no_text_are_damage(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "file")) as connection:
        connection.execute("CREATE TABLE somebody (b)")
    data = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(
        data.replace(b"CREATE TABLE somebody", b"CREATE TABLE\xa0(\xa0\xa0\xa0\xa0\xa0\xa0")
    )
    with (
        closing(connect(tmp_path / "file")) as connection,
        pytest.raises(ArtifactError, match=r"file: cannot be opened .*it is damaged; put a copy of it back"),
    ):
        connection.execute("SELECT * FROM somebody")


@pytest.mark.parametrize(
    ("cell", "seen"),
    [(None, "NoneType"), (5, "int"), (0.5, "float"), ("{}", "dict"), ("[1", "delimiter"), (b"\xff", "UTF-8")],
)
def test_a_damaged_cell_is_a_sentence(cell: object, seen: str) -> None:
    with pytest.raises(ArtifactError, match=rf"file: damaged \(.*{seen}.*\); put a copy of it back"):
        read_json_cell(Path("file"), cell, list)
    assert read_json_cell(Path("file"), '["a"]', list) == ["a"]


def test_a_copy_on_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "from")) as source, closing(connect(tmp_path / "to")) as target:
        source.execute("CREATE TABLE a (b)")
        many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)"
        source.execute(f"{many} INSERT INTO a SELECT hex(zeroblob(500)) FROM n")
        with full_disk(20_000), pytest.raises(ArtifactError, match=r"to: cannot be .*free space"):
            source.backup(target)
        source.backup(target)
        assert target.execute("SELECT count(*) FROM a").fetchone() == (100,)


def test_values_that_contradict_the_tables_say_so(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "file")) as connection:
        connection.execute("CREATE TABLE a (b UNIQUE)")
        connection.execute("INSERT INTO a VALUES (1)")
        with pytest.raises(ArtifactError, match="UNIQUE") as caught:
            connection.execute("INSERT INTO a VALUES (1)")
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)


def test_sqlite_files_are_opened_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect"
    }
    # `is_unmade` asks whether a database is one at all
    assert found == {"storage/sqlite.py", "serve/tables.py"}, "use ilion.storage.sqlite: connect"
