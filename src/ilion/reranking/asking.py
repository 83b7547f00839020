"""Ask a language model that sees pictures whether two photos show the same object.

It lies behind an address, or in this process (`asking_local`). An endpoint speaks OpenAI's chat completions,
as many local servers and hosted services do. Photos go to wherever the user points it, and nowhere else.
Answers are kept by the digest of what was asked, so that nothing is asked twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import simplejpeg
import urllib3

from ilion.errors import ConfigError, ExtractionError
from ilion.opening import parse_json
from ilion.storage import read_json, write_json
from ilion.types import RGB, Bool, Float32, Ranking, Value

PROMPT = (
    "Does the second picture show exactly the same object as the first one (the same product, place or item, "
    "not just one of the same kind)? Answer yes or no."
)
MOST_ANSWER = 1 << 20
"""Most bytes of an answer that are read."""
RETRIES = 3
_AGAIN = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """What a model said about one pair.

    Args:
        score: Certainty that both show the same object, [0, 1].
        prompt_tokens: Tokens of the question, pictures included; 0 where the endpoint does not say.
        answer_tokens: Tokens of the answer.
        seconds: Time that the answer took.
        kept: Whether it was known from before.
    """

    score: float
    prompt_tokens: int
    answer_tokens: int
    seconds: float
    kept: bool = False


class Judge(ABC):
    """A model that is asked, with its answers on disk; safe for threads.

    Args:
        name: Name of the model, on which the answers depend beside the pictures and the question.
        cache: Folder of the answers.
        prompt: Question, asked before both pictures.
    """

    def __init__(self, name: str, cache: Path, prompt: str) -> None:
        self._name, self._cache, self._prompt = name, cache, prompt

    def ask(self, query: bytes, image: bytes) -> Answer:
        """Ask about two pictures in JPEG.

        Raises:
            ExtractionError: The model cannot be asked, or answers something else.
        """
        digest = hashlib.blake2b(digest_size=20)
        for part in (self._name.encode(), self._prompt.encode(), query, image):
            digest.update(len(part).to_bytes(8, "big") + part)
        path = self._cache / digest.hexdigest()[:2] / f"{digest.hexdigest()}.json"
        if path.is_file():
            return replace(Answer(**read_json(path)), kept=True)
        answer = self._answer(query, image)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {k: v for k, v in vars(answer).items() if k != "kept"})
        return answer

    @abstractmethod
    def _answer(self, query: bytes, image: bytes) -> Answer:
        """Ask the model itself."""


class Endpoint(Judge):
    """A model behind an address.

    Args:
        address: Address up to ``/v1``, such as ``http://127.0.0.1:8000/v1``.
        model: Name of the model there.
        key: Secret that is sent as a bearer token, or "". It is neither stored nor shown.
        cache: Folder of the answers.
        prompt: Question, asked before both pictures.
        timeout: Seconds to wait for an answer.

    Raises:
        ConfigError: The address is no http address, or a key would go over the open network unencrypted.
    """

    def __init__(
        self, address: str, model: str, key: str, cache: Path, prompt: str = PROMPT, timeout: float = 60.0
    ) -> None:
        super().__init__(model, cache, prompt)
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(f"ask.endpoint = {address!r} is no address such as http://127.0.0.1:8000/v1")
        if key and parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError(
                f"ask.endpoint = {address!r}: a key is sent over https only; use an https address"
            )
        self._url = address.rstrip("/") + "/chat/completions"
        self._key = key
        self._pool = urllib3.PoolManager(maxsize=256, timeout=urllib3.Timeout(timeout), retries=False)

    def _answer(self, query: bytes, image: bytes) -> Answer:
        started = time.perf_counter()
        content = self._send(
            {
                "model": self._name,
                "temperature": 0,
                "max_tokens": 4,
                "logprobs": True,
                "top_logprobs": 10,
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": self._prompt}, _picture(query), _picture(image)],
                    }
                ],
            }
        )
        try:
            choice, usage = content["choices"][0], content.get("usage") or {}
            return Answer(
                read_score(choice),
                int(usage.get("prompt_tokens", 0)),
                int(usage.get("completion_tokens", 0)),
                time.perf_counter() - started,
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ExtractionError(
                f"{self._url}: answered {str(content)[:200]!r}; expected yes or no"
            ) from error

    def _send(self, question: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        body, said = json.dumps(question).encode(), ""
        for attempt in range(RETRIES + 1):
            try:
                answer = self._pool.request(
                    "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False
                )
                data = answer.read(MOST_ANSWER + 1)
                answer.release_conn()
            except urllib3.exceptions.HTTPError as error:
                said = f"cannot be asked ({error})"
            else:
                if len(data) > MOST_ANSWER:
                    raise ExtractionError(f"{self._url}: the answer is larger than {MOST_ANSWER:,} bytes")
                if answer.status == 200:
                    try:
                        return parse_json(data)
                    except ValueError as error:
                        raise ExtractionError(f"{self._url}: the answer is no JSON ({error})") from error
                said = f"answered {answer.status}: {data[:200].decode('utf-8', 'replace')!r}"
                if answer.status not in _AGAIN:
                    break
            if attempt < RETRIES:
                time.sleep(0.2 * 4**attempt)
        raise ExtractionError(
            f"{self._url}: {said}; check ask.endpoint, ask.model and ask.key, and run again"
        )


def read_score(choice: dict[str, Any]) -> float:
    """Return the certainty of a yes: from the likelihoods of the first word where the endpoint tells them.

    Raises:
        ValueError: The answer is neither yes nor no.

    >>> read_score({"message": {"content": "Yes."}})
    1.0
    """
    tokens = ((choice.get("logprobs") or {}).get("content")) or []
    for token in tokens:
        known = {"yes": 0.0, "no": 0.0}
        for each in token.get("top_logprobs") or [token]:
            word = plain_word(each["token"])
            if word in known:
                known[word] += math.exp(float(each["logprob"]))
        if sum(known.values()) > 0:
            return known["yes"] / sum(known.values())
    word = str(choice["message"]["content"]).strip().strip(".,!\"'*").lower()
    for start, score in (("yes", 1.0), ("no", 0.0)):
        if word.startswith(start):
            return score
    raise ValueError(f"neither yes nor no: {word!r}")


def plain_word(token: object) -> str:
    """Return a token without what stands around its word, in small letters.

    >>> plain_word(" Yes.")
    'yes'
    """
    return str(token).strip(" .,!\"'").lower()


@dataclass(frozen=True)
class Asked(Value):
    """What asking came to.

    Args:
        ranking: Ranking with the first results in the order of the answers.
        scores: (Q, n) certainty of each; NaN where nothing was asked.
        calls: Number of questions that were sent now.
        kept: Number that was known from before.
        prompt_tokens: Tokens of all questions, also those of before.
        answer_tokens: Tokens of all answers.
        seconds: Seconds of all answers, when they were given.
    """

    ranking: Ranking
    scores: Float32
    calls: int
    kept: int
    prompt_tokens: int
    answer_tokens: int
    seconds: float


def ask_about(
    ranking: Ranking,
    query: Callable[[int], RGB | None],
    image: Callable[[int], RGB],
    judge: Judge,
    first: int,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Asked:
    """Put the first results of each query in the order of a model's answers; ties keep their order.

    Args:
        ranking: The results before.
        query: Function from a query's number to its picture; None for one without, which is left as it is.
        image: Function from a database row to its picture.
        judge: The model.
        first: Number of results asked about.
        workers: Number of questions at once.
        progress: Callback that receives queries done and queries in all.
    """
    n = min(first, ranking.indices.shape[1])
    scores = np.full((len(ranking.query_ids), n), np.nan, np.float32)
    answers: list[Answer] = []

    def ask(pair: tuple[bytes, int]) -> Answer:
        return judge.ask(pair[0], encode(image(pair[1])))

    with ThreadPoolExecutor(workers) as pool:
        for number in range(len(ranking.query_ids)):
            picture = query(number)
            if picture is not None:
                asked = encode(picture)
                rows = [row for row in ranking.indices[number, :n].tolist() if row >= 0]
                found = list(pool.map(ask, [(asked, row) for row in rows]))
                answers += found
                scores[number, : len(rows)] = [answer.score for answer in found]
            if progress:
                progress(number + 1, len(ranking.query_ids))
    return Asked(
        reorder(ranking, scores),
        scores,
        sum(not answer.kept for answer in answers),
        sum(answer.kept for answer in answers),
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.answer_tokens for answer in answers),
        sum(answer.seconds for answer in answers),
    )


def reorder(ranking: Ranking, scores: Float32) -> Ranking:
    """Put the first results in the order of scores in [0, 1]; where they are NaN, nothing moves.

    Their similarities become that of the last of them plus the score, so that they stay above the rest.

    >>> ranking = Ranking.from_dict({"q": {"a": 0.9, "b": 0.5, "c": 0.1}})
    >>> reorder(ranking, np.array([[0.25, 1.0]], np.float32)).to_dict()
    {'q': {'b': 1.5, 'a': 0.75, 'c': 0.10000000149011612}}
    """
    indices, values = ranking.indices.copy(), ranking.similarities.copy()
    known: Bool = ~np.isnan(scores)
    for number, part in enumerate(known):
        count = int(part.sum())
        if count:
            order = np.argsort(-scores[number, :count], kind="stable")
            indices[number, :count] = indices[number, :count][order]
            values[number, :count] = values[number, count - 1] + scores[number, :count][order]
    return replace(ranking, indices=indices, similarities=values)


def encode(picture: RGB) -> bytes:
    """Encode a picture as JPEG, the same bytes for the same picture."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=90))


def _picture(data: bytes) -> dict[str, Any]:
    url = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    return {"type": "image_url", "image_url": {"url": url}}
