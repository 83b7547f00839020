"""Recipes, plans, settings and the command: what is asked for, shown, refused, and extracted."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faulty_server import FaultyServer, serving
from typer.testing import CliRunner

from ilion import api
from ilion.cli import app
from ilion.download import download, load_recipes
from ilion.download.choice import list_wanted, parse_checksums, parse_numbers
from ilion.download.recipes import Recipe, check_path, fill_template, parse_recipe
from ilion.download.records import downloads_folder, read_record
from ilion.download.settings import DownloadSettings, load_settings
from ilion.errors import ArtifactError, ConfigError, IlionError

QUICK = DownloadSettings(connect_timeout=2, read_timeout=2, backoff=0.01)


def tar_bytes(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def benchmark_files(base: str = "") -> dict[str, Any]:
    """The layout of the benchmark's server in small: a core, twelve shards, ids, features, layers."""
    core = tar_bytes(
        {"ilias_core/mug_000/query/Q000_00.jpg": b"q" * 500, "ilias_core/mug_000/pos/P000_00.jpg": b"p"}
    )
    files: dict[str, Any] = {"/ilias_core.tar": core}
    for i in range(12):
        files[f"/yfcc100m/yfcc100m_{i}.tar"] = np.random.default_rng(i).bytes(1000 + i)
    for name in (
        "image_query_ids.txt",
        "text_query_ids.txt",
        "positive_ids.txt",
        "mini_ilias_yfcc100m_ids.txt",
    ):
        files[f"/image_ids/{name}"] = f"{name}\n".encode()
    files["/image_ids/positive_ids.txt"] = b"mug_000/pos/P000_00.jpg,0.5,3\n"
    files["/image_ids/distractor_ids.txt.gz"] = b"\x1f\x8b-not-really"
    files["/misc/taxonomy.json"] = b"{}"
    for part in ("image_queries", "positives", "distractors_00000", "distractors_00001"):
        files[f"/features/vit.x/features_{part}.hdf5"] = part.encode() * 50
    files["/lin_adapt_layers/vit.x.pth"] = b"layer"
    return files


def with_checksums(server: FaultyServer) -> FaultyServer:
    lines = [
        f"{hashlib.sha256(data[0 : len(data)]).hexdigest()}  {server.url}{path[1:]}"
        for path, data in server.files.items()
        if path.endswith(".tar")
    ]
    server.files["/checksums.txt"] = "\n".join(lines).encode()
    return server


def ilias_at(server: FaultyServer) -> Recipe:
    """The real recipe, with its addresses moved to the loopback."""
    import dataclasses

    real = load_recipes()["ilias"]
    parts = tuple(
        dataclasses.replace(part, files=tuple(dataclasses.replace(f, url="") for f in part.files))
        for part in real.parts
    )
    return dataclasses.replace(real, base=server.url, parts=parts)


