"""The words of the page, in one file for each language."""

from __future__ import annotations

from functools import cache
from importlib import resources

from ilion.opening import parse_toml


@cache
def page_strings() -> dict[str, dict[str, str]]:
    """Return language -> name -> text."""
    folder = resources.files("ilion.serve") / "strings"
    return {
        file.name.removesuffix(".toml"): parse_toml(file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".toml")
    }
