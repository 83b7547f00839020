"""Which settings a verb carries out, in one table: it refuses the others when they are given to it.

An experiment file belongs to all verbs, so what it holds for other stages is left to them. A setting that is
given to one command (``--set``, ``--model``) must change what that command does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ilion.config.experiment import ExperimentConfig
from ilion.config.settle import global_settings, settle
from ilion.errors import ConfigError

_FIRST_STAGE = ("dataset", "extraction", "adaptation", "search", "compute")
_ALL = (*_FIRST_STAGE, "reading", "rerank", "ask", "evaluation", "report", "price")

_STORED = (
    "search.method",
    *(f"search.local.{name}" for name in ("budget", "side", "sizes", "assignments")),
    *(
        f"search.asmk.{name}"
        for name in ("features", "keypoints", "side", "enlarge", "words", "bits", "binary")
    ),
)  # what decides how photos and queries are described; the rest is how they are compared

HEEDED: Mapping[str, tuple[str, ...]] = {
    "run": _ALL,
    "evaluate": _ALL,
    "sweep": _ALL,
    "poc run": _ALL,
    "config": _ALL,
    "rank": (*_FIRST_STAGE, "reading", "rerank", "evaluation"),
    "extract": (*(section for section in _FIRST_STAGE if section != "search"), *_STORED),
    "tune": (*_FIRST_STAGE, "evaluation"),
    "adapt": (*_FIRST_STAGE, "evaluation"),
    "forecast": (*_FIRST_STAGE, "rerank", "evaluation", "report", "price"),
    "import results": ("dataset", "search.k", "evaluation", "report"),
    "export truth": ("dataset",),
    "export features": ("dataset", "extraction", "adaptation", "compute"),
}
"""Verb -> the sections of an experiment, or single settings, that it carries out. ``name``, ``output``,
``cache``, ``seed`` and ``trust`` belong to every verb."""


def is_heeded(verb: str, key: str) -> bool:
    """Tell whether a verb carries out a setting.

    >>> is_heeded("extract", "search.method"), is_heeded("extract", "search.k"), is_heeded("rank", "search.k")
    (True, False, True)
    """
    return any(key == part or key.startswith(f"{part}.") for part in HEEDED[verb])


def check_given(verb: str, overrides: Sequence[str], config: ExperimentConfig) -> None:
    """Check that a verb carries out every setting that was given to it.

    Args:
        verb: Name in `HEEDED`.
        overrides: Settings as ``section.key=value``.
        config: The experiment with them.

    Raises:
        ConfigError: A setting would be passed over.

    >>> check_given("extract", ["rerank.features=orb"], ExperimentConfig())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ilion.errors.ConfigError: 'ilion extract' does not carry out 'rerank.features'; leave it out...
    """
    asleep = dict(_asleep(config))
    for override in overrides:
        key = override.partition("=")[0].strip()
        section = key.partition(".")[0]
        if "." in key and section in _ALL and not is_heeded(verb, key):
            able = ", ".join(name for name in HEEDED if is_heeded(name, key) and name != "config")
            raise ConfigError(
                f"'ilion {verb}' does not carry out '{key}'; leave it out, or give it to one of: {able}"
            )
        if verb in ("sweep", "config"):  # a sweep may switch on what it varies
            continue
        for prefix, why in asleep.items():
            if key.startswith(prefix) and key not in _SWITCHES:
                raise ConfigError(f"'{key}' would change nothing: {why}")


_SWITCHES = (
    "rerank.features",
    "ask.endpoint",
    "reading.use",
    "search.method",
    "adaptation.method",
    "adaptation.layer",
)


def _asleep(config: ExperimentConfig) -> Iterable[tuple[str, str]]:
    """Yield prefixes of settings that have no effect, and why."""
    if config.rerank.features == "none":
        yield "rerank.", "nothing is re-ranked as long as rerank.features = none"
    if not config.ask.endpoint:
        yield "ask.", "nobody is asked as long as ask.endpoint is empty"
    if config.reading.use == "none":
        yield "reading.", "nothing is read as long as reading.use = none"
    if config.search.method == "local":  # with "auto", such a setting asks for another method
        for name in global_settings():
            yield f"extraction.{name}", "search.method is local, which computes no global descriptor"
    config = settle(config)
    if config.search.method != "local":
        yield "search.local.", f"search.method is {config.search.method}, not local"
    if config.search.method != "asmk":
        yield "search.asmk.", f"search.method is {config.search.method}, not asmk"
    if config.search.method != "compressed":
        yield "search.code", f"search.method is {config.search.method}, not compressed"
        yield "search.shortlist", f"search.method is {config.search.method}, not compressed"
    if config.search.expansion == "none":
        yield "search.expansion_top", "search.expansion is none"
        if not config.search.database_expansion_top:
            yield "search.expansion_alpha", "search.expansion is none"
