"""Catalogues of strings, one for each room and language, and numbers written for people.

A room that shows text has ``strings/en.toml`` and ``strings/ja.toml``. A sentence is one whole entry with
named placeholders, never put together from pieces, so that a language with another word order can follow. An
entry with plural forms is a table (``one``, ``other``), chosen by the value of the placeholder ``count``;
a further number says what it counts itself, as ``{queries:query|queries}``, and a word that only agrees with
a number has two colons, as ``{found::was|were}``.
What all rooms need (units, money, the rules of a language) stands in ``wording/strings``.
"""

from __future__ import annotations

import datetime
import math
import re
import string
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from ilion.errors import ConfigError
from ilion.opening import parse_toml

Entry = str | Mapping[str, str]
_FORMS = {"none": ("other",), "one-other": ("one", "other")}
_BYTES = (("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("tb", 1e12))
_CURRENCIES = {
    **dict.fromkeys(("円", "日本円", "yen", "¥", "￥"), "JPY"),
    **dict.fromkeys(("€", "euro", "euros", "ユーロ"), "EUR"),
}
"""Signs and words of currencies, in small letters."""
_PLURAL = re.compile(r"\{(\w+):(:?)([^|{}]+)\|([^|{}]+)\}")
_SECONDS = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0))


def languages(room: str = "wording") -> tuple[str, ...]:
    """Return the codes of the languages that a room speaks.

    >>> languages()
    ('en', 'ja')
    """
    folder = resources.files("ilion") / room / "strings"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def rooms() -> tuple[str, ...]:
    """Return the folders of the package that have catalogues of their own.

    >>> "report" in rooms()
    True
    """
    top = [f for f in resources.files("ilion").iterdir() if f.is_dir()]
    inner = [(f"{f.name}/{g.name}", g) for f in top for g in f.iterdir() if g.is_dir()]
    every = [(f.name, f) for f in top] + inner
    return tuple(sorted(name for name, f in every if (f / "strings" / "en.toml").is_file()))


@cache
def load_words(room: str, language: str) -> Words:
    """Load a catalogue and check that it says everything that the English one says.

    Args:
        room: One of `rooms`: the folder that shows the text, such as ``report`` or ``report/decision``.
        language: One of `languages`.

    Raises:
        ConfigError: There is no such language, or its catalogue does not match the English one.

    >>> load_words("serve", "en").milliseconds(12)
    '12 ms'
    """
    if language not in languages(room):
        raise ConfigError(
            f"{room} has no text in the language {language!r}; choose one of {', '.join(languages(room))}"
        )
    words = _read(room, language)
    problems = words.differences(_read(room, "en"))
    if problems:
        raise ConfigError(f"{room}/strings/{language}.toml does not match en.toml: {'; '.join(problems)}")
    return words


def _read(room: str, language: str) -> Words:
    both = [
        parse_toml((resources.files("ilion") / of / "strings" / f"{language}.toml").read_text("utf-8"))
        for of in dict.fromkeys(("wording", room))
    ]
    merged: dict[str, dict[str, Any]] = {}
    for part in both:
        for section, entries in part.items():
            merged.setdefault(section, {}).update(entries)
    return Words(language, merged)


def placeholders(entry: Entry) -> set[str]:
    """Return the names that an entry wants to be filled in.

    >>> sorted(placeholders("{a} of {count}"))
    ['a', 'count']
    """
    forms = [entry] if isinstance(entry, str) else list(entry.values())
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name is not None}


def _agreeing(place: re.Match[str], values: Mapping[str, object]) -> str:
    """Return a placeholder with what it counts, or a word alone, in the form that agrees with its value."""
    name, alone, one, other = place.groups()
    agreeing = one if values[name] == 1 else other
    return agreeing if alone else f"{{{name}}} {agreeing}"


def _replace(entry: Entry, old: str, new: str) -> Entry:
    if isinstance(entry, str):
        return entry.replace(old, new)
    return {form: text.replace(old, new) for form, text in entry.items()}


