"""An HTTP server on the loopback that misbehaves on demand: for tests and benchmarks of downloads."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

FAULTS = (
    "truncate",
    "reset",
    "stall",
    "corrupt",
    "ignore-range",
    "wrong-range",
    "short-range",
    "no-range-header",
    "503",
    "429",
    "416",
)
"""Faults that a download must survive; see `Handler`."""


class Content(Protocol):
    """What the server serves under a path."""

    def __len__(self) -> int:
        """Bytes in all."""
        ...

    def __getitem__(self, place: slice) -> bytes:
        """Bytes from start to stop."""
        ...


class FaultyServer(ThreadingHTTPServer):
    """Serves files from memory, with faults.

    Args:
        files: Path with its leading ``/`` -> content.
        choose: Called with path, number of the GET for it (from 0) and offset; gives a fault to show, or "".
        piece: Bytes sent at once.
    """

    daemon_threads = True
    # threads that stall must not hold up the end of a test
    block_on_close = False

    def __init__(self, files: dict[str, Content], choose: Callable[[str, int, int], str], piece: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.choose = choose
        self.piece = piece
        self.etags: dict[str, str] = {}
        self.sent = 0
        self.seen: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.requests: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    """Answers right, or with the chosen fault."""

    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def do_HEAD(self) -> None:
        self.server.requests.append(("HEAD", self.path, ""))
        content = self.server.files.get(self.path)
        if content is None or self.path.startswith("/nohead"):
            self._plain(404 if content is None else 405)
            return
        self._head(200, len(content))

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        start = int(match[1]) if match else 0
        with self.server.lock:
            number = self.server.seen[self.path]
            self.server.seen[self.path] += 1
            self.server.requests.append(("GET", self.path, wanted))
            self.server.headers.append(dict(self.headers.items()))
            fault = self.server.choose(self.path, number, start)
            if fault:
                self.server.shown[fault] += 1
        content = self.server.files.get(self.path)
        if content is None:
            self._plain(404)
        elif fault.isdigit() and fault != "416":
            self._plain(int(fault), {"Retry-After": "0"} if fault in ("429", "503") else {})
        elif fault.startswith("redirect "):
            self._plain(302, {"Location": fault.removeprefix("redirect ")})
        elif fault.startswith("wait "):
            self._plain(503, {"Retry-After": fault.removeprefix("wait ")})
        elif fault == "html":
            self._plain(200, {"Content-Type": "text/html"}, b"<html>please log in</html>")
        elif fault == "416" or start > len(content):
            self._plain(416, {"Content-Range": f"bytes */{len(content)}"})
        else:
            self._file(content, start, bool(match), fault)

    def _plain(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _head(self, status: int, length: int | None, span: str = "", encoding: str = "") -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if span:
            self.send_header("Content-Range", span)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        tag = self.server.etags.get(self.path, '"v1"')
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()

    def _file(self, content: Content, start: int, ranged: bool, fault: str) -> None:
        size = len(content)
        tag = self.server.etags.get(self.path, '"v1"')
        condition = self.headers.get("If-Range")
        if ranged and (fault == "ignore-range" or (condition and condition != tag)):
            ranged, start = False, 0
        span = f"bytes {start}-{size - 1}/{size}" if ranged else ""
        if fault == "wrong-range" and ranged:
            span = f"bytes {start + 1}-{size - 1}/{size}"
        if fault == "no-range-header":
            span, ranged = "", True
        length: int | None = size - start
        if fault == "short-range" and ranged and size - start > 1:
            length = size - start - 1
        if fault in ("endless", "endless-cut", "flood"):
            length = None
            self.close_connection = True
        if fault == "etag":
            self.server.etags[self.path] = f'"v{self.server.seen[self.path]}"'
        self._head(206 if ranged else 200, length, span, "br" if fault == "encoded" else "")
        self._body(content, start, size if length is None else start + length, fault)

    def _body(self, content: Content, start: int, end: int, fault: str) -> None:
        """Send the body; a fault strikes somewhere in the first half of what is left."""
        strike = start + max(1, (end - start) // 3)
        place = start
        while place < end:
            stop = min(place + self.server.piece, end)
            if fault in ("truncate", "reset", "stall", "drip", "endless-cut") and place < strike:
                stop = min(stop, strike)
            data = content[slice(place, stop)]
            if fault == "corrupt" and place <= strike < stop:
                damaged = bytearray(data)
                damaged[strike - place] ^= 0x40
                data = bytes(damaged)
            self.wfile.write(data)
            with self.server.lock:
                self.server.sent += len(data)
            place = stop
            if place >= strike and fault == "stall":
                self.server.ended.wait(60)
                return
            if place >= strike and fault == "drip":
                while not self.server.ended.wait(0.02):
                    self.wfile.write(content[slice(place, place + 1)])
                    place += 1
                return
            if place >= strike and fault in ("truncate", "reset", "endless-cut"):
                self.close_connection = True
                if fault == "reset":
                    # no lingering: the peer sees a reset instead of an end
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    time.sleep(0.01)
                    self.connection.close()
                return
        while fault == "flood" and not self.server.ended.is_set():
            self.wfile.write(bytes(self.server.piece))
            with self.server.lock:
                self.server.sent += self.server.piece
        if fault == "too-long":
            self.wfile.write(b"x" * 100)
            self.close_connection = True


@contextmanager
def serving(
    files: dict[str, Content],
    script: dict[str, list[str]] | Callable[[str, int, int], str] | None = None,
    piece: int = 1 << 16,
) -> Iterator[FaultyServer]:
    """Serve until the block ends.

    Args:
        files: Path with its leading ``/`` -> content.
        script: Path -> faults of its first GETs, in order; or a function as in `FaultyServer`.
        piece: Bytes sent at once.
    """
    told = script or {}

    def scripted(path: str, number: int, start: int) -> str:
        faults = told.get(path, []) if isinstance(told, dict) else []
        return faults[number] if number < len(faults) else ""

    server = FaultyServer(files, scripted if isinstance(told, dict) else told, piece)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
