"""From a folder to a data set: finds the layout, lists it, and refuses what would give wrong results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilion.datasets.amendments import amend, read_amendments
from ilion.datasets.dates import read_dates
from ilion.datasets.ids import IdSet, count_tars, matches_nothing, read_ids, safe_name, tar_key
from ilion.datasets.layouts.base import find_layout
from ilion.datasets.listing import (
    ENCODING,
    NO_POSITIVE,
    Listing,
    LooseFolder,
    Photo,
    View,
    finish,
    list_distractors,
    list_images,
    shown_path,
)
from ilion.datasets.shards import UNREAD_REMEDY, FileShard, IdShard, RecordShard, TarShard
from ilion.errors import ConfigError, DatasetError, ImageError
from ilion.images import probe
from ilion.opening import full_path
from ilion.registry import answering_for_code
from ilion.types import Box, ImageRecord, Query, RetrievalDataset, Shard, Where
from ilion.wording import agree, counted

_SHOWN_PROBLEMS = 20
_SHOWN_IDS = 5
_SHOWN_NOTES = 10
_CHEAP_TAR_BYTES = 4 << 30
"""Tars up to this size together are indexed at once to name missing ids: a second of reading headers."""


def open_dataset(
    path: Where,
    *,
    layout: str = "auto",
    subset: Where | None = None,
    distractors: Where | None = None,
    shard_size: int = 500,
    encoding: str = "",
    trust: Sequence[str] = (),
    amended: bool = True,
    unlabelled: bool = False,
) -> RetrievalDataset:
    """Open a data set: the ILIAS layout, the plain form (see docs/datasets.md), or ids (docs/interop.md).

    No image is decoded.

    The database is: photos with a positive or an ignored object, sorted by id, in shards of ``shard_size``;
    then tars of distractors by file name, one shard each; then loose distractors by folder and name, in
    shards of ``shard_size``.

    Args:
        path: Folder of the data set.
        layout: Name of a layout; ``auto`` asks all of them.
        subset: Id file of the distractors that stay; None keeps all. Positives and ignored photos always
            stay, since results without them would mean something else. Ids that are listed but not there are
            counted in ``notes``.
        distractors: Further folder with tars or images of distractors, at any depth.
        shard_size: Images in a shard of files; decides what one interruption can cost, never the results.
        encoding: Encoding of tables and descriptions, such as ``cp932``; "" finds it for each.
        trust: Modules and files whose code may run, for a layout from outside.
        amended: Whether the data set's amendments count (see `ilion.datasets.amendments`).
        unlabelled: Whether objects may have no positive. Else that is an error, or, in a data set with
            amendments, such objects are not asked for.

    Raises:
        ConfigError: ``shard_size`` is not positive, or no layout or encoding has that name.
        DatasetError: The folder is no data set, or has errors, all of which are said; or no id of the subset
            is in it.
    """
    if shard_size < 1:
        raise ConfigError(f"shard_size is {shard_size}; it must be at least 1")
    path, further = Path(path), Path(distractors) if distractors else None
    subset = Path(subset) if subset else None
    listing = list_dataset(path, layout=layout, distractors=further, encoding=encoding, trust=trust)
    _refuse_errors(listing, NO_POSITIVE if unlabelled else "")
    wanted = IdSet(read_ids(subset), subset) if subset else None
    dataset = listing.dataset or _dataset(listing)
    first = _own_shards if listing.dataset else _positive_shards
    database = (*first(listing, wanted, shard_size), *_distractor_shards(listing, wanted, shard_size))
    notes = [*_warnings(listing), *dataset.notes, *_tar_notes(database)]
    if subset and wanted and dataset.complete:
        notes.extend(_subset_notes(subset, wanted, database))
    dataset = replace(dataset, database=database, notes=tuple(notes))
    changed = amend(dataset, read_amendments(path) if amended else (), unlabelled)
    if dataset.queries and not changed.queries:
        raise DatasetError(f"{path}: no photo is said to show an object; 'ilion audit' proposes labels")
    return changed


def list_dataset(
    path: Path,
    *,
    layout: str = "auto",
    distractors: Path | None = None,
    encoding: str = "",
    trust: Sequence[str] = (),
) -> Listing:
    """List a data set with all its problems; only a folder that is no data set at all raises.

    See `open_dataset` for the arguments.

    Raises:
        ConfigError: No layout has that name.
        DatasetError: A folder does not exist, its layout is not clear, or its amendments cannot be read.
    """
    for folder in (path, distractors):
        if folder is not None and not folder.is_dir():
            seen = "is a file" if folder.exists() else "does not exist"
            raise DatasetError(f"{folder}: {seen}; give the folder of a data set")
    part = find_layout(path, layout, trust)
    before = ENCODING.set(encoding)
    try:
        with answering_for_code():
            found = part.make().read(path)
        listing = list_images(found) if isinstance(found, RetrievalDataset) else found
    finally:
        ENCODING.reset(before)
    read_dates(listing)
    listing.layout = part.name
    if distractors is not None:
        if not listing.complete:
            raise ConfigError(f"{path}: holds ids only; a folder of distractors cannot be added to it")
        # what lies there is judged as distractors, not by the layout
        inside = f"{shown_path(distractors, listing.root)}/"
        listing.problems = [p for p in listing.problems if not f"{p.file}/".startswith(inside)]
        list_distractors(listing, distractors, f"{distractors.name}/")
    rows = read_amendments(path)
    finish(listing, frozenset(row.object for row in rows if row.role == "positive") if rows else None)
    return listing


def _refuse_errors(listing: Listing, allowed: str) -> None:
    errors = [each for each in listing.problems if each.severity == "error" and each.kind != allowed]
    if errors:
        lines = [f"  {problem}" for problem in errors[:_SHOWN_PROBLEMS]]
        if len(errors) > _SHOWN_PROBLEMS:
            lines.append(
                f"  ... and {len(errors) - _SHOWN_PROBLEMS} more (ilion datasets check lists them all)"
            )
        many = counted(len(errors), "error")
        raise DatasetError("\n".join([f"{listing.root}: the data set has {many}:", *lines]))


def _warnings(listing: Listing) -> Iterator[str]:
    by_kind: dict[str, list[str]] = {}
    for problem in listing.problems:
        if problem.severity == "warning":
            by_kind.setdefault(problem.kind, []).append(str(problem))
    for kind, messages in by_kind.items():
        yield from messages[:_SHOWN_NOTES]
        if len(messages) > _SHOWN_NOTES:
            more = len(messages) - _SHOWN_NOTES
            yield f"... and {counted(more, 'more warning')} {kind!r} (ilion datasets check lists all)"


def _dataset(listing: Listing) -> RetrievalDataset:
    """Return a listing as a data set, still without its database."""
    notes: list[str] = []
    attributes = _attributes(listing, notes)
    queries = tuple(_queries(listing))
    positives, ignored = (_ids_by_instance(listing, role) for role in ("positive", "ignored"))
    return RetrievalDataset(
        name=full_path(listing.root).name,
        root=listing.root,
        queries=queries,
        database=(),
        positives={query.id: positives.get(query.instance, ()) for query in queries},
        ignored={query.id: ignored[query.instance] for query in queries if query.instance in ignored},
        labels=listing.labels,
        attributes=attributes,
        notes=tuple(notes),
        complete=listing.complete,
    )


def _queries(listing: Listing) -> Iterator[Query]:
    for photo in listing.photos:
        views = [view for view in photo.views if view.role == "query"]
        for view in views:
            # One photo can be the query of several objects; each then needs an id of its own.
            query_id = photo.id if len(views) == 1 else f"{photo.id}#{view.instance}"
            image = ImageRecord(photo.id, listing.source(photo), view.boxes)
            yield Query(query_id, view.instance, image=image)
    for text in listing.descriptions:
        yield Query(text.id, text.instance, text=text.text)


def _ids_by_instance(listing: Listing, role: str) -> dict[str, tuple[str, ...]]:
    ids: dict[str, list[str]] = {}
    for photo in listing.photos:
        for view in photo.views:
            if view.role == role:
                ids.setdefault(view.instance, []).append(photo.id)
    return {instance: tuple(found) for instance, found in ids.items()}


def _own_shards(listing: Listing, wanted: IdSet | None, shard_size: int) -> Iterator[Shard]:
    """Yield the shards that a layout made by itself; other kinds than ours are held as records."""
    own = {photo.id for photo in listing.photos}
    for shard in listing.dataset.database if listing.dataset else ():
        if wanted is None and isinstance(shard, FileShard | TarShard | IdShard):
            yield shard
            continue
        records = [
            record
            for record in shard.records()
            if wanted is None
            or wanted.take(record.id, tar_key(record.id.partition("/")[2] or record.id))
            or record.id in own
        ]
        for start in range(0, len(records), shard_size):
            name = f"{safe_name(shard.name)}_{start // shard_size:05d}"
            yield RecordShard(name, tuple(records[start : start + shard_size]))


def _positive_shards(listing: Listing, wanted: IdSet | None, shard_size: int) -> Iterator[Shard]:
    photos = [photo for photo in listing.photos if not photo.is_query]
    if wanted:
        for photo in photos:
            wanted.take(photo.id, photo.id)
    ids = tuple(photo.id for photo in photos)
    if not listing.complete:
        yield IdShard("positives", ids)
        return
    boxes = {photo.id: photo.boxes for photo in photos if photo.boxes}
    yield from _file_shards("positives", LooseFolder(listing.base, "", ids), shard_size, boxes)


def _distractor_shards(listing: Listing, wanted: IdSet | None, shard_size: int) -> Iterator[Shard]:
    if listing.distractor_ids:
        yield IdShard("distractors", listing.distractor_ids, wanted)
    for tar in listing.tars:
        yield TarShard(f"distractors_tar_{safe_name(tar.name.removesuffix('.tar'))}", tar, wanted)
    for number, folder in enumerate(listing.loose):
        kept = folder
        if wanted:
            names = (n for n in folder.names if wanted.take(folder.prefix + n, tar_key(n)))
            kept = LooseFolder(folder.base, folder.prefix, tuple(names))
        yield from _file_shards(f"distractors_{number}", kept, shard_size, {})


def _file_shards(
    name: str, folder: LooseFolder, shard_size: int, boxes: dict[str, tuple[Box, ...]]
) -> Iterator[FileShard]:
    for start in range(0, len(folder.names), shard_size):
        names = folder.names[start : start + shard_size]
        own = {n: boxes[n] for n in names if n in boxes}
        yield FileShard(f"{name}_{start // shard_size:05d}", folder.base, folder.prefix, names, own)


def _attributes(listing: Listing, notes: list[str]) -> dict[str, dict[str, float]]:
    scale: dict[str, float] = {}
    clutter: dict[str, float] = {}
    several, unread = 0, 0
    for photo in listing.photos:
        views = [view for view in photo.views if view.role == "positive"]
        seen = [view.clutter for view in views if view.clutter is not None]
        if seen:
            clutter[photo.id] = max(seen)
        if len(views) > 1 and any(view.boxes for view in views):
            several += 1
        elif views and (value := _scale(listing, photo, views[0])) is not None:
            if np.isnan(value):
                unread += 1
            else:
                scale[photo.id] = value
    if several:
        notes.append(
            f"{counted(several, 'photo shows', 'photos show')} several objects and no single object size; "
            "results by size are without"
        )
    if unread:
        notes.append(
            f"the object size is unknown in {counted(unread, 'photo with a box', 'photos with boxes')} whose "
            "own size cannot be read (ilion datasets check names all)"
        )
    return {axis: values for axis, values in (("scale", scale), ("clutter", clutter)) if values}


def _scale(listing: Listing, photo: Photo, view: View) -> float | None:
    """Return the object's share of the image, None if nothing says it, NaN if the image cannot be read."""
    if view.scale is not None or not view.boxes:
        return view.scale
    try:
        facts = probe(listing.source(photo).read())
    except (OSError, ImageError):
        return float("nan")
    return box_share(view.boxes, *facts.size)


