"""Guards in front of the service: sizes, rates, hosts, origins, headers; each with an honest answer.

They work on the stream of a request, so a body that is too large is refused before it is held, and a client
that sends slowly holds no thread.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from ilion.serve.refusals import body_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer that does not say otherwise."""
CLIENTS = 10_000
"""Clients whose rate is remembered."""


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Args:
        bytes: Largest body in bytes.
        pixels: Most pixels of a photo.
        rate: Requests of a client to the API in a minute, on average; 0 for any number.
        burst: Requests of a client at once, beyond the average.
        waiting: Searches that wait for a free worker.
        seconds: Longest time in which a body must arrive.
        patience: Longest time for which something waits for a free worker, in seconds.
    """

    bytes: int = 20 << 20
    pixels: int = 60_000_000
    rate: int = 240
    burst: int = 40
    waiting: int = 16
    seconds: float = 30.0
    patience: float = 60.0


class Refused(Exception):
    """A request that is answered by an error.

    Args:
        status: Status code of HTTP.
        reason: One sentence for people.
        after: Seconds after which it is worth another try; 0 for never.
    """

    def __init__(self, status: int, reason: str, after: int = 0) -> None:
        super().__init__(reason)
        self.status, self.reason, self.after = status, reason, after


@dataclass
class Rates:
    """Token buckets, one for each client.

    Args:
        limits: Rate and burst.
        clock: Seconds from any start.
    """

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, client: str) -> int:
        """Count a request; return 0, or the seconds after which the client may ask again."""
        if not self.limits.rate:
            return 0
        now, speed = self.clock(), self.limits.rate / 60
        left, since = self._buckets.pop(client, (float(self.limits.burst), now))
        left = min(float(self.limits.burst), left + (now - since) * speed)
        wait = 0 if left >= 1 else max(1, round((1 - left) / speed))
        self._buckets[client] = (left if wait else left - 1, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class Guarded:
    """An application behind the guards.

    Args:
        app: The application.
        limits: Limits of a request.
        hosts: Names by which the service may be called; a page of another name must not reach it through the
            browser of somebody who can.
    """

    def __init__(self, app: App, limits: Limits, hosts: frozenset[str]) -> None:
        self._app, self._limits, self._hosts = app, limits, hosts
        self.rates = Rates(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, faults = False, list[Refused]()

        async def answer(message: Message) -> None:
            nonlocal started
            if faults and not (message["type"] == "http.response.start" and not started):
                return  # what the application says of a body that was refused
            if message["type"] == "http.response.start":
                started = True
                if faults and message["status"] != faults[0].status:
                    await refuse(faults[0], send, HEADERS, accepted_by(scope))
                    return
                own = {name.lower() for name, _ in message["headers"]}
                extra = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in own]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, self._bounded(receive, faults), answer)
        except Refused as refused:
            if not started:
                await refuse(refused, send, HEADERS, accepted_by(scope))

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.strip("[]") not in self._hosts:
            raise Refused(421, "this service is not called by that name; start it with --public-name")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and scope["method"] not in ("GET", "HEAD") and origin.partition("://")[2] != host:
            raise Refused(403, "a page of another origin must not do this")
        if scope["path"].startswith("/api/"):
            wait = self.rates.take(client_of(scope))
            if wait:
                raise Refused(429, "too many requests; wait a moment", wait)
        length = headers.get(b"content-length", b"0").decode("latin-1")
        if not length.isdigit():
            raise Refused(400, "Content-Length is no number")
        if int(length) > self._limits.bytes:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._limits.bytes / 2**20:.0f} MB")

    def _bounded(self, receive: Receive, faults: list[Refused]) -> Receive:
        """Return a receiver that counts bytes, and seconds until the body is there; it notes its faults."""
        taken, until, whole = 0, time.monotonic() + self._limits.seconds, False

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.01, until - time.monotonic()))
            except TimeoutError:
                faults.append(Refused(408, "the request took too long to arrive"))
                raise faults[-1] from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if taken > self._limits.bytes:
                    faults.append(self._too_large())
                    raise faults[-1]
            return message

        return bounded


def client_of(scope: Scope) -> str:
    """Return whose rate a request counts for: that of its address."""
    client = scope.get("client")
    return str(client[0]) if client else "?"


def accepted_by(scope: Scope) -> str:
    """Return the languages that a request asks for."""
    return str(dict(scope["headers"]).get(b"accept-language", b""), "latin-1")


async def refuse(refused: Refused, send: Send, more: Mapping[str, str], accepted: str = "") -> None:
    """Send the answer to a refused request, with more headers, in an accepted language."""
    body = json.dumps(body_of(refused.reason, accepted)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in more.items()]
    if refused.after:
        headers.append((b"retry-after", str(refused.after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
