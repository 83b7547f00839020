"""What there is to choose from: models and settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ilion.cli.common import AsJson, Set, say_json
from ilion.config import ExperimentConfig, apply_overrides, dump_toml, from_dict, load_experiment, to_dict


def models(
    text: Annotated[bool, typer.Option("--text", help="Only models that take text queries.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models by name, with licence and download size."""
    from ilion.extractors.base import models as registered

    found = [info for info in registered() if info.text or not text]
    if as_json:
        say_json([dataclasses.asdict(info) for info in found])
        return
    width = max(len(info.name) for info in found)
    for info in found:
        size = f"{info.download_mb} MB" if info.download_mb else "no download"
        extra = f" [{info.extra}]" if info.extra else ""
        print(f"{info.name:<{width}}  {info.dim:>6} dims  {size:>12}  {info.licence}{extra}  {info.note}")


def config(
    experiment: Annotated[
        Path | None, typer.Argument(help="An experiment; none prints the defaults.")
    ] = None,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print all settings with their values, as TOML."""
    if experiment:
        values = load_experiment(experiment, settings or [])
    else:
        values = from_dict(ExperimentConfig, apply_overrides({}, settings or []))
    if as_json:
        say_json(to_dict(values))
    else:
        print(dump_toml(values), end="")
