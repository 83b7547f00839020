"""Indexes: photos that can be searched, one photo at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ilion.cli.common import AsJson, console, counted, progress_bars, say_json
from ilion.errors import ConfigError

if TYPE_CHECKING:
    from ilion.serve.answers import Answer
    from ilion.serve.writer import Added

IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of an index.")]
Objects = Annotated[
    bool,
    typer.Option(
        "--objects/--no-objects",
        help="Whether a photo in a folder of a folder shows the object that the first folder is named by.",
    ),
]


def index(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTOS...",
            help="Folders, tars, tables (.csv), photos or data sets; or one finished run; or one index.",
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new index.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="Finished run whose design is taken [default: the default design].")
    ] = None,
    objects: Objects = True,
    compact: Annotated[
        bool, typer.Option("--compact", help="Of an index: delete removed photos from the disk.")
    ] = False,
    switch: Annotated[
        int | None, typer.Option(metavar="DESIGN", help="Of an index: number of the design that answers now.")
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Of an index: let the design before answer again.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            help="Search engine for global descriptors, such as milvus:http://HOST:19530; embedded for none."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make an index of photos or of a finished run; or build a new design in one, switch, compact."""
    from ilion import api
    from ilion.config.design import Design
    from ilion.serve import writer
    from ilion.serve.engines.attached import redact
    from ilion.serve.index import Index
    from ilion.serve.tables import FILE

    if output is None:
        if len(sources) != 1 or not (sources[0] / FILE).is_file():
            raise ConfigError("name the folder of the new index: -o INDEX")
        found = Index.open(sources[0])
        done: dict[str, Any] = {}
        with progress_bars() as progress:
            if like is not None:
                done["design"] = writer.build(found, Design.of_run(like), like, progress)
            if switch is not None or rollback:
                done["answers"] = writer.switch(found, 0 if rollback else switch or 0, progress)
            if engine:
                done["engine"], done["vectors"] = (redact(engine), writer.attach(found, engine, progress))
            if compact:
                done["freed"] = writer.compact(found, progress)
        if not done:
            raise ConfigError(
                f"{sources[0]}: is an index; say what to do with it: --compact, --like RUN, --switch DESIGN, "
                "--rollback or --engine"
            )
        if as_json:
            say_json(done)
            return
        if "design" in done:
            print(f"design {done['design']} is ready; 'ilion index {sources[0]} --switch {done['design']}'")
        if "answers" in done:
            print(f"design {done['answers']!r} answers now")
        if "engine" in done:
            held = f"{counted(done['vectors'], 'descriptor lies', 'descriptors lie')} in {done['engine']}"
            print("the index searches its own files" if done["engine"] == "embedded" else held)
        if "freed" in done:
            print(f"compacted: {done['freed']:,} bytes are free")
        return
    if compact or switch is not None or rollback:
        raise ConfigError("--compact, --switch and --rollback belong to an index that is there: leave out -o")
    added: list[Added] = []
    with progress_bars() as progress:
        made = api.index(
            sources, output, like=like, objects=objects, engine=engine, progress=progress, added=added.append
        )
    status = made.status()
    unreadable = added[0].unreadable if added else {}
    if as_json:
        say_json({**asdict(status), "unreadable": unreadable})
        return
    print(
        f"{counted(status.photos, 'photo')} of {counted(status.objects, 'object')}, design {status.design!r}"
    )
    if status.without_descriptor:
        print(f"  {counted(status.without_descriptor, 'photo')} cannot be read and cannot be found")
    _say_unreadable(unreadable, "cannot be found" if status.without_descriptor else "not added")
    print(f"index: {output}; search it with: ilion search {output} PHOTO")


