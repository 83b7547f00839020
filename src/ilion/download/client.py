"""HTTP as it is: every answer is checked against what was asked before a byte of it counts.

A `Fault` may go away (a reset, a stall, an overloaded server); a `Refusal` will not, at this address.
"""

from __future__ import annotations

import email.utils
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    SSLError,
    TimeoutError,
)

from ilion._version import __version__
from ilion.download.settings import DownloadSettings, check_url
from ilion.errors import ConfigError

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that say: later."""
PIECE = 1 << 18
"""Bytes read at once."""


class Fault(Exception):
    """Something that may go away.

    Args:
        kind: One or two words, counted and shown.
        message: What happened.
        wait: Seconds that the server asks to wait, or None.
    """

    def __init__(self, kind: str, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.wait = wait


class Refusal(Exception):
    """Something that will not go away at this address.

    Args:
        message: What happened.
        status: The HTTP status, 0 for another reason.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Stopped(Exception):
    """Somebody asked to stop."""


@dataclass(frozen=True)
class Answer:
    """The start of a body.

    Args:
        url: Where it came from in the end.
        start: Offset of its first byte in the file.
        total: Bytes of the whole file; None if the server does not say.
        etag: Strong entity tag, or "".
        modified: ``Last-Modified``, or "".
        delimited: The end of the body is marked, so a cut can be told from an end.
        response: To read from.
    """

    url: str
    start: int
    total: int | None
    etag: str
    modified: str
    delimited: bool
    response: Any


class Client:
    """Sends requests, follows redirects, and judges answers; safe for threads.

    Args:
        settings: Timeouts and limits.
        stop: Set when all transfers shall end.
    """

    def __init__(self, settings: DownloadSettings, stop: Event) -> None:
        self.settings = settings
        self.stop = stop
        self._timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._options: dict[str, Any] = {"num_pools": 16, "maxsize": settings.parallel}
        self._direct = urllib3.PoolManager(**self._options)
        self._proxies: dict[str, Any] = {}
        self._running: set[Any] = set()
        self._lock = Lock()

    def close(self) -> None:
        """End all connections."""
        self._direct.clear()
        for proxy in self._proxies.values():
            proxy.clear()

    def interrupt(self) -> None:
        """Wake every transfer that waits for bytes; they end with `Stopped`."""
        self.stop.set()
        with self._lock:
            for response in self._running:
                try:
                    response.shutdown()
                except (ValueError, OSError):
                    # its body has ended, or it never had a socket of its own
                    continue

    def pause(self, seconds: float) -> None:
        """Wait, unless asked to stop.

        Raises:
            Stopped: Somebody asked to stop.
        """
        if self.stop.wait(seconds):
            raise Stopped

    @contextmanager
    def open(self, url: str, start: int = 0, unless_changed: str = "") -> Iterator[Answer]:
        """Ask for a file from an offset on.

        Args:
            url: Its address.
            start: First byte wanted; 0 asks for the whole file.
            unless_changed: The tag or time for which ``start`` holds; another version is then sent whole.

        Yields:
            The answer; its ``start`` is 0 where the server sends the whole file.

        Raises:
            Fault: Something that may go away.
            Refusal: Something that will not.
            Stopped: Somebody asked to stop.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": f"ilion/{__version__}"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if unless_changed:
                headers["If-Range"] = unless_changed
        final, response = self._follow("GET", url, headers)
        with self._lock:
            self._running.add(response)
        try:
            yield judge(final, response.status, response.headers, start, response)
        finally:
            with self._lock:
                self._running.discard(response)
            # a body that was not read to its end cannot be followed by another answer
            response.close()

    def size(self, url: str) -> int | None:
        """Ask how large a file is, without its content.

        Returns:
            Bytes, or None where the server does not say.

        Raises:
            Fault: Something that may go away.
            Refusal: Something that will not.
        """
        final, response = self._follow("HEAD", url, {"Accept-Encoding": "identity"})
        response.close()
        if response.status in (405, 501):
            return None
        return judge(final, response.status, response.headers, 0, None).total

    def read(self, answer: Answer) -> Iterator[bytes]:
        """Read a body piece by piece as it arrives.

        Raises:
            Fault: It was cut off, reset, or stalled.
            Stopped: Somebody asked to stop.
        """
        window, got = time.monotonic(), 0
        while True:
            if self.stop.is_set():
                raise Stopped
            with _translated(answer.url, self.stop):
                data = answer.response.read1(PIECE, decode_content=False)
            if not data:
                return
            got += len(data)
            passed = time.monotonic() - window
            if passed > self.settings.read_timeout:
                if got < self.settings.slow * passed:
                    raise Fault("stalled", f"{answer.url}: {got} bytes in {passed:.0f} s")
                window, got = time.monotonic(), 0
            yield data

    def _follow(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Any]:
        """Send a request, following redirects to http and https."""
        seen = url
        for _ in range(MOST_REDIRECTS + 1):
            if self.stop.is_set():
                raise Stopped
            with _translated(seen, self.stop):
                response = self._manager(seen).request(
                    method,
                    seen,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=self._timeout,
                )
            if response.status not in REDIRECTS:
                return seen, response
            response.close()
            seen = redirected(seen, response.headers.get("Location", ""))
        raise Refusal(f"{url}: more than {MOST_REDIRECTS} redirects, the last to {seen}")

    def _manager(self, url: str) -> Any:
        """Return the pool for an address: direct, or through the proxy of the environment."""
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme, "")
        if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
            return self._direct
        with self._lock:
            if proxy not in self._proxies:
                try:
                    self._proxies[proxy] = urllib3.ProxyManager(proxy, **self._options)
                except (HTTPError, ValueError) as error:
                    raise Refusal(
                        f"the proxy {proxy!r} of the environment cannot be used ({error})"
                    ) from None
            return self._proxies[proxy]


@contextmanager
def _translated(url: str, stop: Event) -> Iterator[None]:
    """Turn what the HTTP library raises into a `Fault` or a `Refusal`."""
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        if stop.is_set():
            raise Stopped from None
        if isinstance(error, NameResolutionError):
            raise Fault("no such host", f"{url}: the host's name is not known ({error})") from None
        if isinstance(error, NewConnectionError):
            raise Fault("unreachable", f"{url}: no connection ({error})") from None
        if isinstance(error, TimeoutError):
            raise Fault("stalled", f"{url}: no answer in time ({error})") from None
        if isinstance(error, SSLError):
            if "CERTIFICATE" in str(error).upper():
                raise Refusal(f"{url}: the server's certificate is not valid ({error})") from None
            raise Fault("broken", f"{url}: the encrypted connection broke ({error})") from None
        if isinstance(error, ProtocolError | ConnectionError):
            cut = "IncompleteRead" in str(error)
            raise Fault("cut off" if cut else "reset", f"{url}: {error}") from None
        if isinstance(error, HTTPError | OSError):
            raise Fault("broken", f"{url}: {error}") from None
        raise Fault("broken", f"{url}: not an HTTP answer ({error})") from None


def redirected(url: str, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        Refusal: Nowhere, to another scheme, or from https to http.

    >>> redirected("https://a.org/x", "/y")
    'https://a.org/y'
    """
    if not location:
        raise Refusal(f"{url}: a redirect to nowhere")
    try:
        target = check_url(urljoin(url, location), "redirect")
    except (ConfigError, ValueError) as error:
        raise Refusal(f"{url}: refused to follow a redirect: {error}") from None
    if url.startswith("https://") and not target.startswith("https://"):
        raise Refusal(f"{url}: refused to follow a redirect from https to {target}")
    return target


