"""Named parts that settings choose from, and the ways in which parts from outside come in.

A room keeps one `Registry` of each kind of part. Its own modules register what they offer where they define
it, so a new part touches one file. Parts from outside register in the same way: in the modules that installed
packages name as entry points of the group ``ilion``, in a script or notebook, or in a module or file that the
user allows with the setting ``trust``. A setting may also name allowed code directly, as
``module:attribute`` or ``file.py:attribute``.

Whatever is wrong with a part from outside is a sentence: what it is, when it is asked for (`Registry.admit`);
how it is called (`Registry.call`); what it does later, and what it gives (`answering_for_code`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import logging
import os
import pkgutil
import re
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from ilion.errors import ConfigError, IlionError
from ilion.opening import full_path, read_bytes

P = TypeVar("P")
F = TypeVar("F")
GROUP = "ilion"
"""Group of the entry points by which installed packages bring parts."""
CODE = re.compile(r"(?P<place>.+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*)")
"""How a setting names code: the module or file, and what it is called there."""
_SOURCES = (".py", ".so", ".pyd")
_LOCK = threading.RLock()
_digests: dict[str, str] = {}  # of the modules that were imported from a file, by their name in sys.modules
_places: set[str] = set()  # files and folders of code from outside that was asked for
_used: set[str] = set()  # names of the parts from outside that were asked for
_HELP = "docs/extending.md says what it needs"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part(Generic[P]):
    """A registered part.

    Args:
        name: Name of the part; of a file's code without the folder, so that it is the same on all machines.
        make: The part itself, or what makes it; each registry says which.
        extra: Extra of Ilion that it needs, or "".
        note: A short remark for people.
        digest: Digest of the source of a part from outside, which belongs to the fingerprint of its results;
            "" for built-in parts.
    """

    name: str
    make: P
    extra: str = ""
    note: str = ""
    digest: str = ""

    @property
    def origin(self) -> str:
        """``built-in``, or the package or file that it comes from."""
        module = _module(self.make)
        file = _short(_origin(self.make)[0]) if module in _digests else module.partition(".")[0]
        return file if self.digest else "built-in"


class Registry(Generic[P]):
    """The parts of one kind, by name.

    Args:
        kind: Name of the kind, for messages, such as ``local features``.
        package: Package whose modules register the built-in parts; they are imported when a name is first
            asked for.
        takes: Arguments of a part, for messages, such as ``(name, options)``.
        check: Function that says what a part from outside must be, "" where it is that; None takes whatever
            can be called.
    """

    def __init__(
        self, kind: str, package: str | None, *, takes: str = "", check: Callable[[object], str] | None = None
    ) -> None:
        self.kind, self._package, self._takes = kind, package, takes
        self._check = check or (lambda make: "" if callable(make) else "something that can be called")
        self._parts: dict[str, Part[P]] = {}
        self._complete = False

    def register(self, name: str, *, extra: str = "", note: str = "") -> Callable[[F], F]:
        """Return a decorator that adds a part under a name.

        Args:
            name: Name for settings; ``name:anything`` finds the part too, and what it makes gets all of it.
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
            self._add(name, Part(name, cast(P, make), extra, note, _digest(make)))
            return make

        return add

    def _add(self, name: str, part: Part[P]) -> None:
        if part.digest:
            self._refuse(name, part.make)
        with _LOCK:
            known = self._parts.get(name)
            if known is not None and _origin(known.make) != _origin(part.make):
                raise ConfigError(f"{self.kind}: {name!r} is registered already, by {_origin(known.make)[0]}")
            self._parts[name] = part

    def _refuse(self, name: str, make: object) -> None:
        """Refuse what cannot be a part of this kind.

        Raises:
            ConfigError: The part cannot be one.
        """
        if wanted := self._check(make):
            raise ConfigError(f"{self.kind} {name!r} must be {wanted}, not {_shown(make)}; {_HELP}")

    def call(self, part: Part[P], *arguments: object, **named: object) -> Any:
        """Call a part.

        Raises:
            ConfigError: One from outside takes other arguments, or fails.
        """
        make = cast(Callable[..., Any], part.make)
        if not part.digest:
            return make(*arguments, **named)
        try:
            inspect.signature(make).bind(*arguments, **named)
        except TypeError as error:
            called = self._takes or f"{len(arguments) + len(named)} arguments"
            raise ConfigError(
                f"{self.kind} {part.name!r} cannot be called with {called}: {error}; {_HELP}"
            ) from error
        except ValueError:  # compiled code does not say what it takes
            pass
        with answering_for_code():
            return make(*arguments, **named)

    def parts(self) -> tuple[Part[P], ...]:
        """Return all parts: built-in ones by module, then those from outside."""
        with _LOCK:
            if not self._complete:
                self._complete = True  # at once: the modules may ask for other parts while they are imported
                try:
                    if self._package:
                        package = import_module(self._package)
                        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
                            import_module(f"{self._package}.{module}")
                except BaseException:
                    self._complete = False
                    raise
                load_plugins()
            return tuple(
                sorted(self._parts.values(), key=lambda part: (part.digest != "", _module(part.make)))
            )

    def names(self) -> tuple[str, ...]:
        """Return the names of all parts."""
        return tuple(part.name for part in self.parts())

    def get(self, name: str) -> Part[P] | None:
        """Return the part of a name, of ``family:anything`` the part ``family``; None if there is none."""
        self.parts()
        return self._parts.get(name) or self._parts.get(name.partition(":")[0])

    def find(self, name: str) -> Part[P]:
        """Return the part of a name; of ``family:anything`` the part ``family``.

        Raises:
            ConfigError: There is none; the message names the closest ones.

        >>> Registry("shapes", "").find("squire")
        Traceback (most recent call last):
        ilion.errors.ConfigError: no shapes are named 'squire'; known are none
        """
        part = self.get(name)
        if part is not None:
            if part.digest:
                _used.add(f"{self.kind} {part.name!r}")
                _places.add(_place(_module(part.make)))
            return part
        family, colon, rest = name.partition(":")
        known = self.suggestions()
        close = [c + colon * (":" not in c) + rest for c in get_close_matches(family, known, n=2)]
        hints = [f"did you mean {' or '.join(map(repr, close))}?"] if close else []
        if code := CODE.fullmatch(name):
            allow = f'trust = ["{code["place"]}"]'
            hints.append(f"if it is code that you trust, allow it: {allow} in the experiment")
        said = " ".join(hints) or f"known are {', '.join(known) or 'none'}"
        verb = "are" if self.kind.endswith("s") else "is"
        failed = "".join(f"; the plugin {plugin}" for plugin in load_plugins())
        raise ConfigError(f"no {self.kind} {verb} named {name!r}; {said}{failed}")

    def suggestions(self) -> Sequence[str]:
        """Return the names that a wrong one could have meant."""
        return self.names()

    def admit(self, name: str, trust: Sequence[str] = ()) -> Part[P]:
        """Return the part of a name; code that the user allows is imported first.

        Args:
            name: Name of a part, ``module:attribute`` or ``file.py:attribute``; a registered ``family`` goes
                before a module of that name.
            trust: Modules and files that the user allows to run; of a module also what is inside it.

        Raises:
            ConfigError: There is no such part, its code is not allowed, or it cannot be imported.
        """
        if self.get(name) is None:
            for place in trust:
                load_code(place)  # where it may be registered
        code = CODE.fullmatch(name)
        if code and (name in self._parts or self.get(name) is None):
            place, attribute = code["place"], code["attribute"]
            if any(_within(place, allowed) for allowed in trust):
                module = load_code(place)
                with answering_for_code():  # a module may make its attributes when they are asked for
                    there = hasattr(module, attribute)
                if not there:
                    close = get_close_matches(attribute, vars(module), n=1)
                    hint = f"; did you mean {close[0]!r}?" if close else ""
                    raise ConfigError(f"{self.kind} {name!r}: {place} has no {attribute!r}{hint}")
                make, digest = cast(P, getattr(module, attribute)), _module_digest(module.__name__)
                self._refuse(short_name(name), make)
                with _LOCK:
                    self._parts[name] = Part(short_name(name), make, digest=digest)
        return self.find(name)


