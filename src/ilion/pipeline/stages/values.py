"""What every preparation of a first stage tells beside what is searched in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ilion.outcome import Machine, Skipped


@dataclass(frozen=True)
class Prepared:
    """What it depends on and what it took.

    Args:
        inputs: What queries and database depend on, for the next stage's fingerprint.
        skipped: Database images that could not be used.
        seconds: Stage -> seconds when it was really computed.
        reused: Stages that were not computed this time.
        images: Number of database images looked at.
        peak_memory: Largest resident memory of the processes that computed, bytes.
        machine: Where the database was looked at.
        model: What describes the images, printable.
    """

    inputs: Mapping[str, Any]
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    reused: tuple[str, ...]
    images: int
    peak_memory: int
    machine: Machine
    model: Mapping[str, Any]
