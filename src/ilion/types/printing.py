"""How values print themselves: on a few lines, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from textwrap import shorten, wrap
from typing import Any

import numpy as np

PRINTED = 2
"""Items of a list or table that are printed."""


class Value:
    """A value that prints itself on a few lines: arrays by type and shape, long lists by their number.

    >>> from ilion.types import Descriptors
    >>> Descriptors(tuple("abcde"), np.eye(5, dtype=np.float32))
    Descriptors(ids=('a', 'b', ... 5 in all), values=float32 (5, 5))
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__repr__ = Value.__repr__  # type: ignore[method-assign]  # or `dataclass` writes one of its own

    def __repr__(self) -> str:
        lines = wrap(printed(self), 110, subsequent_indent="  ", max_lines=6, placeholder=" ...)")
        return "\n".join(lines)


def printed(value: object, depth: int = 2) -> str:
    """Return a value as one line of bounded length.

    Args:
        value: Anything.
        depth: Levels of containers and values inside that are shown.

    >>> printed({"mAP": 0.123456789, "ids": list("abcdef")})
    "{'mAP': 0.123457, 'ids': ['a', 'b', ... 6 in all]}"
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Value) or (is_dataclass(value) and not isinstance(value, type)):
        names = [f.name for f in fields(value)] if is_dataclass(value) else vars(value)
        shown = {n: getattr(value, n) for n in names if not n.startswith("_")}
        told = [f"{n}={printed(v, depth - 1)}" for n, v in shown.items() if not _nothing(v)]
        text = f"{type(value).__name__}({', '.join(told)})"
        return text if depth == 2 else shorten(text, 72, placeholder=" ...)")
    if type(value).__repr__ is object.__repr__:  # an address says nothing; a model has a name
        return f"{type(value).__name__}({getattr(getattr(value, 'spec', None), 'name', '')})"
    if not isinstance(value, Mapping | tuple | list):
        return shorten(repr(value), 72, placeholder=" ...")
    left, right = ("{", "}") if isinstance(value, Mapping) else "()" if isinstance(value, tuple) else "[]"
    if not depth and value:
        return f"{left}{len(value)} in all{right}"
    pairs: Iterable[Any] = value.items() if isinstance(value, Mapping) else value
    items = [
        f"{item[0]!r}: {printed(item[1], depth - 1)}" if left == "{" else printed(item, depth - 1)
        for item in islice(pairs, PRINTED)
    ]
    return f"{left}{', '.join(items)}{f', ... {len(value)} in all' if len(value) > PRINTED else ''}{right}"


def _nothing(value: object) -> bool:
    return value is None or (isinstance(value, str | tuple | Mapping) and not value)
