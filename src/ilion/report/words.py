"""All words of the report: a catalogue for each language, and numbers written for people.

A sentence is one whole entry with named placeholders, never put together from pieces, so that a language
with another word order can follow. An entry with plural forms is a table (``one``, ``other``), chosen by the
value of the placeholder ``count``.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from markupsafe import Markup, escape

from ilion.errors import ConfigError
from ilion.opening import parse_toml

Entry = str | Mapping[str, str]
_FORMS = {"none": ("other",), "one-other": ("one", "other")}
_BYTES = (("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("tb", 1e12))
_SECONDS = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0))


def languages() -> tuple[str, ...]:
    """Return the languages that have a catalogue.

    >>> "en" in languages()
    True
    """
    folder = resources.files("ilion.report") / "strings"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def load_words(language: str) -> Words:
    """Load a catalogue and check that it says everything that the English one says.

    Raises:
        ConfigError: There is no such language, or its catalogue does not match the English one.

    >>> load_words("en")("unit.ms", value="12")
    '12 ms'
    """
    if language not in languages():
        raise ConfigError(f"the report has no language {language!r}; choose one of {', '.join(languages())}")
    words = _read(language)
    problems = words.differences(_read("en"))
    if problems:
        raise ConfigError(f"strings/{language}.toml does not match strings/en.toml: {'; '.join(problems)}")
    return words


def _read(language: str) -> Words:
    text = (resources.files("ilion.report") / "strings" / f"{language}.toml").read_text("utf-8")
    return Words(language, parse_toml(text))


def placeholders(entry: Entry) -> set[str]:
    """Return the names that an entry wants to be filled in.

    >>> sorted(placeholders("{a} of {count}"))
    ['a', 'count']
    """
    forms = [entry] if isinstance(entry, str) else list(entry.values())
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name is not None}


class Words:
    """One language's catalogue; calling it gives a string.

    Args:
        language: Code such as ``en``, for the ``lang`` attribute and for messages.
        catalogue: Section -> name -> entry. ``[language] plural`` is ``one-other`` or ``none``,
            ``[language] thousands`` and ``[language] decimal`` are the separators.

    Raises:
        ConfigError: An entry is neither a string nor a table with the language's plural forms.

    >>> words = Words("en", {"language": {"plural": "one-other", "thousands": ",", "decimal": "."},
    ...     "a": {"x": {"one": "{count} photo", "other": "{count} photos"}}})
    >>> words("a.x", count=1), words("a.x", count=1200)
    ('1 photo', '1,200 photos')
    """

    def __init__(self, language: str, catalogue: Mapping[str, Mapping[str, Entry]]) -> None:
        self.language = language
        self.entries: dict[str, Entry] = {
            f"{section}.{name}": entry
            for section, names in catalogue.items()
            for name, entry in names.items()
        }
        self._rule = str(self._entry("language.plural"))
        if self._rule not in _FORMS:
            raise ConfigError(
                f"strings/{language}.toml: [language] plural must be one of {', '.join(_FORMS)}"
            )
        for key, entry in self.entries.items():
            if isinstance(entry, Mapping) and tuple(sorted(entry)) != _FORMS[self._rule]:
                wanted = " and ".join(_FORMS[self._rule])
                raise ConfigError(f"strings/{language}.toml: {key} needs the plural forms {wanted}")

    def _entry(self, key: str) -> Entry:
        if key not in self.entries:
            raise ConfigError(f"strings/{self.language}.toml: {key} is missing; add it")
        return self.entries[key]

    def _form(self, key: str, values: Mapping[str, object]) -> str:
        entry = self._entry(key)
        wanted = placeholders(entry)
        if not isinstance(entry, str):
            count = values.get("count")
            if not isinstance(count, int):
                raise ConfigError(f"the string {key} has plural forms and needs a whole number as count")
            entry = entry["one" if self._rule == "one-other" and count == 1 else "other"]
        if not wanted <= set(values):
            raise ConfigError(f"the string {key} lacks a value for {', '.join(sorted(wanted - set(values)))}")
        return entry

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
        return f"{value:,}".replace(",", str(self.entries["language.thousands"]))

    def number(self, value: float, decimals: int) -> str:
        """Write a number with fixed decimals; what is not a number becomes a dash."""
        if not math.isfinite(value):
            return self("table.none")
        whole, _, rest = f"{value:,.{decimals}f}".partition(".")
        whole = whole.replace(",", str(self.entries["language.thousands"]))
        return f"{whole}{self.entries['language.decimal']}{rest}" if rest else whole

    def significant(self, value: float, digits: int = 2) -> str:
        """Write a number with so many significant digits, never cutting a whole number short."""
        if value == 0 or not math.isfinite(value):
            return self.number(value, 0)
        return self.number(value, max(0, digits - 1 - math.floor(math.log10(abs(value)) + 1e-9)))

    def percent(self, fraction: float, decimals: int = 0) -> str:
        """Write a fraction as percent."""
        return self("unit.percent", value=self.number(100 * fraction, decimals))

    def cost(self, value: float, unit: str, digits: int = 2) -> str:
        """Write a cost in ``ms`` or ``bytes``."""
        return self.milliseconds(value, digits) if unit == "ms" else self.size(value, digits)

    def sentences(self, sentences: Iterable[str]) -> str:
        """Put whole sentences one after the other."""
        return str(self.entries["language.between_sentences"]).join(sentences)

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
