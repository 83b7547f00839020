"""Data sets: make, check and synthesise them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ilion.cli.common import AsJson, progress_bars, say_json

app = typer.Typer(help="Make, check and synthesise data sets.", no_args_is_help=True, rich_markup_mode=None)


@app.command("new")
def new_dataset(folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Make an empty data set for your own photos, with a README that explains its folders."""
    from ilion import datasets

    for path in datasets.new_dataset(folder):
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
            progress=lambda done, total: progress("check", done, total),
        )
    if as_json:
        say_json(found)
    else:
        print(datasets.render_check(found))
    if not found.ok:
        raise typer.Exit(1)


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
