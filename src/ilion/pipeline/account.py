"""What a run costs, and what it was made from."""

from __future__ import annotations

import time
from pathlib import Path

from ilion._version import __version__
from ilion.adapt import StoredLayer
from ilion.config import ExperimentConfig, to_dict
from ilion.extractors.base import ExtractorSpec, models
from ilion.interop.imported import from_elsewhere
from ilion.outcome import Cost
from ilion.pipeline.describe import Extraction
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.find import Search
from ilion.pipeline.local import LocalStage, Reranked
from ilion.store import fingerprint


def cost(
    experiment: Experiment,
    extracted: Extraction,
    searched: Search,
    local: LocalStage | None,
    reranked: Reranked | None,
) -> Cost:
    """Add up what the stages took, when they were computed."""
    queries = len(experiment.queries)
    seconds = {**extracted.seconds, "search": searched.seconds}
    per_image = seconds["descriptors"] / max(1, extracted.images)
    per_query, per_search = seconds["queries"] / queries, searched.seconds / queries
    stored = float(extracted.database.dim * extracted.database.dtype.itemsize)
    peaks = [extracted.peak_memory, searched.peak_memory]
    reused = [*extracted.reused, *(["search"] if searched.reused else [])]
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
        machine=extracted.machine,
    )


def provenance(
    experiment: Experiment, model: ExtractorSpec, searched: Search, layer: StoredLayer | None = None
) -> dict[str, object]:
    """Return what is needed to repeat a run, printable."""
    return {
        "ilion": __version__,
        "date": time.strftime("%Y-%m-%d"),
        "config": to_dict(experiment.config),
        "model": model.as_dict(),
        "domain": next((info.domain for info in models() if info.name == model.name), ""),
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


def design(config: ExperimentConfig) -> str:
    """A short name of the method."""
    settings = config.search
    parts = [from_elsewhere(config.extraction.model) or config.extraction.model]
    adaptation = config.adaptation
    if adaptation.layer or adaptation.method != "none":
        parts.append(f"adapted ({Path(adaptation.layer).stem or adaptation.method})")
    if settings.expansion != "none":
        parts.append(f"{settings.expansion} QE {settings.expansion_top}")
    if settings.database_expansion_top:
        parts.append(f"DBA {settings.database_expansion_top}")
    local = config.rerank
    if local.features != "none":
        size = f" in {local.budget} B" if local.budget else ""
        scorer = "" if local.scorer == "geometry" else f" by {local.scorer}"
        parts.append(f"{local.features}{size}{scorer}, top {local.shortlist}")
    return " + ".join(parts)
