"""The parts that all torch backends share: device, precision, weights, and the extractor itself.

Torch is imported inside functions, so importing this module costs nothing and needs nothing.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ilion.descriptors.base import ExtractorOptions, ExtractorSpec, resize_mode
from ilion.descriptors.batching import check_side, describe_by_shape
from ilion.descriptors.pooling import l2_normalise, pool
from ilion.descriptors.registry import ModelInfo
from ilion.descriptors.texts import TextOptions, count_longer, describe_texts
from ilion.errors import ConfigError, ExtractionError, MissingExtraError
from ilion.runtime.torch import seeded as seeded
from ilion.runtime.torch import torch_device as torch_device
from ilion.runtime.torch import weights_digest as weights_digest
from ilion.types import RGB, Float32
from ilion.wording import counted

log = logging.getLogger(__name__)

NO_WEIGHTS = "none"
"""Value of the option ``weights`` that leaves a model at its seeded random start."""

OTHER_ARCHITECTURE = "The file must hold weights of exactly this architecture."
"""Remedy when a file does not load."""

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Tower:
    """The image side of a torch model, as the extractor sees it.

    Args:
        module: Module that is moved to the device.
        forward: Function of normalised pixels (B, 3, H, W) and the name of a pooling that returns (B, D),
            (B, C, H, W) or tokens (B, T, C).
        mean: Mean of the input's channels, on the 0..1 scale.
        std: Deviation of the input's channels, on the 0..1 scale.
        multiple: Number of which both sides of the input are multiples, padded with zeros; a token stands
            for a square of this side.
        side: The only input side that the model takes, or None.
        prefix: Tokens before the patches.
        tokens: Function of normalised pixels that returns (B, T, C), whose last tokens are the patches, row
            by row. It also runs the model's own pooling, whose attention is then there to be seen. None for
            other models.
    """

    module: Any
    forward: Callable[[Any, str], Any]
    mean: Channels
    std: Channels
    multiple: int = 1
    side: int | None = None
    prefix: int = 1
    tokens: Callable[[Any], Any] | None = None


class TorchExtractor:
    """Images through a `Tower`.

    Args:
        tower: The network, on the CPU.
        spec: Spec of the descriptors; its ``dim`` is replaced by what the network returns.
        options: ``device``, ``precision``, ``threads`` and ``batch_size`` are used.

    Raises:
        ConfigError: A setting does not fit the model.
        ExtractionError: The device is not there.
    """

    def __init__(self, tower: Tower, spec: ExtractorSpec, options: ExtractorOptions) -> None:
        import torch

        check_side(spec, tower.side)
        self.device = torch_device(options.device)
        self._autocast = _autocast_type(options.precision, self.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        tower.module.eval().requires_grad_(False).to(self.device)
        self._tower = tower
        self._batch_size = options.batch_size
        self._mean = torch.tensor(spec.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=self.device).view(1, 3, 1, 1)
        self._spec = spec
        blank = np.zeros((spec.side, spec.side, 3), np.uint8)
        self._spec = replace(spec, dim=self._describe([blank]).shape[1])

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        return self._spec

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe images that have the size the spec describes; returns (B, D) float32, L2-normalised.

        Raises:
            ExtractionError: An image has another size than the model takes, or the model fails.
        """
        return describe_by_shape(images, self._batch_size, self._spec.dim, self._describe)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients; the asked precision."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None),
        ):
            yield

    @property
    def tower(self) -> Tower:
        """The network."""
        return self._tower

    def run(self, call: Callable[[Any], Any], images: Sequence[RGB]) -> tuple[Any, tuple[int, int]]:
        """Bring images of one shape to the device, normalised and padded, and run a part of the network.

        Args:
            call: Function of pixels (B, 3, H, W).
            images: Images of one shape.

        Returns:
            What ``call`` returned, and the rows and columns of patches that the padded images have.

        Raises:
            ExtractionError: The images have another size than the model takes, or the model fails.
        """
        import torch

        height, width = images[0].shape[:2]
        tower = self._tower
        if tower.side is not None and (height, width) != (tower.side, tower.side):
            raise ExtractionError(
                f"{self._spec.name} takes images of {tower.side} x {tower.side} pixels only, got {width} x "
                f"{height}; resize with square, center-crop or pad to {tower.side}, and use one scale"
            )
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float()
        pixels = (pixels - self._mean) / self._std
        down, right = -height % tower.multiple, -width % tower.multiple
        top, left = (down // 2, right // 2) if self._spec.resize == "ilias" else (0, 0)
        pixels = torch.nn.functional.pad(pixels, (left, right - left, top, down - top))
        grid = ((height + down) // tower.multiple, (width + right) // tower.multiple)
        try:
            with self.inference():
                return call(pixels), grid
        except (RuntimeError, AssertionError, ValueError) as error:
            out_of_memory = isinstance(error, torch.OutOfMemoryError)
            remedy = f"; lower batch_size (now {self._batch_size}) or side" if out_of_memory else ""
            raise ExtractionError(
                f"{self._spec.name} failed on {self.device} with {counted(len(images), 'image')} of {width} "
                f"x {height}: {error}{remedy}"
            ) from error

    def _describe(self, images: Sequence[RGB]) -> Float32:
        """Images of one shape to (B, D), not normalised."""
        import torch

        tower, pooling = self._tower, self._spec.pooling
        output, grid = self.run(lambda pixels: tower.forward(pixels, pooling), images)
        with torch.inference_mode():
            pooled = pool(output.float(), pooling, grid, tower.prefix)
        values: Float32 = pooled.cpu().numpy()
        return values


@dataclass(frozen=True)
class TextTower:
    """The text side of a torch model, as the extractor sees it.

    Args:
        tokenize: Function of texts that returns the tokens for ``encode`` (with a ``to(device)``), and the
            length of each text in tokens before it was cut.
        encode: Function of tokens that returns (B, D).
        context: Number of tokens that the model reads.
    """

    tokenize: Callable[[Sequence[str]], tuple[Any, Sequence[int]]]
    encode: Callable[[Any], Any]
    context: int


class TorchTextExtractor(TorchExtractor):
    """Images and texts in one space.

    Args:
        tower: The whole network with its image side, on the CPU.
        text: The text side of the same network.
        spec: See `TorchExtractor`.
        options: See `TorchExtractor`.

    Raises:
        ConfigError: A setting does not fit the model.
        ExtractionError: The device is not there.
    """

    def __init__(self, tower: Tower, text: TextTower, spec: ExtractorSpec, options: ExtractorOptions) -> None:
        super().__init__(tower, spec, options)
        self._text = text
        self._texts = TextOptions(options.prompts, options.long_texts)

    def extract_text(self, texts: Sequence[str]) -> Float32:
        """Describe texts; returns (B, D) float32 in the space of the images, each row L2-normalised."""
        values, long = describe_texts(texts, self._texts, self._encode, self._length, self._text.context)
        if long:
            log.warning(
                "%s reads %d tokens; %d of %d texts are longer and %s",
                self.spec.name,
                self._text.context,
                long,
                len(texts),
                "are read in pieces whose descriptors are averaged"
                if self._texts.long == "average"
                else "lose their end (long_texts = average reads all of it)",
            )
        return values

    def count_long(self, texts: Sequence[str]) -> int:
        """Count the texts that exceed what the model reads in at least one prompt."""
        return count_longer(texts, self._texts, self._length, self._text.context)

    def _length(self, text: str) -> int:
        return self._text.tokenize([text])[1][0]

    def _encode(self, texts: Sequence[str]) -> Float32:
        values = np.empty((len(texts), self.spec.dim), np.float32)
        for start in range(0, len(texts), self._batch_size):
            part = texts[start : start + self._batch_size]
            tokens, _ = self._text.tokenize(part)
            with self.inference():
                encoded = self._text.encode(tokens.to(self.device))
            values[start : start + len(part)] = l2_normalise(encoded.float().cpu().numpy())
        return values


def library(info: ModelInfo, name: str) -> Any:
    """Import a library of the ``torch`` extra.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(info.name, info.extra or "torch") from error


def _autocast_type(precision: str, device: Any) -> Any:
    import torch

    if precision == "float32":
        return None
    if precision not in ("float16", "bfloat16"):
        raise ConfigError(f"precision {precision!r} is not one of float32, float16, bfloat16")
    if device.type == "cpu":
        raise ConfigError(f"precision {precision!r} needs an accelerator; on the CPU leave it at float32")
    return getattr(torch, precision)


def announce_download(info: ModelInfo) -> None:
    """Say licence and size of weights before they are fetched; libraries keep what they fetched once."""
    size = f"about {info.download_mb} MB" if info.download_mb > 0 else "of unknown size"
    log.warning(
        "%s: fetching weights unless they are cached: %s, %s, licence: %s",
        info.name,
        info.source,
        size,
        info.licence,
    )


@contextmanager
def loading(info: ModelInfo, what: str, remedy: str) -> Iterator[None]:
    """Turn a library's failure to load into one that says how to go on.

    Args:
        info: The model.
        what: Name of the file or weights, and its source.
        remedy: One sentence, such as what to do without a network.

    Raises:
        ExtractionError: The library raised an error.
    """
    try:
        yield
    except Exception as error:  # hubs, HTTP clients and torch raise errors without a common base
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExtractionError(f"{info.name}: cannot load {what}: {first}. {remedy}") from error


def read_state_dict(path: Path) -> Mapping[str, Any]:
    """Read tensors by name from a safetensors file or a torch state dict, never running code from it.

    Raises:
        ConfigError: There is no such file.
        ExtractionError: The file holds anything but tensors by name.
    """
    import torch

    if not path.is_file():
        raise ConfigError(
            f"weights: there is no file {path}; give a file, or {NO_WEIGHTS!r} for random weights"
        )
    try:
        if path.suffix == ".safetensors":
            state = importlib.import_module("safetensors.torch").load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise errors without a common base
        raise ExtractionError(f"{path}: not a safetensors file or torch state dict: {error}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ExtractionError(f"{path}: expected tensors by name; save model.state_dict() and try again")
    return state


def load_state_dict(module: Any, path: Path, info: ModelInfo) -> None:
    """Put the weights of a file into a module, all of them and no others.

    Raises:
        ConfigError: There is no such file.
        ExtractionError: Names or shapes differ.
    """
    state = read_state_dict(path)
    with loading(info, str(path), OTHER_ARCHITECTURE):
        missing, surplus = module.load_state_dict(state, strict=False)
    require_all(info, str(path), missing, surplus)


def require_all(info: ModelInfo, what: str, missing: Sequence[str], surplus: Sequence[str] = ()) -> None:
    """Refuse weights that leave a part of the model at random values, or that have parts it does not have.

    Raises:
        ExtractionError: Either list of names is not empty.
    """
    if missing or surplus:
        raise ExtractionError(
            f"{info.name}: {what} belongs to another model: "
            f"{counted(len(missing), 'tensor is', 'tensors are')} missing "
            f"({', '.join(list(missing)[:3])}), {len(surplus)} are unknown ({', '.join(list(surplus)[:3])}). "
            + OTHER_ARCHITECTURE
        )


def describe_tower(
    info: ModelInfo,
    options: ExtractorOptions,
    tower: Tower,
    *,
    side: int,
    resize: str,
    pooling: str,
    licence: str = "unknown",
    text: bool = False,
    settings: Mapping[str, object] | None = None,
) -> ExtractorSpec:
    """Put the spec together: the user's options come first, then the model's entry, then the arguments.

    Args:
        info: The model's entry; its ``settings`` may hold ``resize`` and ``pooling``.
        options: The user's settings.
        tower: The network, on the CPU.
        side: The model's own input side.
        resize: The resize mode that suits the model.
        pooling: The pooling that suits the model.
        licence: Licence of the weights by the library.
        text: Whether the model has a text tower.
        settings: Further settings that change the numbers.

    Raises:
        ConfigError: The resize mode does not exist.
    """
    known = info.licence if info.licence != "unknown" else licence
    return ExtractorSpec(
        name=info.name,
        # The digest tells files apart; their folder differs between machines.
        weights=Path(options.weights).name if options.weights else info.source,
        revision=weights_digest(tower.module),
        dim=info.dim,
        resize=resize_mode(options.resize or str(info.settings.get("resize", resize))),
        side=options.side or tower.side or info.side or side,
        mean=_to_255(tower.mean),
        std=_to_255(tower.std),
        pooling=options.pooling or str(info.settings.get("pooling", pooling)),
        licence="unknown" if options.weights else known,
        text=text,
        options={"precision": options.precision, **(settings or {})},
    )


def _to_255(values: Sequence[float]) -> Channels:
    first, second, third = (float(v) * 255 for v in values)
    return first, second, third
