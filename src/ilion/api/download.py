"""Fetch public data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilion.errors import ConfigError
from ilion.pipeline import Progress
from ilion.types import Where

if TYPE_CHECKING:
    from ilion.download import Done, Plan, Recipe


def recipes(more: Where | None = None) -> dict[str, Recipe]:
    """List the data sets that can be downloaded, by name.

    Args:
        more: A recipe (TOML) of the user, or a folder of them.
    """
    from ilion.download import load_recipes

    return load_recipes(Path(more) if more else None)


def download(
    name: str,
    folder: Where | None = None,
    parts: Mapping[str, str] | None = None,
    *,
    mirrors: Sequence[str] = (),
    urls: Mapping[str, str] | None = None,
    recipe: Where | None = None,
    settings: Where | None = None,
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
        name: Name of a recipe; `recipes` lists them.
        folder: Folder of the files; by default one of that name.
        parts: Part -> what it takes (numbers such as ``0-9``, a model, or ""); None takes the default parts.
        mirrors: Addresses that stand for the source's, tried before it.
        urls: Local path of a file -> its address, where the recipe knows none or another is wanted.
        recipe: A recipe (TOML) of the user, or a folder of them.
        settings: A TOML file with network settings and mirrors; see docs/download.md.
        parallel: Number of files fetched at once; None leaves the setting.
        retries: Number of failures in a row after which an address is given up; None leaves the setting.
        confirm: Callback that receives sizes and licence once and says whether to go on; None means yes.
        refresh: See `ilion.download.download`, as for ``verify``, ``accept_changed`` and ``progress``.
    """
    from ilion.download import download as fetch
    from ilion.download.settings import load_settings

    known = recipes(recipe)
    if name not in known:
        raise ConfigError(f"there is no recipe {name!r}; there are {', '.join(sorted(known))}")
    options = load_settings(
        Path(settings) if settings else None,
        parallel=parallel,
        retries=retries,
        mirrors={name: tuple(mirrors)} if mirrors else None,
    )
    return fetch(
        known[name],
        Path(name if folder is None else folder),
        parts,
        settings=options,
        addresses=urls,
        confirm=confirm,
        refresh=refresh,
        verify=verify,
        accept_changed=accept_changed,
        progress=progress,
    )
