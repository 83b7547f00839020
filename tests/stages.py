"""Stages of experiments whose first stage compares global descriptors, and reports of finished runs."""

from __future__ import annotations

from pathlib import Path

from ilion import api
from ilion.config import ExperimentConfig
from ilion.pipeline import Extraction


def described(config: ExperimentConfig) -> Extraction:
    """Run `ilion.api.extract` and return global descriptors."""
    found = api.extract(config)
    assert isinstance(found, Extraction)
    return found


def same(report: Path, page: bytes) -> bool:
    """Tell whether a report is this page, without the difference, which pytest takes minutes to print."""
    return report.read_bytes() == page
