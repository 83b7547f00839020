from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilion.datasets.ids import IdSet, count_tars, escape_id, read_ids, safe_name, tar_key, unescape_id
from ilion.errors import DatasetError


@pytest.mark.slow
@given(st.text() | st.text(alphabet="#U0e9é\\x"))
def test_escape_round_trip(image_id: str) -> None:
    escaped = escape_id(image_id)
    assert escaped.isascii()
    assert unescape_id(escaped) == image_id


@given(st.text(alphabet=st.characters(min_codepoint=0x80, max_codepoint=0xFFFF, exclude_categories=["Cs"])))
def test_escape_is_pythons_escape_with_another_sign(image_id: str) -> None:
    python = image_id.encode("unicode_escape").decode()
    assert escape_id(image_id) == python.replace("\\u", "#U").replace("\\x", "#U00")


def test_escape_leaves_plain_ids_alone() -> None:
    for image_id in ("bold_bimp_000/pos/P000_00.jpg", "a#b", "a#U12", "#u00e9", "C#Unit"):
        assert escape_id(image_id) == image_id
        assert unescape_id(image_id) == image_id


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\'")))
def test_ids_of_all_planes_are_escaped_as_the_benchmark_s_script_does(image_id: str) -> None:
    """Its features are indexed by the printed form of escaped bytes, with two replacements."""
    if "#U" not in image_id:
        printed = str(image_id.encode("unicode-escape"))
        expected = printed.replace("\\\\u", "#U").replace("\\\\x", "#U00")[2:-1]
        assert escape_id(image_id) == expected


def test_characters_outside_the_basic_plane_are_read_in_both_forms() -> None:
    assert escape_id("🏺") == "\\\\U0001f3fa"
    assert unescape_id("a\\\\U0001f3fa") == "a🏺"
    assert unescape_id("#Ud83c#Udffa") == "🏺"  # as earlier versions wrote it
    for literal in ("\\\\U0001f3fa", "\\\\\\U0001f3fa", "\\🏺", "\\U0001f3fa", "\\\\Uffffffff"):
        assert unescape_id(escape_id(literal)) == literal


@pytest.mark.parametrize(
    ("member", "key"),
    [("a.jpg", "a"), ("./a.jpg", "a"), ("x/y/a.b.jpg", "x/y/a"), ("x.y/a.jpg", "x.y/a"), ("x/.a.jpg", "")],
)
def test_tar_key_is_up_to_the_first_dot_of_the_file_name(member: str, key: str) -> None:
    assert tar_key(member) == key


@pytest.mark.slow
@given(st.sets(st.text(min_size=1), max_size=12), st.sets(st.text(min_size=1), max_size=12))
def test_id_set_is_a_set(listed: set[str], others: set[str]) -> None:
    ids = IdSet(escape_id(i) for i in listed)
    assert len(ids) == len(listed)
    plain = {i for i in others if "#U" not in i}
    for image_id in plain:
        assert ids.take(image_id, image_id) == (image_id in listed)
    assert ids.found == len(listed & plain)
    assert set(ids.missing(escape_id(i) for i in listed)) == {escape_id(i) for i in listed - plain}


def test_id_set_takes_ids_with_and_without_tar() -> None:
    ids = IdSet(["a.tar/1", "2"])
    assert ids.take("a.tar/1", "1")
    assert not ids.take("b.tar/1", "1")
    assert ids.take("a.tar/2", "2")
    assert ids.take("b.tar/2", "2")
    assert ids.found == 2


def test_id_set_digest_follows_the_content() -> None:
    assert IdSet(["a", "b"]).digest == IdSet(["b", "a", "a"]).digest
    assert IdSet(["a", "b"]).digest != IdSet(["a", "c"]).digest


@pytest.mark.parametrize("name", ["ids.txt", "ids.txt.gz"])
def test_read_ids(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = "\ufeffa/pos/P000_00.jpg,0.5,3\r\n\n b \nc,\n".encode()
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert list(read_ids(path)) == ["a/pos/P000_00.jpg", "b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "No such file"),
        ("empty.txt", b"\n \n", "lists no id"),
        ("bomb.txt.gz", gzip.compress(b"a" * 2**21, mtime=0), "a line of 1,048,576 characters or more"),
        ("latin.txt", b"caf\xe9\n", "UTF-8"),
        ("fake.txt.gz", b"plain text", "gzip"),
        ("cut.txt.gz", gzip.compress(b"a\n" * 1000, mtime=0)[:-9], "gzip"),
    ],
)
def test_unreadable_id_files(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        list(read_ids(tmp_path / name))
    assert name in str(error.value)


def test_tars_named() -> None:
    assert count_tars(["a.tar/1", "a.tar/x/2", "b", "dir/c"]) == {"a.tar": 2}


@given(st.text(min_size=1), st.text(min_size=1))
def test_safe_names_are_safe_and_distinct(a: str, b: str) -> None:
    assert safe_name(a).isascii()
    assert "/" not in safe_name(a)
    assert (safe_name(a) == safe_name(b)) == (a == b)
