"""English sentences that were said elsewhere, in the language of a page.

What runs store and what errors say is English. The English catalogue of a room has each form of such a
sentence as an entry; what fits one is said by the entry of the page's language, and what fits none stays.
"""

from __future__ import annotations

import re
from functools import cache

from ilion.wording.catalogue import Words, load_words

_PLACE = re.compile(r"\\\{(\w+)\\\}")
_AGREES = re.compile(r"\\\{\w+::(.+?)\\\|(.+?)\\\}")
_COUNTS = re.compile(r"\\\{(\w+):(.+?)\\\|(.+?)\\\}")
_NUMBER = re.compile(r"\d+|\d{1,3}(,\d{3})+")
OTHER = "other"
"""Entry of a section that says what no other one does; it is never found in a text."""
_DEEPEST = 3
"""Sections inside each other that are looked through to tell where a value ends."""


def reword(text: str, section: str, words: Words, room: str) -> str:
    """Return an English text in the language of a page; as it is where no entry of the section is like it.

    A value is a text, too, where its placeholder is named like a section: the ``{remedy}`` of a problem.

    Args:
        text: The text.
        section: Section of the catalogues.
        words: The catalogue.
        room: Room that the catalogue of strings belongs to.
    """
    return text if words.language == "en" else _say(text, section, words, room)


def entry_of(text: str, section: str, room: str) -> str:
    """Return the name of the entry of a section that an English text is made by; "" for none.

    >>> entry_of("there is no such file", "refusal", "serve")
    'no_file'
    """
    found = _find(text, section, room)
    return found[0] if found else ""


def _say(text: str, section: str, words: Words, room: str) -> str:
    found = _find(text, section, room)
    if found is None:
        return text
    name, match = found
    values = {
        key: int(v.replace(",", "")) if _NUMBER.fullmatch(v) else _say(v, key, words, room)
        for key, v in match.groupdict().items()
    }
    return words(f"{section}.{name}", **values)


def _find(text: str, section: str, room: str) -> tuple[str, re.Match[str]] | None:
    # first as if every value were one that its section knows: names may hold what stands between values
    for strict in (True, False):
        for name, pattern in _patterns(section, room, strict):
            if found := pattern.fullmatch(text):
                return name, found
    return None


@cache
def _patterns(section: str, room: str, strict: bool) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return what each English entry of a section looks like when it is filled in, in all its forms."""
    return tuple(
        (name, re.compile(_PLACE.sub(lambda place: _value(place[1], room, strict), form), re.DOTALL))
        for name, form in _forms(section, room)
    )


def _value(name: str, room: str, strict: bool) -> str:
    known = _any_of(name, room, _DEEPEST) if strict else ""
    return f"(?P<{name}>{known or '.+?'})"


def _any_of(section: str, room: str, depth: int) -> str:
    """Return what matches any text of a section; "" where there is no such section."""
    if not depth:
        return ""
    return "|".join(
        _PLACE.sub(lambda place: f"(?:{_any_of(place[1], room, depth - 1) or '.+?'})", form)
        for _, form in _forms(section, room)
    )


@cache
def _forms(section: str, room: str) -> tuple[tuple[str, str], ...]:
    """Return each form of each entry as it is escaped; those that say most come first."""
    forms = [
        (name, form)
        for name, entry in load_words(room, "en").section(section).items()
        if name != OTHER
        for form in ([entry] if isinstance(entry, str) else entry.values())
    ]
    forms.sort(key=lambda each: -len(re.sub(r"\{\w+\}", "", each[1])))
    plain = ((name, _AGREES.sub(r"(?:\1|\2)", re.escape(form))) for name, form in forms)
    escaped = ((name, _COUNTS.sub(r"\\{\1\\}\\ (?:\2|\3)", form)) for name, form in plain)
    return tuple((name, form.replace(r"\{\{", r"\{").replace(r"\}\}", r"\}")) for name, form in escaped)
