"""500 MB through a server that misbehaves, with the process killed five times on the way.

The server on the loopback truncates, stalls, resets, answers ranges wrongly, serves corrupt bytes and says
503; a seed draws which fault meets which request. The download is `ilion download` in a process of its
own, which gets SIGKILL five times. In the end every byte is compared with what the server should have served.
The same files without faults and kills, in the same run, say what all this costs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faulty_server import FAULTS, Content, FaultyServer, serving

BLOCK = 1 << 20


class Generated:
    """Random bytes that need no memory: block i is drawn from seed and i."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: slice) -> bytes:
        start, stop = place.start, min(place.stop, self.size)
        pieces = []
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            data = np.random.default_rng([self.seed, block]).bytes(BLOCK)
            pieces.append(data[max(start - block * BLOCK, 0) : stop - block * BLOCK])
        return b"".join(pieces)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for start in range(0, self.size, BLOCK):
            digest.update(self[start : start + BLOCK])
        return digest.hexdigest()


def write_recipe(path: Path, base: str, digests: dict[str, str]) -> None:
    files = "".join(
        f'[[parts.files]]\npath = "{name[1:]}"\nchecksum = "{digest}"\n' for name, digest in digests.items()
    )
    path.write_text(
        f'name = "set"\ntitle = "Random bytes"\nhomepage = "{base}"\nlicence = "CC0"\nbase = "{base}"\n'
        f'[[parts]]\nname = "all"\ndefault = true\n{files}'
    )


def command(folder: Path, work: Path) -> list[str]:
    (work / "settings.toml").write_text(
        "read_timeout = 1.0\nbackoff = 0.05\nretries = 30\nrefetches = 6\nparallel = 4\n"
    )
    return [
        *(sys.executable, "-m", "ilion", "download", "set", str(folder), "--yes", "--json"),
        *("--recipe", str(work / "set.toml"), "--settings", str(work / "settings.toml")),
    ]


def here(folder: Path) -> int:
    """Bytes in finished and unfinished files."""
    total = 0
    for path in [*folder.glob("*.bin"), *folder.glob(".downloads/*.part")]:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            # it was renamed between listing and looking
            continue
    return total


def download(
    server: FaultyServer, digests: dict[str, str], work: Path, folder: Path, kills: int, total: int
) -> tuple[float, int]:
    """Run the command until it is through; return seconds and how often it was killed."""
    write_recipe(work / "set.toml", server.url, digests)
    began, killed = time.monotonic(), 0
    while True:
        process = subprocess.Popen(command(folder, work), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        goal = total * (killed + 1) // (kills + 1)
        while process.poll() is None:
            if killed < kills and here(folder) >= goal:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                print(f"  killed at {here(folder) / 1e6:.0f} MB")
                break
            time.sleep(0.01)
        else:
            assert process.stdout is not None
            answer = process.stdout.read()
            if process.returncode:
                raise SystemExit("the download failed")
            assert len(json.loads(answer)["files"]) == len(digests)
            return time.monotonic() - began, killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    size = options.megabytes * 1_000_000 // options.files
    content = {f"/{i}.bin": Generated(i, size + i) for i in range(options.files)}
    digests = {path: data.sha256() for path, data in content.items()}
    total = sum(len(data) for data in content.values())
    files: dict[str, Content] = dict(content)
    draw = random.Random(options.seed)

    def choose(path: str, number: int, start: int) -> str:
        # a third of the requests is answered well, so that it ends; corrupt bytes mean the whole file again
        if draw.random() < 0.34:
            return ""
        return draw.choice([fault for fault in FAULTS if fault != "corrupt" or number < 2])

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        with serving(files, None, piece=1 << 18) as server:
            plain, _ = download(server, digests, work, work / "plain", 0, total)
        print(f"{total / 1e6:.0f} MB in {len(files)} files, no faults: {plain:.1f} s")
        with serving(files, choose, piece=1 << 18) as server:
            seconds, killed = download(server, digests, work, work / "faulty", options.kills, total)
        for path, data in content.items():
            with (work / "faulty" / path[1:]).open("rb") as file:
                for start in range(0, len(data), BLOCK):
                    if file.read(BLOCK) != data[start : start + BLOCK]:
                        raise SystemExit(f"{path}: differs in the MiB from {start} on")
                if file.read(1):
                    raise SystemExit(f"{path}: too long")
        left = list((work / "faulty" / ".downloads").glob("*.part*"))
        faults = sum(server.shown.values())
        print(f"with faults and {killed} kills: {seconds:.1f} s, every byte verified, {len(left)} parts left")
        print(f"  {sum(server.seen.values())} requests, {faults} of them with faults:")
        print("  " + ", ".join(f"{kind} {n}" for kind, n in sorted(server.shown.items())))
        ratio = server.sent / total
        print(f"  bytes sent / bytes needed: {server.sent / 1e6:.0f} / {total / 1e6:.0f} MB = {ratio:.2f}")


if __name__ == "__main__":
    main()
