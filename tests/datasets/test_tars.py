"""Where the files in a tar lie."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilion.datasets.tars import index_tar
from ilion.errors import DatasetError

FILES = {"a.jpg": b"first" * 300, "b/c.jpg": b"", "x" * 150 + ".jpg": b"third" * 7, "höhe.jpg": b"\0" * 512}


def make(path: Path, files: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_what_follows_the_end_is_not_read_for_hours(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tar", FILES)
    for size in (path.stat().st_size + (1 << 20), 64 << 30):
        with path.open("r+b") as file:
            file.truncate(size)
        if size < 1 << 30:
            assert len(index_tar(path).members) == len(FILES)
        else:
            with pytest.raises(DatasetError, match="bytes follow its end"):
                index_tar(path)


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_byte_ranges_are_those_of_the_files(tmp_path: Path, tar_format: int) -> None:
    path = make(tmp_path / "a.tar", FILES, tar_format)
    blob = path.read_bytes()
    assert [(m.name, blob[m.offset : m.offset + m.size]) for m in index_tar(path).members] == list(
        FILES.items()
    )


def test_folders_and_links_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("../../escape.jpg")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    (only,) = index_tar(path).members
    assert (only.name, only.size) == ("../../escape.jpg", 3)
    assert path.read_bytes()[only.offset :][:3] == b"abc"


def test_an_empty_tar_has_no_members(tmp_path: Path) -> None:
    assert index_tar(make(tmp_path / "a.tar", {})).members == []


def test_every_cut_is_an_error_that_says_after_which_file(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.tar", {"a.jpg": b"1" * 700, "b.jpg": b"2" * 600}).read_bytes()
    # Blocks of 512 bytes: header, 2 of data, header, 2 of data, end marker.
    path = tmp_path / "cut.tar"
    for length in range(1, 6 * 512 + 512, 64):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError) as caught:
            index_tar(path)
        message = str(caught.value)
        assert str(path) in message
        if 512 <= length < 3 * 512:
            assert "within 'a.jpg'" in message
        if 3 * 512 <= length < 4 * 512:
            assert "no end marker after 'a.jpg'" in message
        if 4 * 512 <= length < 6 * 512:
            assert "within 'b.jpg' after 'a.jpg'" in message
        if length >= 6 * 512:
            assert "no end marker after 'b.jpg'" in message


def test_damage_and_foreign_files(tmp_path: Path) -> None:
    whole = bytearray(make(tmp_path / "a.tar", {"a.jpg": b"1" * 700, "b.jpg": b"2" * 600}).read_bytes())
    path = tmp_path / "bad.tar"

    def message(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(DatasetError) as caught:
            index_tar(path)
        return str(caught.value)

    assert "compressed with gzip" in message(gzip.compress(bytes(whole)))
    assert "compressed with zstd" in message(b"\x28\xb5\x2f\xfd" + bytes(600))
    assert "not a tar" in message(b"hello " * 200)
    assert "not a tar" in message(b"")
    second = make(tmp_path / "b.tar", {"c.jpg": b"3"}).read_bytes()
    assert "a second tar after 'b.jpg'" in message(bytes(whole) + second)
    header = whole[:]
    header[3 * 512 + 100] ^= 1
    assert "damaged header, or a second tar after 'a.jpg'" in message(bytes(header))
    with pytest.raises(DatasetError, match="cannot be read"):
        index_tar(tmp_path / "missing.tar")
    with pytest.raises(DatasetError, match="cannot be read"):
        index_tar(tmp_path)


def test_a_negative_size_does_not_loop_for_ever(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = -512
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(DatasetError, match=r"a\.tar"):
        index_tar(path)


def header(name: str, size: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


LAST = header("a.jpg", 3, tarfile.REGTYPE) + padded(b"abc") + bytes(1024)


@pytest.mark.parametrize("kind", [b"x", b"g", b"X", b"L", b"K"])
@pytest.mark.parametrize("count", [3, 64, 65, 3_000])
def test_headers_in_a_row_are_bounded(tmp_path: Path, kind: bytes, count: int) -> None:
    body = b"15 comment=abc\n" if kind in (b"x", b"g", b"X") else b"long.jpg\0"
    path = tmp_path / "a.tar"
    path.write_bytes((header("p", len(body), kind) + padded(body)) * count + LAST)
    if count <= 64:
        (only,) = index_tar(path).members
        assert only.name == ("long.jpg" if kind == b"L" else "a.jpg")
        assert path.read_bytes()[only.offset :][: only.size] == b"abc"
    else:
        with pytest.raises(DatasetError, match="65 extension headers in a row, the last of"):
            index_tar(path)


def test_a_header_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(header("p", 4 << 30, tarfile.XHDTYPE))
        file.truncate((4 << 30) + 4096)
    with pytest.raises(DatasetError, match="the last of 4,294,967,296 bytes"):
        index_tar(path)


@pytest.mark.parametrize(
    "body",
    [b"junk", b"0 a=b\n", b"99 a=b\n", b"6 a=b", b"9999999999999999999999 a=b\n", b"-6 a=b\n", b"5 ab\n"],
)
def test_damaged_extension_headers(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(header("p", len(body), b"x") + padded(body) + LAST)
    with pytest.raises(DatasetError, match="a damaged extension header at its beginning"):
        index_tar(path)


@pytest.mark.parametrize("size", ["x", "-1", "9" * 5000, "1e3", "", "²"])
def test_damaged_sizes_in_extension_headers(tmp_path: Path, size: str) -> None:
    record = f" size={size}\n".encode()
    length = next(n for n in range(1, 9999) if len(str(n)) + len(record) == n)
    body = str(length).encode() + record
    path = tmp_path / "a.tar"
    path.write_bytes(header("p", len(body), b"x") + padded(body) + LAST)
    with pytest.raises(DatasetError, match="damaged header"):
        index_tar(path)


@given(st.lists(st.tuples(st.text("ab/.é", min_size=1, max_size=160), st.binary(max_size=700)), max_size=8))
@settings(max_examples=20, deadline=None)
def test_the_index_is_that_of_tarfile(files: list[tuple[str, bytes]]) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            for name, data in files:
                member = tarfile.TarInfo(f"{name}x")  # a slash at the end means a folder
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.tar"
            path.write_bytes(out.getvalue())
            found = [(m.name, m.offset, m.size) for m in index_tar(path).members]
        out.seek(0)
        with tarfile.open(fileobj=out) as tar:
            wanted = [(m.name, m.offset_data, m.size) for m in tar if m.isreg()]
        assert found == wanted
