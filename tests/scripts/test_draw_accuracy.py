"""The pictures of the default beside its table."""

from __future__ import annotations

import pytest
from scripts.draw_accuracy import DOCS, PICTURES, draw, read_designs


@pytest.mark.parametrize("picture", PICTURES)
def test_the_pictures_show_the_table(picture: str) -> None:
    designs = read_designs((DOCS / "local-first.md").read_text(encoding="utf-8"))
    assert [design.name for design in designs if design.ours] == [
        "the default",
        "8192",
        "4096",
        "2048",
        "1024",
    ]
    assert draw(PICTURES[picture], designs) == (DOCS / picture).read_text(encoding="utf-8")
