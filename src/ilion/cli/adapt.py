"""Learning: adaptation layers."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import typer

from ilion.cli.common import (
    AsJson,
    BadImage,
    Experiment,
    Model,
    Set,
    counted,
    experiment_of,
    progress_bars,
    say_json,
)


def adapt(
    experiment: Experiment,
    layer: Annotated[
        Path, typer.Option("--layer", "-o", help="File to write: .npz, or .pt as the benchmark has it.")
    ],
    labels: Annotated[Path | None, typer.Option(help="CSV file with lines path,class,domain.")] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of the photos [default: that of the CSV file].")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="pca, lda, wccn, ridge, linear or few-shot [default: few-shot]; its settings are --set "
            "adaptation.KEY=VALUE."
        ),
    ] = None,
    objects: Annotated[
        int, typer.Option(min=0, help="Without labels: number of objects to learn from; the others judge.")
    ] = 0,
    shots: Annotated[int, typer.Option(min=1, help="Number of photos of each of these objects.")] = 5,
    split: Annotated[
        int | None, typer.Option(min=0, help="Seed of the choice of objects and photos [default: the seed].")
    ] = None,
    settings: Set = None,
    model: Model = None,
    on_bad_image: BadImage = None,
    as_json: AsJson = False,
) -> None:
    """Learn an adaptation layer from labelled photos, and measure it on other objects."""
    from ilion import api
    from ilion.adapt import is_identity
    from ilion.opening import full_path

    chosen_method = [] if method is None else [f"adaptation.method={method}"]
    config = experiment_of(
        "adapt", experiment, [*(settings or []), *chosen_method], model, None, on_bad_image
    )
    chosen = dataclasses.replace(
        config.adaptation,
        labels=str(full_path(labels)) if labels else config.adaptation.labels,
        photos=str(full_path(photos)) if photos else config.adaptation.photos,
    )
    config = dataclasses.replace(config, adaptation=chosen)
    with progress_bars() as progress:
        done = api.adapt(config, layer, progress, objects=objects, shots=shots, split=split)
    if as_json:
        facts = {"layer": str(done.path), "verdict": done.learnt.verdict, "estimate": done.estimate}
        say_json({**facts, "unseen": done.unseen, **done.learnt.facts})
        return
    told = done.learnt.facts
    pictures = told.get("query pictures", 0)
    asked = f" and {pictures} query pictures" if pictures else ""
    learnt = counted(told["photos"] - pictures, "photo")
    print(f"{told['method']}: {learnt}{asked} of {counted(told['classes'], 'class', 'classes')}")
    print(f"  held out: {done.learnt.verdict}")
    if done.unseen is not None:
        u = done.unseen
        print(
            f"  {counted(u.instances, 'object')} left to judge by: mAP@{u.k} {u.means[0]:.4f} -> "
            f"{u.means[1]:.4f}, {u.difference:+.4f} [95%: {u.ci95.low:+.4f} to {u.ci95.high:+.4f}], "
            f"{counted(u.better, 'query', 'queries')} better, {u.worse} worse"
        )
    print(f"layer: {done.path}")
    loses = done.estimate is not None and done.estimate.ci95.high < 0
    if not loses and not is_identity(done.learnt.layer):
        options = [] if model is None else ["--model", model]
        options += [] if on_bad_image is None else ["--on-bad-image", on_bad_image]
        # how it was learnt is over; a setting that comes later counts
        kept = [s for s in settings or [] if not s.startswith("adaptation.")]
        for setting in (*kept, f"adaptation.layer={full_path(done.path)}"):
            options += ["--set", setting]
        options += [] if done.unseen is None else ["--set", "adaptation.seen=leave-out"]
        print("to search with it:", shlex.join(["ilion", "run", str(experiment), *options]))
