"""The choice: models, parts and settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ilion.cli.common import AsJson, Set, counted, say_json

if TYPE_CHECKING:
    from ilion.registry import Registry


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
        int | None, typer.Option(metavar="MB", help="Largest download; 0 for none.")
    ] = None,
    family: Annotated[str, typer.Option(help="Family of models, such as SigLIP2.")] = "",
    backend: Annotated[str, typer.Option(help="Library, such as timm or openclip.")] = "",
    domain: Annotated[str, typer.Option(help="Specialisation of the weights, or 'general'.")] = "",
    sort: Annotated[
        str,
        typer.Option(help="Order: mAP (reported on ILIAS, 5 million distractors), download, dim or name."),
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
    print(
        f"{counted(len(found), 'model')}; figures: mAP@1k in percent, as "
        "reported on ILIAS with 5 million distractors"
    )


def parts(as_json: AsJson = False) -> None:
    """List the parts that settings choose from, with the extra that they need and where they come from."""
    from ilion.adapt.base import METHODS
    from ilion.datasets.layouts.base import LAYOUTS
    from ilion.descriptors.registry import BACKENDS
    from ilion.descriptors.towers import TEXT_TOWERS
    from ilion.evaluation.metrics import METRICS
    from ilion.localfeatures.base import EXTRACTORS
    from ilion.localfeatures.codecs import CODECS
    from ilion.reranking.base import SCORERS
    from ilion.searching.engines import ENGINES
    from ilion.serve.engines.base import INDEX_ENGINES

    first: tuple[Registry[Any], ...] = (LAYOUTS, BACKENDS, TEXT_TOWERS, METHODS, ENGINES)
    registries = (*first, EXTRACTORS, CODECS, SCORERS, METRICS, INDEX_ENGINES)
    rows = [
        {"kind": each.kind, "name": part.name, "extra": part.extra, "origin": part.origin, "note": part.note}
        for each in registries
        for part in each.parts()
    ]
    if as_json:
        say_json(rows)
        return
    for row in rows:
        extra = f"[{row['extra']}]" if row["extra"] else ""
        print(f"{row['kind']:<18}{row['name']:<18}{extra:<10}{row['origin']:<12}{row['note']}".rstrip())


def config(
    experiment: Annotated[
        Path | None, typer.Argument(help="An experiment; none prints the defaults.")
    ] = None,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print all settings with their values, as TOML."""
    from ilion.config import (
        ExperimentConfig,
        apply_overrides,
        check_parts,
        dump_toml,
        from_dict,
        load_experiment,
        to_dict,
    )

    if experiment:
        values = load_experiment(experiment, settings or [])
    else:
        values = from_dict(ExperimentConfig, apply_overrides({}, settings or []))
        check_parts(values)
    if as_json:
        say_json(to_dict(values))
    else:
        print(dump_toml(values), end="")
