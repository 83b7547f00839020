"""A writer that is killed at any moment loses no photo that it said was added, and leaves none half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ilion.config.design import Design
from ilion.serve.index import Index
from ilion.serve.writer import build, compact, create_from_run, switch
from tests.serve.test_index import picture

pytestmark = pytest.mark.slow

WRITER = """
import sys
from pathlib import Path
from ilion.serve.index import Index
from ilion.serve.photos import NewPhoto
from ilion.serve.writer import add, compact, remove, switch
from ilion.types import MemorySource

folder, photo = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
index = Index.open(folder)
number = int(sys.argv[3])
print("begun", flush=True)
while True:
    name = f"new-{number}"
    add(index, photos=[NewPhoto(name, MemorySource(name, photo + str(number).encode()), {name: ()})])
    print("added", name, flush=True)
    if number % 3 == 0:
        remove(index, [name])
        print("removed", name, flush=True)
    if number % 4 == 0:
        compact(index)
    if number % 5 == 0:
        switch(index, 0)
    number += 1
"""


def test_acknowledged_photos_outlive_kills(quick: Path, finished: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    made = create_from_run(folder, quick)
    switch(made, build(made, Design.of_run(finished), finished))
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(picture(photos))
    stop, failed, answers = threading.Event(), list[BaseException](), [0]

    def ask() -> None:
        reader = Index.open(folder)
        while not stop.is_set():
            try:
                assert reader.search(photo).photos
                answers[0] += 1
            except BaseException as error:
                failed.append(error)
            time.sleep(0.5)  # each search takes time from what is watched

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    rng, said = random.Random(0), dict[str, str]()
    for attempt in range(int(os.environ.get("ILION_KILLS", "4"))):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(photo), str(1000 * (attempt + 1))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            first = writer.stdout.readline()  # it works, and is killed at any moment after
            time.sleep(rng.uniform(0, 3))
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
        last = ""
        for line in (first + rest).splitlines():
            what, _, name = line.partition(" ")
            said[name], last = what, name
        index = Index.open(folder)
        found = {name: views for name, _, views in index.photos() if name.startswith("new-")}
        lost = [name for name, what in said.items() if what == "added" and name not in found and name != last]
        assert not lost
        assert not [name for name, what in said.items() if what == "removed" and name in found]
        assert all(views == [name] for name, views in found.items()), "none is half there"
        answer = index.search(photo, k=100)
        assert {found.id for found in answer.photos} >= {
            n for n, w in said.items() if w == "added" and n != last
        }
        assert answer.searched.without_descriptor == 0
        said = dict.fromkeys(found, "added")
    stop.set()
    asking.join()
    assert answers[0], "searches went on"
    assert not failed, "no search failed while the writers died"
    compact(Index.open(folder))
    assert Index.open(folder).status().removed == 0