def box_share(boxes: tuple[Box, ...], width: int, height: int) -> float:
    """Return the area of the union of boxes as a fraction of the image; parts outside do not count.

    All values are in pixels of the upright image.

    >>> box_share((Box(0, 0, 50, 100), Box(25, 0, 50, 100)), 100, 100)
    0.75
    """
    sides = np.array([(b.x, b.y, b.x + b.width, b.y + b.height) for b in boxes])
    sides = np.clip(sides, 0, (width, height, width, height))
    xs, ys = np.unique(sides[:, [0, 2]]), np.unique(sides[:, [1, 3]])
    covered = np.zeros((len(ys) - 1, len(xs) - 1), dtype=bool)
    for left, top, right, bottom in sides:
        covered |= ((ys[:-1] >= top) & (ys[1:] <= bottom))[:, None] & ((xs[:-1] >= left) & (xs[1:] <= right))
    return float((np.diff(ys)[:, None] * np.diff(xs) * covered).sum() / (width * height))


def _tar_notes(database: Sequence[Shard]) -> Iterator[str]:
    """Say what of the tars is not read, where finding out is cheap; the check does so always."""
    tars = [shard for shard in database if isinstance(shard, TarShard)]
    if sum(shard.path.stat().st_size for shard in tars) <= _CHEAP_TAR_BYTES:
        found = []
        for tar in tars:
            with suppress(DatasetError):  # a damaged tar is told where it is read, which a run may survive
                if seen := tar.unread():
                    found.append(f"{tar.path}: holds {seen}, which are not read; {UNREAD_REMEDY}")
        yield from found[:_SHOWN_NOTES]
        if len(found) > _SHOWN_NOTES:
            yield (
                f"... and {counted(len(found) - _SHOWN_NOTES, 'more such tar')} (ilion datasets "
                "check lists all)"
            )


