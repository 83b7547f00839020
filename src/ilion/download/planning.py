"""The plan of a download, before anything is fetched: files, sizes, disk, licence."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urljoin

from ilion import storage
from ilion.download.answers import Fault, Refusal
from ilion.download.archives import RESERVE
from ilion.download.choice import Wanted, list_wanted, needs_checksums, parse_checksums
from ilion.download.client import Client
from ilion.download.partial import Partial
from ilion.download.recipes import Recipe
from ilion.download.records import downloads_folder, file_stem, read_record
from ilion.download.transfer import Transfer, free_bytes
from ilion.errors import ArtifactError, ConfigError
from ilion.opening import read_bytes
from ilion.types import Value

log = logging.getLogger(__name__)

LIST = "checksums.txt"


@dataclass(frozen=True)
class Item:
    """One file of a plan.

    Args:
        file: File to fetch.
        urls: Addresses of the file, the preferred one first.
        state: ``done`` (verified earlier and unchanged), ``unverified`` (there, must be read), ``partial`` or
            ``missing``.
        here: Bytes that are there.
        size: Bytes in all; None if neither the server nor the recipe says.
        note: Objection of the server, or "".
    """

    file: Wanted
    urls: tuple[str, ...]
    state: Literal["done", "unverified", "partial", "missing"]
    here: int
    size: int | None
    note: str = ""


@dataclass(frozen=True)
class Plan(Value):
    """The plan of a download.

    Args:
        recipe: Recipe of the data set.
        folder: Folder of the download.
        items: Files to fetch.
        free: Bytes that the disk has left.
    """

    recipe: Recipe
    folder: Path
    items: tuple[Item, ...]
    free: int

    @property
    def bytes_left(self) -> int:
        """Bytes to fetch, as far as sizes are known."""
        return sum(max((i.size or 0) - i.here, 0) for i in self.items if i.state in ("partial", "missing"))

    @property
    def unknown(self) -> int:
        """Number of files of unknown size."""
        return sum(item.size is None for item in self.items)

    @property
    def disk(self) -> int:
        """Bytes of disk needed: the files, and once more what is extracted before its archive goes."""
        return self.bytes_left + sum(
            item.size or 0 for item in self.items if item.file.extract and item.state != "done"
        )

    def check_disk(self) -> None:
        """Make sure that it fits.

        Raises:
            ArtifactError: The disk is too small.
        """
        if self.disk + RESERVE > self.free:
            left, needed = format_bytes(self.free), format_bytes(self.disk + RESERVE)
            raise ArtifactError(
                f"{self.folder}: the disk has {left} left, {needed} are needed; free space, choose another "
                "folder, or ask for fewer parts"
            )


def format_bytes(size: float) -> str:
    """Write a number of bytes.

    >>> format_bytes(1234), format_bytes(5_300_000_000)
    ('1.2 KB', '5.3 GB')
    """
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def plan(
    recipe: Recipe,
    folder: Path,
    parts: Mapping[str, str],
    client: Client,
    *,
    mirrors: Sequence[str] = (),
    addresses: Mapping[str, str] | None = None,
    refresh: bool = False,
) -> Plan:
    """Make the plan of a download; nothing but the source's checksum list is fetched.

    Args:
        recipe: Recipe of the data set.
        folder: Folder of the download.
        parts: Part -> its argument; empty takes the default parts.
        client: Client that sends the requests.
        mirrors: Addresses that stand for the recipe's base, tried before it.
        addresses: Local path -> address given by the user.
        refresh: Whether to fetch the checksum list anew.

    Raises:
        ConfigError: The request does not fit the recipe.
        ArtifactError: The checksum list cannot be had.
    """
    checksums = None
    if needs_checksums(recipe, parts):
        checksums = _checksums(recipe, folder, client, mirrors, refresh)
    files = list_wanted(recipe, parts, checksums, addresses)
    if not files:
        known = ", ".join(part.name for part in recipe.parts)
        raise ConfigError(f"{recipe.name}: no files were asked for; its parts are {known}")

    def look(file: Wanted) -> Item:
        urls = list_addresses(file, mirrors)
        state, here = _state(folder, file)
        if state in ("done", "unverified"):
            return Item(file, urls, state, here, here)
        size, note = _size(client, urls)
        return Item(file, urls, state, here, size if size is not None else file.size or None, note)

    pool = ThreadPoolExecutor(client.settings.parallel)
    try:
        items = tuple(pool.map(look, files))
    except BaseException:
        client.interrupt()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return Plan(recipe, folder, items, free_bytes(folder))


def list_addresses(file: Wanted, mirrors: Sequence[str]) -> tuple[str, ...]:
    """List the addresses of a file: the mirrors, in their order, then the source."""
    below = (
        [urljoin(mirror.rstrip("/") + "/", quote(file.remote)) for mirror in mirrors] if file.remote else []
    )
    return tuple(dict.fromkeys([*below, file.url]))


def _state(folder: Path, file: Wanted) -> tuple[Literal["done", "unverified", "partial", "missing"], int]:
    """Return the state of a file and the bytes that are there, without reading them."""
    path, record = folder / file.path, read_record(folder, file.path)
    same = record is not None and file.sha256 in ("", record.sha256)
    if record is not None and same and file.extract and record.is_extracted(folder):
        return "done", record.size
    # without a checksum or a record, a file says nothing about itself
    if path.is_file() and (file.sha256 or record is not None):
        facts = path.stat()
        known = record is not None and (record.size, record.modified) == (facts.st_size, facts.st_mtime_ns)
        return ("done" if known and same and not file.extract else "unverified"), facts.st_size
    part = downloads_folder(folder) / f"{file_stem(file.path)}.part"
    return ("partial", part.stat().st_size) if part.exists() else ("missing", 0)


def _size(client: Client, urls: Sequence[str]) -> tuple[int | None, str]:
    """Ask for the size, at each address once; a failure here is no failure of the download."""
    note = ""
    for url in urls:
        try:
            size = client.size(url)
        except (Fault, Refusal) as error:
            note = str(error)
            continue
        return size, ""
    return None, note


def _checksums(
    recipe: Recipe, folder: Path, client: Client, mirrors: Sequence[str], refresh: bool
) -> dict[str, str]:
    """Read the source's checksum list: the copy here, else from the source, and from mirrors only then.

    A mirror is believed least, because what it says of its own files proves nothing.
    """
    copy = downloads_folder(folder) / LIST
    if refresh or not copy.exists():
        url = urljoin(recipe.base, quote(recipe.checksums))
        file = Wanted(LIST, recipe.checksums, url, "", "first-use")
        sources = [url, *(u for u in list_addresses(file, mirrors) if u != url)]
        aside = downloads_folder(folder) / "lists"
        (aside / LIST).unlink(missing_ok=True)
        # the list may change over time: what an earlier one was like does not bind it
        (downloads_folder(aside) / f"{LIST}.record.json").unlink(missing_ok=True)
        Partial(downloads_folder(aside) / f"{LIST}.part").discard()
        record = Transfer(client, file, sources, aside, lambda count: None).run()
        if record.url != url:
            log.warning(
                "the checksum list came from the mirror %s, because the source did not answer", record.url
            )
        text = read_bytes(aside / LIST).decode("utf-8", "replace")
        parse_checksums(text, recipe.base, record.url)
        storage.write_bytes(copy, text.encode())
    return parse_checksums(read_bytes(copy).decode("utf-8"), recipe.base, str(copy))
