"""Dataclasses to and from plain values and TOML.

A key that no dataclass has, a value of the wrong type or an impossible choice is an error that names the
place and, for a key, the closest known one.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from ilion.errors import ConfigError
from ilion.opening import parse_toml, read_bytes
from ilion.registry import Registry
from ilion.types import Between

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class PartOf:
    """Marks a setting that names a part: ``Annotated[str, PartOf(REGISTRY)]``.

    Args:
        registry: Registry of the parts.
        words: Further values that the setting may have, such as ``none``; one that ends in ``:`` allows all
            values that begin so.
        suffix: Regular expression of what may follow the name, such as a cut-off.
    """

    registry: Registry[Any]
    words: tuple[str, ...] = ()
    suffix: str = ""

    def split(self, value: str) -> tuple[str, str]:
        """Split a value into the name of a part and its suffix, which may be empty."""
        end = re.search(f"(?:{self.suffix})?$", value)
        return (value[: end.start()], end[0]) if end else (value, "")

    def excepts(self, value: str) -> bool:
        """Tell whether a value is one of the further ones."""
        return value in self.words or any(w.endswith(":") and value.startswith(w) for w in self.words)


@dataclasses.dataclass(frozen=True)
class PathFrom:
    """Marks a setting that holds a path, which starts at the folder of the experiment file.

    Args:
        prefix: Beginning of the values that hold a path after it; others are left as they are.
        words: Values that are not paths.
    """

    prefix: str = ""
    words: tuple[str, ...] = ()


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls, include_extras=True)
    return _HINTS[cls]


def map_marked(config: T, change: Callable[[str, Any, Any, Any], Any], where: str = "") -> T:
    """Return a copy of a config dataclass in which every marked setting is replaced.

    Args:
        config: A dataclass; the dataclasses in it are searched too.
        change: Callback that receives the setting's name (such as ``search.code``), its marker, its value and
            its default, and returns the new value; a setting with several markers is changed by each, and of
            a tuple each value (whose default is None).
        where: Prefix of the names.
    """
    hints = _hints(type(config))
    changed: dict[str, Any] = {}
    for f in dataclasses.fields(config):  # type: ignore[arg-type]
        value, path = getattr(config, f.name), f"{where}{f.name}"
        if dataclasses.is_dataclass(value):
            value = map_marked(value, change, f"{path}.")
        elif get_origin(hints[f.name]) is Annotated:
            for marker in get_args(hints[f.name])[1:]:
                if isinstance(value, tuple):
                    value = tuple(change(path, marker, each, None) for each in value)
                else:
                    value = change(path, marker, value, f.default)
        changed[f.name] = value
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a config dataclass from plain values.

    Args:
        cls: A dataclass whose fields are scalars, literals, tuples of scalars, or such dataclasses.
        values: As read from TOML.
        where: Prefix for messages, such as ``search``.

    Raises:
        ConfigError: Unknown key, wrong type or impossible choice.

    >>> from ilion.config.search import SearchConfig
    >>> from_dict(SearchConfig, {"k": 10}).k
    10
    >>> from_dict(SearchConfig, {"kk": 10})
    Traceback (most recent call last):
    ilion.errors.ConfigError: unknown setting 'kk'; did you mean 'k'?
    """
    hints = _hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in known:
            # the right name in the wrong section is a likelier mistake than another name
            close = _places_of(cls, key) or get_close_matches(key, known, n=1, cutoff=0.4)
            prefix = f"{where}." if where else ""
            meant = " or ".join(f"'{prefix}{each}'" for each in close)
            hint = f"; did you mean {meant}?" if close else f"; known are {', '.join(known)}"
            raise ConfigError(f"unknown setting '{path}'{hint}")
        arguments[key] = _convert(hints[key], value, path)
    return cls(**arguments)


def _places_of(cls: type, name: str) -> list[str]:
    """Return the settings of that name in the sections of a config dataclass, such as ``local.budget``."""
    found = []
    for section, hint in _hints(cls).items():
        if dataclasses.is_dataclass(hint):
            own = [name] if name in _hints(hint) else []  # type: ignore[arg-type]
            found += [f"{section}.{place}" for place in own + _places_of(hint, name)]  # type: ignore[arg-type]
    return found


def _convert(hint: Any, value: Any, path: str) -> Any:
    """Check one value against its annotation; integers are accepted where floats are expected."""
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(
            f"'{path}' holds the character U+0000, which no name and no text has: {value!a:.200}"
        )
    if get_origin(hint) is Annotated:
        hint, *markers = get_args(hint)
        value = _convert(hint, value, path)
        check_ranges(markers, value, path)
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"'{path}' must be a table, got {value!r:.200}")
        return from_dict(hint, value, path)  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin is Literal:
        choices = get_args(hint)
        if (type(value), value) not in [(type(choice), choice) for choice in choices]:
            said = ", ".join(str(choice) or '""' for choice in choices)
            named = {str(choice): choice for choice in choices}
            close = get_close_matches(str(value), named, n=1)
            meant = f"; did you mean {named[close[0]]!r}?" if close else ""
            raise ConfigError(f"'{path}' must be one of {said}, got {value!r:.200}{meant}")
        return value
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"'{path}' must be a list, got {value!r:.200}")
        return tuple(_convert(get_args(hint)[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if origin in (Union, types.UnionType):
        options = [a for a in get_args(hint) if a is not type(None)]
        return None if value is None else _convert(options[0], value, path)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"'{path}' must be {hint.__name__}, got {value!r:.200}")
    return value


def check_ranges(markers: Iterable[object], value: Any, path: str) -> None:
    """Check a setting against the ranges among its markers; of a list each value.

    Raises:
        ConfigError: A value lies outside.

    >>> check_ranges([Between(1, 10)], 11, "search.k")
    Traceback (most recent call last):
    ilion.errors.ConfigError: 'search.k' must be from 1 to 10, got 11
    """
    for marker in markers:
        if isinstance(marker, Between):
            for each in value if isinstance(value, tuple) else (value,):
                if not marker.holds(each):
                    raise ConfigError(f"'{path}' must be {marker}, got {each}")


def to_dict(config: Any) -> dict[str, Any]:
    """Return plain values, tuples as lists, None left out; the inverse of `from_dict`.

    >>> from ilion.config.evaluation import EvaluationConfig
    >>> to_dict(EvaluationConfig())["k"]
    1000
    """
    plain: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        elif isinstance(value, tuple):
            value = list(value)
        if value is not None:
            plain[f.name] = value
    return plain


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: The file is missing or not TOML; the message names file and line.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; 'ilion demo' writes an example") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return parse_toml(data)
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def dump_toml(config: Any) -> str:
    """Return a config as TOML text."""
    return tomli_w.dumps(to_dict(config))


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy with ``section.key=value`` settings applied; values are read as TOML, else as text.

    Raises:
        ConfigError: An override has no ``=`` or walks through something that is not a table.

    >>> apply_overrides({}, ["search.k=10", "extraction.model=siglip2-l-512"])
    {'search': {'k': 10}, 'extraction': {'model': 'siglip2-l-512'}}
    """
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override!r}: write it as section.key=value")
        try:
            value = parse_toml(f"v = {text}")["v"]
        except ValueError:
            value = text
        *sections, last = key.strip().split(".")
        table = result
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {override!r}: '{section}' is a value, not a section")
        table[last] = value
    return result
