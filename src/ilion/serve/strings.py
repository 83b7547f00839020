"""The words of the page, in one file for each language."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources


@cache
def page_strings() -> dict[str, dict[str, str]]:
    """Return language -> name -> text."""
    folder = resources.files("ilion.serve") / "strings"
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".toml")
    }
