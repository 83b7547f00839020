"""Ask a language model that sees pictures in this process: any image-and-text model of transformers."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import simplejpeg

from ilion.errors import ConfigError, ExtractionError
from ilion.reranking.asking import PROMPT, Answer, Judge, plain_word
from ilion.runtime.torch import extra_library, torch_device, weights_digest
from ilion.types import Float64, Int64

PREFIX = "transformers:"
"""Beginning of ``ask.model`` for a model in this process."""


class LocalModel(Judge):
    """A model in this process; it is asked one question at a time.

    Its certainty is the likelihood of *yes* against that of *no* as the next word; nothing is generated.

    Args:
        folder: Folder with model and processor, as transformers saves them. Nothing is downloaded and no code
            in it is run.
        cache: Folder of the answers.
        prompt: Question, asked before both pictures.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        ConfigError: There is no such folder.
        MissingExtraError: torch or transformers is not installed.
        ExtractionError: The folder holds no model that reads pictures and texts.
    """

    def __init__(self, folder: Path, cache: Path, prompt: str = PROMPT, device: str = "auto") -> None:
        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"ask.model = '{PREFIX}{folder}': there is no model (config.json) in this folder"
            )
        self._torch = extra_library("torch", "asking a model in this process")
        transformers = extra_library("transformers", "asking a model in this process")
        self._device, self._lock = torch_device(device), threading.Lock()
        try:
            given = {"local_files_only": True, "trust_remote_code": False}
            self._processor = transformers.AutoProcessor.from_pretrained(folder, **given)
            model = transformers.AutoModelForImageTextToText.from_pretrained(
                folder, use_safetensors=True, **given
            )
        except Exception as error:  # transformers raises errors without a common base
            raise ExtractionError(
                f"{folder}: no model that reads pictures and texts could be loaded: "
                f"{(str(error).splitlines() or [type(error).__name__])[0]}"
            ) from error
        super().__init__(PREFIX + weights_digest(model), cache, prompt)
        self._model = model.eval().to(self._device)
        self._folder = folder

    @cached_property
    def _words(self) -> tuple[Int64, Int64]:
        """Tokens that mean yes, and tokens that mean no."""
        tokenizer = self._processor.tokenizer
        found: dict[str, list[int]] = {"yes": [], "no": []}
        for token, number in tokenizer.get_vocab().items():
            word = plain_word(tokenizer.convert_tokens_to_string([token]))
            if word in found:
                found[word].append(number)
        if not all(found.values()):
            raise ExtractionError(f"{self._folder}: the words of this model hold no yes or no of one token")
        yes, no = (np.array(sorted(numbers), np.int64) for numbers in found.values())
        return yes, no

    def _answer(self, query: bytes, image: bytes) -> Answer:
        with self._lock:
            started = time.perf_counter()
            question = {"type": "text", "text": self._prompt}
            message = [{"role": "user", "content": [question, {"type": "image"}, {"type": "image"}]}]
            text = self._processor.apply_chat_template(message, add_generation_prompt=True)
            pictures = [simplejpeg.decode_jpeg(picture) for picture in (query, image)]
            inputs = self._processor(images=pictures, text=text, return_tensors="pt").to(self._device)
            with self._torch.inference_mode():
                last = self._model(**inputs).logits[0, -1].float().cpu().numpy()
            score = certainty(last.astype(np.float64), *self._words)
            return Answer(score, int(inputs["input_ids"].shape[1]), 1, time.perf_counter() - started)


def certainty(logits: Float64, yes: Int64, no: Int64) -> float:
    """Return the likelihood of a yes among both answers.

    Args:
        logits: (V,) of the next token.
        yes: Tokens that mean yes.
        no: Tokens that mean no.

    >>> certainty(np.array([1.0, 1.0, 5.0]), np.array([0]), np.array([1]))
    0.5
    """
    shares = np.exp(logits - logits[np.concatenate([yes, no])].max())
    return float(shares[yes].sum() / (shares[yes].sum() + shares[no].sum()))