def search(
    folder: IndexFolder,
    photos: Annotated[
        list[Path] | None, typer.Argument(metavar="PHOTO...", help="Photos to search by.")
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Part of the photo that shows the object, in pixels."),
    ] = None,
    text: Annotated[str, typer.Option(help="Words to search for, alone or beside a photo.")] = "",
    like: Annotated[str, typer.Option(metavar="ID", help="A photo of the index, in place of a photo.")] = "",
    where: Annotated[str, typer.Option(help="Filter, such as 'category=valve and site=Osaka'.")] = "",
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Number of objects.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Page to write, with pictures and matches.")] = None,
    language: Annotated[str, typer.Option(help="Language of that page: en or ja.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Search an index by photos, a text, or both: the objects that were found, and why."""
    from ilion.serve.index import Index
    from ilion.serve.page import write_answers
    from ilion.serve.request import SearchRequest

    found = Index.open(folder)
    asked: list[tuple[str, object]] = [(str(photo), photo) for photo in photos or ()] or [
        (like or text, None)
    ]
    part = None if box is None else box_from(box)
    if part is not None and len(asked) > 1:
        raise ConfigError("--box belongs to one photo")
    answers = []
    for name, photo in asked:
        answer, matches = found.ask(SearchRequest(photo, part, text, like, where, k))
        answers.append((name, photo, answer, matches))
    if html is not None:
        write_answers(html, found, answers, part, language)
    if as_json:
        say_json([{"query": name, **answer.as_dict()} for name, _, answer, _ in answers])
        return
    for name, _, answer, _ in answers:
        _say(name, answer)
    if html is not None:
        print(f"page: {html}")


def box_from(text: str) -> Any:
    """Return the box that a person wrote as four numbers.

    Raises:
        ConfigError: The text is not a box.

    >>> box_from("10,20,30,40").area
    1200.0
    """
    from ilion.errors import DatasetError
    from ilion.types import Box

    try:
        return Box(*(float(part) for part in re.split(r"[,\s]+", text.strip())))
    except (ValueError, TypeError, DatasetError):
        raise ConfigError(
            f"{text!r} is no box; write its left, top, width and height in pixels: 10,20,300,400"
        ) from None


def _say(name: str, answer: Answer) -> None:
    searched = answer.searched
    left = f", {searched.filtered:,} left out by the filter" if searched.filtered else ""
    print(f"{name}: {counted(searched.photos, 'photo')} searched{left}, {1e3 * searched.seconds:.0f} ms")
    if searched.without_descriptor:
        print(
            f"  {counted(searched.without_descriptor, 'photo')} of the index "
            "cannot be found: they cannot be read"
        )
    if answer.none:
        print("  none of these, by the design's threshold; nearest are:")
    if not answer.objects:
        print("  nothing was found")
    for number, found in enumerate(answer.objects, 1):
        region = found.photo.region
        place = ""
        if region is not None:
            place = f" at {region.x:.0f},{region.y:.0f},{region.width:.0f},{region.height:.0f}"
        title = found.name or "(no object named)"
        print(f"{number:>3}  {found.score:.3f}  {title}: {found.why}{place}")
        print(f"            {found.photo.id}")


def add(
    folder: IndexFolder,
    sources: Annotated[
        list[Path], typer.Argument(metavar="PHOTOS...", help="Folders, tars, tables or photos.")
    ],
    shown: Annotated[str, typer.Option("--object", help="Object that all of them show.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Label for all of them; repeat for more.")
    ] = None,
    objects: Objects = True,
    as_json: AsJson = False,
) -> None:
    """Add photos to an index, or replace those of the same id, while others search."""
    from ilion.serve.index import Index
    from ilion.serve.writer import add as add_photos

    labels = {}
    for pair in label or ():
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise ConfigError(f"--label {pair!r}: write it as NAME=VALUE")
        labels[name] = value
    with progress_bars() as progress:
        done = add_photos(
            Index.open(folder), sources, objects=objects, shown=shown, labels=labels, progress=progress
        )
    if as_json:
        say_json(done)
        return
    _say_added(done)


def _say_added(done: Added) -> None:
    print(
        f"{counted(done.added, 'photo')} added, {done.replaced:,} replaced, "
        f"{done.unchanged:,} were there already"
    )
    _say_unreadable(done.unreadable)


def _say_unreadable(unreadable: Mapping[str, str], what: str = "not added") -> None:
    for name, problem in list(unreadable.items())[:10]:
        console.print(f"{what}: {name}: {problem}", markup=False, highlight=False, soft_wrap=True)
    if len(unreadable) > 10:
        console.print(f"... and {len(unreadable) - 10:,} more that cannot be read; --json names all")


def remove(
    folder: IndexFolder,
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="IDS...", help="Ids of photos; object:NAME for all of an object; - for standard input."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Remove photos from answers at once; 'ilion index INDEX --compact' deletes them from the disk."""
    import sys

    from ilion.serve.index import Index
    from ilion.serve.writer import remove as remove_photos

    names = [line.strip() for line in sys.stdin if line.strip()] if ids == ["-"] else ids
    removed = remove_photos(Index.open(folder), names)
    if as_json:
        say_json({"removed": removed})
    else:
        print(
            f"{counted(removed, 'photo')} removed; 'ilion index {folder} --compact' deletes them "
            "from the disk"
        )


def say_index(folder: Path, as_json: bool) -> None:
    """Print the state of an index."""
    from ilion.serve.index import Index

    status = Index.open(folder).status()
    if as_json:
        say_json(status)
        return
    if status.engine != "embedded":
        print(f"  descriptors are searched in {status.engine}")
    megabytes = {name: f"{size / 1e6:,.1f} MB {name}" for name, size in status.bytes.items()}
    print(
        f"{counted(status.photos, 'photo')} of {counted(status.objects, 'object')}, "
        f"{counted(status.shards, 'part')}"
    )
    print(f"  design {status.current}: {status.design}")
    for number, name in status.designs.items():
        if number != status.current:
            print(f"  design {number}: {name}{' (answered before)' if number == status.previous else ''}")
    for count, what in (
        (status.without_descriptor, "cannot be found: they could not be read"),
        (status.removed, "are removed; 'ilion index --compact' deletes them from the disk"),
        (status.behind, "are not described by the design before yet; '--rollback' does that first"),
        (status.staged, "are being added, or were when a process ended"),
    ):
        if count:
            print(f"  {counted(count, 'photo')} {what}")
    if status.labels:
        labels = (f"{name} ({counted(n, 'value')})" for name, n in status.labels.items())
        print(f"  labels: {', '.join(labels)}")
    print(f"  {', '.join(megabytes.values())}; {status.revision} changes so far")
