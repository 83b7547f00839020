"""Random damage: files of a small world are changed as disks, programs and people change them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20
"""Longest time of a case."""
MEMORY = 3 << 30
"""Most address space that a case may add."""
NUMBERS = (
    "nan", "NaN", "inf", "-inf", "1e999", "-1", "0", "00", "1_0", "9" * 400, "0x10", "1e-320", "٣", "１２",
    "true", "null", "", "-0.0", "1.5", str(2**63), str(2**31), "[]", "{}",
)  # fmt: skip
TEXTS = (
    "\0", "\x1b[2J", "\u202e", "é", "e\u0301", "ｆｕｌｌ", "日本語", "\ud800", "\ufeff", "..", "/",
    "../../x", "a/b", "\\",
    "CON", " ", "\n", "\r", '"', "'", ",", ";", "\t", "=1+1", "%s", "{0}", "<b>", "😀", "x" * 300,
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 10**400, 2**63, 1.5, float("nan"), float("inf"), "", "x", "\ud800", "1",
    [], {}, [[]], [None], {"": None}, ["x", 1], [1] * 100,
)  # fmt: skip
NAMES = (
    "x",
    "x.JPG",
    "é.jpg",
    "e\u0301.jpg",
    "a b .png",
    "日本.png",
    "x.tar",
    "x.txt",
    ".hidden",
    "x" * 200,
    "\udcff.jpg",
)


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one random change; more often near the start, where headers are."""
    if not data:
        return rng.randbytes(rng.randrange(1, 40))
    size = len(data)
    start = rng.randrange(min(size, rng.choice((16, 128, 1024, size))))
    end = min(size, start + rng.choice((1, 2, 4, 16, 300)))
    what = rng.randrange(9)
    if what == 0:
        return data[:start]
    if what == 1:
        return data[:start] + data[end:]
    if what == 2:
        return data[:end] + data[start:end] * rng.choice((1, 3, 200)) + data[end:]
    if what == 3:
        return data[:start] + rng.randbytes(end - start) + data[end:]
    if what == 4:
        return data[:start] + bytes([rng.choice((0, 255))]) * (end - start) + data[end:]
    if what == 5:
        numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data))
        if numbers:
            hit = rng.choice(numbers)
            return data[: hit.start()] + rng.choice(NUMBERS).encode() + data[hit.end() :]
    if what == 6:
        text = rng.choice(TEXTS).encode(rng.choice(("utf-8", "utf-16", "latin-1")), "replace")
        return data[:start] + text + data[rng.choice((start, end)) :]
    if what == 7:
        lines = data.split(b"\n")
        rng.shuffle(lines)
        return b"\n".join(lines)
    changed = bytearray(data)
    changed[start] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damage_value(value: object, rng: random.Random) -> object:
    """Return a JSON value with one of its parts replaced, deleted or repeated, at a random depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        copy = dict(value)
        if rng.random() < 0.15:
            del copy[key]
        elif rng.random() < 0.1:
            copy[rng.choice(TEXTS)] = copy.pop(key)
        else:
            copy[key] = damage_value(value[key], rng)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:at] + value[at + 1 :]
        if rng.random() < 0.2:
            return [*value, value[at]]
        return [*value[:at], damage_value(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """Return JSON that is still JSON; without the checksum of a head, which would refuse all of it alike."""
    try:
        value = json.loads(data)
    except ValueError:
        return damage_bytes(data, rng)
    if isinstance(value, dict) and "checksum" in value:
        value = {key: each for key, each in value.items() if key not in ("checksum", "files")}
    return json.dumps(damage_value(value, rng), ensure_ascii=True).encode("ascii")


def damage_tree(root: Path, rng: random.Random) -> str:
    """Change one file below a folder; return what was done."""
    everything = [root, *root.rglob("*")]
    files = sorted(p for p in everything if p.is_file() and not p.is_symlink() and p.stat().st_size < 1 << 20)
    if not files:
        return "nothing left"
    path, other = rng.choice(files), rng.choice(files)
    name = path.relative_to(root.parent)
    what = rng.choice(("bytes",) * 8 + ("json",) * 6 + ("npy",) * 3 + ("file",) * 8)
    if what == "json" and any(p.suffix == ".json" for p in files):
        path = rng.choice([p for p in files if p.suffix == ".json"])
        path.write_bytes(damage_json(path.read_bytes(), rng))
        return f"json {path.relative_to(root.parent)}"
    if what == "npy" and any(p.suffix == ".npy" for p in files):
        path = rng.choice([p for p in files if p.suffix == ".npy"])
        data = path.read_bytes()
        data = re.sub(rb" # xxh3:[0-9a-f]{16}", lambda m: b" " * len(m[0]), data, count=1)
        path.write_bytes(damage_bytes(data[:128], rng) + data[128:])
        return f"npy {path.relative_to(root.parent)}"
    if what != "file":
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
        return f"bytes {name}"
    return f"{_damage_file(path, other, root, rng)} {name}"


def _damage_file(path: Path, other: Path, root: Path, rng: random.Random) -> str:
    what = rng.choice(
        (
            *("parent", "above")[: 2 * path.parent.is_relative_to(root)],
            *("delete", "empty", "folder", "fifo", "dangling", "loop", "device", "rename", "copy", "swap"),
            *("sparse", "link"),
        )
    )  # fmt: skip
    if what == "empty":
        path.write_bytes(b"")
    elif what in ("rename", "copy"):
        target = path.with_name(rng.choice((*NAMES, path.stem + path.suffix.upper(), path.name + " ")))
        if target != path:
            shutil.copyfile(path, target)
            if what == "rename":
                path.unlink()
    elif what == "swap":
        one, two = path.read_bytes(), other.read_bytes()
        path.write_bytes(two)
        other.write_bytes(one)
    elif what == "sparse":
        os.truncate(path, 1 << 36)
    elif what == "parent":
        shutil.rmtree(path.parent)
    elif what == "above":  # a file where a folder was
        folder = path.parent
        shutil.rmtree(folder)
        folder.write_bytes(b"x")
    else:
        path.unlink()
        if what == "folder":
            path.mkdir()
        elif what == "fifo":
            os.mkfifo(path)
        elif what in ("dangling", "loop", "device", "link"):
            to = {"dangling": "nowhere", "loop": path.name, "device": "/dev/zero", "link": str(other)}[what]
            path.symlink_to(to)
    return what


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: Its exit status.
        out: What it printed.
        err: What it said.
        fault: A traceback where there should be a sentence, or "".
    """

    code: int
    out: str
    err: str
    fault: str = ""


def call(main: Callable[[], None], *arguments: object) -> Ended:
    """Run a command in this process, with bounds on time and memory."""
    out, err = io.StringIO(), io.StringIO()
    code, fault = 0, ""
    before = sys.argv
    sys.argv = ["ilion", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _bounded():
            main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        fault = traceback.format_exc()
    finally:
        sys.argv = before
    if code not in (0, 1, 2) or "Traceback" in err.getvalue() or "not enough memory" in err.getvalue():
        fault = fault or f"exit {code}: {err.getvalue()}"
    if code and not (err.getvalue().strip() or out.getvalue().strip()):
        fault = "a failure without a word"
    return Ended(code, out.getvalue(), err.getvalue(), fault)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"took longer than {SECONDS} s")

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
