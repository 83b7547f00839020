"""A real Milvus server gives the answers of exact search."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ilion.errors import IlionError
from ilion.searching import search
from ilion.serve.engines.base import open_engine
from ilion.types import Descriptors

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
        # where the port of one that was killed is not free yet, the next one would be taken
        wait("the port is free", lambda: is_free(self.port))
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


def is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


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


def test_answers_are_those_of_exact_search_also_after_a_kill(server: Server) -> None:
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
    # killed in the middle: what was acknowledged is there, and the same engine answers again
    server.kill()
    with pytest.raises(IlionError, match="does not answer"):
        engine.search(queries, K, mark=mark)
    with pytest.raises(IlionError, match="does not answer"):
        engine.upsert(numbers[:1], database[:1])
    server.start()
    wait("the server comes back", lambda: len(engine.search(queries, K, mark=mark)[0]), 300)
    check(np.arange(N))
    assert engine.count() == N
    engine.delete(numbers[some])
    mark = engine.flush()
    check(np.setdiff1d(np.arange(N), some))
