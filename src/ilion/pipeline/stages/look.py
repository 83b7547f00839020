"""A look at the headers of all images before the work begins, so that bad ones are known at once."""

from __future__ import annotations

import logging
import os
import random
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ilion.errors import IlionError, ImageError
from ilion.images import probe
from ilion.images.decode import check_size
from ilion.images.probe import add_place
from ilion.opening import open_regular
from ilion.pipeline.experiment import Experiment
from ilion.runtime.threads import in_order
from ilion.types import FileSource, ImageRecord, KnownSource, Shard, TarSource

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Longest time of a look: a header on a local disk takes about 0.15 ms (two cores, measured)."""
HEAD = 1 << 16
"""Bytes that hold the header of nearly every photo; where they do not, the whole file is read."""
LARGE = 1 << 28
"""Bytes of a file that is not read whole only to understand its header."""
SHOWN = 5
"""Bad images that a message names."""


@dataclass(frozen=True)
class Look:
    """What a look at headers found.

    Args:
        looked: Number of images looked at.
        bad: Fault of each bad image, in the order of the database.
        whole: Whether there was time for all of them.
    """

    looked: int
    bad: tuple[str, ...]
    whole: bool


def look_at_images(experiment: Experiment, shards: Sequence[Shard]) -> None:
    """Say which images are bad before anything is computed of them; each shard is looked at once.

    A bad query, or any bad image where bad ones are an error, ends the run here. Others are named in a
    warning.

    Args:
        experiment: The experiment, whose queries are looked at too.
        shards: Shards that are about to be read.

    Raises:
        ImageError: An image is bad and must not be.
    """
    new = [shard for shard in shards if shard.name not in experiment.looked]
    if not new:
        return
    config = experiment.config
    if not experiment.looked:
        queries = [query.image for query in experiment.queries if query.image is not None]
        _stop(look(iter(queries)), "query photos")
    experiment.looked.update(shard.name for shard in new)
    # in a random order, so that a look that has no time for all is a fair sample
    random.Random(0).shuffle(new)
    broken: list[str] = []
    found = look(record for shard in new for record in _records(shard, broken))
    found = replace(found, bad=(*broken, *found.bad))
    if not found.whole:
        log.info(
            "looked at the headers of %d images in %g s; the others are not known", found.looked, SECONDS
        )
    if config.extraction.on_bad_image == "error" and not config.compute.allow_incomplete:
        _stop(found, "images of the database")
    elif found.bad:
        log.warning("%s", _said(found, "images of the database"))


def look(records: Iterator[ImageRecord], seconds: float = SECONDS) -> Look:
    """Read the headers of images, as far as there is time.

    Args:
        records: Images.
        seconds: Longest time.
    """
    until = time.monotonic() + seconds
    looked, bad = 0, []
    for _, future in in_order(records, _problem, workers=min(16, 2 * (os.cpu_count() or 1))):
        looked += 1
        if problem := future.result():
            bad.append(problem)
        if time.monotonic() > until:
            return Look(looked, tuple(bad), next(records, None) is None)
    return Look(looked, tuple(bad), True)


def _records(shard: Shard, broken: list[str]) -> Iterator[ImageRecord]:
    """Yield the records of a shard; take down why one, such as a damaged tar, cannot be read."""
    try:
        yield from shard.records()
    except (IlionError, OSError) as error:
        broken.append(str(error))


def _problem(record: ImageRecord) -> str:
    """Return what is wrong with an image as far as its header says; "" for nothing."""
    where = str(record.source)
    try:
        head, whole = _head(record)
        try:
            facts = probe(head, where=where)
        except ImageError:
            if not HEAD <= whole <= LARGE:
                raise
            facts = probe(record.source.read(), where=where)  # perhaps only its header is longer
        with add_place(where):
            check_size(*facts.size)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{where}: cannot be read ({error.strerror or error})"
    except IlionError:  # sources without pixels say so themselves
        return ""
    return ""


def _head(record: ImageRecord) -> tuple[bytes, int]:
    """Return the first bytes of an image, and how many there are in all."""
    source = record.source.place if isinstance(record.source, KnownSource) else record.source
    if not isinstance(source, FileSource | TarSource):
        data = source.read()
        return data, len(data)
    facts = source.path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ImageError(f"{source}: is a pipe, a device or a folder, not a file")
    offset, size = (source.offset, source.size) if isinstance(source, TarSource) else (0, facts.st_size)
    with open_regular(source.path) as file:
        file.seek(offset)
        return file.read(min(size, HEAD)), size


def _said(found: Look, what: str) -> str:
    if len(found.bad) == 1:
        return found.bad[0]
    more = "" if len(found.bad) <= SHOWN else f"\n  ... and {len(found.bad) - SHOWN} more"
    lines = "".join(f"\n  {problem}" for problem in found.bad[:SHOWN])
    looked = f"{found.looked:,}" if found.whole else f"the {found.looked:,} that were looked at"
    return f"{len(found.bad)} of {looked} {what} cannot be used:{lines}{more}"


def _stop(found: Look, what: str) -> None:
    """Raise if an image is bad."""
    if not found.bad:
        return
    hint = "" if what.startswith("query") else "To count such images and go on, use --on-bad-image=skip; "
    end = ". " if len(found.bad) == 1 else "\n"
    raise ImageError(f"{_said(found, what)}{end}{hint}'ilion datasets check' lists all that is wrong")
