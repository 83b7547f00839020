"""Downloads through a server that truncates, stalls, resets, and answers wrongly."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faulty_server import FAULTS, FaultyServer, serving

from ilion.download import Recipe, download
from ilion.download.answers import Fault, Refusal, follow_redirect, judge, waiting_time
from ilion.download.client import Client, Stopped
from ilion.download.partial import Head, Partial
from ilion.download.recipes import parse_recipe
from ilion.download.records import downloads_folder, read_record
from ilion.download.settings import DownloadSettings
from ilion.errors import ArtifactError, ConfigError

QUICK = DownloadSettings(connect_timeout=2, read_timeout=0.4, backoff=0.01, longest_wait=5)
NEVER_THERE = "http://127.0.0.1:9/"


def content(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def recipe(server: FaultyServer | str, **checksums: str) -> Recipe:
    """One part with a file for each keyword; an empty checksum is trusted at first use."""
    base = server if isinstance(server, str) else server.url
    files = "".join(
        f'[[parts.files]]\npath = "{name}"\nchecksum = "{value or "first-use"}"\n'
        for name, value in checksums.items()
    )
    return parse_recipe(
        f'name = "set"\ntitle = "A set"\nhomepage = "https://example.org/"\nlicence = "CC0"\n'
        f'base = "{base}"\n'
        f'[[parts]]\nname = "all"\ndefault = true\n{files}',
        "test",
    )


def fetch(what: Recipe, folder: Path, settings: DownloadSettings = QUICK, **options: Any) -> Any:
    return download(what, folder, settings=settings, **options)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 3])
def test_every_fault_is_survived(tmp_path: Path, fault: str, times: int) -> None:
    data = content(1, 300_000)
    # a fault of parts needs a first one that leaves a part
    script = [*(["truncate"] if "range" in fault or fault == "416" else []), *[fault] * times]
    settings = replace(QUICK, refetches=3)
    with serving({"/a": data}, {"/a": script}) as server:
        done = fetch(recipe(server, a=digest(data)), tmp_path, settings)
        assert server.shown[fault] == times
    assert (tmp_path / "a").read_bytes() == data
    assert done.files == ("a",)
    assert sum(done.faults.values()) >= times
    assert not list(downloads_folder(tmp_path).glob("*.part*"))


def test_cut_files_go_on_where_they_were(tmp_path: Path) -> None:
    data = content(2, 900_000)
    with serving({"/a": data}, {"/a": ["truncate", "reset", "stall"]}) as server:
        done = fetch(recipe(server, a=digest(data)), tmp_path)
        ranges = [wanted for kind, _, wanted in server.requests if kind == "GET"]
    assert ranges[0] == ""
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in ranges[1:]]
    assert starts == sorted(starts)
    assert starts[0] > 200_000
    assert done.bytes_fetched == done.bytes_needed == len(data)


def test_wrong_bytes_are_fetched_again_then_named(tmp_path: Path) -> None:
    data = content(3, 50_000)
    with serving({"/a": data, "/b": data}, {"/a": ["corrupt"] * 9, "/b": ["corrupt"]}) as server:
        what = recipe(server, a=digest(data), b=digest(data))
        with pytest.raises(ArtifactError, match=r"1 of 2 files .* a: fetched 3 times.*wrong checksum"):
            fetch(what, tmp_path)
        # the others are there, and the bad one is not
        assert (tmp_path / "b").read_bytes() == data
        assert not (tmp_path / "a").exists()
        assert server.seen["/a"] == 3


def test_a_second_run_fetches_nothing(tmp_path: Path) -> None:
    data = content(4, 10_000)
    with serving({"/a": data}) as server:
        what = recipe(server, a=digest(data))
        fetch(what, tmp_path)
        asked = len(server.requests)
        done = fetch(what, tmp_path, confirm=lambda plan: pytest.fail("nothing to confirm"))
        assert len(server.requests) == asked
    assert done.files == ("a",)
    assert done.bytes_fetched == 0


def test_a_file_that_changed_on_disk_is_fetched_again(tmp_path: Path) -> None:
    data = content(5, 10_000)
    with serving({"/a": data}) as server:
        what = recipe(server, a=digest(data))
        fetch(what, tmp_path)
        (tmp_path / "a").write_bytes(b"x" + data[1:])
        fetch(what, tmp_path)
        assert (tmp_path / "a").read_bytes() == data
        # touched but equal: read, not fetched
        asked = server.seen["/a"]
        (tmp_path / "a").write_bytes(data)
        done = fetch(what, tmp_path)
        assert server.seen["/a"] == asked
        assert done.files == ("a",)


def test_verify_finds_what_times_do_not_show(tmp_path: Path) -> None:
    import os

    data = content(6, 10_000)
    with serving({"/a": data}) as server:
        what = recipe(server, a=digest(data))
        fetch(what, tmp_path)
        facts = (tmp_path / "a").stat()
        (tmp_path / "a").write_bytes(b"x" + data[1:])
        os.utime(tmp_path / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        fetch(what, tmp_path)
        assert (tmp_path / "a").read_bytes() != data
        fetch(what, tmp_path, verify=True)
        assert (tmp_path / "a").read_bytes() == data


def test_first_use_is_recorded_and_binds(tmp_path: Path) -> None:
    old, new = content(7, 9_000), content(8, 9_000)
    files: dict[str, Any] = {"/a": old}
    with serving(files) as server:
        what = recipe(server, a="")
        fetch(what, tmp_path)
        record = read_record(tmp_path, "a")
        assert record is not None
        assert (record.sha256, record.policy) == (digest(old), "first-use")
        (tmp_path / "a").unlink()
        files["/a"] = new
        with pytest.raises(ArtifactError, match=r"--accept-changed"):
            fetch(what, tmp_path)
        assert not (tmp_path / "a").exists()
        fetch(what, tmp_path, accept_changed=True)
        assert (tmp_path / "a").read_bytes() == new


def test_a_changed_file_starts_anew(tmp_path: Path) -> None:
    old, new = content(9, 200_000), content(10, 200_000)
    files: dict[str, Any] = {"/a": old}
    seen = threading.Event()

    def choose(path: str, number: int, start: int) -> str:
        if number == 0:
            return "truncate"
        if not seen.is_set():
            seen.set()
            files["/a"] = new
            server.etags["/a"] = '"v2"'
        return ""

    with serving(files, choose) as server:
        fetch(recipe(server, a=""), tmp_path)
    # never the start of one version and the end of the other
    assert (tmp_path / "a").read_bytes() == new


def test_a_server_with_restless_tags_is_judged_by_the_checksum(tmp_path: Path) -> None:
    data = content(11, 400_000)

    def choose(path: str, number: int, start: int) -> str:
        server.etags["/a"] = f'"v{number}"'
        return "truncate" if number % 5 == 0 and number < 40 else ""

    with serving({"/a": data}, choose) as server:
        fetch(recipe(server, a=digest(data)), tmp_path, replace(QUICK, retries=50))
    assert (tmp_path / "a").read_bytes() == data


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("403", "forbids it"),
        ("404", "has no such file"),
        ("html", "a web page came instead"),
        ("encoded", "sent as br"),
        ("endless", "does not say where the file ends"),
        ("redirect file:///etc/passwd", "only http:// and https://"),
        ("redirect ftp://127.0.0.1/a", "only http:// and https://"),
        ("redirect /a", "more than 5 redirects"),
        ("wait 4000", "come back in 4000 s"),
        ("500", "9 failures in a row"),
    ],
)
def test_a_no_is_said_once_and_clearly(tmp_path: Path, fault: str, message: str) -> None:
    with serving({"/a": content(12, 1000)}, lambda path, number, start: fault) as server:
        with pytest.raises(ArtifactError, match=message):
            fetch(recipe(server, a=""), tmp_path)
        assert server.seen["/a"] <= 9
    assert not (tmp_path / "a").exists()


def test_without_an_announced_length_the_checksum_decides(tmp_path: Path) -> None:
    data = content(13, 100_000)
    with serving({"/nohead": data}, {"/nohead": ["endless-cut", "endless"]}) as server:
        fetch(recipe(server, nohead=digest(data)), tmp_path)
    assert (tmp_path / "nohead").read_bytes() == data


def test_more_bytes_than_announced_do_not_count(tmp_path: Path) -> None:
    data = content(14, 50_000)
    with serving({"/a": data}, {"/a": ["too-long"]}) as server:
        fetch(recipe(server, a=digest(data)), tmp_path)
    assert (tmp_path / "a").read_bytes() == data


def test_a_trickle_is_a_stall(tmp_path: Path) -> None:
    data = content(15, 100_000)
    with serving({"/a": data}, {"/a": ["drip"]}) as server:
        done = fetch(recipe(server, a=digest(data)), tmp_path)
    assert done.faults["stalled"] == 1


def test_redirects_are_followed_and_ranges_survive_them(tmp_path: Path) -> None:
    data = content(16, 200_000)

    def choose(path: str, number: int, start: int) -> str:
        if path == "/a":
            return "redirect /other"
        return "truncate" if number == 0 else ""

    with serving({"/a": b"", "/other": data}, choose) as server:
        done = fetch(recipe(server, a=digest(data)), tmp_path)
    assert done.bytes_fetched == len(data)


def test_mirrors_come_first_and_the_source_last(tmp_path: Path) -> None:
    data = content(17, 100_000)
    with serving({"/a": data}, {"/a": ["truncate", "404"]}) as mirror, serving({"/a": data}) as source:
        settings = replace(QUICK, mirrors={"set": (NEVER_THERE, mirror.url)}, retries=0)
        done = fetch(recipe(source, a=digest(data)), tmp_path, replace(settings, retries=1))
        assert mirror.seen["/a"] == 2
        assert source.requests[-1][2].startswith("bytes=")
    # the part of the mirror was not fetched again
    assert done.bytes_fetched == len(data)
    assert done.records[0].url == f"{source.url}a"


def test_a_mirror_with_other_bytes_is_left(tmp_path: Path) -> None:
    data = content(18, 20_000)
    with serving({"/a": content(19, 20_000)}) as mirror, serving({"/a": data}) as source:
        settings = replace(QUICK, mirrors={"set": (mirror.url,)})
        done = fetch(recipe(source, a=digest(data)), tmp_path, settings)
    assert done.records[0].url == f"{source.url}a"
    assert done.faults["wrong checksum"] == 1


def test_a_host_without_server_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ArtifactError, match="no connection"):
            fetch(
                recipe(f"http://127.0.0.1:{taken.getsockname()[1]}/", a=""),
                tmp_path,
                replace(QUICK, retries=1),
            )


def test_an_interrupt_leaves_a_state_to_go_on_from(tmp_path: Path) -> None:
    data = content(20, 400_000)
    with serving({"/a": data}, {"/a": ["stall"]}) as server:
        what = recipe(server, a=digest(data))

        def progress(stage: str, done: int, total: int) -> None:
            if done > 100_000:
                raise KeyboardInterrupt

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fetch(what, tmp_path, replace(QUICK, read_timeout=120), progress=progress)
        assert time.monotonic() - began < 30  # at once, and not when the stalled server is given up
        part = next(downloads_folder(tmp_path).glob("*.part"))
        assert data.startswith(part.read_bytes())
        assert part.stat().st_size > 50_000
        done = fetch(what, tmp_path)
    assert (tmp_path / "a").read_bytes() == data
    assert done.bytes_fetched < len(data)


def test_a_waiting_transfer_is_woken(tmp_path: Path) -> None:
    """Ctrl-C while all threads wait for bytes that do not come."""
    client = Client(replace(QUICK, read_timeout=120), threading.Event())
    with serving({"/a": content(21, 10_000)}, {"/a": ["stall"]}) as server:
        timer = threading.Timer(0.2, client.interrupt)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Stopped), client.open(f"{server.url}a") as answer:
            list(client.read(answer))
        assert time.monotonic() - began < 30
        timer.join()
    client.close()


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    from filelock import FileLock

    downloads_folder(tmp_path).mkdir()
    with (
        serving({"/a": b"a"}) as server,
        FileLock(downloads_folder(tmp_path) / ".lock"),
        pytest.raises(ArtifactError, match="another process"),
    ):
        fetch(recipe(server, a=""), tmp_path)


def test_the_disk_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilion.download.planning.free_bytes", lambda folder: 1000)
    with (
        serving({"/a": content(22, 5000)}) as server,
        pytest.raises(ArtifactError, match=r"has 1\.0 KB left"),
    ):
        fetch(recipe(server, a=""), tmp_path)
    assert server.seen["/a"] == 0


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = content(23, 300_000)
    write = Partial.write

    def full(self: Partial, piece: bytes) -> None:
        if self.end > 100_000:
            raise ArtifactError(f"{self.path}: cannot be written (No space left on device)")
        write(self, piece)

    with serving({"/a": data}) as server:
        monkeypatch.setattr(Partial, "write", full)
        with pytest.raises(ArtifactError, match="No space left"):
            fetch(recipe(server, a=digest(data)), tmp_path)
        monkeypatch.setattr(Partial, "write", write)
        done = fetch(recipe(server, a=digest(data)), tmp_path)
    assert (tmp_path / "a").read_bytes() == data
    assert done.bytes_fetched < len(data)


def test_nothing_is_fetched_without_a_yes(tmp_path: Path) -> None:
    with serving({"/a": b"abc"}) as server:
        with pytest.raises(ConfigError, match="not confirmed"):
            fetch(recipe(server, a=""), tmp_path, confirm=lambda plan: False)
        assert server.seen["/a"] == 0


# --- the journal ---


def partial_of(path: Path, data: bytes, segment: int = 1000) -> Partial:
    partial = Partial(path, segment)
    partial.start(Head("http://a/", 10_000, '"v1"', ""))
    partial.write(data)
    return partial


def test_a_partial_file_goes_on_exactly(tmp_path: Path) -> None:
    data = content(24, 10_000)
    partial_of(tmp_path / "a.part", data[:4321]).close()
    again = Partial(tmp_path / "a.part", 1000)
    assert (again.end, again.head.total, again.head.etag) == (4321, 10_000, '"v1"')
    again.write(data[4321:])
    assert again.sha256() == digest(data)
    again.finish(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_sound_bytes(tmp_path: Path) -> None:
    """Any prefix of the journal with any length of the file, as after a kill or a power cut."""
    data, rng = content(25, 10_000), random.Random(3)
    partial = partial_of(tmp_path / "a.part", data[:6500])
    partial.close()
    journal, whole = (tmp_path / "a.part.journal").read_bytes(), (tmp_path / "a.part").read_bytes()
    for _ in range(60):
        cut = rng.randrange(len(journal) + 1)
        length = rng.randrange(len(whole) + 1)
        (tmp_path / "a.part.journal").write_bytes(journal[:cut])
        (tmp_path / "a.part").write_bytes(whole[:length] + rng.randbytes(rng.randrange(50)))
        again = Partial(tmp_path / "a.part", 1000)
        assert again.end <= length
        assert again.end % 1000 == 0 or again.end == 6500
        # all that whole lines of the journal tell of, and that is there, is kept
        told = journal[:cut].count(b'"end"') - (not journal[:cut].endswith(b"\n"))
        assert again.end >= min(max(told, 0) * 1000, length // 1000 * 1000, 6000)
        again.write(data[again.end :])
        assert again.sha256() == digest(data)
        again.close()


def test_damage_on_disk_is_found_when_going_on(tmp_path: Path) -> None:
    data = content(26, 10_000)
    partial_of(tmp_path / "a.part", data[:6000]).close()
    damaged = bytearray((tmp_path / "a.part").read_bytes())
    damaged[2500] ^= 1
    (tmp_path / "a.part").write_bytes(damaged)
    again = Partial(tmp_path / "a.part", 1000)
    assert (again.end, again.damaged) == (2000, 1)
    again.close()


@pytest.mark.parametrize(
    "junk", [b"", b"\n", b"[]\n", b"null\n", b"{}\n", b'{"format": 9}\n', b"\xff\n", b'"x"\n']
)
def test_a_strange_journal_means_a_new_start(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "a.part").write_bytes(b"abc")
    (tmp_path / "a.part.journal").write_bytes(junk)
    partial = Partial(tmp_path / "a.part")
    assert partial.end == 0
    partial.close()


# --- answers ---


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content-Range": "bytes 6-9/10"}),
        (206, {"Content-Range": "bytes 5-9/9"}),
        (206, {"Content-Range": "bytes 5-4/10"}),
        (206, {"Content-Range": "bytes 5-9/10", "Content-Length": "4"}),
        (206, {"Content-Range": "lines 5-9/10"}),
        (206, {}),
        (416, {}),
        (429, {}),
        (200, {"Content-Length": "-1"}),
    ],
)
def test_answers_that_are_asked_again(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(Fault):
        judge("http://a/b", status, headers, 5, None)


@pytest.mark.parametrize("status", [204, 300, 304, 401, 403, 404, 410, 451])
def test_answers_that_are_a_no(status: int) -> None:
    with pytest.raises(Refusal):
        judge("http://a/b", status, {}, 5, None)


def test_answers_that_count() -> None:
    part = judge("http://a/b", 206, {"Content-Range": "bytes 5-9/10", "ETag": '"x"'}, 5, None)
    assert (part.start, part.total, part.etag) == (5, 10, '"x"')
    whole = judge("http://a/b", 200, {"Content-Length": "10", "ETag": 'W/"x"'}, 5, None)
    # a weak tag does not promise the same bytes
    assert (whole.start, whole.total, whole.etag) == (0, 10, "")
    assert judge("http://a/b.gz", 200, {"Content-Encoding": "x-gzip"}, 0, None).total is None


def test_redirects_keep_their_security() -> None:
    with pytest.raises(Refusal, match="from https"):
        follow_redirect("https://a.org/", "http://a.org/")
    with pytest.raises(Refusal, match="nowhere"):
        follow_redirect("https://a.org/", "")
    with pytest.raises(Refusal, match="name and password"):
        follow_redirect("https://a.org/", "https://me:secret@b.org/")


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("-1", None), ("", None), ("9" * 30, None)])
def test_waiting_times(value: str, seconds: float | None) -> None:
    assert waiting_time(value) == seconds


def test_a_body_without_length_and_checksum_is_not_even_begun(tmp_path: Path) -> None:
    with serving({"/nohead.bin": content(1, 1000)}, {"/nohead.bin": ["flood"] * 9}) as server:
        with pytest.raises(ArtifactError, match="does not say where the file ends"):
            fetch(recipe(server, **{"nohead.bin": "first-use"}), tmp_path)
        assert server.sent < 32 << 20
    assert not any(file.stat().st_size > 4096 for file in tmp_path.rglob("*"))


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_without_length_and_end_stops(
    tmp_path: Path, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEAD says 1,000 bytes, or nothing, and the body never ends; the disk must not fill up."""
    name = "a.bin" if announced else "nohead.bin"
    if not announced:
        monkeypatch.setattr("ilion.download.transfer.free_bytes", lambda folder: (64 << 20) + (2 << 20))
    with serving({f"/{name}": content(1, 1000)}, {f"/{name}": ["flood"] * 9}) as server:
        words = "what was announced" if announced else "what the disk has left"
        with pytest.raises(ArtifactError, match=f"a body without a length, which is longer than {words}"):
            fetch(recipe(server, **{name: digest(content(1, 1000))}), tmp_path)
        assert server.sent < 64 << 20
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < 1 << 20
