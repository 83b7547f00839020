"""The words of the page: the same in every language, and all that the page says."""

from __future__ import annotations

import re
from importlib import resources

from ilion.serve.strings import page_strings

ASSETS = resources.files("ilion.serve") / "assets"


def test_every_language_says_the_same() -> None:
    words = page_strings()
    assert set(words) == {"en", "ja"}
    for language in words.values():
        assert set(language) == set(words["en"])
        for name, text in language.items():
            assert text.strip()
            assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", words["en"][name])), (
                name
            )


def test_the_page_says_what_there_is_and_all_of_it() -> None:
    page, script = ((ASSETS / name).read_text("utf-8") for name in ("page.html", "page.js"))
    used = set(re.findall(r'data-(?:say|alt|label)="(\w+)"', page))
    used |= set(re.findall(r'say\("(\w+)"', script)) | {"score_few", "score_points", "this", "not_this"}
    assert used == set(page_strings()["en"])
    assert not re.findall(r">[^<>\s][^<>]*</(?:p|h\d|button|span|summary)>", page), "words stand in strings/"