class Words:
    """One language's catalogue; calling it gives a string.

    Args:
        language: Code such as ``en``, for the ``lang`` attribute and for messages.
        catalogue: Section -> name -> entry. Section ``language`` holds the rules: ``plural`` is ``one-other``
            or ``none``, ``thousands``, ``decimal``, ``between_sentences`` and ``between_items`` are
            separators, ``unbroken`` marks beside which no line ends, ``date`` and ``months`` write a date,
            ``large`` names powers of ten as pairs of value and text.

    Raises:
        ConfigError: An entry is empty, or has other plural forms than the language.

    >>> words = Words("en", {"language": {"plural": "one-other", "thousands": ",", "decimal": "."},
    ...     "a": {"x": {"one": "{count} photo", "other": "{count} photos"}}})
    >>> words("a.x", count=1), words("a.x", count=1200)
    ('1 photo', '1,200 photos')
    """

    def __init__(self, language: str, catalogue: Mapping[str, Mapping[str, Any]]) -> None:
        self.language = language
        self.rules: Mapping[str, Any] = catalogue["language"]
        self.entries: dict[str, Entry] = {
            f"{section}.{name}": entry
            for section, names in catalogue.items()
            for name, entry in names.items()
            if section != "language"
        }
        for mark in self.rules.get("unbroken", ""):  # no line ends beside it
            self.entries = {key: _replace(e, mark, f"\u2060{mark}\u2060") for key, e in self.entries.items()}
        rule = self.rules["plural"]
        if rule not in _FORMS:
            raise ConfigError(
                f"strings/{language}.toml: [language] plural must be one of {', '.join(_FORMS)}"
            )
        for key, entry in self.entries.items():
            if isinstance(entry, Mapping) and tuple(sorted(entry)) != _FORMS[rule]:
                wanted = " and ".join(_FORMS[rule])
                raise ConfigError(f"strings/{language}.toml: {key} needs the plural forms {wanted}")
            if not all(form.strip() for form in ([entry] if isinstance(entry, str) else entry.values())):
                raise ConfigError(f"strings/{language}.toml: {key} is empty; write what it says")

    def _form(self, key: str, values: Mapping[str, object]) -> str:
        if key not in self.entries:
            raise ConfigError(f"strings/{self.language}.toml: {key} is missing; add it")
        entry = self.entries[key]
        wanted = placeholders(entry)
        if not isinstance(entry, str):
            count = values.get("count")
            if not isinstance(count, int):
                raise ConfigError(f"the string {key} has plural forms and needs a whole number as count")
            entry = entry["one" if self.rules["plural"] == "one-other" and count == 1 else "other"]
        if not wanted <= set(values):
            raise ConfigError(f"the string {key} lacks a value for {', '.join(sorted(wanted - set(values)))}")
        return _PLURAL.sub(lambda place: _agreeing(place, values), entry)

    def _shown(self, value: object) -> object:
        return self.integer(value) if isinstance(value, int) else value

    def __call__(self, key: str, **values: object) -> str:
        """Return a string with its placeholders filled in; whole numbers get the language's separators.

        Raises:
            ConfigError: The key or the value of a placeholder is missing.
        """
        return self._form(key, values).format(**{name: self._shown(value) for name, value in values.items()})

    def rich(self, key: str, **values: object) -> Markup:
        """Return a string as HTML, with every value escaped and set in bold; `Markup` is left as it is."""
        bold = {
            name: value if isinstance(value, Markup) else Markup("<b>{}</b>").format(self._shown(value))
            for name, value in values.items()
        }
        return Markup(escape(self._form(key, values))).format(**bold)

    def section(self, name: str) -> dict[str, Entry]:
        """Return the entries of a section by name, as a script of a page takes them."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): e for key, e in self.entries.items() if key.startswith(prefix)}

    def differences(self, reference: Words) -> list[str]:
        """Return what is missing, unknown or filled in differently, compared with another catalogue."""
        mine, theirs = self.entries, reference.entries
        problems = [f"{key} is missing" for key in theirs if key not in mine]
        problems += [f"{key} is unknown" for key in mine if key not in theirs]
        problems += [
            f"{key} must use {', '.join(sorted(placeholders(theirs[key]))) or 'no placeholders'}"
            for key in mine
            if key in theirs and placeholders(mine[key]) != placeholders(theirs[key])
        ]
        return problems

    def integer(self, value: int) -> str:
        """Write a whole number with separators."""
        return f"{value:,}".replace(",", str(self.rules["thousands"]))

    def number(self, value: float, decimals: int) -> str:
        """Write a number with fixed decimals; what is not a number becomes a dash."""
        if not math.isfinite(value):
            return self("table.none")
        whole, _, rest = f"{value:,.{decimals}f}".partition(".")
        whole = whole.replace(",", str(self.rules["thousands"]))
        return f"{whole}{self.rules['decimal']}{rest}" if rest else whole

    def significant(self, value: float, digits: int = 2) -> str:
        """Write a number with so many significant digits, never cutting a whole number short."""
        if value == 0 or not math.isfinite(value):
            return self.number(value, 0)
        return self.number(value, max(0, digits - 1 - math.floor(math.log10(abs(value)) + 1e-9)))

    def large(self, value: float, digits: int = 3) -> str:
        """Write a number that is only wanted roughly, with the language's word for its power of ten.

        >>> load_words("serve", "en").large(1_200_000), load_words("serve", "ja").large(1_200_000)
        ('1.2 million', '120万')
        """
        if not math.isfinite(value):
            return self("table.none")
        value = float(f"{value:.{digits}g}")
        named = [(power, text) for power, text in self.rules["large"] if abs(value) >= power]
        power, text = named[-1] if named else (1.0, "{value}")
        scaled = value / power
        decimals = next((d for d in range(digits) if math.isclose(round(scaled, d), scaled)), digits)
        return str(text).format(value=self.number(scaled, decimals))

    def money(self, value: float, currency: str) -> str:
        """Write an amount of money with three digits at least.

        Args:
            value: Amount in whole units of the currency.
            currency: Code such as ``JPY``, a sign or word for one (``円``, ``€``), or any other name,
                which is written behind.

        >>> load_words("serve", "ja").money(1_250_000, "JPY"), load_words("serve", "en").money(0.5, "EUR")
        ('125万円', '€0.50')
        """
        if not math.isfinite(value):
            return self("table.none")
        code = _CURRENCIES.get(currency.strip().lower(), currency)
        # nobody pays in hundredths of a yen
        whole = not value % 1 or (code == "JPY" and abs(value) >= 1)
        shown = self.large(abs(value)) if abs(value) >= 100 else self.number(abs(value), 0 if whole else 2)
        key = f"currency.{code}"
        text = self(key, value=shown) if key in self.entries else f"{shown} {currency}".strip()
        return f"−{text}" if value < 0 else text

    def date(self, day: datetime.date) -> str:
        """Write a date.

        >>> load_words("serve", "ja").date(datetime.date(2026, 11, 29))
        '2026年11月29日'
        """
        month = self.rules["months"][day.month - 1]
        return str(self.rules["date"]).format(year=day.year, month=month, day=day.day)

    def percent(self, fraction: float, decimals: int = 0) -> str:
        """Write a fraction as percent."""
        return self("unit.percent", value=self.number(100 * fraction, decimals))

    def points(self, difference: float, decimals: int = 1) -> str:
        """Write a difference of fractions in percentage points, with its sign.

        >>> load_words("report", "en").points(-0.0123), load_words("report", "en").points(0.0001)
        ('−1.2', '0.0')
        """
        shown = round(100 * difference, decimals)
        return (
            f"{'−' if shown < 0 else '+' if shown > 0 else ''}{self.number(abs(100 * difference), decimals)}"
        )

    def cost(self, value: float, unit: str, digits: int = 2) -> str:
        """Write a cost in ``ms`` or ``bytes``."""
        return self.milliseconds(value, digits) if unit == "ms" else self.size(value, digits)

    def sentences(self, sentences: Iterable[str]) -> str:
        """Put whole sentences one after the other."""
        return str(self.rules["between_sentences"]).join(sentences)

    def items(self, items: Iterable[str]) -> str:
        """Put names one after the other."""
        return str(self.rules["between_items"]).join(items)

    def milliseconds(self, value: float, digits: int = 2) -> str:
        """Write a short time."""
        if not math.isfinite(value):
            return self("table.none")
        if value >= 1000:
            return self.duration(value / 1000, digits)
        return self("unit.ms", value=self.significant(value, digits))

    def duration(self, seconds: float, digits: int = 2) -> str:
        """Write a time in the largest unit that leaves at least one and a half of it."""
        if not math.isfinite(seconds):
            return self("table.none")
        name, unit = [u for u in _SECONDS if seconds >= 1.5 * u[1]][-1:][0] if seconds >= 1.5 else _SECONDS[0]
        return self(f"unit.{name}", value=self.significant(seconds / unit, digits))

    def size(self, n_bytes: float, digits: int = 2) -> str:
        """Write a number of bytes, in decimal units."""
        if not math.isfinite(n_bytes):
            return self("table.none")
        if n_bytes < 1000:
            return self("unit.bytes", value=self.number(n_bytes, 0))
        name, unit = [u for u in _BYTES if n_bytes >= u[1]][-1]
        return self(f"unit.{name}", value=self.significant(n_bytes / unit, digits))
