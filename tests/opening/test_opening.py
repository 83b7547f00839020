"""Only regular files are opened, of bounded size; text comes in any encoding."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ilion
from ilion.config import load_experiment
from ilion.errors import ConfigError, DatasetError, IlionError
from ilion.opening import full_path, open_regular, read_bytes, read_text
from ilion.opening.regular import SpecialFileError
from ilion.opening.text import decode_text


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    with open_regular(str(path)) as file:
        assert file.read() == b"abc"
    assert read_bytes(tmp_path / "link") == read_bytes(path, most=3) == b"abc"


def test_a_pipe_a_socket_a_device_and_a_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        for path, seen in (
            (tmp_path / "pipe", "a pipe"),
            (tmp_path / "link", "a pipe"),
            (tmp_path / "socket", "a socket"),
            (Path("/dev/zero"), "a device"),
            (tmp_path, "a folder"),
        ):
            with pytest.raises(SpecialFileError, match=rf"{path}: is {seen}.*, not a file; give") as caught:
                open_regular(path)
            assert isinstance(caught.value, DatasetError)
            assert isinstance(caught.value, OSError)


def test_a_loop_of_links_and_nothing_are_errors_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "loop")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_sparse_file_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    with path.open("wb") as file:
        file.truncate(64 << 30)
    with pytest.raises(SpecialFileError, match="68,719,476,736 bytes, more than the limit of 1,073,741,824"):
        read_bytes(path)
    path.write_bytes(b"abc")
    with pytest.raises(SpecialFileError, match="limit of 2 "):
        read_bytes(path, most=2)


JAPANESE = "ファイル,物体,役割\n写真/赤いマグ.jpg,赤いマグカップ,query\n皿.jpg,皿,positive\n"


@pytest.mark.parametrize("encoding", ["cp932", "euc_jp", "utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_japanese_text_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(JAPANESE.encode(encoding))
    found = read_text(path)
    assert found == (JAPANESE, encoding, encoding in ("cp932", "euc_jp"))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Datei;Objekt;Rolle\nTür/grün.jpg;Käse 100 g;query\nweiß.jpg;Größe;positive\n"),
        ("cp1252", "fichier,objet\nphotos/été.jpg,théière bleue\nà côté.jpg,bœuf\n"),
        ("cp1252", "file,object\na.jpg,crème brûlée\n"),
        ("cp1252", "file,object\na.jpg,señor niño\n"),
        ("gb18030", "文件,物体\n照片/红色的杯子.jpg,红色的杯子\n"),
        ("cp949", "파일,물체\n사진/빨간 컵.jpg,빨간 컵\n"),
        ("cp932", "file,object\na.jpg,皿\n"),
        ("cp932", "file,object\na.jpg,お茶\n"),
        ("cp932", "file,object\na.jpg,ﾏｸﾞｶｯﾌﾟ\n"),
    ],
)
def test_other_local_code_pages_are_found(encoding: str, text: str) -> None:
    assert decode_text(text.encode(encoding)) == (text, encoding, True)


def test_a_named_encoding_is_used_and_an_unknown_one_refused() -> None:
    assert decode_text("žluťoučký".encode("cp1250"), "cp1250").text == "žluťoučký"
    with pytest.raises(ConfigError, match="no encoding is named 'cp9320'"):
        decode_text(b"", "cp9320")
    with pytest.raises(UnicodeDecodeError):
        decode_text("Tür".encode("cp1252"), "utf-8")


@given(st.binary(max_size=64))
def test_any_bytes_are_a_text_or_no_text(data: bytes) -> None:
    with contextlib.suppress(UnicodeError):
        assert isinstance(decode_text(data).text, str)


def test_links_in_a_circle_have_a_full_path(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert full_path(circle, "x") == circle / "x"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert full_path(tmp_path / "link") == (tmp_path / "link").resolve()


@pytest.mark.parametrize("setting", ["output", "dataset.path", "adaptation.layer", "rerank.weights", "trust"])
def test_settings_that_lead_nowhere_are_sentences(setting: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for place in (str(tmp_path / "circle"), "~no-such-user-at-all/x", str(tmp_path / "circle" / "x.py")):
        value = f'["{place}"]' if setting == "trust" else f'"{place}"'
        with contextlib.suppress(IlionError):  # some are looked at later
            load_experiment(tmp_path, [f"{setting}={value}"])


def test_paths_are_made_absolute_in_one_place() -> None:
    wrong = [
        path.name
        for path in Path(ilion.__file__).parent.rglob("*.py")
        if ".resolve()" in path.read_text("utf-8") or ".expanduser()" in path.read_text("utf-8")
    ]
    assert wrong == [], "use ilion.opening.full_path and os.path.expanduser, which do not fail"
