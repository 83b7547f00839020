"""The service over an index: a JSON API and a page, for colleagues with phones and for programs.

Requests are received by one event loop; searches run in a few threads, and as many wait as the limits say.
Everything that a person sends is data: no address is ever fetched, no name becomes a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Body, FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from ilion._version import __version__
from ilion.errors import ArtifactError, DatasetError, IlionError, ImageError
from ilion.images import probe
from ilion.opening import parse_json
from ilion.serve.answers import Answer
from ilion.serve.feedback import Feedback
from ilion.serve.found import Matches
from ilion.serve.guards import Guarded, Limits, Refused
from ilion.serve.index import Index
from ilion.serve.page import link_of
from ilion.serve.photos import NewPhoto, digest_of, thumbnail
from ilion.serve.refusals import body_of
from ilion.serve.request import SearchRequest
from ilion.serve.tokens import Token, find_token, tokens
from ilion.serve.writer import add, remove
from ilion.types import Box, MemorySource
from ilion.wording import languages, load_words

log = logging.getLogger(__name__)
T = TypeVar("T")

REMEMBERED = 64
"""Searches whose matches can still be asked for."""
LINES = 60
"""Matches that are drawn of a pair."""
FULL = 1600
"""Longer side of a photo that is shown large, pixels."""
COOKIE = "ilion_token"
BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds of the histogram of searches."""
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}


@dataclass
class Asked:
    """A search that was answered, for what is asked about it later."""

    answer: Answer
    matches: Matches


@dataclass
class Service:
    """What the requests share.

    Args:
        index: The index.
        limits: Limits of a request.
        workers: Number of threads that search.
        feedback: Store of searches and verdicts; None keeps nothing.
        open: Whether those without a token may do everything, as on a machine of one's own.
    """

    index: Index
    limits: Limits = field(default_factory=Limits)
    workers: int = 2
    feedback: Feedback | None = None
    open: bool = True

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="search")
        self.asked: OrderedDict[str, Asked] = OrderedDict()
        self.lock = threading.Lock()
        self.busy = 0
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: list[int] = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    async def work(self, job: Callable[[], T]) -> T:
        """Do something in a worker thread.

        Raises:
            Refused: All workers are busy, and enough searches wait already, or it waited for too long.
        """
        if self.busy >= self.workers + self.limits.waiting:
            raise Refused(503, "all workers are busy; try again in a moment", 2)
        last = time.monotonic() + self.limits.patience

        def begin() -> T:
            # whoever asked so long ago has gone, and the work would keep those waiting who are still there
            if time.monotonic() > last:
                raise Refused(503, "no worker was free for too long; try again in a moment", 2)
            return job()

        self.busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, begin)
        finally:
            self.busy -= 1

    def remember(self, answer: Answer, matches: Matches) -> str:
        """Keep a search for a while, and return its name."""
        name = secrets.token_urlsafe(12)
        with self.lock:
            self.asked[name] = Asked(answer, matches)
            while len(self.asked) > REMEMBERED:
                self.asked.popitem(last=False)
        return name

    def measure(self, seconds: float) -> None:
        """Count a search."""
        with self.lock:
            self.total += seconds
            at = next((n for n, most in enumerate(BUCKETS) if seconds <= most), len(BUCKETS))
            self.seconds[at] += 1

    def who(self, request: Request) -> Token:
        """Return who asks.

        Raises:
            Refused: The token is missing or wrong.
        """
        return holder_of(self.index.folder, request, self.open)

    def check_photo(self, data: bytes) -> None:
        """Look at the header of an uploaded photo before anything is decoded.

        Raises:
            ImageError: The bytes are no photo.
            Refused: The photo has too many pixels.
        """
        width, height = probe(data, where="the photo").size
        if width * height > self.limits.pixels:
            most = self.limits.pixels / 1e6
            raise Refused(
                413, f"the photo has {width * height / 1e6:.0f} megapixels; at most {most:.0f} are read"
            )


