"""All problems of a data set at once, each with file and remedy, and what the set is like."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from ilion.datasets.checking.copies import CopyFinder, judge
from ilion.datasets.checking.facts import DatasetFacts, FactsBuilder
from ilion.datasets.checking.inspect import Inspection, inspect
from ilion.datasets.checking.time import TimeCheck, TimeFacts, TimeRule
from ilion.datasets.listing import Listing, Photo, Problem, Severity, shown_path
from ilion.datasets.reader import list_dataset
from ilion.datasets.shards import UNREAD_REMEDY, TarShard
from ilion.errors import ConfigError, DatasetError
from ilion.images import EXTENSIONS, ImageFacts
from ilion.opening import full_path
from ilion.types import Box, FileSource, ImageRecord, NoSource, Shard, Source, TarSource
from ilion.wording import counted

KEPT = 1000
"""Most problems of one kind that are listed with file and remedy; the others are counted."""
HUGE_PIXELS = 50_000_000
TINY_SIDE = 64

_PENDING = 4
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

_ODDITIES: tuple[tuple[str, Severity, str, str], ...] = (
    ("CMYK", "warning", "cmyk", "save it as RGB if its colours look wrong"),
    ("bits a channel", "warning", "deep", "save it with 8 bits a channel"),
    ("frames", "warning", "animated", "save the frame or page that is meant"),
    ("EXIF block", "warning", "damaged-exif", "look whether the photo stands upright, and save it anew"),
    ("XMP says", "warning", "xmp-orientation", "look whether the photo stands upright"),
    ("EXIF orientation", "info", "rotated", "nothing to do; boxes refer to the upright photo"),
    ("transparent", "info", "transparent", "nothing to do, if white is right as a background"),
    ("colour profile", "info", "colour-profile", "nothing to do"),
)


@dataclass(frozen=True)
class DatasetCheck:
    """Outcome of a check.

    Args:
        name: Name of the data set's folder.
        root: Folder of the data set.
        layout: Name of the layout.
        problems: Errors first, then warnings, then infos; at most ``KEPT`` of a kind.
        totals: Severity -> kind -> number of problems.
        facts: Description of the set.
        time: Facts by the rule of time; None where it was not asked for.
    """

    name: str
    root: Path
    layout: str
    problems: tuple[Problem, ...]
    totals: Mapping[Severity, Mapping[str, int]]
    facts: DatasetFacts
    time: TimeFacts | None = None

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.totals["error"]


@dataclass
class _Problems:
    """Keeps a bounded number of problems of each kind."""

    kept: list[Problem] = field(default_factory=list)
    totals: dict[Severity, Counter[str]] = field(default_factory=lambda: {s: Counter() for s in _SEVERITIES})

    def add(self, problem: Problem) -> None:
        counter = self.totals[problem.severity]
        counter[problem.kind] += 1
        if counter[problem.kind] <= KEPT:
            self.kept.append(problem)


@dataclass(frozen=True, slots=True)
class _Item:
    shown: str
    source: Source
    photo: Photo | None = None
    id: str = ""


def check_dataset(
    path: Path,
    *,
    layout: str = "auto",
    distractors: Path | None = None,
    encoding: str = "",
    trust: Sequence[str] = (),
    full_decode: bool = True,
    workers: int = 2,
    time_rule: TimeRule | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetCheck:
    """Check a data set: names, tables, every image, every box, and photos that are there twice.

    Memory grows with the photos of objects, by about 4 kB each, and hardly with the distractors.

    Args:
        path: Folder of the data set.
        layout: Name of a layout; ``auto`` asks all of them.
        distractors: Further folder of distractors.
        encoding: Encoding of tables and descriptions; "" finds it for each.
        trust: Modules and files whose code may run, for a layout from outside.
        full_decode: Whether to decode every image. If not, only headers are read: damaged pixels, copies that
            were saved anew, and the clutter estimate stay unknown.
        workers: Number of threads that read and decode.
        time_rule: Limits of the rule of time, which every distractor must then prove; None does not ask.
        progress: Callback that receives images done and images in all.

    Raises:
        ConfigError: ``workers`` is not positive.
        DatasetError: The folder does not exist, or is no data set at all.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    listing = list_dataset(path, layout=layout, distractors=distractors, encoding=encoding, trust=trust)
    problems = _Problems()
    for problem in listing.problems:
        problems.add(problem)
    shards, total = _usable_shards(listing, problems)
    copies, facts = CopyFinder(), FactsBuilder()
    time = TimeCheck(listing, time_rule) if time_rule else None
    for done, (item, seen) in enumerate(_inspect_all(_items(listing, shards), workers, full_decode), 1):
        facts.add(item.photo, seen)
        for problem in (
            *_image_problems(item, seen),
            *_box_problems(item, seen),
            *_copy_problems(item, seen, copies),
        ):
            problems.add(problem)
        for problem in time.judge(item.id, item.shown, item.photo, seen.taken) if time else ():
            problems.add(problem)
        if item.photo:
            copies.add(item.photo, seen)
        if progress:
            progress(done, total)
    times, unproven = time.finish() if time else (None, [])
    for problem in unproven:
        problems.add(problem)
    problems.kept.sort(key=lambda problem: (_SEVERITIES.index(problem.severity), problem.kind))
    return DatasetCheck(
        full_path(path).name,
        path,
        listing.layout,
        tuple(problems.kept),
        problems.totals,
        facts.finish(listing),
        times,
    )


