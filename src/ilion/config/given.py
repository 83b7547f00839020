"""Which settings a verb carries out, in one table: it refuses the others when they are given to it.

An experiment file belongs to all verbs, so what it holds for other stages is left to them. A setting that is
given to one command (``--set``, ``--model``) must change what that command does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ilion.adapt.base import METHODS
from ilion.config.experiment import ExperimentConfig
from ilion.config.settle import LOCAL, global_settings, settle
from ilion.errors import ConfigError

_FIRST_STAGE = ("dataset", "extraction", "adaptation", "search", "compute")
_ALL = (*_FIRST_STAGE, "reading", "rerank", "ask", "evaluation", "report", "price")

_STORED = (
    "search.method",
    *(f"search.local.{name}" for name in ("budget", "side", "sizes", "assignments", "words")),
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
    for override in overrides:
        key = override.partition("=")[0].strip()
        section = key.partition(".")[0]
        if "." in key and section in _ALL and not is_heeded(verb, key):
            able = ", ".join(name for name in HEEDED if is_heeded(name, key) and name != "config")
            raise ConfigError(
                f"'ilion {verb}' does not carry out '{key}'; leave it out, or give it to one of: {able}"
            )
    if verb not in ("sweep", "config"):  # a sweep may switch on what it varies
        check_awake(verb, overrides, [config])


def check_awake(verb: str, overrides: Sequence[str], configs: Sequence[ExperimentConfig]) -> None:
    """Check that every setting that was given has an effect beside the others.

    Args:
        verb: Name in `HEEDED`.
        overrides: Settings as ``section.key=value``.
        configs: The experiments with them; one that heeds a setting is enough.

    Raises:
        ConfigError: A setting has no effect in any of them.
    """
    asleep = [dict(_asleep(verb, config)) for config in configs]
    for key in (override.partition("=")[0].strip() for override in overrides):
        if key in _SWITCHES:
            continue
        found = [
            next((why for name, why in each.items() if f"{key}=".startswith(name)), "") for each in asleep
        ]
        if found and all(found):
            raise ConfigError(f"'{key}' would change nothing: {found[0]}")


_SWITCHES = (
    "rerank.features",
    "ask.endpoint",
    "reading.use",
    "search.method",
    "adaptation.method",
    "adaptation.layer",
)
_OF_METHODS = (
    "dim",
    "shrinkage",
    "alpha",
    "epochs",
    "held_out",
    "patience",
    "margin",
    "margin_kind",
    "balance",
    "checkpoint_every",
)  # what some methods of adaptation have, and others do not


def _asleep(verb: str, config: ExperimentConfig) -> Iterable[tuple[str, str]]:
    """Yield prefixes of settings that have no effect, and why."""
    rerank, reading = config.rerank, config.reading
    if rerank.features == "none":
        yield "rerank.", "nothing is re-ranked as long as rerank.features = none"
        if verb == "rank" and reading.use != "fused":
            yield "evaluation.", "nothing is judged before 'ilion evaluate'"
    if rerank.fusion == "rank":
        yield "rerank.weight=", "rerank.fusion is rank, which goes by places alone"
    if not config.ask.asks:
        yield "ask.", "nobody is asked as long as ask.endpoint is empty and ask.model is not in this process"
    for name in ("key", "timeout", "workers") if config.ask.local else ():
        yield f"ask.{name}=", "ask.model is in this process"
    if reading.use == "none":
        yield "reading.", "nothing is read as long as reading.use = none"
    if reading.use == "only":
        for name in ("fusion", "weight"):
            yield f"reading.{name}=", "reading.use is only: there is nothing to fuse with"
    if reading.fusion == "rank":
        yield "reading.weight=", "reading.fusion is rank, which goes by places alone"
    if not config.compute.on:
        for name in ("cpus", "gpus"):
            yield f"compute.{name}=", "what a task takes is a matter of a cluster, and compute.on is empty"
    yield from _asleep_adaptation(verb, config)
    yield from _asleep_search(config)


def _asleep_adaptation(verb: str, config: ExperimentConfig) -> Iterable[tuple[str, str]]:
    given = config.adaptation
    method = "few-shot" if verb == "adapt" and given.method == "none" else given.method
    if method == "none" and not given.layer:
        yield "adaptation.", "nothing is learnt as long as adaptation.method = none, and no layer is given"
    elif method == "none":
        learning = (f.name for f in fields(given) if f.name not in ("layer", "method", "seen"))
        for name in learning:
            yield f"adaptation.{name}=", "adaptation.layer is learnt already"
    else:
        kind: Any = METHODS.find(method).make
        heeded = {f.name for f in fields(kind)}
        for name in _OF_METHODS:
            if name not in heeded:
                yield f"adaptation.{name}=", f"adaptation.method = {method} has no such setting"
    if not given.held_out:
        yield "adaptation.patience=", "adaptation.held_out is 0"
    if not given.margin:
        yield "adaptation.margin_kind=", "adaptation.margin is 0"


def _asleep_search(config: ExperimentConfig) -> Iterable[tuple[str, str]]:
    if config.search.method == "local":  # with "auto", such a setting asks for another method
        for name in global_settings():
            yield f"extraction.{name}=", "search.method is local, which computes no global descriptor"
    search = settle(config).search
    if search.method != "local":
        yield "search.local.", f"search.method is {search.method}, not local"
    if search.method != "asmk":
        yield "search.asmk.", f"search.method is {search.method}, not asmk"
    if search.method != "compressed":
        yield "search.code=", f"search.method is {search.method}, not compressed"
        yield "search.shortlist=", f"search.method is {search.method}, not compressed"
    if search.method in LOCAL:
        yield ("search.device=", f"search.method is {search.method}, which multiplies no matrices")
    if not search.projection:
        yield "search.projection_first=", "search.projection is not set"
    if search.expansion == "none":
        yield "search.expansion_top=", "search.expansion is none"
    if search.expansion != "alpha" and not search.database_expansion_top:
        yield "search.expansion_alpha=", f"search.expansion is {search.expansion}"
