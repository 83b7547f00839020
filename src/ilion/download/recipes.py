"""Recipes: the parts of a public data set, with their addresses, licence and checksums.

A recipe is a TOML file in ``recipes/``. All paths and file names stand in it (or in the checksum list that it
names, whose names are checked); nothing is named by a server's answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from ilion.config import from_dict
from ilion.download.settings import check_url
from ilion.errors import ConfigError
from ilion.opening import parse_toml, read_bytes
from ilion.types import Between

SEGMENT = re.compile(r"[A-Za-z0-9_+=,@-][A-Za-z0-9._+=,@-]{0,199}")
"""One part of a path: plain characters, not hidden, not `.` or `..`."""
_FIELD = re.compile(r"\{(?:(model)|(number|tens)(?::0?(1?[0-9])d)?)\}")
"""A field of a template: a plain name and a width, nothing that looks into values."""
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RecipeFile:
    """One file of a part.

    Args:
        path: Path below the source's base and below the local folder; may hold ``{model}``, ``{number}`` or
            ``{tens:05d}``.
        url: Address, where that is not the base with ``path``.
        checksum: 64 hex digits of a sha256; ``listed``: in the source's checksum list; ``first-use``: the
            digest of the first download is recorded and every later one must have it.
        size: Approximate bytes, shown before the server is asked; 0 if unknown.
        extract: Whether to extract the archive, in the folder that it lies in, and delete it.
        optional: Whether the source may lack it; that is said and is no error.
        unknown: Sentence about what could not be confirmed; such a file needs an address from the user.
    """

    path: str
    url: str = ""
    checksum: str = "first-use"
    size: Annotated[int, Between(0, 10**15)] = 0
    extract: bool = False
    optional: bool = False
    unknown: str = ""


@dataclass(frozen=True)
class Part:
    """Files that are wanted together.

    Args:
        name: Name on the command line.
        help: Description for people.
        default: Whether it is taken when no part is named.
        takes: Kind of its argument: none, a ``model``, or ``numbers``.
        numbers: Number of numbers, which go from ``first`` to ``first + numbers - 1``.
        first: The first number.
        listed: Pattern of file names in the checksum list; its n-th match, by number or name, is number n.
        folder: Local folder of listed files.
        size: Approximate bytes of a listed file; 0 if unknown.
        files: The files.
    """

    name: str
    help: str = ""
    default: bool = False
    takes: Literal["", "model", "numbers"] = ""
    numbers: Annotated[int, Between(0, 10**15)] = 0
    first: Annotated[int, Between(0, 10**15)] = 0
    listed: str = ""
    folder: str = ""
    size: Annotated[int, Between(0, 10**15)] = 0
    files: tuple[RecipeFile, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """One data set.

    Args:
        name: Name on the command line; also the default local folder.
        title: Title in one line.
        homepage: Address of its page for people.
        licence: Licence, shown before anything is fetched.
        base: Address that paths are below.
        checksums: Path of the source's list of ``sha256 address`` lines, or "".
        notes: Remarks for the user.
        confirmed: Source of the addresses.
        parts: Parts that can be asked for.
    """

    name: str
    title: str
    homepage: str
    licence: str
    base: str
    checksums: str = ""
    notes: str = ""
    confirmed: str = ""
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part:
        """Return a part by name.

        Raises:
            ConfigError: There is none of that name.
        """
        for part in self.parts:
            if part.name == name:
                return part
        known = ", ".join(part.name for part in self.parts)
        raise ConfigError(f"{self.name} has no part {name!r}; its parts are {known}")


def check_path(path: str, where: str) -> str:
    """Return ``path`` if it stays below any folder it is joined to.

    Raises:
        ConfigError: The path is absolute, hidden, has ``..``, or characters that file systems interpret.

    >>> check_path("yfcc100m/a_0.tar", "recipe")
    'yfcc100m/a_0.tar'
    >>> check_path("../a", "recipe")
    Traceback (most recent call last):
    ilion.errors.ConfigError: recipe: '../a' is no plain path below a folder
    """
    if not path or not all(SEGMENT.fullmatch(segment) for segment in path.split("/")):
        raise ConfigError(f"{where}: {path!r} is no plain path below a folder")
    return path


def parse_recipe(text: str | bytes, where: str) -> Recipe:
    """Read a recipe from TOML; ``where`` is its place for messages.

    Raises:
        ConfigError: The text is not TOML, a key is unknown, or an address, path or checksum is impossible.
    """
    try:
        recipe = from_dict(Recipe, parse_toml(text))
    except ValueError as error:
        raise ConfigError(f"{where}: not TOML ({error})") from None
    except TypeError as error:
        raise ConfigError(f"{where}: a key is missing ({error})") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    check_path(recipe.name, where)
    check_url(recipe.homepage, f"{where}: homepage")
    if recipe.base:
        check_url(recipe.base, f"{where}: base")
    if recipe.checksums:
        check_path(recipe.checksums, where)
    for part in recipe.parts:
        if part.folder:
            check_path(part.folder, where)
        if part.listed and not recipe.checksums:
            raise ConfigError(f"{where}: part {part.name} is listed, but the recipe names no checksum list")
        if part.takes == "numbers" and part.numbers < 1:
            raise ConfigError(f"{where}: part {part.name} takes numbers but does not say how many there are")
        for file in part.files:
            check_path(fill_template(file.path, "model", 0), where)
            if file.url:
                check_url(fill_template(file.url, "model", 0), f"{where}: {file.path}")
            if file.checksum not in ("listed", "first-use") and not DIGEST.fullmatch(file.checksum):
                raise ConfigError(
                    f"{where}: {file.path}: {file.checksum!r} is no sha256, listed or first-use"
                )
            if not (recipe.base or file.url or file.unknown):
                raise ConfigError(f"{where}: {file.path} has no address")
    return recipe


def load_recipes(more: Path | None = None) -> dict[str, Recipe]:
    """Read all recipes of the package, and those of a file or folder of the user.

    Args:
        more: TOML file, or folder of such; a recipe there replaces the package's one of the same name.

    Raises:
        ConfigError: A recipe is damaged.
    """
    texts = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in resources.files("ilion.download").joinpath("recipes").iterdir()
        if entry.name.endswith(".toml")
    }
    found = {}
    for name in sorted(texts):
        recipe = parse_recipe(texts[name], f"recipe {name}")
        found[recipe.name] = recipe
    if more is not None:
        files = sorted(more.glob("*.toml")) if more.is_dir() else [more]
        if not files:
            raise ConfigError(f"{more}: there is no recipe (*.toml) in this folder")
        for file in files:
            try:
                recipe = parse_recipe(read_bytes(file), str(file))
            except OSError as error:
                raise ConfigError(f"{file}: cannot be read ({error})") from None
            found[recipe.name] = recipe
    return found


def fill_template(template: str, model: str, number: int) -> str:
    """Put model and number in a path or address; ``tens`` is the number of a file that holds ten."""
    values: dict[str, str | int] = {"model": model, "number": number, "tens": number // 10}

    def fill(match: re.Match[str]) -> str:
        value = values[match[1] or match[2]]
        return f"{value:0{int(match[3] or 0)}d}" if isinstance(value, int) else value

    left = _FIELD.sub("", template)
    if "{" in left or "}" in left:
        raise ConfigError(
            f"{template!r}: a placeholder is unknown; known are {{model}}, {{number}} and {{tens}}, "
            "the last two also with a width of up to 19, as in {number:05d}"
        )
    return _FIELD.sub(fill, template)
