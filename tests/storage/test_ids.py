"""Lists of ids on disk: like a tuple, whole or not at all, checked for repeats in bounded memory."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilion.errors import ArtifactError
from ilion.storage import duplicates, files
from ilion.storage import ids as idlist
from ilion.storage.duplicates import DuplicateFinder, encode_ids, hash_ids
from ilion.storage.ids import IdList, PickedIds, find_duplicate, save_ids, write_ids

ODD = ("", "a", "ü/1.jpg", "日本/2", "line\nbreak", "nul\0", "nul", "\udcff bytes", "𝒳", "a b", "z" * 300)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and runs so small that a few ids need several."""
    monkeypatch.setattr(idlist, "BLOCK", 4)
    monkeypatch.setattr(duplicates, "RUN", 8)
    monkeypatch.setattr(duplicates, "SUSPECTS", 2)


def listed(folder: Path, ids: Sequence[str], *, unique: bool = True) -> IdList:
    parts = (ids[start : start + 3] for start in range(0, len(ids), 3))
    return write_ids(folder, "list", parts, unique_in=folder if unique else None)


@pytest.mark.parametrize("ids", [(), ("",), ODD, tuple(f"d/{i:03d}" for i in range(40))], ids=len)
def test_a_list_is_to_the_eye_a_tuple(tmp_path: Path, ids: tuple[str, ...]) -> None:
    listed(tmp_path, ids)
    found = IdList(tmp_path, "list")
    assert len(found) == len(ids)
    assert tuple(found) == ids
    assert [found[row] for row in range(-len(ids), len(ids))] == [*ids, *ids]
    assert [found[np.int64(row)] for row in range(len(ids))] == list(ids)  # type: ignore[call-overload]
    for part in (slice(None), slice(3, 9), slice(4, 8), slice(-3, None), slice(5, 2), slice(None, None, -2)):
        assert found[part] == ids[part]
        assert isinstance(found[part], tuple)
    for row in (len(ids), -len(ids) - 1):
        with pytest.raises(IndexError, match="outside"):
            found[row]
    assert list(reversed(found)) == list(reversed(ids))
    assert all(name in found for name in ids)
    assert "never" not in found
    assert [found.index(name) for name in ids] == list(range(len(ids)))


def test_lists_equal_what_holds_the_same_ids(tmp_path: Path) -> None:
    one = listed(tmp_path / "1", ODD)
    assert one == ODD
    assert ODD == one  # noqa: SIM300
    assert one == list(ODD)
    assert one == listed(tmp_path / "2", ODD)
    assert one != ODD[:-1]
    assert one != (*ODD[:-1], "another")
    assert one != 5
    assert listed(tmp_path / "3", ("a", "b")) != "ab"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    assert repr(one) == "<IdList of 11 ids>"


def test_picked_ids_are_those_of_their_rows(tmp_path: Path) -> None:
    ids = tuple(f"d/{i:03d}" for i in range(200))
    rows = np.array([0, 1, 5, 100, 101, 199])
    for whole in (ids, listed(tmp_path, ids)):
        picked = PickedIds(whole, rows)
        expected = tuple(ids[row] for row in rows)
        assert picked == expected
        assert picked[3] == "d/100"
        assert picked[1:4] == expected[1:4]
        assert PickedIds(picked, np.array([1, 3])) == ("d/001", "d/100")
        assert len(PickedIds(whole, rows[:0])) == 0
        assert PickedIds(whole, rows[:0])[:] == ()


@pytest.mark.parametrize("suffix", [idlist.TEXT, idlist.STARTS])
def test_damage_is_found_where_it_is(tmp_path: Path, suffix: str) -> None:
    ids = tuple(f"d/{i:03d}" for i in range(40))
    listed(tmp_path, ids)
    path = tmp_path / f"list{suffix}"
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    found = IdList(tmp_path, "list")
    assert found[0] == "d/000"
    assert found[30:36] == ids[30:36]
    for look in (lambda: found[39], lambda: found[35:37], lambda: list(found)):
        with pytest.raises(ArtifactError, match=r"list\.text: damaged .* delete .*list\.\* and run again"):
            look()


@pytest.mark.parametrize("suffix", [idlist.TEXT, idlist.STARTS, idlist.HEAD])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_files_that_do_not_fit_are_refused(tmp_path: Path, suffix: str, damage: str) -> None:
    listed(tmp_path, ODD)
    path = tmp_path / f"list{suffix}"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(ArtifactError, match=rf"list\{suffix}"):
        IdList(tmp_path, "list")


@pytest.mark.parametrize(
    "head",
    [[], {}, {"format": 2}, {"format": 1, "ids": 3, "bytes": 1, "block": 2, "checksums": [], "about": {}}],
)
def test_a_head_of_another_kind_is_refused(tmp_path: Path, head: object) -> None:
    listed(tmp_path, ODD)
    files.write_json(tmp_path / "list.json", head)
    with pytest.raises(ArtifactError, match=r"list\.json"):
        IdList(tmp_path, "list")


