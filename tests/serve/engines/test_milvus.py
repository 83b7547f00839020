"""A real Milvus server: the answers of exact search, and a kill in the middle of everything."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ilion import Index
from ilion.errors import ArtifactError, IlionError
from ilion.searching import search
from ilion.serve.engines.base import open_engine
from ilion.serve.photos import NewPhoto
from ilion.serve.writer import add, attach, create_from_run, remove
from ilion.types import Descriptors, MemorySource
from tests.serve.test_index import picture

# read when gRPC is imported: its handlers of fork leave a process that starts others without connections
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
pytestmark = [
    pytest.mark.extras,
    pytest.mark.slow,
    # of the client, its protocol and its version numbers
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PROGRAM = Path(sys.executable).with_name("milvus-server")
N, D, Q, K = 20_000, 128, 20, 100


@dataclass
class Server:
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"milvus:http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "--data", self.folder, "--proxy-port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("pymilvus", reason="needs the extra milvus")
    if not PROGRAM.exists():
        if os.environ.get("CI"):
            pytest.fail("no milvus-server beside Python: pip install milvus==2.3.5")
        pytest.skip("no milvus-server beside Python: pip install milvus==2.3.5")
    made = Server(tmp_path_factory.mktemp("milvus"), free_port())
    made.start()
    yield made
    made.kill()
    shutil.rmtree(made.folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait(what: str, done: object, seconds: float = 180) -> None:
    """Wait until a function returns something true; what Ilion says meanwhile is passed over."""
    until, last = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        try:
            if done():  # type: ignore[operator]
                return
        except IlionError as error:
            last = str(error)
        time.sleep(0.3)
    pytest.fail(f"{what}: not within {seconds:.0f} s; last seen: {last}")


def test_answers_filters_and_deletions_are_those_of_exact_search(server: Server) -> None:
    wait("the server starts", lambda: open_engine(server.uri, "vectors", D))
    engine = open_engine(server.uri, "vectors", D)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N + Q, D)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    database, queries = values[:N], values[N:]
    numbers = 3 * np.arange(N) + 7
    engine.upsert(numbers, database)
    mark = engine.flush()
    assert engine.count() == N

    def check(rows: np.ndarray, **options: np.ndarray) -> None:
        part = Descriptors(tuple(map(str, rows.tolist())), database[rows])
        exact = search(tuple(map(str, range(Q))), queries, part, k=K)
        found, similarities = engine.search(queries, K, mark=mark, **options)
        truth = numbers[rows][exact.indices]
        shared = [len(np.intersect1d(a, b)) / K for a, b in zip(truth, found, strict=True)]
        assert np.mean(shared) >= 0.99
        np.testing.assert_allclose(similarities[:, 0], exact.similarities[:, 0], atol=1e-4)

    check(np.arange(N))
    some = np.sort(rng.choice(N, 700, replace=False))
    check(some, only=numbers[some])
    check(np.setdiff1d(np.arange(N), some), without=numbers[some])
    engine.delete(numbers[some])
    mark = engine.flush()
    assert engine.count() == N - len(some)
    check(np.setdiff1d(np.arange(N), some))
    engine.upsert(numbers[some], database[some])
    mark = engine.flush()
    check(np.arange(N))


def test_a_killed_server_is_said_and_nothing_is_lost(
    server: Server, quick: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilion.serve.engines.attached.FEW", 0)  # all searches go to the server
    own, far = create_from_run(tmp_path / "own", quick), create_from_run(tmp_path / "far", quick)
    wait("the server starts", lambda: open_engine(server.uri, "held", D))
    held = open_engine(server.uri, "held", D)
    held.upsert(np.arange(500), np.random.default_rng(1).standard_normal((500, D)).astype(np.float32))
    held.flush()
    assert attach(far, server.uri) == 30
    for index in (own, far):
        add(index, photos=[NewPhoto("kept", MemorySource("", picture(photos, 1)))])
        remove(index, [next(name for name, _, _ in index.photos())])

    def agree() -> bool:
        for number in range(3):
            exact, found = (index.search(picture(photos, number), k=40).photos for index in (own, far))
            assert [p.id for p in found] == [p.id for p in exact]
            np.testing.assert_allclose([p.score for p in found], [p.score for p in exact], atol=1e-4)
        return True

    agree()
    said: dict[type[BaseException], str] = {}
    stop = threading.Event()

    def ask() -> None:
        index = Index.open(far.folder)
        while not stop.is_set():
            try:
                index.search(picture(photos))
            except BaseException as error:
                said[type(error)] = str(error)
            time.sleep(0.1)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    server.kill()
    new = NewPhoto("new", MemorySource("", picture(photos, 2)))
    with pytest.raises(ArtifactError, match=r"does not answer as it should.*nothing is lost"):
        add(far, photos=[new])
    server.start()
    wait("searches go on", agree)
    stop.set()
    thread.join()
    assert set(said) == {ArtifactError}, "the kill was noticed, and said"
    assert held.count() == 500
    for index in (own, far):
        assert add(index, photos=[new]).added == 1
    agree()
    assert far.search(picture(photos, 2)).photos[0].id == "new"
