"""Texts as a model takes them: prompts around them, long ones in pieces.

A text tower reads a limited number of tokens and drops the rest. A long description can be read in pieces
instead, each within the limit, whose descriptors are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ilion.descriptors.pooling import l2_normalise
from ilion.errors import ConfigError
from ilion.types import Float32

LongTexts = Literal["cut", "average"]
PLACE = "{}"
"""Place of the text in a prompt."""


@dataclass(frozen=True)
class TextOptions:
    """Prompts, and the treatment of long texts.

    Args:
        prompts: Templates such as ``a photo of {}.``; the descriptors of all of them are averaged.
        long: ``cut`` leaves it to the model, which drops what exceeds its limit; ``average`` reads a long
            text in pieces and averages their descriptors.

    Raises:
        ConfigError: There is no prompt, or one has no place for the text or more than one.
    """

    prompts: tuple[str, ...] = (PLACE,)
    long: LongTexts = "cut"

    def __post_init__(self) -> None:
        for prompt in self.prompts:
            if prompt.count(PLACE) != 1:
                raise ConfigError(f"prompt {prompt!r}: write one {PLACE} where the text belongs")
        if not self.prompts:
            raise ConfigError(f"there is no prompt; {PLACE!r} is the text alone")


@runtime_checkable
class LimitedTexts(Protocol):
    """Text towers that read a limited number of tokens."""

    def count_long(self, texts: Sequence[str]) -> int:
        """Count the texts that exceed the limit in at least one prompt."""
        ...


def count_long(extractor: object, texts: Sequence[str]) -> int:
    """Count the texts that exceed what a model reads; 0 for one that does not say what it reads."""
    return extractor.count_long(texts) if isinstance(extractor, LimitedTexts) else 0


def count_longer(texts: Sequence[str], options: TextOptions, length: Callable[[str], int], most: int) -> int:
    """Count the texts that exceed a limit in at least one prompt.

    Args:
        texts: Texts.
        options: Prompts.
        length: Length of a text in tokens, marks included.
        most: Number of tokens that the model reads.

    >>> count_longer(["mug", "red mug"], TextOptions(("{}", "a {}")), len, 8)
    1
    """
    return sum(any(length(p.replace(PLACE, text)) > most for p in options.prompts) for text in texts)


def split_text(text: str, length: Callable[[str], int], most: int) -> list[str]:
    """Cut a text between words into pieces that a model reads whole.

    Args:
        text: A text.
        length: Length of a text in tokens.
        most: Number of tokens that the model reads.

    Returns:
        At least one piece; each is as long as fits. A single word that does not fit stays a piece.

    >>> split_text("one two three four five", lambda text: len(text.split()) + 2, 4)
    ['one two', 'three four', 'five']
    """
    if length(text) <= most:
        return [text]
    words, found, start = text.split(), [], 0
    while start < len(words):
        low, high = start + 1, len(words)
        while low < high:  # the largest end that fits
            middle = (low + high + 1) // 2
            if length(" ".join(words[start:middle])) <= most:
                low = middle
            else:
                high = middle - 1
        found.append(" ".join(words[start:low]))
        start = low
    return found or [text]


def describe_texts(
    texts: Sequence[str],
    options: TextOptions,
    encode: Callable[[Sequence[str]], Float32],
    length: Callable[[str], int],
    most: int,
) -> tuple[Float32, int]:
    """Describe texts with all prompts, long ones in pieces if asked.

    Args:
        texts: B texts.
        options: Prompts, and what happens to long texts.
        encode: Function of texts that returns (B, D) descriptors, L2-normalised.
        length: Length of a text in tokens, marks included.
        most: Number of tokens that the model reads.

    Returns:
        (B, D) means of the descriptors of each text, L2-normalised; and how many texts exceed the limit in at
        least one prompt.

    >>> def encode(texts):
    ...     return np.array([[1.0, 0.0] if "red" in text else [0.0, 1.0] for text in texts], np.float32)
    >>> values, long = describe_texts(
    ...     ["red mug", "mug"], TextOptions(("{}", "a photo of {}"), "average"), encode, len, 11
    ... )
    >>> values.round(2).tolist(), long
    ([[0.8899999856948853, 0.44999998807907104], [0.0, 1.0]], 2)
    """
    asked: list[str] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        for prompt in options.prompts:
            whole = prompt.replace(PLACE, text)
            if options.long == "average":
                # what the prompt itself takes is counted by measuring a piece inside it
                parts = [
                    prompt.replace(PLACE, piece)
                    for piece in split_text(text, lambda t, p=prompt: length(p.replace(PLACE, t)), most)  # type: ignore[misc]
                ]
            else:
                parts = [whole]
            asked += parts
            owners += [number] * len(parts)
    encoded = encode(asked)
    sums = np.zeros((len(texts), encoded.shape[1]), np.float64)
    np.add.at(sums, owners, encoded)
    return l2_normalise(sums.astype(np.float32)), count_longer(texts, options, length, most)
