"""Filters as people write them: ``category=valve and (site=Osaka or site=Kobe)``.

A filter becomes one condition of SQL whose every value is bound as a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches

from ilion.errors import ConfigError
from ilion.wording import counted

LONGEST = 2000
"""Characters of a filter."""
DEEPEST = 20
"""Parentheses inside each other."""
_TOKEN = re.compile(
    r"""\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(!=|<=|>=|[=<>~(),])|([^\s()=!<>~,"']+))"""
)
_COLUMNS = {"id": "photos.id", "source": "photos.path"}
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~")


@dataclass(frozen=True)
class Condition:
    """A condition on photos.

    Args:
        sql: Condition on the table ``photos``, with ``?`` for each value.
        values: The values.
        labels: Names of labels that it asks about.
    """

    sql: str
    values: tuple[str | float, ...]
    labels: frozenset[str] = frozenset()


def parse_where(text: str, known: Collection[str] | None = None) -> Condition:
    """Read a filter.

    Comparisons are ``name=value``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` (as numbers where the value is one),
    ``~`` (contains), ``name in (a, b)``; they are put together by ``and``, ``or``, ``not`` and parentheses.
    A name is that of a label, or ``object``, ``id``, ``source``, ``added`` (a date). Values with spaces stand
    in quotes. A photo without the label is not equal to any value.

    Args:
        text: The filter.
        known: Names of the labels that photos have; others are refused. None allows all.

    Raises:
        ConfigError: The filter cannot be read; the message shows where.

    >>> parse_where("object=valve-17").sql
    'EXISTS (SELECT 1 FROM views WHERE photo = photos.number AND object = ?)'
    >>> parse_where("size >= 10 or not id ~ 'a b'").values
    ('size', 10.0, 'a b')
    >>> parse_where("colour =")
    Traceback (most recent call last):
    ilion.errors.ConfigError: filter 'colour =': a value is missing at the end
    """
    if len(text) > LONGEST:
        raise ConfigError(f"the filter has {counted(len(text), 'character')}; at most {LONGEST} are read")
    parser = _Parser(text)
    condition = parser.parse()
    if known is not None:
        for name in sorted(condition.labels - set(known)):
            close = get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known)) or 'none'}"
            )
            raise ConfigError(f"filter {text!r}: no photo has a label {name!r}; {hint}")
    return condition


@dataclass
class _Parser:
    text: str
    tokens: list[tuple[str, str, int]] = field(default_factory=list)
    at: int = 0
    depth: int = 0

    def parse(self) -> Condition:
        place, end = 0, len(self.text.rstrip())
        while place < end:
            match = _TOKEN.match(self.text, place)
            if match is None:
                raise self._wrong(f"cannot be read from character {place + 1} on")
            quoted, sign, word = match.groups()
            kind = "text" if quoted else "sign" if sign else "word"
            value = re.sub(r"\\(.)", r"\1", quoted[1:-1]) if quoted else sign or word
            self.tokens.append((kind, value, match.start(match.lastindex or 0) + 1))
            place = match.end()
        found = self._any()
        if self.at < len(self.tokens):
            raise self._wrong(f"{self._seen()!r} is too much")
        return found

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("word", "or"):
            parts.append(self._all())
        return _join(" OR ", parts)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("word", "and"):
            parts.append(self._one())
        return _join(" AND ", parts)

    def _one(self) -> Condition:
        if self.depth >= DEEPEST:
            raise self._wrong(f"is nested more than {DEEPEST} times")
        self.depth += 1
        try:
            if self._take("word", "not"):
                inner = self._one()
                return Condition(f"NOT {inner.sql}", inner.values, inner.labels)
            if self._take("sign", "("):
                inner = self._any()
                self._need(")")
                return Condition(f"({inner.sql})", inner.values, inner.labels)
            return self._comparison()
        finally:
            self.depth -= 1

    def _comparison(self) -> Condition:
        name = self._value("a name").lower()
        if self._take("word", "in"):
            self._need("(")
            values = [self._value("a value")]
            while self._take("sign", ","):
                values.append(self._value("a value"))
            self._need(")")
            inner = _join(" OR ", [self._compare(name, "=", value) for value in values])
            return Condition(f"({inner.sql})", inner.values, inner.labels)
        kind, operator, _ = self.tokens[self.at] if self.at < len(self.tokens) else ("", "", 0)
        if kind != "sign" or operator not in _OPERATORS:
            raise self._wrong(f"one of {' '.join(_OPERATORS)} is missing {self._place()}")
        self.at += 1
        return self._compare(name, operator, self._value("a value"))

    def _compare(self, name: str, operator: str, value: str) -> Condition:
        if operator == "!=":
            equal = self._compare(name, "=", value)
            return Condition(f"NOT {equal.sql}", equal.values, equal.labels)
        if name == "added":
            try:
                moment = datetime.fromisoformat(value).astimezone().timestamp()
            except (ValueError, OverflowError, OSError):
                raise self._wrong(f"{value!r} is no date; write it as 2026-11-29") from None
            return Condition(f"photos.added {'=' if operator == '~' else operator} ?", (moment,))
        compared, values = _compared(operator, value)
        if name in _COLUMNS:
            return Condition(compared.format(_COLUMNS[name]), values)
        if name == "object":
            inner = f"SELECT 1 FROM views WHERE photo = photos.number AND {compared.format('object')}"
            return Condition(f"EXISTS ({inner})", values)
        inner = "SELECT 1 FROM labels WHERE photo = photos.number AND name = ? AND "
        return Condition(f"EXISTS ({inner}{compared.format('value')})", (name, *values), frozenset((name,)))

    def _take(self, kind: str, value: str) -> bool:
        if self.at < len(self.tokens):
            found = self.tokens[self.at]
            if found[0] == kind and found[1].lower() == value:
                self.at += 1
                return True
        return False

    def _need(self, sign: str) -> None:
        if not self._take("sign", sign):
            raise self._wrong(f"{sign!r} is missing {self._place()}")

    def _value(self, what: str) -> str:
        if self.at == len(self.tokens) or self.tokens[self.at][0] == "sign":
            raise self._wrong(f"{what} is missing {self._place()}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _place(self) -> str:
        return f"before {self._seen()!r}" if self.at < len(self.tokens) else "at the end"

    def _seen(self) -> str:
        return self.text[self.tokens[self.at][2] - 1 :][:20]

    def _wrong(self, why: str) -> ConfigError:
        return ConfigError(f"filter {self.text!r}: {why}")


def _join(word: str, parts: list[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    values = tuple(value for part in parts for value in part.values)
    labels = frozenset(name for part in parts for name in part.labels)
    return Condition(f"({word.join(part.sql for part in parts)})", values, labels)


def _compared(operator: str, value: str) -> tuple[str, tuple[str | float, ...]]:
    """Return a comparison of ``{}`` with a value, as a number where an order is asked for and it is one."""
    if operator == "~":
        return "instr({}, ?) > 0", (value,)
    if operator != "=":
        try:
            return f"CAST({{}} AS REAL) {operator} ?", (float(value),)
        except ValueError:
            pass
    return f"{{}} {operator} ?", (value,)