@pytest.mark.parametrize("at", [0, 2, 17, 38])
def test_an_id_that_occurs_twice_is_refused_and_nothing_is_left(tmp_path: Path, at: int) -> None:
    ids = [f"d/{i:03d}" for i in range(40)]
    ids[39] = ids[at]
    with pytest.raises(ArtifactError, match=f"id '{ids[at]}' occurs twice"):
        listed(tmp_path, ids)
    assert list(tmp_path.iterdir()) == []
    assert listed(tmp_path, ids, unique=False) == ids


def test_hashes_that_collide_by_chance_are_no_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idlist, "hash_ids", lambda text, starts: hash_ids(text, starts) % np.uint64(3))
    ids = [f"d/{i:03d}" for i in range(40)]
    assert listed(tmp_path, ids) == ids
    monkeypatch.setattr(idlist, "IN_MEMORY", 4)
    assert find_duplicate(ids) is None
    assert find_duplicate([*ids, "d/007"]) == "d/007"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1), max_size=12), max_size=8))
def test_suspects_are_the_values_that_occur_twice(parts: list[list[int]]) -> None:
    with DuplicateFinder() as found:
        for part in parts:
            found.add(np.array(part, np.uint64))
        groups = list(found.suspects())
    assert all(len(group) <= duplicates.SUSPECTS for group in groups)
    expected = sorted(
        value for value, count in Counter(v for part in parts for v in part).items() if count > 1
    )
    assert [int(value) for group in groups for value in group] == expected


def test_values_that_are_all_alike_do_not_pile_up() -> None:
    with DuplicateFinder() as found:
        for _ in range(50):
            found.add(np.full(8, 7, np.uint64))
        assert [group.tolist() for group in found.suspects()] == [[7]]
        assert sum(found._runs) <= 2 * 50


@given(st.lists(st.text(max_size=6), max_size=30))
def test_equal_ids_have_equal_hashes_and_others_another(ids: list[str]) -> None:
    text, starts = encode_ids(ids)
    assert [text[a:b].decode() for a, b in pairwise(starts.tolist())] == ids
    values = hash_ids(text, starts)
    alone = [int(hash_ids(*encode_ids([name]))[0]) for name in ids]
    assert values.tolist() == alone
    assert len(set(alone)) == len(set(ids))


@pytest.mark.slow
def test_similar_ids_do_not_collide() -> None:
    ids = [f"distractors/shard_{i // 1000:05d}.tar/{i:09d}" for i in range(100_000)]
    assert len(np.unique(hash_ids(*encode_ids(ids)))) == len(ids)


@pytest.mark.parametrize("kept", [set(), {idlist.STARTS}, {idlist.STARTS, idlist.TEXT}], ids=len)
def test_what_a_kill_left_does_not_count_and_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: set[str]
) -> None:
    write = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).suffix not in kept:
            raise KeyboardInterrupt
        write(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            listed(tmp_path, ODD)
    with pytest.raises(ArtifactError, match="no such file"):
        IdList(tmp_path, "list")
    assert listed(tmp_path, ODD[2:]) == ODD[2:]
    assert IdList(tmp_path, "list") == ODD[2:]


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        listed(tmp_path, ODD)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        listed(tmp_path / "file" / "ids", ODD)


def test_a_copy_is_a_link_where_that_is_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_ids = listed(tmp_path / "a", ODD)
    save_ids(tmp_path / "b", "other", given_ids)
    assert (tmp_path / "b" / "other.text").samefile(tmp_path / "a" / "list.text")
    save_ids(tmp_path / "b", "other", given_ids)  # renaming a link to a link of the same file does nothing
    save_ids(tmp_path / "b", "other", IdList(tmp_path / "b", "other"))  # onto itself

    def refused(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    save_ids(tmp_path / "c", "other", given_ids)
    save_ids(tmp_path / "d", "other", PickedIds(given_ids, np.arange(len(ODD))))
    for folder in "bcd":
        assert IdList(tmp_path / folder, "other") == ODD
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names == ["other.json", "other.starts", "other.text"]
    assert not (tmp_path / "c" / "other.text").samefile(tmp_path / "a" / "list.text")


def test_threads_share_a_list(tmp_path: Path) -> None:
    ids = tuple(f"d/{i:03d}" for i in range(300))
    found = listed(tmp_path, ids)
    wrong: list[int] = []

    def look(seed: int) -> None:
        for row in np.random.default_rng(seed).integers(0, len(ids), 400).tolist():
            if found[row] != ids[row] or found[row : row + 7] != ids[row : row + 7]:
                wrong.append(row)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