@cache
def load_plugins() -> tuple[str, ...]:
    """Import the modules that installed packages name in the group ``ilion``, which register their parts.

    Returns:
        A sentence for each that cannot be imported; it is logged as well.
    """
    failed = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            failed.append(
                f"{entry.name} ({entry.value}) cannot be loaded, its parts are unknown: {said_by(error)}"
            )
            log.warning("the plugin %s", failed[-1])
    return tuple(failed)


def load_code(place: str) -> ModuleType:
    """Import a module or file that the user allows; a file that has changed is imported anew.

    Args:
        place: Dotted name of a module, or path of a ``.py`` file. A file is imported under a name of its own,
            and its folder is not searched for what it imports; ``__init__.py`` is a package with its folder.

    Raises:
        ConfigError: The module or file does not exist or cannot be imported.
    """
    try:
        if not place.endswith(".py"):
            module = import_module(place)
            _places.add(_place(place))
            return module
        path = _file(place)
        digest = _source_digest(path)
        stem = re.sub(r"\W", "_", Path(_short(str(path))).stem)
        key = f"outside_{stem}_{hashlib.blake2b(f'{path} {digest}'.encode(), digest_size=8).hexdigest()}"
        with _LOCK:
            if key not in sys.modules:
                spec = importlib.util.spec_from_file_location(key, path)
                assert spec is not None and spec.loader is not None  # noqa: PT018 - a path to a .py file has both
                sys.modules[key], _digests[key] = importlib.util.module_from_spec(spec), digest
                # bytecode of a file that changes within a second and keeps its size would be that of before
                writes, sys.dont_write_bytecode = not sys.dont_write_bytecode, True
                try:
                    spec.loader.exec_module(sys.modules[key])
                except BaseException:
                    del sys.modules[key]
                    raise
                finally:
                    sys.dont_write_bytecode = not writes
            _places.add(_place(key))
            return sys.modules[key]
    except (Exception, SystemExit) as error:  # a script may end the program
        raise ConfigError(f"{place} cannot be imported: {said_by(error)}") from error


