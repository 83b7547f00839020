"""The protocol of all global descriptors, their spec, and the registry.

A backend module registers a builder by name; nothing heavy is imported before a builder is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, Protocol, cast, get_args, runtime_checkable

from ilion.errors import ConfigError
from ilion.types import RGB, Float32
from ilion.types import Resize as Resize

Pooling = Literal["head", "cls", "gap", "mac", "gem", "rmac", "rgem"]


def resize_mode(name: str) -> Resize:
    """Check the name of a resize mode.

    Raises:
        ConfigError: There is no such mode.

    >>> resize_mode("long")
    'long'
    """
    for mode in get_args(Resize):
        if mode == name:
            return cast(Resize, mode)
    raise ConfigError(f"resize {name!r} is not one of {', '.join(get_args(Resize))}")


@dataclass(frozen=True)
class ExtractorSpec:
    """What makes two descriptors comparable: all of it must be equal, or they must not be mixed.

    Args:
        name: The model's registered name.
        weights: Where the weights come from (package, file, hub id), or ``none``.
        revision: Version or digest of the weights.
        dim: Dimensions D of the descriptor.
        resize: How an image is brought to ``side``; ``none`` leaves it to the extractor, and ``side`` then
            only says which longer side the decoder must at least deliver.
        side: Pixels; the meaning follows ``resize``.
        mean: Per-channel mean of the input, on the 0..255 scale.
        std: Per-channel deviation of the input, on the 0..255 scale.
        pooling: How the map of local responses becomes one vector.
        licence: Licence of the weights.
        scales: Image scales whose descriptors are averaged.
        rotations: Degrees (multiples of 90) whose descriptors are averaged.
        text: Whether the model has a text tower in the same space.
        options: Any further setting that changes the numbers.
    """

    name: str
    weights: str
    revision: str
    dim: int
    resize: Resize
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pooling: str
    licence: str
    scales: tuple[float, ...] = (1.0,)
    rotations: tuple[int, ...] = (0,)
    text: bool = False
    options: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return asdict(self)


@runtime_checkable
class Extractor(Protocol):
    """Images to global descriptors."""

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        ...

    def extract(self, images: Sequence[RGB]) -> Float32:
        """Describe upright RGB uint8 images of any size; returns (B, D) float32, each row L2-normalised."""
        ...


@runtime_checkable
class TextExtractor(Protocol):
    """Extractors with a text tower."""

    @property
    def spec(self) -> ExtractorSpec:
        """What the numbers depend on."""
        ...

    def extract_text(self, texts: Sequence[str]) -> Float32:
        """Describe texts; returns (B, D) float32 in the space of the images, each row L2-normalised."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """Extractors that learn something (a codebook, say) from a sample of the database before they extract."""

    def fit(self, images: Iterable[RGB], seed: int) -> None:
        """Learn from a sample; the same images and seed give the same state."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the learnt arrays by name."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the learnt arrays back."""
        ...


@dataclass(frozen=True)
class ExtractorOptions:
    """Settings that a user may change for any model; None keeps the model's own value.

    Args:
        weights: File or hub id in place of the model's own.
        resize: See `ilion.images.resize`.
        side: Pixels.
        pooling: One of the names in `ilion.descriptors.pooling`.
        scales: Image scales.
        rotations: Degrees.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        threads: Compute threads; 0 takes what the machine has.
        batch_size: Images of one shape computed together.
        precision: ``float32``, ``float16`` or ``bfloat16`` (the latter two on accelerators).
        seed: For weights that are not loaded and for fitting.
        prompts: Templates around texts; see `ilion.descriptors.texts`.
        long_texts: ``cut`` or ``average``: what happens to texts beyond the limit of the model.
    """

    weights: str | None = None
    resize: str | None = None
    side: int | None = None
    pooling: str | None = None
    scales: tuple[float, ...] | None = None
    rotations: tuple[int, ...] | None = None
    device: str = "auto"
    threads: int = 0
    batch_size: int = 8
    precision: str = "float32"
    seed: int = 0
    prompts: tuple[str, ...] = ("{}",)
    long_texts: Literal["cut", "average"] = "cut"


OPEN_LICENCES = ("Apache-2.0", "BSD-3-Clause", "MIT")
"""Licences of weights that are permissive open-source licences."""


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``ilion models``: what a user wants to know before anything is downloaded.

    Args:
        name: What ``--model`` takes.
        backend: Module below `ilion.descriptors` that builds it.
        dim: Dimensions.
        side: Default input side in pixels.
        licence: Licence of the weights.
        download_mb: Expected download in megabytes; 0 when the weights come with the package.
        text: Whether texts can be queries.
        extra: Extra to install, or "".
        source: Hub id or package of the weights.
        note: A short remark.
        settings: Backend-specific values (architecture name, pooling ...).
        family: Such as ``SigLIP2``; models of one family differ in size and resolution.
        domain: What the weights are specialised in, such as ``satellite images``; "" for general models.
        ilias: Setting -> mAP@1k on the ILIAS benchmark as its authors report it, fraction. The settings are
            ``5M`` and ``100M`` (image queries, so many distractors), ``5M adapted`` (with a linear layer) and
            ``5M text`` (text queries).
    """

    name: str
    backend: str
    dim: int
    side: int
    licence: str
    download_mb: int = 0
    text: bool = False
    extra: str = ""
    source: str = ""
    note: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    family: str = ""
    domain: str = ""
    ilias: Mapping[str, float] = field(default_factory=dict)

    @property
    def open_licence(self) -> bool:
        """Whether the licence is a permissive open-source one, which allows commercial use."""
        return self.licence in OPEN_LICENCES

    @property
    def expected(self) -> float | None:
        """The reported mAP@1k at 5 million distractors without adaptation, if there is one."""
        return self.ilias.get("5M")