def _usable_shards(listing: Listing, problems: _Problems) -> tuple[list[Shard], int]:
    """Return the shards that can be read, and the number of images in the whole set.

    Photos of objects that lie in a shard learn where.
    """
    shards: list[Shard] = [TarShard(tar.name, tar) for tar in listing.tars]
    sought: dict[str, ImageRecord | None] = {}
    if listing.dataset:
        shards = [*listing.dataset.database, *shards]
        sought = {photo.id: None for photo in listing.photos if photo.source is None}
    usable, total = [], len(listing.photos) + sum(len(folder.names) for folder in listing.loose)
    for shard in shards:
        try:
            for record in shard.records():
                if record.id in sought:
                    sought[record.id] = record
                else:
                    total += 1
            usable.append(shard)
            if isinstance(shard, TarShard) and (seen := shard.unread()):
                shown = shown_path(shard.path, listing.root)
                seen = f"holds {seen}, which are not read"
                problems.add(Problem("warning", "tar-members", shown, seen, UNREAD_REMEDY))
        except DatasetError as error:
            path = shard.path if isinstance(shard, TarShard) else Path(shard.name)
            message, _, remedy = str(error).removeprefix(str(path)).lstrip(":!").strip().partition("; ")
            problems.add(Problem("error", "bad-tar", shown_path(path, listing.root), message, remedy))
    missing = [image_id for image_id, record in sought.items() if record is None]
    if missing:
        count = counted(len(missing), "image of the ground truth is", "images of the ground truth are")
        seen = f"{count} in no shard, such as {missing[0]!r}"
        problems.add(Problem("error", "missing-file", listing.layout, seen, "correct the ids"))
    if sought:
        placed = (_place(photo, sought.get(photo.id)) for photo in listing.photos)
        listing.photos = [photo for photo in placed if photo.source is not None]
    return usable, total - len(missing)


def _place(photo: Photo, record: ImageRecord | None) -> Photo:
    if record is None:
        return photo
    views = tuple(replace(view, boxes=record.boxes, place=record.id) for view in photo.views)
    return Photo(photo.id, views, record.source)


def _items(listing: Listing, shards: list[Shard]) -> Iterator[_Item]:
    # Photos of objects come first, so that the distractors can be compared with all of them as they pass.
    for photo in listing.photos:
        yield _item(listing, photo.id, listing.source(photo), photo)
    own = {photo.id for photo in listing.photos} if listing.dataset else ()
    for shard in shards:
        for record in shard.records():
            if record.id not in own:
                yield _item(listing, record.id, record.source)
    for folder in listing.loose:
        for name in folder.names:
            yield _item(listing, folder.prefix + name, FileSource(folder.base / name))