def _subset_notes(subset: Path, wanted: IdSet, database: Sequence[Shard]) -> Iterator[str]:
    tars = [shard for shard in database if isinstance(shard, TarShard)]
    absent = count_tars(read_ids(subset))
    for shard in tars:
        del absent[shard.path.name]
    if absent:
        if absent.total() >= len(wanted):
            raise matches_nothing(subset, wanted, next(iter(sorted(absent))))
        names = ", ".join(sorted(absent)[:_SHOWN_IDS])
        yield f"{subset}: names {counted(absent.total(), 'id')} of tars that are not there: {names} ..."
    if sum(shard.path.stat().st_size for shard in tars) > _CHEAP_TAR_BYTES:
        yield (
            f"{subset}: lists {counted(len(wanted), 'id')}; whether all are there is known once "
            "the tars were read"
        )
        return
    for shard in tars:
        for _ in shard.records():
            pass
    if not wanted.found:
        raise matches_nothing(subset, wanted, next(iter(read_ids(subset))))
    missing = len(wanted) - wanted.found
    if missing:
        some = [i for i, _ in zip(wanted.missing(read_ids(subset)), range(_SHOWN_IDS), strict=False)]
        yield (
            f"{subset}: {missing:,} of {counted(len(wanted), 'listed id')} {agree(missing, 'is', 'are')} "
            f"not in the data: {', '.join(some)} ..."
        )
