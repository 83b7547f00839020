"""Data sets: make, check and synthesise them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ilion.cli.common import AsJson, progress_bars, say_json
from ilion.errors import ConfigError

if TYPE_CHECKING:
    from ilion.datasets.checking.time import TimeRule

app = typer.Typer(help="Make, check and synthesise data sets.", no_args_is_help=True, rich_markup_mode=None)


@app.command("new")
def new_dataset(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    language: Annotated[str, typer.Option(help="Language of the README: en or ja.")] = "en",
) -> None:
    """Make an empty data set for your own photos, with a README that explains its folders."""
    from ilion import datasets

    for path in datasets.new_dataset(folder, language):
        print(path)


@app.command("check")
def check_dataset(
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    layout: Annotated[str, typer.Option(help="Name of a layout; auto asks all of them.")] = "auto",
    trust: Annotated[
        list[str] | None, typer.Option(help="Module or file whose code may run, for a layout from outside.")
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Encoding of tables and descriptions, such as cp932; empty finds it.")
    ] = "",
    full_decode: Annotated[
        bool, typer.Option("--full/--quick", help="Decode every image, or read headers only.")
    ] = True,
    no_false_negatives: Annotated[
        bool,
        typer.Option(
            "--no-false-negatives", help="Require that every distractor is older than every object."
        ),
    ] = False,
    photos_until: Annotated[
        str, typer.Option(help="Last day of distractors that no table dates, such as 2014; you vouch for it.")
    ] = "",
    objects_from: Annotated[
        str, typer.Option(help="First day of objects that no table dates, such as 2015; you vouch for it.")
    ] = "",
    rule: Annotated[
        Literal["own", "ilias"], typer.Option(help="ilias declares the days of the benchmark of that name.")
    ] = "own",
    as_json: AsJson = False,
) -> None:
    """List all problems of a data set, and its statistics. Exit code 1 if it has errors."""
    from ilion import datasets

    with progress_bars() as progress:
        found = datasets.check_dataset(
            folder,
            layout=layout,
            trust=trust or (),
            encoding=encoding,
            full_decode=full_decode,
            time_rule=declare_rule(photos_until, objects_from, rule, no_false_negatives),
            progress=lambda done, total: progress("check", done, total),
        )
    if as_json:
        say_json(found)
    else:
        print(datasets.render_check(found))
    if not found.ok:
        raise typer.Exit(1)


def declare_rule(photos_until: str, objects_from: str, name: str, wanted: bool) -> TimeRule | None:
    """Return the rule of time that the options declare; None where it is not asked for.

    Raises:
        ConfigError: A day is none, or an option has no effect.
    """
    from ilion.datasets.checking.time import ILIAS, TimeRule
    from ilion.datasets.spans import parse_span

    if not wanted:
        if photos_until or objects_from or name != "own":
            raise ConfigError("--photos-until, --objects-from and --rule belong to --no-false-negatives")
        return None
    given = TimeRule() if name == "own" else ILIAS
    for option, written in (("--photos-until", photos_until), ("--objects-from", objects_from)):
        if not written:
            continue
        try:
            span = parse_span(written)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}; write 2014, 2014-12 or 2014-12-31") from None
        until = option == "--photos-until"
        given = replace(given, photos_until=span.last) if until else replace(given, objects_from=span.first)
    return given


@app.command("synth")
def synthesize(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder, or one to finish.")],
    instances: Annotated[int, typer.Option(help="Number of objects.")] = 24,
    positives: Annotated[int, typer.Option(help="Number of positives of an object.")] = 8,
    distractors: Annotated[int, typer.Option(help="Number of images that show none of them.")] = 400,
    shard_size: Annotated[int, typer.Option(help="Number of distractors in one tar.")] = 1000,
    distractor_format: Annotated[
        Literal["tar", "folder"], typer.Option(help="Distractors in tar shards or as loose files.")
    ] = "tar",
    side: Annotated[int, typer.Option(help="Longer side of the images in pixels.")] = 512,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same bytes with one version of Pillow.")
    ] = 0,
) -> None:
    """Make a seeded synthetic data set: products in cluttered scenes, look-alikes, descriptions."""
    from ilion.synthetic import synthesize as make

    with progress_bars() as progress:
        summary = make(
            folder,
            instances=instances,
            positives=positives,
            distractors=distractors,
            shard_size=shard_size,
            distractor_format=distractor_format,
            image_side=side,
            seed=seed,
            progress=lambda done, total: progress("images", done, total),
        )
    print(summary)
