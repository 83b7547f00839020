"""The picture of the default beside its table."""

from __future__ import annotations

from scripts.draw_accuracy import DOCS, draw, read_designs


def test_the_picture_shows_the_table() -> None:
    designs = read_designs((DOCS / "local-first.md").read_text(encoding="utf-8"))
    assert [design.name for design in designs if design.ours] == [
        "the default",
        "8192",
        "4096",
        "2048",
        "1024",
    ]
    assert draw(designs) == (DOCS / "local-first.svg").read_text(encoding="utf-8")
