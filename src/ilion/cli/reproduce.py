"""Published figures and what it takes to reproduce them."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ilion.cli.common import AsJson, say_json
from ilion.errors import ConfigError


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="A model with published figures; none lists them.")
    ] = None,
    setting: Annotated[str, typer.Option(help="5M, 100M, '5M adapted' or '5M text'.")] = "5M",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print commands, bytes, hours and price, and do nothing.")
    ] = False,
    descriptors: Annotated[
        bool, typer.Option("--descriptors", help="Start from the published descriptors, without photos.")
    ] = False,
    images_per_second: Annotated[float, typer.Option(min=0, help="Photos described in a second.")] = 0.0,
    megabits_per_second: Annotated[float, typer.Option(min=0, help="Speed of the network.")] = 0.0,
    per_hour: Annotated[float, typer.Option(min=0, help="Price of an hour of the machine.")] = 0.0,
    per_gb_month: Annotated[float, typer.Option(min=0, help="Price of a gigabyte for a month.")] = 0.0,
    months: Annotated[float, typer.Option(min=0, help="Months that the data are kept.")] = 1.0,
    currency: Annotated[str, typer.Option(help="Currency of the prices.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say how a published figure on ILIAS is reproduced: commands, bytes, hours and price."""
    from ilion.download.targets import list_targets, plan_target
    from ilion.forecast.cost import Prices

    if name is None:
        found = list_targets()
        if as_json:
            say_json([{"model": model, "setting": s, "mAP@1k": figure} for model, s, figure in found])
            return
        for model, kind, figure in found:
            print(f"{model:<16}{kind:<12}{100 * figure:5.1f}")
        return
    prices = Prices(per_hour, per_gb_month, months, currency)
    target = plan_target(
        name,
        setting,
        descriptors=descriptors,
        images_per_second=images_per_second,
        megabits_per_second=megabits_per_second,
        prices=prices,
    )
    if not dry_run:
        raise ConfigError(
            f"reproducing {name} fetches {target.fetched / 1e12:.2f} TB and is never begun by itself: print "
            "the commands with --dry-run, and run them one by one"
        )
    if as_json:
        total = {"fetched": target.fetched, "stored": target.stored, "hours": target.hours}
        say_json({**dataclasses.asdict(target), **total, "price": target.price})
        return
    print(f"{name}, {setting}: mAP@1k {100 * target.figure:.1f} as published")
    for step in target.steps:
        print(f"  {step.command}")
        if step.fetched is None:
            print("      fetches a size that is not published")
            continue
        hours = "hours unknown" if step.hours is None else f"{step.hours:,.1f} hours"
        print(f"      fetches {step.fetched / 1e9:,.1f} GB, leaves {step.stored / 1e9:,.1f} GB, {hours}")
    hours = "unknown" if target.hours is None else f"{target.hours:,.1f}"
    price = "unknown" if target.price is None else f"{target.price:,.2f} {currency}".strip()
    print(
        f"in all: {target.fetched / 1e9:,.1f} GB fetched, {target.stored / 1e9:,.1f} GB on disk, hours "
        f"{hours}, price {price}"
    )
    for note in target.notes:
        print(f"note: {note}")