def check_made(what: str, made: object, spec: type) -> None:
    """Check that what a part from outside made can describe images.

    Args:
        what: The part, for messages.
        made: Object that the part made, with a method ``extract`` and a ``spec``.
        spec: Class of the ``spec``.

    Raises:
        ConfigError: The object lacks one of them.
    """
    if not callable(getattr(made, "extract", None)):
        raise ConfigError(f"{what} gave {_shown(made)}, which has no method extract(images); {_HELP}")
    with answering_for_code():
        found = getattr(made, "spec", None)
    if not isinstance(found, spec):
        raise ConfigError(f"{what} has a spec of {_shown(found)}; it must be one of {spec.__name__}; {_HELP}")


def said_by(error: BaseException) -> str:
    """Return the kind of an error and what it says, in one line.

    >>> said_by(ValueError("no\\n  number")), said_by(SystemExit(2)), said_by(KeyError())
    ('ValueError: no number', 'it ends the program (SystemExit)', 'KeyError')
    """
    if isinstance(error, SystemExit):
        return "it ends the program (SystemExit)"
    try:
        text = " ".join(str(error).split())
    except Exception:  # the error is of code from outside, too
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def answering_for_code() -> Iterator[None]:
    """Say in a sentence what goes wrong in code from outside, or with what it gave.

    Raises:
        ConfigError: Code from outside raised an error or ended the program; or something else went wrong
            while parts from outside are in use. What was raised is its cause.
    """
    try:
        yield
    except IlionError:
        raise
    except (Exception, SystemExit) as error:
        if blame := _blame(error):
            raise ConfigError(blame) from error
        raise


def _blame(error: BaseException) -> str:
    """Return a sentence on an error for which code from outside answers; "" where none does."""
    frames: list[traceback.FrameSummary] = []
    cause: BaseException | None = error
    while cause is not None:
        frames += traceback.extract_tb(cause.__traceback__)
        cause = cause.__cause__
    own = [frame for frame in frames if _is_outside(frame.filename)]
    if own:
        place = f"{own[-1].filename}:{own[-1].lineno}, in {own[-1].name}"
        return f"{place}: {said_by(error)}; mend it there, or leave the part out"
    # what the machine lacks is no fault of a part
    if _used and not isinstance(error, OSError | MemoryError | SystemExit):
        names = " or ".join(sorted(_used)[:3])
        return f"{names} gave what cannot be used ({said_by(error)}); {_HELP}, 'ilion -v' shows where"
    return ""


