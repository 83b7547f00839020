"""From a recipe and a request to a list of files, each with its address and checksum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import quote, urljoin

from ilion.download.recipes import DIGEST, Part, Recipe, RecipeFile, check_path, fill_template
from ilion.download.settings import check_url
from ilion.errors import ConfigError
from ilion.wording import counted

PARAMETER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Wanted:
    """One file to fetch: what a recipe says, with its placeholders filled in.

    Args:
        path: Local path below the folder, by ``/``.
        remote: Path below the base, "" for a file with an address of its own.
        url: Address at the source.
        sha256: Known digest, or "".
        policy: Origin of the digest: ``pinned``, ``listed`` or ``first-use``.
        size: Approximate bytes; 0 if unknown.
        extract: See `RecipeFile`.
        optional: See `RecipeFile`.
    """

    path: str
    remote: str
    url: str
    sha256: str
    policy: Literal["pinned", "listed", "first-use"]
    size: int = 0
    extract: bool = False
    optional: bool = False


def parse_numbers(text: str, first: int, count: int) -> tuple[int, ...]:
    """Read numbers such as ``0-9,12``.

    Raises:
        ConfigError: The text is no such list, or a number is outside ``first`` to ``first + count - 1``.

    >>> parse_numbers("0-2,5", 0, 10)
    (0, 1, 2, 5)
    """
    if text == "all":
        return tuple(range(first, first + count))
    numbers: set[int] = set()
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", piece)
        if match is None:
            raise ConfigError(f"{text!r} is no list of numbers; write something like 0-9,12 or all")
        low, high = int(match[1]), int(match[2] or match[1])
        last = first + count - 1
        if low > high or low < first or high > last:
            raise ConfigError(f"{piece.strip()!r}: numbers go from {first} to {last}, the lower one first")
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def parse_checksums(text: str, base: str, where: str) -> dict[str, str]:
    """Read a source's list of ``sha256 address`` lines, all of them below the address ``base``.

    Returns:
        Path below the base -> sha256.

    Raises:
        ConfigError: A line is no such pair, leads elsewhere, or two lines contradict each other.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) != 2 or not DIGEST.fullmatch(fields[0].lower()):
            raise ConfigError(f"{where}, line {number}: not a sha256 and an address: {line[:80]!r}")
        url = urljoin(base, fields[1].lstrip("*"))
        if not url.startswith(base):
            raise ConfigError(f"{where}, line {number}: {url!r} is not below {base}")
        path = check_path(url.removeprefix(base), f"{where}, line {number}")
        if found.setdefault(path, fields[0].lower()) != fields[0].lower():
            raise ConfigError(f"{where}, line {number}: {path} is there twice, with two checksums")
    if not found:
        raise ConfigError(f"{where}: the checksum list is empty")
    return found


def list_wanted(
    recipe: Recipe,
    parts: Mapping[str, str],
    checksums: Mapping[str, str] | None,
    addresses: Mapping[str, str] | None = None,
) -> tuple[Wanted, ...]:
    """List the files of the asked parts.

    Args:
        recipe: The recipe.
        parts: Part -> its argument (numbers as text, a model, or ""); empty takes the default parts.
        checksums: List of the source, where the recipe has one.
        addresses: Local path -> address given by the user for a file.

    Raises:
        ConfigError: A part is unknown, misses what it takes, or a file has no known address or checksum.
    """
    addresses = dict(addresses or {})
    chosen = dict(parts) or {part.name: "" for part in recipe.parts if part.default}
    files: dict[str, Wanted] = {}
    for name, given in chosen.items():
        for file in _files(recipe, recipe.part(name), given, checksums or {}, addresses, chosen):
            files.setdefault(file.path, file)
    unused = sorted(set(addresses).difference(files))
    if unused:
        raise ConfigError(f"--url names {unused[0]!r}, which is none of the wanted files: {', '.join(files)}")
    return tuple(files.values())


def needs_checksums(recipe: Recipe, parts: Mapping[str, str]) -> bool:
    """Return whether the asked parts need the source's checksum list."""
    names = list(parts) or [part.name for part in recipe.parts if part.default]
    chosen = [recipe.part(name) for name in names]
    return any(part.listed or any(f.checksum == "listed" for f in part.files) for part in chosen)


def _files(
    recipe: Recipe,
    part: Part,
    given: str,
    checksums: Mapping[str, str],
    addresses: Mapping[str, str],
    chosen: Mapping[str, str],
) -> list[Wanted]:
    if not part.takes and given:
        raise ConfigError(f"part {part.name} of {recipe.name} takes nothing, got {given!r}")
    if part.takes and not given:
        raise ConfigError(f"part {part.name} of {recipe.name} needs {part.takes}: {part.help}")
    if part.takes == "model" and not PARAMETER.fullmatch(given):
        raise ConfigError(f"{given!r} is no model name; names are such as vit_large_patch16_siglip_384.webli")
    numbers = parse_numbers(given, part.first, part.numbers) if part.takes == "numbers" else ()
    if part.listed:
        return _list_numbered(recipe, part, numbers, checksums)
    if part.takes == "model":
        # of descriptors of distractors, those of the asked shards
        shards = chosen.get("shards", "")
        numbers = parse_numbers(shards, 0, 10**6) if shards and shards != "all" else ()
    files = []
    for file in part.files:
        numbered = "{number" in file.path or "{tens" in file.path
        for number in numbers if numbered else (0,):
            files.append(_one(recipe, part, file, given, number, checksums, addresses))
    return files


def _one(
    recipe: Recipe,
    part: Part,
    file: RecipeFile,
    given: str,
    number: int,
    checksums: Mapping[str, str],
    addresses: Mapping[str, str],
) -> Wanted:
    path = check_path(fill_template(file.path, given, number), f"recipe {recipe.name}")
    own = addresses.get(path) or fill_template(file.url, given, number)
    if file.unknown and not addresses.get(path):
        raise ConfigError(
            f"{recipe.name}, part {part.name}: {file.unknown}; give its address: --url {path}=https://..."
        )
    digest, policy = "", "first-use"
    if DIGEST.fullmatch(file.checksum):
        digest, policy = file.checksum, "pinned"
    elif file.checksum == "listed":
        if path not in checksums:
            raise ConfigError(f"{recipe.name}: the source's checksum list has no {path}")
        digest, policy = checksums[path], "listed"
    return Wanted(
        path=path,
        remote="" if own else path,
        url=check_url(own or urljoin(recipe.base, quote(path)), path),
        sha256=digest,
        policy=policy,  # type: ignore[arg-type]
        size=file.size,
        extract=file.extract,
        optional=file.optional,
    )


def _list_numbered(
    recipe: Recipe, part: Part, numbers: tuple[int, ...], checksums: Mapping[str, str]
) -> list[Wanted]:
    """Take files of the checksum list by number."""
    found = [path for path in checksums if fnmatchcase(path.rpartition("/")[2], part.listed)]
    found.sort(key=_natural)
    files = []
    for number in numbers:
        if number - part.first >= len(found):
            raise ConfigError(
                f"{recipe.name}: the source's checksum list has {counted(len(found), 'file')} {part.listed}; "
                f"there is no number {number}"
            )
        remote = found[number - part.first]
        name = remote.rpartition("/")[2]
        path = f"{part.folder}/{name}" if part.folder else name
        url = urljoin(recipe.base, quote(remote))
        files.append(Wanted(path, remote, url, checksums[remote], "listed", part.size))
    return files


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Order names so that 2 comes before 10."""
    pieces = re.split(r"(\d+)", path)
    return [(1, int(piece), "") if piece.isdigit() else (0, 0, piece) for piece in pieces]
