"""A download: one process a folder, several files at once, and at the end a list of what is missing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock

from ilion import storage
from ilion.download.archives import extract, is_archive
from ilion.download.client import Client, Stopped
from ilion.download.planning import Item, Plan, format_bytes, plan
from ilion.download.recipes import Recipe
from ilion.download.records import (
    Record,
    downloads_folder,
    file_stem,
    hash_file,
    local_time,
    note_verified,
    read_record,
    write_record,
)
from ilion.download.settings import DownloadSettings
from ilion.download.transfer import MissingFile, Tally, Transfer
from ilion.errors import ArtifactError, ConfigError, IlionError
from ilion.types import Value
from ilion.wording import agree, counted

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Callback that receives the stage (``download``, ``verify``, ``extract``), bytes done and bytes in all."""


@dataclass(frozen=True)
class Done(Value):
    """Outcome of a download.

    Args:
        recipe: Name of the data set.
        folder: Folder of the data set.
        files: Local paths of the wanted files that are there and verified.
        records: Records of the files.
        absent: Optional files that the source does not have.
        bytes_needed: Bytes that had to be fetched.
        bytes_fetched: Bytes that were fetched, those fetched twice included.
        faults: Kind of fault -> number of times.
        seconds: Wall-clock seconds.
    """

    recipe: str
    folder: Path
    files: tuple[str, ...]
    records: tuple[Record, ...]
    absent: tuple[str, ...]
    bytes_needed: int
    bytes_fetched: int
    faults: Mapping[str, int]
    seconds: float


def download(
    recipe: Recipe,
    folder: Path,
    parts: Mapping[str, str] | None = None,
    *,
    settings: DownloadSettings | None = None,
    addresses: Mapping[str, str] | None = None,
    confirm: Callable[[Plan], bool] | None = None,
    refresh: bool = False,
    verify: bool = False,
    accept_changed: bool = False,
    progress: Progress | None = None,
) -> Done:
    """Fetch parts of a data set; what is there and verified is not fetched again.

    Args:
        recipe: Recipe of the data set.
        folder: Folder of the data set; may hold an earlier or unfinished download of it.
        parts: Part -> its argument; empty takes the default parts.
        settings: Settings of the network.
        addresses: Local path -> address given by the user for a file.
        confirm: Callback that receives the plan before anything is fetched, and says yes; None means yes.
        refresh: Whether to fetch the source's checksum list anew.
        verify: Whether to read all files that are there again, not only changed ones.
        accept_changed: Whether files recorded at first use may have changed at the source.
        progress: Callback; see `Progress`.

    Raises:
        ConfigError: The request does not fit the recipe, or was not confirmed.
        ArtifactError: The disk is too small, another process is at work in the folder, or files could not be
            had; all that could is there, and the same command goes on.
        KeyboardInterrupt: Somebody asked to stop; the same command goes on.
    """
    began = time.monotonic()
    settings = settings or DownloadSettings()
    with _lock(folder):
        client = Client(settings, Event())
        try:
            found = plan(
                recipe,
                folder,
                parts or {},
                client,
                mirrors=settings.mirrors.get(recipe.name, ()),
                addresses=addresses,
                refresh=refresh,
            )
            if verify:
                again = [replace(i, state="unverified") if _readable(folder, i) else i for i in found.items]
                found = replace(found, items=tuple(again))
            found.check_disk()
            if any(i.state != "done" for i in found.items) and confirm is not None and not confirm(found):
                raise ConfigError("not confirmed; nothing was fetched")
            if accept_changed:
                _forget_first_uses(found)
            work = _Session(found, client, progress)
            work.run()
        finally:
            client.close()
    return Done(
        recipe=recipe.name,
        folder=folder,
        files=tuple(work.records),
        records=tuple(work.records.values()),
        absent=tuple(sorted(work.absent)),
        bytes_needed=work.needed,
        bytes_fetched=work.fetched,
        faults=dict(work.faults),
        seconds=time.monotonic() - began,
    )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        with storage.locked(downloads_folder(folder)):
            yield
    except OSError as error:
        raise ArtifactError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error


def _readable(folder: Path, item: Item) -> bool:
    return item.state == "done" and (folder / item.file.path).is_file()


def _forget_first_uses(found: Plan) -> None:
    """Drop the digests recorded at first use, so that other ones are accepted."""
    for item in found.items:
        record = read_record(found.folder, item.file.path)
        if item.file.policy == "first-use" and item.state != "done" and record is not None:
            log.warning("%s: the digest recorded on %s no longer binds", item.file.path, record.fetched)
            (downloads_folder(found.folder) / f"{file_stem(item.file.path)}.record.json").unlink()


