"""JSON and TOML of people and of files: the one place that parses them, with one kind of error."""

from __future__ import annotations

import codecs
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

DEEPEST = 100
"""Most levels of lists and tables; what people and programs write here is below ten."""
_TOO_DEEP = "nested too deeply"
_LONG_NUMBER = re.compile(r"[\d_]{309}|0[xob][\da-fA-F_]{256}")
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}


def parse_json(data: bytes | str, **hooks: Any) -> Any:
    """Read JSON, also behind a byte order mark or in UTF-16.

    Args:
        data: Content of a file.
        hooks: Arguments of `json.loads`.

    Raises:
        ValueError: The text is no JSON, nested beyond reason, or has a number that no float can hold.

    >>> parse_json(b'[1]'), parse_json("[1]".encode("utf-16"))
    ([1], [1])
    """
    text = data if isinstance(data, str) else _decode(data)
    try:
        return _check(json.loads(text, **hooks), text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def parse_toml(data: bytes | str) -> dict[str, Any]:
    """Read TOML, also behind a byte order mark or in UTF-16, as editors and shells on Windows write it.

    Raises:
        ValueError: The text is no TOML, nested beyond reason, or in another encoding.

    >>> parse_toml("name = 'x'".encode("utf-16"))
    {'name': 'x'}
    """
    text = data if isinstance(data, str) else _decode(data)
    try:
        found: dict[str, Any] = _check(tomllib.loads(text.replace("\r\n", "\n")), text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return found


def _check(value: Any, text: str) -> Any:
    """Return a value that is not nested too deeply, with no number that is none to whoever reads it."""
    if _LONG_NUMBER.search(text) and any(_is_too_large(each) for each in _leaves(value)):
        raise ValueError("a number of more than 308 digits")
    if sum(map(text.count, "[{.")) > DEEPEST:  # each level needs one, in TOML perhaps only a dot
        level = [value]
        for _ in range(DEEPEST):
            parts = (each.values() if isinstance(each, dict) else each for each in level)
            level = [inner for each in parts for inner in each if isinstance(inner, (dict, list))]
        if level:
            raise ValueError(_TOO_DEEP)
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the values inside lists and tables; not by calling itself, as they may lie deep."""
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, (dict, list)):
            rest.extend(each.values() if isinstance(each, dict) else each)
        else:
            yield each


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > sys.float_info.max


def _decode(data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no {encoding.upper()}; save the file as UTF-8") from None
