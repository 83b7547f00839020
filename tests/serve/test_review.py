"""A live review: several people answer, see how far they agree, and what they agree on is applied."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from ilion import api
from ilion.audit.suspects import Audit, Numbers, Suspect, write_audit
from ilion.cli import app
from ilion.serve.guards import Limits
from ilion.serve.review import PATH, Review, make_review
from ilion.serve.tokens import make_token
from tests.conftest import draw_photo

pytestmark = pytest.mark.slow

NUMBERS = Numbers(0.5, 0.6, 0.4, 0.7)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """The folder of an audit of two photos that lack a label and one that has a wrong one."""
    root = tmp_path / "set"
    for name in ("objects/mug/query/q", "objects/mug/positive/p", "distractors/a", "distractors/b"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.jpg").write_bytes(draw_photo(len(name), (48, 48)))
    ids = ("distractors/a.jpg", "distractors/b.jpg")
    suspects = (
        *(Suspect("unlabelled", (name, "mug/query/q.jpg"), "mug", 0.9) for name in ids),
        Suspect("wrong-label", ("mug/positive/p.jpg",), "mug", 0.5),
    )
    found = Audit(str(root), "set", "", suspects, NUMBERS, NUMBERS, 10, 4, {"mug": ("mug/query/q.jpg",)})
    write_audit(tmp_path / "audit", found)
    return tmp_path / "audit"


def client_of(folder: Path) -> TestClient:
    made = make_review(Review(folder, Limits(rate=0)))
    return TestClient(made, base_url="http://localhost", raise_server_exceptions=False)


def test_reviewers_answer_agree_and_what_they_agree_on_is_applied(audit: Path, tmp_path: Path) -> None:
    client, keys = client_of(audit), [s.key for s in Review(audit).audit.suspects]
    assert client.get(PATH).json()["reviewers"] == 0
    assert not (audit / "reviews.sqlite").exists(), "reading leaves nothing behind"

    def answer(who: str, key: str, said: str) -> dict[str, object]:
        done = client.post(PATH, json={"key": key, "answer": said, "who": who})
        assert done.status_code == 200, done.text
        return dict(done.json())

    for key, said in zip(keys, ("same", "same", "different"), strict=True):
        answer("aki", key, said)
    answer("ben", keys[0], "same")
    assert answer("ben", keys[1], "different")["disputed"] == [keys[1]]
    found = client.get(PATH, params={"who": "cho"}).json()
    assert (found["answers"], found["disputed"], found["reviewers"]) == ({}, [], 2)
    assert (found["shared"], found["kappa"]) == (2, pytest.approx(-1 / 3))
    answer("ben", keys[2], "same")
    undone = client.request("DELETE", PATH, json={"key": keys[2], "who": "ben"}).json()
    assert keys[2] not in undone["answers"]
    assert client.post(PATH, json={"key": "x", "answer": "same"}).status_code == 404
    assert client.post(PATH, json={"key": keys[0], "answer": "maybe"}).status_code == 422
    told = CliRunner().invoke(app, ["audit", "agree", str(audit)])
    assert "Fleiss' kappa -0.33" in told.output
    done = api.apply_audit(audit)
    assert (done.decided, done.labels) == (2, 2)
    assert "aki, ben" in (tmp_path / "set" / "amendments" / "0001.csv").read_text()


def test_who_holds_a_token_answers_by_that_name(audit: Path) -> None:
    token = make_token(audit, "dai")
    client, key = client_of(audit), Review(audit).audit.suspects[0].key
    assert client.get(PATH).status_code == 401
    refused = client.get("/", headers={"accept-language": "ja"})
    assert refused.status_code == 401
    assert "トークン" in refused.text
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    page = client.post("/login", data={"token": token})
    assert f'data-live="{PATH}"' in page.text
    assert "connect-src &#39;self&#39;" in page.text
    said = client.post(PATH, json={"key": key, "answer": "same", "who": "somebody else"}).json()
    assert (said["who"], said["known"]) == ("dai", True)
    other = client.post(PATH, json={"key": key, "answer": "same"}, headers={"origin": "http://elsewhere"})
    assert other.status_code == 403


def test_a_wrong_token_shows_the_page_that_asks_for_it_again_in_its_language(audit: Path) -> None:
    make_token(audit, "aki")
    client = client_of(audit)
    for language, beginning in (
        ("ja-JP,ja;q=0.9", "このトークンは登録されていません"),
        ("en", "this token is not known"),
    ):
        answer = client.post("/login", data={"token": "wrong"}, headers={"accept-language": language})
        assert answer.status_code == 401
        assert answer.headers["content-type"].startswith("text/html")
        assert f'<p role="alert">{beginning}' in answer.text
        assert 'name="token"' in answer.text
        assert '<p role="alert"></p>' in client.get("/", headers={"accept-language": language}).text


def test_what_a_review_refuses_is_said_in_the_language_of_the_page(audit: Path) -> None:
    client = client_of(audit)
    answer = client.post(PATH, json={"key": "x", "answer": "same"}, headers={"accept-language": "ja"})
    assert answer.json()["code"] == "no_suspect"
    assert answer.json()["said"] == "その候補は、この監査にはありません"
    page = client.get("/", params={"language": "ja"}).text
    assert '"accept-language": document.documentElement.lang' in page
    assert "found.said" in page
