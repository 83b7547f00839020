"""What the words on things did: put together after a run, and read again for a finished one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilion import storage
from ilion.errors import ArtifactError
from ilion.evaluation.compare import compare
from ilion.outcome import Change, Evaluation, Reading, ReadPair
from ilion.pipeline.experiment import Experiment
from ilion.pipeline.stages.read import Fused, ReadingStage
from ilion.reading.shared import mark_shared_words
from ilion.reading.store import ReadImage, TextSet
from ilion.types import Ranking


def explain_reading(
    experiment: Experiment,
    stage: ReadingStage,
    fused: Fused | None,
    ranking: Ranking,
    before: Evaluation | None,
    after: Evaluation,
) -> Reading:
    """Put together what the words on things did, for the report."""
    queries = experiment.queries
    evidence = stage.evidence(stage.texts.ids)
    alone = np.full(len(queries), np.nan, np.float32)
    found = compare(before, after, seed=experiment.config.seed) if before else None
    return Reading(
        use=experiment.config.reading.use,
        fusion=experiment.config.reading.fusion if fused else "",
        weights=fused.weights if fused else alone,
        folds=fused.folds if fused else np.zeros(len(queries), np.int64),
        before=before,
        change=Change(found.difference, found.ci95, found.p_value, found.better, found.worse)
        if found
        else None,
        with_text=stage.index.with_text,
        silent=sum(not len(rows) for rows, _ in evidence),
        ms_per_image=1e3 * stage.seconds["reading"] / max(1, stage.images),
        bytes_per_image=stage.texts.bytes_per_image,
        explain=explainer(experiment, stage.texts, stage.photos, ranking),
        sources=stage.sources,
    )


def explainer(
    experiment: Experiment, texts: TextSet, photos: Mapping[str, ReadImage], ranking: Ranking
) -> Callable[[int, int], ReadPair]:
    """Return what says which words a query and a database row of a ranking share."""
    rows, confidence = texts.rows_of(ranking.database_ids), experiment.config.reading.confidence

    def explain(query: int, row: int) -> ReadPair:
        asked = experiment.queries[query]
        text = asked.text if asked.text is not None else experiment.companions.get(asked.id, "")
        photo = photos.get(asked.id)
        seen = [line.text for line in photo.lines if line.confidence >= confidence] if photo else []
        shown = texts.read(int(rows[row])).lines if rows[row] >= 0 else ()
        return mark_shared_words(
            " ".join([text, *seen]), [line.text for line in shown if line.confidence >= confidence]
        )

    return explain


def reread_reading(experiment: Experiment, stored: Reading, ranking: Ranking) -> Reading:
    """Open the stored texts of a finished run again; where they are gone, words cannot be shown.

    Nothing is read anew in images, and no reader is needed.

    Args:
        experiment: The run's.
        stored: As ``run.json`` has it.
        ranking: The run's.
    """
    sets = {}
    try:
        for kind, (folder, *keys) in stored.sources.items():
            if any(Path(name).name != name for name in (folder, *keys)):
                raise ArtifactError(f"{kind}: the run names {folder!r}, which is not in its cache")
            sets[kind] = TextSet(storage.load_artifact(experiment.artifacts / folder, kind), keys)
        texts = sets["texts"]
    except (ArtifactError, KeyError, ValueError):
        return stored
    asked = sets.get("query-texts")
    photos = {name: asked.read(row) for row, name in enumerate(asked.ids)} if asked else {}
    return replace(stored, explain=explainer(experiment, texts, photos, ranking))