def waiting_time(value: str, now: float | None = None) -> float | None:
    """Read ``Retry-After``: seconds, or a date.

    >>> waiting_time("7")
    7.0
    >>> waiting_time("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412470.0)
    10.0
    >>> waiting_time("soon") is None
    True
    """
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, then - (time.time() if now is None else now))


def judge(url: str, status: int, headers: Mapping[str, str], start: int, response: Any) -> Answer:
    """Decide what an answer is worth.

    Args:
        url: Where it came from.
        status: HTTP status.
        headers: HTTP headers, case-insensitive.
        start: The offset that was asked for.
        response: Handed on.

    Raises:
        Fault: The answer is wrong in a way that may go away.
        Refusal: It is a no.
    """
    if status in AGAIN:
        wait = waiting_time(headers.get("Retry-After", ""))
        raise Fault(f"status {status}", f"{url}: the server answered {status}", wait)
    if status == 416:
        raise Fault("wrong range", f"{url}: the server has no byte {start}")
    if status not in (200, 206):
        reason = {
            401: "asks for a password",
            403: "forbids it",
            404: "has no such file",
            410: "has it no more",
        }
        raise Refusal(f"{url}: the server {reason.get(status, f'answered {status}')}", status)
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    path = urlsplit(url).path
    # servers call a stored .gz gzip-encoded; its bytes are then those of the file
    if encoding not in ("identity", "") and not path.endswith((".gz", ".tgz")):
        raise Refusal(f"{url}: sent as {encoding}, although the plain bytes were asked for")
    if headers.get("Content-Type", "").split(";")[0].strip().lower() == "text/html" and not path.endswith(
        (".html", ".htm")
    ):
        raise Refusal(f"{url}: a web page came instead of the file (a login page, or a notice?)")
    length = _count(headers.get("Content-Length", ""), url)
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    total, first = length, 0
    if status == 206:
        total, first = _content_range(headers.get("Content-Range", ""), url, start, length)
    etag = headers.get("ETag", "").strip()
    return Answer(
        url=url,
        start=first,
        total=None if chunked and status == 200 else total,
        etag="" if etag.startswith("W/") else etag,
        modified=headers.get("Last-Modified", "").strip(),
        delimited=chunked or length is not None,
        response=response,
    )


def _count(text: str, url: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise Fault("wrong header", f"{url}: Content-Length is {text!r}")
    return int(text)


def _content_range(text: str, url: str, start: int, length: int | None) -> tuple[int | None, int]:
    """Check that a part is the one that was asked for: from ``start`` to the end of the file."""
    match = re.fullmatch(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", text.strip(), re.IGNORECASE)
    if match is None:
        raise Fault("wrong range", f"{url}: a part of the file came without saying which ({text!r})")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if first != start or last < first or (total is not None and last >= total):
        raise Fault("wrong range", f"{url}: asked for the bytes from {start} on, got {text!r}")
    if length is not None and length != last - first + 1:
        raise Fault("wrong range", f"{url}: {text!r} with {length} bytes")
    return total, first