def _item(listing: Listing, image_id: str, source: Source, photo: Photo | None = None) -> _Item:
    shown = source.id if isinstance(source, NoSource) else shown_path(Path(str(source)), listing.root)
    return _Item(shown, source, photo, image_id)


def _inspect_all(
    items: Iterator[_Item], workers: int, full_decode: bool
) -> Iterator[tuple[_Item, Inspection]]:
    pending: deque[tuple[_Item, Future[Inspection]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            boxes = item.photo.boxes if item.photo else ()
            pending.append((item, pool.submit(inspect, item.source, boxes, full_decode=full_decode)))
            if len(pending) >= _PENDING * workers:
                first, future = pending.popleft()
                yield first, future.result()
        for last, future in pending:
            yield last, future.result()


def _image_problems(item: _Item, seen: Inspection) -> Iterator[Problem]:
    if seen.error:
        message, _, remedy = seen.error.partition("; ")
        yield Problem("error", "unreadable", item.shown, message, remedy or "fetch it again or remove it")
        return
    if seen.facts is None:
        return
    facts = seen.facts
    for phrase in facts.warnings:
        for part, severity, kind, remedy in _ODDITIES:
            if part in phrase:
                yield Problem(severity, kind, item.shown, phrase.replace("; ", ", "), remedy)
                break
    name = item.source.member if isinstance(item.source, TarSource) else Path(str(item.source)).name
    ending = "." + name.rpartition(".")[2]
    if ending.lower() not in EXTENSIONS[facts.format]:
        message = f"is named {ending} but is a {facts.format.upper()} image"
        remedy = f"rename it to {EXTENSIONS[facts.format][0]}, or save it anew"
        yield Problem("warning", "mislabelled", item.shown, message, remedy)
    width, height = facts.size
    if width * height > HUGE_PIXELS:
        message = f"has {width} x {height} pixels, and takes {width * height * 3 / 1e6:.0f} MB to decode"
        remedy = "scale it down; models look at 1,000 pixels or fewer"
        yield Problem("warning", "huge", item.shown, message, remedy)
    elif min(width, height) < TINY_SIDE:
        message = f"has only {width} x {height} pixels"
        remedy = "use a larger photo; models look at 200 pixels or more"
        yield Problem("warning", "tiny", item.shown, message, remedy)


def _box_problems(item: _Item, seen: Inspection) -> Iterator[Problem]:
    if item.photo is None or seen.facts is None or seen.error:
        return
    for view in item.photo.views:
        for box in view.boxes:
            outside = _outside(box, seen.facts)
            if outside:
                severity, message, remedy = outside
                yield Problem(severity, "box-outside", view.place, message, remedy)


def _outside(box: Box, facts: ImageFacts) -> tuple[Severity, str, str] | None:
    width, height = facts.size
    if _fits(box, facts.size):
        return None
    remedy = "draw it again; boxes are in pixels of the upright photo at full size"
    if facts.size != facts.stored_size and _fits(box, facts.stored_size):
        remedy = "it fits the photo as stored, which is turned by EXIF: draw it again on the upright photo"
    shown = f"box {box.x:g} {box.y:g} {box.width:g} {box.height:g}"
    gone = box.x >= width or box.y >= height or box.x + box.width <= 0 or box.y + box.height <= 0
    if gone:
        return "error", f"{shown} lies outside of the photo of {width} x {height} pixels", remedy
    return "warning", f"{shown} reaches out of the photo of {width} x {height} pixels", remedy


def _fits(box: Box, size: tuple[int, int]) -> bool:
    # Tools round corners to whole pixels in different ways, so that one pixel is no mistake.
    return (
        box.x >= -1 and box.y >= -1 and box.x + box.width <= size[0] + 1 and box.y + box.height <= size[1] + 1
    )


def _copy_problems(item: _Item, seen: Inspection, copies: CopyFinder) -> Iterator[Problem]:
    for copy in copies.find(seen):
        severity, kind, meaning, remedy = judge(copy.first, item.photo)
        how = "byte for byte the photo" if copy.exact else "the same picture (saved anew or resized) as"
        yield Problem(severity, kind, item.shown, f"is {how} {copy.first.id}, {meaning}", remedy)