class _Session:
    """Works through a plan with several threads."""

    def __init__(self, found: Plan, client: Client, progress: Progress | None) -> None:
        self.plan = found
        self.client = client
        self.records: dict[str, Record] = {}
        self.absent: list[str] = []
        self.faults: Counter[str] = Counter()
        self.fetched = 0
        self.needed = found.bytes_left
        self._progress = progress
        self._lock = Lock()
        self._done: Counter[str] = Counter()
        self._total = Counter(
            download=sum(i.size or 0 for i in found.items if i.state in ("partial", "missing")),
            verify=sum(i.here for i in found.items if i.state == "unverified"),
            extract=sum(i.size or 0 for i in found.items if i.file.extract and i.state != "done"),
        )

    def _tell(self, stage: str) -> Callable[[int], None]:
        def tell(count: int) -> None:
            with self._lock:
                self._done[stage] += count
                # sizes that nobody announced show up as they come
                self._total[stage] = max(self._total[stage], self._done[stage])
                if self._progress is not None:
                    self._progress(stage, self._done[stage], self._total[stage])

        return tell

    def run(self) -> None:
        """Do all of it, and name the files that could not be had."""
        failures: list[str] = []
        pool = ThreadPoolExecutor(self.client.settings.parallel)
        try:
            jobs = [pool.submit(self._fetch, item) for item in self.plan.items]
            self._watch(jobs)
            for job in jobs:
                error = job.exception()
                if isinstance(error, IlionError):
                    failures.append(str(error))
                elif error is not None:
                    raise error
                else:
                    self._keep(job.result())
        except BaseException:
            # partial files are closed by their threads, with what they have
            self.client.interrupt()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if failures:
            more = f" and {len(failures) - 10} more" if len(failures) > 10 else ""
            raise ArtifactError(
                f"{len(failures)} of {counted(len(self.plan.items), 'file')} "
                f"{agree(len(failures), 'is', 'are')} missing; the others are there. "
                + "; ".join(failures[:10])
                + more
            )

    def _watch(self, jobs: Sequence[Future[Record | None]]) -> None:
        """Wait in short steps, so that an interrupt reaches the main thread."""
        while wait(jobs, timeout=0.2).not_done:
            continue

    def _keep(self, record: Record | None) -> None:
        if record is not None:
            self.records[record.path] = record

    def _fetch(self, item: Item) -> Record | None:
        """Verify or fetch one file; None for an optional one that the source does not have."""
        folder, file = self.plan.folder, item.file
        record = read_record(folder, file.path)
        if item.state == "unverified":
            record = self._verify(item, record)
        elif item.state != "done":
            record = None
        if record is None:
            transfer = Transfer(self.client, file, item.urls, folder, self._tell("download"), item.size)
            try:
                record = transfer.run()
            except MissingFile:
                log.info("%s: the source does not have it", file.path)
                with self._lock:
                    self.absent.append(file.path)
                return None
            except Stopped:
                raise KeyboardInterrupt from None
            finally:
                self._count(transfer.tally)
        return self._extract(item, record) if file.extract and is_archive(file.path) else record

    def _count(self, tally: Tally) -> None:
        with self._lock:
            self.fetched += tally.fetched
            self.faults.update(tally.faults)

    def _verify(self, item: Item, record: Record | None) -> Record | None:
        """Read a file that is there; None if it is not what it should be."""
        folder, file = self.plan.folder, item.file
        path = folder / file.path
        digest = hash_file(path, self.client.stop, self._tell("verify"))
        expected = file.sha256 or (record.sha256 if record else "")
        if digest != expected:
            log.warning("%s: not what it should be (sha256 %s); it is fetched again", path, digest)
            return None
        if record is None or record.sha256 != digest:
            record = Record(file.path, digest, path.stat().st_size, file.url, file.policy, local_time())
        return note_verified(folder, record)

    def _extract(self, item: Item, record: Record) -> Record:
        """Extract an archive once, note it, and only then delete the archive."""
        folder = self.plan.folder
        archive = folder / item.file.path
        if not record.is_extracted(folder):
            aside = downloads_folder(folder) / f"{file_stem(item.file.path)}.extracting"
            count, tops = extract(
                archive, archive.parent, aside, stop=self.client.stop, tell=self._tell("extract")
            )
            log.info("%s: %d files", archive, count)
            record = replace(record, extracted=count, tops=tops)
            write_record(folder, record)
        archive.unlink(missing_ok=True)
        return record


def describe(found: Plan) -> str:
    """Return a plan as text, for a person who is to confirm it."""
    recipe = found.recipe
    lines = [f"{recipe.title}", f"  homepage  {recipe.homepage}", f"  licence   {recipe.licence}"]
    if recipe.notes:
        lines.append(f"  note      {recipe.notes}")
    lines.append(f"  folder    {found.folder}")
    shown = found.items if len(found.items) <= 12 else (*found.items[:8], None, found.items[-1])
    for item in shown:
        if item is None:
            lines.append(f"  ... {counted(len(found.items) - 9, 'more file')} ...")
            continue
        size = "size unknown" if item.size is None else format_bytes(item.size)
        state = {"done": "is there", "unverified": "is there, to be verified", "missing": ""}.get(
            item.state, f"{format_bytes(item.here)} are there"
        )
        check = {"pinned": "sha256 in the recipe", "listed": "sha256 in the source's list"}.get(
            item.file.policy, "sha256 recorded at first use"
        )
        extra = ", ".join(
            text for text in (state, "extracted" if item.file.extract else "", item.note) if text
        )
        lines.append(f"  {item.file.path}  {size}  [{check}]{'  ' + extra if extra else ''}")
    unknown = f" and {counted(found.unknown, 'file')} of unknown size" if found.unknown else ""
    disk = f"disk needed: {format_bytes(found.disk)} of {format_bytes(found.free)} free"
    lines.append(f"to fetch: {format_bytes(found.bytes_left)}{unknown}; {disk}")
    return "\n".join(lines)
