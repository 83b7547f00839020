"""What there is to choose from: models and settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ilion.cli.common import AsJson, Set, say_json
from ilion.config import (
    ExperimentConfig,
    apply_overrides,
    check_parts,
    dump_toml,
    from_dict,
    load_experiment,
    to_dict,
)


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Words that must occur in name, family, source, licence or note."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Only models that take text queries.")] = False,
    licence: Annotated[str, typer.Option(help="Part of the licence's name.")] = "",
    open_licence: Annotated[
        bool, typer.Option("--open-licence", help="Only permissive open-source licences.")
    ] = False,
    max_download: Annotated[
        int | None, typer.Option(metavar="MB", help="At most so many megabytes; 0 for no download.")
    ] = None,
    family: Annotated[str, typer.Option(help="Such as SigLIP2.")] = "",
    backend: Annotated[str, typer.Option(help="Such as timm or openclip.")] = "",
    domain: Annotated[str, typer.Option(help="What the weights are specialised in, or 'general'.")] = "",
    sort: Annotated[
        str, typer.Option(help="mAP (reported on ILIAS, 5 million distractors), download, dim or name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the models by name, with licence, download size and, where known, the mAP reported on ILIAS."""
    from ilion.descriptors.registry import find_models

    found = find_models(
        words or (),
        text=text,
        licence=licence,
        open_licence=open_licence,
        max_download=max_download,
        family=family,
        backend=backend,
        domain=domain,
        sort=sort,
    )
    if as_json:
        say_json([{**dataclasses.asdict(info), "open_licence": info.open_licence} for info in found])
        return
    width = max((len(info.name) for info in found), default=0)
    for info in found:
        size = f"{info.download_mb:,} MB" if info.download_mb else "no download"
        reported = f"{100 * info.expected:4.1f}" if info.expected is not None else "   -"
        extra = f" [{info.extra}]" if info.extra else ""
        queries = "text" if info.text else "    "
        print(
            f"{info.name:<{width}}  {info.dim:>6} dims  {size:>11}  {queries}  {reported}  "
            f"{info.licence.partition(' (')[0]}{extra}  {info.note}"
        )
    print(f"{len(found)} models; figures: mAP@1k in percent, as reported on ILIAS with 5 million distractors")


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
        check_parts(values)
    if as_json:
        say_json(to_dict(values))
    else:
        print(dump_toml(values), end="")
