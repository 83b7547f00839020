"""The page in a real Chromium, where one is installed: phone width, dark, Japanese, box, filter, feedback."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilion.serve.feedback import Feedback
from ilion.serve.guards import Limits
from ilion.serve.index import Index
from ilion.serve.service import Service, make_app
from tests.serve.test_index import picture

CHROMIUM = shutil.which("chromium") or ""
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="needs Debian's package chromium")]


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = Service(Index.open(folder), Limits(rate=0), feedback=Feedback(folder, 1))
    server = uvicorn.Server(uvicorn.Config(make_app(service), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


def shot(page: Any, name: str) -> None:
    if where := os.environ.get("ILION_SCREENSHOTS"):
        page.screenshot(path=f"{where}/{name}.png", full_page=True)


@pytest.mark.parametrize(("language", "scheme", "width"), [("en", "light", 1280), ("ja", "dark", 390)])
def test_a_part_is_found_by_a_photo(
    browser: Any, address: str, photos: Path, tmp_path: Path, language: str, scheme: str, width: int
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(picture(photos))
    context = browser.new_context(
        locale=language, color_scheme=scheme, viewport={"width": width, "height": 844}, has_touch=width < 600
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda request: (
            problems.append(request.url) if not request.url.startswith((address, "blob:", "data:")) else None
        ),
    )
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    assert page.evaluate("document.documentElement.lang") == language
    shot(page, f"start-{language}")
    page.locator("#file").set_input_files(photo)
    page.locator("#chosen").wait_for()
    room = page.locator("#frame").bounding_box()
    page.mouse.move(room["x"] + room["width"] * 0.4, room["y"] + room["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(room["x"] + room["width"] * 0.6, room["y"] + room["height"] * 0.8, steps=4)
    page.mouse.up()
    assert page.locator("#box").is_visible()
    page.locator("#frame").press("Shift+ArrowRight")  # the frame follows the keyboard too
    page.locator("#go").click()
    page.locator("#objects li").first.wait_for(timeout=60_000)
    assert page.locator("#objects li").count() > 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    shot(page, f"found-{language}")
    why = page.locator("#objects button[aria-expanded]")
    if why.count():
        why.first.click()
        page.locator(".why-picture").wait_for()
        shot(page, f"why-{language}")
    page.locator("#objects button[data-right=true]").first.click()
    page.locator("#objects button[aria-pressed=true]").wait_for()
    page.locator("details summary").first.click()
    page.locator("#where").fill("nothing=here")
    page.locator("#go").click()
    page.locator("#said", has_text="nothing").wait_for()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll(
            'button, input:not([type=file]), select, img, svg[role=img], [tabindex]')]
        .filter(e => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
        .filter(e => !(e.getAttribute('aria-label') || e.alt || e.textContent.trim() || e.labels?.length))
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert not unnamed, "everything that is used has a name"
    assert [p for p in problems if "422" not in p] == []
    context.close()
