"""HTTP answers, judged by their status and headers against the request.

A `Fault` may go away (a reset, a stall, an overloaded server); a `Refusal` will not, at this address.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from ilion.download.settings import check_url
from ilion.errors import ConfigError

AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that mean: try again later."""


class Fault(Exception):
    """Something that may go away.

    Args:
        kind: One or two words, counted and shown.
        message: Description for people.
        wait: Seconds that the server asks to wait, or None.
    """

    def __init__(self, kind: str, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.wait = wait


class Refusal(Exception):
    """Something that will not go away at this address.

    Args:
        message: Description for people.
        status: HTTP status, 0 for another reason.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """The start of a body.

    Args:
        url: Address that it came from, after redirects.
        start: Offset of its first byte in the file.
        total: Bytes of the whole file; None if the server does not say.
        etag: Strong entity tag, or "".
        modified: ``Last-Modified``, or "".
        delimited: Whether the end of the body is marked, so that a cut is noticed.
        response: Response to read from.
    """

    url: str
    start: int
    total: int | None
    etag: str
    modified: str
    delimited: bool
    response: Any


def follow_redirect(url: str, location: str) -> str:
    """Return the address that a redirect leads to.

    Raises:
        Refusal: Nowhere, to another scheme, or from https to http.

    >>> follow_redirect("https://a.org/x", "/y")
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
    """Return an answer that fits the request for the bytes from ``start`` on, or raise.

    Raises:
        Fault: The answer is wrong in a way that may go away.
        Refusal: The server refuses.
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
