"""Settings of asking a language model that sees pictures about the first results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ilion.config.plain import PathFrom
from ilion.reranking.asking import PROMPT
from ilion.reranking.asking_local import PREFIX
from ilion.types import Between


@dataclass(frozen=True)
class AskConfig:
    """What a language model is asked about the first results.

    Args:
        endpoint: Address of chat completions up to ``/v1``, such as ``http://127.0.0.1:8000/v1``; queries and
            results are sent there. "" asks nobody, unless the model is in this process.
        model: Name of the model there; or ``transformers:FOLDER`` for a model in this process.
        key: Name of the environment variable that holds the key of the endpoint, or "".
        first: Number of results of each query that are asked about.
        side: Longer side of the pictures that are sent, in pixels.
        prompt: Question, which must be answered by yes or no.
        timeout: Seconds to wait for an answer of an endpoint.
        workers: Number of questions at once; a model in this process takes one after the other.
    """

    endpoint: str = ""
    model: Annotated[str, PathFrom(PREFIX)] = ""
    key: str = ""
    first: Annotated[int, Between(1, 10000)] = 10
    side: Annotated[int, Between(32, 4096)] = 512
    prompt: str = PROMPT
    timeout: Annotated[float, Between(0.1, 3600)] = 60.0
    workers: Annotated[int, Between(1, 256)] = 4

    @property
    def local(self) -> bool:
        """Whether the model is in this process."""
        return self.model.startswith(PREFIX)

    @property
    def asks(self) -> bool:
        """Whether anybody is asked."""
        return bool(self.endpoint) or self.local
