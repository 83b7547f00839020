"""Fetch public data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilion.errors import ConfigError
from ilion.pipeline import Progress

if TYPE_CHECKING:
    from ilion.download import Done, Plan, Recipe


def recipes(more: Path | None = None) -> dict[str, Recipe]:
    """List the data sets that can be downloaded, by name.

    Args:
        more: A recipe (TOML) of the user, or a folder of them.
    """
    from ilion.download import load_recipes

    return load_recipes(more)


def download(
    name: str,
    folder: Path | None = None,
    parts: Mapping[str, str] | None = None,
    *,
    mirrors: Sequence[str] = (),
    urls: Mapping[str, str] | None = None,
    recipe: Path | None = None,
    settings: Path | None = None,
    parallel: int | None = None,
    retries: int | None = None,
    confirm: Callable[[Plan], bool] | None = None,
    refresh: bool = False,
    verify: bool = False,
    accept_changed: bool = False,
    progress: Progress | None = None,
) -> Done:
    """Fetch a public data set, or parts of it; what is there and verified is not fetched again.

    Args:
        name: As listed by `recipes`.
        folder: Where it goes; by default a folder of that name.
        parts: Part -> what it takes (numbers such as ``0-9``, a model, or ""); None takes the default parts.
        mirrors: Addresses that stand for the source's, tried before it.
        urls: Local path of a file -> its address, where the recipe knows none or another is wanted.
        recipe: A recipe (TOML) of the user, or a folder of them.
        settings: A TOML file with network settings and mirrors; see docs/download.md.
        parallel: Files fetched at once; None leaves the setting.
        retries: Failures in a row after which an address is given up; None leaves the setting.
        confirm: Asked once, with sizes and licence; None means yes.
        refresh: Fetch the source's checksum list anew.
        verify: Read all files again.
        accept_changed: Files recorded at first use may have changed.
        progress: Told of bytes.
    """
    from ilion.download import download as fetch
    from ilion.download.settings import load_settings

    known = recipes(recipe)
    if name not in known:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(sorted(known))}")
    options = load_settings(
        settings, parallel=parallel, retries=retries, mirrors={name: tuple(mirrors)} if mirrors else None
    )
    return fetch(
        known[name],
        folder if folder is not None else Path(name),
        parts,
        settings=options,
        addresses=urls,
        confirm=confirm,
        refresh=refresh,
        verify=verify,
        accept_changed=accept_changed,
        progress=progress,
    )
