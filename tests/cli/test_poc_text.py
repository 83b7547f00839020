"""What the verbs of a proof of concept print: in the language of its pages, with nothing left in English."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.poc.test_decide import decided, tried
from tests.poc.test_threshold import searches

from ilion.cli import app
from ilion.cli.common import say_skipped
from ilion.cli.poc_text import PocText, language_of
from ilion.errors import ConfigError
from ilion.pipeline.jobs.poc import new_poc
from ilion.poc.coverage import CellCoverage, Coverage
from ilion.poc.lookalikes import Example, LookAlike, LookAlikes
from ilion.poc.sample import prior_spread
from ilion.poc.settings import PlanConfig, PocConfig
from ilion.poc.shots import list_shots, measure_precision
from ilion.poc.threshold import promise

ADVICE = ("merge", "reading", "view", "local", "label")
ENGLISH = re.compile(r"[A-Za-z]{3,}")
KEPT = re.compile(
    r"parts|photos\.csv|clutter|width|height|ilion datasets check|poc\.toml|[\w./-]*threshold\.json"
)
"""What Japanese keeps as it is: names of files, columns and commands, and the name that the user gave."""


def left_in_english(lines: list[str]) -> list[str]:
    return [line for line in lines if ENGLISH.search(KEPT.sub("", line))]


def coverage(objects: int) -> Coverage:
    cells = (
        CellCoverage("small/plain", "small", "plain", objects, 2 * objects, 20, 40, ()),
        CellCoverage("large/crowded", "large", "crowded", 20, 40, 20, 40, ()),
        CellCoverage("unknown/plain", "unknown", "plain", 1, 1, 0, 0, ()),
        CellCoverage("small/far", "small", "plain", 1, 1, 0, 0, ()),
    )
    problems = (("positive", "objects/mug", "object 'mug' has no positive", "add photos"),)
    precision = measure_precision(max(objects, 10), PocConfig(), prior_spread("AP"))
    given = (cells, 3, "measured", precision, objects >= 10)
    return Coverage("parts", objects, objects, 40, 30, 20, 300, *given, problems[:0], 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("objects", [3, 20])
def test_coverage_in_japanese(objects: int) -> None:
    lines = list(PocText("ja").coverage(coverage(objects), Path("boxes.html")))
    lines = [line.replace("boxes.html", "") for line in lines]
    assert left_in_english(lines) == []
    text = "\n".join(lines)
    assert "小さく写る物体・すっきりした背景" in text
    assert ("何も判断できません" in text) == (objects == 3)
    assert ("不足：物体17個、写真34枚" in text) == (objects == 3)
    english = "\n".join(PocText("en").coverage(coverage(objects)))
    assert ("too few to decide" in english) == (objects == 3)
    assert "small/plain" in english


def test_columns_line_up_though_japanese_letters_are_twice_as_wide() -> None:
    from ilion.report.charts.canvas import columns

    rows = [line for line in PocText("ja").coverage(coverage(20)) if re.search("物体 +[0-9]+個 写真", line)]
    assert len(rows) == 4
    assert len({columns(row[: row.rindex("物体 ")]) for row in rows}) == 1


@pytest.mark.parametrize("plan", [PlanConfig(objects=20), PlanConfig(objects=0), PlanConfig(objects=1)])
def test_shot_lists_in_japanese(plan: PlanConfig) -> None:
    shots = list_shots(PocConfig(name="parts", language="ja", plan=plan), prior_spread("AP"))
    lines = list(PocText("ja").shots(shots))
    assert left_in_english(lines) == []
    assert len(lines) == 2 + 6


@pytest.mark.parametrize("small", [0.3, 0.7])
def test_decisions_in_japanese_say_what_the_page_says(small: float) -> None:
    reasons = {"few-shot": "needs designs.labels: labelled photos of other objects (docs/adaptation.md)"}
    found = decided(tried("global", 0.3, 0.8), tried("local-1k", small, 0.8), **reasons)  # type: ignore[arg-type]
    lines = list(PocText("ja").decision(found))
    said = [line.replace("designs.labels", "").replace("docs/adaptation.md", "") for line in lines[1:]]
    assert left_in_english(said) == []
    text = "\n".join(lines)
    answers = set(re.findall(r" (見合う|見合わない|写真が不足)$", text, re.MULTILINE))
    assert answers == ({"見合う", "見合わない"} if small == 0.7 else {"見合わない"})
    assert "金額では何も言えません：通貨、1日の検索回数" in text
    english = "\n".join(PocText("en").decision(found))
    assert found.recommendation.text in english
    assert "money.currency" in english


def test_few_objects_have_no_interval_in_either_language() -> None:
    found = decided(tried("global", 0.1, 0.1, 3), tried("local-1k", 0.9, 0.9, 3))
    for language, said in (
        ("en", "no interval from 3 objects"),
        ("ja", "物体3個では信頼区間を求められません"),
    ):
        text = "\n".join(PocText(language).decision(found))
        assert said in text
        assert not re.search(r"[\[［]", text)


@pytest.mark.parametrize("risk", [0.3, 0.01])
def test_thresholds_in_the_language_of_their_proof_of_concept(risk: float) -> None:
    found = promise(searches(np.random.default_rng(0), 60, 1), risk, 0.9)
    lines = list(PocText("ja").threshold(found, Path("threshold.json")))
    assert left_in_english(lines) == []
    assert any("約束" in line for line in lines)
    english = "\n".join(PocText("en").threshold(found, Path("threshold.json")))
    assert ("no threshold: 60 objects are too few" in english) == (found.threshold is None)


LOOKALIKES = LookAlikes(
    (
        LookAlike("12", "13", 3, 1, 4, 0.5, 1200.0, (Example("1", "2", 1, "3", 4, (), ("M8",)),), ADVICE[:2]),
        LookAlike("13", "12", 1, 0, 1, 0.5, None, (Example("4", "5", 2, "", None),), ADVICE[2:]),
        *(LookAlike(str(n), "12", 1, 1, 1, 0.0, None, (), ()) for n in range(14, 26)),
    ),
    *(14, 40, 8, 2, (), "JPY"),
)


def test_lookalikes_in_the_language_of_their_proof_of_concept() -> None:
    lines = list(PocText("ja").lookalikes(LOOKALIKES, Path("threshold.json")))
    kept = re.compile(r"reading\.use|rerank\.features|json")
    assert left_in_english([kept.sub("", line) for line in lines[:-1]]) == []
    assert any("検索4回のうち3回" in line and "1,200円" in line for line in lines)
    english = "\n".join(PocText("en").lookalikes(LOOKALIKES, Path("threshold.json")))
    assert "'12' taken for '13': in 3 of 4 searches, 1 wrong pick, ¥1,200" in english
    assert "'13' taken for '12': in 1 of 1 search, 0 wrong picks\n" in english
    assert "4: 5 at 2, the right one not found" in english
    assert "... and 2 more" in english


def test_unreadable_photos_in_the_language_of_their_proof_of_concept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new_poc(tmp_path / "parts", PocConfig(name="parts", language="ja"))
    skipped = [{"id": f"{n}.jpg"} for n in range(7)]
    monkeypatch.setattr("ilion.storage.runs.read_run", lambda run: {"skipped": skipped})
    say_skipped(tmp_path / "parts" / "results" / "global")
    assert "写真7枚は読み取れなかったため、検索しても見つかりません：0.jpg、" in capsys.readouterr().err
    say_skipped(tmp_path / "elsewhere" / "run")
    assert "7 photos of the database could not be read" in capsys.readouterr().err


def test_a_run_speaks_the_language_of_its_proof_of_concept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_poc(tmp_path / "parts", PocConfig(name="parts", language="ja"))
    assert language_of(tmp_path / "parts" / "results" / "global") == "ja"
    assert language_of(tmp_path / "elsewhere" / "run") == "en"
    assert app(["poc", "check", str(tmp_path / "parts")], standalone_mode=False) == 1
    printed = capsys.readouterr().out
    assert "何も判断できません" in printed
    assert "問い合わせ画像がありません" in printed
    assert "記録（英語）" not in printed
    app(["poc", "new", str(tmp_path / "parts")], standalone_mode=False)
    assert "撮影します" in capsys.readouterr().out


def test_a_string_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PocText("ja")
    monkeypatch.delitem(text.words.entries, "check.too_few")
    with pytest.raises(ConfigError, match=r"check\.too_few is missing"):
        list(text.coverage(coverage(3)))


def test_reasons_of_designs_that_were_not_run() -> None:
    lines = list(PocText("ja").run(("global",), {"local-4k": "has not been run"}))
    assert left_in_english([line.replace("KB", "") for line in lines]) == []
    assert any("まだ実行していない" in line for line in lines)
