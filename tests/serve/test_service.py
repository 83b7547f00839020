"""The service: its API, its guards, and what hostile requests get."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ilion.serve.feedback import Feedback
from ilion.serve.guards import Limits, Rates
from ilion.serve.index import Index
from ilion.serve.service import Service, make_app
from ilion.serve.tokens import find_token, make_token, revoke_token, tokens
from tests.bad_images import cases
from tests.cli.test_bad_photos import BAD
from tests.serve.test_index import picture

pytestmark = pytest.mark.slow


def client_of(folder: Path, **options: Any) -> TestClient:
    options.setdefault("limits", Limits(rate=0))
    app = make_app(Service(Index.open(folder), **options))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with client_of(folder) as made:
        yield made


@pytest.fixture(scope="session")
def shared(_made: Path) -> TestClient:
    return client_of(_made)


def upload(photos: Path, number: int = 0) -> dict[str, Any]:
    return {"photo": ("photo.jpg", picture(photos, number), "image/jpeg")}


def test_a_photo_is_searched_and_explained(shared: TestClient, photos: Path) -> None:
    answer = shared.post("/api/search", files=upload(photos), data={"k": "3", "box": "5,5,150,150"})
    assert answer.status_code == 200
    found = answer.json()
    assert len(found["objects"]) == 3
    assert found["none"] is None
    first = found["objects"][0]["photo"]
    pairs = shared.get(f"/api/searches/{found['search']}/matches", params={"photo": first["id"]}).json()
    assert pairs["compared"]
    assert len(pairs["lines"]) == min(60, first["points"])
    small = shared.get("/api/photo", params={"id": first["id"]})
    assert small.headers["content-type"] == "image/jpeg"
    assert shared.get("/api/photo", params={"id": first["id"], "size": "large"}).status_code == 200
    again = shared.post("/api/search", data={"like": first["id"]}).json()
    assert first["id"] in [p["id"] for p in again["photos"][:2]]


def test_photos_are_added_and_removed(client: TestClient, photos: Path) -> None:
    labels = json.dumps({"site": "大阪"})
    done = client.post(
        "/api/photos", files=upload(photos, 1), data={"object": "弁", "id": "a", "labels": labels}
    )
    assert (done.status_code, done.json()["added"]) == (201, 1)
    found = client.post("/api/search", files=upload(photos, 1), data={"where": "site=大阪"}).json()
    assert [o["name"] for o in found["objects"]] == ["弁"]
    assert client.get("/api/objects", params={"starts": "弁"}).json() == {"objects": ["弁"]}
    assert client.delete("/api/photos", params={"id": "a"}).json() == {"removed": 1}
    assert client.delete("/api/photos", params={"id": "a"}).status_code == 404
    assert "a" not in [p["id"] for p in client.post("/api/search", files=upload(photos, 1)).json()["photos"]]


def test_it_says_how_it_is(shared: TestClient) -> None:
    assert shared.get("/health").json()["status"] == "ok"
    assert shared.get("/ready").json() == {"status": "ready"}
    status = shared.get("/api/status").json()
    assert (status["photos"], status["role"], status["feedback"]) == (30, "write", False)
    assert status["texts"] is False, "the page offers no words to a design that knows photos only"
    text = shared.get("/metrics").text
    assert 'ilion_requests_total{route="/api/status",status="200"}' in text
    assert "ilion_search_seconds_count" in text
    document = shared.get("/openapi.json").json()
    assert "/api/search" in document["paths"]


def test_the_page_loads_nothing_from_elsewhere(shared: TestClient) -> None:
    page = shared.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for path in ("/assets/page.js", "/assets/page.css", "/assets/strings.json"):
        assert shared.get(path).status_code == 200
    script = shared.get("/assets/page.js").text
    urls = [line for line in (page.text + script).splitlines() if "//" in line and "http" in line]
    assert [line.strip() for line in urls] == ['const SVG = "http://www.w3.org/2000/svg";']
    for header in ("x-content-type-options", "referrer-policy", "permissions-policy"):
        assert header in page.headers


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "POST", "url": "/api/search"}, 422),
        ({"method": "POST", "url": "/api/search", "data": {"text": "red"}}, 422),
        ({"method": "POST", "url": "/api/search", "data": {"like": "../../etc/passwd"}}, 404),
        ({"method": "POST", "url": "/api/search", "data": {"like": "x", "box": "1,2"}}, 422),
        ({"method": "POST", "url": "/api/search", "data": {"like": "x", "k": "0"}}, 422),
        ({"method": "POST", "url": "/api/search", "files": {"photo": ("x", b"<svg/>", "image/png")}}, 422),
        (
            {
                "method": "POST",
                "url": "/api/search",
                "content": b"\xff\x00",
                "headers": {"content-type": "a"},
            },
            422,
        ),
        ({"method": "GET", "url": "/api/photo?id=../../etc/passwd"}, 404),
        ({"method": "GET", "url": "/api/photo?id=%00"}, 404),
        ({"method": "GET", "url": "/api/photo?id=a&size=huge"}, 422),
        ({"method": "GET", "url": "/assets/..%2F..%2Fservice.py"}, 404),
        ({"method": "GET", "url": "/assets/%2e%2e/service.py"}, 404),
        ({"method": "GET", "url": "/nothing"}, 404),
        ({"method": "PUT", "url": "/api/search"}, 405),
        ({"method": "GET", "url": "/api/searches/x/matches?photo=y"}, 404),
        ({"method": "DELETE", "url": "/api/photos?id=object:x"}, 422),
        (
            {"method": "POST", "url": "/api/feedback", "json": {"search": "x", "photo": "y", "right": True}},
            409,
        ),
        ({"method": "POST", "url": "/api/feedback", "content": b"[" * 20000}, 422),
        ({"method": "POST", "url": "/api/login", "json": {"token": "wrong"}}, 401),
        ({"method": "GET", "url": "/health", "headers": {"host": "evil.example"}}, 421),
        ({"method": "POST", "url": "/api/search", "headers": {"origin": "http://evil.example"}}, 403),
    ],
)
def test_wrong_requests_get_a_sentence(shared: TestClient, request_: dict[str, Any], status: int) -> None:
    answer = shared.request(**request_)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_hostile_uploads_never_fail_the_server(shared: TestClient, photos: Path) -> None:
    good = picture(photos)
    bombs = [b"", b"\xff\xd8\xff", good[: len(good) // 2], good[:-2] + b"\0" * 4000, b"GIF89a" + b"\xff" * 10]
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0" + b"\0" * 40
    for data in [*bombs, png, b"%PDF-1.4", b"<!doctype html>", bytes(range(256)) * 100]:
        for path in ("/api/search", "/api/photos"):
            answer = shared.post(path, files={"photo": ("../../x\r\nSet-Cookie: a=b", data, "image/jpeg")})
            assert 400 <= answer.status_code < 500, (path, data[:10], answer.text)
            assert "set-cookie" not in answer.headers


BAD_UPLOADS = {**BAD, **{name: case.data for name, case in cases().items() if case.error}}


@pytest.mark.parametrize("name", [name for name in BAD_UPLOADS if name != "locked.jpg"])
def test_a_bad_photo_is_refused_in_a_sentence(shared: TestClient, name: str) -> None:
    """Whatever is sent, alone, with a box or with words, and as a photo to add."""
    before = shared.get("/api/status").json()["photos"]
    files = {"photo": (name, BAD_UPLOADS[name], "image/jpeg")}
    for path, data in (
        ("/api/search", {}),
        ("/api/search", {"box": "5,5,50,50"}),
        ("/api/search", {"text": "a mug"}),
        ("/api/photos", {"id": name, "object": "x"}),
        ("/api/photos", {"id": name, "box": "5,5,50,50"}),
    ):
        answer = shared.post(path, files=files, data=data)
        assert 400 <= answer.status_code < 500, (path, data, answer.text)
        said = answer.json()["error"]
        assert re.search("photo|image|picture|pixels|text|JPEG|PNG|samples|file", said), said
        # no advice that a sender cannot follow, and nothing from inside
        assert not re.search(r"--on-bad|max_pixels|Traceback|Error\b|/tmp|\b(cv2|PIL|numpy)\b", said), said
    assert shared.get("/api/status").json()["photos"] == before


def test_names_never_become_paths_or_headers(client: TestClient, photos: Path, folder: Path) -> None:
    before = {path for path in folder.parent.rglob("*") if path.is_file()}
    for name in ("../../../evil", "/etc/evil", "a\r\nSet-Cookie: x=y", "con\0", "<script>alert(1)</script>"):
        answer = client.post("/api/photos", files=upload(photos), data={"id": name, "object": "x"})
        assert answer.status_code in (201, 422)
        assert "set-cookie" not in answer.headers
    new = {path for path in folder.parent.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(folder) for path in new)
    assert not any("evil" in path.name or "script" in path.name for path in new)


def test_limits_are_kept(folder: Path, photos: Path) -> None:
    client = client_of(folder, limits=Limits(bytes=2000, pixels=1000, rate=1, burst=3))
    assert client.post("/api/search", files=upload(photos)).status_code == 413
    kind = {"content-type": "multipart/form-data; boundary=x"}
    chunks = client.post("/api/search", content=iter([b"--x\r\n" * 300, b"y" * 1500]), headers=kind)
    assert (chunks.status_code, "larger" in chunks.json()["error"]) == (413, True)
    assert client.post("/api/search", data={"text": "a"}).status_code == 422
    late = client.post("/api/search", data={"text": "a"})
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) >= 1
    assert client.get("/health").status_code == 200, "health is not counted"
    many = client_of(folder, limits=Limits(pixels=1000, rate=0))
    answer = many.post("/api/search", files=upload(photos))
    assert (answer.status_code, "megapixels" in answer.json()["error"]) == (413, True)


def test_more_than_may_wait_are_told_to_come_back(folder: Path, photos: Path) -> None:
    service = Service(Index.open(folder), Limits(rate=0, waiting=0), workers=1)
    client = TestClient(make_app(service), base_url="http://localhost")
    service.busy = 1
    answer = client.post("/api/search", files=upload(photos))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    service.busy = 0
    assert client.post("/api/search", files=upload(photos)).status_code == 200
    service.limits = Limits(rate=0, patience=-1)
    late = client.post("/api/search", files=upload(photos))
    assert (late.status_code, "no worker was free" in late.json()["error"]) == (503, True)
    assert service.busy == 0


def test_rates_are_averages() -> None:
    now = [0.0]
    rates = Rates(Limits(rate=60, burst=2), lambda: now[0])
    assert [rates.take("a") for _ in range(3)] == [0, 0, 1]
    assert rates.take("b") == 0
    now[0] = 1.0
    assert [rates.take("a"), rates.take("a")] == [0, 1]


def test_tokens_have_roles(folder: Path, photos: Path) -> None:
    reading, writing = make_token(folder, "reader"), make_token(folder, "writer", "write")
    assert reading not in (folder / "tokens.json").read_text()
    assert (folder / "tokens.json").stat().st_mode & 0o777 == 0o600
    client = client_of(folder, open=False)
    assert client.get("/api/status").status_code == 401
    assert client.get("/health").status_code == 200
    for headers in (
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic x"},
        {"cookie": "ilion_token=x"},
    ):
        assert client.get("/api/status", headers=headers).status_code == 401
    reader = {"authorization": f"Bearer {reading}"}
    assert client.get("/api/status", headers=reader).json()["role"] == "read"
    assert client.post("/api/search", files=upload(photos), headers=reader).status_code == 200
    assert client.post("/api/photos", files=upload(photos), headers=reader).status_code == 403
    assert client.delete("/api/photos", params={"id": "x"}, headers=reader).status_code == 403
    writer = {"authorization": f"Bearer {writing}"}
    assert client.post("/api/photos", files=upload(photos), headers=writer).status_code == 201
    cookie = client.post("/api/login", json={"token": reading}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/api/status").json()["role"] == "read"
    revoke_token(folder, "reader")
    assert client.get("/api/status").status_code == 401
    assert find_token(folder, reading) is None
    assert [token.name for token in tokens(folder)] == ["writer"]


def test_a_loopback_service_with_tokens_asks_for_them(folder: Path) -> None:
    client = client_of(folder)
    assert client.get("/api/status").status_code == 200
    make_token(folder, "a")
    assert client.get("/api/status").status_code == 401


def test_verdicts_are_kept_exported_and_forgotten(folder: Path, photos: Path, tmp_path: Path) -> None:
    from ilion.datasets import open_dataset

    store, index = Feedback(folder, 30), Index.open(folder)
    client = client_of(folder, feedback=store)
    found = client.post("/api/search", files=upload(photos), data={"box": "5,5,100,100"}).json()
    shown = next(o for o in found["objects"] if o["name"])
    body = {"search": found["search"], "photo": shown["photo"]["id"], "right": False}
    assert client.post("/api/feedback", json=body).json() == {"kept": True}
    assert client.post("/api/feedback", json={**body, "right": True}).json() == {"kept": True}
    assert client.post("/api/feedback", json={**body, "photo": "other"}).status_code == 404
    client.post("/api/search", files=upload(photos, 1))
    assert store.count() == (2, 1)
    done = store.export(index, tmp_path / "set")
    assert (done.queries, done.objects, done.photos, done.unconfirmed) == (1, 1, 30, 1)
    dataset = open_dataset(tmp_path / "set")
    [query] = dataset.queries
    assert query.instance == shown["name"]
    assert query.image is not None
    assert query.image.source.read() == picture(photos)
    assert len(dataset.positives[query.id]) == 4
    assert sum(len(list(shard.records())) for shard in dataset.database) == 30
    assert store.forget(names=[found["search"]]) == 1
    assert store.count() == (1, 0)
    assert picture(photos)[100:200] not in store.path.read_bytes()
    assert Feedback(folder, 0).count() == (0, 0)


def test_nothing_is_kept_unless_wanted(client: TestClient, photos: Path, folder: Path) -> None:
    client.post("/api/search", files=upload(photos))
    assert not (folder / "feedback.sqlite").exists()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(max_size=40), where=st.text(max_size=40), like=st.text(max_size=20), box=st.text(max_size=20)
)
def test_no_text_fails_the_server(shared: TestClient, text: str, where: str, like: str, box: str) -> None:
    form = {"text": text, "where": where, "like": like, "box": box}
    form = {key: value.encode("utf-8", "replace").decode() for key, value in form.items()}
    assert shared.post("/api/search", data=form).status_code < 500
    assert shared.get("/api/photo", params={"id": form["like"]}).status_code < 500


def test_a_body_that_does_not_arrive_in_time_is_told_so(folder: Path) -> None:
    app = make_app(Service(Index.open(folder), Limits(rate=0, seconds=0.2)))
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": b"--b\r\n", "more_body": True}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    async def send(message: Any) -> None:
        sent.append(dict(message))

    headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/search",
        "raw_path": b"/api/search",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    assert [m["status"] for m in sent if m["type"] == "http.response.start"] == [408]
    assert b"too long to arrive" in b"".join(m.get("body", b"") for m in sent)
