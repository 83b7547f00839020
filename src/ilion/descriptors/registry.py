"""The models by name: their entries, known before anything is downloaded, and their builders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ilion.descriptors.base import Extractor, ExtractorOptions, ExtractorSpec
from ilion.errors import ConfigError
from ilion.registry import Part, Registry, check_made

OPEN_LICENCES = ("Apache-2.0", "BSD-3-Clause", "MIT")
"""Licences of weights that are permissive open-source licences."""


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``ilion models``: what a user wants to know before anything is downloaded.

    Args:
        name: Name for ``--model``.
        backend: Name of its builder in `BACKENDS`.
        dim: Number of dimensions.
        side: Default input side in pixels.
        licence: Licence of the weights.
        download_mb: Expected download in megabytes; 0 when the weights come with the package.
        text: Whether texts can be queries.
        extra: Extra to install, or "".
        source: Hub id or package of the weights.
        note: A short remark.
        settings: Backend-specific values (architecture name, pooling ...).
        family: Name such as ``SigLIP2``; models of one family differ in size and resolution.
        domain: Field in which the weights are specialised, such as ``satellite images``; "" for general ones.
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


Build = Callable[[ModelInfo, ExtractorOptions], Extractor]


class Backends(Registry[Build]):
    """What builds models, found by the name of a backend, ``backend:anything``, or the name of a model."""

    def get(self, name: str) -> Part[Build] | None:
        """Return the backend of a name; None if there is none."""
        part = super().get(name)
        return super().get(_MODELS[name].backend) if name in _MODELS else part

    def suggestions(self) -> Sequence[str]:
        """Return the names of all models and backends."""
        return (*_MODELS, *self.names())


BACKENDS = Backends("model", __package__, takes="(info, options)")
"""What builds a model from its entry and the user's settings; ``backend:anything`` needs no entry."""
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
    """Return all registered models in the order of registration, those that need no download first."""
    parts = BACKENDS.parts()  # whose modules register models too
    named = [ModelInfo(p.name, p.name, 0, 0, "unknown", -1, note=p.note) for p in parts if p.digest]
    return tuple(sorted((*_MODELS.values(), *named), key=lambda info: info.download_mb != 0))


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
        words: Words that must all occur in name, family, source, domain, licence or note, in any case.
        text: Whether only models that take text queries are wanted.
        licence: Part of the licence's name.
        open_licence: Whether only permissive open-source licences are wanted.
        max_download: Largest download in megabytes, which must be known; 0 asks for none at all.
        family: Name of a family; case does not matter.
        backend: Name of a backend.
        domain: Field in which the weights are specialised; ``general`` for models of none.
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
        ("backend", backend, BACKENDS.names()),
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
            and (max_download is None or 0 <= info.download_mb <= max_download)
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
    part = BACKENDS.find(name)
    if name in _MODELS:
        return _MODELS[name]
    family, _, rest = name.partition(":")
    if part.name != family:  # code that a setting names
        return ModelInfo(part.name, part.name, 0, 0, "unknown", -1)
    if not rest and not part.digest:
        raise ConfigError(f"{name!r} is a family of models: say which, as {family}:NAME")
    return ModelInfo(name, part.name, 0, 0, "unknown", -1, extra=part.extra, source=rest)


def build(name: str, options: ExtractorOptions | None = None) -> Extractor:
    """Build an extractor; this may download weights, if the model's entry says so.

    Raises:
        ConfigError: Unknown model or setting.
        MissingExtraError: The backend's extra is not installed.
        ExtractionError: The weights cannot be loaded.
    """
    from ilion.descriptors.views import add_views

    info, options = model_info(name), options or ExtractorOptions()
    part = BACKENDS.find(name)
    extractor = BACKENDS.call(part, info, options)
    if part.digest:
        check_made(f"model {part.name!r}", extractor, ExtractorSpec)
    return add_views(extractor, options.scales, options.rotations, code=part.digest)
