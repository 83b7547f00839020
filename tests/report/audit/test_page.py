"""The page of an audit: whole, safe, in both languages; and driven in Chromium by keys alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import draw_photo

from ilion import api
from ilion.audit.decisions import read_decisions
from ilion.audit.suspects import KINDS, Audit, Numbers, Suspect
from ilion.datasets import open_dataset
from ilion.report.audit.page import KEYS, OFFERED, render_audit, write_audit_page

CHROMIUM = shutil.which("chromium") or ""
NUMBERS = Numbers(0.5, 0.6, 0.4, 0.7)
COUNT = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two objects with 60 positives."""
    root = tmp_path / "set"
    for name, count in (("mug", COUNT // 2), ("cup <!--<script>", COUNT // 2)):
        for role, many in (("query", 1), ("positive", count)):
            (root / "objects" / name / role).mkdir(parents=True)
            for n in range(many):
                data = draw_photo(hash((name, role, n)) % 999, (64, 48))
                (root / "objects" / name / role / f"{n:02d}.jpg").write_bytes(data)
    (root / "distractors").mkdir()
    (root / "distractors" / "d.jpg").write_bytes(draw_photo(5))
    return root


def made(root: Path) -> Audit:
    """An audit with a suspect of some kind for each positive."""
    dataset = open_dataset(root)
    objects = {q.instance: q for q in dataset.queries}
    suspects = []
    for name, query in objects.items():
        assert query.image is not None
        other = next(n for n in objects if n != name)
        for n, photo in enumerate(dataset.positives[query.id]):
            kind = ("wrong-label", "duplicate", "wrong-label", "box")[n % 4]
            suspects.append(
                Suspect(
                    kind,  # type: ignore[arg-type]
                    (photo, query.image.id),
                    "" if kind == "duplicate" else name,
                    0.9 - n / 100,
                    other if n % 4 == 2 else "",
                    "resaved" if kind == "duplicate" else "",
                    {"pixels": 0.99, "other objects": 0.5},
                    (((name, "positive"),), ((name, "query"),)),
                    map_change=-0.01,
                    boxes=((1.0, 1.0, 20.0, 20.0),),
                    matches=((1.0, 2.0, 3.0, 4.0),),
                    words={"agree": ("mild",), "against": (), "other": ("mocha", "<b>")} if n == 2 else {},
                )
            )
    photos = {name: (q.image.id,) for name, q in objects.items() if q.image is not None}
    return Audit(str(root), "set & co", "run", tuple(suspects), NUMBERS, NUMBERS, 100, 99, photos)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_holds_everything_and_loads_nothing(folder: Path, language: str) -> None:
    audit = made(folder)
    html = render_audit(audit, open_dataset(folder), language=language)
    assert f'<html lang="{language}">' in html
    assert "set &amp; co" in html
    assert html.count("</script>") == 2
    assert html.count("<script") == 2, "no name of an object is markup"
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert html.count("<image id=") == COUNT + 2
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert [s["key"] for s in data["suspects"]] == [s.key for s in audit.suspects]
    assert all(data["words"].values())
    small = render_audit(audit, open_dataset(folder), language=language, max_bytes=60_000)
    assert len(small) < len(html)
    assert 'class="gap"' in small
    empty = Audit("x", "x", "", (), NUMBERS, NUMBERS, 100, 0, {})
    assert 'id="suspect"' not in render_audit(empty, open_dataset(folder), language=language)


def test_a_live_page_says_where_answers_go_and_a_japanese_one_is_japanese(folder: Path) -> None:
    audit = replace(
        made(folder),
        notes=("not looked at: 3 photos that could not be read, such as a.jpg, b.jpg", "as it was"),
    )
    dataset = open_dataset(folder)
    assert "This file is complete" in render_audit(audit, dataset)
    live = render_audit(audit, dataset, live="/decisions")
    assert "This file is complete" not in live
    assert "sends your answers to the server" in live
    japanese = render_audit(audit, dataset, language="ja", live="/decisions")
    assert "このファイルだけで完結" not in japanese
    assert "読み込めない写真3枚は調べていません（例：a.jpg, b.jpg）" in japanese
    assert "as it was" in japanese, "what no entry is like stays"
    assert "mug（正解写真）" in japanese
    assert '"change":"−1.00"' in japanese, "points, not a fraction beside percents"


@pytest.mark.parametrize(
    ("language", "agree", "other"),
    [
        ("en", "words that photos of {} show, too", ("words that photos of {} show", "mocha, <b>")),
        ("ja", "「{}」の写真にもある文字", ("「{}」の写真にある文字", "mocha、<b>")),
    ],
)
def test_the_words_that_tell_are_shown(
    folder: Path, language: str, agree: str, other: tuple[str, str]
) -> None:
    audit = made(folder)
    html = render_audit(audit, open_dataset(folder), language=language)
    assert "<b>" not in html
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    n, own = next((n, s) for n, s in enumerate(audit.suspects) if s.words)
    rows = data["suspects"][n]["evidence"][2:]
    expected = [[agree.format(own.object), "mild"], [other[0].format(own.other), other[1]]]
    assert rows == expected, "words that are none are no row"


def test_every_kind_has_answers_and_every_answer_a_key() -> None:
    assert set(OFFERED) == set(KINDS)
    assert {a for answers in OFFERED.values() for a in answers} == set(KEYS)
    assert len(set(KEYS.values()) | {"z"}) == len(KEYS) + 1


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Debian's package chromium")
@pytest.mark.parametrize(("language", "scheme", "width"), [("en", "light", 1280), ("ja", "dark", 390)])
def test_fifty_decisions_by_keyboard_are_applied_and_undone(
    browser: Any, folder: Path, tmp_path: Path, language: str, scheme: str, width: int
) -> None:
    audit, dataset = made(folder), open_dataset(folder)
    before = {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    path = write_audit_page(tmp_path / "audit.html", audit, dataset, language=language)
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, accept_downloads=True
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda r: problems.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None,
    )
    page.goto(path.as_uri())
    page.locator("#who").fill("aki")
    page.locator("#who").blur()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    wanted: dict[str, str] = {}
    for number in range(50):
        suspect = audit.suspects[number]
        assert page.locator("#suspect").get_attribute("data-key") == suspect.key
        offered = [a for a in OFFERED[suspect.kind] if a != "other" or suspect.other]
        answer = offered[number % len(offered)]
        if number == 20:  # a slip, taken back
            page.keyboard.press(KEYS[offered[0]])
            page.keyboard.press("z")
            assert page.locator("#suspect").get_attribute("data-key") == suspect.key
        page.keyboard.press("x")  # no key of ours does nothing
        page.keyboard.press(KEYS[answer])
        wanted[suspect.key] = answer
    assert "50" in page.locator("#progress").inner_text()
    page.reload()
    assert "50" in page.locator("#progress").inner_text(), "the browser remembers"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#answers [aria-pressed=true]").count() == 1
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, progress, svg[role=img]')]
        .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
          || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert not unnamed, "everything that is used has a name"
    with page.expect_download() as caught:
        page.locator("#save").click()
    file = tmp_path / "decisions.json"
    caught.value.save_as(file)
    assert problems == []
    context.close()
    taken = read_decisions(file)
    assert {d.suspect.key: d.answer for d in taken.decisions} == wanted
    assert {d.who for d in taken.decisions} == {"aki"}
    done = api.apply_audit(file)
    assert done.decided == 50
    changed = open_dataset(folder)
    assert changed.positives != dataset.positives
    api.undo_audit(folder)
    assert {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert open_dataset(folder) == dataset
