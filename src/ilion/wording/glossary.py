"""The glossary: one word for one thing, in every language, and what is not written instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ilion.opening import parse_toml


@dataclass(frozen=True)
class Term:
    """A term in every language.

    Args:
        key: Name of the term.
        text: Language -> how it is written.
        means: Meaning, in English.
        avoid: Language -> regular expressions of what is not written instead.
    """

    key: str
    text: dict[str, str]
    means: str
    avoid: dict[str, tuple[str, ...]]


@cache
def load_glossary() -> tuple[Term, ...]:
    """Return all terms in the order of the file.

    >>> load_glossary()[0].text["ja"]
    '物体'
    """
    text = (resources.files("ilion.wording") / "glossary.toml").read_text("utf-8")
    return tuple(
        Term(
            key,
            {"en": entry["en"], "ja": entry["ja"]},
            entry["means"],
            {language: tuple(entry.get(f"avoid_{language}", ())) for language in ("en", "ja")},
        )
        for key, entry in parse_toml(text).items()
    )


def unwanted(text: str, language: str) -> list[str]:
    """Return what a text says in words that the glossary rules out, each with the word to write.

    Args:
        text: Anything that people read.
        language: Language of the text.

    >>> unwanted("オブジェクトの写真", "ja")
    ['オブジェクト: write 物体']
    """
    return [
        f"{found[0]}: write {term.text[language]}"
        for term in load_glossary()
        for pattern in term.avoid[language]
        if (found := re.search(pattern, text, re.IGNORECASE))
    ]


def glossary_page() -> str:
    """Return the page of the documentation."""
    rows = [f"| {t.text['en']} | {t.text['ja']} | {t.means} |" for t in load_glossary()]
    return "\n".join(
        [
            "# Glossary",
            "",
            "One word for one thing, in both languages, in every page, report and message. Made from",
            "`src/ilion/wording/glossary.toml`, which also lists what is not written instead; a test holds",
            "the catalogues against it, and says how this page is written again after a change.",
            "",
            "| English | 日本語 | what it means |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
