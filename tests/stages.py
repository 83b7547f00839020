"""Stages of experiments whose first stage compares global descriptors."""

from __future__ import annotations

from ilion import verbs
from ilion.config import ExperimentConfig
from ilion.pipeline import Extraction


def described(config: ExperimentConfig) -> Extraction:
    """Run `ilion.verbs.extract` and return global descriptors."""
    found = verbs.extract(config)
    assert isinstance(found, Extraction)
    return found
