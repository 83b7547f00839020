"""One file from the first request to its verified content, through whatever the network does."""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ilion.download.answers import Answer, Fault, Refusal
from ilion.download.archives import RESERVE
from ilion.download.choice import Wanted
from ilion.download.client import Client
from ilion.download.partial import Head, Partial
from ilion.download.records import (
    Record,
    downloads_folder,
    file_stem,
    local_time,
    note_verified,
    read_record,
    write_record,
)
from ilion.download.settings import DownloadSettings
from ilion.errors import ArtifactError

log = logging.getLogger(__name__)

PROGRESS = 64 << 10
"""Least bytes that an attempt must bring to count as progress."""
ODD_ANSWERS = 3
"""Number of answers with the whole file, or with another tag, after which the file starts anew."""
SLACK = 1 << 20
"""Bytes that a body without a length may have beyond what was announced, if twice that is less."""
RESTARTS = 3
"""Number of times that a changed file starts anew before the tags of its source are no longer heeded."""


class MissingFile(Exception):
    """The source does not have an optional file."""


@dataclass
class Tally:
    """Counts of one transfer, added up at the end: bytes received (also twice), and faults by kind."""

    fetched: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class Transfer:
    """One file on its way.

    Args:
        client: Client that sends the requests.
        file: File to fetch.
        urls: Addresses of the file, the preferred one first.
        folder: Folder of the download.
        tell: Callback that receives the number of further bytes; negative when bytes were dropped.
        announced: Bytes that recipe or server announced before; None if neither did.
    """

    def __init__(
        self,
        client: Client,
        file: Wanted,
        urls: Sequence[str],
        folder: Path,
        tell: Callable[[int], None],
        announced: int | None = None,
    ) -> None:
        self.client = client
        self.settings: DownloadSettings = client.settings
        self.file = file
        self.urls = list(urls)
        self.folder = folder
        self.announced = announced
        self.tally = Tally()
        self._tell = tell
        self._reasons: list[str] = []
        self._statuses: list[int] = []
        self._odd = 0
        self._restarts = 0

    def run(self) -> Record:
        """Fetch and verify.

        Raises:
            MissingFile: The file is optional, and no address has it.
            ArtifactError: The file cannot be had, verified, or written; what is there is kept.
            Stopped: Somebody asked to stop; what is there is kept.
        """
        known = read_record(self.folder, self.file.path)
        expected = self.file.sha256 or (known.sha256 if known else "")
        target = downloads_folder(self.folder) / f"{file_stem(self.file.path)}.part"
        for attempt in range(self.settings.refetches + 1):
            with closing(Partial(target)) as partial:
                self._tell(partial.end)
                if partial.damaged:
                    self.tally.faults["damaged on disk"] += 1
                    log.info(
                        "%s: the partial file was damaged; from %d bytes on again",
                        self.file.path,
                        partial.end,
                    )
                url = self._fill(partial)
                digest, size = partial.sha256(), partial.end
                if not expected or digest == expected:
                    return self._keep(partial, url, digest)
                partial.discard()
            self._tell(-size)
            self.tally.faults["wrong checksum"] += 1
            log.info("%s: checksum %s instead of %s (try %d)", url, digest, expected, attempt + 1)
            # another address may have sound bytes
            self.urls.append(self.urls.pop(self.urls.index(url)))
        raise ArtifactError(self._mismatch(url, digest, expected, known))

    def _mismatch(self, url: str, digest: str, expected: str, known: Record | None) -> str:
        tries = self.settings.refetches + 1
        start = (
            f"{self.file.path}: fetched {tries} times, at last from {url}, each time with a wrong checksum"
        )
        seen = f"(sha256 {digest} instead of {expected})"
        if self.file.policy == "first-use" and known is not None:
            return (
                f"{start} {seen}. The source has another file than on {known.fetched}; if it was renewed, "
                "accept it with --accept-changed"
            )
        if self.file.policy == "listed":
            return f"{start} {seen}. Try another mirror, or --refresh if the source renewed its checksum list"
        return f"{start} {seen}. Try another mirror"

    def _keep(self, partial: Partial, url: str, digest: str) -> Record:
        """Note the digest first, then give the file its name: a kill in between loses neither."""
        record = Record(self.file.path, digest, partial.end, url, self.file.policy, local_time())
        write_record(self.folder, record)
        partial.finish(self.folder / self.file.path)
        return note_verified(self.folder, record)

    # --- bytes ---

    def _fill(self, partial: Partial) -> str:
        """Fetch until the file is whole; return the address that the last bytes came from."""
        url, failures = self.urls[0], 0
        if partial.end and partial.end == partial.head.total:
            return partial.head.url if partial.head.url in self.urls else url
        while True:
            before = self.tally.fetched
            try:
                with self.client.open(url, partial.end, self._validator(partial, url)) as answer:
                    self._align(partial, answer, url)
                    if self._take(partial, answer):
                        return url
                    raise Fault("cut off", f"{answer.url}: {partial.end} of {partial.head.total} bytes came")
            except Refusal as refusal:
                self._statuses.append(refusal.status)
                url, failures = self._next(url, str(refusal)), 0
            except Fault as fault:
                self.tally.faults[fault.kind] += 1
                log.info("%s: %s", fault.kind, fault)
                failures = 1 if self.tally.fetched - before >= PROGRESS else failures + 1
                if fault.kind == "wrong range" and failures % 3 == 0:
                    # the parts of this server are not to be had; the whole file perhaps is
                    self._anew(partial, Head())
                if failures > self.settings.retries:
                    url, failures = self._next(url, f"{fault} ({failures} failures in a row)"), 0
                elif fault.wait is not None and fault.wait > self.settings.longest_wait:
                    url, failures = self._next(url, f"{fault}; come back in {fault.wait:.0f} s"), 0
                else:
                    self.client.pause(self._delay(failures, fault.wait))

    def _heeds_tags(self) -> bool:
        """Return whether tags are heeded; a source that always changes them is judged by its checksum."""
        return self._restarts < RESTARTS or not self.file.sha256

    def _validator(self, partial: Partial, url: str) -> str:
        """Return the tag or time, of this server only, that it shall compare before it sends a part."""
        head = partial.head
        return (head.etag or head.modified) if head.url == url and self._heeds_tags() else ""

    def _align(self, partial: Partial, answer: Answer, url: str) -> None:
        """Make sure that the answer's bytes belong where the partial file ends."""
        head = Head(url, answer.total, answer.etag, answer.modified)
        if partial.end == 0:
            partial.start(head)
        elif self._continues(partial, answer, url):
            partial.move_to(replace(head, total=partial.head.total if answer.total is None else answer.total))
        else:
            self._odd += 1
            if self._odd <= ODD_ANSWERS:
                raise Fault(
                    "odd answer", f"{answer.url}: not the part from byte {partial.end} on of the same file"
                )
            self._odd, self._restarts = 0, self._restarts + 1
            if self._restarts > 2 * RESTARTS:
                raise Refusal(f"{url}: sends another version of the file each time")
            if answer.start:
                self._anew(partial, Head())
                raise Fault("changed", f"{answer.url}: the file changed since its first part came")
            self._anew(partial, head)

    def _continues(self, partial: Partial, answer: Answer, url: str) -> bool:
        """Return whether an answer goes on where the partial file ends, in the same version of the file."""
        head = partial.head
        if answer.start != partial.end or (head.total is not None and answer.total not in (None, head.total)):
            return False
        if head.url != url:
            # another server: its tags mean nothing, only a checksum can tell
            return bool(self.file.sha256) and answer.total == head.total
        return not self._heeds_tags() or not (head.etag and answer.etag and head.etag != answer.etag)

    def _anew(self, partial: Partial, head: Head) -> None:
        self._tell(-partial.end)
        partial.start(head)

    def _take(self, partial: Partial, answer: Answer) -> bool:
        """Append a body; return whether the file is whole."""
        most, limit = "", 0
        if partial.head.total is None and not answer.delimited and not self.file.sha256:
            raise Refusal(f"{answer.url}: does not say where the file ends, and no checksum is known to tell")
        if partial.head.total is None:
            # recipes announce sizes in round numbers
            if self.announced:
                most, limit = "was announced", max(2 * self.announced, self.announced + SLACK)
            else:
                most, limit = "the disk has left", partial.end + max(free_bytes(self.folder) - RESERVE, 0)
        for data in self.client.read(answer):
            total = partial.head.total
            if total is not None and partial.end + len(data) > total:
                raise Fault("too long", f"{answer.url}: more than the {total} bytes announced")
            if most and partial.end + len(data) > limit:
                self._anew(partial, Head())
                raise Refusal(f"{answer.url}: a body without a length, which is longer than what {most}")
            partial.write(data)
            self.tally.fetched += len(data)
            self._tell(len(data))
        if partial.head.total is not None:
            return partial.end == partial.head.total
        return True

    # --- patience ---

    def _next(self, url: str, reason: str) -> str:
        """Give up an address; return the next."""
        log.info("given up: %s", reason)
        self._reasons.append(reason)
        self.urls.remove(url)
        if self.urls:
            return self.urls[0]
        if self.file.optional and self._statuses and all(status in (404, 410) for status in self._statuses):
            raise MissingFile(self.file.path)
        raise ArtifactError(
            f"{self.file.path}: cannot be had: {'; '.join(self._reasons)}. Run the same command again to go "
            "on, or name a mirror"
        )

    def _delay(self, failures: int, wait: float | None) -> float:
        """Return the seconds before the next try: as the server asks, else doubling, with some chance."""
        if wait is not None:
            return wait
        longest = min(self.settings.backoff * 2.0 ** min(failures - 1, 16), 60.0)
        return longest * random.uniform(0.5, 1.0)


def free_bytes(folder: Path) -> int:
    """Return the bytes left on the disk of a folder, or of its first parent that is there."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
