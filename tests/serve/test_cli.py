"""The verbs of an index on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ilion.cli import app
from ilion.errors import ConfigError, IlionError
from tests.serve.test_index import picture

pytestmark = pytest.mark.slow


def run(*arguments: object, input: str | None = None) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], input=input)
    if isinstance(done.exception, IlionError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_from_photos_to_an_answer(photos: Path, quick: Path, tmp_path: Path) -> None:
    folder, photo, page = tmp_path / "index", tmp_path / "photo.jpg", tmp_path / "out.html"
    photo.write_bytes(picture(photos))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:300])
    made = json.loads(run("index", photos, broken, "-o", folder, "--like", quick, "--json"))
    assert (made["photos"], made["objects"], list(made["unreadable"])) == (30, 4, ["broken.jpg"])
    said = run("add", folder, photo, "--object", "mine", "--label", "Site=Osaka")
    assert "1 photo added" in said
    [answer] = json.loads(run("search", folder, photo, "--json", "--html", page, "-k", 3))
    assert answer["query"] == str(photo)
    assert answer["objects"][0]["name"] == "mine"
    assert answer["objects"][0]["photo"]["labels"] == {"site": "Osaka"}
    assert len(answer["photos"]) == 3
    html = page.read_text()
    assert "mine" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "photo.jpg" in run("search", folder, "--like", "photo.jpg", "--where", "site=Osaka")
    assert "(1 value)" in run("status", folder)
    assert json.loads(run("status", folder, "--json"))["photos"] == 31
    assert "1 photo removed" in run("remove", folder, "-", input="photo.jpg\n")
    assert "bytes are free" in run("index", folder, "--compact")


def test_a_finished_run_becomes_an_index(photos: Path, finished: Path, tmp_path: Path) -> None:
    folder, photo = tmp_path / "index", tmp_path / "photo.jpg"
    photo.write_bytes(picture(photos))
    run("index", finished, "-o", folder)
    page = tmp_path / "out.html"
    run("search", folder, photo, "--box", "10,10,120,120", "--html", page, "--language", "ja")
    assert '<html lang="ja">' in page.read_text("utf-8")
    assert "link-picture" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["index", "{photos}"], "-o INDEX"),
        (["index", "{index}"], "say what to do"),
        (["index", "{photos}", "-o", "{index}x", "--compact"], "leave out -o"),
        (["search", "{index}", "--box", "1,2"], "no box"),
        (["search", "{index}", "a", "b", "--box", "1,2,3,4"], "one photo"),
        (["add", "{index}", "{photos}", "--label", "x"], "NAME=VALUE"),
        (["index", "{index}", "--rollback"], "no way back"),
    ],
)
def test_wrong_use_is_said(photos: Path, folder: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(*(argument.format(photos=photos, index=folder) for argument in arguments))


def test_others_reach_a_service_only_with_a_token_and_by_its_name(folder: Path) -> None:
    with pytest.raises(ConfigError, match="make a token first"):
        run("serve", folder, "--host", "0.0.0.0")
    assert len(run("token", folder, "anna", "--role", "write").strip()) > 40
    assert run("token", folder) == "anna  write\n"
    with pytest.raises(ConfigError, match="--public-name"):
        run("serve", folder, "--host", "0.0.0.0")
    with pytest.raises(ConfigError, match="write the name alone"):
        run("serve", folder, "--public-name", "https://parts")
    run("token", folder, "anna", "--revoke")
    with pytest.raises(ConfigError, match="there is no token of 'anna'"):
        run("token", folder, "anna", "--revoke")


def test_kept_searches_are_forgotten_as_one_says(folder: Path, tmp_path: Path) -> None:
    from ilion.serve.feedback import Feedback

    with pytest.raises(ConfigError, match="no searches are kept"):
        run("forget", folder, "--all")
    with pytest.raises(ConfigError, match="no searches are kept"):
        run("feedback", "export", folder, "-o", tmp_path / "set")
    Feedback(folder, 1)
    assert "0 searches" in run("forget", folder, "--before", "2026-01-01")
    with pytest.raises(ConfigError, match="say which"):
        run("forget", folder)
    with pytest.raises(ConfigError, match="write it as"):
        run("forget", folder, "--before", "soon")
