"""Files of the ILIAS benchmark, both ways: ``ilion import`` and ``ilion export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ilion.cli.common import (
    AsJson,
    BadImage,
    Experiment,
    Model,
    Output,
    Set,
    counted,
    experiment_of,
    progress_bars,
    say_json,
    say_result,
    summary,
)

import_app = typer.Typer(
    help="Use feature files, results and adaptation layers of the ILIAS benchmark.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
export_app = typer.Typer(
    help="Write feature files, results and adaptation layers as the ILIAS benchmark does.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Target = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]


@import_app.command("features")
def import_features(
    files: Annotated[list[Path], typer.Argument(help="Feature files (HDF5), or folders of such.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    name: Annotated[str, typer.Option(help="Name of the model; default: that of the folder.")] = "",
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Bring descriptors to length one where they are not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store descriptors, to be used with --model imported:FOLDER."""
    from ilion import api
    from ilion.opening import full_path

    with progress_bars() as progress:
        found = api.import_features(files, output, name, normalise, progress)
    if as_json:
        say_json({"folder": str(found.folder), "name": found.name, "dimensions": found.dim,
                  "dtype": found.dtype, "rows": dict(found.rows), "notes": list(found.notes)})  # fmt: skip
        return
    rows = ", ".join(f"{count:,} {partition.replace('_', ' ')}" for partition, count in found.rows.items())
    print(f"{found.name}: {rows}; {counted(found.dim, 'dimension')}, {found.dtype}")
    for note in found.notes:
        print(f"note: {note}")
    print(f"use them with: ilion run EXPERIMENT --model imported:{full_path(output)}")


@import_app.command("results")
def import_results(
    file: Annotated[Path, typer.Argument(help="Results: JSON, a pickle, or a run of TREC (.gz too).")],
    experiment: Experiment,
    settings: Set = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Judge results of others; writes a run folder for 'ilion report' and 'ilion compare'."""
    from ilion import api

    with progress_bars() as progress:
        result, path = api.import_results(
            file, experiment_of("import results", experiment, settings, None, output), progress
        )
    if as_json:
        say_json({**summary(result), "report": str(path)})
    else:
        say_result(result)
        print(f"report: {path}")


@import_app.command("layer")
def import_layer(
    file: Annotated[Path, typer.Argument(help="A torch file with layer.weight and layer.bias.")],
    output: Target,
) -> None:
    """Store an adaptation layer in Ilion's own form."""
    from ilion import api

    before, after = api.import_layer(file, output)
    print(f"layer from {before} to {counted(after, 'dimension')}: {output}")


@export_app.command("features")
def export_features(
    experiment: Experiment,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the files.")],
    settings: Set = None,
    model: Model = None,
    on_bad_image: BadImage = None,
    dtype: Annotated[
        Literal["float16", "stored"], typer.Option(help="Like the benchmark's files, or as stored here.")
    ] = "float16",
    as_json: AsJson = False,
) -> None:
    """Write the descriptors of an experiment as feature files, describing what is missing."""
    from ilion import api

    with progress_bars() as progress:
        files = api.export_features(
            experiment_of("export features", experiment, settings, model, None, on_bad_image),
            output,
            dtype,
            progress,
        )
    if as_json:
        say_json([str(path) for path in files])
        return
    for path in files:
        print(path)


@export_app.command("results")
def export_results(
    run: Annotated[Path, typer.Argument(help="Output folder of a finished run.")],
    output: Target,
    form: Annotated[Literal["json", "pickle", "trec"], typer.Option(help="Form of the file.")] = "json",
) -> None:
    """Write the ranking of a finished run as a result file."""
    from ilion import api

    print(api.export_results(run, output, form))


@export_app.command("truth")
def export_truth(experiment: Experiment, output: Target, settings: Set = None) -> None:
    """Write the ground truth of a data set as a relevance file of TREC (qrels)."""
    from ilion import api

    print(api.export_truth(experiment_of("export truth", experiment, settings, None, None), output))


@export_app.command("layer")
def export_layer(
    file: Annotated[Path, typer.Argument(help="An adaptation layer of Ilion.")], output: Target
) -> None:
    """Write an adaptation layer as a torch file."""
    from ilion import api

    before, after = api.export_layer(file, output)
    print(f"layer from {before} to {counted(after, 'dimension')}: {output}")
