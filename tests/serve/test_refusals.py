"""What a service refuses is said in Japanese to those who read Japanese."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import ilion
from ilion.errors import ConfigError
from ilion.serve.guards import Limits
from ilion.serve.index import Index
from ilion.serve.refusals import OTHER, body_of
from ilion.serve.service import Service, make_app
from ilion.serve.where import parse_where
from tests.architecture import parse
from tests.sentences import left_in_english, raised

PACKAGE = Path(ilion.__file__).parent
SERVED = (
    *("serve/service.py", "serve/guards.py", "serve/review.py", "serve/request.py", "serve/found.py"),
    *("serve/index.py", "serve/writer/photos.py", "pipeline/asking.py", "extraction/images.py"),
)
"""Modules whose refusals can reach the page."""
NOT_SERVED = (
    "fusion = 'calibrated' learns",  # said when an index is made
    "only its id is known",
    "none of the photos",
    "not photos",
    "the descriptors",
    "returned",
    "learns from",
    "too few",
    "no photo can be read",
)
"""Parts of sentences that only those read who make an index."""
FILTERS = (
    "colour =",
    "colour = (",
    "colour",
    "colour ) red",
    "in (a",
    "a=b c=d",
    "a='",
    "added > soon",
    "a in b",
    "a in (b",
    "(" * 25,
    "not",
    "= 3",
    "a: b",
    "x" * 3000,
    "site=Osaka",
    "sit=Osaka",
    "n in ('a: b', ",
)


@pytest.fixture(scope="session")
def service(_made: Path) -> TestClient:
    made = make_app(Service(Index.open(_made), limits=Limits(rate=0)))
    return TestClient(made, base_url="http://localhost", raise_server_exceptions=False)


def said(reason: str, language: str = "ja") -> str:
    body = body_of(reason, language)
    assert body["error"] == reason
    assert body["code"] != OTHER, f"no string for {reason!r}"
    return body["said"]


@pytest.mark.parametrize("file", SERVED)
def test_every_refusal_that_the_page_can_show_has_a_japanese_string(file: str) -> None:
    found = set(raised(parse(PACKAGE / file), ("Refused", "ConfigError", "DatasetError", "ExtractionError")))
    found = {text for text in found if not any(part in text for part in NOT_SERVED)}
    assert found
    for text in found:
        # paths of the index are taken out of what is sent
        reason = text.replace("7: the index", "the index: the index")
        shown = said(reason)
        assert left_in_english(shown, "serve") == [], f"{text}: {shown}"
        assert said(reason, "en") == reason


@pytest.mark.parametrize("text", FILTERS)
def test_every_fault_of_a_filter_is_said_in_japanese(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_where(text, ["location", "site"] if text.startswith("sit=") else [])
    reason = str(refused.value)
    shown = said(reason)
    if "x" * 50 not in text:
        shown = shown.replace(repr(text), "")
    for name in ("colour", "red", "soon", "site", "sit", "a in b", "location"):
        shown = shown.replace(name, "")
    assert left_in_english(shown, "serve") == [], shown


def test_filters_are_tried_in_all_the_ways_in_which_they_are_refused() -> None:
    source = (PACKAGE / "serve" / "where.py").read_text("utf-8")
    reasons = set()
    for text in FILTERS:
        with pytest.raises(ConfigError) as refused:
            parse_where(text, [])
        reasons.add(str(refused.value).removeprefix(f"filter {text!r}: ")[-20:])
    assert len(reasons) >= source.count("self._wrong(") + source.count("raise ConfigError")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            "the photo: a gzip archive, not an image; unpack it",
            "この写真：画像ではなく、gzip形式の書庫です。",
        ),
        ("query: the file is empty (0 bytes); fetch it again", "この写真：空のファイルです（0バイト）。"),
        (
            "the photo cannot be read: a/b: a PDF document, not an image; export its page as PNG or JPEG",
            "写真を読み取れません。a/b：画像ではなく、PDF文書です。",
        ),
    ],
)
def test_photos_that_cannot_be_read_are_said_in_japanese(reason: str, shown: str) -> None:
    assert said(reason).startswith(shown)


def test_what_nobody_foresaw_is_still_a_japanese_sentence() -> None:
    assert body_of("the moon is full", "ja") == {
        "error": "the moon is full",
        "code": OTHER,
        "said": "処理できない内容でした（詳細：the moon is full）",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("accepted", "beginning"),
    [("ja", "写真を選ぶか"), ("fr", "ask with"), ("en, ja;q=0.5", "ask with"), ("", "ask with")],
)
def test_a_service_answers_in_the_language_of_the_page(
    service: TestClient, accepted: str, beginning: str
) -> None:
    answer = service.post("/api/search", data={"text": ""}, headers={"accept-language": accepted})
    assert answer.status_code == 422
    assert answer.json()["code"] == "ask"
    assert answer.json()["said"].startswith(beginning)
    assert answer.json()["error"].startswith("ask with a photo")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ({"method": "POST", "url": "/api/search", "data": {"where": "a="}}, 422, "ask"),
        ({"method": "POST", "url": "/api/search", "data": {"text": "x" * 501}}, 422, "no_form"),
        ({"method": "POST", "url": "/api/search", "data": {"like": "nobody"}}, 404, "no_photo"),
        ({"method": "POST", "url": "/api/search", "data": {"text": "mug"}}, 422, "no_tower"),
        ({"method": "POST", "url": "/api/search", "files": {"photo": b"GIF89a"}}, 422, "unreadable"),
        ({"method": "DELETE", "url": "/api/photos?id=nobody"}, 404, "no_photo_removed"),
        ({"method": "GET", "url": "/api/photo?id=nobody"}, 404, "no_picture"),
        ({"method": "GET", "url": "/api/status", "headers": {"host": "evil.example"}}, 421, "other_name"),
        ({"method": "POST", "url": "/api/login", "json": {"token": "x"}}, 401, "unknown_token"),
    ],
)
def test_refusals_of_a_service_are_said_in_japanese(
    service: TestClient, call: dict[str, object], status: int, code: str
) -> None:
    headers = {"accept-language": "ja", **dict(call.pop("headers", {}))}  # type: ignore[call-overload]
    answer = service.request(**call, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert any("\u3040" <= c <= "\u9fff" for c in answer.json()["said"])


def test_the_page_shows_what_is_said_and_says_in_which_language_it_is_read() -> None:
    script = (resources.files("ilion.serve") / "assets" / "page.js").read_text("utf-8")
    assert "(await response.json()).said" in script
    assert '"accept-language": language' in script
    assert ".error ??" not in script
