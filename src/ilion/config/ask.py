"""Settings of asking a language model that sees pictures about the first results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ilion.reranking.asking import PROMPT
from ilion.types import Between


@dataclass(frozen=True)
class AskConfig:
    """What a language model is asked about the first results.

    Args:
        endpoint: Address of chat completions up to ``/v1``, such as ``http://127.0.0.1:8000/v1``; "" asks
            nobody. Queries and results are sent there.
        model: Name of the model there.
        key: Name of the environment variable that holds the key of the endpoint, or "".
        first: Number of results of each query that are asked about.
        side: Longer side of the pictures that are sent, in pixels.
        prompt: Question, which must be answered by yes or no.
        timeout: Seconds to wait for an answer.
        workers: Number of questions at once.
    """

    endpoint: str = ""
    model: str = ""
    key: str = ""
    first: Annotated[int, Between(1, 10000)] = 10
    side: Annotated[int, Between(32, 4096)] = 512
    prompt: str = PROMPT
    timeout: Annotated[float, Between(0.1, 3600)] = 60.0
    workers: Annotated[int, Between(1, 256)] = 4
