"""The declared forms of stored JSON, and the one check of a file against them.

A form is a type as annotations write it: ``int``, ``list[str]``, ``Mapping[str, float]``,
``tuple[int, int]``, a `TypedDict`, a dataclass. So nothing that was damaged, changed by hand or written by
another version comes further than the line that loads it.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

LARGEST = 2**63
"""Whole numbers are smaller, and so are minus them."""


def find_misfit(value: object, form: Any, where: str = "", without: Collection[str] = ()) -> str:
    """Return what in a JSON value is not of its form, and where; "" if all is.

    Args:
        value: Value read from JSON.
        form: A type; see above. All required keys must be there; a dataclass has no others.
        where: The place of the value, for the message.
        without: Names of a dataclass's fields that are not stored.

    >>> find_misfit({"ids": ["a", 1]}, Mapping[str, list[str]])
    'ids[1] is 1, not str'
    >>> find_misfit([1, 2.5], list[float]), find_misfit(None, int | None)
    ('', '')
    """
    if form is Any or form is object:
        return ""
    kind, inner = get_origin(form), get_args(form)
    if kind in (Union, types.UnionType):
        misfits = [find_misfit(value, each, where) for each in inner]
        return "" if "" in misfits else misfits[0]
    if kind is Literal:
        return "" if value in inner else _say(where, value, f"one of {inner}")
    if dataclasses.is_dataclass(form) or is_typeddict(form):
        hints, required = _fields(form)
        stored = {name: hint for name, hint in hints.items() if name not in without}
        other = Any if is_typeddict(form) else None
        return _find_in_table(value, lambda key: stored.get(key, other), required - set(without), where)
    if kind in (dict, Mapping):
        return _find_in_table(value, lambda key: inner[1], frozenset(), where)
    if kind in (list, Sequence) or (kind is tuple and inner[-1] is Ellipsis):
        return _find_in_list(value, inner[0], where)
    if kind is np.ndarray:
        return _find_in_list(value, float | None, where)
    if kind is tuple:
        if not isinstance(value, list) or len(value) != len(inner):
            return _say(where, value, f"{len(inner)} values")
        pairs = enumerate(zip(value, inner, strict=True))
        return next(filter(None, (find_misfit(v, f, f"{where}[{n}]") for n, (v, f) in pairs)), "")
    return "" if _is(value, form) else _say(where, value, "null" if form is type(None) else form.__name__)


def _is(value: object, form: Any) -> bool:
    """Tell whether a plain value is of a plain type, and of a size that arrays hold."""
    if isinstance(value, bool) or form is bool:
        return isinstance(value, bool) and form is bool
    if isinstance(value, int):
        return form in (int, float) and -LARGEST < value < LARGEST
    if isinstance(value, str):
        return form is str and (value.isascii() or _is_text(value))
    return isinstance(value, form)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character, which nothing can write
        return False
    return True


def _find_in_list(value: object, form: Any, where: str) -> str:
    if not isinstance(value, list):
        return _say(where, value, "a list")
    # very many ids are looked at together
    if form is str and set(map(type, value)) <= {str} and _is_text("".join(value)):
        return ""
    return next(filter(None, (find_misfit(v, form, f"{where}[{n}]") for n, v in enumerate(value))), "")


def _find_in_table(value: object, form_of: Callable[[str], Any], required: frozenset[str], where: str) -> str:
    if not isinstance(value, dict):
        return _say(where, value, "a table")
    lacking = sorted(required - value.keys())
    if lacking:
        return f"{where or 'the table'} lacks {', '.join(map(repr, lacking))}"
    for key, each in value.items():
        form = form_of(key)
        if form is None:
            return f"{where or 'the table'} has {key!r}, which is not known here"
        if misfit := find_misfit(each, form, f"{where}.{key}" if where else key):
            return misfit
    return ""


@cache
def _fields(form: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return names with forms, and the required names."""
    hints = get_type_hints(form)
    if is_typeddict(form):
        # its own list of required keys is wrong where annotations are texts
        marked = get_type_hints(form, include_extras=True)
        return hints, frozenset(name for name, hint in marked.items() if get_origin(hint) is not NotRequired)
    fields = dataclasses.fields(form)
    empty = dataclasses.MISSING
    optional = {f.name for f in fields if f.default is not empty or f.default_factory is not empty}
    return {f.name: hints[f.name] for f in fields}, frozenset(hints.keys() - optional)


def _say(where: str, value: object, wanted: str) -> str:
    seen = repr(value)
    return f"{where or 'the whole'} is {seen if len(seen) < 60 else seen[:56] + ' ...'}, not {wanted}"