def make_app(
    service: Service, hosts: frozenset[str] = frozenset(("127.0.0.1", "localhost", "::1"))
) -> Guarded:
    """Return the application over an index.

    Args:
        service: State shared by the requests.
        hosts: Names by which the service may be called.
    """
    app = FastAPI(title="Ilion", version=__version__, docs_url=None, redoc_url=None)
    index = service.index
    started = time.time()

    @app.middleware("http")
    async def counted(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await proceed(request)
        route = request.scope.get("route")
        service.requests[getattr(route, "path", "other"), response.status_code] += 1
        return response

    answer_errors(app, index.folder)

    def asset(name: str, kind: str) -> Response:
        data = (resources.files("ilion.serve") / "assets" / name).read_bytes()
        return Response(data, media_type=kind, headers={"cache-control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return asset("page.html", "text/html")

    @app.get("/assets/strings.json", include_in_schema=False)
    async def strings() -> Response:
        said = {language: load_words("serve", language).section("page") for language in languages()}
        return JSONResponse(said, headers={"cache-control": "no-cache"})

    @app.get("/assets/{name}", include_in_schema=False)
    async def assets(name: str) -> Response:
        if name not in _ASSETS:
            raise Refused(404, "there is no such file")
        return asset(name, _ASSETS[name])

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok", "version": __version__}

    @app.get("/ready", responses={503: {}})
    async def ready() -> dict[str, str]:
        """Say that the index is open and searches are answered."""
        await service.work(index.warm)
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Return counters for Prometheus."""
        return _metrics(service, started)

    @app.get("/api/status")
    async def status(request: Request) -> dict[str, Any]:
        """Return what the index holds, and what the one who asks may do."""
        who = service.who(request)
        found = await service.work(index.status)
        return {
            "photos": found.photos,
            "objects": found.objects,
            "without_descriptor": found.without_descriptor,
            "labels": dict(found.labels),
            "texts": found.texts,
            "design": found.design,
            "revision": found.revision,
            "role": who.role,
            "feedback": service.feedback is not None,
            "limits": asdict(service.limits),
        }

    accept_tokens(app, index.folder)

    @app.post("/api/search")
    async def search(
        request: Request,
        photo: Annotated[UploadFile | None, File()] = None,
        like: Annotated[str, Form(max_length=500)] = "",
        text: Annotated[str, Form(max_length=500)] = "",
        box: Annotated[str, Form(max_length=100)] = "",
        where: Annotated[str, Form(max_length=2000)] = "",
        k: Annotated[int, Form(ge=1, le=100)] = 10,
    ) -> dict[str, Any]:
        """Search by a photo, by a photo of the index (its id in `like`), by a text, or by photo and text.

        `box` is the part of the photo that shows the object: left,top,width,height in pixels of the upright
        photo. `where` is a filter such as `category=valve and site=Osaka`.
        """
        service.who(request)
        data = await photo.read() if photo is not None and photo.filename is not None else b""
        if data:
            service.check_photo(data)
        wanted = SearchRequest(data or None, box_of(box), text, like, where, k)
        answer, matches = await service.work(lambda: index.ask(wanted))
        service.measure(answer.searched.seconds)
        name = service.remember(answer, matches)
        if service.feedback is not None:
            store = service.feedback
            await service.work(lambda: store.keep(name, answer, photo=data, box=box, text=text, where=where))
        return {"search": name, **answer.as_dict()}

    @app.get("/api/searches/{search}/matches")
    async def matched(
        request: Request, search: str, photo: Annotated[str, Query(max_length=500)]
    ) -> dict[str, Any]:
        """Return the points of the query and of a found photo that belong together, in pixels of each."""
        service.who(request)
        asked = service.asked.get(search)
        if asked is None:
            raise Refused(404, "this search is not remembered any more; search again")
        found = await service.work(lambda: asked.matches.explain(photo))
        if found is None:
            return {"compared": False, "lines": [], "outline": None}
        link = link_of(found)
        pairs = [
            [*map(float, a), *map(float, b)]
            for a, b, agrees in zip(link.query, link.image, link.inliers, strict=True)
            if agrees
        ]
        outline = None if link.outline is None else [[float(x), float(y)] for x, y in link.outline]
        return {"compared": True, "lines": pairs[:LINES], "points": len(pairs), "outline": outline}

    @app.get("/api/photo", response_class=Response)
    async def picture(
        request: Request,
        id: Annotated[str, Query(max_length=500)],
        size: Annotated[str, Query(pattern="^(small|large)$")] = "small",
    ) -> Response:
        """Return a photo of the index as JPEG, `small` or `large`; it is always encoded anew."""
        service.who(request)
        if size == "small":
            jpeg = await service.work(lambda: index.thumbnail(id))
        else:
            jpeg = await service.work(lambda: thumbnail(_bytes_of(index, id), side=FULL))
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.get("/api/objects")
    async def objects(
        request: Request, starts: Annotated[str, Query(max_length=100)] = ""
    ) -> dict[str, list[str]]:
        """Return names of objects, by their beginning."""
        service.who(request)
        return {"objects": await service.work(lambda: index.objects(starts, 50))}

    @app.post("/api/photos", status_code=201)
    async def add_photo(
        request: Request,
        photo: Annotated[UploadFile, File()],
        object: Annotated[str, Form(max_length=200)] = "",
        id: Annotated[str, Form(max_length=200)] = "",
        labels: Annotated[str, Form(max_length=5000)] = "",
    ) -> dict[str, Any]:
        """Add a photo to an object, or replace the one of that id. It is found when this returns."""
        _writer(service, request)
        data = await photo.read()
        service.check_photo(data)
        name = id or f"uploads/{digest_of(data)}"
        for value in (name, object):
            if any(ord(c) < 32 or ord(c) == 127 for c in value):
                raise Refused(422, "names must not have control characters")
        new = NewPhoto(name, MemorySource(name, data), {object: ()} if object else {}, labels_of(labels))
        done = await service.work(lambda: add(index, photos=[new], wait=5.0, before=False))
        if done.unreadable:
            raise ImageError(f"the photo cannot be read: {next(iter(done.unreadable.values()))}")
        return {"id": name, "added": done.added, "replaced": done.replaced, "unchanged": done.unchanged}

    @app.delete("/api/photos")
    async def remove_photo(request: Request, id: Annotated[str, Query(max_length=500)]) -> dict[str, int]:
        """Remove a photo: it is gone from answers at once."""
        _writer(service, request)
        if id.startswith("object:"):
            raise Refused(422, "name one photo")
        return {"removed": await service.work(lambda: remove(index, [id], wait=5.0))}

    @app.post("/api/feedback", responses={409: {}})
    async def feedback(
        request: Request,
        search: Annotated[str, Body(max_length=100)],
        photo: Annotated[str, Body(max_length=500)],
        right: Annotated[bool, Body()],
    ) -> dict[str, bool]:
        """Say whether a found photo shows what was searched for."""
        who = service.who(request)
        store = service.feedback
        if store is None:
            raise Refused(409, "this service keeps no searches; start it with --feedback DAYS")
        asked = service.asked.get(search)
        if asked is None or photo not in asked.matches.rows:
            raise Refused(404, "this search is not remembered any more; search again")
        names = next((f.objects for f in asked.answer.photos if f.id == photo), ())
        names = names or next((f.photo.objects for f in asked.answer.objects if f.photo.id == photo), ())
        await service.work(lambda: store.judge(search, photo, names, right, who.name))
        return {"kept": True}

    return Guarded(app, service.limits, hosts)


def holder_of(folder: Path, request: Request, is_open: bool) -> Token:
    """Return who asks.

    Args:
        folder: Folder with the tokens.
        request: The request.
        is_open: Whether those without a token may do everything as long as nobody holds one.

    Raises:
        Refused: The token is missing or wrong.
    """
    given = request.headers.get("authorization", "")
    token = given[7:] if given[:7].lower() == "bearer " else request.cookies.get(COOKIE, "")
    if token:
        found = find_token(folder, token.strip())
        if found is not None:
            return found
        raise Refused(401, "this token is not known; ask for a new one")
    if is_open and not tokens(folder):
        return Token("somebody", "write")
    raise Refused(401, "a token is needed: send it as 'Authorization: Bearer TOKEN'")


def keep_token(response: Response, request: Request, token: str) -> Response:
    """Keep a token as a cookie that scripts cannot read."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
    return response


def accept_tokens(app: FastAPI, folder: Path) -> None:
    """Let pages exchange a token for a cookie."""

    @app.post("/api/login")
    async def login(request: Request, token: Annotated[str, Body(embed=True, max_length=200)]) -> Response:
        """Keep a token as a cookie that scripts cannot read, for the page."""
        found = find_token(folder, token)
        if found is None:
            raise Refused(401, "this token is not known; ask for a new one")
        return keep_token(JSONResponse({"name": found.name, "role": found.role}), request, token)


def answer_errors(app: FastAPI, folder: Path) -> None:
    """Let an application answer errors in one sentence, without the paths of this machine."""

    def refusal(
        request: Request, reason: str, status: int, headers: Mapping[str, str] | None = None
    ) -> Response:
        return JSONResponse(body_of(reason, request.headers.get("accept-language", "")), status, headers)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        headers = {"retry-after": str(error.after)} if error.after else {}
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return refusal(request, error.reason, error.status, headers)

    @app.exception_handler(IlionError)
    async def wrong(request: Request, error: IlionError) -> Response:
        if isinstance(error, ArtifactError):
            log.warning("%s", error)  # it names files, which are nobody's business out there
            reason = "the index is being changed or cannot be read now; try again in a moment"
            return refusal(request, reason, 503, {"retry-after": "5"})
        missing = isinstance(error, DatasetError) and not isinstance(error, ImageError)
        return refusal(request, str(error).replace(str(folder), "the index"), 404 if missing else 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()[:5])
        return refusal(request, f"the request cannot be read: {said}", 422)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        return refusal(request, str(error.detail), error.status_code, dict(error.headers or {}))


def _bytes_of(index: Index, photo: str) -> bytes:
    try:
        return index.source(photo).read()
    except OSError:
        raise DatasetError(f"the file of {photo!r} is not there any more") from None


def _writer(service: Service, request: Request) -> None:
    if not service.who(request).writes:
        raise Refused(403, "this token may search only; changes need one of role 'write'")


def box_of(text: str) -> Box | None:
    """Return the box of a request; None where it is empty.

    Raises:
        Refused: The text is no box.

    >>> box_of("1,2,3,4")
    Box(x=1.0, y=2.0, width=3.0, height=4.0)
    """
    if not text.strip():
        return None
    try:
        return Box(*(float(part) for part in text.split(",")))
    except (ValueError, TypeError, DatasetError):
        raise Refused(422, "box: write left,top,width,height in pixels, such as 10,20,300,400") from None


def labels_of(text: str) -> dict[str, str]:
    """Return the labels of a request, which are a JSON object of texts.

    Raises:
        Refused: The labels are no such object.
    """
    found: Any = None
    with contextlib.suppress(ValueError):
        found = parse_json(text) if text.strip() else {}
    texts = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    if not texts or len(found) > 50 or any(len(k) > 100 or len(v) > 500 or not k for k, v in found.items()):
        raise Refused(422, 'labels: write a JSON object of texts, such as {"site": "Osaka"}')
    return {str(name): str(value) for name, value in found.items()}


def _metrics(service: Service, started: float) -> str:
    lines = ["# TYPE ilion_requests_total counter"]
    for (route, status), count in sorted(service.requests.items()):
        lines.append(f'ilion_requests_total{{route="{route}",status="{status}"}} {count}')
    lines.append("# TYPE ilion_search_seconds histogram")
    below = 0
    for most, count in zip((*map(str, BUCKETS), "+Inf"), service.seconds, strict=True):
        below += count
        lines.append(f'ilion_search_seconds_bucket{{le="{most}"}} {below}')
    lines += [f"ilion_search_seconds_sum {service.total:.6f}", f"ilion_search_seconds_count {below}"]
    lines += ["# TYPE ilion_busy gauge", f"ilion_busy {service.busy}"]
    if (holders := service.index.holders) is not None:
        lines += ["# TYPE ilion_asked_again_total counter", f"ilion_asked_again_total {holders.retries}"]
    lines += ["# TYPE ilion_started_seconds gauge", f"ilion_started_seconds {started:.0f}"]
    return "\n".join(lines) + "\n"