def _is_outside(file: str) -> bool:
    return any(file == place or file.startswith(f"{place}/") for place in _places if place)


def _place(module: str) -> str:
    """Return the file of a module, or the folder of the package that it lies in; "" for Ilion itself."""
    top = module.partition(".")[0]
    if top == __name__.partition(".")[0]:
        return ""
    file = getattr(sys.modules.get(top), "__file__", None) or getattr(sys.modules.get(module), "__file__", "")
    path = Path(file or "")
    return str(path.parent) if path.name == "__init__.py" else str(file or "")


def _shown(value: object) -> str:
    kinds = {"function": "a function", "type": "a class", "ABCMeta": "a class", "module": "a module"}
    name = getattr(value, "__qualname__", "")
    kind = kinds.get(type(value).__name__, type(value).__name__)
    return f"{kind} {name!r}" if name else kind


def _within(place: str, allowed: str) -> bool:
    """Tell whether a module or file is an allowed one, or a module inside an allowed one."""
    if place.endswith(".py") and allowed.endswith(".py"):
        return _file(place) == _file(allowed)
    return place == allowed or place.startswith(f"{allowed}.")


def _file(place: str) -> Path:
    return full_path(os.path.expanduser(place))


def short_name(name: str) -> str:
    """Return the name of a part without the folder of its file; other names stay as they are.

    >>> short_name("/home/me/own.py:model"), short_name("/home/me/own/__init__.py:model"), short_name("orb")
    ('own.py:model', 'own:model', 'orb')
    """
    code = CODE.fullmatch(name)
    return f"{_short(code['place'])}:{code['attribute']}" if code else name


def _short(place: str) -> str:
    """Return a module's name, or a file's without its folder; a package's file is named by the folder."""
    if not place.endswith(".py"):
        return place
    return Path(place).parent.name if Path(place).name == "__init__.py" else Path(place).name


def _module(make: object) -> str:
    return getattr(_inner(make), "__module__", None) or "?"


def _inner(make: object) -> object:
    return _inner(make.func) if isinstance(make, functools.partial) else make


def _origin(make: object) -> tuple[str, str]:
    """Return the file (or else module) that defines something, and its name there."""
    file = getattr(sys.modules.get(_module(make)), "__file__", None)
    return file or _module(make), getattr(_inner(make), "__qualname__", repr(make))


def _digest(make: object) -> str:
    """Return a digest of the source of a part from outside; "" for built-in ones."""
    module = _module(make)
    if module.partition(".")[0] == __name__.partition(".")[0]:
        return ""
    if getattr(sys.modules.get(module), "__file__", None):
        return _module_digest(module)
    try:  # a notebook has no file, but keeps the text of its cells
        text = inspect.getsource(cast(Any, _inner(make)))
    except (OSError, TypeError):
        text = uuid.uuid4().hex  # unknown code is never taken for what it was before
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@cache
def _module_digest(name: str) -> str:
    """Return a digest of the sources of a module's top package; cached, as the import is."""
    top = name.partition(".")[0]
    if top in _digests:
        return _digests[top]
    for module in (top, name):
        if file := getattr(sys.modules.get(module), "__file__", None):
            return _source_digest(Path(file))
    return hashlib.blake2b(sys.version.encode(), digest_size=8).hexdigest()  # compiled into Python


def _source_digest(path: Path) -> str:
    """Return a digest of a source file, or of all source files of the package whose ``__init__.py`` it is."""
    total = hashlib.blake2b(digest_size=8)
    if path.name != "__init__.py":
        total.update(read_bytes(path))
        return total.hexdigest()
    for source in sorted(p for p in path.parent.rglob("*") if p.suffix in _SOURCES):
        text = read_bytes(source)
        total.update(f"{source.relative_to(path.parent).as_posix()} {len(text)}\n".encode() + text)
    return total.hexdigest()
