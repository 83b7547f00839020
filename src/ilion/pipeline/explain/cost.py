"""What a run costs, and what it was made from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilion._version import __version__
from ilion.adapt import StoredLayer
from ilion.config import ExperimentConfig, LocalConfig, to_dict
from ilion.descriptors.registry import models
from ilion.interop.imported import from_elsewhere
from ilion.outcome import Cost, Machine
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.inverted_file import Index
from ilion.pipeline.stages.photos import Photos
from ilion.pipeline.stages.read import Fused, ReadingStage
from ilion.pipeline.stages.rerank import LocalStage, Reranked
from ilion.pipeline.stages.results import Extraction, Search
from ilion.registry import short_name
from ilion.runtime.machine import environment, machine
from ilion.storage import fingerprint
from ilion.wording import counted


def cost(
    experiment: Experiment,
    extracted: Extraction | Index | Photos | None,
    searched: Search,
    stage: ReadingStage | None,
    fused: Fused | None,
    local: LocalStage | None,
    reranked: Reranked | None,
) -> Cost:
    """Add up what the stages took, when they were computed."""
    queries = len(experiment.queries)
    seconds: dict[str, float] = {}
    per_image, per_query, stored = 0.0, 0.0, 0.0
    per_search, peaks, reused = searched.seconds / queries, [searched.peak_memory], list[str]()
    where: Machine | None = None
    if extracted:
        seconds |= extracted.seconds
        per_image += extracted.image_seconds / max(1, extracted.images)
        per_query += seconds["queries"] / queries
        stored += extracted.bytes_per_image
        peaks.append(extracted.peak_memory)
        reused += extracted.reused
        where = extracted.machine
    seconds["search"] = searched.seconds
    reused += ["search"] if searched.reused else []
    if stage:
        seconds |= stage.seconds
        per_image += stage.seconds["reading"] / max(1, stage.images)
        per_query += stage.seconds["query reading"] / queries
        stored += stage.texts.bytes_per_image
        peaks.append(stage.peak_memory)
        reused += stage.reused
        where = where or stage.machine
    if fused:
        seconds["search by reading"] = fused.search.seconds
        per_search += fused.search.seconds / queries
    if local and reranked:
        seconds |= {**local.seconds, "re-ranking": reranked.seconds}
        per_image += local.seconds["local features"] / max(1, local.images)
        per_query += local.seconds["local queries"] / queries
        per_search += reranked.seconds / queries
        stored += local.database.bytes_per_image
        peaks += [local.peak_memory, reranked.peak_memory]
        reused += [*local.reused, *(["re-ranking"] if reranked.reused else [])]
    return Cost(
        extraction_ms_per_image=1e3 * per_image,
        query_ms_per_query=1e3 * per_query,
        bytes_per_image=stored,
        search_ms_per_query=1e3 * per_search,
        peak_memory_bytes=max(peaks),
        stage_seconds=seconds,
        reused=tuple(reused),
        machine=where or machine(),
    )


def provenance(
    experiment: Experiment,
    model: Mapping[str, Any] | None,
    searched: Search,
    layer: StoredLayer | None = None,
    stage: ReadingStage | None = None,
    long_texts: int = 0,
) -> dict[str, object]:
    """Return what is needed to repeat a run, printable."""
    described: dict[str, object] = {}
    if long_texts:
        described["long texts"] = {"count": long_texts, "read": experiment.config.extraction.long_texts}
    if model:
        described["model"] = dict(model)
        described["domain"] = next((info.domain for info in models() if info.name == model["name"]), "")
    if stage:
        described["reader"] = stage.spec
    return {
        "ilion": __version__,
        "date": time.strftime("%Y-%m-%d"),
        "environment": environment(),
        "config": to_dict(experiment.config),
        **described,
        **({"adaptation": layer.printable()} if layer else {}),
        "fingerprints": {
            "dataset": fingerprint([s.fingerprint() for s in experiment.dataset.database]),
            "ranking": searched.fingerprint,
        },
        "data set": {
            "queries": len(experiment.queries),
            "instances": len({q.instance for q in experiment.queries}),
            "database images": len(searched.ranking.database_ids),
            "notes": [*experiment.dataset.notes, *experiment.notes],
        },
    }


MADE_OF = {"default": "VLAD of RootSIFT and EfficientNet-Lite2"}
"""Models whose name does not say what they are."""


def design(config: ExperimentConfig) -> str:
    """A short name of the method."""
    settings = config.search
    use, adaptation = config.reading.use, config.adaptation
    parts = ["reading"]
    if use != "only":
        model = config.extraction.model
        parts = [from_elsewhere(model) or MADE_OF.get(model) or short_name(model)]
        if config.extraction.text_tower:
            parts[0] += f" with texts by {short_name(config.extraction.text_tower)}"
        if adaptation.layer or adaptation.method != "none":
            parts.append(f"adapted ({Path(adaptation.layer).stem or short_name(adaptation.method)})")
        if settings.method == "local":
            usual = settings.local.words == LocalConfig.words
            words = "" if usual else f", {counted(settings.local.words, 'word')}"
            parts = [f"local features in {settings.local.budget} B{words}"]
        if settings.method == "asmk":
            parts = [f"ASMK of {short_name(settings.asmk.features)}, {counted(settings.asmk.words, 'word')}"]
    if use == "fused":
        parts.append("reading")
    if settings.expansion != "none" and use != "only":
        parts.append(f"{settings.expansion} QE {settings.expansion_top}")
    if settings.database_expansion_top and use != "only":
        parts.append(f"DBA {settings.database_expansion_top}")
    if settings.projection and use != "only":
        parts.append(f"first {settings.projection_first} projected ({Path(settings.projection).stem})")
    local = config.rerank
    if local.features != "none":
        size = f" in {local.budget} B" if local.budget else ""
        if not local.budget:
            full = local.codec in ("auto", "raw")
            size = " at full precision" if full else f" as {short_name(local.codec)}"
        scorer = "" if local.scorer == "geometry" else f" by {short_name(local.scorer)}"
        parts.append(f"{short_name(local.features)}{size}{scorer}, top {local.shortlist}")
    if config.ask.asks:
        name = Path(config.ask.model).name if config.ask.local else config.ask.model
        parts.append(f"{name} asked about the first {config.ask.first}")
    return " + ".join(parts)
