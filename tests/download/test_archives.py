"""Archives that try to leave their folder, and other ones that must not be believed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import write_tar

from ilion.download.archives import extract
from ilion.errors import ArtifactError


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o6777
    return info


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def out(tmp_path: Path, archive: Path) -> tuple[int, tuple[str, ...]]:
    return extract(archive, tmp_path / "out", tmp_path / "aside")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.zip"])
def test_plain_archives_come_out(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("set/", "")
            made.writestr("set/a.jpg", b"a" * 1000)
            made.writestr("täfelchen/b.txt", b"")
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[archive.suffix]
        entries = [
            (member("./set", tarfile.DIRTYPE), b""),
            (member("./set/a.jpg"), b"a" * 1000),
            (member("täfelchen/b.txt"), b""),
        ]
        tar_of(archive, *entries, mode=mode)
    assert out(tmp_path, archive) == (2, ("set", "täfelchen"))
    assert tree(tmp_path / "out") == {"set/a.jpg": b"a" * 1000, "täfelchen/b.txt": b""}
    # no set-uid bits, nothing executable
    assert not (tmp_path / "out/set/a.jpg").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | 0o111)
    assert not (tmp_path / "aside").exists()


EVIL: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "absolute": [(member("/etc/cron.d/evil"), b"x")],
    "parent": [(member("../evil"), b"x")],
    "deep-parent": [(member("a/b/../../../evil"), b"x")],
    "backslash": [(member("..\\evil"), b"x")],
    "drive": [(member("C:evil"), b"x")],
    "link": [(member("a", tarfile.SYMTYPE, "/etc"), b"")],
    "inner-link": [(member("a", tarfile.SYMTYPE, "b"), b"")],
    "hard-link": [(member("a", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "write-through-link": [(member("d", tarfile.SYMTYPE, ".."), b""), (member("d/evil"), b"x")],
    "device": [(member("null", tarfile.CHRTYPE), b"")],
    "block-device": [(member("sda", tarfile.BLKTYPE), b"")],
    "pipe": [(member("pipe", tarfile.FIFOTYPE), b"")],
    "twice": [(member("a"), b"1"), (member("./a"), b"2")],
    "file-as-folder": [(member("a"), b"1"), (member("a/b"), b"2")],
    "folder-as-file": [(member("a/b"), b"1"), (member("a"), b"2")],
    "control": [(member("a\x1b[2Jb"), b"x")],
    "deep": [(member("/".join(["d"] * 80)), b"x")],
    "long": [(member("x" * 300), b"x")],
    "itself": [(member("."), b"x")],
}


@pytest.mark.parametrize("kind", EVIL)
def test_what_leaves_the_folder_is_refused(tmp_path: Path, kind: str) -> None:
    archive = tar_of(tmp_path / "a.tar", (member("good.jpg"), b"good"), *EVIL[kind])
    with pytest.raises(ArtifactError):
        out(tmp_path, archive)
    # nothing of it is kept, and nothing is anywhere else
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar"]
    assert not (tmp_path.parent / "evil").exists()


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """A terabyte of holes in a few bytes, as GNU tar writes it."""
    info = member("hole", tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b"00000000000\0", b"00000001000\0"
    header[483:495] = b"77777777777\0"
    header[124:136] = b"00000001000\0"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(512 * 22))
    with pytest.raises(ArtifactError, match="sparse"):
        out(tmp_path, tmp_path / "a.tar")


@pytest.mark.slow
def test_a_compression_bomb_is_refused(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar.gz", (member("zeros"), bytes(50 << 20)), mode="w:gz")
    assert archive.stat().st_size < 100_000
    with pytest.raises(ArtifactError, match="more than it can hold"):
        out(tmp_path, archive)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(50 << 20))
    with pytest.raises(ArtifactError, match="more than it can hold"):
        out(tmp_path, tmp_path / "b.zip")


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a", b"x" * 1000)
    raw = bytearray(archive.read_bytes())
    place = raw.rindex(b"PK\x01\x02")
    raw[place + 24 : place + 28] = (10).to_bytes(4, "little")
    archive.write_bytes(raw)
    with pytest.raises(ArtifactError):
        out(tmp_path, archive)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\..\\evil", "C:\\evil"])
def test_evil_names_in_a_zip_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(name, b"x")
    with pytest.raises(ArtifactError):
        out(tmp_path, tmp_path / "a.zip")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(info, "/etc")
    with pytest.raises(ArtifactError, match="neither a file nor a folder"):
        out(tmp_path, tmp_path / "a.zip")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def garbled(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 0x55 for b in data[middle : middle + 200]) + data[middle + 200 :]


@pytest.mark.parametrize("damage", [cut, garbled])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2", "zip"])
def test_damaged_archives_are_named(tmp_path: Path, damage: Callable[[bytes], bytes], mode: str) -> None:
    archive = tmp_path / ("a.zip" if mode == "zip" else "a.tar" + mode[1:].replace(":", "."))
    files = {f"{i}.bin": os.urandom(3000) for i in range(20)}
    if mode == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            for name, data in files.items():
                made.writestr(name, data)
    else:
        tar_of(archive, *((member(name), data) for name, data in files.items()), mode=mode)
    archive.write_bytes(damage(archive.read_bytes()))
    if mode == "w" and damage is garbled:
        # a plain tar has no checksum of its content: that is what the download's digest is for
        return
    with pytest.raises(ArtifactError, match=r"a\.(tar|zip)"):
        out(tmp_path, archive)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_replaced_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "out/set").mkdir(parents=True)
    (tmp_path / "out/set/a.jpg").write_bytes(b"old")
    (tmp_path / "out/set/mine.jpg").write_bytes(b"mine")
    write_tar(tmp_path / "a.tar", {"set/a.jpg": b"new"})
    out(tmp_path, tmp_path / "a.tar")
    assert tree(tmp_path / "out") == {"set/a.jpg": b"new", "set/mine.jpg": b"mine"}


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/set").symlink_to(tmp_path / "elsewhere")
    write_tar(tmp_path / "a.tar", {"set/a.jpg": b"new"})
    with pytest.raises(ArtifactError, match="in the way"):
        out(tmp_path, tmp_path / "a.tar")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_extension_headers_are_bounded(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("p")
    member.type, member.size = kind, 1 << 32
    path = tmp_path / "huge.tar"
    with path.open("wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate((1 << 32) + 4096)
    with pytest.raises(ArtifactError, match="an extension header of 4,294,967,296 bytes"):
        extract(path, tmp_path / "out", tmp_path / "aside")
    member.size = 0
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) * 3000 + bytes(1024))
    with pytest.raises(ArtifactError, match="damaged"):
        extract(path, tmp_path / "out", tmp_path / "aside")
