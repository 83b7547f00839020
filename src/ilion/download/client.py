"""HTTP that trusts nothing: every answer is checked against the request before a byte of it counts."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any
from urllib.parse import urlsplit

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
from ilion.download.answers import Answer, Fault, Refusal, follow_redirect, judge
from ilion.download.settings import DownloadSettings

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
PIECE = 1 << 18
"""Most bytes read at once."""


class Stopped(Exception):
    """Somebody asked to stop."""


class Client:
    """Sends requests, follows redirects, and judges answers; safe for threads.

    Args:
        settings: Timeouts and limits.
        stop: Event that ends all transfers.
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
            url: Address of the file.
            start: First byte; 0 asks for the whole file.
            unless_changed: Tag or time for which ``start`` holds; another version is then sent whole.

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
            Fault: The connection was cut off, reset, or stalled.
            Stopped: Somebody asked to stop.
        """
        window, got = time.monotonic(), 0
        while True:
            if self.stop.is_set():
                raise Stopped
            with _translate_errors(answer.url, self.stop):
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
            with _translate_errors(seen, self.stop):
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
            seen = follow_redirect(seen, response.headers.get("Location", ""))
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
def _translate_errors(url: str, stop: Event) -> Iterator[None]:
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
