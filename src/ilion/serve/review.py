"""The page of an audit, live: several reviewers answer at the same time, and see how far they agree."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from ilion._version import __version__
from ilion.audit.agreement import agree
from ilion.audit.decisions import NOBODY
from ilion.audit.reviews import Reviews
from ilion.audit.suspects import ANSWERS, Answer, read_audit
from ilion.datasets import open_dataset
from ilion.report.audit import render_audit
from ilion.serve.guards import Guarded, Limits, Refused
from ilion.serve.refusals import spoken
from ilion.serve.service import accept_tokens, answer_errors, holder_of, keep_token
from ilion.serve.tokens import find_token, tokens
from ilion.wording import languages, load_words

PATH = "/api/review"
_OWN_POLICY = {"content-security-policy": "frame-ancestors 'none'", "cache-control": "no-store"}
"""The page has a policy of its own, which knows its style and its script."""
_LOGIN = Markup(
    '<!doctype html><html lang="{language}"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
    '<form method="post" action="/login"><p>{help}</p><p role="alert">{said}</p><p><label>{token} '
    '<input name="token" type="password" autocomplete="current-password" required></label> '
    "<button>{button}</button></p></form></html>"
)


@dataclass
class Review:
    """What the requests share.

    Args:
        folder: Folder of the audit.
        limits: Limits of a request.
        open: Whether those without a token may answer as long as nobody holds one.

    Raises:
        ArtifactError: The folder holds no audit.
        DatasetError: The data set of the audit cannot be read.
    """

    folder: Path
    limits: Limits = field(default_factory=Limits)
    open: bool = True

    def __post_init__(self) -> None:
        self.audit = read_audit(self.folder)
        self.dataset = open_dataset(Path(self.audit.dataset), unlabelled=True)
        self.store = Reviews(self.folder)
        self.keys = frozenset(suspect.key for suspect in self.audit.suspects)
        self._pages: dict[str, str] = {}
        self._lock = threading.Lock()

    def page(self, language: str) -> str:
        """Return the page, which is made once for each language."""
        with self._lock:
            if language not in self._pages:
                self._pages[language] = render_audit(self.audit, self.dataset, language=language, live=PATH)
            return self._pages[language]

    def name(self, request: Request, given: str) -> tuple[str, bool]:
        """Return who answers, and whether that is by a token; those without one name themselves."""
        holder = holder_of(self.folder, request, self.open)
        if tokens(self.folder):
            return holder.name, True
        return given.strip() or NOBODY, False

    def state(self, who: str, known: bool) -> dict[str, Any]:
        """Return what the page shows: a reviewer's own answers, and how far all agree."""
        answers = self.store.answers()
        found = agree(answers)
        # what is disputed tells what others said: only to those who have answered
        own = answers.get(who, {})
        return {
            "who": who,
            "known": known,
            "answers": own,
            "reviewers": len(answers),
            "shared": found["shared"],
            "kappa": found["fleiss"],
            "disputed": [key for key in found["disputed"] if key in own],
        }


def make_review(
    review: Review, hosts: frozenset[str] = frozenset(("127.0.0.1", "localhost", "::1"))
) -> Guarded:
    """Return the application over an audit.

    Args:
        review: State shared by the requests.
        hosts: Names by which the service may be called.
    """
    app = FastAPI(title="Ilion review", version=__version__, docs_url=None, redoc_url=None)
    answer_errors(app, review.folder)
    accept_tokens(app, review.folder)

    def login_page(language: str, said: str = "") -> Response:
        words = load_words("serve", language)
        texts = {name: words(f"page.token{name and '_'}{name}") for name in ("", "help", "button")}
        filled = _LOGIN.format(
            language=language,
            title=review.audit.name,
            help=texts["help"],
            said=said,
            token=texts[""],
            button=texts["button"],
        )
        return HTMLResponse(filled, 401)

    @app.get("/", include_in_schema=False)
    async def page(request: Request, language: Annotated[str, Query(max_length=10)] = "") -> Response:
        chosen = language if language in languages() else spoken(request.headers.get("accept-language", ""))
        try:
            review.name(request, "")
        except Refused:
            return login_page(chosen)
        return HTMLResponse(await run_in_threadpool(review.page, chosen), headers=_OWN_POLICY)

    @app.post("/login", include_in_schema=False)
    async def login(request: Request, token: Annotated[str, Form(max_length=200)]) -> Response:
        if find_token(review.folder, token.strip()) is None:
            chosen = spoken(request.headers.get("accept-language", ""))
            return login_page(chosen, load_words("serve", chosen)("refusal.unknown_token"))
        return keep_token(RedirectResponse("/", 303), request, token.strip())

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok", "version": __version__}

    @app.get(PATH)
    async def own(request: Request, who: Annotated[str, Query(max_length=100)] = "") -> dict[str, Any]:
        """Return the answers of a reviewer, and how far all reviewers agree."""
        return await run_in_threadpool(review.state, *review.name(request, who))

    @app.post(PATH)
    async def answer(
        request: Request,
        key: Annotated[str, Body(max_length=100)],
        answer: Annotated[Answer, Body()],
        who: Annotated[str, Body(max_length=100)] = "",
    ) -> dict[str, Any]:
        """Keep an answer."""
        name, known = review.name(request, who)
        if key not in review.keys or answer not in ANSWERS:
            raise Refused(404, "there is no such suspect in this audit")
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        await run_in_threadpool(review.store.answer, key, name, answer, now)
        return await run_in_threadpool(review.state, name, known)

    @app.delete(PATH)
    async def undo(
        request: Request,
        key: Annotated[str, Body(max_length=100)],
        who: Annotated[str, Body(max_length=100)] = "",
    ) -> dict[str, Any]:
        """Forget an answer of one's own."""
        name, known = review.name(request, who)
        await run_in_threadpool(review.store.take_back, key, name)
        return await run_in_threadpool(review.state, name, known)

    return Guarded(app, review.limits, hosts)
