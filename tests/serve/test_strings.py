"""The page says what its catalogue has, and nothing else."""

from __future__ import annotations

import re
from importlib import resources

from ilion.wording import languages, load_words

ASSETS = resources.files("ilion.serve") / "assets"


def test_the_page_says_what_there_is_and_all_of_it() -> None:
    page, script = ((ASSETS / name).read_text("utf-8") for name in ("page.html", "page.js"))
    used = set(re.findall(r'data-(?:say|alt|label)="(\w+)"', page))
    used |= set(re.findall(r'say\("(\w+)"', script)) | {"score_few", "score_points", "this", "not_this"}
    assert used == set(load_words("serve", "en").section("page"))
    assert not re.findall(r">[^<>\s][^<>]*</(?:p|h\d|button|span|summary)>", page), "words stand in strings/"


def test_the_page_offers_every_language() -> None:
    page = (ASSETS / "page.html").read_text("utf-8")
    assert set(re.findall(r'<option value="(\w+)"', page)) == set(languages())
