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

import numpy as np
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


def drawn(path: Path) -> tuple[int, int, int, int]:
    """Draw a patterned thing on a plain table, left and above of the middle; return its box."""
    import cv2

    rng = np.random.default_rng(3)
    image = np.full((480, 640, 3), 205, np.uint8) + rng.integers(0, 6, (480, 640, 1)).astype(np.uint8)
    thing = rng.integers(0, 255, (10, 12, 3)).astype(np.uint8)
    image[60:220, 70:260] = cv2.resize(thing, (190, 160), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(path), image)
    return 70, 60, 190, 160


def page_of(context: Any, address: str) -> Any:
    page = context.new_page()
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    return page


def shown_box(page: Any) -> list[float]:
    page.locator("#box").wait_for()
    return [float(page.locator("#box").get_attribute(name)) for name in ("x", "y", "width", "height")]


def test_frames_are_suggested_by_what_is_in_the_photo(browser: Any, address: str, tmp_path: Path) -> None:
    x, y, width, height = drawn(tmp_path / "thing.png")
    page = page_of(browser.new_context(locale="en"), address)
    page.locator("#file").set_input_files(tmp_path / "thing.png")
    page.locator("#suggest").click()
    left, top, wide, high = shown_box(page)
    across = max(0, min(left + wide, x + width) - max(left, x))
    down = max(0, min(top + high, y + height) - max(top, y))
    shared = across * down / (wide * high + width * height - across * down)
    assert shared > 0.7
    page.locator("#suggest").click()
    assert shown_box(page) != [left, top, wide, high], "another one"


def test_in_clutter_the_middle_is_suggested_and_no_small_part(
    browser: Any, address: str, tmp_path: Path
) -> None:
    import cv2

    rng = np.random.default_rng(4)
    clutter = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    image = cv2.resize(clutter, (640, 480), interpolation=cv2.INTER_NEAREST)
    image[300:, 400:] = 128  # a tag that lies apart from all else
    image[380:420, 500:580] = (255, 0, 255)
    assert cv2.imwrite(str(tmp_path / "shelf.png"), image)
    page = page_of(browser.new_context(locale="en"), address)
    page.locator("#file").set_input_files(tmp_path / "shelf.png")
    page.locator("#suggest").click()
    left, top, wide, high = shown_box(page)
    assert left + wide / 2 == pytest.approx(320)
    assert top + high / 2 == pytest.approx(240)
    page.locator("#suggest").click()
    assert shown_box(page) != [left, top, wide, high], "another one"


def test_a_finger_draws_and_a_photo_is_pasted_or_dropped(browser: Any, address: str, tmp_path: Path) -> None:
    drawn(tmp_path / "thing.png")
    context = browser.new_context(locale="en", viewport={"width": 390, "height": 844}, has_touch=True)
    page = page_of(context, address)
    assert page.locator("#camera").get_attribute("capture") == "environment"
    assert page.locator("#camera").get_attribute("accept") == "image/*"
    give = """([bytes, kind]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], "thing.png", { type: "image/png" }));
        dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", { clipboardData: held, bubbles: true })
            : new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(give, [list((tmp_path / "thing.png").read_bytes()), kind])
        page.locator("#chosen").wait_for()
        if kind == "paste":
            page.locator("#again").click()
            assert page.locator("#pick").is_visible()
    page.locator("#photo").scroll_into_view_if_needed()
    room = page.locator("#frame").bounding_box()
    finger = context.new_cdp_session(page)

    def touch(kind: str, x: float, y: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": room["x"] + x, "y": room["y"] + y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.3 * room["width"], 0.3 * room["height"])
    for step in range(5):
        touch("touchMove", (0.3 + 0.08 * step) * room["width"], (0.3 + 0.08 * step) * room["height"])
    touch("touchEnd", 0, 0)
    assert min(shown_box(page)[2:]) > 20, "the finger draws, and does not scroll"


def test_a_photo_is_added_to_an_object_from_the_page(
    browser: Any, address: str, photos: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture(photos, 1))
    page = page_of(browser.new_context(locale="en"), address)
    page.locator("#file").set_input_files(tmp_path / "photo.jpg")
    page.locator("#go").click()
    page.locator("#objects li").first.wait_for(timeout=60_000)
    page.locator("#adding summary").click()
    name = Index.open(folder).objects()[0]
    page.locator("#object").fill(name[:3])
    page.locator(f"#names option[value='{name}']").wait_for(state="attached")
    page.locator("#object").fill(name)
    page.locator("#add button").click()
    page.locator("#said", has_text="can be found now").wait_for(timeout=60_000)
    found = Index.open(folder).search(picture(photos, 1), where=f"object='{name}'", k=40)
    assert any(photo.id.startswith("uploads/") for photo in found.photos)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    browser: Any, address: str, photos: Path, tmp_path: Path, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    (tmp_path / "photo.jpg").write_bytes(picture(photos))
    page = page_of(browser.new_context(locale="ja", color_scheme=scheme), address)

    def check() -> None:
        found = axe.Axe().run(page).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not [(v["id"], v["nodes"][0]["html"][:150]) for v in serious]

    check()
    page.locator("#file").set_input_files(tmp_path / "photo.jpg")
    page.locator("#suggest").click()
    page.locator("#go").click()
    page.locator("#objects li").first.wait_for(timeout=60_000)
    if (why := page.locator("#objects button[aria-expanded]")).count():
        why.first.click()
        page.locator(".why-picture").wait_for()
    page.locator("#adding summary").click()
    check()
