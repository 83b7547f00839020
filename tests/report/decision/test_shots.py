"""The shot list as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ilion.poc.decision import to_plain
from ilion.poc.sample import prior_spread
from ilion.poc.settings import PocConfig
from ilion.poc.shots import ShotList, list_shots
from ilion.report.decision import write_shots
from ilion.wording import load_words


def shots(objects: int) -> ShotList:
    config = PocConfig(name="valves")
    return list_shots(replace(config, plan=replace(config.plan, objects=objects)), prior_spread("AP"))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_cell_has_its_drawing_and_every_object_its_row(tmp_path: Path, language: str) -> None:
    made = shots(12)
    html = write_shots(to_plain(made), tmp_path / "s.html", language=language).read_text("utf-8")
    assert html.count('class="cell-drawing"') == len(made.shots) == 6
    assert html.count("<tr><td></td>") == 12
    ticks = 12 * sum(shot.photos for shot in made.shots) + 12 * made.queries
    assert html.count('class="tick-box"') == ticks


def test_what_the_objects_give_is_said(tmp_path: Path) -> None:
    def said(objects: int) -> str:
        return write_shots(to_plain(shots(objects)), tmp_path / "s.html").read_text("utf-8")

    needed = shots(0).needed
    assert f"With {needed} objects a gain is known to ±" in said(0)
    assert f"it takes {needed} objects; 10 objects give ±" in said(10)
    assert "With 3 objects nothing can be decided" in said(3)


def test_a_table_that_is_wider_than_a_phone_says_so(tmp_path: Path) -> None:
    html = write_shots(to_plain(shots(20)), tmp_path / "s.html", language="ja").read_text("utf-8")
    hint, table = load_words("report/decision", "ja")("table.swipe"), html.split('<div class="scroll"')
    assert len(table) == 3
    assert all(hint in before.rsplit("<h2", 1)[1] for before in table[:-1])
    assert all(after.startswith(' role="region" tabindex="0" aria-label=') for after in table[1:])
