"""Named parts that settings choose from, and the two ways in which parts from outside come in.

A room keeps one `Registry` of each kind of part. Its own modules register what they offer where they define
it, so a new part touches one file. From outside, the modules that installed packages name as entry points of
the group ``ilion`` register theirs in the same way; and a setting may name code directly, as
``module:attribute`` or ``file.py:attribute``, once the user has allowed that module or file
(`Registry.admit`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from ilion.errors import ConfigError

P = TypeVar("P")
F = TypeVar("F")
GROUP = "ilion"
"""Group of the entry points by which installed packages bring parts."""
_CODE = re.compile(r"(?P<file>.+\.py)?(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?:(?P<attribute>[A-Za-z_]\w*)")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part(Generic[P]):
    """A registered part.

    Args:
        name: What a setting names it by.
        make: The part itself, or what makes it; each registry says which.
        extra: Extra of Ilion that it needs, or "".
        note: A short remark for people.
        digest: Digest of the source of a part from outside, on which its results depend; "" for built-in
        ones.
    """

    name: str
    make: P
    extra: str = ""
    note: str = ""
    digest: str = ""


class Registry(Generic[P]):
    """The parts of one kind, by name.

    Args:
        kind: What the parts are, for messages, such as ``local features``.
        package: Package whose modules register the built-in parts; they are imported when a name is first
        asked for.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self._package = kind, package
        self._parts: dict[str, Part[P]] = {}
        self._complete = False

    def register(self, name: str, *, extra: str = "", note: str = "") -> Callable[[F], F]:
        """Return a decorator that adds a part under a name.

        Args:
            name: What settings call it; ``name:anything`` finds it too, and hands on all of it.
            extra: Extra of Ilion that it needs.
            note: A short remark for people.

        Raises:
            ConfigError: The name is taken by another part.

        >>> shapes = Registry("shapes", "")
        >>> @shapes.register("square")
        ... def area(side): return side * side
        >>> shapes.find("square").make(3)
        9
        """

        def add(make: F) -> F:
            self._add(Part(name, cast(P, make), extra, note, _digest(make)))
            return make

        return add

    def _add(self, part: Part[P]) -> None:
        known = self._parts.get(part.name)
        if known is not None and _origin(known.make) != _origin(part.make):
            raise ConfigError(
                f"{self.kind}: {part.name!r} is registered already, by {_origin(known.make)[0]}"
            )
        self._parts[part.name] = part

    def parts(self) -> tuple[Part[P], ...]:
        """Return all parts: built-in ones by module, then those from outside."""
        if not self._complete:
            self._complete = True  # first: the modules may ask for other parts while they are imported
            if self._package:
                package = import_module(self._package)
                for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
                    import_module(f"{self._package}.{module}")
            load_plugins()
        return tuple(
            sorted(self._parts.values(), key=lambda part: (part.digest != "", _origin(part.make)[0]))
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all parts."""
        return tuple(part.name for part in self.parts())

    def find(self, name: str, others: Iterable[str] = ()) -> Part[P]:
        """Return the part of a name; of ``family:anything`` the part ``family``.

        Args:
            name: What a setting says.
            others: Further names that it could have meant, for the message.

        Raises:
            ConfigError: There is none; the closest names are said.

        >>> Registry("shapes", "").find("squire")
        Traceback (most recent call last):
        ilion.errors.ConfigError: no shapes are named 'squire'; known are none
        """
        parts = {part.name: part for part in self.parts()}
        part = parts.get(name) or parts.get(name.partition(":")[0])
        if part is not None:
            return part
        if _CODE.fullmatch(name):
            raise ConfigError(
                f"{self.kind} {name!r}: this is code outside Ilion. If you trust it, say so: trust = "
                f'["{name.rpartition(":")[0]}"] in the experiment, or --set trust={name.rpartition(":")[0]}'
            )
        known = [*others, *parts]
        close = get_close_matches(name, known, n=2)
        hint = (
            f"did you mean {' or '.join(map(repr, close))}?"
            if close
            else f"known are {', '.join(known) or 'none'}"
        )
        verb = "are" if self.kind.endswith("s") else "is"
        raise ConfigError(f"no {self.kind} {verb} named {name!r}; {hint}")

    def admit(self, name: str, trust: Sequence[str] = ()) -> Part[P]:
        """Return the part of a name, and import it first if it is code that the user allows.

        Args:
            name: Name of a part, ``module:attribute`` or ``file.py:attribute``.
            trust: Modules and files that the user allows to run.

        Raises:
            ConfigError: There is no such part, its code is not allowed, or it cannot be imported.
        """
        where, _, attribute = name.rpartition(":")
        if where in trust and name not in self._parts and _CODE.fullmatch(name):
            self._add(Part(name, _imported(where, attribute), digest=_source_digest(where)))
        return self.find(name)


@cache
def load_plugins() -> None:
    """Import the modules that installed packages name in the group ``ilion``, which register their parts."""
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            entry.load()
        except Exception as error:
            log.warning(
                "the plugin %s (%s) cannot be loaded: %r; its parts are unknown",
                entry.name,
                entry.value,
                error,
            )


def _imported(where: str, attribute: str) -> Any:
    """Return what a module or file of the user calls by a name."""
    try:
        if where.endswith(".py"):
            module = sys.modules.get(key := f"ilion_outside_{_source_digest(where)}")
            if module is None:
                spec = importlib.util.spec_from_file_location(key, where)
                assert spec is not None and spec.loader is not None  # noqa: PT018 - a path to a .py file has both
                sys.modules[key] = module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
        else:
            module = import_module(where)
        return getattr(module, attribute)
    except Exception as error:
        raise ConfigError(f"{where}:{attribute} cannot be imported: {error!r}") from error


def _origin(make: object) -> tuple[str, str]:
    return getattr(make, "__module__", "?"), getattr(make, "__qualname__", repr(make))


def _digest(make: object) -> str:
    """Return a digest of the file that defines a part from outside; "" for built-in ones."""
    module = _origin(make)[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    if module.partition(".")[0] == __name__.partition(".")[0] or file is None:
        return ""
    return _source_digest(file)


def _source_digest(where: str) -> str:
    path = Path(where)
    if not where.endswith(".py"):
        file = getattr(sys.modules.get(where) or import_module(where), "__file__", None)
        path = Path(file or "")
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error}") from error
