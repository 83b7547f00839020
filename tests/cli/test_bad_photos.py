"""Photos that cannot be read: every verb counts and names them, and its advice names options that it has."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bad_images import png_claiming
from tests.conftest import draw_photo, write
from tests.networks import tiny_network
from tests.rights import bound_by_permissions
from typer.testing import CliRunner

from ilion.cli import app
from ilion.errors import IlionError

GOOD = draw_photo(7, (160, 120))
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
BAD = {
    "corrupt.jpg": GOOD[:200] + bytes(400) + GOOD[200:400],
    "truncated.jpg": GOOD[: len(GOOD) // 2],
    "empty.jpg": b"",
    "text.jpg": b"hello",
    "pointer.jpg": POINTER.encode(),
    "wide.png": png_claiming(100_000, 1),
    "huge.png": png_claiming(100_000, 100_000),
    "locked.jpg": draw_photo(99, (160, 120)),
}
"""Content by name; nobody may read the last one."""
SECONDS = 600
"""A verb that takes longer hangs."""
DESIGN = ["--set", "search.method=exact", "--set", "evaluation.bootstrap=20"]


def data_set(root: Path) -> Path:
    for number, name in enumerate(("blue", "green", "red")):
        write(root / "objects" / name / "query" / "q.jpg", draw_photo(100 * number, (160, 120)))
        for view in range(2):
            photo = draw_photo(100 * number + 1 + view, (160, 120))
            write(root / "objects" / name / "positive" / f"p{view}.jpg", photo)
    for number in range(3):
        write(root / "distractors" / f"d{number}.jpg", draw_photo(2000 + number, (160, 120)))
    return root


def spoil(folder: Path) -> None:
    """Put bad photos into a folder, and a good one whose ending is not that of a photo."""
    for name, content in BAD.items():
        write(folder / name, content)
    (folder / "locked.jpg").chmod(0)
    write(folder / "renamed.txt", GOOD)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with sound and bad photos, runs of both, an index, and a proof of concept."""
    home = tmp_path_factory.mktemp("bad")
    network = f"onnx:{tiny_network(home / 'tiny.onnx')}"
    data_set(home / "sound")
    spoil(data_set(home / "bad") / "distractors")
    spoil(home / "photos")
    write(home / "photos" / "sound.jpg", draw_photo(5, (160, 120)))
    os.mkfifo(home / "pipe.jpg")
    with bound_by_permissions():
        for name, more in (("sound", []), ("bad", ["--on-bad-image", "skip"])):
            model = ["--model", network, *DESIGN, "-o", str(home / f"{name}-run"), *more]
            assert CliRunner().invoke(app, ["run", str(home / name), *model]).exit_code == 0
        made = ["index", str(home / "sound"), "-o", str(home / "index"), "--like", str(home / "sound-run")]
        assert CliRunner().invoke(app, made).exit_code == 0
    write(
        home / "poc" / "poc.toml",
        f'name = "parts"\n[photos]\nfolder = "{home / "bad"}"\n[designs]\nnames = ["local-1k", "local-2k"]\n'
        'baseline = "local-1k"\n',
    )
    write(
        home / "bad.toml",
        f'name = "bad"\noutput = "{home / "bad-audit"}"\ndataset.path = "{home / "bad"}"\n'
        f'extraction.model = "{network}"\nsearch.method = "exact"\n',
    )
    yield home
    for locked in home.rglob("locked.jpg"):
        locked.chmod(0o644)


def ilion(home: Path, words: str) -> tuple[int, str]:
    """Run a verb in bounded time; return its exit code and all that it says."""

    def stop(*_: object) -> None:
        raise TimeoutError(words)

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    with bound_by_permissions():
        done = CliRunner().invoke(app, [str(home / w[1:]) if w[0] == "@" else w for w in words.split()])
    signal.alarm(0)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert isinstance(done.exception, IlionError), done.exception
        return 1, str(done.exception)
    return done.exit_code, done.output


def options_of(words: str) -> str:
    """Return what ``--help`` of a verb says."""
    verb = [word for word in words.split()[:2] if word.isalpha()]
    return CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"}).output


VERBS = {
    "run @bad -o @x": 1,
    "run @bad -o @y --on-bad-image skip --model onnx:@tiny.onnx": 0,
    "index @photos -o @new --like @sound-run": 0,
    "index @bad -o @newer --like @sound-run": 0,
    "index @bad-run -o @adopted": 0,
    "add @index @photos": 0,
    "poc check @poc": 1,
    "poc run @poc": 1,
    "poc run @poc --on-bad-image skip": 0,
    "poc threshold @bad-run --risk 0.5 --confidence 0.5": 0,
    "poc threshold @bad-run --at 0.5": 0,
    "poc lookalikes @bad-run": 0,
    "audit find @bad.toml -o @audit": 1,
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="rights are dropped as Linux does it")
@pytest.mark.parametrize("words", VERBS)
def test_a_verb_counts_and_names_what_it_cannot_read(
    home: Path, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = words.replace("onnx:@", f"onnx:{home}/")
    code, said = ilion(home, given)
    said = re.sub(r"\s+", " ", f"{said} {caplog.text}")
    assert code == VERBS[words], said
    named = [name for name in BAD if name in said]
    counted = re.search(r"\b(?:\d+ of \d+ images|\d photos|and \d+ more)\b", said)
    assert len(named) == len(BAD) or (len(named) >= 5 and counted), said
    helped = options_of(given)
    assert not [hint for hint in re.findall(r"--[a-z][a-z-]+", said) if hint not in helped], said
    assert "max_pixels" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BAD, "pipe.jpg", "nothing.jpg"])
def test_a_search_by_a_bad_photo_is_refused_in_a_sentence(home: Path, name: str) -> None:
    photo = f"@photos/{name}" if name in BAD else f"@{name}"
    code, said = ilion(home, f"search @index {photo}")
    assert code == 1
    assert said.count(name) == 1
    assert "--" not in said


@pytest.mark.slow
def test_an_index_says_which_files_of_a_folder_are_no_photos(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code, said = ilion(home, "add @index @photos --json")
    assert code == 0
    assert sorted(json.loads(said)["unreadable"]) == sorted(BAD)
    assert "1 file has no ending of a photo and is not read: renamed.txt" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", ["index @stuck -o @never", "add @index @stuck", "index @stuck-set -o @never"]
)
def test_a_pipe_in_a_folder_of_photos_is_refused(home: Path, verb: str) -> None:
    for folder in ("stuck", "stuck-set/distractors"):
        if not (home / folder).exists():
            if folder == "stuck":
                write(home / "stuck" / "sound.jpg", GOOD)
            else:
                shutil.copytree(home / "sound", home / "stuck-set")
            os.mkfifo(home / folder / "pipe.jpg")
    code, said = ilion(home, verb)
    assert code == 1
    assert "pipe.jpg: is a pipe (FIFO), not a file" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", ["poc threshold @rotten-run", "poc lookalikes @rotten-run", "index @rotten-run -o @n"]
)
def test_photos_that_went_bad_after_a_run_end_in_a_result_or_a_sentence(home: Path, verb: str) -> None:
    if not (home / "rotten").exists():
        data_set(home / "rotten")
        run = f"run @rotten -o @rotten-run --model onnx:{home}/tiny.onnx --set search.method=exact"
        assert ilion(home, run)[0] == 0
        for photo, content in zip(sorted((home / "rotten").rglob("*.jpg")), BAD.values(), strict=False):
            photo.write_bytes(content)
    code, said = ilion(home, verb)
    assert code == 0 or "changed" in said or "rotten" in said
