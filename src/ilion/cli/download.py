"""Downloads: the data sets, their size and licence, and a question before anything is fetched."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ilion.cli.common import AsJson, bars_of, console, counted, say_json
from ilion.errors import ConfigError

if TYPE_CHECKING:
    from ilion.download import Plan, Recipe


def download(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A data set; --list shows them.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of the files; default: one of its name.")
    ] = None,
    core: Annotated[bool, typer.Option("--core", help="Queries and positives (ilias).")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Lists of image ids (ilias).")] = False,
    shards: Annotated[str | None, typer.Option(help="Shards of distractors: 0-9,12 or all.")] = None,
    features: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Published descriptors of a model.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Published adaptation layer of a model.")
    ] = None,
    part: Annotated[list[str] | None, typer.Option(help="A part by name; repeat it for more.")] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Address to try before the source; repeat it for more."),
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option(metavar="FILE=URL", help="Address of one file; repeat it for more.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe of your own (TOML), or a folder of them.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="Network settings and mirrors (TOML).")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Number of files fetched at once.")] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Number of failures in a row before an address is given up.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List what can be downloaded.")] = False,
    refresh: Annotated[bool, typer.Option(help="Fetch the source's checksum list anew.")] = False,
    verify: Annotated[bool, typer.Option(help="Read all existing files again.")] = False,
    accept_changed: Annotated[
        bool, typer.Option(help="Accept changes of files recorded at first use.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a public data set: resumable, verified by checksums, after a question."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    from ilion import api

    if list_ or name is None:
        source = context.get_parameter_source
        given = [o for o in context.command.params if (s := source(o.name or "")) and s.name == "COMMANDLINE"]
        unused = [o.opts[0] for o in given if o.name not in ("list_", "recipe", "as_json")]
        if unused:
            raise ConfigError(
                f"{', '.join(unused)}: a list of what can be downloaded takes --recipe and --json only; to "
                "download, give the name of a data set, and no --list"
            )
        _say_recipes(api.recipes(recipe), as_json)
        return
    parts = dict.fromkeys(part or (), "")
    parts |= {key: "" for key, given in (("core", core), ("ids", ids)) if given}
    parts |= {
        key: given
        for key, given in (("shards", shards), ("features", features), ("layers", layers))
        if given is not None
    }
    with bars_of(10, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as (progress, bars):
        done = api.download(
            name,
            folder,
            parts,
            mirrors=mirror or (),
            urls=_pairs(url or []),
            recipe=recipe,
            settings=settings,
            parallel=parallel,
            retries=retries,
            confirm=lambda plan: _confirmed(plan, yes, bars.stop),
            refresh=refresh,
            verify=verify,
            accept_changed=accept_changed,
            progress=progress,
        )
    if as_json:
        say_json(done)
        return
    print(
        f"{done.recipe}: {counted(len(done.files), 'file is', 'files are')} "
        f"there and verified, in {done.folder}"
    )
    for path in done.absent:
        print(f"  the source does not have {path}")
    if done.bytes_fetched:
        rate = done.bytes_fetched / max(done.seconds, 1e-9) / 1e6
        print(f"  {done.bytes_fetched / 1e6:.1f} MB in {done.seconds:.1f} s, {rate:.1f} MB/s")
    if done.faults:
        print("  survived: " + ", ".join(f"{kind} {count}x" for kind, count in sorted(done.faults.items())))


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        path, equals, url = text.partition("=")
        if not equals or not path or not url:
            raise ConfigError(
                f"--url {text!r}: write FILE=URL, such as misc/list.txt=https://example.org/list.txt"
            )
        pairs[path] = url
    return pairs


def _confirmed(plan: Plan, yes: bool, quiet: Callable[[], Any]) -> bool:
    """Show sizes and licence; ask, unless told not to."""
    from ilion.download.session import describe

    quiet()
    console.print(describe(plan), markup=False, highlight=False, soft_wrap=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to confirm this download; add --yes to agree to sizes and licence")
    return typer.confirm("fetch it?", err=True)


def _say_recipes(found: dict[str, Recipe], as_json: bool) -> None:
    if as_json:
        say_json([dataclasses.asdict(recipe) for recipe in found.values()])
        return
    for recipe in found.values():
        print(f"{recipe.name}: {recipe.title}")
        print(f"  {recipe.homepage}  licence: {recipe.licence}")
        for part in recipe.parts:
            takes = {"model": " MODEL", "numbers": " NUMBERS"}.get(part.takes, "")
            unknown = next((f"; {file.unknown}" for file in part.files if file.unknown), "")
            print(f"  {part.name}{takes}{' (default)' if part.default else ''}: {part.help}{unknown}")
