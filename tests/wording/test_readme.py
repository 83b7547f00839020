"""README.ja.md says what README.md says: the same commands, the same numbers, the same pages."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import ilion
from ilion.wording import unwanted

ROOT = Path(ilion.__file__).parents[2]
BOTH = ("README.md", "README.ja.md")


def sections(name: str) -> list[str]:
    return re.split(r"(?m)^## ", (ROOT / name).read_text("utf-8"))


def commands(text: str) -> list[str]:
    """Return the lines of all code blocks, without their comments."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", text)
    lines = [re.sub(r"(^|\s)# .*", "", line).rstrip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def numbers(text: str) -> Counter[str]:
    """Return the numbers of a text, and how often each stands there."""
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", text))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    english, japanese = (sections(name) for name in BOTH)
    assert len(english) == len(japanese)
    return list(zip(english, japanese, strict=True))


def test_commands_are_the_same(pairs: list[tuple[str, str]]) -> None:
    assert sum(len(commands(english)) for english, _ in pairs) > 40
    for english, japanese in pairs:
        assert commands(japanese) == commands(english)


def test_numbers_are_the_same(pairs: list[tuple[str, str]]) -> None:
    for english, japanese in pairs:
        assert numbers(japanese) == numbers(english), japanese[:40]


def test_links_are_the_same_and_lead_somewhere(pairs: list[tuple[str, str]]) -> None:
    for english, japanese in pairs:
        targets = [set(re.findall(r"\]\(([^)]+)\)", text)) - set(BOTH) for text in (english, japanese)]
        assert targets[0] <= targets[1] <= targets[0] | {"docs/glossary.md"}
        for target in targets[1]:
            assert (ROOT / target.partition("#")[0]).exists(), target


def test_its_words_are_those_of_the_glossary() -> None:
    text = (ROOT / "README.ja.md").read_text("utf-8")
    assert unwanted(re.sub(r"(?ms)^```.*?^```", "", text), "ja") == []
