"""Terminals, outputs and interruptions: a sentence each, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import write

from ilion import cli, registry
from ilion.config import load_experiment
from ilion.errors import ConfigError


def ilion(*arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
    """Run the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ilion", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    assert done.returncode == code, (out, err)
    assert "Traceback" not in err
    return out, err


def test_names_between_colons_stay_as_they_are(tmp_path: Path) -> None:
    _, err = ilion("report", str(tmp_path / ":x: [red]:warning:"), code=1)
    assert ":x: [red]:warning:" in err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be-mark", "crlf"])
def test_experiment_files_as_windows_writes_them(encoding: str, tmp_path: Path) -> None:
    text = 'name = "写真 é"\n[search]\nk = 7\n'
    data = {
        "crlf": text.replace("\n", "\r\n").encode(),
        "utf-16-be-mark": b"\xfe\xff" + text.encode("utf-16-be"),
    }.get(encoding)
    file = tmp_path / "e.toml"
    file.write_bytes(text.encode(encoding) if data is None else data)
    config = load_experiment(file)
    assert (config.name, config.search.k) == ("写真 é", 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 20_000, "nested too deeply"),
        (b"a = " + b"{b=" * 20_000, "nested too deeply"),
        (b"seed = " + b"9" * 10_000, "not valid TOML"),
        ('name = "é"'.encode("cp1252"), "save the file as UTF-8"),
        (b"\xff\xfen", "not valid TOML"),
    ],
)
def test_other_files_get_a_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_experiment(tmp_path / "e.toml")


def test_a_folder_in_place_of_a_file_gets_a_sentence(tmp_path: Path) -> None:
    from ilion.config.plain import load_toml

    with pytest.raises(ConfigError, match="cannot be read"):
        load_toml(tmp_path)


def test_a_deep_setting_is_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be"):
        load_experiment(tmp_path, ["search.k=" + "[" * 20_000])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_terminals_that_lack_a_character(encoding: str, tmp_path: Path) -> None:
    file = write(tmp_path / "e.toml", 'name = "█ 写真"\n')
    out, _ = ilion("config", str(file), PYTHONIOENCODING=encoding)
    assert "\\u2588 \\u5199" in out
    _, err = ilion("run", "写真", code=1, PYTHONIOENCODING=encoding)
    assert "no such file" in err


@pytest.mark.slow
def test_json_holds_what_a_terminal_lacks(tmp_path: Path) -> None:
    file = write(tmp_path / "e.toml", 'name = "█ 写真"\n')
    out, _ = ilion("config", str(file), "--json", PYTHONIOENCODING="ascii")
    assert json.loads(out)["name"] == "█ 写真"


@pytest.mark.parametrize("place", ["out", "out/deeper"])
def test_an_output_that_is_a_file(
    place: str, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "out", "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ilion", "run", str(tiny_dataset), "-o", str(tmp_path / place)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert stopped.value.code == 1
    assert f"{tmp_path / 'out'}: is no folder" in capsys.readouterr().err.replace("\n", "")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [("demo", "-o", "out"), ("import", "features", "x.hdf5", "-o", "out"), ("datasets", "synth", "out")],
)
def test_other_outputs_that_are_files(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "out", "mine")
    monkeypatch.setattr("sys.argv", ["ilion", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code in (1, 2)
    assert (tmp_path / "out").read_text() == "mine"


def test_what_the_system_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/locked/run.json")

    monkeypatch.setattr(cli, "app", refuse)
    monkeypatch.setattr(registry, "_places", set())  # other tests register parts, which makes this folder one
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "error: /locked/run.json: Permission denied" in capsys.readouterr().err


def test_an_interrupted_start_shows_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ilion.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from ilion.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["datasets", "check", "--help"]])
def test_the_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom ilion import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'cv2', 'ilion.config', 'ilion.api', 'rich.progress'}\n"
        "print(*(sys.modules.keys() & heavy), 'loaded')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].split() == ["loaded"]
