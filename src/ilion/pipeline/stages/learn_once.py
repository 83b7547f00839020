"""What a model learns from the database is learnt once, so that the database can grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from ilion import storage
from ilion.errors import ArtifactError
from ilion.opening import full_path
from ilion.pipeline.experiment import Experiment
from ilion.storage import Artifact, fingerprint


class _Pointer(TypedDict):
    folder: str


def open_learnt(
    experiment: Experiment, kind: str, inputs: Mapping[str, Any], finished: Callable[[Path], bool]
) -> Artifact:
    """Open the artifact of what is learnt: that of the first run on this data set, or a new one.

    A codebook learnt anew from a database that has grown would make every stored descriptor stale. So it
    stays that of the first run of the same model, sample size and seed on the same folder, until
    ``extraction.refit`` is set. A note says when the sample was drawn from another state.

    Args:
        experiment: Experiment with the data set; its cache remembers the first run.
        kind: Kind of the artifact.
        inputs: Inputs of what is learnt, beside the sample.
        finished: Tells whether an artifact's folder holds what was learnt.
    """
    config, dataset = experiment.config, experiment.dataset
    drawn = {"images": config.extraction.fit_images, "seed": config.seed}
    place = {"root": str(full_path(dataset.root)), "distractors": config.dataset.distractors}
    digest = fingerprint(kind, inputs, drawn, place)
    pointer = experiment.artifacts / f"first-{kind}-{digest[:16]}.json"
    sample = {"shards": [shard.fingerprint() for shard in dataset.database], **drawn}
    if not config.extraction.refit and pointer.exists():
        try:
            first = storage.load_artifact(
                experiment.artifacts / storage.read_json(pointer, _Pointer)["folder"], kind
            )
        except ArtifactError:
            first = None
        if first is not None and finished(first.folder):
            if first.inputs["sample"] != sample:
                experiment.notes.append(
                    f"what the model learnt ({kind}) is from an earlier state of the data set; "
                    "extraction.refit = true learns it anew"
                )
            return first
    now = storage.open_artifact(experiment.artifacts, kind, {**inputs, "sample": sample})
    storage.write_json(pointer, {"folder": now.folder.name})
    return now
