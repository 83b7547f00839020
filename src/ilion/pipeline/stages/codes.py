"""Short codes of the database."""

from __future__ import annotations

from typing import Any

from ilion import storage
from ilion.pipeline.experiment import Experiment
from ilion.searching import Code, CodeSet, write_codes
from ilion.storage import DescriptorSet


def make_codes(experiment: Experiment, database: DescriptorSet, inputs: Any, name: str) -> CodeSet:
    """Return the codes of a database, made as far as they are not there."""
    code, seed = Code.parse(name), experiment.config.seed
    depends = {"database": inputs, "code": str(code), "seed": seed}
    artifact = storage.open_artifact(experiment.artifacts, "codes", depends)
    with experiment.locked(artifact.folder):
        return write_codes(artifact, database, code, seed=seed, progress=experiment.tell("codes"))
