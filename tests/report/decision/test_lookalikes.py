"""Look-alikes of a decision have their pictures in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import draw_photo

from ilion.datasets import open_dataset
from ilion.report.decision import write_decision


def test_pictures_of_a_pair_are_in_the_file(
    decision: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    names = [f"objects/valve 12{letter}/{role}/a.png" for letter in "AB" for role in ("query", "positive")]
    for number, name in enumerate(names):
        photo = tmp_path / "set" / name
        photo.parent.mkdir(parents=True)
        photo.write_bytes(draw_photo(number, (64, 48), "PNG"))
    (tmp_path / "set" / "distractors").mkdir()
    (tmp_path / "set" / "distractors" / "d.png").write_bytes(draw_photo(9, (64, 48), "PNG"))
    dataset = open_dataset(tmp_path / "set")
    plain = decision("recommend")
    (pair,) = plain["lookalikes"]["pairs"]
    asked = next(query.id for query in dataset.queries if query.instance == "valve 12A")
    pair["examples"][0].update(query=asked, photo=names[3], positive=names[1])
    html = write_decision(plain, tmp_path / "d.html", dataset=dataset, language="en").read_text("utf-8")
    assert html.count("data:image/jpeg;base64,") == 3
    assert html.count('<use href="#p') == 3
    assert '<rect class="box" x="40.0" y="30.0" width="60.0" height="40.0"/>' in html
    pair["examples"][0].update(photo="gone", positive="gone too")
    html = write_decision(plain, tmp_path / "d.html", dataset=dataset, language="en").read_text("utf-8")
    assert html.count("data:image/jpeg;base64,") == 1
    assert html.count('class="gap"') == 2
