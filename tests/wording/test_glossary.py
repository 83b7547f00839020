"""One word for one thing: the glossary holds, in catalogues and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ilion
from ilion.wording import languages, load_glossary, load_words, rooms, unwanted
from ilion.wording.glossary import glossary_page

ROOT = Path(ilion.__file__).parents[2]


def test_every_term_is_whole() -> None:
    for term in load_glossary():
        assert term.means
        assert set(term.text) == set(languages())
        for language, patterns in term.avoid.items():
            for pattern in patterns:
                assert not re.search(pattern, term.text[language], re.IGNORECASE), (
                    f"{term.key} rules itself out"
                )


def test_terms_stand_once() -> None:
    for language in languages():
        texts = [term.text[language] for term in load_glossary()]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("room", "language"), [(r, language) for r in rooms() for language in languages(r)])
def test_catalogues_use_the_words_of_the_glossary(room: str, language: str) -> None:
    for key, entry in load_words(room, language).entries.items():
        for form in [entry] if isinstance(entry, str) else entry.values():
            assert not unwanted(form, language), f"{room}/strings/{language}.toml, {key}"


def test_what_is_ruled_out_is_found() -> None:
    assert unwanted("セルを選ぶ", "ja") == ["セル: write 区分"]
    assert unwanted("Bounding Box", "en") == ["Bounding Box: write box"]
    assert unwanted("物体の大きさ", "ja") == []


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    page = ROOT / "docs" / "glossary.md"
    assert page.read_text("utf-8") == glossary_page(), (
        'write it again: python -c "from ilion.wording.glossary import glossary_page; '
        "print(glossary_page(), end='')\" > docs/glossary.md"
    )