_MODELS: dict[str, ModelInfo] = {}


def register(info: ModelInfo) -> None:
    """Add a model to the registry.

    Raises:
        ConfigError: The name is taken.
    """
    if info.name in _MODELS:
        raise ConfigError(f"a model named {info.name!r} is registered already")
    _MODELS[info.name] = info


def models() -> tuple[ModelInfo, ...]:
    """Return all registered models, in the order of registration."""
    return tuple(_MODELS.values())


def find_models(
    words: Sequence[str] = (),
    *,
    text: bool = False,
    licence: str = "",
    open_licence: bool = False,
    max_download: int | None = None,
    family: str = "",
    backend: str = "",
    domain: str = "",
    sort: str = "",
) -> list[ModelInfo]:
    """Return the registered models that fit, in the order of registration or sorted.

    Args:
        words: Each must occur in the name, family, source, domain, licence or note; case does not matter.
        text: Only models that take text queries.
        licence: Part of the licence's name.
        open_licence: Only permissive open-source licences.
        max_download: At most so many megabytes; 0 asks for none at all.
        family: Name of a family; case does not matter.
        backend: Name of a backend.
        domain: What the weights are specialised in; ``general`` for models of no domain.
        sort: ``mAP`` (reported at 5 million distractors, best first, unknown ones last), ``download``,
            ``dim``, ``name``, or "".

    Raises:
        ConfigError: ``sort``, ``family`` or ``backend`` is unknown; the known ones are said.

    >>> [info.name for info in find_models(["siglip2"], text=True, sort="mAP")][:1]
    ['siglip2-l-512']
    """
    every = models()
    for name, wanted, known in (
        ("sort", sort, ("mAP", "download", "dim", "name")),
        ("family", family, tuple(dict.fromkeys(info.family for info in every if info.family))),
        ("backend", backend, tuple(BACKENDS)),
    ):
        if wanted and wanted.lower() not in {k.lower() for k in known}:
            raise ConfigError(f"{name} {wanted!r} is not one of {', '.join(known)}")

    def fits(info: ModelInfo) -> bool:
        said = " ".join((info.name, info.family, info.source, info.domain, info.licence, info.note)).lower()
        return (
            all(word.lower() in said for word in words)
            and (info.text or not text)
            and licence.lower() in info.licence.lower()
            and (info.open_licence or not open_licence)
            and (max_download is None or info.download_mb <= max_download)
            and family.lower() in ("", info.family.lower())
            and backend in ("", info.backend)
            and (
                not domain or (domain.lower() in info.domain.lower() if info.domain else domain == "general")
            )
        )

    keys: dict[str, Callable[[ModelInfo], Any]] = {
        "": lambda info: 0,
        "map": lambda info: -(info.expected or 0.0),
        "download": lambda info: info.download_mb,
        "dim": lambda info: info.dim,
        "name": lambda info: info.name,
    }
    return sorted(filter(fits, every), key=keys[sort.lower()])


def model_info(name: str) -> ModelInfo:
    """Return the entry of a model; ``backend:anything`` builds an entry for a model that has none.

    Args:
        name: A registered name, or ``onnx:FILE``, ``timm:NAME``, ``openclip:ARCH/TAG``, ``transformers:ID``,
            ``torchvision:NAME``, ``torchhub:REPO/NAME``.

    Raises:
        ConfigError: Nothing has that name; the closest known ones are said.
    """
    if name in _MODELS:
        return _MODELS[name]
    backend, colon, rest = name.partition(":")
    if colon and rest and backend in BACKENDS:
        return ModelInfo(name, backend, 0, 0, "unknown", -1, extra=BACKENDS[backend], source=rest)
    close = get_close_matches(name, [*_MODELS, *(f"{b}:" for b in BACKENDS)], n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ConfigError(f"no model is named {name!r}{hint} (ilion models lists them)")


BACKENDS: Mapping[str, str] = {
    "default": "",
    "efficientnet": "",
    "vlad": "",
    "onnx": "",
    "timm": "torch",
    "openclip": "torch",
    "transformers": "torch",
    "torchvision": "torch",
    "torchhub": "torch",
}
"""Backend module -> extra that it needs. A backend module has ``build(info, options) -> Extractor``."""


def build(name: str, options: ExtractorOptions | None = None) -> Extractor:
    """Build an extractor; this may download weights, if the model's entry says so.

    Raises:
        ConfigError: Unknown model or setting.
        MissingExtraError: The backend's extra is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    info = model_info(name)
    module = importlib.import_module(f"ilion.descriptors.{info.backend}")
    options = options or ExtractorOptions()
    extractor: Extractor = module.build(info, options)
    if options.scales is None and options.rotations is None:
        return extractor
    # Loaded like a backend: the views need this module, which must not need them back.
    views = importlib.import_module("ilion.descriptors.views")
    viewed: Extractor = views.multi_view(extractor, options.scales or (1.0,), options.rotations or (0,))
    return viewed


def option_names() -> tuple[str, ...]:
    """Return the names of the settings, for messages."""
    return tuple(f.name for f in fields(ExtractorOptions))