def test_the_default_parts_of_the_benchmark(tmp_path: Path) -> None:
    with serving(benchmark_files()) as server:
        done = download(ilias_at(with_checksums(server)), tmp_path, settings=QUICK)
        assert (tmp_path / "ilias_core/mug_000/query/Q000_00.jpg").read_bytes() == b"q" * 500
        assert not (tmp_path / "ilias_core.tar").exists()
        assert len(done.files) == 7
        record = read_record(tmp_path, "ilias_core.tar")
        assert record is not None
        assert (record.policy, record.extracted, record.tops) == ("listed", 2, ("ilias_core",))
        asked = len(server.requests)
        again = download(ilias_at(server), tmp_path, settings=QUICK)
        assert len(server.requests) == asked
        assert again.files == done.files
        # what was extracted is gone: the archive is needed again
        for path in sorted((tmp_path / "ilias_core").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (tmp_path / "ilias_core").rmdir()
        download(ilias_at(server), tmp_path, settings=QUICK)
        assert (tmp_path / "ilias_core/mug_000/pos/P000_00.jpg").exists()
    # the set is one that the rest of Ilion reads
    from ilion.datasets import open_dataset

    assert len(open_dataset(tmp_path).queries) == 1


def test_shards_by_number_in_natural_order(tmp_path: Path) -> None:
    with serving(benchmark_files()) as server:
        done = download(ilias_at(with_checksums(server)), tmp_path, {"shards": "0-1,10"}, settings=QUICK)
    assert sorted(done.files) == [f"yfcc100m/yfcc100m_{i}.tar" for i in (0, 1, 10)]
    assert (tmp_path / "yfcc100m/yfcc100m_10.tar").stat().st_size == 1010


def test_features_of_a_model_with_those_of_the_shards(tmp_path: Path) -> None:
    with serving(benchmark_files()) as server:
        parts = {"features": "vit.x", "layers": "vit.x", "shards": "9-10"}
        done = download(ilias_at(with_checksums(server)), tmp_path, parts, settings=QUICK)
    names = [path for path in done.files if "hdf5" in path]
    assert names == [
        f"features/vit.x/features_{p}.hdf5"
        for p in ("image_queries", "positives", "distractors_00000", "distractors_00001")
    ]
    # a model without a text tower is no error, and is said
    assert done.absent == ("features/vit.x/features_text_queries.hdf5",)
    assert (tmp_path / "lin_adapt_layers/vit.x.pth").read_bytes() == b"layer"


def test_a_damaged_archive_is_not_half_extracted(tmp_path: Path) -> None:
    files = benchmark_files()
    files["/ilias_core.tar"] = tar_bytes({"ilias_core/a.jpg": b"a", "../evil": b"x"})
    with serving(files) as server, pytest.raises(ArtifactError, match="leads out of the folder"):
        download(ilias_at(with_checksums(server)), tmp_path / "set", {"core": ""}, settings=QUICK)
    assert not (tmp_path / "set/ilias_core").exists()
    assert not (tmp_path / "evil").exists()


def test_the_checksum_list_comes_from_the_source(tmp_path: Path) -> None:
    """A mirror that has both the data and the list could say anything."""
    with serving(benchmark_files()) as source, serving(benchmark_files()) as mirror:
        with_checksums(source)
        mirror.files["/checksums.txt"] = b"0" * 64 + b" ilias_core.tar\n"
        settings = DownloadSettings(mirrors={"ilias": (mirror.url,)}, backoff=0.01)
        done = download(ilias_at(source), tmp_path, {"shards": "3"}, settings=settings)
        assert mirror.seen["/checksums.txt"] == 0
        assert done.records[0].url.startswith(mirror.url)


def test_a_renewed_list_is_read_with_refresh(tmp_path: Path) -> None:
    with serving(benchmark_files()) as server:
        download(ilias_at(with_checksums(server)), tmp_path, {"shards": "0"}, settings=QUICK)
        server.files["/yfcc100m/yfcc100m_0.tar"] = b"renewed"
        with_checksums(server)
        download(ilias_at(server), tmp_path, {"shards": "0"}, settings=QUICK)
        assert (tmp_path / "yfcc100m/yfcc100m_0.tar").stat().st_size == 1000
        download(ilias_at(server), tmp_path, {"shards": "0"}, settings=QUICK, refresh=True)
        assert (tmp_path / "yfcc100m/yfcc100m_0.tar").read_bytes() == b"renewed"


def size_of_parts(folder: Path) -> int:
    """Bytes downloaded so far; a part that is finished meanwhile has been renamed and does not count."""
    size = 0
    for file in downloads_folder(folder).glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


@pytest.mark.slow
def test_kills_at_random_moments_lose_little_and_change_nothing(tmp_path: Path) -> None:
    """SIGKILL, again and again, through a server that truncates and resets."""
    sizes = (6_000_000, 3_000_000, 100_000)
    files: dict[str, Any] = {
        f"/{i}.bin": np.random.default_rng(i).bytes(size) for i, size in enumerate(sizes)
    }

    def choose(path: str, number: int, start: int) -> str:
        time.sleep(0.005)
        return ("truncate", "reset", "", "")[number % 4]

    with serving(files, choose, piece=8192) as server:
        recipe = tmp_path / "set.toml"
        entries = "".join(
            f'[[parts.files]]\npath = "{path[1:]}"\nchecksum = "{hashlib.sha256(data).hexdigest()}"\n'
            for path, data in files.items()
        )
        recipe.write_text(
            f'name = "set"\ntitle = "t"\nhomepage = "{server.url}"\nlicence = "CC0"\nbase = "{server.url}"\n'
            f'[[parts]]\nname = "all"\ndefault = true\n{entries}'
        )
        command = [sys.executable, "-m", "ilion", "download", "set", str(tmp_path / "set")]
        settings = tmp_path / "settings.toml"
        settings.write_text("parallel = 2\nbackoff = 0.02\nretries = 50\n")
        command += ["--recipe", str(recipe), "--yes", "--settings", str(settings)]
        killed = 0
        for _ in range(3):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            enough = size_of_parts(tmp_path / "set") + 1_000_000
            while process.poll() is None:
                if size_of_parts(tmp_path / "set") > enough:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    break
                time.sleep(0.005)
            process.wait()
        assert killed >= 2
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    for path, data in files.items():
        assert (tmp_path / "set" / path[1:]).read_bytes() == data


# --- recipes ---


def test_the_recipes_of_the_package_are_sound() -> None:
    found = load_recipes()
    assert {"ilias", "mini-ilias", "grocery-store", "roxford5k", "rparis6k", "revisitop1m", "uned"} <= set(
        found
    )
    for recipe in found.values():
        assert recipe.licence
        assert recipe.confirmed
        assert any(part.default for part in recipe.parts)
        for part in recipe.parts:
            given = {"numbers": str(part.first), "model": "vit.x", "": ""}[part.takes]
            listed = {"ilias_core.tar": "0" * 64, "yfcc100m/yfcc100m_0.tar": "1" * 64}
            unknown = {file.path: "https://example.org/x" for file in part.files if file.unknown}
            files = list_wanted(recipe, {part.name: given}, listed, unknown)
            assert all(file.url.startswith("http") for file in files)


def test_what_is_not_known_is_said() -> None:
    uned = load_recipes()["uned"]
    with pytest.raises(
        ConfigError, match=r"was not confirmed; give its address: --url misc/uned_paths_1M.txt="
    ):
        list_wanted(uned, {"list": ""}, None)
    given = list_wanted(uned, {"list": ""}, None, {"misc/uned_paths_1M.txt": "https://example.org/u"})
    assert given[0].url == "https://example.org/u"
    with pytest.raises(ConfigError, match="none of the wanted files"):
        list_wanted(uned, {"splits": ""}, None, {"other.txt": "https://example.org/u"})


GOOD = """
name = "set"
title = "t"
homepage = "https://example.org"
licence = "CC0"
base = "https://example.org/"
[[parts]]
name = "all"
[[parts.files]]
path = "a.txt"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a.txt", "../a.txt", "no plain path"),
        ("a.txt", "/a.txt", "no plain path"),
        ("a.txt", "a//b", "no plain path"),
        ("a.txt", ".hidden", "no plain path"),
        ("a.txt", "a{x}", "placeholder"),
        ("https://example.org/", "ftp://example.org/", "only http"),
        ('path = "a.txt"', 'path = "a.txt"\nchecksum = "abc"', "no sha256"),
        ('path = "a.txt"', 'path = "a.txt"\nurl = "file:///etc/passwd"', "only http"),
        ('licence = "CC0"', "", "missing"),
        ("title", "titel", "did you mean"),
        ("name =", "name ==", "not TOML"),
        ('name = "set"', 'name = "../set"', "no plain path"),
    ],
)
def test_bad_recipes_are_named(old: str, new: str, message: str) -> None:
    parse_recipe(GOOD, "good.toml")
    with pytest.raises(ConfigError, match=message):
        parse_recipe(GOOD.replace(old, new, 1), "bad.toml")


@pytest.mark.parametrize("text", ["", "a", "3-1", "0-99", "-1", "1,,2", "1e3", "0x1"])
def test_bad_numbers_are_named(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_numbers(text, 0, 10)


def test_numbers() -> None:
    assert parse_numbers("all", 1, 3) == (1, 2, 3)
    assert parse_numbers("2, 0-1", 0, 3) == (0, 1, 2)


@pytest.mark.parametrize(
    "line",
    [
        "abc a.tar",
        "0" * 64,
        "0" * 64 + " https://elsewhere.org/a.tar",
        "0" * 64 + " ../a.tar",
        "0" * 64 + " https://example.org/x/../../a.tar",
        "0" * 64 + " a.tar extra",
    ],
)
def test_bad_checksum_lists_are_named(line: str) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        parse_checksums(line, "https://example.org/x/", "list")


def test_contradicting_checksums_are_named() -> None:
    text = f"{'0' * 64} a.tar\n{'1' * 64} a.tar\n"
    with pytest.raises(ConfigError, match="twice"):
        parse_checksums(text, "https://example.org/", "list")


def test_paths_with_blanks_or_tricks_are_refused() -> None:
    for path in ("a b", "a\\b", "a/./b", "..", "a/..", "CON:", "a\0", "ä", "~a", "a~b"):
        with pytest.raises(ConfigError):
            check_path(path, "here")


# --- settings ---


def test_mirrors_and_limits_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "ilion/download.toml"
    file.parent.mkdir()
    file.write_text(
        'parallel = 2\n[mirrors]\nilias = ["https://a.org/i", "https://b.org/"]\nuned = "https://c.org"\n'
    )
    found = load_settings()
    assert (found.parallel, found.mirrors["ilias"]) == (2, ("https://a.org/i", "https://b.org/"))
    assert load_settings(parallel=7, mirrors={"ilias": ("https://d.org",)}).mirrors["ilias"] == (
        "https://d.org",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paralel = 2", "did you mean 'parallel'"),
        ("parallel = 0", "above 0"),
        ("retries = -1", "must not be negative"),
        ("mirrors = 3", "must be a table"),
        ("[mirrors]\nilias = 3", "address or a list"),
        ('[mirrors]\nilias = "file:///x"', "only http"),
        ("=", "not TOML"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / "s.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")


# --- the command ---


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["download", *arguments])


def recipe_file(folder: Path, server: FaultyServer) -> str:
    path = folder / "set.toml"
    path.write_text(
        GOOD.replace("https://example.org/", server.url).replace(
            'name = "all"', 'name = "all"\ndefault = true'
        )
    )
    return str(path)


def test_the_command_asks_shows_and_says(tmp_path: Path) -> None:
    with serving({"/a.txt": b"hello"}) as server:
        arguments = ("set", str(tmp_path / "set"), "--recipe", recipe_file(tmp_path, server))
        refused = run(*arguments)
        assert isinstance(refused.exception, ConfigError)
        assert "--yes" in str(refused.exception)
        # the licence and the size were shown before
        assert "CC0" in refused.stderr
        assert "5 bytes" in refused.stderr
        assert server.seen["/a.txt"] == 0
        done = run(*arguments, "--yes", "--json")
        assert json.loads(done.stdout)["files"] == ["a.txt"]
        assert (tmp_path / "set/a.txt").read_bytes() == b"hello"
        assert "1 file is there and verified" in run(*arguments).stdout


def test_the_command_lists_recipes() -> None:
    text = run("--list").stdout
    assert "ilias: ILIAS" in text
    assert "shards NUMBERS" in text
    assert {recipe["name"] for recipe in json.loads(run("--list", "--json").stdout)} >= {"ilias", "uned"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "there is no recipe 'nothing'"),
        (("uned", "--part", "x"), "uned has no part 'x'"),
        (("uned", "--core"), "uned has no part 'core'"),
        (("revisitop1m", "--shards", "0"), "numbers go from 1 to 100"),
        (("ilias", "--features", "../x"), "is no model name"),
        (("uned", "--url", "x"), "write FILE=URL"),
        (("uned", "--mirror", "ftp://x.org"), "only http"),
        (("ilias", "--layers", "a/b"), "is no model name"),
    ],
)
def test_bad_requests_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = run(*arguments, "--yes")
    assert isinstance(failed.exception, IlionError)
    assert message in str(failed.exception)


def test_the_verb_has_the_defaults_of_the_command(tmp_path: Path) -> None:
    with serving({"/a.txt": b"hello"}) as server:
        done = api.download("set", tmp_path / "x", recipe=Path(recipe_file(tmp_path, server)))
    assert done.files == ("a.txt",)


@pytest.mark.parametrize(
    "template",
    [
        "{model.__class__}",
        "{model[0]}",
        "{number:>99999999}",
        "{number!r}",
        "{}",
        "{0}",
        "{tens:{number}}",
        "{x}",
    ],
)
def test_templates_take_plain_fields_only(template: str) -> None:
    with pytest.raises(ConfigError, match="a placeholder is unknown"):
        fill_template(template, "m", 12)


def test_templates_are_filled() -> None:
    assert fill_template("a/{model}_{number}_{number:05d}_{tens:02d}", "m", 123) == "a/m_123_00123_12"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--settings", "x.toml"], "--settings"),
        (["--list", "ilias"], "name"),
        (["--core", "--retries", "0"], "--core, --retries"),
        (["--list", "--part", "a", "--no-verify"], "--part, --verify"),
    ],
)
def test_what_a_list_does_not_use_is_refused(given: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}: a list of what can be downloaded"):
        app(["download", *given], standalone_mode=False)
    app(["download", "--list", "--json"], standalone_mode=False)
